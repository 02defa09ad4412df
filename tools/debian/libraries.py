"""The shared libraries inside wheels of others: their licences, and what is put in place of one.

The list is `packaging/debian/libraries.toml`. Needs a C compiler when something is replaced.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

SOURCES = Path(__file__).resolve().parent.parent.parent / "packaging/debian"
_LIST = tomllib.loads((SOURCES / "libraries.toml").read_text())
LICENCES: dict[str, str] = _LIST["licences"]
REPLACED: dict[str, dict[str, object]] = _LIST["replaced"]
_FILE = re.compile(r"(?P<name>[\w+.]*?)(?:-[0-9a-f]{8})*\.so(?:\.\d+)*")
_EXTENSION = re.compile(r"\.(cpython-\d+|abi3)[\w-]*\.so$")


def inside_wheels(packages: Path) -> Iterator[tuple[str, Path]]:
    """Name and file of each library in `packages` that is no extension module of Python."""
    for file in sorted(packages.rglob("*.so*")):
        if not _EXTENSION.search(file.name):
            parts = _FILE.fullmatch(file.name)
            yield parts["name"] if parts else file.name, file


def licences(packages: Path) -> list[str]:
    """A line for each library: where it lies and its licence.

    `SystemExit` for one that is not in the list.
    """
    lines = []
    for name, file in inside_wheels(packages):
        licence = "Apache-2.0, archived's own" if name in REPLACED else LICENCES.get(name)
        if licence is None:
            raise SystemExit(f"{file.name}: look up its licence and add it to libraries.toml")
        lines.append(f"{file.relative_to(packages)}: {licence}\n")
    return lines


def in_bills() -> set[str]:
    """What the wheels' own bills of materials call the libraries that are not there any more."""
    return {str(name) for each in REPLACED.values() for name in each["bills"]}  # type: ignore[attr-defined]


def replace(packages: Path) -> list[Path]:
    """Build what is to be replaced, put it in place and into its wheel's RECORD; the files."""
    found = [(name, file) for name, file in inside_wheels(packages) if name in REPLACED]
    for name, file in found:
        file.unlink()
        subprocess.run(
            [
                "cc",
                "-O2",
                "-fPIC",
                "-shared",
                "-Wall",
                "-Werror",
                f"-Wl,-soname,{file.name}",
                "-Wl,--build-id=none",
                "-o",
                str(file),
                str(SOURCES / str(REPLACED[name]["source"])),
            ],
            check=True,
        )
        _record(packages, file)
    return [file for _, file in found]


def _record(packages: Path, file: Path) -> None:
    """Write a file's digest and size into the RECORD that names it (PyPA, recorded files)."""
    content = file.read_bytes()
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    named = str(file.relative_to(packages))
    for record in packages.glob("*.dist-info/RECORD"):
        rows = [row for row in csv.reader(io.StringIO(record.read_text())) if row]
        for row in rows:
            if row[0] == named:
                row[1:] = [f"sha256={digest}", str(len(content))]
        with record.open("w", newline="") as out:
            csv.writer(out, lineterminator="\n").writerows(rows)
