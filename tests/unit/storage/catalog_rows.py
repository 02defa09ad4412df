"""Rows for a catalog: plain ones, with the columns that a test is about."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from archived.model.lifecycle import State
from archived.storage.catalog import Catalog
from archived.storage.rows import Arrival, ArrivalState, ArtifactRow, DocumentRow, StepRow

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)

PLAIN = DocumentRow(
    id="",
    state=State.ADMITTED,
    hotfolder="scans",
    name="page.pdf",
    path=b"page.pdf",
    media_type="application/pdf",
    size=1,
    secrecy="",
    priority=0,
    pipeline="paper",
    stages=("ocr", "seal"),
    copies=1,
    position=0,
    running=None,
    lane="cpu",
    attempts=0,
    postponed=0,
    due=NOON,
    code=None,
    reason=None,
    hint=None,
    received=NOON,
    changed=NOON,
    origin="scans",
)


def have(catalog: Catalog, **documents: object) -> None:
    """Documents by id, each with the columns that matter."""
    with catalog.transaction() as change:
        for identifier, columns in documents.items():
            change.admit(replace(PLAIN, id=identifier, **columns), [])  # type: ignore[arg-type]


def artifact(document: str, name: str = "0001.pdf", **columns: object) -> ArtifactRow:
    plain = ArtifactRow(
        document, "original", name, "x/y", 1, "a" * 128, "b" * 64, f"original/{name}"
    )
    return replace(plain, **columns)  # type: ignore[arg-type]


def step(identifier: str, document: str, **columns: object) -> StepRow:
    plain = StepRow(identifier, document, 0, "ocr", 1, "1", "test", "", NOON)
    return replace(plain, **columns)  # type: ignore[arg-type]


def arrival(path: str, **columns: object) -> Arrival:
    plain = Arrival(
        0,
        "scans",
        path.encode(),
        path,
        ArrivalState.SEEN,
        None,
        None,
        present=True,
        device=1,
        inode=1,
        size=1,
        mtime_ns=1,
        sha256=None,
        document=None,
        first_seen=NOON,
        ended=None,
    )
    return replace(plain, **columns)  # type: ignore[arg-type]
