"""One life of a fork server, seen from the daemon: its start, the line to it, its end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import os
import secrets
import socket
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from archived.engine.marked import kill_marked
from archived.errors import AccountError, ArchivedError, PluginError

_log = logging.getLogger("archived.engine")

MARK = "ARCHIVED_RUNNER"
"""Environment variable that every process of one fork server carries from birth."""
GRACE = 15.0
"""Seconds a fork server has for what should take none; then it is killed."""
MESSAGE_LIMIT = 2**20
"""Bytes of one message of a fork server."""
_START_SECONDS = 130.0
_CREDENTIALS = struct.Struct("3i")
"""Process, user and group, as the kernel tells them (`unix(7)`)."""
_PASSED_ON = ("PATH", "TZ", "CREDENTIALS_DIRECTORY", "TESSDATA_PREFIX", "SSL_CERT_FILE")


class Lost(Exception):
    """The fork server is gone."""


class Server:
    """One life of a fork server: its start, the line to it, its end.

    The line keeps messages apart and carries descriptors (`SOCK_SEQPACKET`). `hear` is given each
    message; when it raises, the line counts as broken. `lost` is told, once, that all is over.

    `workers`: a socket whose every connection the service manager answers with a fork server in an
    account of its own. Without one it is started from here, in the service's own account. Whether
    the one or the other: it ends, with all its steps, when the line does.
    """

    def __init__(
        self, hear: Callable[[Mapping[str, Any]], None], lost: Callable[[Server, str], None],
        workers: Path | None = None,
    ) -> None:  # fmt: skip
        self._hear = hear
        self._lost = lost
        self._workers = workers
        self._mark = secrets.token_hex(16)
        self._process: asyncio.subprocess.Process | None = None
        self._line: socket.socket | None = None
        self._sending = asyncio.Lock()
        self._writable = asyncio.Event()
        self._listening: asyncio.Task[None] | None = None
        self.lives = False
        self.account: int | None = None
        """The account of its steps, by the kernel's word, where it is not the service's own."""

    async def start(
        self, start: Mapping[str, Any], environment: Mapping[str, str]
    ) -> dict[str, Any]:
        """Start it and wait until its plug-ins are loaded. Raises `PluginError`, `AccountError`."""
        environment = _environment(environment)
        try:
            if self._workers is None:
                await self._spawn(environment)
            else:
                self._line = await _connected(self._workers)
                start = {**start, "environment": environment}
        except OSError as error:
            raise _cannot_start(error, self._workers) from error
        self.lives = True
        try:
            await self.send(start)
            async with asyncio.timeout(_START_SECONDS):
                said, account = await self._first()
            ready: dict[str, Any] = json.loads(said or "{}")
            if self._workers is not None and ready.get("did") == "ready":
                self.account = _separate(account)
        except (TimeoutError, ValueError, OSError, Lost) as error:
            await self.kill()
            raise _cannot_start(error, self._workers) from error
        except BaseException:
            await self.kill()
            raise
        if ready.get("did") != "ready":
            await self._end()  # it ends by itself; a signal sent now could hide its own status
            kind = AccountError if ready.get("code") == AccountError.code else PluginError
            raise kind(
                ready.get("message", f"the fork server ended while starting ({self._status()})"),
                hint=ready.get("hint", "the journal may say more"),
            )
        self._listening = asyncio.create_task(self._listen())
        return ready

    async def _spawn(self, environment: Mapping[str, str]) -> None:
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
                env={**environment, MARK: self._mark},
            )

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

    async def _first(self) -> tuple[bytes, int | None]:
        """The first message, and whose process sent it, where the line tells (`SO_PASSCRED`)."""
        assert self._line is not None  # noqa: S101 - start() came before
        loop, readable = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._line, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(self._line)
        try:
            said, beside, _, _ = self._line.recvmsg(
                MESSAGE_LIMIT, socket.CMSG_SPACE(_CREDENTIALS.size), socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionError:
            return b"", None
        for level, kind, data in beside:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                return said, _CREDENTIALS.unpack(data)[1]
        return said, None

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
        """After the line is cut: nothing of it may survive, then its steps are told.

        What is in another account cannot be killed from here. The kernel kills the steps with
        their fork server, and the service manager whatever else is left in its control group.
        """
        self.lives = False
        if self._line is not None and self._line.fileno() >= 0:  # else it had ended before
            asyncio.get_running_loop().remove_writer(self._line)
            self._line.close()
        self._writable.set()
        try:
            if self._process is not None:
                await self._waited_for(self._process)
        finally:  # whatever happens: a step that is not told waits for its whole timeout
            self._lost(self, self._status())

    async def _waited_for(self, process: asyncio.subprocess.Process) -> None:
        try:
            async with asyncio.timeout(GRACE):
                status = await process.wait()
        except TimeoutError:
            process.kill()
            status = await process.wait()
        if status != 0:  # else it has seen to its children itself
            await asyncio.to_thread(kill_marked, f"{MARK}={self._mark}", GRACE)

    def _status(self) -> str:
        if self._process is None:
            return "the line to it was cut"
        return f"status {self._process.returncode}"

    async def close(self) -> None:
        """Cut the line; the fork server kills what it started and exits."""
        if self._listening is None:
            await self.kill()
            return
        if self._line is not None and self._line.fileno() >= 0:
            # Of one in another account its own end tells that its steps are gone.
            how = socket.SHUT_RDWR if self._workers is None else socket.SHUT_WR
            with contextlib.suppress(OSError):
                self._line.shutdown(how)
        try:
            async with asyncio.timeout(2 * GRACE):
                await asyncio.shield(self._listening)
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """For a fork server that does not answer or did not get through its start."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        if self._process is None and self._line is not None and self._line.fileno() >= 0:
            with contextlib.suppress(OSError):
                self._line.shutdown(socket.SHUT_RDWR)
        if self._listening is not None:
            await self._listening
        elif self._line is not None:
            await self._end()


async def _connected(workers: Path) -> socket.socket:
    """A line to a new fork server in an account of its own. Raises `OSError`."""
    line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        line.setblocking(False)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        async with asyncio.timeout(GRACE):
            await asyncio.get_running_loop().sock_connect(line, str(workers))
        _demand_service_manager(line)
    except BaseException:
        line.close()
        raise
    return line


def _demand_service_manager(line: socket.socket) -> None:
    """Raises `OSError` unless root listens there: the kernel's word of whoever made the socket."""
    credentials = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    user = _CREDENTIALS.unpack(credentials)[1]
    if user != 0:
        raise PermissionError(errno.EPERM, f"user {user} listens there, not the service manager")


def _separate(account: int | None) -> int:
    """The account, when it is neither the service's nor root's. Raises `OSError`."""
    if account is None or account in (0, os.geteuid()):
        raise PermissionError(
            errno.EPERM, f"the fork server runs as user {account}, which is no account of its own"
        )
    return account


def _cannot_start(error: BaseException, workers: Path | None) -> ArchivedError:
    if workers is None:
        return PluginError(f"the fork server does not start: {error!r}")
    return AccountError(
        f"no fork server in an account of its own can be had at {workers}: {error}",
        hint="look at: systemctl status archived-worker.socket 'archived-worker@*'",
    )


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    """Little is passed on, so that a step depends on the configuration alone."""
    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    one_thread = dict.fromkeys(
        ("OMP_THREAD_LIMIT", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
    )
    # Many arenas take address space, which is what the memory limit counts.
    fixed = {"PATH": os.defpath, "LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "2"}
    return {**fixed, **one_thread, **passed, **more}
