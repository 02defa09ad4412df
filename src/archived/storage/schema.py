"""The catalog's tables, as SQLAlchemy Core sees them.

The migrations in `migrations/` are what makes them, and `new_catalog.sql` is what they make of an
empty file; tests hold that all agree (`tools/new_catalog.py` writes the file anew). Instants are
UTC, kept as ISO 8601 text with microseconds so that they sort and can be read with `sqlite3`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.types import TypeDecorator

from archived.message import Message, from_json, in_json, with_messages, with_parts

REVISION = "0007"
"""The newest migration."""

metadata = MetaData()

_PACKED = '{"text": '
"""How a column begins that holds a sentence with its parameters."""


class Instant(TypeDecorator[datetime]):
    """A UTC `datetime` as sortable ISO 8601 text. Refuses one without a zone."""

    impl = String(32)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> str | None:  # noqa: ARG002
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("an instant needs its zone")
        return self.text(value)

    @staticmethod
    def text(value: datetime) -> str:
        """An instant as it stands in the catalog."""
        return value.astimezone(UTC).isoformat(timespec="microseconds")

    def process_result_value(self, value: str | None, dialect: Any) -> datetime | None:  # noqa: ARG002
        return None if value is None else datetime.fromisoformat(value)


class FileNumber(TypeDecorator[int]):
    """A number as `stat` gives it, exactly: decimal text.

    An inode or device number takes unsigned 64 bits, a time in nanoseconds about 70. SQLite's
    integers are signed 64-bit, and larger ones become floating point. Nothing calculates with
    these numbers: they are compared.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Any) -> str | None:  # noqa: ARG002
        return None if value is None else str(int(value))

    def process_result_value(self, value: str | None, dialect: Any) -> int | None:  # noqa: ARG002
        return None if value is None else int(value)


class Sentence(TypeDecorator[str]):
    """A sentence for a person, as it is; one with parameters is kept as JSON, its English text
    first, so that it can be read and searched.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:  # noqa: ARG002
        if value is None:
            return None
        packed = in_json(value)
        if isinstance(packed, str) and not packed.startswith(_PACKED):
            return packed
        if isinstance(packed, str):  # a stranger's text that looks like ours
            packed = in_json(Message("{text}", text=packed))
        return json.dumps(packed, ensure_ascii=False)

    def process_result_value(self, value: str | None, dialect: Any) -> str | None:  # noqa: ARG002
        if value is None or not value.startswith(_PACKED):
            return value
        try:
            return from_json(json.loads(value))
        except ValueError:
            return value  # of before: it was only a text


class Sentences(TypeDecorator[list[Any]]):
    """A list of sentences, as JSON; each as `Sentence` has it."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: Sequence[str] | None, dialect: Any) -> Any:  # noqa: ARG002
        return None if value is None else [in_json(each) for each in value]

    def process_result_value(self, value: Any, dialect: Any) -> Any:  # noqa: ARG002
        return None if value is None else [from_json(each) for each in value]


