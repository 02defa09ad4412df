"""The fork servers of one lane, seen from the daemon: start, socket, end, and replacement."""

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
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from archived.engine.processes import kill_adopted, kill_marked
from archived.errors import AccountError, ArchivedError, PluginError
from archived.message import Message

_log = logging.getLogger("archived.engine")

MARK = "ARCHIVED_RUNNER"
"""Environment variable that every process of one fork server carries from its start."""
GRACE = 15.0
"""Seconds a fork server has for what should take none; then it is killed."""
MESSAGE_LIMIT = 2**20
"""Bytes of one message of a fork server."""
_START_SECONDS = 130.0
_CREDENTIALS = struct.Struct("3i")
"""Process, user and group, as the kernel tells them (`unix(7)`)."""
_PASSED_ON = ("PATH", "TZ", "CREDENTIALS_DIRECTORY", "TESSDATA_PREFIX", "SSL_CERT_FILE")


class ForkServerLost(Exception):
    """The fork server is gone."""


class ForkServerProcess:
    """One life of a fork server: its start, the line to it, its end.

    The line keeps messages apart and carries descriptors (`SOCK_SEQPACKET`). `hear` is given each
    message; when it raises, the line counts as broken. `lost` is told, once, that all is over.

    `workers`: a socket whose every connection the service manager answers with a fork server in an
    account of its own. Without one it is started from here, in the service's own account. Whether
    the one or the other: it ends, with all its steps, when the line does.
    """

    def __init__(
        self,
        hear: Callable[[Mapping[str, Any]], None],
        lost: Callable[[ForkServerProcess, str], None],
        workers: Path | None = None,
    ) -> None:
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
        except (TimeoutError, ValueError, OSError, ForkServerLost) as error:
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
                "archived.engine.worker.forkserver",
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
        raise ForkServerLost("it had ended")

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
                "the line to a fork server failed; it is ended, and another will be started",
                extra={"action": "runner-failed"},
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
            await asyncio.to_thread(_kill_what_is_left, f"{MARK}={self._mark}")

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


