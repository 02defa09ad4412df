"""A catalog that is put back is refused by the real daemon; what differs is named while it runs."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from archived.observe.store_audit import StoreAudit
from archived.storage.ledger_head import NAME
from archived.storage.store_comparison import KINDS
from archived.testing import invariants
from tests.unguarded_ledger import unguard


def program(box: Any, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = Path(box.command()[0]).with_name(name)
    return subprocess.run(
        [path, "--config", str(box.config), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"LC_ALL": "C.UTF-8"},
    )


def refused(box: Any) -> str:
    mark = len(box.log.read_text())
    box.start(ready=False)
    assert box.process.wait(60) == 1
    return str(box.log.read_text()[mark:])


def test_an_older_catalog_is_refused_until_it_was_made_right(
    box: Any, until: Callable[..., Any]
) -> None:
    catalog = box.folder / "state" / "catalog.db"
    box.start()
    box.drop("a.txt", "b.txt")
    box.sealed("a.txt", "b.txt")
    assert box.end() == 0
    shutil.copy(catalog, box.folder / "backup.db")
    box.start()
    box.drop("c.txt", "d.txt")
    box.sealed("c.txt", "d.txt")
    assert box.end() == 0
    noted = json.loads((box.folder / "store" / NAME).read_text())
    [last] = box.rows("SELECT max(sequence) FROM ledger")
    assert noted["sequence"] == last[0], "noted at the stop"
    for part in catalog.parent.glob("catalog.db*"):
        part.unlink()
    shutil.copy(box.folder / "backup.db", catalog)

    log = refused(box)
    assert "the catalog is older than the store" in log
    assert "archived rebuild" in log
    assert catalog.read_bytes() == (box.folder / "backup.db").read_bytes()

    # Without a newer backup: what the store holds is taken up.
    done = program(box, "archived", "--json", "rebuild")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["found"] == 2
    box.start()
    box.drop("again.txt", text="the words of c.txt\n")
    until(lambda: not (box.hot() / "again.txt").exists(), "joined to the document that has it")
    assert set(box.states()) == {"a.txt", "b.txt", "c.txt", "d.txt"}
    assert box.end() == 0
    assert invariants.problems(box.folder / "state", box.folder / "store") == []


def test_the_newest_ten_entries_cut_off_are_told_with_their_number(box: Any) -> None:
    box.start()
    box.drop("a.txt", "b.txt")
    box.sealed("a.txt", "b.txt")
    assert box.end() == 0
    with closing(sqlite3.connect(box.folder / "state" / "catalog.db")) as db:
        unguard(db)
        db.execute("DELETE FROM ledger WHERE sequence > (SELECT max(sequence) - 10 FROM ledger)")
        db.commit()
    assert "10 entries are missing" in refused(box)
    verified = program(box, "archivectl", "ledger", "verify")
    assert verified.returncode == 1, "the chain is whole; the store knows better"
    assert "is not the one that was noted in the store" in verified.stdout


@pytest.fixture
def differing(box: Any) -> Any:
    """Three documents: one set to safe by hand, one without its object, and one as it should be."""
    box.start()
    box.drop("a.txt", "b.txt", "c.txt")
    box.sealed("a.txt", "b.txt", "c.txt")
    with closing(sqlite3.connect(box.folder / "state" / "catalog.db", timeout=30)) as db:
        db.execute("UPDATE document SET state = 'safe', copies = 1 WHERE name = 'a.txt'")
        db.commit()
    [(key,)] = box.rows("SELECT object_key FROM document WHERE name = 'c.txt'")
    shutil.rmtree(box.folder / "store" / "ocfl" / key)
    return box


def test_what_differs_is_found_in_the_background_beside_the_running_daemon(differing: Any) -> None:
    async def compared() -> StoreAudit:
        audit = StoreAudit(differing.folder / "state" / "catalog.db", differing.folder / "store")
        assert audit.counts == {}
        await audit.compare()
        return audit

    audit = asyncio.run(compared())
    assert audit.at is not None
    assert set(audit.counts) == set(KINDS)
    found = {kind: n for kind, n in audit.counts.items() if n}
    assert found.pop("object-missing") == 1
    assert found.pop("safe-unproven") == 1
    assert set(found) <= {"object-unknown"}, "the empty folder that is left"


def test_what_cannot_be_compared_leaves_the_result_before_it(tmp_path: Path) -> None:
    audit = StoreAudit(tmp_path / "none.db", tmp_path)
    audit.result = {"at": "2026-11-22T04:30:44+00:00", "counts": {"not-sealed": 2}}
    asyncio.run(audit.compare())
    assert audit.counts == {"not-sealed": 2}


def test_people_are_told_by_name_and_with_the_command(
    differing: Any, until: Callable[..., Any]
) -> None:
    box = differing
    waits = program(box, "archivectl", "--json", "compare")
    assert (waits.returncode, json.loads(waits.stdout)) == (1, {"comparison": None})
    now = program(box, "archivectl", "compare", "--now", "--json")
    assert now.returncode == 1, now.stderr
    found = json.loads(now.stdout)["comparison"]
    [lost] = [each for each in found["differences"] if each["kind"] == "object-missing"]
    assert lost["name"] == "c.txt"
    assert any(command.startswith("cp -a TARGET/ocfl/") for command in lost["commands"])
    [unproven] = [each for each in found["differences"] if each["kind"] == "safe-unproven"]
    assert unproven["name"] == "a.txt"
    assert "runuser -u archived -- archived rebuild" in unproven["commands"]
    shown = program(box, "archivectl", "compare", "--now")
    assert "c.txt: there is no object" in shown.stdout
    assert "safe-unproven: called safe" in shown.stdout
    assert program(box, "archivectl", "status").stdout.count("not compared yet") == 1
    assert box.end() == 0
    box.start()  # what is missing is told, and the others go on; all of it is compared at once
    assert box.said("store-differs")
    until(lambda: box.metric("archived_store_differences").get(("object-missing",)) == 1, "found")
    assert box.metric("archived_store_differences").keys() == {(kind,) for kind in KINDS}
    assert box.metric("archived_store_compared_timestamp_seconds")[()] > 0
    status = program(box, "archivectl", "status")
    assert status.returncode == 1
    assert "1 object-missing, " in status.stdout
    assert "see: archivectl compare" in status.stdout
    shown = program(box, "archivectl", "compare")
    assert "a.txt: 0 of 1" in shown.stdout or "a.txt: the ledger does not tell" in shown.stdout
    assert box.end() == 0
    down = program(box, "archivectl", "--json", "compare")
    assert down.returncode == 1
    assert json.loads(down.stdout)["comparison"]["counts"]["object-missing"] == 1
