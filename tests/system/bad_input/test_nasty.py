"""Everything a hot folder meets on its worst days, at once, through the real pipeline."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

import pytest

from archived.testing import samples
from tests.system.bad_input.running import Ending, Running, table

CONFIG = """
[plugins]
enabled = ["ocr", "classify", "replicate"]
folders = []
[pipeline.paper]
stages = ["ocr", "classify", "seal", "replicate"]
[hotfolder.scans]
path = "{folder}/hot"
pipeline = "paper"
ignore = ["*.xml"]
max_file_size = "200 MiB"
[stage.ocr]
ocr_dpi = 100
timeout = "30 s"
attempts = 1
[stage.replicate]
to = ["second"]
[target.second]
kind = "directory"
path = "{folder}/second"
allow_same_filesystem = true
"""
HELD_FOR_SURE = {
    "zero-bytes": "arrived-empty",
    "truncated-pdf": "arrived-incomplete",
    "truncated-tiff": "arrived-incomplete",
    "truncated-jpeg": "arrived-incomplete",
    "truncated-png": "arrived-incomplete",
}
ARCHIVED_FOR_SURE = {
    "javascript",
    "form",
    "name-nfd",
    "name-invalid-utf8",
    "name-255-bytes",
    "name-newline",
    "name-leading-dash",
    "name-markup",
    "jpeg-named-pdf",
    "pdf-named-tif",
}
IGNORED = {
    b".~lock.x.pdf#": "hidden",
    b"scan.pdf.part": "temporary-name",
    b"Thumbs.db": "system-file",
    b"job.xml": "pattern",
    b"link.pdf": "symlink",
    b"loop": "symlink",
    b"pipe.pdf": "not-a-file",
    b"socket.pdf": "not-a-file",
}


def drop_hostile(hot: Path) -> dict[bytes, bytes]:
    """Files that are no documents, and documents that look like none: name -> content."""
    [sample] = samples.tiny(hot.parent / "small", count=1)
    small = sample.path.read_bytes()
    made = {
        b"reserved.tif": bytes(100_000),
        b"\xf0\x9f\x93\x84\xef\xbb\xbf.pdf": b"%PDF-1.7\nnothing at all\nstartxref\n9\n%%EOF\n",
        b"$(reboot);`id`|&.pdf": small + b"\n",
        b"-rf": b"just words\n",
        b"a/b/c/d/e/f/g/h/deep.pdf": small + b"\n\n",
        b"con.pdf ": b"GIF89a;" + bytes(range(256)),
    }
    for name, content in made.items():
        path = hot / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for name in (b".~lock.x.pdf#", b"scan.pdf.part", b"Thumbs.db", b"job.xml"):
        (hot / os.fsdecode(name)).write_bytes(b"x")
    (hot / "link.pdf").symlink_to("/etc/passwd")
    (hot / "loop").symlink_to(hot)
    os.mkfifo(hot / "pipe.pdf")
    return made


def check(ending: Ending) -> None:
    """An ending a person can live with."""
    assert ending.final, ending
    if ending.ending == "held":
        assert re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", ending.code), ending
        assert len(ending.reason) > 10, ending
        assert len(ending.hint) > 10, ending


@pytest.mark.timeout(240)
def test_everything_nasty_at_once_ends_archived_held_or_ignored(tmp_path: Path, monkeypatch):
    made = samples.nasty(tmp_path / "made")
    hot = tmp_path / "hot"
    hot.mkdir()
    with Running(tmp_path, CONFIG) as daemon, socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(hot)
        server.bind("socket.pdf")
        hostile = drop_hostile(hot)
        for path in made.values():
            (tmp_path / "made" / path.name).rename(hot / path.name)
        files = len(made) + len(hostile) + len(IGNORED)
        found = daemon.wait_for("scans", files, 200)
        table(list(found.values()))
        for ending in found.values():
            check(ending)
        for name, rule in IGNORED.items():
            assert (found[name].ending, found[name].code) == ("ignored", rule)
        of = {case: found[os.fsencode(path.name)] for case, path in made.items()}
        for case, code in HELD_FOR_SURE.items():
            assert (of[case].ending, of[case].code) == ("held", code), case
        for case in ARCHIVED_FOR_SURE:
            assert of[case].ending == "archived", of[case]
        in_custody = {e.document for e in found.values() if e.document}
        for document in in_custody:
            kinds = [entry.kind for entry in daemon.catalog.ledger_of(document)]
            assert "document-admitted" in kinds
            assert "document-sealed" in kinds or "document-held" in kinds
        left = {os.fsencode(path.name) for path in hot.iterdir()} - {b"a", b"_archived"}
        assert left == set(IGNORED), "what is in custody has left, what was ignored has not"
        daemon.assert_balanced()
