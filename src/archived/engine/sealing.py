"""The core's own step: a document's current artifacts and its description become one OCFL object.

Blocking and idempotent: after a crash between the store's rename and the catalog's commit, the
object that is there already is checked and adopted.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from archived import AGENT, __version__
from archived.api import Role
from archived.engine import split
from archived.engine.worker.reply import clean
from archived.errors import CatalogError, StoreError
from archived.message import Message
from archived.model import review
from archived.model.ids import object_id, readable
from archived.model.lifecycle import SOURCE_GREW
from archived.model.metadata_xml import dublin_core, premis
from archived.model.outcome import Ending, Outcome, of_os_error
from archived.model.record import (
    DUBLIN_CORE,
    PREMIS,
    RECORD,
    ArrivedFile,
    LedgerPosition,
    Record,
    RecordedDecision,
    RecordedFile,
    RecordedStep,
    to_json,
)
from archived.storage.artifacts import logical_path
from archived.storage.catalog import Catalog
from archived.storage.ocfl.store import SealedObject, Store
from archived.storage.ocfl.writer import StoreFile, VersionInfo
from archived.storage.rows import ArtifactRow, DocumentRow, LedgerRow, StepRow
from archived.storage.spool import Spool

_log = logging.getLogger("archived.engine")

_SEARCHABLE = 16 << 20
"""Characters of all of a document's texts together that are made searchable: some 5,000 pages. The
rest is in the object all the same. Bounds what one seal takes of the daemon's memory (0.15 GB)."""
_MOST_FILES = 1_000_000
_DECISIONS = {"document-released": "released", "document-retried": "retried"}


class SearchText(NamedTuple):
    """What of a document's text is searched; `left_out` are the bytes of UTF-8 that are not."""

    text: str
    left_out: int


class Sealer:
    """Makes objects; `organisation` is named in each version's inventory."""

    def __init__(self, spool: Spool, store: Store, catalog: Catalog, organisation: str) -> None:
        self._spool = spool
        self._store = store
        self._catalog = catalog
        self._organisation = organisation

    def seal(
        self, row: DocumentRow, step: StepRow
    ) -> tuple[dict[str, Any], SearchText | None] | Outcome:
        """Make the object durable in the store; returns where it lies and the text to find it by.

        For a document that is sealed already it is a further version, with what an upgrade made;
        its text is findable already (`None`). Where nothing was made, no place is returned.

        What goes wrong is returned as an outcome, for `policy` to judge like any other step's; so
        is that one of its parts must be decided about first.
        """
        try:
            stopped = split.stops(self._catalog, row)
            if stopped is not None:
                return stopped
            artifacts = self._catalog.artifacts(row.id)
            if row.object_key is not None:
                version = self._version(row, step, artifacts)
                return ({} if version is None else _place(version)), None
            sealed = self._object(row, step, artifacts)
            words = self._words(row, artifacts)
        except StoreError as error:
            return Outcome(Ending.FAILED, code=error.code, message=error.message, hint=error.hint)
        except OSError as error:
            return of_os_error(error)
        except CatalogError as error:
            return Outcome(
                Ending.POSTPONED,
                code="store-io",
                message=error.message,
                hint=error.hint,
                after=timedelta(seconds=30),
            )
        except Exception as error:  # noqa: BLE001 - whatever a stage left in its facts, it ends
            _log.exception("a document could not be sealed", extra={"action": "seal-failed"})
            return seal_failed(error)
        if words.left_out:
            _log.warning(
                "not all of a document's text can be searched",
                extra={"action": "text-not-indexed", "document": row.id, "bytes": words.left_out},
            )
        return _place(sealed), words

    def _object(
        self, row: DocumentRow, step: StepRow, artifacts: list[ArtifactRow]
    ) -> SealedObject:
        identifier = object_id(row.id)
        try:
            info = self._version_info(step.started, "Archived")
            return self._store.seal(identifier, self._files(row, artifacts), info)
        except StoreError as error:
            if error.code != "already-sealed":
                raise
        expected = {logical_path(a): a.sha512 for a in artifacts}
        return self._store.adopt(identifier, expected)

    def _version(
        self, row: DocumentRow, step: StepRow, artifacts: list[ArtifactRow]
    ) -> SealedObject | None:
        """The version that holds what an upgrade made; `None` where it made nothing.

        A version that the catalog has not heard of was being recorded when the machine stopped: it
        is checked and adopted. Two different ones of one upgrade can thus not be.
        """
        identifier = object_id(row.id)
        current = self._store.read(identifier)
        if current.head > (row.object_version or 0):
            return self._store.adopt(identifier, {logical_path(a): a.sha512 for a in artifacts})
        state = current.inventory.state
        made = [a for a in artifacts if state.get(logical_path(a)) != a.sha512]
        if not made:
            return None
        info = self._version_info(step.started, "Upgraded")
        return self._store.add_version(identifier, self._files(row, artifacts, made), info)

    def _version_info(self, created: datetime, message: str) -> VersionInfo:
        name = f"{self._organisation}, {AGENT}" if self._organisation else AGENT
        return VersionInfo(created, message, name, "about:archived")

    def _files(
        self,
        row: DocumentRow,
        artifacts: list[ArtifactRow],
        made: list[ArtifactRow] | None = None,
    ) -> list[StoreFile]:
        """Those of `made` (of all artifacts, without it), and the description of the document."""
        folder = self._spool.folder(row.id)
        files = [
            StoreFile(logical_path(a), folder / a.path, sha512=a.sha512, sha256=a.sha256)
            for a in (artifacts if made is None else made)
        ]
        record = self._record(row, artifacts)
        return [
            *files,
            StoreFile(RECORD, to_json(record)),
            StoreFile(PREMIS, premis(record)),
            StoreFile(DUBLIN_CORE, dublin_core(record)),
        ]

    def _record(self, row: DocumentRow, artifacts: list[ArtifactRow]) -> Record:
        entries = self._catalog.ledger_of(row.id)
        last = entries[-1]
        first = next(logical_path(a) for a in artifacts if a.role == Role.ORIGINAL)
        return Record(
            document=row.id,
            object=object_id(row.id),
            hotfolder=row.hotfolder,
            path=row.path,
            pipeline=row.pipeline,
            stages=tuple(row.stages),
            media_type=row.media_type,
            secrecy=row.secrecy,
            received=row.received,
            sealed=datetime.now(UTC),
            archived=__version__,
            arrived=tuple(
                ArrivedFile(
                    a.path,
                    a.became or first,
                    a.size,
                    a.mtime_ns,
                    a.first_seen,
                    grew=a.code == SOURCE_GREW,
                )
                for a in self._catalog.arrivals(document=row.id, limit=_MOST_FILES)
            ),
            files=tuple(
                RecordedFile(
                    a.role, a.name, a.media_type, a.size, a.sha512, a.sha256, a.step, a.main
                )
                for a in artifacts
            ),
            steps=tuple(_step(s) for s in self._catalog.steps(row.id) if s.ending is not None),
            facts=self._catalog.facts(row.id),
            ledger=LedgerPosition(last.sequence, last.hash),
            decisions=tuple(_decision(e) for e in entries if e.kind in _DECISIONS),
            dossier=row.dossier,
            given=row.given or {},
            collation=row.collation,
            owner=row.owner,
            label="" if row.name == readable(row.path) else row.name,
            device=row.origin,
            copies=row.copies,
            master=object_id(row.master) if row.master else "",
            parts=tuple(object_id(part.id) for part in self._catalog.parts(row.id)),
        )

    def _words(self, row: DocumentRow, artifacts: list[ArtifactRow]) -> SearchText:
        texts = [a for a in artifacts if a.role == Role.TEXT and a.media_type == "text/plain"]
        return search_text(self._spool.folder(row.id) / artifact.path for artifact in texts)


