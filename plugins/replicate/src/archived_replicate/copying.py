"""One object's way to one target: write what is missing, set aside what is damaged, read back all.

Knows OCFL's order and what counts as a verified copy; never how a target stores its bytes.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from archived.api import Copy, Message, Postpone, Target
from archived_replicate.digests import CHUNK, digest_stream
from archived_replicate.errors import Problem
from archived_replicate.source_object import Piece, SealedObject, damaged

STORAGE_ROOT = "ocfl"
"""Below a target, the OCFL storage root; what is beside it is not part of the replica."""
QUARANTINE = "quarantine"
"""Below a target, what was found damaged there, kept for a person to look at."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


@dataclass(slots=True)
class Found:
    """What one pass over one target came to: counts of files, and what a person should read."""

    written: int = 0
    already: int = 0
    updated: int = 0
    quarantined: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def copy_object(
    target: Target[Any],
    key: str,
    sealed: SealedObject,
    root: Sequence[Piece],
    scratch: Path,
    progressed: Callable[[int], None],
) -> tuple[Copy, Found]:
    """Make `target` hold the object under `key`, and prove it by reading back every byte.

    `scratch` is a private folder, `progressed` is told bytes as they are done (written or found,
    then read back). The order is the whole point:

    1. the storage root's own files, so that the replica can be read without us;
    2. content, then version inventories, then the root inventory, its sidecar last;
    3. everything is read back from the target: only that makes it a copy.

    Raises `Postpone` for whatever the target cannot do now; a later run goes on from there.
    """
    found = Found()
    for piece in root:
        with _reached(target):
            _put_root_file(target, piece, found)
    with _reached(target):
        there = set(target.list(key))
    for piece in sealed.pieces:
        with _reached(target):
            _put_piece(target, f"{key}/{piece.name}", piece, there, scratch, found)
        progressed(piece.size)
    for piece in sealed.pieces:
        _read_back(target, f"{key}/{piece.name}", piece)
        progressed(piece.size)
    with _reached(target):
        _note_strangers(target, key, sealed, found)
    copy = Copy(
        target=target.name,
        key=key,
        inventory_sha512=sealed.inventory_sha512,
        files=len(sealed.pieces),
        size=sealed.size,
        verified=datetime.now(UTC),
    )
    return copy, found


def demand_fit(target: Target[Any], beside: Path) -> None:
    """Raises `Postpone` when this place must not hold replicas of the store at `beside`."""
    with _reached(target):
        for problem in target.check(beside):
            raise Postpone(
                Message("target {name}: {problem}", name=target.name, problem=problem),
                code=problem.code if isinstance(problem, Problem) else "target-unfit",
                hint=Message("Put the target right; the copy is then made by itself."),
                after="5 min",
            )


def _put_root_file(target: Target[Any], piece: Piece, found: Found) -> None:
    key = f"{STORAGE_ROOT}/{piece.name}"
    try:
        target.put(piece.path, key, piece.sha512)
    except FileExistsError:
        # Nothing vouches for either side, so neither is overwritten.
        found.notes.append(f"{target.name}: {key} differs from the store's; left as it is")


def _put_piece(
    target: Target[Any], key: str, piece: Piece, there: set[str], scratch: Path, found: Found
) -> None:
    try:
        # Also when it is there and right: `put` makes sure that it is durable.
        _write(target.put, key, piece)
    except FileExistsError:
        pass
    else:
        if key in there:
            found.already += 1
        else:
            found.written += 1
        return
    with target.open(key) as file:
        before = digest_stream(file)
    if before in piece.earlier:
        _write(target.replace, key, piece)
        found.updated += 1
        return
    kept = _set_aside(target, key, before, scratch)
    _write(target.replace, key, piece)
    found.quarantined.append(kept)
    found.notes.append(
        Message(
            "{name}: {key} was damaged; it was replaced and kept as {kept}",
            name=target.name,
            key=key,
            kept=kept,
        )
    )


def _write(write: Callable[[Path, str, str], None], key: str, piece: Piece) -> None:
    try:
        write(piece.path, key, piece.sha512)
    except ValueError as error:
        # It was right a moment ago, when the whole object was verified.
        raise damaged(f"{piece.name} changed while it was copied") from error


def _set_aside(target: Target[Any], key: str, digest: str, scratch: Path) -> str:
    """Keep what is at `key` under quarantine; the same bytes always get the same place."""
    kept = f"{QUARANTINE}/{key}.{digest[:16]}"
    aside = scratch / "damaged"
    with target.open(key) as reading, aside.open("wb") as writing:
        while chunk := reading.read(CHUNK):
            writing.write(chunk)
    try:
        target.put(aside, kept, digest)
    except ValueError as error:
        raise OSError(errno.EIO, "a damaged file reads differently each time", key) from error
    finally:
        aside.unlink()
    return kept


def _read_back(target: Target[Any], key: str, piece: Piece) -> None:
    with _reached(target):
        digest = _digest(target, key)
    if digest != piece.sha512:
        said = Message("is not there") if digest is None else "reads back differently"
        raise Postpone(
            Message(
                "target {name}: {key} was written, but {said}", name=target.name, key=key, said=said
            ),
            code="target-not-verified",
            hint=Message(
                "Suspect the disk, its cable or its controller; look at the kernel's log. "
                "The next try replaces the file and reads it again."
            ),
            after="10 min",
        )


def _note_strangers(target: Target[Any], key: str, sealed: SealedObject, found: Found) -> None:
    ours = {f"{key}/{piece.name}" for piece in sealed.pieces}
    found.notes += [
        Message(
            "{target}: {file} does not belong to the object; left as it is",
            target=target.name,
            file=name,
        )
        for name in sorted(set(target.list(key)) - ours)
    ]


def _digest(target: Target[Any], key: str) -> str | None:
    try:
        with target.open(key) as file:
            return digest_stream(file)
    except FileNotFoundError:
        return None


@contextmanager
def _reached(target: Target[Any]) -> Iterator[None]:
    """What the operating system reports about a target, as something to wait for."""
    try:
        yield
    except OSError as error:
        said = Message("target {name}: {why}", name=target.name, why=error.strerror or error)
        if error.filename:
            said = Message("{said} ({file})", said=said, file=error.filename)
        if error.errno in _FULL:
            raise Postpone(
                said,
                code="target-full",
                hint=Message("Make room on the target, or give it a larger disk."),
                after="10 min",
            ) from error
        if error.errno in _FORBIDDEN:
            raise Postpone(
                said,
                code="target-forbidden",
                hint=Message(
                    "Let the service's user write there, and see that it is not mounted "
                    "read-only: disks turn read-only when they fail."
                ),
                after="10 min",
            ) from error
        raise Postpone(
            said,
            code="target-io",
            hint=Message("Look at the kernel's log about the target's disk and at its cable."),
            after="10 min",
        ) from error
