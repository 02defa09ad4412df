"""What a sealed object is made of, according to its inventory, and whether the store still has it.

Only reads. Everything is checked before anything is handed out: a damaged store is found here,
never by copying it over a good replica.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archived.api import Message, Postpone, Refuse, Sealed, check_key

DECLARATION = "0=ocfl_object_1.1"
INVENTORY = "inventory.json"
SIDECAR = "inventory.json.sha512"

_ROOT_DECLARATION = re.compile(r"0=ocfl_1\.\d+")
_VERSION = re.compile(r"v0*([1-9]\d*)")
_IS_NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.ENXIO)
_DIGEST = re.compile(r"[0-9a-f]{128}")


@dataclass(frozen=True, slots=True)
class Piece:
    """One file to be copied: where it lies, its name below the object (or root), what it must be.

    `earlier` holds digests this file rightly had in earlier versions of the object.
    """

    path: Path
    name: str
    sha512: str
    size: int
    earlier: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class SealedObject:
    """A whole object, every piece verified, in the order in which they must be written."""

    pieces: tuple[Piece, ...]
    strangers: tuple[str, ...]
    """Files in the object's folder that its inventory does not name."""
    inventory_sha512: str

    @property
    def size(self) -> int:
        """Bytes of all pieces."""
        return sum(piece.size for piece in self.pieces)


def damaged(what: str) -> Refuse:
    """The store's own object is not what was sealed: a person must see it."""
    return Refuse(
        Message("The sealed object in the store is damaged: {what}.", what=what),
        code="source-damaged",
        hint=Message(
            "Verify the object, repair the store's disk, restore the object from a good "
            "replica, then release the document."
        ),
    )


@contextmanager
def reading(sealed: Sealed) -> Iterator[None]:
    """What the system cannot read now is no damage: nothing was read that differs. `Postpone`."""
    try:
        yield
    except OSError as error:
        raise Postpone(
            Message(
                "the sealed object in the store cannot be read: {why} ({filename})",
                why=error.strerror or error,
                filename=error.filename or sealed.root,
            ),
            code="source-unreadable",
            hint=Message(
                "Look at the kernel's log about the store's disk, at its cable and at the "
                "files' owner and mode; the copy is then made by itself."
            ),
            after="5 min",
        ) from error


def read_object(sealed: Sealed) -> SealedObject:
    """The object, verified to the last byte. Raises `Refuse` (`source-damaged`) and `OSError`.

    Content comes first and the root inventory's sidecar last, so that a half-copied object is
    visibly incomplete to every OCFL reader.
    """
    root = sealed.root
    if _piece(root, INVENTORY).sha512 != sealed.inventory_sha512:
        raise damaged("its inventory is not the one that was sealed")
    inventory = _parse((root / INVENTORY).read_bytes())
    manifest, versions = _manifest(inventory), _versions(inventory)

    content = [_demand(_piece(root, name), digest) for name, digest in manifest.items()]
    of_versions = [piece for version in versions for piece in _inventory_pair(root, version)]
    if not any(piece.sha512 == sealed.inventory_sha512 for piece in of_versions):
        raise damaged("no version folder holds the root inventory")
    inventories, sidecars = of_versions[::2], of_versions[1::2]
    last = (
        _piece(root, INVENTORY, earlier=_digests(inventories) - {sealed.inventory_sha512}),
        _sidecar(root, SIDECAR, sealed.inventory_sha512, earlier=_digests(sidecars)),
    )
    pieces = (*content, *of_versions, _piece(root, DECLARATION), *last)
    named = {piece.name for piece in pieces}
    strangers = tuple(sorted(set(_walk(root)) - named))
    return SealedObject(pieces, strangers, sealed.inventory_sha512)


def read_storage_root(sealed: Sealed) -> tuple[Piece, ...]:
    """The files that make the store an OCFL storage root: declaration, layout, texts, extensions.

    They carry no digests of their own; they are taken as they are. Raises `Refuse` and `OSError`.
    """
    names = check_key(sealed.key)
    if sealed.root.parts[-len(names) :] != names:
        raise ValueError(f"the object's folder {sealed.root} does not end in its key {sealed.key}")
    root = sealed.root.parents[len(names) - 1]
    found = [entry.name for entry in os.scandir(root) if entry.is_file(follow_symlinks=False)]
    found = [name for name in found if not name.startswith(".")]
    if not any(_ROOT_DECLARATION.fullmatch(name) for name in found):
        raise damaged(f"{root} does not declare itself an OCFL storage root")
    if (root / "extensions").is_dir():
        found += [f"extensions/{name}" for name in _walk(root / "extensions")]
    # The declaration goes last, as for objects: a root that declares itself is complete.
    found.sort(key=lambda name: (bool(_ROOT_DECLARATION.fullmatch(name)), name))
    return tuple(_piece(root, name) for name in found)


