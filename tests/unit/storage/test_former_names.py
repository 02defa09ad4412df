"""An archive made while things had other names: it is opened, finished, checked and rebuilt.

`former/archive.tar.xz` was made by `former/make.py` with the code of that time.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from archived.engine import decisions
from archived.engine.attempt import step_document
from archived.engine.decisions import PersonDecision
from archived.engine.rebuild import ConfiguredDefaults, Rebuild
from archived.engine.sealing import Sealer
from archived.model.former_names import CODES, ENDINGS, EVENTS, KINDS, RULES, STATES
from archived.model.ids import object_id
from archived.model.lifecycle import State
from archived.model.record import RECORD, from_json
from archived.observe.api import QueryApi
from archived.observe.receipts.writer import ReceiptSpec, ReceiptWriter
from archived.observe.reviews import of_document
from archived.storage.catalog import Catalog
from archived.storage.ledger import verify
from archived.storage.metrics_queries import last_events
from archived.storage.ocfl.store import Store
from archived.storage.reconcile_query import settled
from archived.storage.rows import DocumentRow
from archived.storage.spool import Spool
from archived.testing.invariants import problems
from tests.fault.dividing import Dividing
from tests.fault.hand_driven_archive import DECK

ARCHIVE = Path(__file__).parent / "former" / "archive.tar.xz"
FORMER = {*STATES, *ENDINGS, *CODES, *RULES}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    with tarfile.open(ARCHIVE) as tar:
        tar.extractall(tmp_path)
    return tmp_path


class World(Dividing):
    """As it is now: only the scan that was cut has parts."""

    def do_stage(self, row: DocumentRow, stage: str, step: str) -> Any:
        return super(Dividing, self).do_stage(row, stage, step)

    def named(self, name: str) -> DocumentRow:
        return next(d for d in self.catalog.documents() if d.name == name)


@pytest.fixture
def world(root: Path) -> Iterator[World]:
    """The archive, opened by the code of now; at the end all agrees."""
    world = World(root)
    yield world
    assert problems(world.state, root / "store") == []
    world.catalog.close()


def as_stored(root: Path) -> dict[str, list[tuple[Any, ...]]]:
    db = sqlite3.connect(root / "state" / "catalog.db")
    found = {
        table: db.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()
        for table in ("ledger", "outbox", "reader", "document", "step", "arrival")
    }
    db.close()
    return found


def test_the_archive_has_what_this_is_about(root: Path) -> None:
    """It was made under every former name, in every state, and nobody has been told yet."""
    db = sqlite3.connect(root / "state" / "catalog.db")
    states = {s for (s,) in db.execute("SELECT state FROM document")}
    assert states == {str(s) for s in State if s is not State.REJECTED} | {"refused"}
    codes = {c for (c,) in db.execute("SELECT code FROM document UNION SELECT code FROM step")}
    assert codes >= set(CODES)
    assert {e for (e,) in db.execute("SELECT ending FROM step")} >= set(ENDINGS)
    assert {k for (k,) in db.execute("SELECT kind FROM ledger")} >= set(KINDS)
    assert {n for (n,) in db.execute("SELECT name FROM outbox WHERE sequence > 3")} >= set(EVENTS)
    db.close()


def test_it_opens_under_present_names_and_what_is_on_record_is_not_rewritten(root: Path) -> None:
    before = as_stored(root)
    Catalog.open(root / "state" / "catalog.db").close()
    after = as_stored(root)

    for table in ("ledger", "outbox", "reader"):
        assert after[table] == before[table]
    for table in ("document", "step", "arrival"):
        assert len(after[table]) == len(before[table])
        assert not FORMER & {v for row in after[table] for v in row if isinstance(v, str)} - {
            "refused"  # how an attempt of a stage ended
        }
    db = sqlite3.connect(root / "state" / "catalog.db")
    found = dict(db.execute("SELECT name, state || ' ' || coalesce(code, '') FROM document"))
    db.close()
    assert found["refused.pdf"] == "rejected decompression-bomb"
    assert found["held-bomb.pdf"] == "held decompression-bomb"
    assert found["held-broke.pdf"] == "held core-error"
    assert found["one.pdf"] == "held page-order-ambiguous"
    assert found["fronts.pdf"] == "held back-sides-missing"
    assert found["waiting.pdf"] == "waiting core-error"


def test_its_ledger_is_whole_and_read_under_present_names(world: World) -> None:
    assert verify(world.catalog.ledger_rows()) == world.catalog.ledger_head()

    def kinds(name: str) -> Counter[str]:
        return Counter(e.kind for e in world.catalog.ledger_of(world.named(name).id))

    assert kinds("safe.pdf")["step-failed"] == 1
    assert kinds("safe.pdf")["step-requeued"] == 1
    assert kinds("safe.pdf")["step-refused"] == 1, "and not as a failed step"
    assert kinds("refused.pdf")["document-rejected"] == 1
    told = {
        v for e in world.catalog.ledger_of(world.named("retried.pdf").id) for v in values(e.facts)
    }
    assert "decompression-bomb" in told
    assert not told & (FORMER - {"refused"})


def values(facts: Mapping[str, Any]) -> Iterator[str]:
    yield from (v for v in facts.values() if isinstance(v, str))


def test_its_files_are_accounted_for(world: World) -> None:
    sheet = QueryApi(world.catalog, world.root / "store").answer("account", {})["total"]
    assert (sheet["unaccounted"], sheet["ignored"]) == (0, 1)
    assert [dict(each.rules) for each in world.catalog.balance() if each.rules] == [
        {"system-file": 1}
    ]
    assert [each.why for each in settled(world.catalog) if each.why] == []


def test_its_queued_events_reach_every_reader_under_present_names(world: World) -> None:
    told = world.catalog.events_for("mqtt", limit=10_000)
    assert [e.sequence for e in told] == list(range(4, 4 + len(told))), "none is passed over"
    assert not {e.name for e in told} & set(EVENTS)
    assert {"step-failed", "document-rejected"} <= {e.name for e in told}
    assert not {v for e in told for v in values(e.facts)} & (FORMER - {"refused"})
    assert not {name for name, _ in last_events(world.catalog)} & set(EVENTS)

    spec = ReceiptSpec("scans", world.hot, "_archived", 1 << 20, UTC)
    ReceiptWriter(spec, world.catalog).update(_Standing())
    receipts = {p.name.rpartition("_")[2] for p in (world.hot / "_archived/receipts").iterdir()}
    assert "rejected.txt" in receipts


class _Standing:
    offline = paused = failing = ""
    arriving = 0
    stuck: list[str] = []  # noqa: RUF012 - read only
    waiting = ()


def test_every_document_is_explained_without_a_former_name(world: World) -> None:
    api = QueryApi(world.catalog, world.root / "store")
    for row in world.catalog.documents():
        told = json.dumps(api.answer("explain", {"document": row.id, "verbose": "1"}), default=str)
        assert not [w for w in CODES if f"[{w}]" in told], told
        shown = api.answer("show", {"document": row.id})
        assert not {s["ending"] for s in shown["steps"]} & set(ENDINGS)
    told = api.answer("explain", {"document": world.named("refused.pdf").id})
    assert "not archived" in told["now"]


def test_what_a_person_answered_to_a_former_code_is_found_under_the_present_one(
    world: World,
) -> None:
    row = world.named("retried.pdf")
    document = step_document(world.spool, world.store, world.catalog, row)
    assert document.answers == {"decompression-bomb": "it is a map"}


def test_every_document_is_finished(world: World) -> None:
    world.restart()
    for row in world.catalog.documents():
        if row.state in {State.HELD, State.REJECTED}:
            go_on(world, row)
    world.work()
    for row in world.catalog.documents():  # the scan whose part was rejected
        if row.state is State.HELD:
            go_on(world, row)
    world.work()

    left = {(d.name, str(d.state), d.code) for d in world.catalog.documents()}
    assert {state for _, state, _ in left} == {"safe", "sealed"}, left
    assert {each for each in left if each[1] == "sealed"} == {
        ("sealed.pdf", "sealed", "copies-missing")
    }
    assert verify(world.catalog.ledger_rows()) == world.catalog.ledger_head()
    record = from_json(
        world.store.path_of(object_id(world.named("refused.pdf").id), RECORD).read_bytes()
    )
    assert next(step.code for step in record.steps) == "decompression-bomb"


def go_on(world: World, row: DocumentRow) -> None:
    """A person lets it go on, having looked where that is asked for."""
    shown = next((str(r["shown"]) for r in of_document(world.catalog, row) if r["holds"]), None)
    skip = row.state is State.HELD
    decisions.release(
        world.catalog,
        DECK,
        row.id,
        PersonDecision("lan", "as it is", world.now(), shown=shown),
        skip=skip,
    )


def test_a_document_that_was_rejected_is_rejected_or_taken_up_as_before(world: World) -> None:
    held, rejected = world.named("held-bomb.pdf"), world.named("refused.pdf")
    decisions.reject(world.catalog, held.id, PersonDecision("lan", "a prank", world.now()))
    go_on(world, rejected)
    assert world.named("held-bomb.pdf").state is State.REJECTED
    world.step(Sealer(world.spool, world.store, world.catalog, ""), world.named("refused.pdf"))
    assert world.named("refused.pdf").state is State.WORKING


def test_a_catalog_is_made_from_its_store(root: Path) -> None:
    store, state = Store(root / "store"), root / "anew"
    sealed = as_sealed(store)
    written = {path: path.read_bytes() for path in (root / "store" / "ocfl").rglob("record.json")}
    spool = Spool(state)
    spool.create()
    catalog = Catalog.open(state / "catalog.db")
    done = Rebuild(spool, store, catalog, DECK, ConfiguredDefaults(), datetime.now(UTC)).run()

    assert (done.found, done.unreadable, done.missing) == (len(sealed), {}, {})
    steps = [s for d in catalog.documents() for s in catalog.steps(d.id)]
    assert {s.ending for s in steps} == {"finished", "failed", "requeued", "refused"}
    assert {s.code for s in steps if s.code} == {"core-error", "shutdown", "decompression-bomb"}
    assert verify(catalog.ledger_rows()) == catalog.ledger_head()
    catalog.close()
    assert problems(state, root / "store") == []
    assert written == {path: path.read_bytes() for path in written}, "a record is not rewritten"
    shutil.rmtree(state)


def as_sealed(store: Store) -> list[str]:
    """What `record.json` itself says: under former names."""
    texts = [(store.ocfl / key / "v1" / "content" / RECORD).read_text() for key in store.objects()]
    assert any('"put-back"' in text and '"bomb"' in text for text in texts)
    return texts
