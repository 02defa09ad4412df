"""The ledger is append-only by triggers: a statement that would change an entry fails.

Entries come in order, each once: `INSERT OR REPLACE` takes rows away without asking a trigger of
`DELETE`. It is a guard against mistakes; whoever may write the file may also drop a trigger.
"""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_TRIGGERS = (
    """CREATE TRIGGER ledger_no_update BEFORE UPDATE ON ledger BEGIN
    SELECT RAISE(ABORT, 'the ledger is append-only');
END""",
    """CREATE TRIGGER ledger_no_delete BEFORE DELETE ON ledger BEGIN
    SELECT RAISE(ABORT, 'the ledger is append-only');
END""",
    """CREATE TRIGGER ledger_in_order BEFORE INSERT ON ledger
WHEN NEW.sequence IS NOT (SELECT coalesce(max(sequence), 0) + 1 FROM ledger)
    OR EXISTS (SELECT 1 FROM ledger WHERE hash = NEW.hash)
BEGIN
    SELECT RAISE(ABORT, 'the ledger is append-only');
END""",
)


def upgrade() -> None:
    for trigger in _TRIGGERS:
        op.execute(trigger)
