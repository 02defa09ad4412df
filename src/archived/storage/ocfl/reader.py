"""Reading one object of the store and judging it: nothing here writes, and nothing follows a
symbolic link.

A verdict has three values: what could not be read was not found good, and not found bad either.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from archived.errors import StoreError
from archived.message import Message
from archived.storage import atomic
from archived.storage.ocfl import layout
from archived.storage.ocfl.inventory import (
    FILE_NAME,
    SIDECAR_NAME,
    Inventory,
    is_sidecar,
    parse,
    sidecar_of,
)


class Validity(StrEnum):
    """To "is this object whole and valid?"."""

    YES = "yes"
    NO = "no"
    NOT_ESTABLISHED = "not established"


@dataclass(frozen=True, slots=True)
class ObjectCheck:
    """What a full check found: `files` and `size` (bytes) count the content that was re-hashed."""

    answer: Validity
    problems: tuple[str, ...] = ()
    files: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of an object: where its bytes lie and what they must be."""

    logical: str
    path: Path
    sha512: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as its inventory describes it; the inventory agreed with its sidecar."""

    id: str
    key: str
    root: Path
    inventory: Inventory
    inventory_sha512: str

    @property
    def head(self) -> int:
        """The newest version's number."""
        return self.inventory.head

    def files(self, version: int | None = None) -> Mapping[str, StoredFile]:
        """Logical path -> file, for the newest version or another.

        Sizes are taken from the disk: a missing file raises `StoreError` (`object-damaged`).
        """
        state = self.inventory.versions[(version or self.head) - 1].state
        return {logical: self._file(logical, state[logical], version) for logical in sorted(state)}

    def _file(self, logical: str, sha512: str, version: int | None) -> StoredFile:
        content = self.inventory.content_path(logical, version)
        try:
            path = inside(self.root, content)
        except FileNotFoundError as error:
            raise StoreError(
                Message("object {id}: {content} is missing", id=self.id, content=content),
                code="object-damaged",
                hint=Message("Restore the object from a replica."),
            ) from error
        return StoredFile(
            logical, path, sha512, self.inventory.sha256.get(content, ""), path.lstat().st_size
        )


def inside(folder: Path, relative: str) -> Path:
    """`folder/relative`, refusing (`StoreError`, `link-in-store`) any symbolic link on the way.

    Raises `FileNotFoundError` where a component is absent.
    """
    path = folder
    for part in relative.split("/"):
        path = path / part
        if stat.S_ISLNK(path.lstat().st_mode):
            raise StoreError(
                Message("{path} is a symbolic link; the store has none", path=path),
                code="link-in-store",
                hint=Message("Find out who put it there, then move it out of the store."),
            )
    return path


def read_pair(folder: Path) -> tuple[bytes, Inventory]:
    """A folder's inventory, checked against its sidecar.

    Raises `StoreError` (`inventory-damaged`, `link-in-store`); `OSError` when it cannot be read.
    """
    try:
        content = atomic.read_bytes(inside(folder, FILE_NAME))
        sidecar = atomic.read_bytes(inside(folder, SIDECAR_NAME))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreError(
            Message("{folder}: {name} is missing", folder=folder, name=Path(error.filename).name),
            code="inventory-damaged",
        ) from error
    if not is_sidecar(sidecar, content):
        raise StoreError(
            Message(
                "{folder}: {file_name} does not match its sidecar",
                folder=folder,
                file_name=FILE_NAME,
            ),
            code="inventory-damaged",
        )
    return content, parse(content)


def read_object(store: Path, key: str) -> StoredObject:
    """The object with this key below the storage root. Errors as `read_pair`, and `no-such-object`;
    `misplaced-object` when its id belongs elsewhere.
    """
    try:
        root = inside(store, key)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreError(
            Message("the store holds no object {key}", key=key), code="no-such-object"
        ) from error
    content, inventory = read_pair(root)
    if layout.key_of(inventory.id) != key:
        raise StoreError(
            Message("the object {id!r} lies at {key}", id=inventory.id, key=key),
            code="misplaced-object",
        )
    return StoredObject(inventory.id, key, root, inventory, sidecar_of(content).split()[0].decode())


