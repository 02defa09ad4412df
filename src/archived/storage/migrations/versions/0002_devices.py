"""Which device a file came from, and an index for what is due by device."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Added in place: other tables refer to these two, and foreign keys are on.
    for table in ("arrival", "document"):
        op.add_column(
            table,
            sa.Column(
                "origin",
                sa.Text(),
                nullable=False,
                server_default="",
                comment="the device it came from; a scanner's name",
            ),
        )
    # What came before devices had names came from the hot folder's own.
    op.execute("UPDATE arrival SET origin = hotfolder")
    op.execute("UPDATE document SET origin = hotfolder")
    op.create_index(
        "document_line",
        "document",
        ["lane", "origin", "priority", "position", "due"],
        unique=False,
        sqlite_where=sa.text("due IS NOT NULL AND running IS NULL"),
    )
