"""The receipts folder in a hot folder: safe names, files written whole, a limit on its size.

Received names are hostile: any byte, any length. A receipt's file name only resembles them; the
true name stands inside. People with access to the share may have put anything there: folders are
entered by descriptor, links are never followed, and only files with our names are counted or
removed. Whoever can write there can forge a list of safe documents, so the folders must be ours
and closed to others; `doubt` says where they are not.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import time
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from re import Pattern

from archived.storage import atomic

LONGEST = 60
"""Characters of a received name that its answer shows; Windows refuses paths over 260."""
_LONGEST_BYTES = 150
"""A name on disk has at most 255 bytes, and ours go on after it."""
_TAIL = 16
"""Scanners count at the end of a name: the end of a name that is cut stays."""

_FORBIDDEN = re.compile(r'[\\/:*?"<>|]')
_DEVICES = frozenset(
    {"con", "prn", "aux", "nul", "conin$", "conout$"}
    | {f"{port}{n}" for port in ("com", "lpt") for n in "0123456789¹²³"}
)
"""Names that Windows keeps for devices, whatever follows their first dot."""

_ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
RECEIPT = re.compile(rf".+_{_ID}(?:_\d+|_rejected|_refused)?\.(?:txt|json)", re.S)
REASON = re.compile(rf".+_(?:{_ID}|file-\d+)\.txt", re.S)
SAFE_LIST = re.compile(r"safe-\d{4}-\d\d-\d\d\.csv")
STATUS = "STATUS.txt"


def resembling(path: bytes) -> str:
    """The last part of a received path as a harmless beginning of a file name, never empty."""
    last = path.rsplit(b"/", 1)[-1].decode("utf-8", "replace")
    name = unicodedata.normalize("NFC", last).replace("\N{REPLACEMENT CHARACTER}", "_")
    # Not printable: line feeds, and marks that turn the direction of writing.
    name = "".join(c if c.isprintable() else "_" for c in _FORBIDDEN.sub("_", name))
    name = _cut(name).strip(" ")
    name = re.sub(r"[. ]+$", "_", name) or "_"
    # A dot hides a file, a dash looks like an option, "~" like a temporary file.
    if name[0] in ".-~$=+@" or name.split(".", 1)[0].rstrip().casefold() in _DEVICES:
        name = f"_{name}"
    return name


def _cut(name: str) -> str:
    if len(name) <= LONGEST and len(name.encode()) <= _LONGEST_BYTES:
        return name
    tail, head = name[-_TAIL:], name[: LONGEST - _TAIL - 1]
    while len(f"{head}…{tail}".encode()) > _LONGEST_BYTES:
        head = head[:-1]
    return f"{head}…{tail}"


def receipt(path: bytes, document: str, arrival: int | None) -> str:
    """Name of a receipt, without its suffix. The same arrival always has the same."""
    number = "" if arrival is None else f"_{arrival}"
    return f"{resembling(path)}_{document}{number}"


def reason(path: bytes, *, document: str | None = None, arrival: int = 0) -> str:
    """Name of the reason file of a held document, or of a file that was not taken in."""
    return f"{resembling(path)}_{document or f'file-{arrival}'}.txt"


RECEIPTS, HELD, SAFE, TOP = "receipts", "held", "safe", ""
_OURS: Mapping[str, Pattern[str]] = {
    RECEIPTS: RECEIPT,
    HELD: REASON,
    SAFE: SAFE_LIST,
}
_AT_THE_TOP = re.compile(re.escape(STATUS))
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NO_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.ENOSYS})
_NO_FOLDER = frozenset({errno.ELOOP, errno.ENOTDIR, errno.EACCES})
_BLOCK = 4096
_LIST_AGAIN = 600.0
"""Seconds after which the folder is listed anew: people remove files too."""


def cost(size: int) -> int:
    """What a file of `size` bytes takes on a disk."""
    return max(1, -(-size // _BLOCK)) * _BLOCK


class ForgeryDoubt(StrEnum):
    """Why answers may be forged."""

    NONE = ""
    OWNER = "owner"
    """Somebody else made the folder, or one in it, and may do there what he likes."""
    MODE = "mode"
    """Others than the service may write there, and that cannot be changed."""
    FILES = "files"
    """There are files under names of ours that somebody else wrote."""


@dataclass
class _Listed:
    """What is known of the folder since it was last listed."""

    identity: tuple[int, ...]
    at: float
    ours: dict[str, dict[str, tuple[int, int]]] = field(default_factory=dict)
    """Folder -> name -> (time of change in ns, cost)."""
    strangers: int = 0
    owners: Counter[int] = field(default_factory=Counter)
    """Who wrote the files that have names of ours, and how many of them."""


class ReceiptFolder:
    """One hot folder's answers. Open it for each use: an idle share must be free to unmount."""

    def __init__(self, root: Path, name: str, keep: int) -> None:
        self._root = root
        self._name = name
        self.keep = keep
        self._listed: _Listed | None = None
        self._handles: dict[str, int] = {}
        self._mode = 0o644
        self._own = {0, os.geteuid()}
        """Whose our files are there."""
        self._folders: list[os.stat_result] = []
        self._barred = False
        """Whether a link, a file or a folder closed to us stands where a folder of ours should."""

    @contextmanager
    def opened(self, *, make: bool = True) -> Iterator[bool]:
        """Inside it the other methods work; yields whether the folder is another than before.

        The hot folder itself is never made: where it is missing, a disk is. Raises `OSError`, and
        without `make` `FileNotFoundError` when there is no folder for answers yet.
        """
        with ExitStack() as stack:
            root = _entered(stack, self._root)
            status = os.fstat(root)
            self._mode = 0o600 | status.st_mode & 0o044
            self._folders, self._barred = [], False
            self._handles = {TOP: self._below(stack, root, self._name, status, make=make)}
            for folder in _OURS:
                self._handles[folder] = self._below(
                    stack, self._handles[TOP], folder, status, make=make
                )
            try:
                another = self._look()
                if self._others():
                    self._own |= self._shown_as()
                yield another
            finally:
                self._handles = {}

    def put(self, folder: str, name: str, content: bytes) -> None:
        """Write a whole file, in place of an older one of that name. Raises `OSError`."""
        try:
            atomic.write_file(self._path(folder, name), content, mode=self._mode)
        except OSError as error:
            # Some shares cannot make a folder durable; the file has its name by then.
            if error.errno not in _NO_SYNC or not self.holds(folder, name, content):
                raise
        if folder != TOP:
            self._ours[folder][name] = (time.time_ns(), cost(len(content)))

    def drop(self, folder: str, name: str) -> None:
        """Remove a file of ours. That it is gone need not survive a power cut."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._handles[folder])
        self._ours[folder].pop(name, None)

    def holds(self, folder: str, name: str, content: bytes) -> bool:
        """Whether exactly this is there already."""
        try:
            path = self._path(folder, name)
            return path.lstat().st_size == len(content) and atomic.read_bytes(path) == content
        except OSError:
            return False

    def names(self, folder: str) -> list[str]:
        """Names of ours in a folder."""
        return list(self._ours[folder])

    def has(self, folder: str, name: str) -> bool:
        """Whether a file of ours was there when the folder was last listed."""
        return name in self._ours[folder]

    @property
    def strangers(self) -> int:
        """Files that are not ours: they are not archived, and somebody should know."""
        return self._listed.strangers if self._listed else 0

    def _others(self) -> set[int]:
        """Who else than we has made a folder or a file of ours."""
        written = set(self._listed.owners) if self._listed else set()
        return (written | {folder.st_uid for folder in self._folders}) - self._own

    def _shown_as(self) -> set[int]:
        """Whose a file of ours is here: a mount may show all of them as one user's. Asked of a new
        file's descriptor, which nobody can exchange.
        """
        name = f"{atomic.SCRATCH_PREFIX}{secrets.token_hex(8)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with suppress(OSError):
            handle = os.open(name, flags, 0o600, dir_fd=self._handles[TOP])
            try:
                return {os.fstat(handle).st_uid}
            finally:
                os.close(handle)
                os.unlink(name, dir_fd=self._handles[TOP])
        return set()

    @property
    def doubt(self) -> ForgeryDoubt:
        """Why what lies there may be forged, if it may."""
        if self._barred or {folder.st_uid for folder in self._folders} - self._own:
            return ForgeryDoubt.OWNER
        if any(folder.st_mode & 0o022 for folder in self._folders):
            return ForgeryDoubt.MODE
        if self._listed and set(self._listed.owners) - self._own:
            return ForgeryDoubt.FILES
        return ForgeryDoubt.NONE

    def shrink(self) -> bool:
        """Remove the oldest receipts, then the oldest safe lists but one, until all fits `keep`.

        Returns whether anything had to go.
        """
        total = sum(c for files in self._ours.values() for _, c in files.values())
        if total <= self.keep:
            return False
        goal = self.keep - self.keep // 20  # a little more, or each new receipt sorts them all
        removed = False
        spare = sorted(self._ours[SAFE])[:-1]
        for folder, oldest in ((RECEIPTS, self._by_age(RECEIPTS)), (SAFE, spare)):
            for name in oldest:
                if total <= goal:
                    return removed
                total -= self._ours[folder][name][1]
                self.drop(folder, name)
                removed = True
        return removed

    def _by_age(self, folder: str) -> list[str]:
        return sorted(self._ours[folder], key=lambda name: (self._ours[folder][name][0], name))

    @property
    def _ours(self) -> dict[str, dict[str, tuple[int, int]]]:
        assert self._listed is not None  # noqa: S101 - `opened` filled it
        return self._listed.ours

    def _path(self, folder: str, name: str) -> Path:
        return _through(self._handles[folder]) / name

    def _below(
        self, stack: ExitStack, above: int, name: str, root: os.stat_result, *, make: bool
    ) -> int:
        try:
            handle = _entered(stack, name, above)
        except FileNotFoundError:
            if not make:
                raise
        except OSError as error:
            self._barred = error.errno in _NO_FOLDER
            raise
        else:
            self._folders.append(_closed(handle))
            return handle
        os.mkdir(name, 0o755, dir_fd=above)
        with suppress(OSError):  # a power cut that undoes it is mended by the next answer
            atomic.fsync_folder(_through(above))
        handle = _entered(stack, name, above)
        # Whoever may look into the hot folder may read the answers, and nobody else.
        with suppress(OSError):
            os.fchown(handle, -1, root.st_gid)
        # The group stays the folder's where the hot folder has it so; a unit that may set no such
        # bits (RestrictSUIDSGID=) keeps what the new folder inherited.
        with suppress(OSError):
            os.fchmod(handle, 0o700 | root.st_mode & (stat.S_ISGID | 0o055))
        self._folders.append(_closed(handle))
        return handle

    def _look(self) -> bool:
        """List the folders when they are others than before, or were listed long ago."""
        identity = tuple(
            number
            for handle in self._handles.values()
            for number in (os.fstat(handle).st_dev, os.fstat(handle).st_ino)
        )
        before, now = self._listed, time.monotonic()
        if before and before.identity == identity and now - before.at < _LIST_AGAIN:
            return False
        found = _Listed(identity, now)
        for folder, pattern in _OURS.items():
            found.ours[folder] = self._list(folder, pattern, found)
        self._list(TOP, _AT_THE_TOP, found)
        self._listed = found
        return before is None or before.identity != identity

    def _list(
        self, folder: str, pattern: Pattern[str], found: _Listed
    ) -> dict[str, tuple[int, int]]:
        ours = {}
        with os.scandir(self._handles[folder]) as entries:
            for entry in entries:
                if folder == TOP and entry.name in _OURS:
                    continue
                if entry.name.startswith(atomic.SCRATCH_PREFIX):
                    with suppress(OSError):  # a crash left it; a folder of that name nobody of us
                        os.unlink(entry.name, dir_fd=self._handles[folder])
                elif pattern.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    status = entry.stat(follow_symlinks=False)
                    found.owners[status.st_uid] += 1
                    ours[entry.name] = (status.st_mtime_ns, cost(status.st_size))
                elif not entry.name.startswith("."):
                    found.strangers += 1
        return ours


def _closed(handle: int) -> os.stat_result:
    """What a folder of ours is, after others were kept from writing there, as far as we may."""
    status = os.fstat(handle)
    if status.st_mode & 0o022:
        with suppress(OSError):
            os.fchmod(handle, stat.S_IMODE(status.st_mode) & ~0o022)
        status = os.fstat(handle)
    return status


def _through(handle: int) -> Path:
    """A folder by its handle: it cannot be exchanged for a link meanwhile."""
    return Path(f"/proc/self/fd/{handle}")


def _entered(stack: ExitStack, path: str | Path, above: int | None = None) -> int:
    # The hot folder itself may be reached through a link: it is the administrator's own.
    flags = _FOLDER if above is None else _FOLDER | os.O_NOFOLLOW
    handle = os.open(path, flags, dir_fd=above)
    stack.callback(os.close, handle)
    return handle
