"""One life of a fork server process, seen from the daemon: its start, the line to it, its end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from archived.engine.boundary import LINE_LIMIT
from archived.errors import PluginError

_log = logging.getLogger("archived.engine")

MARK = "ARCHIVED_RUNNER"
"""Environment variable that every process of one fork server carries from birth."""
GRACE = 15.0
"""Seconds a fork server has for what should take none; then it is killed."""
_START_SECONDS = 130.0
_PASSED_ON = ("PATH", "TZ", "CREDENTIALS_DIRECTORY", "TESSDATA_PREFIX", "SSL_CERT_FILE")


class Lost(Exception):
    """The fork server is gone."""


class Server:
    """One life of a fork server process: its start, the line to it, its end."""

    def __init__(
        self, hear: Callable[[Mapping[str, Any]], None], lost: Callable[[str], None]
    ) -> None:
        self._hear = hear
        self._lost = lost
        self._mark = secrets.token_hex(16)
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._listening: asyncio.Task[None] | None = None
        self.lives = False

    async def start(
        self, start: Mapping[str, Any], environment: Mapping[str, str]
    ) -> dict[str, Any]:
        """Start it and wait until its plug-ins are loaded. Raises `PluginError`."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "archived.engine.forkserver",
                str(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                env=_environment(environment) | {MARK: self._mark},
            )
        reader, self._writer = await asyncio.open_connection(sock=ours, limit=LINE_LIMIT)
        self.lives = True
        try:
            await self.send(start)
            async with asyncio.timeout(_START_SECONDS):
                line = await reader.readline()
            ready: dict[str, Any] = json.loads(line or "{}")
        except (TimeoutError, ValueError, Lost) as error:
            await self.kill()
            raise PluginError(f"the fork server does not start: {error!r}") from error
        except asyncio.CancelledError:
            await self.kill()
            raise
        if ready.get("did") != "ready":
            await self._end()  # it ends by itself; a signal sent now could hide its own status
            status = self._process.returncode
            raise PluginError(
                ready.get("message", f"the fork server ended while starting (status {status})"),
                hint=ready.get("hint", "the journal may say more"),
            )
        self._listening = asyncio.create_task(self._listen(reader))
        return ready

    async def send(self, message: Mapping[str, Any]) -> None:
        """Send one message; into the void when the fork server is gone (its loss is told)."""
        if self._writer is None or not self.lives:
            raise Lost("it had ended")
        self._writer.write(json.dumps(message).encode() + b"\n")
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                self._hear(json.loads(line))
        except (ConnectionError, ValueError) as error:
            _log.error("the line to the fork server broke: %r", error)
        await self._end()

    async def _end(self) -> None:
        """After the line is cut: nothing of it may survive, then its steps are told."""
        self.lives = False
        assert self._process is not None  # noqa: S101 - start() came before
        if self._writer is not None:
            self._writer.close()
        try:
            async with asyncio.timeout(GRACE):
                status = await self._process.wait()
        except TimeoutError:
            self._process.kill()
            status = await self._process.wait()
        try:
            if status != 0:  # else it has seen to its children itself
                await asyncio.to_thread(_kill_marked, self._mark)
        finally:  # whatever happens: a step that is not told waits for its whole timeout
            self._lost(f"status {status}")

    async def close(self) -> None:
        """Cut the line; the fork server kills what it started and exits."""
        if self._listening is None:
            await self.kill()
            return
        if self._writer is not None:
            self._writer.close()
        await self._listening

    async def kill(self) -> None:
        """For a fork server that does not answer or did not get through its start."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        if self._listening is not None:
            await self._listening
        elif self._process is not None:
            await self._end()


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    """Little is passed on, so that a step depends on the configuration alone."""
    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    one_thread = dict.fromkeys(
        ("OMP_THREAD_LIMIT", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
    )
    # Many arenas take address space, which is what the memory limit counts.
    fixed = {"PATH": os.defpath, "LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "2"}
    return {**fixed, **one_thread, **passed, **more}


def _kill_marked(mark: str, rounds: int = 50) -> None:
    """Kill what a dead fork server left: processes born with its mark in their environment.

    A process that replaced its whole environment is not found; a service manager's control group
    (systemd's `KillMode=`) is what gets those.
    """
    needle = f"{MARK}={mark}".encode()
    for _ in range(rounds):
        found = False
        try:
            entries = list(Path("/proc").iterdir())
        except OSError:  # out of open files, say
            time.sleep(0.1)
            continue
        for entry in entries:
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                if needle in (entry / "environ").read_bytes():
                    found = True
                    os.kill(int(entry.name), signal.SIGKILL)
        if not found:
            return
