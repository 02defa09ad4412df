"""The SHA-256 of a plug-in's code: what was checked is what runs, and is named in each record.

Imported by the daemon and by fork servers, before the plug-in is.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path

_CACHES = "__pycache__"


def of_bytes(code: bytes) -> str:
    """Of a single-file plug-in: 64 hexadecimal digits."""
    return hashlib.sha256(code).hexdigest()


def of_package(module: str) -> str:
    """Of the top-level package or module that `module` is in: 64 hexadecimal digits.

    Each file counts by its path in the package and its bytes, but for cached byte code. Nothing is
    imported. Raises `ImportError` when there is no such package, and `OSError`.
    """
    top = module.partition(".")[0]
    found = importlib.util.find_spec(top)
    if found is None:
        raise ModuleNotFoundError(f"no module named {top!r}", name=top)
    digest = hashlib.sha256()
    folders = [Path(place) for place in found.submodule_search_locations or ()]
    single = [] if folders or found.origin is None else [Path(found.origin)]
    for path, name in [*_files(folders), *((path, path.name) for path in single)]:
        own = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{own}  {name}\n".encode())
    return digest.hexdigest()


def _files(folders: list[Path]) -> Iterator[tuple[Path, str]]:
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            inside = path.relative_to(folder)
            if _CACHES not in inside.parts and path.is_file():
                yield path, inside.as_posix()
