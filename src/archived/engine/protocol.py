"""The JSON that crosses between the daemon and a step's process: requests in, outcomes out.

Everything here is data and how it is spelled; how an outcome is read and judged is in
`worker.results`. Nothing here starts a process, and nothing here knows a plug-in's classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from archived.api import Artifact, Document, Role, Sealed
from archived.message import with_parts
from archived.model import review
from archived.model.outcome import Outcome

FACTS_LIMIT = 256 * 2**10
"""Bytes of JSON one step's facts may take; those of all its parts together, as much again."""
PARTS_LIMIT = 1000
"""Documents that one step may cut out of another."""
FILES_LIMIT = 20_000
"""Files that one step may make."""
NOTES_LIMIT = 10_000
"""Notes that one step may leave."""
PROCESSES_LIMIT = 128
"""Processes and threads that one step may have at a time, its own process included."""
LOG_LIMIT = 64 * 2**10
"""Bytes of a step's output that are kept: the first quarter and the end."""

NOT_BEGUN = "not-begun"
"""Why a step ended that its kept worker never began: nothing of it has happened."""
DISOBEYED = "disobeyed"
"""Why a kept worker was killed that said or did what it may not between its steps."""

TEMPORARY = ".tmp"
"""Folder inside a step's own for TMPDIR and HOME; nothing in it is output."""
LEFT = ".left"
"""Folder inside a step's own for what a kept worker left there; what it returned is copied out.
Every name that begins so is of what strangers left."""

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StepLimits:
    """What one step may use. `None` leaves a limit as it is for the daemon.

    `memory`: bytes of address space, on top of what the warm fork server already takes.
    `cpu_seconds`: processor time of each process. `file_size`: bytes of each file it writes.
    `open_files`: descriptors of each process. `processes`: how many processes and threads it may
    have at a time. `network`: whether it has any. `system_calls`: groups of them that it may make
    beyond what every step may (`api.Needs`). `memory_per_page`, `max_memory`: what is added to
    `memory` for each page that the stage tells, and where that ends; 0: nothing is.
    """

    memory: int | None = 2**30
    cpu_seconds: int | None = None
    file_size: int | None = 16 * 2**30
    open_files: int | None = 1024
    processes: int | None = PROCESSES_LIMIT
    network: bool = False
    system_calls: tuple[str, ...] = ()
    memory_per_page: int = 0
    max_memory: int = 0


def limits_from_json(limits: Json) -> StepLimits:
    """What `dataclasses.asdict` made of it, through JSON. Raises `TypeError`."""
    return StepLimits(**{**limits, "system_calls": tuple(limits["system_calls"])})


@dataclass(frozen=True, slots=True)
class StepDocument:
    """All that builds an `api.Document`. `main` is an index in `artifacts`."""

    id: str
    received: datetime
    hotfolder: str
    name: str
    artifacts: Sequence[Artifact]
    main: int = 0
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    secrecy: str = ""
    sealed: Sealed | None = None
    dossier: str = ""
    given: Mapping[str, Any] = field(default_factory=dict)
    collation: str = ""
    answers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, document: Document) -> StepDocument:
        """The card of a document whose `main` is one of its `artifacts`."""
        return cls(
            id=document.id,
            received=document.received,
            hotfolder=document.hotfolder,
            name=document.name,
            artifacts=document.artifacts,
            main=document.artifacts.index(document.main),
            facts=document.facts,
            secrecy=document.secrecy,
            sealed=document.sealed,
            dossier=document.dossier,
            given=document.given,
            collation=document.collation,
            answers=document.answers,
        )

    def document(self) -> Document:
        """The frozen document a stage is given."""
        artifacts = tuple(self.artifacts)
        facts = {stage: MappingProxyType(dict(known)) for stage, known in self.facts.items()}
        return Document(
            id=self.id,
            received=self.received,
            hotfolder=self.hotfolder,
            name=self.name,
            main=artifacts[self.main],
            artifacts=artifacts,
            facts=MappingProxyType(facts),
            secrecy=self.secrecy,
            sealed=self.sealed,
            dossier=self.dossier,
            given=MappingProxyType(dict(self.given)),
            collation=self.collation,
            answers=MappingProxyType(dict(self.answers)),
        )

    def to_json(self) -> dict[str, Any]:
        """JSON values only."""
        return {
            "id": self.id,
            "received": self.received.isoformat(),
            "hotfolder": self.hotfolder,
            "name": self.name,
            "artifacts": [
                {**asdict(a), "path": str(a.path), "role": str(a.role)} for a in self.artifacts
            ],
            "main": self.main,
            "facts": {stage: dict(known) for stage, known in self.facts.items()},
            "secrecy": self.secrecy,
            "sealed": None
            if self.sealed is None
            else {**asdict(self.sealed), "root": str(self.sealed.root)},
            "dossier": self.dossier,
            "given": dict(self.given),
            "collation": self.collation,
            "answers": dict(self.answers),
        }

    @classmethod
    def from_json(cls, spec: Json) -> StepDocument:
        """The card `to_json` wrote. Raises `KeyError`, `TypeError` or `ValueError`."""
        sealed = spec["sealed"]
        return cls(
            **{
                **spec,
                "received": datetime.fromisoformat(spec["received"]),
                "artifacts": tuple(
                    Artifact(**{**a, "path": Path(a["path"]), "role": Role(a["role"])})
                    for a in spec["artifacts"]
                ),
                "sealed": sealed and Sealed(**{**sealed, "root": Path(sealed["root"])}),
            }
        )