def _place(sealed: SealedObject) -> dict[str, Any]:
    return {
        "object_key": sealed.key,
        "object_version": sealed.version,
        "inventory_sha512": sealed.inventory_sha512,
    }


def seal_failed(error: Exception) -> Outcome:
    """What it means for the step when a document cannot be described or put on record."""
    return Outcome(
        Ending.FAILED,
        code="seal-failed",
        message=clean(f"{type(error).__name__}: {error}"),
        hint=Message("report it with the journal of that time; archivectl retry tries again"),
    )


def search_text(texts: Iterable[Path]) -> SearchText:
    """The text to find a document by, out of its text files. Raises `OSError`."""
    read: list[str] = []
    left = _SEARCHABLE
    left_out = 0
    for path in texts:
        with path.open("rb") as raw, io.TextIOWrapper(raw, "utf-8", errors="replace") as file:
            text = file.read(left)
            left_out += 0 if file.read(1) == "" else path.stat().st_size - len(text.encode())
        left -= len(text)
        read.append(text)
    return SearchText("\n".join(read), left_out)


def _step(step: StepRow) -> RecordedStep:
    return RecordedStep(
        id=step.id,
        position=step.position,
        stage=step.stage,
        attempt=step.attempt,
        version=step.version,
        distribution=step.distribution,
        options_digest=step.options_digest,
        started=step.started,
        ended=step.ended,
        ending=step.ending or "",
        code=step.code or "",
        message=step.message or "",
        tools=step.tools or {},
        notes=tuple(step.notes or ()),
        reviews=review.from_json(list(step.reviews or ())),
    )


def _decision(entry: LedgerRow) -> RecordedDecision:
    facts = entry.facts
    return RecordedDecision(
        entry.at,
        json.loads(entry.entry)["agent"],
        _DECISIONS[entry.kind],
        str(facts.get("note", "")),
        review.from_json(facts.get("reviews", [])),
        str(facts.get("step", "")),
    )
