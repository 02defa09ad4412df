"""The process around a daemon: its signals, its lock, room for its threads. Decides nothing."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import resource
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from archived.config import Settings
from archived.errors import ArchivedError, CatalogError
from archived.storage.store import Store

if TYPE_CHECKING:
    from archived.daemon.daemon import Daemon

_SPARE_THREADS = 32
"""Threads besides one per hot folder: a folder on a hung share keeps its thread for ever."""


_OPEN_FILES = 1 << 16


async def serve(settings: Settings) -> None:
    """Run a daemon until SIGTERM or SIGINT; SIGHUP reloads."""
    from archived.daemon.daemon import Daemon

    await run_with_signals(Daemon(settings))


async def run_with_signals(daemon: Daemon) -> None:
    """As `serve`, for a daemon that is built already."""
    _may_open_many_files()
    loop = asyncio.get_running_loop()
    loop.set_default_executor(
        ThreadPoolExecutor(_SPARE_THREADS + 2 * len(daemon.settings.hotfolders), "archived")
    )
    reloads: set[asyncio.Task[None]] = set()

    async def reload_quietly() -> None:
        with contextlib.suppress(ArchivedError):  # logged and counted where it was refused
            await daemon.reload()

    def hang_up() -> None:
        task = loop.create_task(reload_quietly())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    # A lease being broken (see `watcher.has_writer`) must not end the process.
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, daemon.stop)
    loop.add_signal_handler(signal.SIGHUP, hang_up)
    await daemon.run()


def _may_open_many_files() -> None:
    """The usual 1024 are for programs that use select(2); whoever holds as many connections to our
    port open would keep us from opening a scan.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextlib.contextmanager
def only_one(state: Path) -> Iterator[None]:
    """Hold the state folder's lock: two daemons on one would each think they own it."""
    try:
        state.mkdir(parents=True, exist_ok=True)
        handle = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise unusable(state, error) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ArchivedError(
                f"{state}: another archived is running here",
                hint="systemctl status archived", code="already-running",
            ) from None  # fmt: skip
        yield
    finally:
        os.close(handle)


def unusable(state: Path, error: OSError) -> ArchivedError:
    """The state folder is not there, or not for us."""
    return ArchivedError(
        f"{state}: cannot be used ({error.strerror})",
        hint="make the folder and give it to the user that runs archived", code="no-state",
    )  # fmt: skip


def no_second_history(catalog: Path, store: Store) -> None:
    """Refuse to make a catalog beside a store with objects. Raises `CatalogError`.

    Opening makes the file when it is not there, and an empty one in its place would look like a
    catalog to whoever comes to restore it.
    """
    if catalog.exists() or next(store.objects(), None) is None:
        return
    raise CatalogError(
        f"{catalog}: there is no catalog, but there are objects in {store.root}",
        hint=f"nothing was made or changed. Is the right disk mounted? Restore the catalog from a "
        f"backup (cp BACKUP/{catalog.name} {catalog}), then, or at once without a backup: "
        "archived rebuild; or, if this is to be a new archive, give it a store of its own",
        code="catalog-lost",
    )
