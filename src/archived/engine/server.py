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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from archived.errors import PluginError

_log = logging.getLogger("archived.engine")

MARK = "ARCHIVED_RUNNER"
"""Environment variable that every process of one fork server carries from birth."""
GRACE = 15.0
"""Seconds a fork server has for what should take none; then it is killed."""
MESSAGE_LIMIT = 2**20
"""Bytes of one message of a fork server."""
_START_SECONDS = 130.0
_PASSED_ON = ("PATH", "TZ", "CREDENTIALS_DIRECTORY", "TESSDATA_PREFIX", "SSL_CERT_FILE")


class Lost(Exception):
    """The fork server is gone."""


class Server:
    """One life of a fork server process: its start, the line to it, its end.

    The line keeps messages apart and carries descriptors (`SOCK_SEQPACKET`). `hear` is given each
    message; when it raises, the line counts as broken. `lost` is told, once, that all is over.
    """

    def __init__(
        self, hear: Callable[[Mapping[str, Any]], None], lost: Callable[[Server, str], None]
    ) -> None:
        self._hear = hear
        self._lost = lost
        self._mark = secrets.token_hex(16)
        self._process: asyncio.subprocess.Process | None = None
        self._line: socket.socket | None = None
        self._sending = asyncio.Lock()
        self._writable = asyncio.Event()
        self._listening: asyncio.Task[None] | None = None
        self.lives = False

    async def start(
        self, start: Mapping[str, Any], environment: Mapping[str, str]
    ) -> dict[str, Any]:
        """Start it and wait until its plug-ins are loaded. Raises `PluginError`."""
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._line.setblocking(False)
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
        self.lives = True
        try:
            await self.send(start)
            async with asyncio.timeout(_START_SECONDS):
                ready: dict[str, Any] = json.loads(await self._receive() or "{}")
        except (TimeoutError, ValueError, OSError, Lost) as error:
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
        self._listening = asyncio.create_task(self._listen())
        return ready

    async def send(self, message: Mapping[str, Any], fds: Sequence[int] = ()) -> None:
        """Send one message and descriptors; into the void when the fork server goes meanwhile (its
        loss is told). Raises `Lost` when it had ended before.
        """
        data = json.dumps(message).encode()
        async with self._sending:
            while self.lives and self._line is not None:
                try:
                    socket.send_fds(self._line, [data], list(fds))
                except BlockingIOError:
                    await self._until_writable(self._line)
                except (ConnectionError, BrokenPipeError):
                    return
                else:
                    return
        raise Lost("it had ended")

    async def _until_writable(self, line: socket.socket) -> None:
        """Or until the end, which `send` finds out by itself."""
        self._writable.clear()
        loop = asyncio.get_running_loop()
        loop.add_writer(line, self._writable.set)
        try:
            await self._writable.wait()
        finally:
            if line.fileno() >= 0:
                loop.remove_writer(line)

    async def _receive(self) -> bytes:
        """The next message; empty when there is none any more."""
        assert self._line is not None  # noqa: S101 - start() came before
        try:
            return await asyncio.get_running_loop().sock_recv(self._line, MESSAGE_LIMIT)
        except ConnectionError:
            return b""

    async def _listen(self) -> None:
        try:
            while message := await self._receive():
                self._hear(json.loads(message))
        except Exception:  # noqa: BLE001 - a lane must not go deaf: it gets another fork server
            _log.exception(
                "the line to a fork server broke; it is ended, and another will be started",
                extra={"action": "runner-broke"},
            )
        await self._end()

    async def _end(self) -> None:
        """After the line is cut: nothing of it may survive, then its steps are told."""
        self.lives = False
        assert self._process is not None  # noqa: S101 - start() came before
        if self._line is not None and self._line.fileno() >= 0:  # else it had ended before
            asyncio.get_running_loop().remove_writer(self._line)
            self._line.close()
        self._writable.set()
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
            self._lost(self, f"status {status}")

    async def close(self) -> None:
        """Cut the line; the fork server kills what it started and exits."""
        if self._listening is None:
            await self.kill()
            return
        if self._line is not None and self._line.fileno() >= 0:
            with contextlib.suppress(OSError):
                self._line.shutdown(socket.SHUT_RDWR)
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