class WithMessages(TypeDecorator[Any]):
    """JSON whose objects have what their sentences were made of beside them."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> Any:  # noqa: ARG002
        return with_parts(value)

    def process_result_value(self, value: Any, dialect: Any) -> Any:  # noqa: ARG002
        return with_messages(value)


arrival = Table(
    "arrival",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("hotfolder", Text, nullable=False),
    Column("path", LargeBinary, nullable=False, comment="relative to the hot folder, as received"),
    Column("name", Text, nullable=False, comment="readable, NFC"),
    Column("state", Text, nullable=False, comment="seen, admitted, held, ignored"),
    Column("code", Text, comment="rule for ignored, code for held"),
    Column("reason", Sentence),
    Column("present", Boolean, nullable=False, comment="the file is still in the hot folder"),
    Column("device", FileNumber, nullable=False),
    Column("inode", FileNumber, nullable=False),
    Column("size", FileNumber, nullable=False),
    Column("mtime_ns", FileNumber, nullable=False),
    Column("sha256", Text),
    Column("document", ForeignKey("document.id")),
    Column("first_seen", Instant, nullable=False),
    Column("ended", Instant, comment="admitted, held or ignored at"),
    Column(
        "origin",
        Text,
        nullable=False,
        server_default="",
        comment="the device it came from; a scanner's name",
    ),
    Column("became", Text, comment="the artifact it became: role/name; null: original/0001.*"),
    Index("arrival_present", "hotfolder", "path", unique=True, sqlite_where=text("present = 1")),
    Index("arrival_document", "document"),
    Index("arrival_state", "state", "hotfolder"),
)

document = Table(
    "document",
    metadata,
    Column("id", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("hotfolder", Text, nullable=False),
    Column("name", Text, nullable=False, comment="readable, NFC"),
    Column("path", LargeBinary, nullable=False, comment="received relative path, as bytes"),
    Column("media_type", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("secrecy", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("pipeline", Text, nullable=False),
    Column("stages", JSON, nullable=False),
    Column("copies", Integer, nullable=False, comment="verified copies that make it safe"),
    Column("position", Integer, nullable=False, comment="index of the next stage"),
    Column("running", Text, comment="id of the step being run"),
    Column("lane", Text, nullable=False, comment="lane of the next stage"),
    Column("attempts", Integer, nullable=False, comment="of the next stage, counted at start"),
    Column("postponed", Integer, nullable=False, comment="in a row, of the next stage"),
    Column("due", Instant, comment="not before; null when no step is wanted"),
    Column("code", Text, comment="why it is held or waits"),
    Column("reason", Sentence),
    Column("hint", Sentence),
    Column("received", Instant, nullable=False),
    Column("changed", Instant, nullable=False),
    Column("sealed_at", Instant),
    Column("safe_at", Instant),
    Column("object_key", Text),
    Column("object_version", Integer),
    Column("inventory_sha512", Text),
    Column("pages", Integer),
    Column(
        "origin",
        Text,
        nullable=False,
        server_default="",
        comment="the device it came from; a scanner's name",
    ),
    Column("dossier", Text, nullable=False, server_default="", comment="code of its dossier"),
    Column("given", JSON, comment="what a ticket said about it, as received"),
    Column(
        "collation",
        Text,
        nullable=False,
        server_default="",
        comment="how its originals are read; two-pass: fronts, then backs in reverse",
    ),
    Column("owner", Text, nullable=False, server_default="", comment="whose papers these are"),
    Column("master", Text, comment="the document it was cut from"),
    Column("review", Text, comment="id of the step whose review holds it"),
    Index("document_dossier", "dossier", sqlite_where=text("dossier != ''")),
    Index("document_master", "master", sqlite_where=text("master IS NOT NULL")),
    Index("document_due", "lane", "due", sqlite_where=text("due IS NOT NULL AND running IS NULL")),
    Index(
        "document_line",
        "lane",
        "origin",
        "priority",
        "position",
        "due",
        sqlite_where=text("due IS NOT NULL AND running IS NULL"),
    ),
    Index("document_state", "state", "hotfolder"),
    Index("document_running", "running", sqlite_where=text("running IS NOT NULL")),
)

artifact = Table(
    "artifact",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("document", ForeignKey("document.id"), nullable=False),
    Column("role", Text, nullable=False),
    Column("name", Text, nullable=False, comment="file name inside the role's folder"),
    Column("media_type", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha512", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("path", Text, nullable=False, comment="below the document's spool folder"),
    Column("step", Text, comment="made by; null for admission"),
    Column("current", Boolean, nullable=False, comment="not superseded by a later one"),
    Column("main", Boolean, nullable=False, comment="what the pipeline works on"),
    Index("artifact_document", "document"),
    Index("artifact_sha512", "sha512"),
)

step = Table(
    "step",
    metadata,
    Column("id", Text, primary_key=True),
    Column("document", ForeignKey("document.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("stage", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("version", Text, nullable=False),
    Column("distribution", Text, nullable=False),
    Column("options_digest", Text, nullable=False),
    Column("started", Instant, nullable=False),
    Column("ended", Instant),
    Column("ending", Text, comment="see model.outcome"),
    Column("code", Text),
    Column("message", Sentence),
    Column("hint", Sentence),
    Column("facts", JSON),
    Column("tools", JSON),
    Column("notes", Sentences),
    Column("wall", Text, comment="seconds"),
    Column("cpu", Text, comment="seconds, children included"),
    Column("peak_memory", BigInteger, comment="bytes"),
    Column("reviews", WithMessages, comment="what a person must look at"),
    Column("worked_on", Text, comment="with reviews: role/name of the main artifact before it"),
    Index("step_document", "document", "position"),
)

replica = Table(
    "replica",
    metadata,
    Column("document", ForeignKey("document.id"), primary_key=True),
    Column("target", Text, primary_key=True),
    Column("key", Text, nullable=False),
    Column("inventory_sha512", Text, nullable=False),
    Column("files", Integer, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("verified", Instant, nullable=False),
)

ledger = Table(
    "ledger",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("entry", Text, nullable=False, comment="canonical JSON; what is hashed"),
    Column("hash", Text, nullable=False, unique=True, comment="SHA-256 of entry, hex"),
    Column("kind", Text, nullable=False),
    Column("document", Text),
    Column("at", Instant, nullable=False),
    Index("ledger_document", "document"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("sequence", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("document", Text),
    Column("hotfolder", Text),
    Column("at", Instant, nullable=False),
    Column("facts", JSON, nullable=False),
)

reader = Table(
    "reader",
    metadata,
    Column("name", Text, primary_key=True, comment="who reads the outbox: observers, mqtt"),
    Column("sequence", Integer, nullable=False, comment="the last event it has been given"),
)
