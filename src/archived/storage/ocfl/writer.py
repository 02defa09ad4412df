"""Building a version in a folder that nobody sees yet: bytes are copied, hashed and compared.

Nothing here is durable and nothing is published; `Store` does both, with one rename.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from archived.errors import StoreError
from archived.message import Message
from archived.storage import atomic
from archived.storage.ocfl import layout
from archived.storage.ocfl.inventory import FILE_NAME, SIDECAR_NAME, Inventory, Version, sidecar_of
from archived.storage.ocfl.reader import StoredObject, inside


@dataclass(frozen=True, slots=True)
class StoreFile:
    """One file to store. `logical` is its path in the object, like `original/0001.tif`.

    `sha512` and `sha256` (lower-case hex) are what the bytes must be; a file on disk must come
    with its `sha512`, bytes need not.
    """

    logical: str
    source: Path | bytes
    sha512: str = ""
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """Who made a version, when (with time zone) and why. `user_address` is a URI (OCFL 3.5.3.1)."""

    created: datetime
    message: str
    user_name: str
    user_address: str


def stage_content(
    body: Path, number: int, files: Sequence[StoreFile]
) -> tuple[dict[str, str], dict[str, str]]:
    """Copy into `body/content`; content path -> SHA-512, and -> SHA-256."""
    layout.check_paths(file.logical for file in files)
    sha512, sha256 = {}, {}
    for file in files:
        if isinstance(file.source, Path) and not file.sha512:
            raise ValueError(f"{file.logical}: a file on disk comes with its SHA-512")
        path = body / "content" / file.logical
        path.parent.mkdir(parents=True, exist_ok=True)
        copied = atomic.copy_file(file.source, path)
        if file.sha512 not in {"", copied.sha512} or file.sha256 not in {"", copied.sha256}:
            raise StoreError(
                Message(
                    "{logical} is not what it was: its digest differs from the one on record",
                    logical=file.logical,
                ),
                code="bytes-changed",
                hint=Message(
                    "Somebody or something changed the file, or the disk is failing: check it."
                ),
            )
        content = f"v{number}/content/{file.logical}"
        sha512[content], sha256[content] = copied.sha512, copied.sha256
    return sha512, sha256


def drop_known(staged: Path, current: StoredObject, content: dict[str, str]) -> None:
    """Leave out bytes the object holds already. A hash alone is not believed."""
    by_digest = {digest: path for path, digest in sorted(current.inventory.manifest.items())}
    for path, digest in list(content.items()):
        known = by_digest.get(digest)
        if known is None:
            continue
        if not atomic.same_bytes(staged / path, inside(current.root, known)):
            raise StoreError(
                Message("object {id}: {known} is damaged", id=current.id, known=known),
                code="object-damaged",
                hint=Message("Restore it from a replica, then try again."),
            )
        del content[path]
        (staged / path).unlink()
        folder = (staged / path).parent
        with suppress(OSError):  # ENOTEMPTY: the folder is still needed
            while folder.parent != staged:
                folder.rmdir()
                folder = folder.parent


def stage_inventory(folder: Path, inventory: Inventory) -> str:
    """Inventory and sidecar into a staged folder; the inventory's SHA-512."""
    folder.mkdir(exist_ok=True)
    content = inventory.to_bytes()
    atomic.copy_file(sidecar_of(content), folder / SIDECAR_NAME)
    return atomic.copy_file(content, folder / FILE_NAME).sha512


def version_of(state: Mapping[str, str], version_info: VersionInfo) -> Version:
    if version_info.created.tzinfo is None:
        raise ValueError("a version's time needs a time zone")
    return Version(
        state,
        version_info.created.isoformat(),
        version_info.message,
        version_info.user_name,
        version_info.user_address,
    )
