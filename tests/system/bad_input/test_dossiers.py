"""Dossiers through the real daemon and its pipeline: archived whole, or held whole."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pikepdf
import pytest
from PIL import Image, ImageDraw, ImageFont

from archived.model.ids import object_id
from archived.storage.ocfl.layout import key_of
from tests.system.bad_input.running import Running

pytestmark = pytest.mark.timeout(240)

FONT = "/usr/share/fonts/truetype/croscore/Tinos-Regular.ttf"
TOML = """
[plugins]
enabled = ["ocr", "replicate"]
[pipeline.paper]
stages = ["ocr", "seal", "replicate"]
[hotfolder.dossiers]
path = "{folder}/dossiers"
pipeline = "paper"
dossiers = true
closed_by = ["ticket", "mark"]
pages = "numbered"
[hotfolder.feeder]
path = "{folder}/feeder"
pipeline = "paper"
collate = "two-pass"
[stage.ocr]
ocr_dpi = 100
attempts = 1
[stage.replicate]
to = ["second"]
[target.second]
kind = "directory"
path = "{folder}/second"
allow_same_filesystem = true
"""


def scan(path: Path, *words: str) -> bytes:
    """A TIFF with a page for each word; returns its bytes."""
    pages = []
    for word in words:
        image = Image.new("L", (700, 250), 250)
        font = ImageFont.truetype(FONT, 48)
        ImageDraw.Draw(image).text((60, 80), f"Tờ số {word}", fill=10, font=font)
        pages.append(image.convert("1", dither=Image.Dither.NONE))
    path.parent.mkdir(parents=True, exist_ok=True)
    rest = {"save_all": True, "append_images": pages[1:]} if pages[1:] else {}
    pages[0].save(path, dpi=(150, 150), compression="group4", **rest)
    return path.read_bytes()


def ticket(folder: Path, content: bytes, name: str = "ticket.json") -> None:
    """Written beside and renamed, as docs/batches.md asks for."""
    part = folder / f"{name}.part"
    part.write_bytes(content)
    part.rename(folder / name)


def of(**says: object) -> bytes:
    return json.dumps(says).encode()


HOSTILE: dict[str, tuple[str, bytes, str]] = {
    "path": ("ticket.json", of(files=[{"path": "../../../etc/passwd"}]), "ticket-path"),
    "absolute": ("ticket.csv", b"path\n/etc/passwd\n", "ticket-path"),
    "formula": ("ticket.csv", b'path\n"=HYPERLINK(""http://127.0.0.1"")"\n', "ticket-path"),
    "extra": ("ticket.json", of(files=[{"path": "a.tif"}]), "ticket-files-extra"),
    "size": (
        "ticket.json",
        of(files=[{"path": "a.tif", "size": 1}, {"path": "b.tif"}]),
        "ticket-size",
    ),
    "digest": (
        "ticket.json",
        of(files=[{"path": "a.tif"}, {"path": "b.tif", "sha256": "0" * 64}]),
        "ticket-digest",
    ),
    "twice": (
        "ticket.json",
        of(files=[{"path": "a.tif"}, {"path": "b.tif"}, {"path": "b.tif"}]),
        "ticket-duplicate",
    ),
    "secret": ("ticket.json", of(secrecy="tuyệt mật"), "ticket-secrecy"),
    "bomb": (
        "ticket.xml",
        b'<!DOCTYPE t [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><ticket><title>&b;</title></ticket>',
        "ticket-unreadable",
    ),
    "old-encoding": ("ticket.json", b'{"title": "H\xe5 s\xac"}', "ticket-unreadable"),
    "deep": ("ticket.json", b'{"a":' * 100_000, "ticket-unreadable"),
}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory):
    root = tmp_path_factory.mktemp("dossiers")
    for name in ("dossiers", "feeder"):
        (root / name).mkdir()
    with Running(root, TOML) as running:
        yield running


def content(daemon: Running, document: str) -> Path:
    """Where the files of a sealed document lie."""
    return daemon.folder / "store" / "ocfl" / key_of(object_id(document)) / "v1" / "content"


def texts(daemon: Running, document: str) -> list[str]:
    """The text of each of its pages."""
    return (content(daemon, document) / "text" / "document.txt").read_text().split("\f")


def originals(daemon: Running, document: str) -> list[bytes]:
    """Its originals in their order."""
    folder = content(daemon, document) / "original"
    return [path.read_bytes() for path in sorted(folder.iterdir())]


def test_an_honest_dossier_is_archived_whole_and_in_order(daemon: Running) -> None:
    folder = daemon.folder / "dossiers" / "HS-1"
    letter = [scan(folder / f"thư-{n:03}.tif", word) for n, word in enumerate(("một", "hai"), 1)]
    deed = scan(folder / "deed.tif", "ba", "bốn")
    digest = hashlib.sha256(deed).hexdigest()
    ticket(
        folder,
        of(
            dossier="01/2026",
            count=3,
            files=[
                {"path": "thư-001.tif", "document": "letter"},
                {"path": "thư-002.tif", "document": "letter"},
                {"path": "deed.tif", "sha256": digest, "size": len(deed)},
            ],
        ),
    )
    found = daemon.wait_for("dossiers", 4, 110)

    assert {e.ending for e in found.values()} == {"archived"}
    both = found["HS-1/thư-001.tif".encode()].document
    assert found["HS-1/thư-002.tif".encode()].document == both
    assert originals(daemon, both) == letter
    assert ["số một" in texts(daemon, both)[0], "số hai" in texts(daemon, both)[1]] == [True] * 2
    alone = found[b"HS-1/deed.tif"].document
    assert originals(daemon, alone) == [deed]
    assert {daemon.catalog.document(d).dossier for d in (both, alone)} == {"01/2026"}
    access = content(daemon, both) / "access" / "document.pdf"
    with pikepdf.open(access) as pdf:
        assert len(pdf.pages) == 2
    assert not list((daemon.folder / "dossiers").rglob("*.tif"))
    daemon.assert_balanced()


def test_hostile_tickets_hold_their_dossiers_whole_and_nothing_else(daemon: Running) -> None:
    before = len(daemon.endings("dossiers"))
    left: dict[Path, bytes] = {}
    for name, (file, said, _) in HOSTILE.items():
        folder = daemon.folder / "dossiers" / f"bad-{name}"
        for scanned in ("a.tif", "b.tif"):
            left[folder / scanned] = scan(folder / scanned, name)
        ticket(folder, said, file)
        left[folder / file] = said
    found = daemon.wait_for("dossiers", before + len(left), 110)

    for name, (file, _, code) in HOSTILE.items():
        for each in ("a.tif", "b.tif", file):
            end = found[f"bad-{name}/{each}".encode()]
            assert (end.ending, end.code, end.document) == ("held", code, ""), (name, end)
            assert end.reason
    assert {path: path.read_bytes() for path in left} == left, "all of it lies where it was"
    notes = daemon.folder / "dossiers" / "_archived" / "held"
    daemon.wait(
        # By their names: what is being written lies beside them for a moment.
        lambda: any("b.tif (SHA-256)" in note.read_text() for note in notes.glob("*.txt")),
        "the clerk is told which file differs",
        60,
    )
    daemon.assert_balanced()


def test_fronts_and_backs_of_a_feeder_become_one_document(daemon: Running) -> None:
    feeder = daemon.folder / "feeder"
    fronts = scan(feeder / "stack-1.tif", "một", "ba")
    os.sync()
    daemon.wait(lambda: daemon.endings("feeder"), "the fronts are on record", 60)
    backs = scan(feeder / "stack-2.tif", "bốn", "hai")
    found = daemon.wait_for("feeder", 2, 110)

    [document] = {e.document for e in found.values()}
    assert {e.ending for e in found.values()} == {"archived"}
    assert originals(daemon, document) == [fronts, backs]
    for text, word in zip(texts(daemon, document), ("một", "hai", "ba", "bốn"), strict=True):
        assert f"số {word}" in text
    daemon.assert_balanced()
