"""The head file: how far the ledger went, kept in the store and not in the catalog.

`ledger-head.json` lies beside `ocfl/` and names the ledger's newest entry and the newest sealed
objects. It is written after each seal's transaction, now and then, and at a stop: it may be behind
the catalog, never ahead of it. A catalog that does not reach it is an older one, or one that was
cut (`storage.head_check`). It proves nothing against whoever can write both.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select

from archived.errors import CatalogError, StoreError
from archived.message import Message
from archived.storage import atomic
from archived.storage import schema as t
from archived.storage.catalog import Catalog

NAME = "ledger-head.json"
FORMAT = 1
NEWEST = 10
"""Sealed objects that the file names."""

_LIMIT = 1 << 16
_HASH = re.compile(r"[0-9a-f]{64}")
_SHA512 = re.compile(r"[0-9a-f]{128}")
_log = logging.getLogger("archived.storage")


@dataclass(frozen=True, slots=True)
class NewestObject:
    """A sealed object, as the catalog has it."""

    document: str
    key: str
    version: int
    inventory_sha512: str


@dataclass(frozen=True, slots=True)
class RecordedHead:
    """What the file says. `newest`: the last sealed objects, the newest last."""

    sequence: int
    hash: str
    at: datetime
    newest: tuple[NewestObject, ...] = ()
    missing: tuple[str, ...] = ()
    """Documents whose objects a person knows to be lost: `archived rebuild` named them."""

    def to_bytes(self) -> bytes:
        """The file's content."""
        body = {
            "about": "the ledger's newest entry and the newest objects; see DESIGN.md of archived",
            "format": FORMAT,
            **asdict(self),
            "at": self.at.astimezone(UTC).isoformat(timespec="microseconds"),
        }
        return (json.dumps(body, indent=1, sort_keys=True) + "\n").encode()


