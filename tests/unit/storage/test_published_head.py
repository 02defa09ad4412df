"""A published head: what is read of it, and what it proves against who can write the catalog."""

from __future__ import annotations

import json
import sqlite3
import textwrap
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from archived.errors import LedgerError
from archived.observe.api import QueryApi
from archived.storage.catalog import Catalog
from archived.storage.ledger import GENESIS, Entry, digest
from archived.storage.ledger_head import HeadFile
from archived.storage.published_head import LONGEST, PublishedHead, newest, read_heads
from tests.unguarded_ledger import unguard

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HEAD = PublishedHead(52, "0123456789abcdef" * 4, "2026-03-01T12:00:00.000000+00:00")


class Archive:
    """A catalog and a store whose head file follows it, as the daemon has them."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "catalog.db"
        self.store = folder / "store"
        (self.store / "staging").mkdir(parents=True)

    def enter(self, count: int) -> PublishedHead:
        """So many entries more; returns the head that is published then."""
        catalog = Catalog.open(self.path)
        for _ in range(count):
            with catalog.transaction() as change:
                change.record(Entry("recovered", NOON, "archived 0", None, None, {"what": "x"}))
        HeadFile(self.store).follow(catalog, NOON)
        head = newest(catalog)
        catalog.close()
        assert head is not None
        return head

    def as_root(self, *statements: tuple[str, tuple[Any, ...]]) -> None:
        """Write to the file itself, whatever guards it, and leave no head file behind."""
        with closing(sqlite3.connect(self.path)) as db:
            unguard(db)
            for statement, values in statements:
                db.execute(statement, values)
            db.commit()
        (self.store / "ledger-head.json").unlink(missing_ok=True)

    def made_anew(self, old: str, new: str, since: int) -> None:
        """Rewrite a word in the entries from `since` on, and the whole chain after it."""
        with closing(sqlite3.connect(self.path)) as db:
            rows = db.execute("SELECT sequence, entry FROM ledger ORDER BY sequence").fetchall()
        previous, changes = GENESIS, []
        for sequence, entry in rows:
            body = json.loads(entry if sequence < since else entry.replace(old, new))
            body["previous"] = previous
            text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            previous = digest(text)
            changes.append((text, previous, sequence))
        change = "UPDATE ledger SET entry = ?, hash = ? WHERE sequence = ?"
        self.as_root(*((change, values) for values in changes))

    def verify(self, *against: PublishedHead) -> dict[str, Any]:
        """What `archivectl ledger verify --against` answers."""
        catalog = Catalog.open_to_read(self.path)
        try:
            return QueryApi(catalog, self.store).verify_ledger(against=against)
        finally:
            catalog.close()


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path)


# What is read ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        HEAD.text,
        "\r\n".join(textwrap.wrap(HEAD.text, 40)),
        HEAD.text.upper(),
        f"Report of a day\n\n{HEAD.text}\n====\nBáo cáo\n{HEAD.text}\n",
    ],
)
def test_a_head_is_read_as_it_was_published_however_it_was_broken(text: str) -> None:
    assert read_heads(text) == (HEAD,)


@pytest.mark.parametrize(
    "text",
    [
        f"52 {HEAD.hash}",
        f" 52  {HEAD.groups}\n",
        json.dumps({"sequence": 52, "hash": HEAD.hash, "format": 1}),
        json.dumps({"id": "urn:uuid:1", "ledger": {"sequence": 52, "hash": HEAD.hash}}),
    ],
)
def test_a_head_is_read_from_notes_the_head_file_and_sealed_records(text: str) -> None:
    assert read_heads(text) == (PublishedHead(52, HEAD.hash),)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (HEAD.text.replace("4567", "4576", 1), "check sum of head 52 does not fit"),
        (HEAD.text.replace(" 52 ", " 53 "), "check sum of head 53 does not fit"),
        (HEAD.text.replace("2026", "2025"), "check sum of head 52 does not fit"),
        (HEAD.text[:-1], "is not whole"),
        (f"{HEAD.text}\n{HEAD.text[:90]}", "is not whole"),
        ("52 0123", "no head"),
        ("", "no head"),
        ("{" * 100_000, "no head"),
        ('{"sequence": "52 ' + "0" * 64 + '", "hash": {}}', "no head"),
        ("x" * (LONGEST + 1), "longer than"),
    ],
)
def test_what_is_no_whole_head_is_refused(text: str, told: str) -> None:
    with pytest.raises(LedgerError, match=told) as caught:
        read_heads(text)
    assert caught.value.code == "bad-ledger-head"


# What it proves ----------------------------------------------------------------------------------


def test_the_ledger_agrees_up_to_the_last_head_and_the_rest_is_not_established(
    archive: Archive,
) -> None:
    first, second = archive.enter(5), archive.enter(10)
    archive.enter(4)
    answer = archive.verify(first, second)
    assert answer["verdict"] == "yes"
    left = {"first": 16, "last": 19}
    assert answer["against"] == {"heads": 2, "agrees_to": 15, "not_established": left}
    [now] = read_heads(answer["published"])
    assert archive.verify(now)["against"]["not_established"] is None
    assert archive.verify()["against"] is None


def test_a_rewritten_entry_is_found_with_and_without_a_head(archive: Archive) -> None:
    head = archive.enter(20)
    change = "UPDATE ledger SET entry = replace(entry, 'x', 'y') WHERE sequence = 7"
    archive.as_root((change, ()))
    for answer in (archive.verify(), archive.verify(head)):
        assert answer["verdict"] == "no"
        assert "entry 7" in answer["why"]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE ledger SET at = replace(at, '2026', '2025') WHERE sequence = 7",
        "UPDATE ledger SET at = 'never' WHERE sequence = 7",
        "UPDATE ledger SET kind = 'document-safe' WHERE sequence = 7",
        "UPDATE ledger SET document = 'd' WHERE sequence = 7",
        "UPDATE ledger SET entry = CAST(entry AS BLOB) WHERE sequence = 7",
        "UPDATE ledger SET hash = CAST(hash AS BLOB) WHERE sequence = 7",
        "DELETE FROM ledger WHERE sequence = 7",
        "UPDATE ledger SET sequence = -sequence WHERE sequence = 7",
        "INSERT INTO ledger SELECT 0, entry, 'h', kind, document, at FROM ledger WHERE sequence=7",
    ],
)
def test_every_change_of_a_row_is_found(archive: Archive, change: str) -> None:
    archive.enter(9)
    archive.as_root((change, ()))
    assert archive.verify()["verdict"] == "no"


def test_the_newest_ten_cut_off_with_the_head_file_are_found_with_a_head_only(
    archive: Archive,
) -> None:
    early, head = archive.enter(5), archive.enter(15)
    archive.as_root(("DELETE FROM ledger WHERE sequence > 10", ()))
    without = archive.verify()
    assert (without["verdict"], without["against"]) == ("yes", None), "nothing else can be told"
    answer = archive.verify(early, head)
    assert answer["verdict"] == "no"
    assert "10 entries are missing" in answer["why"]
    assert answer["against"]["agrees_to"] == 5
    older = archive.verify(early)["against"]
    assert older["not_established"] == {"first": 6, "last": 10}


def test_a_chain_made_anew_is_found_with_a_head_only_and_the_place_is_narrowed(
    archive: Archive,
) -> None:
    early, head = archive.enter(5), archive.enter(15)
    archive.made_anew("x", "y", since=7)
    assert archive.verify()["verdict"] == "yes", "the chain alone cannot tell"
    answer = archive.verify(early, head)
    assert answer["verdict"] == "no"
    assert "entry 20 is not the one that was published" in answer["why"]
    assert "after entry 5" in answer["why"]
    # A head from before the change says nothing of what came later, and does not claim to.
    older = archive.verify(early)
    assert (older["verdict"], older["against"]["agrees_to"]) == ("yes", 5)
    assert older["against"]["not_established"] == {"first": 6, "last": 20}


def test_two_heads_of_one_entry_that_differ_cannot_both_be_right(archive: Archive) -> None:
    head = archive.enter(3)
    assert archive.verify(head, PublishedHead(3, "0" * 64))["verdict"] == "no"
