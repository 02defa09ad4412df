"""What the program says when something is wrong: what happened, whose fault, what next.

Every error a person can meet derives from `ArchivedError` and carries a stable `code`. May be
imported from anywhere but `api`.
"""

from __future__ import annotations

from typing import Any

from archived.message import Message, sequence, with_parts


class ArchivedError(Exception):
    """Base: a sentence, a stable code, a hint that can be acted on, an exit status."""

    code = "error"
    exit_status = 1

    def __init__(self, message: str, *, hint: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code

    def as_json(self) -> dict[str, Any]:
        """Code, sentence and hint for a program, the sentence's parameters beside them."""
        parameters = self.message.parameters if isinstance(self.message, Message) else {}
        told: dict[str, Any] = with_parts(
            {
                "code": self.code,
                "message": self.message,
                "parameters": dict(parameters),
                "hint": self.hint,
            }
        )
        return told


class ConfigError(ArchivedError):
    """The configuration cannot be used. `problems` holds every mistake, in the file's words."""

    code = "bad-config"
    exit_status = 78  # EX_CONFIG of sysexits.h; systemd's RestartPreventExitStatus knows it

    def __init__(self, problems: list[str], *, hint: str = "") -> None:
        super().__init__(sequence(problems, "\n"), hint=hint)
        self.problems = problems


class PluginError(ArchivedError):
    """A plug-in cannot be used: missing, too new, misspelt hook, unsafe file."""

    code = "bad-plugin"
    exit_status = 78


class AccountError(ArchivedError):
    """Steps cannot have accounts of their own, where the unit says that they must."""

    code = "no-account"


class CatalogError(ArchivedError):
    """The catalog cannot be opened or is damaged."""

    code = "catalog"


class CatalogBusy(CatalogError):
    """Another process has held the catalog's write lock for too long; trying again is right."""

    code = "catalog-busy"


class EvidenceError(ArchivedError):
    """An evidence record, or a file given with it, cannot be read."""

    code = "evidence-input"


class StoreError(ArchivedError):
    """The OCFL store holds something it should not, or lacks something it should have."""

    code = "store"


class SpoolError(ArchivedError):
    """The spool holds something it should not, or lacks something it should have."""

    code = "spool"


class LedgerError(ArchivedError):
    """The ledger's chain is broken: an entry was changed, removed or inserted."""

    code = "ledger-broken"


class NoSuchDocument(ArchivedError):
    """No document has this id."""

    code = "no-such-document"
    exit_status = 4


class NotNow(ArchivedError):
    """The request is understood but does not fit the document's state."""

    code = "not-now"
    exit_status = 5
