"""What is brought to admission: settled files, the documents they are to be, and their route.

Values only: nothing here looks at a disk.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from archived.ingest.scanner import StatSample
from archived.ingest.source_file import SourceFile


@dataclass(frozen=True, slots=True)
class Route:
    """What becomes of a file from this hot folder: decided before admission, kept for ever."""

    hotfolder: str
    pipeline: str
    stages: tuple[str, ...]
    copies: int
    lane: str
    priority: int = 0
    secrecy: str = ""
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A settled file: where it is and what it looked like when it was last seen."""

    arrival: int
    root: Path
    path: bytes
    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    media_type: str
    extension: str
    origin: str = ""
    """The device it came from."""
    becomes: str = ""
    """Its artifact, when it is no original: `metadata/ticket.json`."""

    @property
    def sighting(self) -> StatSample:
        """What it looked like when it was last seen."""
        return StatSample(self.device, self.inode, self.size, self.mtime_ns, self.ctime_ns, 0.0)

    @property
    def source(self) -> Path:
        """The file, absolute. Its name may hold any byte but `/` and NUL."""
        return Path(os.fsdecode(os.path.join(os.fsencode(self.root), self.path)))  # noqa: PTH118


@dataclass(frozen=True, slots=True)
class Submission:
    """One document to be: its originals in reading order, and what came with them."""

    document: str
    files: tuple[Candidate, ...]
    route: Route
    path: bytes = b""
    """Names the document; empty: its first file's path."""
    held: tuple[str, str] | None = None
    """(code, reason) when a person must look at it before anything else happens."""
    dossier: str = ""
    given: Mapping[str, Any] = field(default_factory=dict)
    collation: str = ""
    companions: tuple[Candidate, ...] = ()
    """Tickets and marks, each with what it `becomes`."""
    opened: SourceFile | None = None
    """Its first file, where it was opened to be looked at; whoever opened it closes it."""

    @property
    def name(self) -> bytes:
        """The received path that names the document."""
        return self.path or self.files[0].path

    def everything(self) -> list[tuple[Candidate, str]]:
        """Every file with the path it gets in the document's folder."""
        originals = [
            (file, f"original/{number:04}.{file.extension}")
            for number, file in enumerate(self.files, start=1)
        ]
        return originals + [(file, file.becomes) for file in self.companions]
