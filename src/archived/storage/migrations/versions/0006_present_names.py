"""States, endings and codes that the program compares are called by their present names.

The ledger and the outbox are not touched: they are read under present names
(`model.former_names`). The tables stand here once more, since a migration does not change.
"""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_RENAMED = {
    "bomb": "decompression-bomb",
    "other-side-missing": "back-sides-missing",
    "sides-unclear": "page-order-ambiguous",
    "step-failed": "core-error",
}
_NAMES: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("document", "state"): {"refused": "rejected"},
    ("document", "code"): _RENAMED,
    ("arrival", "code"): {**_RENAMED, "system-litter": "system-file"},
    ("step", "code"): _RENAMED,
    ("step", "ending"): {"broke": "failed", "put-back": "requeued"},
}
_SENTENCES = {
    "a part was refused ": "a part was rejected ",
    "Refuse it as well:": "Reject it as well:",
    "Then refuse this one:": "Then reject this one:",
    "refuse this one when": "reject this one when",
}
"""What a held document says to do, in the words of the commands of now."""


def upgrade() -> None:
    for (table, column), names in _NAMES.items():
        of = sa.table(table, sa.column(column, sa.Text()))
        value = of.c[column]
        op.execute(
            sa.update(of)
            .where(value.in_(list(names)))
            .values({column: sa.case(names, value=value, else_=value)})
        )
    document = sa.table("document", sa.column("reason", sa.Text()), sa.column("hint", sa.Text()))
    for said in (document.c.reason, document.c.hint):
        for before, after in _SENTENCES.items():
            op.execute(
                sa.update(document)
                .where(said.contains(before, autoescape=True))
                .values({said.name: sa.func.replace(said, before, after)})
            )
