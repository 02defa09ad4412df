"""Names in the store: where an object lies, what a path inside one may look like, and the files
that make a folder an OCFL 1.1 storage root.

Pure: values in, values out. Layout extension 0003 (hash and id n-tuple) with SHA-256, three
tuples of three characters.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Any

from archived.errors import StoreError
from archived.message import Message

OBJECT_DECLARATION = "0=ocfl_object_1.1"
OBJECT_DECLARATION_TEXT = b"ocfl_object_1.1\n"
ROOT_DECLARATION = "0=ocfl_1.1"
ROOT_DECLARATION_TEXT = b"ocfl_1.1\n"
LAYOUT_FILE = "ocfl_layout.json"
LAYOUT_NAME = "0003-hash-and-id-n-tuple-storage-layout"
LAYOUT_CONFIG = f"extensions/{LAYOUT_NAME}/config.json"
LAYOUT_PARAMETERS: Mapping[str, Any] = {
    "extensionName": LAYOUT_NAME,
    "digestAlgorithm": "sha256",
    "tupleSize": 3,
    "numberOfTuples": 3,
}

_PLAIN = re.compile(rb"[A-Za-z0-9_-]")


def id_hash(object_id: str) -> str:
    """SHA-256 of an object's id, in hex: the name of its staging folder and of its marker."""
    return hashlib.sha256(object_id.encode()).hexdigest()


def tuples_of(hashed: str) -> str:
    """The folders above an object with this id hash: `"d3a4…"` -> `"d3a/4…/…"`."""
    return "/".join(hashed[start : start + 3] for start in (0, 3, 6))


def key_of(object_id: str) -> str:
    """The object's path below the storage root, per extension 0003."""
    if not object_id:
        raise ValueError("an object needs an id")
    hashed = id_hash(object_id)
    encoded = "".join(
        chr(byte) if _PLAIN.match(bytes([byte])) else f"%{byte:02x}" for byte in object_id.encode()
    )
    name = encoded if len(encoded) <= 100 else f"{encoded[:100]}-{hashed}"
    return f"{tuples_of(hashed)}/{name}"


def check_paths(paths: Iterable[str]) -> None:
    """Raise `StoreError` (`bad-path`) unless all these may stand side by side in one object.

    Refused: absolute and empty paths, `.` and `..`, backslashes, control characters, names over
    255 bytes, text that is not NFC (file systems that normalise would lose one of two), the same
    path twice, and a path that is also the folder of another.
    """
    seen: set[str] = set()
    folders: set[str] = set()
    for path in paths:
        problem = _problem(path)
        if problem is None and path in seen:
            problem = "is given twice"
        if problem is not None:
            raise StoreError(f"the path {path!r} {problem}", code="bad-path")
        seen.add(path)
        folders |= {str(parent) for parent in PurePosixPath(path).parents}
    for path in sorted(seen & folders):
        raise StoreError(
            Message("the path {path!r} is a file and a folder", path=path), code="bad-path"
        )


def _problem(path: str) -> str | None:
    parts = path.split("/")
    if any(part in {"", ".", ".."} for part in parts):
        return "is not a plain relative path"
    if "\\" in path or any(unicodedata.category(character) in {"Cc", "Cs"} for character in path):
        return "holds a backslash or a control character"
    if any(len(part.encode()) > 255 for part in parts) or len(path.encode()) > 1000:
        return "is too long"
    if not unicodedata.is_normalized("NFC", path):
        return "is not in Unicode form NFC"
    return None


def root_files() -> Mapping[str, bytes]:
    """Every file of a new storage root, by path. `README.txt` explains the store to a person
    who has neither this program nor its documentation.
    """
    layout = {
        "extension": LAYOUT_NAME,
        "description": "SHA-256 of the object's id; three folders of three characters; the id, "
        "percent-encoded",
    }
    return {
        ROOT_DECLARATION: ROOT_DECLARATION_TEXT,
        LAYOUT_FILE: _json(layout),
        LAYOUT_CONFIG: _json(LAYOUT_PARAMETERS),
        "README.txt": files("archived.storage").joinpath("store-readme.txt").read_bytes(),
    }


def check_root(found: Mapping[str, bytes | None]) -> None:
    """Raise `StoreError` (`foreign-store`) unless these files, by path, are a root of ours."""
    if found.get(ROOT_DECLARATION) != ROOT_DECLARATION_TEXT:
        raise StoreError(
            Message(
                "this is no OCFL 1.1 storage root: {root_declaration} is missing or different",
                root_declaration=ROOT_DECLARATION,
            ),
            code="foreign-store",
            hint=Message("Give the store an empty folder, or the one it was made in."),
        )
    try:
        layout = json.loads(found.get(LAYOUT_FILE) or b"")["extension"]
        parameters = json.loads(found.get(LAYOUT_CONFIG) or b"")
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            Message("the storage root's layout cannot be read: {error}", error=error),
            code="foreign-store",
        ) from error
    if layout != LAYOUT_NAME or parameters != LAYOUT_PARAMETERS:
        raise StoreError(
            Message(
                "the storage root has the layout {layout!r} with parameters "
                "{parameters!r}; only {layout_name!r} with this program's parameters is "
                "written here",
                layout=layout,
                parameters=parameters,
                layout_name=LAYOUT_NAME,
            ),
            code="foreign-store",
            hint=Message(
                "Give the store another folder; the program that made this one can write to it."
            ),
        )


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
