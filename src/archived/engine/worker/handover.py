"""What a step in an account of its own is given, and how what it made comes back.

Such a step owns nothing of the service's and can enter none of its folders. The service hands over:
its folder by an access control list for the account (`acl(5)`); the bytes of its document as links
below `INPUT` in that folder, which it can read and not change; each secret that its options name as
an open descriptor. Plain mode, where steps have the service's own account, uses none of this.
"""

from __future__ import annotations

import errno
import os
import pwd
import shutil
import stat
import struct
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from archived.errors import StoreError
from archived.storage import tree

Json = Mapping[str, Any]

INPUT = ".input"
"""Folder inside a step's own for what it was given; nothing in it is output."""
SECRETS_LIMIT = 16
"""Secrets that one step may be given."""
DEPTH_LIMIT = 64
"""Folders inside each other that are given back; what lies deeper stays the account's."""
ENTRIES_LIMIT = 100_000
"""Files and folders of one step that are given back."""

_ACCESS, _DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
_OWNER, _USER, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x10, 0x20
_NOBODY = 0xFFFFFFFF
_ALL = 7
_READ_AND_ENTER = 5
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CANNOT_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP)
_SECRET_KEYS = {"credential", "file"}


@dataclass(frozen=True, slots=True)
class HandedOver:
    """A job as the account is told of it. `descriptors`: of its secrets, in the job's order."""

    job: dict[str, Any]
    descriptors: list[int] = field(default_factory=list)

    def close(self) -> None:
        """Let go of the descriptors."""
        while self.descriptors:
            os.close(self.descriptors.pop())


def hand_over(job: Json, account: int) -> HandedOver:
    """Make all that a job names open to the account, and to no other.

    `job` as the runner makes it; its folder exists and is the caller's. Raises `OSError`.
    """
    folder = Path(job["folder"])
    told = {**job, "owner": os.geteuid()}
    if (request := job.get("request")) is not None:
        told["request"] = {
            **request,
            "document": _link_document(request["document"], folder / INPUT, readable=True),
        }
    open_to(folder, account)
    return _with_secrets(told)


def hand_over_kept(job: Json, account: int | None, folder: Path, given: Path) -> HandedOver:
    """The same for a step of a kept worker: its folder is `folder`, its document's files become
    links in `given`. Both are made here. `account` `None`: the service's own, in plain mode.

    Its secrets are handed over open in plain mode too: a file that replaces another is not in the
    reach of a worker that lives already.
    """
    folder.mkdir(mode=0o700)
    document = _link_document(job["request"]["document"], given, readable=account is not None)
    request = {**job["request"], "document": document, "folder": str(folder)}
    told = {**job, "request": request, "folder": str(folder)}
    if account is not None:
        told["owner"] = os.geteuid()
        open_to(folder, account)
    return _with_secrets(told)


def _with_secrets(told: dict[str, Any]) -> HandedOver:
    """The job with its secrets opened; none stays open when that fails."""
    handed = HandedOver(told)
    try:
        told["secrets"] = _open_secrets(told, handed.descriptors)
    except BaseException:
        handed.close()
        raise
    return handed


def open_for_reading(folder: Path, account: int) -> None:
    """Let an account enter a folder of ours, and make nothing in it. Raises `OSError`."""
    os.setxattr(folder, _ACCESS, _acl({account: _READ_AND_ENTER}))


def open_to(folder: Path, account: int) -> None:
    """Let an account work in a folder of ours. What it makes there is ours to read and remove.

    Raises `OSError` where the file system keeps no access control lists.
    """
    try:
        os.setxattr(folder, _ACCESS, _acl({account: _ALL}))
        os.setxattr(folder, _DEFAULT, _acl({account: _ALL, os.geteuid(): _ALL}))
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        raise OSError(
            errno.EOPNOTSUPP,
            "its file system keeps no access control lists, without which steps "
            "cannot have accounts of their own",
            str(folder),
        ) from error


