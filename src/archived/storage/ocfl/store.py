"""The preservation store: an OCFL 1.1 storage root that is only ever added to, durably.

Below `root`: `ocfl/` (the storage root, readable without this program), `staging/` (objects and
versions being built), `pending/` (a marker for each object whose version is being added), `aside/`
(what a repair took out of an object), `uncleared/` (what cannot be removed now) and
`ledger-head.json` (`storage.ledger_head`). All on one file system, for one writing process.

What the store promises, and the order that keeps it:

- An object exists whole or not at all. Its content *must* be hashed and fsynced, file and folder,
  before its one rename; the folder above *must* be fsynced before `seal` returns.
- A version is added by rename of `vN`, then `inventory.json`, then its sidecar. The marker *must*
  be durable before the first and *should* go after the last. `repair` goes forward from any
  point between; before the rename the object is simply the old one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from archived.errors import StoreError
from archived.message import Message, sequence
from archived.storage import atomic
from archived.storage.ledger_head import HeadFile
from archived.storage.ocfl import layout
from archived.storage.ocfl.inventory import FILE_NAME, SIDECAR_NAME, Inventory, sidecar_of
from archived.storage.ocfl.reader import (
    ObjectCheck,
    StoredObject,
    Validity,
    check_object,
    inside,
    read_object,
)
from archived.storage.ocfl.repair import mend_object
from archived.storage.ocfl.writer import (
    StoreFile,
    VersionInfo,
    drop_known,
    stage_content,
    stage_inventory,
    version_of,
)
from archived.storage.uncleared import Uncleared

_DEEPEST = 8
"""Folders on the way to an object, with room to spare: the layout has four."""


@dataclass(frozen=True, slots=True)
class SealedObject:
    """Where a sealed object lies and what proves it; the like of `archived.api.Sealed`."""

    id: str
    key: str
    root: Path
    version: int
    inventory_sha512: str


@dataclass(frozen=True, slots=True)
class Repaired:
    """One thing `repair` found, in a sentence; `key` is the object's, or empty. `mended` is false
    where a person has to look.
    """

    key: str
    what: str
    mended: bool = True

    def __str__(self) -> str:
        return Message("{key}: {what}", key=self.key, what=self.what) if self.key else self.what


class Store:
    """One store on disk. Cheap to make; `create` or `open` it before use."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ocfl = root / "ocfl"
        self._staging = root / "staging"
        self._pending = root / "pending"
        self._aside = root / "aside"
        self.uncleared = Uncleared(root / "uncleared")
        self.head = HeadFile(root)
        """How far the ledger went when something was sealed here last."""
        self._adding: set[str] = set()
        """Keys of objects that another thread is adding a version to at this moment."""

    # Life of the store

    def create(self) -> None:
        """Make the store, or finish making it; an existing one of ours is just opened.

        Raises `StoreError` as `open` does.
        """
        for folder in (self._staging, self._pending, self._aside):
            atomic.make_folder(folder)
        if not os.path.lexists(self.ocfl):
            staged = self._staging / "ocfl"
            self.uncleared.clear(staged)
            for name, content in layout.root_files().items():
                (staged / name).parent.mkdir(parents=True, exist_ok=True)
                atomic.copy_file(content, staged / name)
            atomic.publish_folder(staged, self.ocfl)
        self.open()

    def open(self) -> None:
        """Check that this is a store of ours: `StoreError` (`no-store`, `foreign-store`,
        `store-split` when its parts lie on different file systems).
        """
        if not self.ocfl.is_dir() or self.ocfl.is_symlink():
            raise StoreError(
                Message("there is no store at {root}", root=self.root),
                code="no-store",
                hint=Message(
                    "Is the disk mounted? A new store is made by `archived run` at first start."
                ),
            )
        names = (layout.ROOT_DECLARATION, layout.LAYOUT_FILE, layout.LAYOUT_CONFIG)
        layout.check_root({name: _read(self.ocfl, name) for name in names})
        folders = (self.ocfl, self._staging, self._pending, self._aside)
        if len({folder.stat().st_dev for folder in folders if folder.exists()}) > 1:
            raise StoreError(
                Message("the folders below {root} lie on different file systems", root=self.root),
                code="store-split",
                hint=Message("Mount the disk at the store's folder itself, not inside it."),
            )

    def repair(self) -> list[Repaired]:
        """Put right what a crash left: call once at start, before anything is sealed.

        Costs in proportion to what was under way, not to the size of the store. An object that
        cannot be mended is named in the result; its marker stays.
        """
        repaired = []
        for marker in sorted(self._pending.iterdir()):
            if not marker.name.startswith(atomic.SCRATCH_PREFIX):
                repaired += self._repair_marked(marker)
            else:
                atomic.remove_file(marker)
        for leftover in sorted(self._staging.iterdir()):
            self._prune(leftover.name)  # first: the name is what says where to look
            what = f"an unfinished write, {leftover.name}, was cleared away"
            gone = self.uncleared.clear(leftover)
            repaired.append(Repaired("", what if gone else f"{what} as far as it could be", gone))
        return repaired

    def repair_object(self, object_id: str) -> list[Repaired]:
        """Mend one object found damaged: its inventory, sidecar or half-added version.

        Damaged content is not mended here: that takes a replica. Raises `StoreError`.
        """
        key = layout.key_of(object_id)
        root = inside(self.ocfl, key)
        with self._staged(layout.id_hash(object_id)) as scratch:
            done = mend_object(root, scratch=scratch, aside=self._aside)
        return [Repaired(key, what) for what in done]

    # Writing

    def seal(
        self, object_id: str, files: Sequence[StoreFile], version_info: VersionInfo
    ) -> SealedObject:
        """Make the object: its bytes are copied, compared with their digests, and published whole.
        The id should be a URI (OCFL W005), such as `urn:uuid:...`.

        Raises `StoreError`: `already-sealed` (see `adopt`), `bytes-changed` when a source is not
        what its digest says, `bad-path`; `OSError` when the disk fails. Nothing is visible then.
        """
        if not files:
            raise ValueError("an object holds at least one file")
        layout.check_paths(file.logical for file in files)
        key = layout.key_of(object_id)
        if os.path.lexists(self._at(key)):
            raise _already_sealed(object_id)
        final = self._at(key)
        with self._staged(layout.id_hash(object_id)) as body:
            content, sha256 = stage_content(body / "v1", 1, files)
            state = {path.split("/", 2)[2]: digest for path, digest in content.items()}
            inventory = Inventory(object_id, content, sha256, (version_of(state, version_info),))
            written = stage_inventory(body / "v1", inventory)
            stage_inventory(body, inventory)
            atomic.copy_file(layout.OBJECT_DECLARATION_TEXT, body / layout.OBJECT_DECLARATION)
            # `repair` finds the empty folders of an unfinished sealing by this name (`_prune`): it
            # must be durable before they are made.
            atomic.fsync_folder(self._staging)
            try:
                atomic.publish_folder(body, final)
            except FileExistsError as error:
                raise _already_sealed(object_id) from error
            except OSError:
                self._prune(body.name)
                raise
        return SealedObject(object_id, key, final, 1, written)

    def adopt(self, object_id: str, expected: Mapping[str, str]) -> SealedObject:
        """The object that is there already, provided it is valid throughout and holds each
        `expected` logical path with that SHA-512: how sealing is finished after a crash between
        the rename and the catalog's commit.

        Raises `StoreError`: `no-such-object`, `object-damaged`, `object-unreadable` (could not be
        checked), `object-differs`.
        """
        verdict = self.verify(object_id)
        if verdict.answer is not Validity.YES:
            unread = verdict.answer is Validity.NOT_ESTABLISHED
            raise StoreError(
                Message(
                    "object {object_id} cannot be adopted: {problems}",
                    object_id=object_id,
                    problems=sequence(verdict.problems, "; "),
                ),
                code="object-unreadable" if unread else "object-damaged",
                hint=Message("Move the damaged object out of the store, then retry the document."),
            )
        found = self.read(object_id)
        state = found.inventory.state
        differing = sorted(path for path, digest in expected.items() if state.get(path) != digest)
        if differing:
            raise StoreError(
                Message(
                    "object {object_id} is not the expected one: {differing} differs",
                    object_id=object_id,
                    differing=", ".join(differing),
                ),
                code="object-differs",
                hint=Message("Two documents must not share an id; a person has to look at both."),
            )
        # Whoever gave it its name may have been stopped before that was durable.
        atomic.fsync_tree(found.root)
        for folder in found.root.relative_to(self.ocfl).parents:
            atomic.fsync_folder(self.ocfl / folder)
        return _sealed(found)

    def add_version(
        self,
        object_id: str,
        changes: Sequence[StoreFile],
        version_info: VersionInfo,
        *,
        removes: Sequence[str] = (),
    ) -> SealedObject:
        """Add a version: `changes` are put or replaced, `removes` leave its state; earlier versions
        keep everything. Bytes the object holds already are not stored twice. When nothing would
        change, the object stays as it is, so doing it again after a crash is fine.

        Raises `StoreError` as `seal` does, and `object-damaged` when the object is not fit to
        grow (`repair_object` first); `KeyError` for an unknown path in `removes`.
        """
        hashed = layout.id_hash(object_id)
        key = layout.key_of(object_id)
        if (self._pending / hashed).exists():
            self._repair_marked(self._pending / hashed)
        current = self.read(object_id)
        number = current.head + 1
        with self._staged(hashed) as staged:
            body = staged / f"v{number}"
            content, sha256 = stage_content(body, number, changes)
            state = dict(current.inventory.state)
            for path in removes:
                del state[path]
            state |= {path.split("/", 2)[2]: digest for path, digest in content.items()}
            layout.check_paths(state)
            if state == current.inventory.state:
                return _sealed(current)
            drop_known(staged, current, content)
            inventory = current.inventory.grown(
                version_of(state, version_info), content, {path: sha256[path] for path in content}
            )
            written = stage_inventory(body, inventory)
            self._adding.add(key)
            try:
                self._add(current.root, hashed, body, inventory.to_bytes())
            finally:
                self._adding.discard(key)
        return SealedObject(object_id, key, current.root, number, written)

    def _add(self, root: Path, hashed: str, body: Path, inventory: bytes) -> None:
        """The durable order of adding a version; `repair` depends on it."""
        marker = self._pending / hashed
        atomic.write_file(marker, root.relative_to(self.ocfl).as_posix().encode())
        try:
            atomic.publish_folder(body, root / body.name)
        except FileExistsError as error:
            raise StoreError(
                Message("{root} already has a folder {name}", root=root, name=body.name),
                code="object-damaged",
                hint=Message("Repair the object, then try again."),
            ) from error
        atomic.write_file(root / FILE_NAME, inventory, mode=0o444, scratch=body.parent)
        atomic.write_file(
            root / SIDECAR_NAME, sidecar_of(inventory), mode=0o444, scratch=body.parent
        )
        atomic.remove_file(marker)

    # Reading

    def read(self, object_id: str) -> StoredObject:
        """The object, its inventory checked against its sidecar. Raises `StoreError`
        (`no-such-object`, `inventory-damaged`, ...), `OSError` when it cannot be read.
        """
        return self.read_key(layout.key_of(object_id))

    def read_key(self, key: str) -> StoredObject:
        """As `read`, by the object's place in the store."""
        return read_object(self.ocfl, key)

    def path_of(self, object_id: str, logical: str) -> Path:
        """Where the bytes of a file of the newest version lie; do not write there."""
        found = self.read(object_id)
        try:
            content = found.inventory.content_path(logical)
        except KeyError:
            raise StoreError(
                Message(
                    "object {object_id} has no file {logical!r}",
                    object_id=object_id,
                    logical=logical,
                ),
                code="no-such-file",
            ) from None
        return inside(found.root, content)

    def verify(self, object_id: str) -> ObjectCheck:
        """Re-hash all of an object. `StoreError` (`no-such-object`) when there is none.

        Not established, rather than no, when a version was being added at the same time.
        """
        key = layout.key_of(object_id)
        try:
            inside(self.ocfl, key)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise StoreError(
                Message("the store holds no object {object_id}", object_id=object_id),
                code="no-such-object",
            ) from error
        except (OSError, StoreError):
            pass  # may be there: what is in the way belongs into the verdict
        adding, before = key in self._adding, self._glimpse(key)
        verdict = check_object(self.ocfl, key)
        changing = adding or key in self._adding or self._glimpse(key) != before
        if verdict.answer is Validity.NO and changing:
            why = "a version was being added meanwhile; check again"
            return replace(verdict, answer=Validity.NOT_ESTABLISHED, problems=(why,))
        return verdict

    def objects(self) -> Iterator[str]:
        """The key of everything in the store that is or should be an object, by walking all of it
        in order. What is no object makes `read_key` raise: nothing is passed over.
        """
        yield from _walk(self.ocfl, "")

    # Inside

    def _at(self, key: str) -> Path:
        with suppress(FileNotFoundError):
            inside(self.ocfl, key)
        return self.ocfl / key

    def _glimpse(self, key: str) -> bytes | None:
        """The inventory as it stands, to see whether it changes; `None` when out of reach."""
        with suppress(OSError, StoreError):
            return _read(self.ocfl, f"{key}/{FILE_NAME}")
        return None

    @contextmanager
    def _staged(self, hashed: str) -> Iterator[Path]:
        """A folder of our own in `staging/`, gone afterwards. Not cleaned after a power cut: it is
        what tells `repair` that something was under way.
        """
        staged = self._staging / hashed
        self.uncleared.clear(staged)
        staged.mkdir()
        try:
            yield staged
        except Exception:
            self.uncleared.clear(staged)
            raise
        self.uncleared.clear(staged)

    def _prune(self, hashed: str) -> None:
        """Remove the empty folders that an object's unfinished sealing may have made: OCFL allows
        none (E073).
        """
        folder = self.ocfl / layout.tuples_of(hashed)
        while folder != self.ocfl and len(hashed) == 64:
            with suppress(OSError):
                folder.rmdir()
            folder = folder.parent

    def _repair_marked(self, marker: Path) -> list[Repaired]:
        key = atomic.read_bytes(marker).decode(errors="replace")
        if key.rpartition("/")[0] != layout.tuples_of(marker.name):
            return [Repaired("", f"the marker {marker.name} cannot be understood", mended=False)]
        try:
            root = inside(self.ocfl, key)
            done = mend_object(root, scratch=self._staging, aside=self._aside)
        except (StoreError, OSError) as error:
            return [Repaired(key, f"the object could not be mended: {error}", mended=False)]
        atomic.remove_file(marker)
        return [Repaired(key, what) for what in done]


def _sealed(found: StoredObject) -> SealedObject:
    return SealedObject(found.id, found.key, found.root, found.head, found.inventory_sha512)


def _already_sealed(object_id: str) -> StoreError:
    return StoreError(
        Message("the store already holds the object {object_id}", object_id=object_id),
        code="already-sealed",
        hint=Message("Adopt it when it is the same document; a person must look when it is not."),
    )


def _read(folder: Path, name: str) -> bytes | None:
    with suppress(FileNotFoundError, NotADirectoryError):
        return atomic.read_bytes(inside(folder, name))
    return None


def _walk(folder: Path, key: str, depth: int = 0) -> Iterator[str]:
    if depth > _DEEPEST:
        yield key  # no object of ours: whoever reads it says so
        return
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    # Either name is enough: an object that has lost one of them must not be passed over.
    is_object = any(entry.name in {layout.OBJECT_DECLARATION, FILE_NAME} for entry in found)
    if key and (is_object or not found):
        yield key
        return
    for entry in found:
        inner = f"{key}/{entry.name}" if key else entry.name
        if entry.is_dir(follow_symlinks=False):
            if inner != "extensions":
                yield from _walk(Path(entry.path), inner, depth + 1)
        elif key or entry.is_symlink():
            yield inner
