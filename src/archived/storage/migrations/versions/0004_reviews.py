"""What a person must look at: with the step that asked for it, and what holds its document."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "document",
        sa.Column(
            "review", sa.Text(), nullable=True, comment="id of the step whose review holds it"
        ),
    )
    op.add_column(
        "step",
        sa.Column("reviews", sa.JSON(), nullable=True, comment="what a person must look at"),
    )
    op.add_column(
        "step",
        sa.Column(
            "worked_on",
            sa.Text(),
            nullable=True,
            comment="with reviews: role/name of the main artifact before it",
        ),
    )
