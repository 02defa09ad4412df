"""One OCFL object's inventory as a frozen value: parsed strictly, grown by a version, written.

Pure: bytes in, bytes out. What it accepts is what this program writes (SHA-512, unpadded version
numbers, `content` as content folder); anything else is refused rather than guessed at.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from archived.errors import StoreError
from archived.message import Message
from archived.storage.ocfl.layout import check_paths

FILE_NAME = "inventory.json"
SIDECAR_NAME = "inventory.json.sha512"

_TYPE = "https://ocfl.io/1.1/spec/#inventory"
_HEX = {"sha512": re.compile(r"[0-9a-f]{128}"), "sha256": re.compile(r"[0-9a-f]{64}")}
_VERSION = re.compile(r"v([1-9][0-9]*)")
_CONTENT = re.compile(r"v([1-9][0-9]*)/content/(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Version:
    """One version: its logical paths with their SHA-512, and who made it, when and why."""

    state: Mapping[str, str]
    created: str
    """RFC 3339, with offset."""
    message: str
    user_name: str
    user_address: str


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything an object holds. `manifest` and `sha256` map content path -> hex digest."""

    id: str
    manifest: Mapping[str, str]
    sha256: Mapping[str, str]
    versions: tuple[Version, ...]

    @property
    def head(self) -> int:
        """The newest version's number."""
        return len(self.versions)

    @property
    def state(self) -> Mapping[str, str]:
        """Logical path -> SHA-512 in the newest version."""
        return self.versions[-1].state

    def content_path(self, logical: str, version: int | None = None) -> str:
        """Where the bytes of a logical path lie, relative to the object. `KeyError` if nowhere.

        Of several content files with the same bytes, the one stored under this very name.
        """
        wanted = self.versions[(version or self.head) - 1].state[logical]
        same = sorted(path for path, digest in self.manifest.items() if digest == wanted)
        return next((path for path in same if path.split("/", 2)[2] == logical), same[0])

    def grown(
        self, version: Version, content: Mapping[str, str], sha256: Mapping[str, str]
    ) -> Inventory:
        """With one more version and its new content files (content path -> digest)."""
        return replace(
            self,
            manifest={**self.manifest, **content},
            sha256={**self.sha256, **sha256},
            versions=(*self.versions, version),
        )

    def to_bytes(self) -> bytes:
        """The canonical file: sorted keys, UTF-8, two spaces, a final newline."""
        value = {
            "id": self.id,
            "type": _TYPE,
            "digestAlgorithm": "sha512",
            "contentDirectory": "content",
            "head": f"v{self.head}",
            "manifest": _by_digest(self.manifest),
            "fixity": {"sha256": _by_digest(self.sha256)},
            "versions": {
                f"v{number}": {
                    "created": version.created,
                    "message": version.message,
                    "user": {"name": version.user_name, "address": version.user_address},
                    "state": _by_digest(version.state),
                }
                for number, version in enumerate(self.versions, 1)
            },
        }
        text = json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True)
        return text.encode() + b"\n"


def sidecar_of(inventory: bytes) -> bytes:
    """What stands in `inventory.json.sha512` beside these bytes; `sha512sum -c` reads it too."""
    return f"{hashlib.sha512(inventory).hexdigest()}  {FILE_NAME}\n".encode()


def is_sidecar(sidecar: bytes, inventory: bytes) -> bool:
    """Whether the sidecar is this inventory's (any white space may part its two words)."""
    words = sidecar.split()
    return words == [hashlib.sha512(inventory).hexdigest().encode(), FILE_NAME.encode()]


def parse(content: bytes) -> Inventory:
    """Read an inventory, checking every rule of OCFL 1.1 that it alone can break.

    Raises `StoreError` (`inventory-damaged`) naming the first rule broken.
    """
    try:
        value = json.loads(content)
        _require(value["type"] == _TYPE, "type is not OCFL 1.1's")
        _require(value["digestAlgorithm"] == "sha512", "digestAlgorithm is not sha512")
        _require(value.get("contentDirectory", "content") == "content", "foreign contentDirectory")
        _require(isinstance(value["id"], str) and value["id"] != "", "id is not a text")
        inventory = Inventory(
            id=value["id"],
            manifest=_by_path(value["manifest"], "sha512"),
            sha256=_by_path(value.get("fixity", {}).get("sha256", {}), "sha256"),
            versions=_versions(value["versions"]),
        )
        _require(value["head"] == f"v{inventory.head}", "head is not the newest version")
        _check_content(inventory)
    except StoreError as error:
        raise StoreError(
            Message("inventory: {message}", message=error.message), code="inventory-damaged"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            Message(
                "inventory: not readable ({name}: {error})", name=type(error).__name__, error=error
            ),
            code="inventory-damaged",
        ) from error
    return inventory


def _versions(value: Mapping[str, Any]) -> tuple[Version, ...]:
    numbers = {int(match[1]) for name in value if (match := _VERSION.fullmatch(name))}
    _require(bool(value) and len(numbers) == len(value), "version names are not v1, v2, ...")
    _require(numbers == set(range(1, len(value) + 1)), "versions are not consecutive")
    return tuple(_version(value[f"v{number}"]) for number in range(1, len(value) + 1))


def _version(value: Mapping[str, Any]) -> Version:
    created = value["created"]
    _require(datetime.fromisoformat(created).tzinfo is not None, "created has no time zone")
    user = value.get("user", {})
    state = _by_path(value["state"], "sha512")
    return Version(
        state, created, value.get("message", ""), user.get("name", ""), user.get("address", "")
    )


def _check_content(inventory: Inventory) -> None:
    for path in inventory.manifest:
        match = _CONTENT.fullmatch(path)
        _require(
            match is not None and int(match[1]) <= inventory.head,
            f"{path!r} lies outside the versions' content folders",
        )
    used = {digest for version in inventory.versions for digest in version.state.values()}
    _require(set(inventory.manifest.values()) == used, "manifest and versions do not match")
    _require(
        set(inventory.sha256) <= set(inventory.manifest), "fixity names files that do not exist"
    )


def _by_path(value: Mapping[str, list[str]], algorithm: str) -> dict[str, str]:
    pairs = [(path, digest) for digest, paths in value.items() for path in paths]
    check_paths(path for path, _ in pairs)
    for _, digest in pairs:
        _require(_HEX[algorithm].fullmatch(digest) is not None, f"{digest!r} is no {algorithm}")
    return dict(pairs)


def _by_digest(value: Mapping[str, str]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for path, digest in sorted(value.items()):
        grouped.setdefault(digest, []).append(path)
    return grouped


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise StoreError(problem)