class HeadFile:
    """The head file of one store. One for each store in a process: its lock orders the writers."""

    def __init__(self, store: Path) -> None:
        self.path = store / NAME
        self._scratch = store / "staging"
        self._lock = threading.Lock()
        self._written: RecordedHead | None = None
        self._sealed: tuple[NewestObject, ...] = ()
        self.cut = ""
        """Why the ledger is not the one that the file was written for; empty while it is. The file
        is not written any more then: it is the evidence."""

    def read(self) -> RecordedHead | None:
        """What the file says, `None` when there is none.

        Raises `StoreError` (`head-file-damaged`): also for a link and for what is no file.
        """
        try:
            return _parsed(self.path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError, LookupError, TypeError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise StoreError(
                Message("{path} cannot be read: {why}", path=self.path, why=why),
                hint=Message(
                    "nothing was changed. It says how far the ledger went, so that an "
                    "older catalog is noticed. Find out who or what damaged it. Is the "
                    "catalog the newest one? Then: mv {path} {path}.damaged, and start; if "
                    "that is not sure: archived rebuild",
                    path=self.path,
                ),
                code="head-file-damaged",
            ) from error

    def follow(self, catalog: Catalog, now: datetime, sealed: NewestObject | None = None) -> None:
        """Bring the file up to the catalog's head; `sealed` is the object just put on record.

        Never goes back and never raises: what could not be written is logged, and done the next
        time. Two seals at once may be one write.
        """
        if sealed is not None:
            with self._lock:
                self._sealed = _newest(self._sealed, sealed)
        try:
            with self._lock:
                self._follow(catalog, now)
        except (OSError, CatalogError, StoreError) as error:
            _log.warning(
                "how far the ledger goes could not be noted in the store",
                extra={"action": "head-not-written", "why": str(error)},
            )

    def _follow(self, catalog: Catalog, now: datetime) -> None:
        before = self._written or self.read()
        head = catalog.ledger_head()
        if head.sequence == 0:
            return
        if before is not None and hash_at(catalog, before.sequence) != before.hash:
            self._tell_cut(before, head.sequence)
            return
        known = before.newest if before is not None else newest_objects(catalog)
        newest = _newest(known, *self._sealed)
        if before is not None and (before.sequence, before.newest) == (head.sequence, newest):
            self._written = before
            return
        missing = before.missing if before is not None else ()
        self._write(
            RecordedHead(
                head.sequence,
                head.hash,
                now,
                newest,
                tuple(each for each in missing if each in {it.document for it in newest}),
            )
        )

    def _tell_cut(self, before: RecordedHead, last: int) -> None:
        if not self.cut:
            self.cut = Message(
                "entry {sequence} of the ledger is not the one that was noted in the "
                "store; the ledger ends with entry {last}",
                sequence=before.sequence,
                last=last,
            )
            _log.error(self.cut, extra={"action": "ledger-cut"})

    def replace(self, catalog: Catalog, now: datetime, missing: Iterable[str] = ()) -> None:
        """Write the file anew, whatever it said: a person had the catalog made right.

        `missing`: documents whose objects are not in the store. Raises `OSError`.
        """
        with self._lock:
            head, newest = catalog.ledger_head(), newest_objects(catalog)
            named = {each.document for each in newest} & set(missing)
            self._sealed, self.cut = (), ""
            self._write(RecordedHead(head.sequence, head.hash, now, newest, tuple(sorted(named))))

    def _write(self, head: RecordedHead) -> None:
        # Not made anew with its folders: a store that is gone comes back, and may be mounted here.
        self.path.parent.stat()
        atomic.make_folder(self._scratch)
        atomic.write_file(self.path, head.to_bytes(), scratch=self._scratch)
        self._written = head


def hash_at(catalog: Catalog, sequence: int) -> str | None:
    """The hash of an entry of the ledger; `None` when there is no such entry."""
    statement = select(t.ledger.c.hash).where(t.ledger.c.sequence == sequence)
    with catalog.reading() as connection:
        return connection.execute(statement).scalar()


def newest_objects(catalog: Catalog) -> tuple[NewestObject, ...]:
    """The newest documents with an object, the newest last."""
    d = t.document.c
    statement = (
        select(d.id, d.object_key, d.object_version, d.inventory_sha512)
        .where(d.object_key.is_not(None))
        .order_by(d.id.desc())
        .limit(NEWEST)
    )
    with catalog.reading() as connection:
        found = [
            NewestObject(*row[:2], row[2] or 0, row[3] or "")
            for row in connection.execute(statement)
        ]
    return tuple(reversed(found))


def _newest(known: tuple[NewestObject, ...], *sealed: NewestObject) -> tuple[NewestObject, ...]:
    documents = {each.document for each in sealed}
    return (*(each for each in known if each.document not in documents), *sealed)[-NEWEST:]


def _parsed(path: Path) -> RecordedHead:
    """Raises `OSError`, `ValueError`, `LookupError` or `TypeError` for what is not our work."""
    size = path.lstat().st_size
    if size > _LIMIT:
        raise ValueError(f"it has {size} bytes")
    body = json.loads(atomic.read_bytes(path))
    if body["format"] != FORMAT:
        raise ValueError(f"its format is {body['format']!r}, not {FORMAT}")
    sequence, hashed, at = body["sequence"], body["hash"], datetime.fromisoformat(body["at"])
    if type(sequence) is not int or not 0 < sequence < 1 << 62:
        raise ValueError("its sequence is no number of an entry")
    if not _HASH.fullmatch(hashed):
        raise ValueError("its hash is none")
    if at.tzinfo is None:
        raise ValueError("its time has no zone")
    newest = tuple(_object(each) for each in body["newest"][-NEWEST:])
    return RecordedHead(sequence, hashed, at, newest, tuple(map(_text, body["missing"])))


def _object(body: Mapping[str, Any]) -> NewestObject:
    if not _SHA512.fullmatch(body["inventory_sha512"]):
        raise ValueError("a digest in it is none")
    version = body["version"]
    if type(version) is not int or not 0 < version < 1 << 31:
        raise ValueError("a version in it is none")
    return NewestObject(
        _text(body["document"]), _text(body["key"]), version, body["inventory_sha512"]
    )


def _text(value: object) -> str:
    """Text that the catalog can be asked for: halves of characters are none."""
    if not isinstance(value, str) or "\0" in value:
        raise ValueError("a name in it is no text")
    value.encode()
    return value