def _acl(users: Mapping[int, int]) -> bytes:
    """All for the owner, this for users by number, nothing for anybody else."""
    entries = [
        (_OWNER, _ALL, _NOBODY),
        *((_USER, may, number) for number, may in sorted(users.items())),
        (_GROUP, 0, _NOBODY),
        (_MASK, _ALL, _NOBODY),
        (_OTHER, 0, _NOBODY),
    ]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def _link_document(document: Json, into: Path, *, readable: bool) -> dict[str, Any]:
    """The document with its files as links in a new folder, each under its own name.

    `readable`: by another account than ours.
    """
    link = _link if readable else _link_own
    into.mkdir(mode=0o755)
    into.chmod(0o755)
    sealed = document["sealed"]
    if sealed is not None:
        sealed, moved = _link_object(sealed, into, link)
    else:
        moved = {}
    places: dict[Path, Path] = {}  # a folder of originals is one folder there, too
    artifacts = []
    for artifact in document["artifacts"]:
        path = Path(artifact["path"])
        there = next(
            (new / path.relative_to(old) for old, new in moved.items() if path.is_relative_to(old)),
            None,
        )
        if there is None:
            if path.parent not in places:
                places[path.parent] = _make(into / str(len(places)))
            there = places[path.parent] / path.name
            if not os.path.lexists(there):
                link(path, there)
        artifacts.append({**artifact, "path": str(there)})
    return {**document, "artifacts": artifacts, "sealed": sealed}


def _link_object(
    sealed: Json, into: Path, link: Callable[[Path, Path], bool]
) -> tuple[dict[str, Any], dict[Path, Path]]:
    """A sealed object with the files of its storage root: a root with this one object in it."""
    root, key = Path(sealed["root"]), PurePosixPath(sealed["key"])
    if root.parts[-len(key.parts) :] != key.parts:
        raise StoreError(f"the object's folder {root} does not end in its key {key}")
    storage = root.parents[len(key.parts) - 1]
    new = _make(into / "ocfl")
    for entry in sorted(storage.iterdir()):
        if entry.is_file() and not entry.is_symlink():
            link(entry, new / entry.name)
    place = new
    for part in key.parts:
        place = _make(place / part)
    for found in tree.walk(root):
        here = place
        for part in found.above:
            here = _make(here / part)
        if found.kind is not tree.EntryKind.FOLDER:
            link(root.joinpath(*found.above, found.name), here / found.name)
    return {**sealed, "root": str(place)}, {root: place}


def _make(folder: Path) -> Path:
    folder.mkdir(mode=0o755, exist_ok=True)
    folder.chmod(0o755)  # whatever the umask is: who may come this far is said further up
    return folder


def _link(source: Path, new: Path) -> bool:
    """A second name for a file of ours, which anybody who reaches that name can read."""
    linked = _link_own(source, new)
    if linked and not (mode := source.stat().st_mode) & stat.S_IROTH:
        # Its folder in the spool stays closed, so that is no opening.
        source.chmod(stat.S_IMODE(mode) & ~0o222 | 0o444)
    return linked