def check_object(store: Path, key: str) -> ObjectCheck:
    """Re-hash every file of an object and check every rule of its structure.

    The inventory first, then content. Never raises for what it finds.
    """
    problems: list[str] = []
    unknown: list[str] = []
    files = size = 0
    try:
        found = read_object(store, key)
        problems += _structure(found.root, found.inventory)
        problems += _versions(found.root, found.inventory)
    except StoreError as error:
        return ObjectCheck(Validity.NO, (error.message,))
    except (FileNotFoundError, NotADirectoryError) as error:
        return ObjectCheck(Validity.NO, (f"{error.filename} is not what it should be",))
    except OSError as error:
        return ObjectCheck(Validity.NOT_ESTABLISHED, (f"could not read: {error}",))
    for content, sha512 in sorted(found.inventory.manifest.items()):
        try:
            copied = atomic.digest(inside(found.root, content))
        except (FileNotFoundError, NotADirectoryError):
            problems.append(f"{content} is missing")
        except StoreError as error:
            problems.append(error.message)
        except OSError as error:
            unknown.append(f"{content}: could not read: {error}")
        else:
            files, size = files + 1, size + copied.size
            if copied.sha512 != sha512:
                problems.append(
                    Message("{content} is damaged: its SHA-512 differs", content=content)
                )
            elif found.inventory.sha256.get(content, copied.sha256) != copied.sha256:
                problems.append(f"{content}: the inventory's SHA-256 differs")
    answer = Validity.NO if problems else Validity.NOT_ESTABLISHED if unknown else Validity.YES
    return ObjectCheck(answer, (*problems, *unknown), files, size)


def _structure(root: Path, inventory: Inventory) -> Iterator[str]:
    """Every name in the object is one that the inventory or OCFL accounts for."""
    versions = [f"v{number}" for number in range(1, inventory.head + 1)]
    expected = {layout.OBJECT_DECLARATION, FILE_NAME, SIDECAR_NAME, *versions}
    try:
        declaration = atomic.read_bytes(inside(root, layout.OBJECT_DECLARATION))
    except FileNotFoundError:
        declaration = b""
    if declaration != layout.OBJECT_DECLARATION_TEXT:
        yield f"{layout.OBJECT_DECLARATION} is missing or different"
    yield from (f"{name} does not belong here" for name in sorted(_names(root) - expected))
    for version in versions:
        if not (root / version).is_dir():
            yield f"{version} is missing"
            continue
        allowed = {FILE_NAME, SIDECAR_NAME, "content"}
        names = _names(inside(root, version))
        yield from (f"{version}/{name} does not belong here" for name in sorted(names - allowed))
        if "content" in names:
            yield from _content(root, f"{version}/content", inventory)


def _names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def _content(root: Path, relative: str, inventory: Inventory) -> Iterator[str]:
    with os.scandir(inside(root, relative)) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    if not found:
        yield f"{relative} is an empty folder"
    for entry in found:
        path = f"{relative}/{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            yield from _content(root, path, inventory)
        elif not entry.is_file(follow_symlinks=False):
            yield f"{path} is neither a file nor a folder"
        elif path not in inventory.manifest:
            yield f"{path} is not in the inventory"


def _versions(root: Path, inventory: Inventory) -> Iterator[str]:
    """Each version folder's own inventory agrees with the object's as far as it goes."""
    for number in range(1, inventory.head + 1):
        try:
            content, earlier = read_pair(root / f"v{number}")
        except StoreError as error:
            yield error.message
            continue
        if number == inventory.head and content != atomic.read_bytes(root / FILE_NAME):
            yield f"v{number}/{FILE_NAME} differs from the object's"
        if not continues(earlier, inventory) or earlier.head != number:
            yield f"v{number}/{FILE_NAME} tells another history than the object's"


def continues(earlier: Inventory, later: Inventory) -> bool:
    """Whether `later` is `earlier` with nothing changed and perhaps versions added."""
    return (
        earlier.id == later.id
        and later.versions[: earlier.head] == earlier.versions
        and earlier.manifest.items() <= later.manifest.items()
        and earlier.sha256.items() <= later.sha256.items()
    )
