"""The catalog on a real disk: migrations, transactions, locks, damage, readers."""

import errno
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import exc, text

from archived.errors import CatalogBusy, CatalogError
from archived.storage import atomic
from archived.storage.catalog import Catalog
from archived.storage.ledger import Entry
from archived.storage.schema import metadata
from tests.fault.storage.other_user import ordinary_user

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def write(catalog: Catalog, agent: str = "archived 0") -> None:
    with catalog.transaction() as change:
        change.record(Entry("daemon-started", NOON, agent))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "catalog.db"


def test_migrations_make_exactly_the_tables_the_code_speaks_of(path: Path) -> None:
    catalog = Catalog.open(path)

    with catalog.reading() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": not_full_text})
        assert compare_metadata(context, metadata) == []
    catalog.close()


def not_full_text(_object: object, name: str | None, *_rest: object) -> bool:
    return not str(name).startswith("words")


def test_opening_again_changes_nothing(path: Path) -> None:
    first = Catalog.open(path)
    write(first)
    first.close()

    again = Catalog.open(path)

    assert again.ledger_head().sequence == 1
    again.close()


def test_every_commit_is_synced_to_the_disk(path: Path) -> None:
    catalog = Catalog.open(path)
    with catalog.reading() as connection:
        pragmas = [
            connection.execute(text(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]

    assert pragmas == ["wal", 2, 1]
    catalog.close()


def test_a_transaction_is_all_or_nothing(path: Path) -> None:
    catalog = Catalog.open(path)

    with pytest.raises(ZeroDivisionError), catalog.transaction() as change:
        change.record(Entry("daemon-started", NOON, "archived 0"))
        change.announce("document-admitted", NOON)
        raise ZeroDivisionError

    assert catalog.ledger_head().sequence == 0
    assert catalog.events_for("anybody") == []
    write(catalog)  # and the lock is free again
    catalog.close()


def test_writers_take_turns_and_the_chain_stays_whole(path: Path) -> None:
    from archived.storage.ledger import verify

    catalog = Catalog.open(path)
    threads = [
        threading.Thread(target=lambda: [write(catalog) for _ in range(25)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert verify(catalog.ledger_rows()).sequence == 100
    catalog.close()


def test_a_lock_held_by_somebody_else_is_said_and_passes(path: Path) -> None:
    catalog = Catalog.open(path, busy=0.2)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(CatalogBusy, match="keeps the catalog locked"):
        write(catalog)
    assert catalog.ledger_head().sequence == 0  # reading goes on

    other.execute("ROLLBACK")
    other.close()
    write(catalog)
    assert catalog.ledger_head().sequence == 1
    catalog.close()


@pytest.mark.parametrize(
    "content", [b"not a database at all" * 100, b"SQLite format 3\0" + b"x" * 4096]
)
def test_a_damaged_catalog_is_refused_and_left_as_it_is(path: Path, content: bytes) -> None:
    path.write_bytes(content)

    with pytest.raises(CatalogError, match="cannot be read or written"):
        Catalog.open(path)

    assert path.read_bytes() == content


def test_a_page_that_is_damaged_inside_is_found_before_anything_is_written(path: Path) -> None:
    catalog = Catalog.open(path)
    with catalog.transaction() as change:
        change.record(*[Entry("daemon-started", NOON, "archived 0") for _ in range(500)])
    catalog.close()
    content = bytearray(path.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 4096] = b"\xff" * 4096
    path.write_bytes(content)

    with pytest.raises(CatalogError, match="cannot be read or written"):
        Catalog.open(path)

    assert path.read_bytes() == content


def test_a_transaction_announces_its_commit_while_nobody_else_sees_it(path: Path) -> None:
    catalog = Catalog.open(path)
    seen = []

    def fuse(operation: str, of: Path) -> None:
        seen.append((operation, of, catalog.ledger_head().sequence))

    atomic.fuse = fuse
    try:
        write(catalog)
    finally:
        atomic.fuse = None
    assert seen == [("commit", path, 0)]
    assert catalog.ledger_head().sequence == 1
    catalog.close()


def test_a_full_disk_is_said_to_be_full_and_is_no_damage(path: Path) -> None:
    catalog = Catalog.open(path)
    with pytest.raises(OSError) as caught, catalog.transaction() as change:
        change._connection.exec_driver_sql("PRAGMA max_page_count = 1")  # as large as it is now
        change.record(*[Entry("daemon-started", NOON, "archived 0") for _ in range(5000)])
    assert caught.value.errno == errno.ENOSPC
    assert catalog.ledger_head().sequence == 0
    catalog.close()


def test_a_catalog_of_a_newer_version_is_refused(path: Path) -> None:
    Catalog.open(path).close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()

    with pytest.raises(CatalogError, match="newer version"):
        Catalog.open(path)


def test_questions_are_answered_while_a_daemon_has_it_open_and_when_none_has(path: Path) -> None:
    daemon = Catalog.open(path)
    write(daemon)

    beside = Catalog.open_to_read(path)
    assert beside.ledger_head().sequence == 1
    beside.close()
    daemon.close()

    alone = Catalog.open_to_read(path)
    assert alone.ledger_head().sequence == 1
    with pytest.raises(CatalogError):
        write(alone)
    alone.close()


def test_the_last_one_to_close_folds_the_log_in_and_keeps_nothing_open(path: Path) -> None:
    catalog = Catalog.open(path)
    write(catalog)
    assert path.with_name("catalog.db-wal").exists()
    catalog.close()
    assert [file.name for file in path.parent.iterdir()] == ["catalog.db"]
    with pytest.raises(CatalogError):
        Catalog.open_to_read(path.with_name("other.db"))
    links = [Path(f"/proc/self/fd/{each}") for each in os.listdir("/proc/self/fd")]  # noqa: PTH208 - of this process
    assert not [each for each in links if str(path) in os.path.realpath(each)]


@contextmanager
def reader_only(path: Path) -> Iterator[None]:
    """Who may read the catalog, and write neither it nor its folder."""
    path.chmod(0o444)
    path.parent.chmod(0o555)
    try:
        with ordinary_user(path.parent):
            yield
    finally:
        path.parent.chmod(0o755)
        path.chmod(0o644)


def test_who_may_only_read_is_answered_also_where_no_file_can_be_made(path: Path) -> None:
    """Reading a database with a log needs a file of shared memory."""
    catalog = Catalog.open(path)
    write(catalog)
    catalog.close()
    with reader_only(path):
        reader = Catalog.open_to_read(path)
        assert reader.ledger_head().sequence == 1
        reader.close()


def test_who_may_not_come_near_it_is_told_whom_to_ask(path: Path) -> None:
    folder = path.parent / "closed"
    folder.mkdir()
    Catalog.open(folder / "catalog.db").close()
    folder.chmod(0o700 if os.geteuid() == 0 else 0)
    with ordinary_user(path.parent), pytest.raises(CatalogError, match="may not read") as caught:
        Catalog.open_to_read(folder / "catalog.db")
    folder.chmod(0o700)
    assert "sudo" in (caught.value.hint or "")


def test_who_may_not_read_what_was_written_last_is_told_so_and_gets_no_older_answer(
    path: Path,
) -> None:
    Catalog.open(path).close()
    daemon = Catalog.open(path)
    write(daemon)
    for name in ("catalog.db-wal", "catalog.db-shm"):
        path.with_name(name).chmod(0 if os.geteuid() else 0o600)
    with reader_only(path), pytest.raises(CatalogError):
        Catalog.open_to_read(path)
    assert daemon.ledger_head().sequence == 1
    daemon.close()


def test_without_a_catalog_a_reader_is_told_so_and_makes_none(path: Path) -> None:
    with pytest.raises(CatalogError, match="there is no catalog yet"):
        Catalog.open_to_read(path)

    assert not path.exists()


def test_each_reader_of_the_outbox_has_its_own_place(path: Path) -> None:
    catalog = Catalog.open(path)
    for number in range(5):
        with catalog.transaction() as change:
            change.announce("document-admitted", NOON, document=f"d{number}")

    with catalog.transaction() as change:
        change.outbox_read("mqtt", 3)

    assert [e.document for e in catalog.events_for("mqtt")] == ["d3", "d4"]
    assert len(catalog.events_for("observers")) == 5
    catalog.close()


def test_events_are_dropped_only_when_every_reader_has_had_them(path: Path) -> None:
    catalog = Catalog.open(path)
    for _ in range(10):
        with catalog.transaction() as change:
            change.announce("document-admitted", NOON)
    with catalog.transaction() as change:
        change.outbox_read("mqtt", 8)
        change.outbox_read("observers", 4)
        dropped = change.outbox_trim(["mqtt", "observers"], keep=0)

    assert dropped == 4
    with catalog.transaction() as change:
        assert change.outbox_trim(["mqtt", "observers"], keep=5) == 0
    catalog.close()


def test_an_event_or_instant_that_makes_no_sense_is_never_written(path: Path) -> None:
    catalog = Catalog.open(path)

    with pytest.raises(ValueError, match="not an event"), catalog.transaction() as change:
        change.announce("made-up", NOON)
    with pytest.raises(Exception, match="zone"), catalog.transaction() as change:
        change.announce("document-admitted", NOON.replace(tzinfo=None))
    catalog.close()


def test_instants_sort_as_text_whatever_zone_they_came_in(path: Path) -> None:
    from zoneinfo import ZoneInfo

    catalog = Catalog.open(path)
    hanoi = (NOON + timedelta(hours=1)).astimezone(ZoneInfo("Asia/Ho_Chi_Minh"))
    with catalog.transaction() as change:
        change.announce("document-admitted", hanoi)

    (event,) = catalog.events_for("anybody")
    assert event.at == hanoi
    assert event.at.utcoffset() == timedelta(0)
    catalog.close()


def test_a_value_that_sqlite_refuses_is_not_called_damage(path: Path) -> None:
    """So that the step ends, instead of waiting for a disk that is whole."""
    catalog = Catalog.open(path)
    with pytest.raises(exc.DataError, match="too big"), catalog.transaction() as change:
        own = change._connection.connection.dbapi_connection
        before = own.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 10_000)
        try:
            change.index_words("d", "name", "facts", "x" * 20_000)
        finally:
            own.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, before)
    write(catalog)
    catalog.close()