def _link_own(source: Path, new: Path) -> bool:
    """The same, for ourselves. `False`: it is a copy, or there is nothing."""
    try:
        mode = source.lstat().st_mode
    except FileNotFoundError:
        return False  # the stage says so, as it would in plain mode
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a file", str(source))
    try:
        os.link(source, new, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _CANNOT_LINK:
            raise
        shutil.copyfile(source, new, follow_symlinks=False)
        new.chmod(0o444)
        return False
    return True


def secrets_of(options: object) -> Iterator[dict[str, Any]]:
    """The references to secrets in options, as JSON: tables of the keys of `SecretRef`."""
    if isinstance(options, Mapping):
        if set(options) == _SECRET_KEYS:
            yield dict(options)
            return
        options = list(options.values())
    if isinstance(options, list):
        for each in options:
            yield from secrets_of(each)


def without_secrets(options: Any, given: Sequence[str]) -> Any:
    """The same options, with nothing in place of each secret whose file was given open."""
    if isinstance(options, Mapping):
        if set(options) == _SECRET_KEYS:
            return None if _file_of(options) in given else options
        return {name: without_secrets(value, given) for name, value in options.items()}
    if isinstance(options, list):
        return [without_secrets(each, given) for each in options]
    return options


def _file_of(reference: Json) -> str | None:
    """As `SecretRef.path` finds it."""
    if reference["file"]:
        return str(reference["file"])
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return f"{folder}/{reference['credential']}" if folder else None


def _open_secrets(job: Json, descriptors: list[int]) -> list[str]:
    """Open every secret that the job's stage is to read; the paths, in the descriptors' order.

    One that cannot be opened is left out: the stage says so, and when it is the stage's turn.
    """
    options = job["request"]["options"] if "request" in job else job.get("options")
    paths: list[str] = []
    for path in dict.fromkeys(filter(None, map(_file_of, secrets_of(options)))):
        with suppress(OSError):
            if len(paths) < SECRETS_LIMIT:
                descriptors.append(_opened_secret(path))
                paths.append(path)
    return paths


def _opened_secret(path: str) -> int:
    """Raises `OSError`, also for what is no file: no step is given an open folder."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not a file", path)
    return handle


def closed_to_us(folder: Path) -> bool:
    """Whether a file or a folder that a step left cannot be read or removed by the service."""
    ours = os.geteuid()
    for above, name, found in _walk(folder, lambda found: found.st_uid != ours):
        if found.st_uid == ours or stat.S_ISLNK(found.st_mode):
            continue
        wanted = os.R_OK
        if stat.S_ISDIR(found.st_mode):
            wanted |= os.W_OK | os.X_OK
        if not os.access(name, wanted, dir_fd=above):
            return True
    return False


def give_back(folder: Path, owner: int) -> None:
    """In the step's account: let `owner` read and remove all that the account owns there.

    For what was made closed (by mkstemp(3), say) or has closed itself. What cannot be is left.
    """
    mine = os.geteuid()

    def is_mine(found: os.stat_result) -> bool:
        return found.st_uid == mine

    with suppress(OSError):
        for above, name, found in _walk(folder, is_mine, open_first=True):
            if is_mine(found) and (stat.S_ISDIR(found.st_mode) or stat.S_ISREG(found.st_mode)):
                with suppress(OSError):
                    _open_for(above, name, owner)


def _open_for(above: int, name: str, owner: int) -> None:
    handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=above)
    try:
        os.setxattr(handle, _ACCESS, _acl({owner: _ALL, os.geteuid(): _ALL}))
    finally:
        os.close(handle)


def _walk(
    folder: Path, enter: Callable[[os.stat_result], bool], *, open_first: bool = False
) -> Iterator[tuple[int, str, os.stat_result]]:
    """Everything below a folder: a descriptor of what holds it, its name, what it is.

    No path grows and no call nests; links are not followed; ends at the limits. `enter`: which
    folders are gone into. `open_first`: these and their files are opened as far as their lists say.
    """
    with ExitStack() as opened:
        stack: list[tuple[int, Iterator[os.DirEntry[str]]]] = []
        opened.callback(_close_all, stack)
        stack.append(_entered(os.open(folder, _FOLDER)))
        for _ in range(ENTRIES_LIMIT):
            above, entries = stack[-1]
            while (entry := next(entries, None)) is None:
                os.close(stack.pop()[0])
                if not stack:
                    return
                above, entries = stack[-1]
            name = entry.name
            try:
                found = os.stat(name, dir_fd=above, follow_symlinks=False)
            except OSError:
                continue
            is_folder = stat.S_ISDIR(found.st_mode)
            if open_first and enter(found) and (is_folder or stat.S_ISREG(found.st_mode)):
                with suppress(OSError):
                    os.chmod(name, 0o770 if is_folder else 0o660, dir_fd=above)
            yield above, name, found
            if is_folder and enter(found) and len(stack) < DEPTH_LIMIT:
                with suppress(OSError):
                    stack.append(_entered(os.open(name, _FOLDER, dir_fd=above)))


def _close_all(stack: list[tuple[int, Iterator[os.DirEntry[str]]]]) -> None:
    for handle, _ in stack:
        os.close(handle)


def _entered(handle: int) -> tuple[int, Iterator[os.DirEntry[str]]]:
    try:
        return handle, os.scandir(handle)
    except OSError:
        os.close(handle)
        raise


def main() -> None:
    """After the last process of an account: give back what it left in the steps' folders.

    Arguments: the folder that holds them, and whose they are. Run by the service manager in that
    account; whether a crash, a kill or an orderly end came before makes no difference.
    """
    work, owner = Path(sys.argv[1]), pwd.getpwnam(sys.argv[2]).pw_uid
    for step in sorted(work.iterdir()):
        with suppress(OSError):
            give_back(step, owner)


if __name__ == "__main__":
    main()
