"""Compares the two books of the balance sheet, ledger and catalog, now and then, for the figures.

It reads every entry there is, so it happens in a process of its own, after everybody else's work.
`archivectl account` does the same at once and says which files, and why.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import structlog

from archived.storage.catalog import Catalog
from archived.storage.reconcile_query import settled

_log = structlog.get_logger("archived.observe")

_FIRST = 60.0
_PAUSE = 3600.0
_SHARE = 50
"""How much longer than a comparison the pause after it is, at least."""


class Reconciler:
    """The latest comparison. `run` makes them."""

    def __init__(self, catalog: Path, first: float = _FIRST, pause: float = _PAUSE) -> None:
        self._catalog = catalog
        self._first = first
        self._pause = pause
        self.unaccounted: Mapping[str, int] = {}
        """Hot folder -> files that are in no column, or of which the books tell differently."""
        self.compared: float | None = None
        """When that was (Unix time); `None` before the first comparison."""

    async def run(self) -> None:
        """Until cancelled."""
        await repeat(self.compare, self._first, self._pause, _SHARE)

    async def compare(self) -> None:
        """Once. When it fails the result before it stays, and its age shows that."""
        try:
            said = await in_own_process("archived.observe.reconciler", self._catalog)
        except RuntimeError as error:
            _log.warning(
                "the books could not be compared", action="ledger-not-compared", why=str(error)
            )
            return
        self.unaccounted = json.loads(said)
        self.compared = time.time()


async def repeat(
    work: Callable[[], Awaitable[None]], first: float, pause: float, share: int
) -> None:
    """Do `work` until cancelled: after `first` seconds, and then after a pause each time.

    The pause is `pause` seconds, or `share` times as long as the work took, if that is longer.
    """
    await asyncio.sleep(first)
    while True:
        began = time.monotonic()
        await work()
        await asyncio.sleep(max(pause, share * (time.monotonic() - began)))


async def in_own_process(module: str, *arguments: Path) -> bytes:
    """What a module prints that is run as a program. Raises `RuntimeError` with its last words."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        module,
        *map(str, arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        said, complaint = await process.communicate()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    if process.returncode != 0:
        raise RuntimeError(complaint.decode(errors="replace").strip().rpartition("\n")[2])
    return said


def be_nice() -> None:
    """Let everybody else go first."""
    with contextlib.suppress(OSError):  # a hardened unit forbids it and sets Nice= itself
        os.nice(19)


def main() -> None:
    """The process: prints hot folder -> files unaccounted for, as JSON."""
    be_nice()
    catalog = Catalog.open_to_read(Path(sys.argv[1]))
    found = Counter(file.hotfolder for file in settled(catalog) if file.column is None or file.why)
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