def _inventory_pair(root: Path, version: str) -> tuple[Piece, Piece]:
    """A version's inventory and the sidecar that vouches for it."""
    inventory = _piece(root, f"{version}/{INVENTORY}")
    return inventory, _sidecar(root, f"{version}/{SIDECAR}", inventory.sha512)


def _sidecar(
    root: Path, name: str, inventory_sha512: str, *, earlier: frozenset[str] = frozenset()
) -> Piece:
    sidecar = _piece(root, name, earlier=earlier)
    if sidecar.path.read_bytes().split() != [inventory_sha512.encode(), INVENTORY.encode()]:
        raise damaged(f"{name} does not have the digest of the inventory beside it")
    return Piece(sidecar.path, name, sidecar.sha512, sidecar.size, earlier - {sidecar.sha512})


def _digests(pieces: Iterable[Piece]) -> frozenset[str]:
    return frozenset(piece.sha512 for piece in pieces)


def _parse(text: bytes) -> Mapping[str, Any]:
    try:
        inventory = json.loads(text)
    except ValueError as error:
        raise damaged(f"its inventory is not JSON ({error})") from error
    if not isinstance(inventory, dict) or inventory.get("digestAlgorithm") != "sha512":
        raise damaged("its inventory does not use SHA-512")
    return inventory


def _manifest(inventory: Mapping[str, Any]) -> dict[str, str]:
    """Content path -> digest, in a fixed order."""
    manifest = inventory.get("manifest")
    if not isinstance(manifest, dict):
        raise damaged("its inventory has no manifest")
    found: dict[str, str] = {}
    for digest, names in manifest.items():
        if not _DIGEST.fullmatch(digest.lower()) or not isinstance(names, list):
            raise damaged("its manifest has an entry that is not a SHA-512 and a list of paths")
        for name in names:
            _demand_content_path(name)
            found[name] = digest.lower()
    return dict(sorted(found.items()))


def _demand_content_path(name: object) -> None:
    try:
        names = check_key(name) if isinstance(name, str) else ()
    except ValueError as error:
        raise damaged(f"its manifest names a path that leads astray ({error})") from error
    if len(names) < 3 or not _VERSION.fullmatch(names[0]):
        raise damaged(f"its manifest names {name!r}, which is not in a version folder")


def _versions(inventory: Mapping[str, Any]) -> list[str]:
    versions = inventory.get("versions")
    if not isinstance(versions, dict) or not versions:
        raise damaged("its inventory has no versions")
    if not all(_VERSION.fullmatch(version) for version in versions):
        raise damaged("its inventory has a version with a strange name")
    return sorted(versions, key=lambda version: int(version[1:]))


def _demand(piece: Piece, sha512: str) -> Piece:
    if piece.sha512 != sha512:
        raise damaged(f"{piece.name} does not have the digest its inventory states")
    return piece


def _piece(root: Path, name: str, *, earlier: frozenset[str] = frozenset()) -> Piece:
    """The file as it is on the disk now, read past the page cache. Raises `OSError`."""
    path = root / name
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(number, "rb") as file:
            status = os.fstat(number)
            if not stat.S_ISREG(status.st_mode):
                raise damaged(f"{name} is not a file")
            os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
            digest = hashlib.file_digest(file, "sha512").hexdigest()
    except OSError as error:
        if error.errno in _IS_NO_FILE:
            raise damaged(f"{name} is not a file ({error.strerror})") from error
        raise  # the disk's answer, not the file's: see `reading`
    return Piece(path, name, digest, status.st_size, earlier)


def _walk(folder: Path) -> Iterator[str]:
    """Every name below `folder` that is not itself a folder; links are named, not followed."""
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            yield from (f"{entry.name}/{name}" for name in _walk(folder / entry.name))
        else:
            yield entry.name
