"""What `stat` says of a file, kept as decimal text: signed 64-bit integers are too small for it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_NUMBERS = ("device", "inode", "size", "mtime_ns")


def upgrade() -> None:
    # SQLite cannot change a column's type: the table is written anew. No other table refers to it.
    for index in ("arrival_present", "arrival_document", "arrival_state"):
        op.drop_index(index, "arrival")
    with op.batch_alter_table("arrival", recreate="always") as table:
        for name in _NUMBERS:
            table.alter_column(
                name,
                existing_type=sa.BigInteger(),
                type_=sa.Text(),
                existing_nullable=False,
                postgresql_using=f"{name}::text",
            )
    op.create_index(
        "arrival_present",
        "arrival",
        ["hotfolder", "path"],
        unique=True,
        sqlite_where=sa.text("present = 1"),
    )
    op.create_index("arrival_document", "arrival", ["document"], unique=False)
    op.create_index("arrival_state", "arrival", ["state", "hotfolder"], unique=False)
