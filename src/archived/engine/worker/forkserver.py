"""A warm process that forks one child per step, watches it, and cleans up after it.

Single-threaded, and it never runs a stage's code itself beyond importing it. Start it with
`python -P -m archived.engine.worker.forkserver FD [USER]`; it ends, with everything it started,
when the other end of the socket FD does. The daemon starts it in its own account, or the service
manager does in another; USER is then whom it serves.

Messages are JSON objects, one a packet. In: `start`, `job`, `kill`, `retire`. Out: `ready` or
`failed`, `ended`. A job whose `worker` is `new` is done by a child that stays and rests; one whose
`worker` is `same` is passed on to that child; `retire` ends it, and is told as ended.

A job brings three descriptors for its child: to read what it is asked from, to answer on, to print
on; and one for each secret that is handed over. Nothing of them is read here: what one step is
asked or says is data of a stranger, and must not be in the memory that the next one is forked with.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import json
import math
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

from archived.engine.plugin_loader import Registry, load_plugins, preload
from archived.engine.processes import kill_below, own_children
from archived.engine.protocol import DISOBEYED, NOT_BEGUN
from archived.engine.sandbox import confinement, process_limit, seccomp
from archived.engine.sandbox.attribute_broker import BrokerPool
from archived.engine.sandbox.process_limit import TooManyProcesses
from archived.engine.sandbox.seccomp_listener import Listener
from archived.engine.worker import child as worker
from archived.engine.worker.forkserver_child import NO_STEP, StepProcess
from archived.engine.worker.handover import SECRETS_LIMIT
from archived.engine.worker.watchdog import Watchdog
from archived.errors import AccountError, PluginError
from archived.message import Message

START_SECONDS = 120
"""Importing every plug-in must be done by then, or the fork server is killed by its alarm."""
_STRAYS_SECONDS = 10.0
_STRAYS_POLL = 0.01
_CPU_POLL = 1.0
"""Seconds between two looks at the processor time of a kept worker's step."""
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
        self.children: dict[str, StepProcess] = {}
        self.selector = selectors.DefaultSelector()
        self.brokers = BrokerPool()

    def load(self, start: Mapping[str, Any]) -> None:
        """Import what the start message names, and say what was found."""
        signal.alarm(START_SECONDS)
        _use_environment(start.get("environment", {}))
        try:
            self._demand_scratch(start.get("scratch"))
            self.registry = load_plugins(start["sources"])
            preload(self.registry, start["preload"])
        except (PluginError, AccountError) as error:
            self.tell(
                {
                    "did": "failed",
                    "message": error.message[:_WORDS],
                    "hint": error.hint[:_WORDS],
                    "code": error.code,
                }
            )
            raise SystemExit(1) from error
        with contextlib.suppress(OSError):
            seccomp.table()  # else every child would read it
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
                Message(
                    "steps in an account of their own cannot get to {scratch}: {why}",
                    scratch=scratch,
                    why=error.strerror,
                ),
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
                child.judge(now)
            self._settle(now)
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
            match message["do"]:
                case "job" if message.get("worker") == "same":
                    self._pass_on(message, fds)
                case "job":
                    self._fork(message, fds)
                case "retire":
                    self._retire(message["step"])
                case "kill" if child := self.children.get(message["step"]):
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
        until = max(0.0, min(waiting, default=math.inf) - time.monotonic())
        if any(child.end or child.settling for child in self.children.values()):
            until = min(until, _STRAYS_POLL)
        elif any(child.kept for child in self.children.values()):
            until = min(until, _CPU_POLL)
        return until if until < math.inf else None

    def _fork(self, job: dict[str, Any], fds: list[int]) -> None:
        began, parent = time.monotonic(), os.getpid()
        if kept := "worker" in job:
            self._replace_kept()
        hand_over: list[int] = []
        if len(fds) != _DESCRIPTORS + job["secrets"]:
            # The kernel drops those that find no room in our table.
            self._cannot(job, OSError(errno.EMFILE, os.strerror(errno.EMFILE)))
            return
        try:
            hand_over += (end.detach() for end in socket.socketpair())
            if kept:
                pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                hand_over += (end.detach() for end in pair)
            pid = os.fork()
        except OSError as error:
            for end in hand_over:
                os.close(end)
            self._cannot(job, error)
            return
        ours, theirs = hand_over[::2], hand_over[1::2]
        if pid == 0:
            with contextlib.suppress(BaseException):
                self._let_go(ours)
            asked, reply, output, *secrets = fds
            hand, line = (*theirs, -1)[:2]
            given = worker.Descriptors(asked, reply, output, hand, line, tuple(secrets))
            worker.serve(self.registry, parent, given)
        for end in theirs:
            os.close(end)
        try:
            watch = os.pidfd_open(pid)
        except OSError as error:  # nobody would tell us of its end
            for end in ours:
                os.close(end)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            self._cannot(job, error)
            return
        child = StepProcess(
            step=job["step"],
            pid=pid,
            watch=watch,
            began=began,
            ends=began + job["seconds"],
            listener=Listener(pid, job["processes"], self.brokers),
            hand=ours[0],
            cpu_seconds=job.get("cpu_seconds"),
            kept=kept,
        )
        self.children[child.step] = child
        self._watch(child, child.watch, self._reap)
        self._watch(child, child.hand, self._take_listener)
        if kept:
            child.line = ours[1]
            os.set_blocking(child.line, False)
            self._watch(child, child.line, self._hear_worker)

    def _replace_kept(self) -> None:
        """One is there that the daemon does not count on any more."""
        if (child := self.children.pop(NO_STEP, None)) is not None:
            child.step = f"replaced-{child.pid}"
            self.children[child.step] = child
            child.kill("retired")

    def _pass_on(self, job: Mapping[str, Any], fds: list[int]) -> None:
        """Give a job to the kept worker that rests; when none does, it has not begun."""
        child = self.children.pop(NO_STEP, None)
        whole = len(fds) == _DESCRIPTORS + job["secrets"]
        if child is not None and child.end is None and whole and child.give(job, fds):
            self.children[child.step] = child
            return
        if child is not None:
            child.kill(NOT_BEGUN)
            self.children[NO_STEP] = child
        self._tell_ended(job["step"], NOT_BEGUN)

    def _retire(self, step: str) -> None:
        """End the kept worker that rests; told as the end of `step`, when nothing of it is left."""
        child = self.children.pop(NO_STEP, None)
        if child is None:
            self._tell_ended(step, "retired")
            return
        child.step = step
        self.children[step] = child
        child.kill("retired")

    def _hear_worker(self, child: StepProcess) -> None:
        """What a kept worker says on its line: few bytes, and any descriptors are dropped."""
        if child.line < 0:
            return
        try:
            said = os.read(child.line, 16)
        except BlockingIOError:
            return
        except ConnectionError:
            said = b""
        if said:
            child.hear(said)
        else:
            self._close(child, "line")  # of its end its own descriptor tells

    def _settle(self, now: float) -> None:
        """Of kept workers whose step has ended: kill what it started, then say that it has ended.

        Its processes are its children, or ours when they have left it: both are looked for.
        """
        for child in [child for child in self.children.values() if child.settling]:
            if child.end is not None or child.why:
                child.settling = False
                continue
            if self._kill_left_by(child):
                child.sweep_until = child.sweep_until or now + _STRAYS_SECONDS
                if now >= child.sweep_until:
                    child.kill(DISOBEYED)
                continue
            del self.children[child.step]
            self.children[NO_STEP], child.sweep_until = child, 0.0
            self.tell(
                {
                    "did": "ended",
                    "why": "",
                    "cannot_start": "",
                    **child.rest(now),
                    "kept": not child.last,
                }
            )
            if child.last:
                child.kill("retired")

    def _kill_left_by(self, child: StepProcess) -> int:
        """Kill what the step of a kept worker started; how many there were, or may have been."""
        try:
            return kill_below(child.pid) + self._kill_strays()
        except OSError:  # out of open files, say: until it can be told, there may be one
            return 1

    def _watch(self, child: StepProcess, fd: int, act: Callable[[StepProcess], None]) -> None:
        """Do `act` when the descriptor is ready. What fails for one step ends that step alone."""

        def ready() -> None:
            try:
                act(child)
            except OSError:
                traceback.print_exc()
                child.kill("step-unwatched")

        self.selector.register(fd, selectors.EVENT_READ, ready)

    def _take_listener(self, child: StepProcess) -> None:
        if child.hand < 0:
            return
        child.asks, child.listener.folders = process_limit.take_listener(child.hand)
        self._close(child, "hand")
        if child.asks >= 0:
            self._watch(child, child.asks, self._answer_birth)

    def _answer_birth(self, child: StepProcess) -> None:
        if child.asks < 0:
            return
        try:
            child.listener.answer(child.asks, no_births=child.resting)
        except EOFError:
            self._close(child, "asks")
        except TooManyProcesses:
            child.kill(DISOBEYED if child.resting else "too-many-processes")
            child.listener.close()
            self._close(child, "asks")  # whoever left its group has no more children either

    def _cannot(self, job: Mapping[str, Any], error: OSError) -> None:
        """The system has no process or descriptor to spare: the other steps go on all the same."""
        self._tell_ended(job["step"], cannot_start=str(error))

    def _tell_ended(self, step: str, why: str = "", cannot_start: str = "") -> None:
        """Of a step of which nothing happened."""
        self.tell(
            {
                "did": "ended",
                "step": step,
                "why": why,
                "status": None,
                "signal": None,
                "usage": {},
                "refused": {},
                "cannot_start": cannot_start,
                "strays": 0,
            }
        )

    def _let_go(self, ours: list[int]) -> None:
        """In a fresh child: drop every descriptor that belongs to the fork server."""
        self.link.close()
        self.selector.close()
        self.brokers.let_go()
        for child in self.children.values():
            for fd in (child.watch, child.hand, child.asks, child.line):
                if fd >= 0:
                    os.close(fd)
            child.listener.let_go()
        for fd in ours:
            os.close(fd)

    def _close(self, child: StepProcess, fd_name: str) -> None:
        fd: int = getattr(child, fd_name)
        if fd >= 0:
            setattr(child, fd_name, -1)
            self.selector.unregister(fd)
            os.close(fd)

    def _reap(self, child: StepProcess) -> None:
        if os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)  # before the wait, while the number is still ours
        _, status, used = os.wait4(child.pid, 0)
        for fd_name in ("watch", "hand", "asks", "line"):
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

    def _report(self, child: StepProcess, strays: int) -> None:
        del self.children[child.step]
        if child.step == NO_STEP:
            return
        self.tell(
            {
                "did": "ended",
                "step": child.step,
                "why": child.why if child.begun else NOT_BEGUN,
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
    confinement.adopt_orphans()
    server = ForkServer(link, Watchdog.of_environment())
    try:
        server.serve()
    except ConnectionError:
        server.end()


if __name__ == "__main__":
    main()
