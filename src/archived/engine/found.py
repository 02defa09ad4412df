"""One object of the store, read as the document that it is. Writes nothing, believes little.

An object's inventory must agree with its sidecar, its `record.json` with the inventory; the rest of
its content is not hashed here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from archived.engine.sealing import search_text
from archived.model import description, manifest, review
from archived.model.document import State
from archived.model.identity import object_id, of_object
from archived.model.manifest import Record
from archived.model.plan import SEAL
from archived.storage import atomic
from archived.storage.records import ArtifactRow, DocumentRow, StepRow
from archived.storage.stored import StoredObject


@dataclass(frozen=True, slots=True)
class Found:
    """An object and what it says of itself; `words` are its texts."""

    stored: StoredObject
    record: Record
    words: str

    @property
    def facts(self) -> dict[str, Mapping[str, Any]]:
        """As the stages gave them, in the pipeline's order: later stages win."""
        known = self.record.facts
        order = dict.fromkeys((*self.record.stages, *known))
        return {stage: known[stage] for stage in order if stage in known}

    @property
    def pages(self) -> int | None:
        """The number of pages, when a stage counted them."""
        return description.pages(self.facts)

    @property
    def origin(self) -> str:
        """The device it came from; where the record does not say, its hot folder."""
        return self.record.device or self.record.hotfolder

    @property
    def place(self) -> dict[str, Any]:
        """The columns that say where the object lies and what proves it."""
        return {
            "object_key": self.stored.key, "object_version": self.stored.head,
            "inventory_sha512": self.stored.inventory_sha512, "sealed_at": self.record.sealed,
            "position": self.record.stages.index(SEAL), "pages": self.pages,
        }  # fmt: skip

    def document(self, *, priority: int, copies: int, now: datetime) -> DocumentRow:
        """The document just sealed. `copies`: when the record does not say how many."""
        record = self.record
        return DocumentRow(
            id=record.document, state=State.SEALED, hotfolder=record.hotfolder,
            name=record.label or record.name, path=record.path, media_type=record.media_type,
            size=sum(file.size for file in record.originals), secrecy=record.secrecy,
            priority=priority, pipeline=record.pipeline, stages=record.stages,
            copies=record.copies or copies, running=None, lane="", attempts=0, postponed=0,
            due=None, code=None, reason=None, hint=None, received=record.received, changed=now,
            origin=self.origin, dossier=record.dossier, given=record.given or None,
            collation=record.collation, owner=record.owner,
            master=of_object(record.master) if record.master else None, **self.place,
        )  # fmt: skip

    def artifacts(self) -> Iterator[ArtifactRow]:
        """Its bitstreams."""
        for file in self.record.files:
            yield ArtifactRow(
                document=self.record.document, role=file.role, name=file.name,
                media_type=file.media_type, size=file.size, sha512=file.sha512,
                sha256=file.sha256, path=file.logical, step=file.step, main=file.main,
            )  # fmt: skip

    def steps(self) -> Iterator[StepRow]:
        """The attempts on record; a stage's facts stand with its last one that ended well."""
        steps = self.record.steps
        ended_well = {step.stage: step.id for step in steps if step.ending == "finished"}
        for step in steps:
            facts = self.facts.get(step.stage) if ended_well.get(step.stage) == step.id else {}
            yield StepRow(
                id=step.id, document=self.record.document, position=step.position,
                stage=step.stage, attempt=step.attempt, version=step.version,
                distribution=step.distribution, options_digest=step.options_digest,
                started=step.started, ended=step.ended, ending=step.ending,
                code=step.code or None, message=step.message or None, facts=facts or {},
                tools=dict(step.tools), notes=list(step.notes),
                reviews=review.to_json(step.reviews) or None,
            )  # fmt: skip


def read(stored: StoredObject) -> Found:
    """What an object is. Raises `ValueError` (says what is wrong), `StoreError`, `OSError`."""
    files = stored.files()
    if manifest.RECORD not in files:
        raise ValueError(f"it has no {manifest.RECORD}")
    own = files[manifest.RECORD]
    if atomic.digest(own.path).sha512 != own.sha512:
        raise ValueError(f"its {manifest.RECORD} is damaged: its SHA-512 differs")
    record = manifest.from_json(own.path.read_bytes())
    _agree(stored, record)
    texts = [
        files[file.logical].path
        for file in record.files
        if file.role == "text" and file.media_type == "text/plain"
    ]
    return Found(stored, record, search_text(texts).text)


def _agree(stored: StoredObject, record: Record) -> None:
    """Raises `ValueError` when the record is another object's, or tells of other bytes."""
    if record.object != stored.id or object_id(record.document) != stored.id:
        raise ValueError(f"its {manifest.RECORD} is that of {record.object}")
    state = stored.inventory.state
    for file in record.files:
        if state.get(file.logical) != file.sha512:
            raise ValueError(f"{file.logical} is not what its {manifest.RECORD} says")
    if not record.originals or not any(file.main for file in record.files):
        raise ValueError(f"its {manifest.RECORD} names no original, or no main file")
    if record.stages.count(SEAL) != 1:
        raise ValueError(f"its {manifest.RECORD} names no pipeline that seals")
    if not {arrived.logical for arrived in record.arrived} <= {f.logical for f in record.files}:
        raise ValueError(f"its {manifest.RECORD} tells of a file that arrived and is not in it")
    if not record.arrived and not record.master:
        raise ValueError(f"its {manifest.RECORD} does not say where it came from")
