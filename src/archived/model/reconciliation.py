"""The balance sheet: what became of every file that was ever seen. Pure.

Two books are kept apart and compared: the ledger's entries, folded here into where each arrival
stands, and the catalog's rows. Where they do not say the same, a file is unaccounted for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from archived.message import Message

COLUMNS = ("archived", "held", "ignored", "in_work")
"""Where an arrival can stand; `seen` is their sum, and what is in none is `unaccounted`."""

KINDS = (
    "document-admitted",
    "arrival-joined",
    "recovered",
    "arrival-repeated",
    "arrival-ignored",
    "arrival-held",
    "document-held",
    "document-released",
    "document-retried",
    "document-rejected",
    "document-sealed",
    "arrivals-ignored",
    "arrivals-held",
)
"""The ledger entries that move an arrival from one column to another."""


def ranges(numbers: Iterable[int]) -> list[list[int]]:
    """Numbers as an entry for many files has them: the first and the last of each run."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return runs


def _each(facts: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The arrivals of an entry for many files, each with what the entry says of it."""
    for group in facts.get("groups", ()):
        told = {
            "hotfolder": facts.get("hotfolder"),
            "device": group.get("device"),
            "rule": group.get("rule"),
        }
        for first, last in group.get("arrivals", ()):
            yield from ((number, told) for number in range(first, last + 1))


@dataclass(frozen=True, slots=True)
class CatalogFile:
    """One file as the catalog has it. `column`: `None` when the catalog cannot say."""

    id: int
    hotfolder: str
    device: str
    name: str
    seen: datetime
    column: str | None
    rule: str | None = None
    document: str | None = None
    pages: int | None = None
    only_seen: bool = False
    """Nothing happened to it yet, so that the ledger does not know it."""


@dataclass(slots=True)
class _Entered:
    at: datetime
    hotfolder: str | None
    device: str | None
    name: str
    document: str | None = None
    column: str | None = None
    rule: str | None = None
    further: bool = False
    """A document's pages are counted with its first file."""


@dataclass(slots=True)
class _Followed:
    held: bool = False
    sealed: bool = False
    pages: int | None = None

    @property
    def column(self) -> str:
        return "held" if self.held else "archived" if self.sealed else "in_work"


class LedgerFold:
    """The ledger's entries, folded: `add` each in order, then `settle` against the catalog."""

    def __init__(self) -> None:
        self._arrivals: dict[int, _Entered] = {}
        self._documents: dict[str, _Followed] = {}
        self._without: dict[str, _Entered] = {}
        """Recovered documents whose entry does not name an arrival."""

    def add(self, kind: str, at: datetime, document: str | None, facts: Mapping[str, Any]) -> None:
        """One entry of the ledger. What moves nothing is passed over."""
        match kind:
            case "document-admitted" | "arrival-joined" | "recovered" | "arrival-repeated" if (
                document is not None
            ):
                if kind in {"document-admitted", "recovered"}:
                    self._documents.setdefault(document, _Followed())
                self._enter(at, facts, document=document, further=kind == "arrival-joined")
            case "arrival-ignored":
                self._enter(at, facts, column="ignored", rule=facts.get("rule"))
            case "arrivals-ignored":
                for arrival, of_one in _each(facts):
                    self._enter(
                        at, {**of_one, "arrival": arrival}, column="ignored", rule=of_one["rule"]
                    )
            case "arrival-held":
                self._enter(at, facts, column="held")
            case "arrivals-held":
                for arrival, of_one in _each(facts):
                    self._enter(at, {**of_one, "arrival": arrival}, column="held")
            case _ if document in self._documents:
                self._follow(self._documents[document], kind, facts)

    def _enter(
        self,
        at: datetime,
        facts: Mapping[str, Any],
        *,
        document: str | None = None,
        column: str | None = None,
        rule: str | None = None,
        further: bool = False,
    ) -> None:
        arrival = facts.get("arrival")
        before = self._arrivals.get(arrival) if arrival is not None else None
        entered = _Entered(
            before.at if before else at,
            facts.get("hotfolder"),
            facts.get("device"),
            str(facts.get("name", "")),
            document,
            column,
            rule,
            further,
        )
        if arrival is not None:
            self._arrivals[arrival] = entered
        elif document is not None:
            self._without[document] = entered

    @staticmethod
    def _follow(document: _Followed, kind: str, facts: Mapping[str, Any]) -> None:
        match kind:
            case "document-held" | "document-rejected":
                document.held = True
            case "document-released" | "document-retried":
                document.held = False
            case "document-sealed":
                document.sealed, document.held = True, False
                document.pages = facts.get("pages")

    def settle(self, catalog: Iterable[CatalogFile]) -> Iterator[ReconciledFile]:
        """Both books side by side: every file that either of them knows, once."""
        left = dict(self._arrivals)
        for row in catalog:
            entered = left.pop(row.id, None)
            if entered is None and row.document is not None:
                entered = self._without.pop(row.document, None)
            yield self._compared(row, entered)
        for arrival, entered in left.items():
            yield ReconciledFile(
                arrival,
                entered.hotfolder or "",
                entered.device or entered.hotfolder or "",
                entered.name,
                entered.at,
                None,
                entered.rule,
                None,
                Message("the ledger knows it, the catalog does not"),
            )

    def _compared(self, row: CatalogFile, entered: _Entered | None) -> ReconciledFile:
        ledger, pages, why = self._column(entered), row.pages, ""
        if entered is not None and entered.document in self._documents:
            known = self._documents[entered.document].pages
            pages = 0 if entered.further else pages if known is None else known
        if row.column is None:
            why = f"the ledger says {_words(ledger)}, the catalog does not know its document"
        elif entered is None and not row.only_seen:
            why = Message(
                "the catalog says {words}, the ledger does not know it", words=_words(row.column)
            )
        elif entered is not None and ledger != row.column:
            why = Message(
                "the ledger says {by_ledger}, the catalog says {by_catalog}",
                by_ledger=_words(ledger),
                by_catalog=_words(row.column),
            )
        elif entered is not None and entered.hotfolder not in {None, row.hotfolder}:
            why = f"the ledger says it came to {entered.hotfolder}"
        elif entered is not None and entered.device not in {None, row.device}:
            why = f"the ledger says it came from {entered.device}"
        return ReconciledFile(
            row.id,
            row.hotfolder,
            row.device,
            row.name,
            row.seen,
            None if why else row.column,
            row.rule,
            pages,
            why,
        )

    def _column(self, entered: _Entered | None) -> str | None:
        if entered is None or entered.document is None:
            return entered.column if entered else None
        document = self._documents.get(entered.document)
        return document.column if document else None


@dataclass(frozen=True, slots=True)
class ReconciledFile:
    """One file in the balance sheet. `column` is `None` when it is unaccounted for: `why`."""

    arrival: int
    hotfolder: str
    device: str
    name: str
    seen: datetime
    column: str | None
    rule: str | None
    pages: int | None
    why: str


@dataclass(slots=True)
class BalanceSheet:
    """Some files' balance. `pages` counts by column, for the files whose pages are known."""

    seen: int = 0
    unaccounted: int = 0
    columns: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COLUMNS, 0))
    rules: dict[str, int] = field(default_factory=dict)
    pages: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("seen", *COLUMNS, "unaccounted"), 0)
    )
    pages_unknown: int = 0
    """Files whose pages nobody has counted, the ignored ones apart."""

    def add(self, file: ReconciledFile) -> None:
        """Count one file."""
        self.seen += 1
        column = file.column or "unaccounted"
        if file.column is None:
            self.unaccounted += 1
        else:
            self.columns[column] += 1
        if file.column == "ignored":
            self.rules[file.rule or ""] = self.rules.get(file.rule or "", 0) + 1
        if file.pages is not None:
            self.pages["seen"] += file.pages
            self.pages[column] += file.pages
        elif file.column != "ignored":
            self.pages_unknown += 1

    def as_json(self) -> dict[str, Any]:
        """The sheet as `archivectl account` shows it."""
        return {
            "seen": self.seen,
            **self.columns,
            "unaccounted": self.unaccounted,
            "rules": dict(sorted(self.rules.items())),
            "pages": dict(self.pages),
            "pages_unknown": self.pages_unknown,
        }


def _words(column: str | None) -> str:
    return "nothing" if column is None else column.replace("_", " ")
