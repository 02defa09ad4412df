"""A small store on a real disk, written by the book (OCFL 1.1), and what a stage is given."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from archived.api import Artifact, Context, Document, Result, Role, Sealed
from archived_replicate import DirectoryTarget, Replicate
from archived_replicate.directory import DirectoryConfig
from archived_replicate.stage import ReplicateConfig

OBJECT = "urn:uuid:6b1f0f6e-1111-4a2b-9c3d-000000000001"
KEY = "abc/def/012/" + "abcdef012".ljust(64, "0")
V1 = {
    "original/0001.tif": b"II*\0" + bytes(range(256)) * 700,
    "access/document.pdf": b"%PDF-1.7\n" + b"page " * 9000,
    "text/document.txt": "Cộng hòa xã hội chủ nghĩa Việt Nam\n".encode(),
    "metadata/record.json": b'{"name": "scan.tif"}\n',
}
V2 = {**V1, "text/document.txt": "Độc lập – Tự do – Hạnh phúc\n".encode()}


def sha512(content: bytes) -> str:
    return hashlib.sha512(content).hexdigest()


@dataclass
class Store:
    """An OCFL storage root with one object; `add` makes it the next version."""

    root: Path
    key: str = KEY

    def __post_init__(self) -> None:
        layout = {"extension": "0003-hash-and-id-n-tuple-storage-layout", "description": "test"}
        config = self.root / "extensions" / layout["extension"] / "config.json"
        config.parent.mkdir(parents=True)
        config.write_text(json.dumps({"extensionName": layout["extension"]}))
        (self.root / "0=ocfl_1.1").write_text("ocfl_1.1\n")
        (self.root / "ocfl_layout.json").write_text(json.dumps(layout))
        (self.root / "ocfl_1.1.md").write_text("# The specification\n")
        (self.root / ".lock").write_text("not part of the archive")
        self.inventory: dict[str, Any] = {
            "id": OBJECT,
            "type": "https://ocfl.io/1.1/spec/#inventory",
            "digestAlgorithm": "sha512",
            "head": "v0",
            "manifest": {},
            "versions": {},
        }

    @property
    def object(self) -> Path:
        return self.root / self.key

    def add(self, files: Mapping[str, bytes]) -> Sealed:
        number = len(self.inventory["versions"]) + 1
        state: dict[str, list[str]] = {}
        for name, content in files.items():
            digest = sha512(content)
            state.setdefault(digest, []).append(name)
            if digest not in self.inventory["manifest"]:
                path = f"v{number}/content/{name}"
                self.inventory["manifest"][digest] = [path]
                (self.object / path).parent.mkdir(parents=True, exist_ok=True)
                (self.object / path).write_bytes(content)
        self.inventory["head"] = f"v{number}"
        self.inventory["versions"][f"v{number}"] = {
            "created": "2026-03-09T08:00:00Z",
            "state": state,
            "message": "sealed",
            "user": {"name": "archived"},
        }
        text = json.dumps(self.inventory, indent=1).encode()
        for folder in (self.object / f"v{number}", self.object):
            folder.mkdir(exist_ok=True)
            (folder / "inventory.json").write_bytes(text)
            (folder / "inventory.json.sha512").write_text(f"{sha512(text)} inventory.json\n")
        (self.object / "0=ocfl_object_1.1").write_text("ocfl_object_1.1\n")
        return Sealed(root=self.object, key=self.key, version=number, inventory_sha512=sha512(text))

    def files(self) -> dict[str, bytes]:
        """What a replica of the storage root must hold, byte for byte."""
        found = tree(self.root)
        del found[".lock"]
        return found


def tree(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def memory_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder where fsync costs nothing, if there is one: a killed process loses no pages."""
    shm = Path("/dev/shm")
    if not (shm.is_dir() and os.access(shm, os.W_OK)):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=shm, prefix="archived-replicate-") as folder:
        yield Path(folder)


@pytest.fixture
def second(memory_disk: Path) -> DirectoryTarget:
    """A target in an empty folder."""
    return directory(memory_disk / "second", allow_same_filesystem=True)


def directory(path: Path, name: str = "second", **options: Any) -> DirectoryTarget:
    path.mkdir(exist_ok=True)
    options.setdefault("keep_free", "0 B")
    return DirectoryTarget(name, DirectoryConfig.model_validate({"path": path, **options}))


@pytest.fixture(name="directory")
def directory_fixture() -> Callable[..., DirectoryTarget]:
    return directory


@pytest.fixture(scope="session")
def make_store() -> Callable[[Path], Store]:
    return Store


@pytest.fixture(scope="session")
def document() -> Document:
    main = Artifact(Path("/nowhere"), "0001.tif", "image/tiff", Role.ORIGINAL)
    return Document("doc-1", datetime(2026, 3, 9, tzinfo=UTC), "scans", "scan.tif", main, (main,))


@pytest.fixture
def copy_to(document: Document, tmp_path: Path) -> Callable[..., Result]:
    """`copy_to(sealed, target, ...)`: one attempt at the step, in a fresh private folder."""

    def run(sealed: Sealed, *targets: Any, to: tuple[str, ...] = ()) -> Result:
        folder = Path(tempfile.mkdtemp(prefix="step-", dir=tmp_path))
        context = Context(
            options=ReplicateConfig(to=to or tuple(target.name for target in targets)),
            folder=folder,
            deadline=datetime.now(UTC) + timedelta(minutes=5),
            # A new attempt is a new process: it remembers nothing of the targets.
            targets={t.name: type(t)(t.name, t.options) for t in targets},
        )
        result = Replicate().run(replace(document, sealed=sealed), context)
        assert not list(folder.iterdir())
        return result

    return run


@pytest.fixture(scope="session")
def versions() -> tuple[dict[str, bytes], dict[str, bytes]]:
    return V1, V2


@pytest.fixture(name="tree")
def tree_fixture() -> Callable[[Path], dict[str, bytes]]:
    return tree
