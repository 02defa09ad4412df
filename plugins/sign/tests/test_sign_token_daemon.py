"""A token and the real daemon: one kept worker, confined; a PIN is tried once in all its lives."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from archived.testing.daemon import Daemon

from .soft_token import COUNT_LOW, PIN, SoftToken


@pytest.fixture
def token(pki, tmp_path) -> SoftToken:
    return SoftToken(tmp_path / "token", pki)


@pytest.fixture
def box(token, tmp_path) -> Iterator[Daemon]:
    box = Daemon(tmp_path / "box")
    options = token.options()
    box.tables["plugins"]["enabled"] = ["sign"]
    box.tables["pipeline.paper"] = {"stages": ["sign", "seal"]}
    box.tables["lanes"] = {"cpu": 1, "token": 1}
    box.tables["stage.sign.token"] = options.pop("token")
    box.tables["stage.sign"] = {**options, "lane": "token"}
    yield box
    if box.running():
        box.end()
    box.close()


@pytest.fixture
def drop(box, make_pdfa) -> Callable[..., None]:
    """Put PDFs into the hot folder."""

    def put(*names: str) -> None:
        for name in names:
            source: Path = make_pdfa()
            # Documents of the same bytes are one document.
            content = source.read_bytes() + f"% {name}\n".encode()
            (box.hot() / name).write_bytes(content)

    return put


def waits(box: Daemon, code: str) -> int:
    """How many tries of steps ended with this code."""
    found = box.rows(f"SELECT count(*) FROM step WHERE stage = 'sign' AND code = '{code}'")
    return int(found[0][0]) if found else 0


def signed(box: Daemon) -> list[dict[str, Any]]:
    found = box.rows("SELECT facts FROM step WHERE stage = 'sign' AND ending = 'finished'")
    return [json.loads(facts) for (facts,) in found]


def test_documents_are_signed_in_the_token_by_a_confined_worker(box, drop, token):
    drop("1.pdf", "2.pdf", "3.pdf")
    box.start()
    box.until(lambda: len(signed(box)) == 3, "three documents are signed")
    assert {each["level"] for each in signed(box)} == {"B-B"}
    assert list(token.record.iterdir()) == []
    assert not token.flags & COUNT_LOW


def test_a_wrong_pin_is_not_tried_by_restart_reload_or_check(box, drop, token):
    token.write_pin("000000")
    drop("1.pdf")
    box.start()
    box.until(lambda: waits(box, "pin-refused") == 1, "the PIN is refused", 60)
    token.tool("-O")  # by hand, with the right PIN: sets the token's count back
    assert not token.flags & COUNT_LOW
    drop("2.pdf")
    box.until(lambda: waits(box, "pin-not-tried-again") >= 1, "another document waits", 60)
    box.tables["stage.sign"]["reason"] = "changed"
    box.reload()
    drop("3.pdf")
    box.until(lambda: waits(box, "pin-not-tried-again") >= 2, "another document waits", 60)
    box.end()
    box.start()
    drop("4.pdf")
    box.until(lambda: waits(box, "pin-not-tried-again") >= 3, "another document waits", 60)
    box.kill(whole=True)
    box.start()
    drop("5.pdf")
    box.until(lambda: waits(box, "pin-not-tried-again") >= 4, "another document waits", 60)
    assert waits(box, "pin-refused") == 1
    assert not token.flags & COUNT_LOW, "no second try"
    token.write_pin(PIN)
    shutil.rmtree(token.record)
    token.record.mkdir()
    for row in box.rows("SELECT id FROM document"):
        assert box.archivectl("retry", row[0], "--note", "the PIN is corrected").returncode == 0
    box.until(lambda: len(signed(box)) == 5, "all are signed", 90)
