"""The answers' folder, whatever it is called: never looked into, never heard of, well named."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError
from watchdog.events import DirModifiedEvent, FileCreatedEvent, FileMovedEvent

from archived.config.types import FolderName
from archived.ingest.ignore_rules import rule_for
from archived.ingest.scanner import scan
from archived.ingest.watcher import _Hint


def test_a_scan_passes_by_the_configured_folder_and_the_usual_one(tmp_path: Path):
    """The usual one too: the name may have been changed while answers were in it."""
    for name in ("_archived", "tra-loi", "tra-loi-2", "scans/tra-loi"):
        (tmp_path / name / "safe").mkdir(parents=True)
        (tmp_path / name / "safe" / "list.csv").touch()
    found = {seen.path for seen in scan(tmp_path, own=b"tra-loi")}
    assert found == {b"tra-loi-2/safe/list.csv", b"scans/tra-loi/safe/list.csv"}
    file = stat.S_IFREG | 0o644
    assert rule_for(b"tra-loi", file, (), b"tra-loi") == "own-folder"
    assert rule_for(b"_archived/x.pdf", file, (), b"tra-loi") == "own-folder"
    assert rule_for(b"tra-loi", file) is None


def test_what_we_write_ourselves_starts_no_scan():
    heard = []
    hint = _Hint(lambda: heard.append(1), b"/srv/scans/_archived")
    own = "/srv/scans/_archived"
    hint.on_any_event(FileCreatedEvent(f"{own}/STATUS.txt"))
    hint.on_any_event(DirModifiedEvent(own))
    hint.on_any_event(FileMovedEvent(f"{own}/.archived-1", f"{own}/STATUS.txt"))
    assert not heard
    hint.on_any_event(FileMovedEvent(f"{own}/scan.pdf", "/srv/scans/scan.pdf"))
    hint.on_any_event(FileCreatedEvent(f"{own}-more/scan.pdf"))
    assert len(heard) == 2


@pytest.mark.parametrize(
    "name", ["", ".hidden", "a/b", "..", "-x", "~x", "a:b", "a.", " a", "a\nb", "x" * 61, "a\\b"]
)
def test_a_folder_name_that_not_every_client_can_show_is_refused(name: str):
    with pytest.raises(ValidationError, match="plain folder name"):
        TypeAdapter(FolderName).validate_python(name)


def test_a_folder_may_have_a_vietnamese_name():
    decomposed = "Tra\u0309 lo\u031b\u0300i"
    assert TypeAdapter(FolderName).validate_python(decomposed) == "Trả lời"