def asked_about(document: Document, *, any_original: bool) -> tuple[str, ...]:
    """The media types of which a stage must accept one; see `Stage.any_original`."""
    if any_original and document.main in document.originals:
        return tuple(artifact.media_type for artifact in document.originals)
    return (document.main.media_type,)


@dataclass(frozen=True, slots=True)
class StepRequest:
    """One attempt at one step.

    `step` names the attempt and is unique among those running. `options` and the options of
    `targets` are as their models dump them (`mode="json"`); the child validates them again.
    `folder` exists, is empty and belongs to this attempt. `deadline` is aware.
    """

    step: str
    stage: str
    options: Mapping[str, Any]
    document: StepDocument
    folder: Path
    deadline: datetime
    targets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Name -> `{"kind": ..., "options": {...}}`."""
    limits: StepLimits = StepLimits()
    kept: bool = False
    """Whether the process that does it stays for the stage's next step."""
    upgrade: bool = False
    """Whether the sealed document is upgraded; else the stage does its first work on it."""
    max_time: float = 0.0
    """Seconds after which it ends however well it gets on, when that is later than `deadline`: this
    is then how long it may go without getting on."""

    def to_json(self) -> dict[str, Any]:
        """JSON values only."""
        return {
            "step": self.step,
            "stage": self.stage,
            "options": dict(self.options),
            "document": self.document.to_json(),
            "folder": str(self.folder),
            "deadline": self.deadline.isoformat(),
            "targets": {name: dict(target) for name, target in self.targets.items()},
            "limits": asdict(self.limits),
            "kept": self.kept,
            "upgrade": self.upgrade,
            "max_time": self.max_time,
        }

    @classmethod
    def from_json(cls, request: Json) -> StepRequest:
        """The request `to_json` wrote. Raises `KeyError`, `TypeError` or `ValueError`."""
        return cls(
            **{
                **request,
                "document": StepDocument.from_json(request["document"]),
                "folder": Path(request["folder"]),
                "deadline": datetime.fromisoformat(request["deadline"]),
                "limits": limits_from_json(request["limits"]),
            }
        )


def outcome_to_json(outcome: Outcome) -> dict[str, Any]:
    """JSON values only; what it cost is measured by the runner."""
    return {
        **with_parts(_plain(outcome)),
        "facts": dict(outcome.facts),
    }


def _plain(outcome: Outcome) -> dict[str, Any]:
    return {
        "ending": str(outcome.ending),
        "code": outcome.code,
        "message": outcome.message,
        "hint": outcome.hint,
        "after": None if outcome.after is None else outcome.after.total_seconds(),
        "made": [asdict(made) for made in outcome.made],
        "main": outcome.main,
        "tools": dict(outcome.tools),
        "copies": [{**asdict(c), "verified": c.verified.isoformat()} for c in outcome.copies],
        "notes": list(outcome.notes),
        "parts": [asdict(part) for part in outcome.parts],
        "reviews": review.to_json(outcome.reviews),
    }
