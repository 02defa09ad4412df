"""Compares catalog, ledger and store once a day, after everybody else's work.

It does so in a process of its own, which reads every inventory and no content
(`storage.store_comparison`). `archivectl compare` shows what was found, or compares at once.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from archived.message import with_messages, with_parts
from archived.observe.reconciler import be_nice, in_own_process, repeat
from archived.storage.catalog import Catalog
from archived.storage.ocfl.store import Store
from archived.storage.store_comparison import KINDS, Difference, compare

_log = structlog.get_logger("archived.observe")

FIRST = 300.0
"""Seconds from a start to the first comparison."""
SOON = 5.0
"""The same, when the start already found that something differs."""
_PAUSE = 86400.0
_SHARE = 10
"""How much longer than a comparison the pause after it is, at least."""
_MOST_NAMED = 200
"""Of each kind; all are counted."""


class StoreAudit:
    """The latest comparison. `run` makes them."""

    def __init__(
        self, catalog: Path, store: Path, first: float = FIRST, pause: float = _PAUSE
    ) -> None:
        self._catalog, self._store = catalog, store
        self._first, self._pause = first, pause
        self.result: Mapping[str, Any] | None = None
        """As `compared` gives it; `None` before the first comparison."""

    @property
    def counts(self) -> Mapping[str, int]:
        """Kind -> how many differences were found; every kind, once it was compared."""
        return {} if self.result is None else self.result["counts"]

    @property
    def at(self) -> float | None:
        """When the last comparison ended (Unix time)."""
        if self.result is None:
            return None
        return datetime.fromisoformat(self.result["at"]).timestamp()

    async def run(self) -> None:
        """Until cancelled."""
        await repeat(self.compare, self._first, self._pause, _SHARE)

    async def compare(self) -> None:
        """Once. When it fails the result before it stays, and its age shows that."""
        try:
            said = await in_own_process("archived.observe.store_audit", self._catalog, self._store)
        except RuntimeError as error:
            _log.warning(
                "catalog and store could not be compared",
                action="store-not-compared",
                why=str(error),
            )
            return
        self.result = with_messages(json.loads(said))
        found = {kind: n for kind, n in self.counts.items() if n}
        if found:
            _log.error(
                "catalog and store do not agree; archivectl compare names what differs",
                action="store-differs",
                **found,
            )


def compared(store: Store, catalog: Catalog) -> dict[str, Any]:
    """Compare now. JSON values, as documented in docs/archivectl.md.

    Raises `CatalogError`, `OSError`.
    """
    counts: Counter[str] = Counter()
    named: list[dict[str, Any]] = []
    for each in compare(store, catalog):
        counts[each.kind] += 1
        if counts[each.kind] <= _MOST_NAMED:
            commands = _commands(each, catalog.path, store.ocfl)
            named.append({**asdict(each), "copies": list(each.copies), "commands": commands})
    return {
        "at": datetime.now(UTC).isoformat(),
        "counts": {kind: counts[kind] for kind in KINDS},
        "differences": named,
    }


_REBUILD = (
    "systemctl stop archived",
    "runuser -u archived -- archived rebuild",
    "systemctl start archived",
)


def _commands(it: Difference, catalog: Path, store: Path) -> list[str]:
    """What to type, in order. What needs a decision first is in docs/operations.md."""
    match it.kind:
        case "ledger-broken" | "not-sealed":
            return [
                "systemctl stop archived",
                f"mkdir -p {catalog.parent}/aside",
                f"mv {catalog}* {catalog.parent}/aside/",
                f"cp BACKUP/{catalog.name} {catalog}",
                f"chown archived: {catalog}",
                *_REBUILD[1:],
            ]
        case "object-missing" | "object-differs" | "object-damaged":
            aside = [] if it.kind == "object-missing" else [f"mv {store}/{it.key} ASIDE/"]
            return [
                f"archivectl show {it.document}",
                "systemctl stop archived",
                *aside,
                f"cp -a TARGET/ocfl/{it.key} {store}/{it.key}",
                f"chown -R archived: {store}/{it.key}",
                "systemctl start archived",
            ]
        case "object-unreadable":
            return ["dmesg", f"ls -l {store}/{it.key}"]
        case _:
            return list(_REBUILD)


def main() -> None:
    """The process: prints what `compared` gives."""
    be_nice()
    catalog = Catalog.open_to_read(Path(sys.argv[1]))
    sys.stdout.write(json.dumps(with_parts(compared(Store(Path(sys.argv[2])), catalog))))


if __name__ == "__main__":
    main()
