"""Answers to `archivectl`'s questions, as JSON. Reads the catalog only, so that they can be had
from a running daemon or, when it is down, from the catalog itself.

The shapes are documented in docs/archivectl.md and are an interface.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from archived.errors import ArchivedError, CatalogError, LedgerError, StoreError
from archived.locale import speaking
from archived.message import Message
from archived.model import record
from archived.model.lifecycle import State
from archived.observe import lookup, old_reading, reviews
from archived.observe.arguments import check
from archived.observe.balance import BalanceSelection, balance_sheet, zone_of
from archived.observe.explain import DocumentRows, explain
from archived.storage import ledger, published_head
from archived.storage.catalog import Catalog
from archived.storage.ledger_head import HeadFile, hash_at
from archived.storage.name_queries import files_named
from archived.storage.reconcile_query import copies, settled
from archived.storage.rows import Arrival, ArrivalState, Balance, DocumentFilter, DocumentRow

_MOST = 1000
_HOT_FOLDER = (
    "name",
    "path",
    "mode",
    "offline",
    "paused",
    "failing",
    "arriving",
    "waiting",
    "stuck",
)
"""What people are told of a hot folder; the daemon knows more about it than that."""
T = TypeVar("T")

Arguments = Mapping[str, str]


class QueryApi:
    """`live` gives what only a running daemon knows; `None` when there is none."""

    def __init__(
        self, catalog: Catalog, store: Path, live: Callable[[], Mapping[str, Any]] | None = None
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._live = live
        self._questions: dict[str, Callable[[Arguments], Any]] = {
            "status": self._status,
            "documents": self._documents,
            "old-readings": self._old_readings,
            "resolve": self._resolve,
            "show": self._show,
            "explain": self._explain,
            "reviews": self._reviews,
            "review": self._review,
            "search": self._search,
            "account": self._account,
            "copies": self._copies,
            "plugins": self._plugins,
            "comparison": self._comparison,
            "ledger-verify": self._ledger_verify,
        }

    def answer(self, question: str, arguments: Arguments) -> Any:
        """The answer as JSON values. Raises `ArchivedError`."""
        if question not in self._questions:
            raise ArchivedError(
                Message("unknown question {question!r}", question=question), code="bad-question"
            )
        check(arguments)
        return plain(self._questions[question](arguments))

    def resolve(self, typed: str) -> str:
        """The full id for what a person typed: an id, the beginning or end of one, a file's name.

        Raises `NoSuchDocument`, also when several documents fit.
        """
        return lookup.resolve(self._catalog, typed)

    def _status(self, _arguments: Arguments) -> Any:
        catalog = self._catalog
        documents: dict[str, int] = {}
        for (_, state), n in catalog.count_documents().items():
            documents[str(state)] = documents.get(str(state), 0) + n
        return {
            "daemon": self._living() or None,
            "documents": documents,
            "held": catalog.count_held(),
            "held_files": len(self._held_files()),
            "arriving_files": len(catalog.arrivals(states=[ArrivalState.SEEN], limit=_MOST)),
            "never_safe": catalog.count_never_safe(),
            "waiting": [
                {"stage": stage, "code": code, "documents": n, "reason": reason}
                for stage, code, n, reason in catalog.waiting()
            ],
            "further_copies": self._further_copies(),
            "balance": [_sheet(sheet) for sheet in catalog.balance()],
            "steps_due": [
                {"lane": lane, "steps": n}
                for lane, n in sorted(catalog.count_due(datetime.now(UTC)).items())
            ],
            "oldest_unclaimed_file": catalog.oldest_unclaimed(),
            "oldest_document_in_work": catalog.oldest_waiting(),
            "pages_archived": catalog.pages_archived(),
            "ledger": self._head(),
        }

    def _head(self) -> dict[str, Any]:
        head = published_head.newest(self._catalog)
        if head is None:
            return {**asdict(self._catalog.ledger_head()), "at": None, "published": None}
        return {**asdict(head), "published": head.text}

    def _further_copies(self) -> dict[str, int]:
        found = self._catalog.count_further_copies()
        return {"due": sum(found.values()), "failed": found.get(True, 0)}

    def _living(self) -> dict[str, Any]:
        """What the running daemon knows; empty when there is none."""
        if self._live is None:
            return {}
        live = dict(self._live())
        folders = live.get("hotfolders", ())
        live["hotfolders"] = [{key: each[key] for key in _HOT_FOLDER} for each in folders]
        if compared := live.get("store"):
            live["store"] = {"at": compared["at"], "counts": compared["counts"]}
        return live

    def _documents(self, arguments: Arguments) -> Any:
        states = [_state(word) for word in arguments.get("states", "").split(",") if word]
        which = DocumentFilter(
            states=states,
            hotfolder=arguments.get("hotfolder"),
            dossier=arguments.get("dossier"),
            name=arguments.get("name"),
        )
        rows = self._catalog.documents(
            which,
            limit=min(_MOST, _number(arguments, "limit", 100)),
            before=arguments.get("before"),
        )
        name = arguments.get("name")
        files = files_named(self._catalog, name, part=True) if name else []
        return {
            "documents": [_brief(row) for row in rows],
            **({"files": [lookup.file_shown(each) for each in files]} if name else {}),
        }

    def _old_readings(self, arguments: Arguments) -> Any:
        """Sealed documents with pages that an earlier rule of `ocr` passed over, newest first."""
        limit, found = min(_MOST, _number(arguments, "limit", 100)), []
        for step in self._catalog.sealed_steps(
            old_reading.STAGE, hotfolder=arguments.get("hotfolder"), before=arguments.get("before")
        ):
            pages = old_reading.doubtful(step.version, step.facts or {})
            if not pages:
                continue
            row = self._catalog.document(step.document)
            originals = [f"{each.role}/{each.name}" for each in self._catalog.originals(row.id)]
            found.append(
                {
                    **_brief(row),
                    "read_by": step.version,
                    "doubtful_pages": pages,
                    "object": self._place(row),
                    "originals": originals,
                }
            )
            if len(found) == limit:
                break
        return {"documents": found}

    def _resolve(self, arguments: Arguments) -> Any:
        return _brief(self._catalog.document(self.resolve(arguments.get("document", ""))))

    def _show(self, arguments: Arguments) -> Any:
        try:
            row = self._catalog.document(self.resolve(arguments.get("document", "")))
        except lookup.OnlyAFile as only:
            return lookup.file_shown(only.file)
        facts = self._catalog.facts(row.id)
        return {
            **_brief(row),
            "path": row.path.hex(),
            "pipeline": row.pipeline,
            "stages": list(row.stages),
            "position": row.position,
            "secrecy": row.secrecy,
            "owner": row.owner,
            "given": dict(row.given or {}),
            "collation": row.collation,
            "parts": [
                {"id": each.id, "name": each.name, "state": each.state, "code": each.code}
                for each in self._catalog.parts(row.id)
            ],
            "copies_wanted": row.copies,
            "object": self._place(row),
            "fields": record.fields_of(facts),
            "facts": facts,
            "arrivals": [
                asdict(a) | {"path": a.path.hex()} for a in self._catalog.arrivals(document=row.id)
            ],
            "artifacts": [asdict(a) for a in self._catalog.artifacts(row.id, current=False)],
            "steps": [asdict(s) for s in self._catalog.steps(row.id)],
            "replicas": [asdict(r) for r in self._catalog.replicas(row.id)],
            "ledger": [
                {"sequence": e.sequence, "kind": e.kind, "at": e.at, "hash": e.hash}
                for e in self._catalog.ledger_of(row.id)
            ],
        }

    def _place(self, row: DocumentRow) -> Mapping[str, Any] | None:
        if row.object_key is None:
            return None
        return {
            "key": row.object_key,
            "path": self._store / "ocfl" / row.object_key,
            "version": row.object_version,
            "inventory_sha512": row.inventory_sha512,
        }

    def _explain(self, arguments: Arguments) -> Any:
        try:
            row = self._catalog.document(self.resolve(arguments.get("document", "")))
        except lookup.OnlyAFile as only:
            with speaking(arguments.get("language")):
                return lookup.file_explained(only.file, self._living().get("hotfolders", ()))
        with speaking(arguments.get("language")):
            rows = DocumentRows(
                row,
                arrivals=self._catalog.arrivals(document=row.id),
                steps=self._catalog.steps(row.id),
                replicas=self._catalog.replicas(row.id),
                entries=self._catalog.ledger_of(row.id),
                parts=self._catalog.parts(row.id),
            )
            zone = zone_of(arguments.get("zone", "UTC"))
            verbose = bool(arguments.get("verbose"))
            story = explain(rows, datetime.now(UTC), zone, verbose=verbose)
        return {"document": row.id, "name": row.name, "state": row.state, **asdict(story)}

    def _reviews(self, arguments: Arguments) -> Any:
        limit = min(_MOST, _number(arguments, "limit", 100))
        rows = reviews.waiting(self._catalog, arguments, limit)
        return {"documents": [_brief(row) for row in rows]}

    def _review(self, arguments: Arguments) -> Any:
        row = self._catalog.document(self.resolve(arguments.get("document", "")))
        return {"document": _brief(row), "steps": reviews.of_document(self._catalog, row)}

    def _search(self, arguments: Arguments) -> Any:
        words = arguments.get("words", "")
        found = self._catalog.search(words, min(_MOST, _number(arguments, "limit", 20)))
        return {"words": words, "found": [asdict(f) for f in found]}

    def _account(self, arguments: Arguments) -> Any:
        asked = BalanceSelection(arguments)
        folders = {each["name"] for each in self._living().get("hotfolders", ())}
        return {
            "at": datetime.now(UTC),
            **balance_sheet(settled(self._catalog), asked, folders),
            "held_documents": self._catalog.count_held(),
            "held_files": self._held_files(),
        }

    def _held_files(self) -> list[dict[str, Any]]:
        """Files that lie in a hot folder and cannot be taken in."""
        return [_held_file(a) for a in self._catalog.arrivals(states=[ArrivalState.HELD])]

    def _copies(self, _arguments: Arguments) -> Any:
        return {"copies": copies(self._catalog)}

    def _comparison(self, _arguments: Arguments) -> Any:
        """What the daemon found when it compared catalog and store last; `null` before that."""
        return {"comparison": None if self._live is None else self._live().get("store")}

    def _plugins(self, _arguments: Arguments) -> Any:
        live = self._living()
        told = ("plugins", "problems", "checked", "stages", "credentials")
        return {name: live.get(name) for name in told}

    def _ledger_verify(self, arguments: Arguments) -> Any:
        against = arguments.get("against")
        return self.verify_ledger(against=published_head.read_heads(against) if against else ())

    def verify_ledger(
        self,
        advance: Callable[[int], None] | None = None,
        against: tuple[published_head.PublishedHead, ...] = (),
    ) -> dict[str, Any]:
        """Walk the whole chain; `advance` is told every now and then how many entries are done.

        `verdict` is "yes", "no" or "not established"; `why` says why it is not "yes". `against`
        are published heads, which the ledger must contain.
        """
        compared = published_head.Comparison(against)
        walk = published_head.walked(self._catalog.ledger_rows(), compared)
        rows = _counted(walk, advance or (lambda _: None))
        none: dict[str, Any] = {"entries": None, "head": None, "published": None, "against": None}
        try:
            head = ledger.verify(rows)
        except LedgerError as error:
            return {"verdict": "no", **none, "why": error.message, "hint": error.hint}
        except CatalogError as error:
            why = {"why": error.message, "hint": error.hint}
            return {"verdict": "not established", **none, **why}
        if against:
            none["against"] = compared.as_json()
        if differs := compared.why:
            hint = Message(
                "stop the daemon and keep the catalog as it is: the record was changed after the "
                "head was published. Only archived rebuild begins a new ledger; its entry "
                "catalog-rebuilt names the head before"
            )
            return {"verdict": "no", **none, "why": differs, "hint": hint}
        if differs := self._not_as_noted():
            hint = Message(
                "stop the daemon and keep the catalog as it is; what to do is in "
                "docs/operations.md, Catalog and store do not agree"
            )
            return {"verdict": "no", **none, "why": differs, "hint": hint}
        return {
            "verdict": "yes",
            "entries": head.sequence,
            "head": head.hash,
            "published": compared.head.text if head.sequence else None,
            "against": none["against"],
            "why": "",
            "hint": "",
        }

    def _not_as_noted(self) -> str:
        """Why this is not the ledger that the store noted; empty also where that cannot be read."""
        try:
            noted = HeadFile(self._store).read()
        except StoreError:
            return ""  # the next start says so; whoever asks here may lack the right to read it
        if noted is None or hash_at(self._catalog, noted.sequence) == noted.hash:
            return ""
        return Message(
            "entry {sequence} is not the one that was noted in the store", sequence=noted.sequence
        )


def _counted(rows: Iterable[T], advance: Callable[[int], None], every: int = 1000) -> Iterator[T]:
    for done, row in enumerate(rows, start=1):
        yield row
        if done % every == 0:
            advance(done)


def _sheet(sheet: Balance) -> dict[str, Any]:
    return asdict(sheet) | {"unaccounted": sheet.unaccounted}


def _held_file(arrival: Arrival) -> dict[str, Any]:
    return {
        "hotfolder": arrival.hotfolder,
        "name": arrival.name,
        "size": arrival.size,
        "code": arrival.code,
        "reason": arrival.reason,
        "first_seen": arrival.first_seen,
    }


def _brief(row: DocumentRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "state": row.state,
        "hotfolder": row.hotfolder,
        "media_type": row.media_type,
        "size": row.size,
        "pages": row.pages,
        "received": row.received,
        "changed": row.changed,
        "sealed_at": row.sealed_at,
        "safe_at": row.safe_at,
        "next_stage": _next(row),
        "running": row.running is not None,
        "dossier": row.dossier,
        "master": row.master,
        "attempts": row.attempts,
        "postponed": row.postponed,
        "due": row.due,
        "code": row.code,
        "reason": row.reason,
        "hint": row.hint,
    }


def _next(row: DocumentRow) -> str | None:
    return row.stages[row.position] if row.position < len(row.stages) else None


def _state(word: str) -> State:
    try:
        return State(word)
    except ValueError:
        known = ", ".join(State)
        raise ArchivedError(
            Message("{word!r} is not a state", word=word),
            hint=Message("states: {known}", known=known),
            code="bad-question",
        ) from None


def _number(arguments: Arguments, name: str, default: int) -> int:
    try:
        return max(1, int(arguments.get(name, default)))
    except ValueError:
        raise ArchivedError(
            Message("{name}: write a number", name=name), code="bad-question"
        ) from None


def plain(value: Any) -> Any:
    """Dataclasses' values as JSON has them: instants as ISO 8601, paths and enums as text."""
    match value:
        case Mapping():
            return {str(k): plain(v) for k, v in value.items()}
        case list() | tuple():
            return [plain(v) for v in value]
        case datetime():
            return value.isoformat()
        case Message():
            return value
        case bool() | int() | float() | None:
            return value
        case _:
            return str(value)
