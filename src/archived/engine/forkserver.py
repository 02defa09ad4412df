"""A warm process that forks one child per step, watches it, and cleans up after it.

Single-threaded, and it never runs a stage's code itself beyond importing it. Start it with
`python -P -m archived.engine.forkserver FD [USER]`; it ends, with everything it started, when the
other end of the socket FD does. The daemon starts it in its own account, or the service manager
does in another; USER is then whom it serves.

Messages are JSON objects, one a packet. In: `start`, `job`, `kill`. Out: `ready` or `failed`,
`ended`. A job brings three descriptors for its child: to read what it is asked from, to answer on,
to print on; and one for each secret that is handed over. Nothing of them is read here: what one
step is asked or says is data of a stranger, and must not be in the memory that the next one is
forked with.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import json
import os
import pwd
import selectors
import signal
import socket
import struct
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from archived.engine import births, sandbox, syscall_table
from archived.engine.births import TooMany
from archived.engine.broker import Brokers
from archived.engine.child import Child
from archived.engine.descent import own_children
from archived.engine.handover import SECRETS_LIMIT
from archived.engine.listener import Listener
from archived.engine.registry import Registry, load_plugins, preload
from archived.engine.worker import child as worker
from archived.errors import AccountError, PluginError

START_SECONDS = 120
"""Importing every plug-in must be done by then, or the fork server is killed by its alarm."""
_STRAYS_SECONDS = 10.0
_STRAYS_POLL = 0.01
_MESSAGE_LIMIT = 2**20
_DESCRIPTORS = 3
_CREDENTIALS = struct.Struct("3i")
_WORDS = 8000


class ForkServer:
    """The loop. `link` is the socket to the daemon."""

    def __init__(self, link: socket.socket, watchdog: Watchdog | None = None) -> None:
        self.link = link
        self._watchdog = watchdog
        self.registry = Registry()
        self.children: dict[str, Child] = {}
        self.selector = selectors.DefaultSelector()
        self.brokers = Brokers()

    def load(self, start: Mapping[str, Any]) -> None:
        """Import what the start message names, and say what was found."""
        signal.alarm(START_SECONDS)
        _use_environment(start.get("environment", {}))
        try:
            self._demand_scratch(start.get("scratch"))
            self.registry = load_plugins(start["sources"])
            preload(self.registry, start["preload"])
        except (PluginError, AccountError) as error:
            self.tell({
                "did": "failed", "message": error.message[:_WORDS], "hint": error.hint[:_WORDS],
                "code": error.code,
            })  # fmt: skip
            raise SystemExit(1) from error
        with contextlib.suppress(OSError):
            syscall_table.table()  # else every child would read it
        signal.alarm(0)
        sys.dont_write_bytecode = True  # what a child imports late is not kept beside its source
        sys.stdout.flush()  # else every child would print again what an import printed
        gc.collect()
        gc.freeze()  # else every child's first collection would copy all of it
        self.tell(
            {
                "did": "ready",
                "stages": {name: s.version for name, s in self.registry.stages.items()},
                "targets": {kind: t.version for kind, t in self.registry.targets.items()},
                "threads": len(list(Path("/proc/self/task").iterdir())),
            }
        )

    @staticmethod
    def _demand_scratch(scratch: str | None) -> None:
        """Raises `AccountError` when steps could not get to their folders in `scratch`."""
        try:
            if scratch is not None:
                os.close(os.open(f"{scratch}/.", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        except OSError as error:
            raise AccountError(
                f"steps in an account of their own cannot get to {scratch}: {error.strerror}",
                hint="[archive] state is not where the unit archived-worker@ expects it: see "
                "state.conf among the examples for systemd",
            ) from error

    def serve(self) -> None:
        """Answer until the daemon is gone."""
        self.load(self._first())
        self.selector.register(self.link, selectors.EVENT_READ, self._hear)
        while True:
            for key, _ in self.selector.select(self._patience()):
                key.data()
            now = time.monotonic()
            for child in self.children.values():
                if now >= child.ends:
                    child.kill("timed-out")
            self._sweep(now)

    def tell(self, message: Mapping[str, Any]) -> None:
        """Send one message to the daemon."""
        self.link.send(json.dumps(message).encode())

    def _first(self) -> dict[str, Any]:
        first: dict[str, Any] = json.loads(self._receive()[0])
        return first

    def _receive(self) -> tuple[bytes, list[int]]:
        try:
            message, fds, _, _ = socket.recv_fds(
                self.link, _MESSAGE_LIMIT, _DESCRIPTORS + SECRETS_LIMIT
            )
        except ConnectionError:
            message, fds = b"", []
        if not message:
            self.end()
        for fd in fds:
            os.set_inheritable(fd, False)
        return message, fds

    def _hear(self) -> None:
        data, fds = self._receive()
        message = json.loads(data)
        try:
            if message["do"] == "job":
                self._fork(message, fds)
            elif child := self.children.get(message["step"]):
                child.kill(message["why"])
        finally:
            for fd in fds:
                os.close(fd)

    def _patience(self) -> float | None:
        least = self._until_event()
        if self._watchdog is None:
            return least
        self._watchdog.feed()
        return min(self._watchdog.every, self._watchdog.every if least is None else least)

    def _until_event(self) -> float | None:
        waiting = [c.ends for c in self.children.values() if c.end is None and not c.why]
        until = max(0.0, min(waiting) - time.monotonic()) if waiting else None
        if any(child.end for child in self.children.values()):
            return min(_STRAYS_POLL, until if until is not None else _STRAYS_POLL)
        return until

    def _fork(self, job: dict[str, Any], fds: list[int]) -> None:
        began, parent = time.monotonic(), os.getpid()
        hand_over: list[int] = []
        if len(fds) != _DESCRIPTORS + job["secrets"]:
            # The kernel drops those that find no room in our table.
            self._cannot(job, OSError(errno.EMFILE, os.strerror(errno.EMFILE)))
            return
        try:
            hand_over += (end.detach() for end in socket.socketpair())
            pid = os.fork()
        except OSError as error:
            for end in hand_over:
                os.close(end)
            self._cannot(job, error)
            return
        hand, hand_in = hand_over
        if pid == 0:
            with contextlib.suppress(BaseException):
                self._let_go(hand)
            asked, reply, output, *secrets = fds
            worker.serve(self.registry, parent, asked, reply, output, hand_in, secrets)
        os.close(hand_in)
        try:
            watch = os.pidfd_open(pid)
        except OSError as error:  # nobody would tell us of its end
            os.close(hand)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            self._cannot(job, error)
            return
        child = Child(
            step=job["step"],
            pid=pid,
            watch=watch,
            began=began,
            ends=began + job["seconds"],
            listener=Listener(pid, job["processes"], self.brokers),
            hand=hand,
        )
        self.children[child.step] = child
        self._watch(child, child.watch, self._reap)
        self._watch(child, hand, self._take_listener)

    def _watch(self, child: Child, fd: int, act: Callable[[Child], None]) -> None:
        """Do `act` when the descriptor is ready. What fails for one step ends that step alone."""

        def ready() -> None:
            try:
                act(child)
            except OSError:
                traceback.print_exc()
                child.kill("step-unwatched")

        self.selector.register(fd, selectors.EVENT_READ, ready)

    def _take_listener(self, child: Child) -> None:
        if child.hand < 0:
            return
        child.asks, child.listener.folders = births.take_listener(child.hand)
        self._close(child, "hand")
        if child.asks >= 0:
            self._watch(child, child.asks, self._answer_birth)

    def _answer_birth(self, child: Child) -> None:
        if child.asks < 0:
            return
        try:
            child.listener.answer(child.asks)
        except EOFError:
            self._close(child, "asks")
        except TooMany:
            child.kill("too-many-processes")
            child.listener.close()
            self._close(child, "asks")  # whoever left its group has no more children either

    def _cannot(self, job: Mapping[str, Any], error: OSError) -> None:
        """The system has no process or descriptor to spare: the other steps go on all the same."""
        self.tell(
            {
                "did": "ended",
                "step": job["step"],
                "why": "",
                "status": None,
                "signal": None,
                "usage": {},
                "refused": {},
                "cannot_start": str(error),
                "strays": 0,
            }
        )

    def _let_go(self, hand: int) -> None:
        """In a fresh child: drop every descriptor that belongs to the fork server."""
        self.link.close()
        self.selector.close()
        self.brokers.let_go()
        for child in self.children.values():
            for fd in (child.watch, child.hand, child.asks):
                if fd >= 0:
                    os.close(fd)
            child.listener.let_go()
        os.close(hand)

    def _close(self, child: Child, fd_name: str) -> None:
        fd: int = getattr(child, fd_name)
        if fd >= 0:
            setattr(child, fd_name, -1)
            self.selector.unregister(fd)
            os.close(fd)

    def _reap(self, child: Child) -> None:
        if os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)  # before the wait, while the number is still ours
        _, status, used = os.wait4(child.pid, 0)
        for fd_name in ("watch", "hand", "asks"):
            self._close(child, fd_name)
        child.listener.close()
        now = time.monotonic()
        code = os.waitstatus_to_exitcode(status)
        child.sweep_until = now + _STRAYS_SECONDS
        child.end = {
            "status": code if code >= 0 else None,
            "signal": -code if code < 0 else None,
            "usage": {
                "wall": now - child.began,
                "cpu": used.ru_utime + used.ru_stime,
                "peak_memory": used.ru_maxrss * 1024,
            },
        }

    def _sweep(self, now: float) -> None:
        """Kill what dead steps left behind; report a step when nothing of it is left.

        Each step adopts its own orphans while it lives. So whoever is our child and is not a
        living step descends from a dead one, whatever group or session it chose.
        """
        dead = [child for child in self.children.values() if child.end is not None]
        if not dead:
            return
        strays = self._kill_strays()
        for child in dead:
            if not strays or now >= child.sweep_until:
                self._report(child, strays)

    def _kill_strays(self) -> int:
        living = {child.pid for child in self.children.values() if child.end is None}
        living |= self.brokers.pids
        try:
            strays = [pid for pid in own_children() if pid not in living]
        except OSError:  # nobody can be seen now; until somebody can, there may be one
            return 1
        for pid in strays:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, os.WNOHANG)
        # Those just killed leave their own children to us: all is quiet only when none was found.
        return len(strays)

    def _report(self, child: Child, strays: int) -> None:
        del self.children[child.step]
        self.tell(
            {
                "did": "ended",
                "step": child.step,
                "why": child.why,
                **(child.end or {}),
                "refused": dict(child.listener.refused),
                "cannot_start": "",
                "strays": strays,
            }
        )

    def end(self) -> NoReturn:
        """Leave nothing behind and exit."""
        for child in self.children.values():
            child.kill("shutdown")
        until = time.monotonic() + _STRAYS_SECONDS
        while time.monotonic() < until:
            try:
                os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                os._exit(0)
            with contextlib.suppress(OSError):
                for pid in own_children():
                    os.kill(pid, signal.SIGKILL)
            time.sleep(_STRAYS_POLL / 4)
        os._exit(1)


class Watchdog:
    """The service manager's (`sd_notify(3)`), for one that was started by it: fed by the loop."""

    def __init__(self, address: str, every: float) -> None:
        self.every = every
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._next = 0.0

    @classmethod
    def of_environment(cls) -> Watchdog | None:
        """Taken out of it, for it is nothing of the steps'."""
        address, wait = os.environ.pop("NOTIFY_SOCKET", ""), os.environ.pop("WATCHDOG_USEC", "")
        for name in ("WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
            os.environ.pop(name, None)
        return cls(address, int(wait) / 4e6) if address and wait else None

    def feed(self) -> None:
        """Say that the loop goes on, now and then."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + self.every / 2
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.setblocking(False)
            line.sendto(b"WATCHDOG=1", self._address)


def _use_environment(given: Mapping[str, str]) -> None:
    """What the daemon gives its steps, where it did not start this process itself."""
    if not given:
        return
    os.environ.update(given)
    time.tzset()
    known = set(sys.path)
    sys.path += [p for p in given.get("PYTHONPATH", "").split(os.pathsep) if p and p not in known]


def _demand_served(link: socket.socket, user: str) -> None:
    """End here unless that user, or root, is at the other end, by the kernel's word."""
    credentials = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    asking = _CREDENTIALS.unpack(credentials)[1]
    if asking not in (0, pwd.getpwnam(user).pw_uid):
        raise SystemExit(f"user {asking} asks for a fork server that is for {user} alone")


def main() -> None:
    """Serve the socket whose descriptor is the first argument."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the daemon decides when; then the socket ends
    link = socket.socket(fileno=int(sys.argv[1]))
    link.set_inheritable(False)
    if len(sys.argv) > 2:
        _demand_served(link, sys.argv[2])
    sandbox.adopt_orphans()
    server = ForkServer(link, Watchdog.of_environment())
    try:
        server.serve()
    except ConnectionError:
        server.end()


if __name__ == "__main__":
    main()
