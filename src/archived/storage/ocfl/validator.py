"""Validation of OCFL objects of any program, by the rules of OCFL 1.0 and 1.1.

Reads only, follows no symbolic link, and needs no catalog. Content is read once, whatever number
of digests there are of it. The answer has three values: what could not be read makes an object
neither valid nor invalid.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from archived.storage.ocfl.inventory_rules import (
    HEX_LENGTHS,
    SPECIFICATIONS,
    InventoryView,
    read_inventory,
    version_number,
)
from archived.storage.ocfl.reader import Validity
from archived.storage.ocfl.validation_codes import Finding, Findings

LARGEST_INVENTORY = 512 << 20
"""Bytes of the largest inventory that is read: about two million files."""
EXTENSIONS = frozenset(
    {
        "initial",
        "0001-digest-algorithms",
        "0002-flat-direct-storage-layout",
        "0003-hash-and-id-n-tuple-storage-layout",
        "0004-hashed-n-tuple-storage-layout",
        "0005-mutable-head",
        "0006-flat-omit-prefix-storage-layout",
        "0007-n-tuple-omit-prefix-storage-layout",
        "0008-schema-registry",
        "0009-digest-algorithms",
        "0010-differential-n-tuple-omit-prefix-storage-layout",
        "0011-direct-clean-path-layout",
    }
)
"""Names in the register of extensions (https://ocfl.github.io/extensions/)."""
DECLARATION = "0=ocfl_object_"
"""How the name of an object's declaration begins."""
_BLOCK = 1 << 20
Progress = Callable[[int], None]
"""Told the bytes that were read since it was told last."""


@dataclass(frozen=True, slots=True)
class ObjectVerdict:
    """What one object is. `counts`: code -> how often; `findings` may be cut, 100 of a code."""

    path: str
    id: str
    answer: Validity
    findings: tuple[Finding, ...]
    counts: dict[str, int]
    unread: dict[str, str]
    files: int = 0
    size: int = 0


@dataclass
class _Digests:
    """What a content file must be: algorithm -> the (code, where, digest) that say so."""

    claims: dict[str, list[tuple[str, str, str]]] = field(default_factory=dict)


def read_bytes(path: Path, most: int = LARGEST_INVENTORY) -> bytes:
    """A regular file's content. Raises `OSError`; `ValueError` for another kind or size."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > most:
            raise ValueError(f"{path.name} is no file of at most {most} bytes")
        return file.read()


def names(folder: Path) -> dict[str, str]:
    """Name -> "file", "folder" or "other". Raises `OSError`."""
    found = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            kind = (
                "folder"
                if entry.is_dir(follow_symlinks=False)
                else "file"
                if entry.is_file(follow_symlinks=False)
                else "other"
            )
            found[entry.name] = kind
    return dict(sorted(found.items()))


def validate_object(root: Path, progress: Progress | None = None, below: str = "") -> ObjectVerdict:
    """Validate the object in a folder. `below` is how the verdict names it. Never raises for what
    it finds.
    """
    check = _ObjectCheck(root, progress or (lambda _: None))
    try:
        check.run()
    except OSError as error:
        check.findings.cannot_read(_below(root, error), error)
    findings = check.findings
    answer = (
        Validity.NO
        if findings.errors
        else Validity.NOT_ESTABLISHED
        if findings.unread
        else Validity.YES
    )
    view = check.inventory
    return ObjectVerdict(
        path=below or root.name,
        id=view.id if view else "",
        answer=answer,
        findings=findings.findings,
        counts=findings.counts,
        unread=findings.unread,
        files=check.files,
        size=check.size,
    )


def _below(root: Path, error: OSError) -> str:
    name = os.fsdecode(error.filename) if error.filename else ""
    return os.path.relpath(name, root) if name.startswith(f"{root}/") else name or root.name


class _ObjectCheck:
    """One object being validated: its root, its inventories, its versions, its content."""

    def __init__(self, root: Path, progress: Progress) -> None:
        self.root, self.progress = root, progress
        self.findings = Findings()
        self.inventory: InventoryView | None = None
        self.earlier: dict[str, InventoryView] = {}
        """Version folder -> its own inventory."""
        self.contents: dict[str, set[str]] = {}
        """Version folder -> the content paths that lie in it."""
        self.files = self.size = 0
        self._bytes = b""

    def run(self) -> None:
        found = names(self.root)
        declared = self._declaration(found)
        if found.get("inventory.json") != "file":
            self.findings.add("E063", "inventory.json")
        else:
            self.inventory, self._bytes = self._inventory("")
        view = self.inventory
        self._root_entries(found, view)
        if view is None:
            return
        if view.specification and declared and view.specification != declared:
            self.findings.add("E038", "inventory.json#type", view.specification)
        self._version_folders(found, view)
        self._histories(view)
        self._in_manifests(view)
        self._content(view)

    # -- the root -----------------------------------------------------------------------------

    def _declaration(self, found: dict[str, str]) -> str:
        """The version of the specification that the object says it conforms to."""
        declarations = [name for name in found if name.startswith("0=")]
        if len(declarations) != 1:
            self.findings.add("E003", ".", ", ".join(declarations))
        if not declarations:
            return ""
        name = declarations[0]
        version = name.removeprefix(DECLARATION)
        if version not in SPECIFICATIONS:
            self.findings.add("E004", name)
            return ""
        try:
            if (
                found[name] != "file"
                or read_bytes(self.root / name, 1024) != f"{name[2:]}\n".encode()
            ):
                self.findings.add("E007", name)
        except ValueError:
            self.findings.add("E007", name)
        return version

    def _root_entries(self, found: dict[str, str], view: InventoryView | None) -> None:
        algorithm = view.algorithm if view else ""
        expected = {"inventory.json", *(name for name in found if name.startswith("0="))}
        expected |= {
            f"inventory.json.{each}" for each in ([algorithm] if algorithm else HEX_LENGTHS)
        }
        for name, kind in found.items():
            if kind == "other":
                self.findings.add("E090", name)
            elif kind == "file" and name not in expected:
                self.findings.add("E001", name)
            elif kind == "folder" and name not in ("extensions", "logs"):
                if version_number(name) is None:
                    self.findings.add("E001", name)
                elif view is not None and name not in view.metadata and name not in view.versions:
                    self.findings.add("E046", name)
        if found.get("extensions") == "folder":
            self._extensions()

    def _extensions(self) -> None:
        for name, kind in names(self.root / "extensions").items():
            if kind != "folder":
                self.findings.add("E067", f"extensions/{name}")
            elif name not in EXTENSIONS:
                self.findings.add("W013", f"extensions/{name}")

    # -- inventories --------------------------------------------------------------------------

    def _inventory(self, version: str) -> tuple[InventoryView | None, bytes]:
        """The inventory of the object (`""`) or of a version, checked with its sidecar."""
        folder = self.root / version
        where = f"{version}/inventory.json" if version else "inventory.json"
        try:
            content = read_bytes(folder / "inventory.json")
        except ValueError as error:
            self.findings.add("E034", where, error)
            return None, b""
        except OSError as error:
            self.findings.cannot_read(where, error)
            return None, b""
        self.progress(len(content))
        view = read_inventory(content, where, self.findings)
        if view is not None:
            self._sidecar(folder, where, view, content)
        return view, content

    def _sidecar(self, folder: Path, where: str, view: InventoryView, content: bytes) -> None:
        algorithm = view.algorithm
        if not algorithm:
            return
        name = f"{where}.{algorithm}"
        try:
            text = read_bytes(folder / f"inventory.json.{algorithm}", 4096)
        except FileNotFoundError:
            self.findings.add("E058", name)
            return
        except ValueError:
            self.findings.add("E061", name)
            return
        except OSError as error:
            self.findings.cannot_read(name, error)
            return
        words = text.split()
        if len(words) != 2 or words[1] != b"inventory.json":
            self.findings.add("E061", name)
        elif words[0].lower() != hashlib.new(algorithm, content).hexdigest().encode():
            self.findings.add("E060", name)

    def _version_folders(self, found: dict[str, str], view: InventoryView) -> None:
        for name in view.metadata:
            if version_number(name) is None:
                continue
            if found.get(name) != "folder":
                self.findings.add("E046", name, "the folder is missing")
                self.findings.add("E010", name)
                continue
            self._version_folder(name, view)

    def _version_folder(self, version: str, view: InventoryView) -> None:
        self.contents[version] = set()
        found = names(self.root / version)
        sidecars = {f"inventory.json.{algorithm}" for algorithm in ("sha512", "sha256")}
        for name, kind in found.items():
            where = f"{version}/{name}"
            if kind == "other":
                self.findings.add("E090", where)
            elif kind == "file" and name != "inventory.json" and name not in sidecars:
                self.findings.add("E015", where)
            elif kind == "folder" and name == view.content_directory:
                self._content_folder(version, where, top=True)
            elif kind == "folder":
                self.findings.add("W002", where)
        if found.get("inventory.json") == "file":
            own, content = self._inventory(version)
            if own is not None:
                self.earlier[version] = own
            if version == view.head and content != self._bytes:
                self.findings.add("E064", f"{version}/inventory.json")
        else:
            self.findings.add("W010", version)

    def _content_folder(self, version: str, where: str, *, top: bool) -> None:
        folders = [(where, top)]
        while folders:
            folder, first = folders.pop()
            try:
                found = names(self.root / folder)
            except OSError as error:
                self.findings.cannot_read(folder, error)
                continue
            if not found:
                self.findings.add("W003" if first else "E024", folder)
            for name, kind in found.items():
                path = f"{folder}/{name}"
                if kind == "folder":
                    folders.append((path, False))
                elif kind == "file":
                    self.contents[version].add(path)
                else:
                    self.findings.add("E090", path)

    # -- one inventory against another --------------------------------------------------------

    def _histories(self, view: InventoryView) -> None:
        before = ""
        for version, own in self.earlier.items():
            where = own.where
            if own.id and view.id and own.id != view.id:
                self.findings.add("E037", f"{where}#id", own.id)
            if own.head != version:
                self.findings.add("E040", f"{where}#head", own.head)
            if own.content_directory != view.content_directory:
                self.findings.add("E019", f"{where}#contentDirectory", own.content_directory)
            if own.specification and before > own.specification:
                self.findings.add("E103", f"{where}#type", own.specification)
            before = max(before, own.specification)
            self._same_history(own, view, version)
        if view.specification and before > view.specification:
            self.findings.add("E103", "inventory.json#type", view.specification)

    def _same_history(self, own: InventoryView, view: InventoryView, version: str) -> None:
        until = version_number(version) or 0
        expected = {name for name in view.versions if (version_number(name) or 0) <= until}
        if expected != set(own.versions):
            self.findings.add("E066", f"{own.where}#versions", ", ".join(own.versions))
        for name in expected & set(own.versions):
            key = f"{own.where}#versions/{name}"
            mine, theirs = own.contents(name), view.contents(name)
            # Of equal bytes a later version may hold more files: this one's must be among them.
            same = mine.keys() == theirs.keys() and all(mine[path] <= theirs[path] for path in mine)
            if own.algorithm == view.algorithm:
                same = same and _same_digests(own, view, name)
            if not same:
                self.findings.add("E066", f"{key}/state")
            if own.metadata.get(name) != view.metadata.get(name):
                self.findings.add("W011", key)

    def _in_manifests(self, view: InventoryView) -> None:
        """Every content file is in the manifests of its version and of all later ones."""
        for version, paths in self.contents.items():
            number = version_number(version) or 0
            later = [
                own for name, own in self.earlier.items() if (version_number(name) or 0) >= number
            ]
            for own in (view, *later):
                for path in sorted(paths - own.manifest.keys()):
                    self.findings.add("E023", own.where, path)

    # -- content ------------------------------------------------------------------------------

    def _content(self, view: InventoryView) -> None:
        wanted: dict[str, _Digests] = {}
        for own in (view, *self.earlier.values()):
            for path, digest in own.manifest.items():
                if own.algorithm:
                    self._claim(wanted, path, own.algorithm, ("E092", own.where, digest))
            for algorithm, paths in own.fixity.items():
                for path, digest in paths.items():
                    self._claim(wanted, path, algorithm, ("E093", f"{own.where}#fixity", digest))
        present = set().union(*self.contents.values()) if self.contents else set()
        for path, digests in sorted(wanted.items()):
            if path in present:
                self._file(path, digests)
                continue
            for claims in digests.claims.values():
                for code, where, _ in claims:
                    self.findings.add(code, where, path)

    @staticmethod
    def _claim(
        wanted: dict[str, _Digests], path: str, algorithm: str, claim: tuple[str, str, str]
    ) -> None:
        # Of an unknown extension's algorithm the digest cannot be compared; the file must be there.
        wanted.setdefault(path, _Digests()).claims.setdefault(algorithm, []).append(claim)

    def _file(self, path: str, digests: _Digests) -> None:
        computed = {name: _hasher(name) for name in digests.claims if name in HEX_LENGTHS}
        try:
            size = self._digest(path, computed)
        except ValueError:
            self.findings.add("E090", path)
            return
        except OSError as error:
            self.findings.cannot_read(path, error)
            return
        self.files, self.size = self.files + 1, self.size + size
        for algorithm, hasher in computed.items():
            is_ = hasher.hexdigest()
            for code, where, digest in digests.claims[algorithm]:
                if digest.lower() != is_:
                    self.findings.add(code, where, path)

    def _digest(self, path: str, hashers: dict[str, Any]) -> int:
        """Bytes read. No folder on the way is a link: the walk that found it followed none."""
        descriptor = os.open(
            self.root / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        )
        size = 0
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ValueError(path)
            while block := file.read(_BLOCK):
                size += len(block)
                for hasher in hashers.values():
                    hasher.update(block)
                self.progress(len(block))
        return size


def _same_digests(own: InventoryView, view: InventoryView, version: str) -> bool:
    mine, theirs = own.versions[version], view.versions[version]
    return {p: d.lower() for p, d in mine.items()} == {p: d.lower() for p, d in theirs.items()}


def _hasher(algorithm: str) -> Any:
    if algorithm.startswith("blake2b-"):
        return hashlib.blake2b(digest_size=int(algorithm.partition("-")[2]) // 8)
    return hashlib.new(algorithm.replace("/", "_"))
