"""The process around a daemon: its signals, room for its threads and its open files."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
from concurrent.futures import ThreadPoolExecutor

from archived.config import Settings
from archived.daemon.daemon import Daemon
from archived.engine.sandbox.confinement import adopt_orphans
from archived.errors import ArchivedError

_SPARE_THREADS = 32
"""Threads besides one per hot folder: a folder on a hung share keeps its thread for ever."""


_OPEN_FILES = 1 << 16


async def serve(settings: Settings) -> None:
    """Run a daemon until SIGTERM or SIGINT; SIGHUP reloads."""
    await run_with_signals(Daemon(settings))


async def run_with_signals(daemon: Daemon) -> None:
    """As `serve`, for a daemon that is built already."""
    _may_open_many_files()
    adopt_orphans()  # what a fork server leaves that is killed: see `processes.kill_adopted`
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
