"""Documents of several files, dossiers, and documents cut from another."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "arrival",
        sa.Column(
            "became",
            sa.Text(),
            nullable=True,
            comment="the artifact it became: role/name; null: original/0001.*",
        ),
    )
    for column in (
        sa.Column(
            "dossier", sa.Text(), nullable=False, server_default="", comment="code of its dossier"
        ),
        sa.Column(
            "given", sa.JSON(), nullable=True, comment="what a ticket said about it, as received"
        ),
        sa.Column(
            "collation",
            sa.Text(),
            nullable=False,
            server_default="",
            comment="how its originals are read; two-pass: fronts, then backs in reverse",
        ),
        sa.Column(
            "owner", sa.Text(), nullable=False, server_default="", comment="whose papers these are"
        ),
        sa.Column("master", sa.Text(), nullable=True, comment="the document it was cut from"),
    ):
        op.add_column("document", column)
    op.create_index(
        "document_dossier",
        "document",
        ["dossier"],
        unique=False,
        sqlite_where=sa.text("dossier != ''"),
    )
    op.create_index(
        "document_master",
        "document",
        ["master"],
        unique=False,
        sqlite_where=sa.text("master IS NOT NULL"),
    )
