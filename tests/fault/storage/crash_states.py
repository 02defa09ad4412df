"""What a disk may hold after a power cut: every legal mixture of what was written and not fsynced.

`record(action, folder)` runs `action` in a child and follows the tree below `folder`. At each
durable operation (`atomic.fuse`) and at the end it derives the trees that a machine could come back
with. The rules are those of fsync(2), as the ALICE and CrashMonkey papers use them:

- a file's bytes are durable once the file was fsynced; until then they are the bytes of the last
  fsync, torn, or whole;
- a name (made, replaced, removed) is durable once its *folder* was fsynced; until then each name in
  a folder is, independently of every other, at any state it had since the last fsync;
- a file that was renamed keeps at least one of its names, perhaps both; a folder keeps exactly one.

Short histories are enumerated, long ones sampled with a seed. The catalog (SQLite syncs it itself)
is always as it is.
"""

from __future__ import annotations

import itertools
import os
import pickle
import random
import stat
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from archived.storage import atomic
from tests.fault.storage.place_of_call import place_of_call

_CATALOG = "catalog.db"


@dataclass
class _Node:
    """A file or a folder, whatever names it has. The first of each list is durable."""

    mode: int
    mtime_ns: int
    bytes_: list[bytes] = field(default_factory=list)
    names: dict[str, list[int | None]] = field(default_factory=dict)
    look: tuple[int, ...] = ()
    synced: bool = True
    """Whether it was fsynced since it last changed, by the letter of fsync(2)."""

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.mode)


Entry = tuple[int, str]
Image = tuple[tuple[str, int, int, bytes], ...]
"""Path, mode, time and content of everything below the folder."""


@dataclass
class Crash:
    """The trees that a power cut at one moment may leave."""

    before: str
    images: list[Image]


@dataclass
class History:
    """What `record` saw."""

    crashes: list[Crash]
    places: list[str]
    """Where each fsync was asked for, in order, each once (`place_of_call`)."""
    unsynced: list[str]
    """What was not fsynced when the action returned."""

    def images(self, seed: int = 1) -> Iterator[tuple[str, Image]]:
        """Each tree once: those of the end first, then those of all moments, one of each in turn:
        its first, which has lost the most, before those that chance mixed.
        """
        seen = set()
        moments = [crash for crash in self.crashes if crash.images]
        random.Random(seed).shuffle(moments)
        moments.sort(key=lambda crash: crash.before != self.crashes[-1].before)
        turns = itertools.zip_longest(
            *[[(crash.before, image) for image in crash.images] for crash in moments]
        )
        for turn in turns:
            for each in turn:
                if each is not None and each[1] not in seen:
                    seen.add(each[1])
                    yield each


