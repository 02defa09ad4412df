"""The rules that one OCFL inventory can break by itself, and what can be used of it all the same.

Accepts every inventory that the specification allows, of any program: `storage.ocfl.inventory`
reads only those of this one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from archived.storage.ocfl.validation_codes import Findings

HEX_LENGTHS: Mapping[str, int] = {
    "md5": 32,
    "sha1": 40,
    "sha256": 64,
    "sha512": 128,
    "sha512/256": 64,
    "blake2b-160": 40,
    "blake2b-256": 64,
    "blake2b-384": 96,
    "blake2b-512": 128,
}
"""Digest algorithms that are compared: those of OCFL and of its extensions 0001 and 0009."""
SPECIFICATIONS = ("1.0", "1.1")
_TYPE = re.compile(r"https://ocfl\.io/(\d+\.\d+)/spec/#inventory")
_VERSION = re.compile(r"v(\d+)", re.ASCII)
_CREATED = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:.+", re.DOTALL)
_HEX = re.compile(r"[0-9A-Fa-f]+")


class JsonObject(dict[str, Any]):
    """A JSON object that remembers the keys that stood in it more than once."""

    repeated: tuple[str, ...] = ()


def _object(pairs: list[tuple[str, Any]]) -> JsonObject:
    made = JsonObject(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        made.repeated = tuple(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
    return made


def load_json(content: bytes) -> Any:
    """JSON with the keys that are repeated. Raises `ValueError` for anything else."""
    try:
        return json.loads(content.decode("utf-8"), object_pairs_hook=_object)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


@dataclass
class InventoryView:
    """What can be used of an inventory: nothing is missing, and wrong values are left out."""

    where: str
    id: str = ""
    specification: str = ""
    algorithm: str = ""
    content_directory: str = "content"
    head: str = ""
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    """Version name as written -> logical path -> digest as written."""
    metadata: dict[str, tuple[Any, Any, Any]] = field(default_factory=dict)
    """Version name -> created, message, user."""
    manifest: dict[str, str] = field(default_factory=dict)
    """Content path -> digest as written."""
    fixity: dict[str, dict[str, str]] = field(default_factory=dict)
    """Algorithm -> content path -> digest in lower case."""

    def contents(self, version: str) -> dict[str, frozenset[str]]:
        """Logical path -> the content paths that may hold its bytes."""
        paths: dict[str, set[str]] = {}
        for path, digest in self.manifest.items():
            paths.setdefault(digest, set()).add(path)
        return {
            logical: frozenset(paths.get(digest, ()))
            for logical, digest in self.versions[version].items()
        }


def version_number(name: str) -> int | None:
    """The number of a version's name, padded or not; `None` where it is none."""
    match = _VERSION.fullmatch(name)
    return int(match[1]) if match and len(name) < 20 else None


def read_inventory(content: bytes, where: str, findings: Findings) -> InventoryView | None:
    """Check an inventory's bytes; `None` where nothing of it can be used."""
    try:
        value = load_json(content)
    except ValueError as error:
        findings.add("E033", where, error)
        return None
    if not isinstance(value, JsonObject):
        findings.add("E034", where)
        return None
    return _Rules(value, where, findings).view


