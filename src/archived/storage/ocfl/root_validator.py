"""Validation of OCFL storage roots of any program: the hierarchy, and each object in it.

Reads only, and follows no symbolic link.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from archived.storage.ocfl.inventory_rules import SPECIFICATIONS, load_json
from archived.storage.ocfl.validation_codes import Findings
from archived.storage.ocfl.validator import (
    DECLARATION,
    ObjectVerdict,
    Progress,
    names,
    read_bytes,
    validate_object,
)


def is_object(folder: Path) -> bool:
    """Whether the folder says that it is an object's root. Raises `OSError`."""
    return any(name.startswith(DECLARATION) for name in names(folder))


def is_storage_root(folder: Path) -> bool:
    """Whether the folder says that it is a storage root. Raises `OSError`."""
    return any(
        name.startswith("0=ocfl_") and not name.startswith(DECLARATION) for name in names(folder)
    )


class RootCheck:
    """A storage root being validated, one object after another.

    Iterate over `objects()`; what is wrong outside objects is in `findings` when it has ended.
    """

    def __init__(self, root: Path, progress: Progress | None = None) -> None:
        self.root, self.progress = root, progress
        self.findings = Findings()
        self.specification = ""

    def objects(self) -> Iterator[ObjectVerdict]:
        """Walk the hierarchy; a verdict for each object, in order of path. Raises `OSError` only
        where the root itself cannot be listed.
        """
        found = names(self.root)
        self._declaration(found)
        self._layout(found)
        if found.get("extensions") == "folder":
            for name, kind in names(self.root / "extensions").items():
                if kind != "folder":
                    self.findings.add("E067", f"extensions/{name}")
        # Files in the root itself that nobody knows are passed over, as the specification says.
        for name in (name for name, kind in found.items() if kind == "other"):
            self.findings.add("E090", name)
        folders = [n for n, kind in found.items() if kind == "folder" and n != "extensions"]
        pending = sorted(folders, reverse=True)
        while pending:
            path = pending.pop()
            try:
                below = names(self.root / path)
            except OSError as error:
                self.findings.cannot_read(path, error)
                continue
            if any(name.startswith(DECLARATION) for name in below):
                yield self._object(path, below)
                continue
            self._between(path, below)
            children = (f"{path}/{n}" for n, kind in below.items() if kind == "folder")
            pending.extend(sorted(children, reverse=True))

    def _object(self, path: str, below: dict[str, str]) -> ObjectVerdict:
        declared = max(n.removeprefix(DECLARATION) for n in below if n.startswith(DECLARATION))
        if self.specification and declared in SPECIFICATIONS and declared > self.specification:
            self.findings.add("E081", path, declared)
        return validate_object(self.root / path, self.progress, path)

    def _between(self, path: str, below: dict[str, str]) -> None:
        if not below:
            self.findings.add("E073", path)
        for name, kind in below.items():
            if kind == "file":
                self.findings.add("E072", f"{path}/{name}")
            elif kind == "other":
                self.findings.add("E090", f"{path}/{name}")

    def _declaration(self, found: dict[str, str]) -> None:
        declared = [name for name in found if name.startswith("0=")]
        version = declared[0].removeprefix("0=ocfl_") if len(declared) == 1 else ""
        if version not in SPECIFICATIONS:
            self.findings.add("E069", ".", ", ".join(declared))
            return
        self.specification = version
        try:
            if read_bytes(self.root / declared[0], 1024) != f"ocfl_{version}\n".encode():
                self.findings.add("E069", declared[0])
        except ValueError:
            self.findings.add("E069", declared[0])

    def _layout(self, found: dict[str, str]) -> None:
        if "ocfl_layout.json" not in found:
            return
        try:
            value = load_json(read_bytes(self.root / "ocfl_layout.json", 1 << 20))
            told = isinstance(value, dict) and all(
                isinstance(value.get(key), str) for key in ("extension", "description")
            )
        except ValueError:
            told = False
        except OSError as error:
            self.findings.cannot_read("ocfl_layout.json", error)
            return
        if not told:
            self.findings.add("E070", "ocfl_layout.json")
