"""The catalog: one SQLite file, changed only in transactions.

WAL with `synchronous=FULL`: a committed transaction survives a power cut. One writer at a time in
this process (a lock), readers beside it. The store can always rebuild it; it is never the only
place where something precious is.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, exc, text
from sqlalchemy.pool import QueuePool

from archived.errors import CatalogBusy, CatalogError
from archived.message import Message
from archived.storage import atomic
from archived.storage.queries import Queries
from archived.storage.schema import REVISION
from archived.storage.transaction import Transaction
from archived.storage.unreadable_rows import UnreadableRows

BUSY_SECONDS = 30.0
"""How long to wait for a write lock that another process holds."""


class Catalog(Queries):
    """Open with `Catalog.open` (the daemon) or `Catalog.open_to_read` (the command line)."""

    def __init__(self, path: Path, *, read_only: bool = False, busy: float = BUSY_SECONDS) -> None:
        self.path = path
        self.unreadable = UnreadableRows()
        self._write_lock = threading.Lock()
        self._engine = _engine(path, read_only=read_only, busy=busy)

    @classmethod
    def open(cls, path: Path, *, busy: float = BUSY_SECONDS) -> Catalog:
        """Open for writing; makes and migrates it as needed.

        Raises `CatalogError` when the file is damaged or newer than this program: it is looked
        through first, for writing into a damaged file would make it worse.
        """
        with _explained(path):
            _look_through(path, busy)
        catalog = cls(path, busy=busy)
        with _explained(path):
            catalog._migrate()
        return catalog

    @classmethod
    def open_to_read(cls, path: Path) -> Catalog:
        """Open for questions only, whether the daemon runs or not. Raises `CatalogError`."""
        try:
            path.stat()
        except FileNotFoundError:
            raise CatalogError(
                Message("{path}: there is no catalog yet", path=path),
                hint=Message("the daemon makes it when it starts for the first time: archived run"),
            ) from None
        except OSError as error:
            raise CatalogError(
                Message(
                    "{path}: you may not read the catalog ({why})", path=path, why=error.strerror
                ),
                hint=Message(
                    "ask the daemon while it runs, or become root or the daemon's user: sudo"
                ),
            ) from None
        catalog = cls(path, read_only=True)
        with _explained(path), catalog.reading() as connection:
            connection.execute(text("SELECT count(*) FROM ledger"))
        return catalog

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Everything done on the yielded `Change` becomes durable together, or not at all.

        Raises `CatalogBusy` when another process keeps the write lock too long, and
        `OSError(ENOSPC)` when the disk is full.
        """
        with _explained(self.path), self._write_lock, self._engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield Transaction(connection)
            except BaseException:
                _roll_back(connection)
                raise
            atomic.step("commit", self.path)
            connection.exec_driver_sql("COMMIT")

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection with one consistent view."""
        with _explained(self.path), self._engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            try:
                yield connection
            finally:
                _roll_back(connection)

    def close(self) -> None:
        """Let go of the file. The last one to close folds the write-ahead log into it."""
        self._engine.dispose()

    def _migrate(self) -> None:
        # Most starts find the tables of now. Alembic is only loaded for those of an older program.
        with self._engine.connect() as connection:
            before = _revision(connection)
        if before == REVISION:
            return
        if before is not None:
            _keep_copy(self.path, before)
        with self._write_lock, self._engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                if _is_empty(connection):
                    for statement in new_catalog():
                        connection.exec_driver_sql(statement)
                elif _revision(connection) != REVISION:
                    _upgrade(connection, self.path)
            except BaseException:
                _roll_back(connection)
                raise
            connection.exec_driver_sql("COMMIT")


def _roll_back(connection: Connection) -> None:
    """SQLite itself does so after some errors, such as a full disk. Asked again then, it would
    raise an error that hides the first.
    """
    driver: Any = connection.connection.driver_connection
    if driver.in_transaction:
        connection.exec_driver_sql("ROLLBACK")


def new_catalog() -> list[str]:
    """The statements that make an empty catalog, as all migrations together make it."""
    found = [""]
    for line in (files("archived.storage") / "new_catalog.sql").read_text().splitlines(True):
        found[-1] += line
        if sqlite3.complete_statement(found[-1]):
            found.append("")
    return found[:-1]


def _is_empty(connection: Connection) -> bool:
    (tables,) = connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").one()
    return bool(tables == 0)


def _revision(connection: Connection) -> str | None:
    """Which migration made the tables; `None`: there are none, or none of ours."""
    (known,) = connection.exec_driver_sql(
        "SELECT count(*) FROM sqlite_master WHERE name = 'alembic_version'"
    ).one()
    found = known and connection.exec_driver_sql("SELECT version_num FROM alembic_version").first()
    return str(found[0]) if found else None


def _look_through(path: Path, busy: float) -> None:
    """Read every page; raises `CatalogError` at the first that is wrong. Writes nothing."""
    if not path.exists() or path.stat().st_size == 0:
        return
    # Read-only: a writer that closes would fold the write-ahead log into the damaged file.
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=busy)
    try:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    finally:
        connection.close()
    if found != "ok":
        raise _damaged(path, found)


def _keep_copy(path: Path, revision: str) -> None:
    """Copy the catalog, page by page and durably, before its shape changes. *Must* come before.

    The copy is `catalog.db.shape-REVISION`, one for each shape: a start that fails again and again
    does not fill the disk.
    """
    copy = path.with_name(f"{path.name}.shape-{revision}")
    unfinished = path.with_name(f"{copy.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    source = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    target = sqlite3.connect(unfinished)
    try:
        source.backup(target)
    finally:
        target.close()
        source.close()
    atomic.fsync_file(unfinished)
    atomic.remove_file(copy, missing_ok=True)
    atomic.move_file(unfinished, copy)


def _upgrade(connection: Connection, path: Path) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(files("archived.storage") / "migrations"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise CatalogError(
            Message(
                "{path}: this catalog was made by a newer version ({error})", path=path, error=error
            ),
            hint=Message("install that version of archived, or a newer one"),
        ) from error


def _engine(path: Path, *, read_only: bool, busy: float) -> Engine:
    def connect() -> sqlite3.Connection:
        return sqlite3.connect(
            _uri(path, read_only=read_only),
            uri=True,
            timeout=busy,
            isolation_level=None,
            check_same_thread=False,
        )

    engine = create_engine("sqlite://", creator=connect, poolclass=QueuePool, pool_size=4)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        if not read_only:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")

    return engine


def _uri(path: Path, *, read_only: bool) -> str:
    uri = path.absolute().as_uri()
    if not read_only:
        return uri
    # Without write access to the folder SQLite cannot make the shared-memory file that reading a
    # WAL database wants; when nobody has it open the file alone is the whole truth.
    alone = not path.with_name(path.name + "-wal").exists()
    try:
        probe = sqlite3.connect(f"{uri}?mode=ro", uri=True)
        probe.execute("SELECT 1 FROM sqlite_master LIMIT 1")
        probe.close()
    except sqlite3.OperationalError:
        return f"{uri}?mode=ro&immutable=1" if alone else f"{uri}?mode=ro"
    return f"{uri}?mode=ro"


_OF_THE_VALUE = (
    exc.IntegrityError,
    exc.DataError,
    exc.ProgrammingError,
    exc.InterfaceError,
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.ProgrammingError,
    sqlite3.InterfaceError,
)
"""What is wrong with what was to be written: the catalog is whole, and trying again is no use."""


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours, with what to do."""
    try:
        yield
    except (exc.OperationalError, sqlite3.OperationalError) as error:
        words = str(error)
        if "locked" in words or "busy" in words:
            raise CatalogBusy(
                Message("{path}: another process keeps the catalog locked", path=path),
                hint=Message("find it with: fuser {path}", path=path),
            ) from error
        if "full" in words:
            import errno

            raise OSError(
                errno.ENOSPC, Message("the disk with the catalog is full"), str(path)
            ) from error
        raise _damaged(path, words) from error
    except (exc.DatabaseError, sqlite3.DatabaseError) as error:
        if isinstance(error, _OF_THE_VALUE):
            raise
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, words: str) -> CatalogError:
    return CatalogError(
        Message(
            "{path}: the catalog cannot be read or written ({splitlines})",
            path=path,
            splitlines=words.splitlines()[0],
        ),
        hint=Message(
            "nothing was changed. Look at the disk (dmesg); move the file aside and keep "
            "it, and {name}-wal and {name}-shm with it; restore the catalog from a backup: "
            "cp BACKUP/{name} {path}, then, or at once without a backup: archived rebuild; "
            "the sealed objects in the store are not touched by this",
            name=path.name,
            path=path,
        ),
    )
