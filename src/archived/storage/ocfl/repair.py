"""Mending one object of the store after a crash in the middle of `Store.add_version`, or after its
inventory was damaged.

A version folder appears by one rename and is whole from then on, so the newest whole one decides:
the object goes forward to it. Nothing that cannot be explained is deleted: it is set aside.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from archived.errors import StoreError
from archived.message import Message
from archived.storage import atomic
from archived.storage.ocfl.inventory import FILE_NAME, SIDECAR_NAME, Inventory, sidecar_of
from archived.storage.ocfl.reader import continues, inside, read_pair

_VERSION = re.compile(r"v([1-9][0-9]*)")


def mend_object(root: Path, *, scratch: Path, aside: Path) -> list[str]:
    """Bring an object to its newest whole version; says what was done, nothing when all was well.

    `scratch` is a folder on the same file system for unfinished files; what must leave the object
    is moved into the folder `aside`. Content is re-hashed only in versions that the object's own
    inventory does not know yet. Raises `StoreError` (`object-damaged`) when there is no inventory
    left to go by; nothing has been changed then.

    Order: version folders that are not whole are set aside; then the version's own inventory is
    put right; then the object's, then its sidecar. A crash in between leaves something that this
    function mends again.
    """
    current = _pair(root)
    numbers = sorted(
        int(match[1]) for entry in root.iterdir() if (match := _VERSION.fullmatch(entry.name))
    )
    # The object's inventory and sidecar are written last. When they agree they are to be trusted,
    # and whatever is newer must prove itself; when they do not, the newest version's are.
    newest = current or (_pair(root / f"v{numbers[-1]}") if numbers else None)
    if newest is None or (current is None and newest[1].head != numbers[-1]):
        raise StoreError(
            Message("{root}: no inventory can be trusted", root=root),
            code="object-damaged",
            hint=Message("Restore the object from a replica."),
        )
    odd = []
    for number in (n for n in numbers if n > newest[1].head):
        pair = _pair(root / f"v{number}")
        if pair and pair[1].head == number and _follows(root, newest[1], pair[1]):
            newest = pair
        else:
            odd.append(number)
    return _bring_to(root, newest, odd, scratch, aside)


def _bring_to(
    root: Path, newest: tuple[bytes, Inventory], odd: list[int], scratch: Path, aside: Path
) -> list[str]:
    done = []
    content, inventory = newest
    for number in odd:
        atomic.publish_folder(root / f"v{number}", _free_name(aside, f"{root.name}-v{number}"))
        done.append(f"v{number} was not whole and was set aside")
    for folder in (root / f"v{inventory.head}", root):
        if not folder.is_dir():
            continue  # a version is gone: a full check will say so, an inventory would hide it
        for name, wanted in ((FILE_NAME, content), (SIDECAR_NAME, sidecar_of(content))):
            if _bytes(folder / name) != wanted:
                atomic.write_file(folder / name, wanted, mode=0o444, scratch=scratch)
                done.append(f"{folder.relative_to(root.parent)}/{name} was written anew")
    return done


def _pair(folder: Path) -> tuple[bytes, Inventory] | None:
    with suppress(StoreError, FileNotFoundError, NotADirectoryError):
        return read_pair(folder)
    return None


def _bytes(path: Path) -> bytes | None:
    with suppress(FileNotFoundError):
        return atomic.read_bytes(path)
    return None


def _follows(root: Path, earlier: Inventory, later: Inventory) -> bool:
    """Whether `later` adds to `earlier`, and what it added is there, byte for byte."""
    return continues(earlier, later) and all(
        _holds(root, path, later.manifest[path])
        for path in later.manifest.keys() - earlier.manifest
    )


def _holds(root: Path, content: str, sha512: str) -> bool:
    with suppress(StoreError, FileNotFoundError, NotADirectoryError):
        return atomic.digest(inside(root, content)).sha512 == sha512
    return False


def _free_name(folder: Path, name: str) -> Path:
    number = 0
    while os.path.lexists(path := folder / (f"{name}.{number}" if number else name)):
        number += 1
    return path
