"""A small document to seal, and a store to seal it in."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

from archived.storage.ocfl.store import Store
from archived.storage.ocfl.writer import StoreFile, VersionInfo

ID = "urn:uuid:0192c7b4-1111-7000-8000-000000000001"
VERSION_INFO = VersionInfo(
    created=datetime(2026, 11, 22, 3, 0, 0, 250_000, tzinfo=UTC),
    message="Sealed after ocr, classify, sign",
    user_name="archived 0.1.0",
    user_address="https://archive.example/agents/archived",
)
PAGE = b"II*\0" + bytes(range(256)) * 40


def new_store(root: Path) -> Store:
    store = Store(root)
    store.create()
    return store


def document(folder: Path) -> list[StoreFile]:
    """Two pages on disk, one of them blank twice over, and metadata from memory."""
    folder.mkdir(exist_ok=True)
    files = []
    for name in ("0001.tif", "0002.tif"):
        (folder / name).write_bytes(PAGE)
        files.append(StoreFile(f"original/{name}", folder / name, hashlib.sha512(PAGE).hexdigest()))
    return [
        *files,
        StoreFile("access/document.pdf", b"%PDF-1.7 read me\n"),
        StoreFile("metadata/record.json", b'{"id": 1}\n'),
    ]


def correction() -> list[StoreFile]:
    """A new reading copy, and a file whose bytes the object holds already."""
    return [
        StoreFile("access/document.pdf", b"%PDF-1.7 read me better\n"),
        StoreFile("access/pages/0001.tif", PAGE),
    ]


def originals(files: list[StoreFile]) -> dict[str, str]:
    return {file.logical: file.sha512 for file in files if file.logical.startswith("original/")}
