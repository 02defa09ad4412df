"""The catalog's rows as the rest of the program sees them: frozen and typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from archived.model.lifecycle import State


@dataclass(frozen=True, slots=True)
class SpoolFile:
    """A file in a document's spool folder. `path` is relative to that folder."""

    path: str
    size: int
    sha256: str
    sha512: str


class ArrivalState(StrEnum):
    """Where a file seen in a hot folder stands."""

    SEEN = "seen"
    """Being watched: still arriving, settling, or waiting for intake."""
    ADMITTED = "admitted"
    """It became (part of) a document."""
    HELD = "held"
    """It cannot be taken in; it stays where it is and a person must act."""
    IGNORED = "ignored"
    """Left alone under a named rule."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One file seen in a hot folder. `path` is relative to the folder, as received."""

    id: int
    hotfolder: str
    path: bytes
    name: str
    state: ArrivalState
    code: str | None
    reason: str | None
    present: bool
    device: int
    inode: int
    size: int
    mtime_ns: int
    sha256: str | None
    document: str | None
    first_seen: datetime
    ended: datetime | None
    origin: str = ""
    """The device it came from, by the hot folder's `device`."""
    became: str | None = None
    """The artifact it became (`original/0002.tif`); `None`: its document's first original."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenFile:
    """What is known of a file before it has an arrival; zeros where nobody can say any more."""

    hotfolder: str
    path: bytes
    name: str
    device: int = 0
    inode: int = 0
    size: int
    mtime_ns: int = 0
    origin: str = ""
    """The device it came from; empty: the hot folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentFilter:
    """Which documents a listing is of: those that all of it is true of."""

    states: Sequence[State] = ()
    hotfolder: str | None = None
    dossier: str | None = None
    code: str | None = None
    reviewed: bool = False
    """Only those that wait for a review, or were rejected after one."""
    name: str | None = None
    """Whose name holds it, or that of a file that became or joined it."""


@dataclass(frozen=True, slots=True)
class BecameArtifact:
    """Which artifact an arrival became: `path` is `role/name` in the document."""

    document: str
    sha256: str
    path: str


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """A document as the catalog knows it. See `schema.document` for the columns' meaning."""

    id: str
    state: State
    hotfolder: str
    name: str
    path: bytes
    media_type: str
    size: int
    secrecy: str
    priority: int
    pipeline: str
    stages: Sequence[str]
    copies: int
    position: int
    running: str | None
    lane: str
    attempts: int
    postponed: int
    due: datetime | None
    code: str | None
    reason: str | None
    hint: str | None
    received: datetime
    changed: datetime
    sealed_at: datetime | None = None
    safe_at: datetime | None = None
    object_key: str | None = None
    object_version: int | None = None
    inventory_sha512: str | None = None
    pages: int | None = None
    origin: str = ""
    dossier: str = ""
    given: Mapping[str, Any] | None = None
    collation: str = ""
    owner: str = ""
    master: str | None = None
    review: str | None = None


@dataclass(frozen=True, slots=True)
class ArtifactRow:
    """One bitstream. `path`: below the document's spool folder. `step`: `None` when received."""

    document: str
    role: str
    name: str
    media_type: str
    size: int
    sha512: str
    sha256: str
    path: str
    step: str | None = None
    current: bool = True
    main: bool = False


def received(document: str, kept: SpoolFile, media_type: str, *, main: bool = False) -> ArtifactRow:
    """The artifact that a received file becomes: an original, or what came with one."""
    role, _, name = kept.path.partition("/")
    return ArtifactRow(
        document=document,
        role=role,
        name=name,
        media_type=media_type,
        size=kept.size,
        sha512=kept.sha512,
        sha256=kept.sha256,
        path=kept.path,
        main=main,
    )


@dataclass(frozen=True, slots=True)
class StepRow:
    """One attempt at one stage. `ending` is `None` while it runs."""

    id: str
    document: str
    position: int
    stage: str
    attempt: int
    version: str
    distribution: str
    options_digest: str
    started: datetime
    ended: datetime | None = None
    ending: str | None = None
    code: str | None = None
    message: str | None = None
    hint: str | None = None
    facts: Mapping[str, Any] | None = None
    tools: Mapping[str, str] | None = None
    notes: Sequence[str] | None = None
    wall: float | None = None
    cpu: float | None = None
    peak_memory: int | None = None
    reviews: Sequence[Mapping[str, Any]] | None = None
    """What a person must look at, as `model.review.to_json` writes it."""
    worked_on: str | None = None


@dataclass(frozen=True, slots=True)
class Replica:
    """A copy that was written and read back."""

    document: str
    target: str
    key: str
    inventory_sha512: str
    files: int
    size: int
    verified: datetime


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One ledger entry. `entry` is its canonical JSON as stored, under the names of its time;
    `kind` and `facts` have the present ones.
    """

    sequence: int
    entry: str
    hash: str
    kind: str
    document: str | None
    at: datetime
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Balance:
    """The balance sheet of one hot folder, in arrivals. `unaccounted` must be zero."""

    hotfolder: str
    seen: int = 0
    archived: int = 0
    held: int = 0
    ignored: int = 0
    in_work: int = 0
    rules: Mapping[str, int] = field(default_factory=dict)
    """Ignored arrivals by rule."""

    @property
    def unaccounted(self) -> int:
        """Files that are in no column: a loss, or a fault of this program."""
        return self.seen - self.archived - self.held - self.ignored - self.in_work


@dataclass(frozen=True, slots=True)
class SearchHit:
    """One answer of a search."""

    document: str
    name: str
    facts: str
    snippet: str
