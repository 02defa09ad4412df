"""The first catalog."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_WORDS = (
    "CREATE VIRTUAL TABLE words USING fts5("
    "document UNINDEXED, name, facts, body, tokenize = 'unicode61 remove_diacritics 2')"
)


def upgrade() -> None:
    op.create_table(
        "document",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("hotfolder", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False, comment="readable, NFC"),
        sa.Column(
            "path", sa.LargeBinary(), nullable=False, comment="received relative path, as bytes"
        ),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("secrecy", sa.Text(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("pipeline", sa.Text(), nullable=False),
        sa.Column("stages", sa.JSON(), nullable=False),
        sa.Column(
            "copies", sa.Integer(), nullable=False, comment="verified copies that make it safe"
        ),
        sa.Column("position", sa.Integer(), nullable=False, comment="index of the next stage"),
        sa.Column("running", sa.Text(), nullable=True, comment="id of the step being run"),
        sa.Column("lane", sa.Text(), nullable=False, comment="lane of the next stage"),
        sa.Column(
            "attempts", sa.Integer(), nullable=False, comment="of the next stage, counted at start"
        ),
        sa.Column("postponed", sa.Integer(), nullable=False, comment="in a row, of the next stage"),
        sa.Column(
            "due", sa.String(32), nullable=True, comment="not before; null when no step is wanted"
        ),
        sa.Column("code", sa.Text(), nullable=True, comment="why it is held or waits"),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("hint", sa.Text(), nullable=True),
        sa.Column("received", sa.String(32), nullable=False),
        sa.Column("changed", sa.String(32), nullable=False),
        sa.Column("sealed_at", sa.String(32), nullable=True),
        sa.Column("safe_at", sa.String(32), nullable=True),
        sa.Column("object_key", sa.Text(), nullable=True),
        sa.Column("object_version", sa.Integer(), nullable=True),
        sa.Column("inventory_sha512", sa.Text(), nullable=True),
        sa.Column("pages", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "document_due",
        "document",
        ["lane", "due"],
        unique=False,
        sqlite_where=sa.text("due IS NOT NULL AND running IS NULL"),
    )
    op.create_index(
        "document_running",
        "document",
        ["running"],
        unique=False,
        sqlite_where=sa.text("running IS NOT NULL"),
    )
    op.create_index("document_state", "document", ["state", "hotfolder"], unique=False)
    op.create_table(
        "ledger",
        sa.Column("sequence", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("entry", sa.Text(), nullable=False, comment="canonical JSON; what is hashed"),
        sa.Column("hash", sa.Text(), nullable=False, comment="SHA-256 of entry, hex"),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=True),
        sa.Column("at", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("sequence"),
        sa.UniqueConstraint("hash"),
    )
    op.create_index("ledger_document", "ledger", ["document"], unique=False)
    op.create_table(
        "outbox",
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=True),
        sa.Column("hotfolder", sa.Text(), nullable=True),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("sequence"),
    )
    op.create_table(
        "reader",
        sa.Column(
            "name", sa.Text(), nullable=False, comment="who reads the outbox: observers, mqtt"
        ),
        sa.Column(
            "sequence", sa.Integer(), nullable=False, comment="the last event it has been given"
        ),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "arrival",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("hotfolder", sa.Text(), nullable=False),
        sa.Column(
            "path",
            sa.LargeBinary(),
            nullable=False,
            comment="relative to the hot folder, as received",
        ),
        sa.Column("name", sa.Text(), nullable=False, comment="readable, NFC"),
        sa.Column("state", sa.Text(), nullable=False, comment="seen, admitted, held, ignored"),
        sa.Column("code", sa.Text(), nullable=True, comment="rule for ignored, code for held"),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column(
            "present", sa.Boolean(), nullable=False, comment="the file is still in the hot folder"
        ),
        sa.Column("device", sa.BigInteger(), nullable=False),
        sa.Column("inode", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("document", sa.Text(), nullable=True),
        sa.Column("first_seen", sa.String(32), nullable=False),
        sa.Column("ended", sa.String(32), nullable=True, comment="admitted, held or ignored at"),
        sa.ForeignKeyConstraint(
            ["document"],
            ["document.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("arrival_document", "arrival", ["document"], unique=False)
    op.create_index(
        "arrival_present",
        "arrival",
        ["hotfolder", "path"],
        unique=True,
        sqlite_where=sa.text("present = 1"),
    )
    op.create_index("arrival_state", "arrival", ["state", "hotfolder"], unique=False)
    op.create_table(
        "artifact",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False, comment="file name inside the role's folder"),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha512", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False, comment="below the document's spool folder"),
        sa.Column("step", sa.Text(), nullable=True, comment="made by; null for admission"),
        sa.Column("current", sa.Boolean(), nullable=False, comment="not superseded by a later one"),
        sa.Column("main", sa.Boolean(), nullable=False, comment="what the pipeline works on"),
        sa.ForeignKeyConstraint(
            ["document"],
            ["document.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("artifact_document", "artifact", ["document"], unique=False)
    op.create_index("artifact_sha512", "artifact", ["sha512"], unique=False)
    op.create_table(
        "replica",
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("inventory_sha512", sa.Text(), nullable=False),
        sa.Column("files", sa.Integer(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("verified", sa.String(32), nullable=False),
        sa.ForeignKeyConstraint(
            ["document"],
            ["document.id"],
        ),
        sa.PrimaryKeyConstraint("document", "target"),
    )
    op.create_table(
        "step",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("distribution", sa.Text(), nullable=False),
        sa.Column("options_digest", sa.Text(), nullable=False),
        sa.Column("started", sa.String(32), nullable=False),
        sa.Column("ended", sa.String(32), nullable=True),
        sa.Column(
            "ending",
            sa.Text(),
            nullable=True,
            comment="finished, skipped, refused, postponed, broke, put-back, lost",
        ),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("hint", sa.Text(), nullable=True),
        sa.Column("facts", sa.JSON(), nullable=True),
        sa.Column("tools", sa.JSON(), nullable=True),
        sa.Column("notes", sa.JSON(), nullable=True),
        sa.Column("wall", sa.Text(), nullable=True, comment="seconds"),
        sa.Column("cpu", sa.Text(), nullable=True, comment="seconds, children included"),
        sa.Column("peak_memory", sa.BigInteger(), nullable=True, comment="bytes"),
        sa.ForeignKeyConstraint(
            ["document"],
            ["document.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("step_document", "step", ["document", "position"], unique=False)
    # ### end Alembic commands ###
    op.execute(_WORDS)