class Disk:
    """Follows the live tree below `root`, and what of it is durable."""

    def __init__(self, root: Path, ignored: str, limit: int, seed: int) -> None:
        self._root, self._ignored, self._limit = root, ignored, limit
        self._random = random.Random(seed)
        self._nodes: dict[int, _Node] = {}
        self._live: dict[tuple[int, int], int] = {}
        self._needs: dict[tuple[Entry, int], tuple[Entry, int, bool]] = {}
        """A name that went by a rename -> the one that came, and whether both go together."""
        self._numbers = itertools.count()
        self.crashes: list[Crash] = []
        self.places: dict[str, None] = {}
        self._top = self._look(durable=True)

    # What happens

    def step(self, operation: str, path: Path) -> None:
        """A durable operation is about to happen: the power may go now."""
        self._look()
        inside = f" {path.relative_to(self._root)}" if path.is_relative_to(self._root) else ""
        self.crash(operation + inside)

    def fsync(self, handle: int) -> None:
        """In place of `os.fsync`: what the kernel would promise from now on."""
        self._look()
        found = os.fstat(handle)
        place = place_of_call()
        if "fsync_tree(" in place.rpartition("> ")[2]:  # one line there is for both kinds
            place += " [folder]" if stat.S_ISDIR(found.st_mode) else " [file]"
        self.places[place] = None
        number = self._live.get((found.st_dev, found.st_ino))
        if number is None or place == self._ignored:
            return
        node = self._nodes[number]
        node.synced = True
        del node.bytes_[:-1]
        for name in node.names:
            self._settle((number, name), len(node.names[name]) - 1)

    def crash(self, before: str) -> None:
        """Note every tree that there may be if the power goes now."""
        self.crashes.append(Crash(before, list(dict.fromkeys(self._images()))))

    def unsynced(self) -> list[str]:
        """Files and folders changed since they were fsynced."""
        self._look()
        paths = {number: path for path, number in self._paths(self._newest())}
        return sorted(
            path
            for number, path in paths.items()
            if not self._nodes[number].synced and _CATALOG not in path
        )

    # Following the tree

    def _look(self, *, durable: bool = False) -> int:
        """Compare the tree with what it was, and remember each change."""
        now: dict[tuple[int, int], int] = {}
        entries: dict[int, dict[str, int]] = {}
        top = self._visit(self._root, now, entries, durable=durable)
        came: dict[int, Entry] = {}
        went: list[tuple[int, Entry]] = []
        for number, node in list(self._nodes.items()):
            if not node.is_folder:
                continue
            held = entries.get(number, {})
            for name in node.names.keys() | held.keys():
                versions = node.names.setdefault(name, [None])
                before, after = versions[-1], held.get(name)
                if durable:
                    node.names[name] = [after]
                elif before != after:
                    versions.append(after)
                    if not name.startswith(atomic.SCRATCH_PREFIX):
                        node.synced = False
                    if after is not None:
                        came[after] = (number, name)
                    if before is not None:
                        went.append((before, (number, name)))
        for child, entry in went:
            if child in came:
                folder = self._nodes[child].is_folder
                self._bind(entry, came[child], together=folder)
        self._live = now
        return top

    def _bind(self, gone: Entry, new: Entry, *, together: bool) -> None:
        last = len(self._versions(gone)) - 1, len(self._versions(new)) - 1
        self._needs[gone, last[0]] = (new, last[1], False)
        if together:
            self._needs[new, last[1]] = (gone, last[0], True)

    def _visit(
        self,
        path: Path,
        now: dict[tuple[int, int], int],
        entries: dict[int, dict[str, int]],
        *,
        durable: bool,
    ) -> int:
        found = path.lstat()
        key = (found.st_dev, found.st_ino)
        number = self._live.get(key)
        if number is None or stat.S_IFMT(self._nodes[number].mode) != stat.S_IFMT(found.st_mode):
            number = next(self._numbers)
            self._nodes[number] = _Node(found.st_mode, found.st_mtime_ns)
            if not durable:
                self._nodes[number].bytes_ = [b""]
                self._nodes[number].synced = self._nodes[number].is_folder  # an empty one
        now[key] = number
        node = self._nodes[number]
        node.mode, node.mtime_ns = found.st_mode, found.st_mtime_ns
        if node.is_folder:
            with os.scandir(path) as scan:
                names = sorted(entry.name for entry in scan)
            entries[number] = {
                name: self._visit(path / name, now, entries, durable=durable)
                for name in names
                if not name.endswith("-shm")
            }
            return number
        look = (found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        if look != node.look:
            node.look = look
            content = path.read_bytes() if stat.S_ISREG(found.st_mode) else b""
            if not node.bytes_ or content != node.bytes_[-1]:
                node.bytes_ = [content] if durable else [*node.bytes_[:1], content]
                node.synced = durable
        if path.name.startswith(_CATALOG):
            node.bytes_ = node.bytes_[-1:]
        return number

    def _versions(self, entry: Entry) -> list[int | None]:
        return self._nodes[entry[0]].names[entry[1]]

    def _settle(self, entry: Entry, version: int) -> None:
        """A name is durable at one of its states, and a folder's old name goes with its new one.

        That a name went by a rename is durable only where the new name is: whoever fsyncs the old
        folder alone is promised nothing about the new one.
        """
        needs = [(each, self._needs.get((entry, each))) for each in range(version + 1)]
        for each, need in needs:
            if need is not None and not need[2] and need[1] > 0:
                version = min(version, each - 1)
        del self._versions(entry)[:version]
        for (other, each), (new, at, back) in list(self._needs.items()):  # the numbers have moved
            if other == entry:
                del self._needs[other, each]
                if each > version:
                    self._needs[other, each - version] = (new, at, back)
            elif new == entry:
                self._needs[other, each] = (new, max(0, at - version), back)
        for each, need in needs:
            if need is not None and need[2] and each <= version:
                self._settle(need[0], need[1])

    # What may be left of it

    def _images(self) -> Iterator[Image]:
        names = [
            (number, name)
            for number, node in self._nodes.items()
            for name in node.names
            if len(node.names[name]) > 1 and not name.startswith(_CATALOG)
        ]
        files = [number for number, node in self._nodes.items() if len(node.bytes_) > 1]
        sizes = [len(self._versions(entry)) for entry in names] + [3 for _ in files]
        for chosen in _combinations(sizes, self._limit, self._random):
            versions = dict(zip(names, chosen, strict=False))
            if self._is_legal(versions):
                contents = dict(zip(files, chosen[len(names) :], strict=True))
                yield tuple(self._tree(versions, contents))

    def _is_legal(self, versions: dict[Entry, int]) -> bool:
        return all(
            versions.get(new, len(self._versions(new)) - 1) >= at
            for (gone, since), (new, at, _) in self._needs.items()
            if versions.get(gone, len(self._versions(gone)) - 1) >= since
        )

    def _newest(self) -> dict[Entry, int]:
        return {}

    def _paths(self, versions: dict[Entry, int]) -> Iterator[tuple[str, int]]:
        """Every name that can be reached, folders before what they hold."""
        waiting = [("", self._top)]
        while waiting:
            path, number = waiting.pop()
            yield path or ".", number
            for name, history in sorted(self._nodes[number].names.items()):
                child = history[versions.get((number, name), len(history) - 1)]
                if child is not None:
                    waiting.append((f"{path}/{name}".lstrip("/"), child))

    def _tree(
        self, versions: dict[Entry, int], contents: dict[int, int]
    ) -> Iterator[tuple[str, int, int, bytes]]:
        for path, number in sorted(self._paths(versions)):
            if path == ".":
                continue
            node = self._nodes[number]
            content = b""
            if not node.is_folder:
                whole = node.bytes_[-1]
                torn = (node.bytes_[0], whole[: len(whole) // 2], whole)
                content = torn[contents[number]] if number in contents else whole
            yield path, node.mode, 0 if node.is_folder else node.mtime_ns, content


def _combinations(sizes: list[int], limit: int, chance: random.Random) -> Iterable[tuple[int, ...]]:
    """All of them when they are few; else the ends, each change alone, and a sample."""
    number = 1
    for size in sizes:
        number *= size
    if number <= limit:
        return itertools.product(*[range(size) for size in sizes])
    last = tuple(size - 1 for size in sizes)
    none = tuple(0 for _ in sizes)
    chosen = [none, last]
    for index in range(len(sizes)):
        chosen.append((*none[:index], last[index], *none[index + 1 :]))
        chosen.append((*last[:index], 0, *last[index + 1 :]))
    chance.shuffle(singles := chosen[2:])
    some = [tuple(chance.randrange(size) for size in sizes) for _ in range(limit // 2)]
    return [none, last, *singles[: limit // 2], *some]


def record(
    action: Callable[[], object],
    folder: Path,
    *,
    ignored: str = "",
    limit: int = 64,
    seed: int = 1,
) -> History:
    """Run `action` in a child and see what a power cut could make of `folder` meanwhile.

    `ignored` is a place whose fsyncs promise nothing, as if they were left out; only trees that
    could not be there otherwise are noted then. Of more than
    `limit` mixtures at one moment a sample is taken.
    """
    with tempfile.TemporaryFile() as answer:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                history = _recorded(action, folder, ignored, limit, seed)
                answer.write(pickle.dumps(history))
                answer.flush()
                code = 0
            except BaseException:
                traceback.print_exc(file=sys.__stderr__)
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        assert status == 0, "the action failed"
        answer.seek(0)
        history = pickle.loads(answer.read())
        assert isinstance(history, History)
        return history


def _recorded(
    action: Callable[[], object], folder: Path, ignored: str, limit: int, seed: int
) -> History:
    disk = Disk(folder, ignored, limit, seed)
    # Beside it one that ignores nothing: only what it does not know is the doing of `ignored`.
    plain = Disk(folder, "", limit, seed) if ignored else None

    def step(operation: str, path: Path) -> None:
        disk.step(operation, path)
        if plain is not None:
            plain.step(operation, path)

    def fsync(handle: int) -> None:
        disk.fsync(handle)
        if plain is not None:
            plain.fsync(handle)

    os.fsync = fsync
    atomic.fuse = step
    action()
    unsynced = disk.unsynced()
    step("the end", folder)
    if plain is not None:
        for crash, usual in zip(disk.crashes, plain.crashes, strict=True):
            crash.images = [image for image in crash.images if image not in set(usual.images)]
    return History(disk.crashes, list(disk.places), unsynced)


def restore(image: Image, folder: Path) -> None:
    """Make `folder` what the machine comes back with."""
    folder.chmod(0o700)
    for entry in list(folder.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            atomic.remove_tree(entry)
        else:
            entry.unlink()
    for path, mode, mtime_ns, content in image:
        target = folder / path
        if stat.S_ISDIR(mode):
            target.mkdir(mode=0o700)
        else:
            target.write_bytes(content)
            target.chmod(stat.S_IMODE(mode))
            os.utime(target, ns=(mtime_ns, mtime_ns))
    for path, mode, _, _ in reversed(image):
        if stat.S_ISDIR(mode):
            (folder / path).chmod(stat.S_IMODE(mode))