def _kill_what_is_left(mark: str) -> None:
    kill_marked(mark, GRACE)
    kill_adopted(GRACE)


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
        return PluginError(Message("the fork server does not start: {error!r}", error=error))
    return AccountError(
        Message(
            "no fork server in an account of its own can be had at {workers}: {error}",
            workers=workers,
            error=error,
        ),
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


Account = Literal["service", "own"]
"""What a stage has instead of its lane's account: the service's, or one that is its alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneSetup:
    """How the steps of a lane are started, besides its plug-ins.

    `preload` names the stages whose heavy modules are loaded in advance (`None`: all); others load
    theirs in every attempt. `environment` is added to the few variables children are given.
    `scratch` is where checks have their folders (else the temporary folder). `workers` is a socket
    behind which fork servers have accounts of their own (see `ForkServerProcess`); then `accounts`
    says of stages that do not share the lane's what they have instead.
    """

    preload: Collection[str] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    scratch: Path | None = None
    workers: Path | None = None
    accounts: Mapping[str, Account] = field(default_factory=dict)


_SHARED, _SERVICE = "", " service"
"""Names of fork servers that no stage can have."""


class ForkServers:
    """In plain mode there is one. Behind `workers` (`LaneSetup`) each has an account of its own:
    one for the lane, one for each stage of `accounts` that is "own". The stages that are "service",
    and whatever is given targets, share one that the daemon starts: what they write to is its.

    A stage whose worker is kept has one of its own, wherever it is started from.

    `hear` and `lost` as for `ForkServerProcess`; `sources` as for `LocalRunner`.
    """

    def __init__(
        self,
        lane: str,
        sources: Sequence[Mapping[str, Any]],
        setup: LaneSetup,
        *,
        hear: Callable[[Mapping[str, Any]], None],
        lost: Callable[[ForkServerProcess, str], None],
    ) -> None:
        self.stages: dict[str, str] = {}
        """Stage name -> version, as the latest of them found them."""
        self.restarts = 0
        """Times one was started anew because it had ended."""
        self._lane = lane
        self._sources = [dict(source) for source in sources]
        self._hear, self._lost = hear, lost
        self._preload = None if setup.preload is None else sorted(setup.preload)
        self._environment = dict(setup.environment)
        self._scratch = setup.scratch
        self._workers = setup.workers
        self._accounts = dict(setup.accounts)
        self._starting = asyncio.Lock()
        self._servers: dict[str, ForkServerProcess] = {}

    @property
    def separate(self) -> Mapping[str, int] | None:
        """Whose steps have an account of their own: of `""`, the lane, or of a stage -> which.

        Of those that are there now. `None` in plain mode: all have the service's.
        """
        if self._workers is None:
            return None
        living = {name: server for name, server in self._servers.items() if server.lives}
        return {name: each.account for name, each in living.items() if each.account is not None}

    @property
    def living(self) -> list[ForkServerProcess]:
        """Those that are there now."""
        return [server for server in self._servers.values() if server.lives]

    async def start(self) -> None:
        """Start the first of them. Raises `PluginError` and `AccountError`."""
        await self._live(next(iter(self._preload_of()), _SHARED))

    async def for_job(self, job: Mapping[str, Any], *, alone: bool) -> ForkServerProcess:
        """One that lives and does this job, and no other if `alone`: then the caller closes it."""
        name = self._name_for(job)
        if not alone:
            return await self._live(name)
        server = self._new(name)
        await self._start(server, name)
        return server

    async def close(self) -> None:
        """End all but those that are alone."""
        async with self._starting:
            await asyncio.gather(*(server.close() for server in self._servers.values()))
            self._servers.clear()

    def _name_for(self, job: Mapping[str, Any]) -> str:
        """Which does a job: the lane's, the service's, or the stage's own."""
        asked = job.get("request", job)
        stage, is_kept = asked["stage"], asked.get("kept", False)
        if self._workers is None:
            return str(stage) if is_kept else _SHARED
        name = _SERVICE if asked.get("targets") else self._name_of(stage)
        if is_kept:
            return f"{_SERVICE} {stage}" if name == _SERVICE else str(stage)
        return name

    def _name_of(self, stage: str | None) -> str:
        match self._accounts.get(stage or ""):
            case "service":
                return _SERVICE
            case "own":
                return str(stage)
        return _SHARED

    def _preload_of(self) -> Mapping[str, list[str] | None]:
        """Fork server -> the stages whose modules it loads in advance."""
        if self._preload is None or self._workers is None:
            return {_SHARED: self._preload}
        wanted: dict[str, list[str]] = {}
        for stage in self._preload:
            wanted.setdefault(self._name_of(stage), []).append(stage)
        return wanted

    def _preload_for(self, name: str) -> list[str] | None:
        wanted = self._preload_of()
        if name in wanted:
            return wanted[name]
        stage = name.removeprefix(_SERVICE).strip()  # that of a kept worker, if it is any's
        return [stage] if stage and (self._preload is None or stage in self._preload) else []

    async def _live(self, name: str) -> ForkServerProcess:
        async with self._starting:
            server = self._servers.get(name)
            if server is not None and server.lives:
                return server
            if server is not None:
                self.restarts += 1
                await server.kill()
            self._servers[name] = server = self._new(name)
            await self._start(server, name)
            return server

    def _new(self, name: str) -> ForkServerProcess:
        workers = None if name.startswith(_SERVICE) else self._workers
        return ForkServerProcess(self._hear, self._lost, workers)

    async def _start(self, server: ForkServerProcess, name: str) -> None:
        if self._scratch is not None and self._workers is not None:
            self._scratch.chmod(0o755)  # each folder in it says itself who may enter
        scratch = None if self._scratch is None else str(self._scratch)
        start = {
            "do": "start",
            "sources": self._sources,
            "preload": self._preload_for(name),
            "scratch": scratch,
        }
        ready = await server.start(start, self._environment)
        self.stages = ready["stages"]
        if ready["threads"] > 1:
            _log.warning(
                "lane %s: a plug-in started threads while being imported; forking a process "
                "with threads can hang its children, which then run into their timeout",
                self._lane,
            )
