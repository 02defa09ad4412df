"""A plug-in brings its codes and its sentences in two languages, and is not imported for that."""

from __future__ import annotations

import io
import sys
from importlib import invalidate_caches

import pytest
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo

from archived import locale
from archived.locale import render, speaking
from archived.message import Message
from archived.observe.receipts import reasons

CODES = """
[code.stamp-missing]
vi = "Trang thiếu dấu."
en = "A page has no stamp."
vi_do = "Đóng dấu rồi quét lại."
en_do = "Stamp it and scan it again."

[code.half-said]
vi = "Chỉ một nửa."

[code.file-changed-nothing]
vi = 3
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    package = tmp_path / "stranger"
    compiled = package / "locale" / "vi" / "LC_MESSAGES" / "stranger.mo"
    compiled.parent.mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('it was imported')\n")
    catalogue = Catalog("vi")
    catalogue.add("page {page} has no stamp", "trang {page} thiếu dấu")
    catalogue.add("must be set", "của người khác")
    written = io.BytesIO()
    write_mo(written, catalogue)
    compiled.write_bytes(written.getvalue())
    (package / "locale" / "codes.toml").write_text(CODES)
    info = tmp_path / "stranger-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[archived]\nstranger = stranger\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    caches = (
        locale.plugin_folders,
        locale._plugin_catalogues,
        locale._catalogue,
        reasons._of_plugins,
    )
    for each in caches:
        each.cache_clear()
    invalidate_caches()
    yield package
    monkeypatch.undo()
    for each in caches:
        each.cache_clear()


def test_its_sentences_are_said_in_vietnamese(plugin):
    with speaking("vi"):
        assert render(Message("page {page} has no stamp", page=3)) == "trang 3 thiếu dấu"
        assert render("must be set") == "phải đặt khóa này", "the core's own come first"
    assert "stranger" not in sys.modules


def test_its_codes_have_words_for_the_person_at_the_scanner(plugin):
    words = reasons.words_for("stamp-missing")
    assert (words.vi, words.vi_do) == ("Trang thiếu dấu.", "Đóng dấu rồi quét lại.")
    assert (words.en, words.en_do) == ("A page has no stamp.", "Stamp it and scan it again.")
    with speaking("vi"):
        assert reasons.reason_in_words("it says so", "stamp-missing") == (
            "Trang thiếu dấu (it says so)"
        )


@pytest.mark.parametrize("code", ["half-said", "file-changed-nothing", "nobodys-code"])
def test_words_that_are_not_whole_say_nothing(plugin, code):
    assert reasons.words_for(code) == reasons.words_for(None)


@pytest.mark.parametrize("broken", [b"", b"\xde\x12\x04\x95" + b"\xff" * 40, b"nonsense"])
def test_a_broken_catalogue_says_nothing(plugin, broken):
    (plugin / "locale" / "vi" / "LC_MESSAGES" / "stranger.mo").write_bytes(broken)
    (plugin / "locale" / "codes.toml").write_bytes(b"\xff = [")
    with speaking("vi"):
        assert render(Message("page {page} has no stamp", page=3)) == "page 3 has no stamp"
    assert reasons.words_for("stamp-missing") == reasons.words_for(None)