class _Rules:
    """One inventory being checked."""

    def __init__(self, value: JsonObject, where: str, findings: Findings) -> None:
        self.value, self.findings = value, findings
        self.view = InventoryView(where)
        for key in value.repeated:
            self._add("E033", key, "it stands there twice")
        self._head_values()
        self._content_directory()
        self._manifest()
        self._versions()
        self._fixity()

    def _add(self, code: str, key: str, what: object = "") -> None:
        self.findings.add(code, f"{self.view.where}#{key}", what)

    def _head_values(self) -> None:
        for key in ("id", "type", "digestAlgorithm", "head"):
            if key not in self.value:
                self._add("E036", key)
        name = self.value.get("id", "?")
        if not isinstance(name, str) or not name:
            self._add("E037", "id", name)
        elif "id" in self.value:
            self.view.id = name
            if not _URI.fullmatch(name):
                self._add("W005", "id", name)
        told = self.value.get("type", "")
        match = _TYPE.fullmatch(told) if isinstance(told, str) else None
        if match and match[1] in SPECIFICATIONS:
            self.view.specification = match[1]
        elif "type" in self.value:
            self._add("E038", "type", told)
        algorithm = self.value.get("digestAlgorithm", "sha512")
        if algorithm in ("sha512", "sha256"):
            self.view.algorithm = algorithm
            if algorithm == "sha256":
                self._add("W004", "digestAlgorithm", algorithm)
        else:
            self._add("E025", "digestAlgorithm", algorithm)

    def _content_directory(self) -> None:
        name = self.value.get("contentDirectory", "content")
        if name in (".", ".."):
            self._add("E018", "contentDirectory", name)
        elif not isinstance(name, str) or not name or "/" in name:
            self._add("E017", "contentDirectory", name)
        else:
            self.view.content_directory = name

    # -- manifest and fixity ------------------------------------------------------------------

    def _manifest(self) -> None:
        block = self.value.get("manifest")
        if block is None:
            self._add("E041", "manifest")
            return
        if not isinstance(block, JsonObject):
            self._add("E106", "manifest")
            return
        self._repeated(block, "E096", "manifest")
        for digest, paths in block.items():
            if self.view.algorithm and not has_form(digest, self.view.algorithm):
                self._add("E025", f"manifest/{digest[:16]}", digest)
            if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
                self._add("E106", f"manifest/{digest[:16]}")
                continue
            for path in paths:
                if path in self.view.manifest:
                    self._add("E101", "manifest", path)
                elif self._is_content_path(path, "manifest"):
                    self.view.manifest[path] = digest
        self._no_folder_is_a_file(self.view.manifest, "E101", "manifest")

    def _repeated(self, block: JsonObject, code: str, key: str) -> None:
        seen: set[str] = set()
        for digest in (*block, *block.repeated):
            if digest.lower() in seen:
                self._add(code, key, digest)
            seen.add(digest.lower())

    def _is_content_path(self, path: str, key: str) -> bool:
        if path.startswith("/") or path.endswith("/") or not path:
            self._add("E100", key, path)
            return False
        parts = path.split("/")
        if set(parts) & {"", ".", ".."}:
            self._add("E099", key, path)
            return False
        if len(parts) < 3 or version_number(parts[0]) is None:
            self._add("E042", key, path)
            return False
        return True

    def _no_folder_is_a_file(self, paths: Iterable[str], code: str, key: str) -> None:
        known = set(paths)
        for path in known:
            at = path.find("/")
            while at >= 0:
                if path[:at] in known:
                    self._add(code, key, path[:at])
                at = path.find("/", at + 1)

    def _fixity(self) -> None:
        block = self.value.get("fixity", JsonObject())
        if not isinstance(block, JsonObject):
            self._add("E111", "fixity")
            return
        for algorithm, digests in block.items():
            if not isinstance(digests, JsonObject):
                self._add("E057", f"fixity/{algorithm}")
                continue
            self._repeated(digests, "E097", f"fixity/{algorithm}")
            for digest, paths in digests.items():
                if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
                    self._add("E057", f"fixity/{algorithm}")
                    continue
                if algorithm in HEX_LENGTHS and not has_form(digest, algorithm):
                    self._add("E057", f"fixity/{algorithm}", digest)
                kept = self.view.fixity.setdefault(algorithm, {})
                for path in paths:
                    if self._is_content_path(path, f"fixity/{algorithm}"):
                        kept[path] = digest.lower()

    # -- versions -----------------------------------------------------------------------------

    def _versions(self) -> None:
        block = self.value.get("versions")
        if block is None:
            self._add("E041", "versions")
            self._add("E008", "versions")
            return
        if not isinstance(block, JsonObject):
            self._add("E044", "versions")
            return
        if not block:
            self._add("E008", "versions")
        for key in block.repeated:
            self._add("E033", f"versions/{key}", "it stands there twice")
        self._sequence(block)
        for name, version in block.items():
            self._version(name, version)
        used = {digest for state in self.view.versions.values() for digest in state.values()}
        for digest in dict.fromkeys(self.view.manifest.values()):
            if digest not in used and self.view.specification != "1.0":
                self._add("E107", "manifest", digest)

    def _sequence(self, block: JsonObject) -> None:
        numbers = {name: version_number(name) for name in block}
        for name, number in numbers.items():
            if number is None or number == 0:
                self._add("E046", f"versions/{name}", "this is no version")
        known = sorted(number for number in numbers.values() if number)
        if known and known[0] != 1:
            self._add("E009", "versions", f"v{known[0]}")
        if known != list(range(1, len(known) + 1)):
            self._add("E010", "versions", ", ".join(block))
        self._padding([name for name, number in numbers.items() if number])
        head = self.value.get("head", "")
        newest = max((n for n in numbers if numbers[n]), key=lambda n: numbers[n] or 0, default="")
        if isinstance(head, str):
            self.view.head = head
        if "head" in self.value and head != newest:
            self._add("E040", "head", head)

    def _padding(self, names: list[str]) -> None:
        padded = [name for name in names if name.startswith("v0")]
        if not padded:
            return
        self._add("W001", "versions", padded[0])
        for name in names:
            if not name.startswith("v0"):
                self._add("E011", f"versions/{name}")
                self._add("E013", f"versions/{name}")
            elif len(name) != len(padded[0]):
                self._add("E013", f"versions/{name}")

    def _version(self, name: str, version: Any) -> None:
        key = f"versions/{name}"
        if not isinstance(version, JsonObject):
            self._add("E047", key)
            return
        created, message, user = (version.get(each) for each in ("created", "message", "user"))
        self.view.metadata[name] = (created, message, user)
        if created is None:
            self._add("E048", key, "created")
        elif not isinstance(created, str) or not is_moment(created):
            self._add("E049", f"{key}/created", created)
        if message is not None and not isinstance(message, str):
            self._add("E094", f"{key}/message", message)
        if message is None or user is None:
            self._add("W007", key)
        if user is not None:
            self._user(user, f"{key}/user")
        if "state" not in version:
            self._add("E048", key, "state")
            return
        self._state(name, version["state"], f"{key}/state")

    def _user(self, user: Any, key: str) -> None:
        name = user.get("name") if isinstance(user, JsonObject) else None
        if not isinstance(name, str) or not name:
            self._add("E054", key)
            return
        address = user.get("address")
        if address is None:
            self._add("W008", key)
        elif not isinstance(address, str):
            self._add("E054", key, address)
        elif not _URI.fullmatch(address):
            self._add("W009", key, address)

    def _state(self, name: str, state: Any, key: str) -> None:
        if not isinstance(state, JsonObject):
            self._add("E050", key, "it is no JSON object")
            return
        digests = set(self.view.manifest.values())
        kept = self.view.versions.setdefault(name, {})
        for repeated in state.repeated:
            self._add("E095", key, repeated)
        for digest, paths in state.items():
            if digest not in digests:
                self._add("E050", key, digest)
            if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
                self._add("E050", key, "no list of paths")
                continue
            for path in paths:
                if path in kept:
                    self._add("E095", key, path)
                if path.startswith("/") or path.endswith("/"):
                    self._add("E053", key, path)
                elif set(path.split("/")) & {"", ".", ".."}:
                    self._add("E052", key, path)
                kept[path] = digest
        self._no_folder_is_a_file(kept, "E095", key)


def has_form(digest: str, algorithm: str) -> bool:
    """Whether it is hexadecimal and as long as the algorithm's."""
    return len(digest) == HEX_LENGTHS[algorithm] and _HEX.fullmatch(digest) is not None


def is_moment(text: str) -> bool:
    """Whether it is a date-time of RFC 3339, with seconds and a zone."""
    if not _CREATED.fullmatch(text):
        return False
    # A second of 60 is a leap second; fractions may be longer than Python reads.
    plain = re.sub(r"\.\d+", "", text.upper().replace(" ", "T")).replace("Z", "+00:00")
    try:
        datetime.fromisoformat(re.sub(r":60(?=[+-])", ":59", plain))
    except ValueError:
        return False
    return True
