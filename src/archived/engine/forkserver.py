"""A warm process that forks one child per step, watches it, and cleans up after it.

Single-threaded, and it never runs a stage's code itself beyond importing it. Start it with
`python -P -m archived.engine.forkserver FD`; it ends, with everything it started, when the other
end of the socket FD does.

Messages are JSON objects, one a line. In: `start`, `job`, `kill`. Out: `ready` or `failed`,
`progress`, `ended`.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from archived.engine import births, sandbox, worker
from archived.engine.births import Births, TooMany
from archived.engine.boundary import LOG_LIMIT, REPLY_LIMIT
from archived.engine.child import Child
from archived.engine.descent import own_children
from archived.engine.registry import Registry, load_plugins, preload
from archived.errors import PluginError

START_SECONDS = 120
"""Importing every plug-in must be done by then, or the fork server is killed by its alarm."""
_STRAYS_SECONDS = 10.0
_STRAYS_POLL = 0.01
_CHUNK = 2**16
_PROGRESS_EVERY = 0.2


class ForkServer:
    """The loop. `link` is the socket to the daemon."""

    def __init__(self, link: socket.socket) -> None:
        self.link = link
        self.registry = Registry()
        self.children: dict[str, Child] = {}
        self.received = bytearray()
        self.selector = selectors.DefaultSelector()

    def load(self, start: Mapping[str, Any]) -> None:
        """Import what the start message names, and say what was found."""
        signal.alarm(START_SECONDS)
        try:
            self.registry = load_plugins(start["sources"])
            preload(self.registry, start["preload"])
        except PluginError as error:
            self.tell({"did": "failed", "message": error.message, "hint": error.hint})
            raise SystemExit(1) from error
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
        self.link.sendall(json.dumps(message).encode() + b"\n")

    def _first(self) -> dict[str, Any]:
        while b"\n" not in self.received:
            self._receive()
        line, _, rest = self.received.partition(b"\n")
        self.received = rest
        first: dict[str, Any] = json.loads(line)
        return first

    def _receive(self) -> None:
        try:
            chunk = self.link.recv(_CHUNK)
        except ConnectionError:
            chunk = b""
        if not chunk:
            self.end()
        self.received += chunk

    def _hear(self) -> None:
        self._receive()
        *lines, rest = self.received.split(b"\n")
        self.received = bytearray(rest)
        for line in lines:
            message = json.loads(line)
            if message["do"] == "job":
                self._fork(message)
            elif child := self.children.get(message["step"]):
                child.kill(message["why"])

    def _patience(self) -> float | None:
        waiting = [c.ends for c in self.children.values() if c.end is None and not c.why]
        until = max(0.0, min(waiting) - time.monotonic()) if waiting else None
        if any(child.end for child in self.children.values()):
            return min(_STRAYS_POLL, until if until is not None else _STRAYS_POLL)
        return until

    def _fork(self, job: dict[str, Any]) -> None:
        began, parent = time.monotonic(), os.getpid()
        pipes: list[int] = []
        try:
            pipes += os.pipe()
            pipes += os.pipe()
            pipes += (end.detach() for end in socket.socketpair())
            pid = os.fork()
        except OSError as error:
            for pipe in pipes:
                os.close(pipe)
            self._cannot(job, error)
            return
        reply, reply_in, output, output_in, hand, hand_in = pipes
        if pid == 0:
            with contextlib.suppress(BaseException):
                self._let_go(reply, output, hand)
            worker.serve(self.registry, job, parent, reply_in, output_in, hand_in)
        for theirs in (reply_in, output_in, hand_in):
            os.close(theirs)
        try:
            watch = os.pidfd_open(pid)
        except OSError as error:  # nobody would tell us of its end
            for ours in (reply, output, hand):
                os.close(ours)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            self._cannot(job, error)
            return
        for pipe in (reply, output):
            os.set_blocking(pipe, False)
        child = Child(
            step=job["step"],
            pid=pid,
            watch=watch,
            reply=reply,
            output=output,
            began=began,
            ends=began + job["seconds"],
            births=Births(pid, job["limits"]["processes"] or 0),
            hand=hand,
        )
        self.children[child.step] = child
        self.selector.register(reply, selectors.EVENT_READ, lambda: self._read_reply(child))
        self.selector.register(output, selectors.EVENT_READ, lambda: self._read_output(child))
        self.selector.register(child.watch, selectors.EVENT_READ, lambda: self._reap(child))
        self.selector.register(hand, selectors.EVENT_READ, lambda: self._take_listener(child))

    def _take_listener(self, child: Child) -> None:
        if child.hand < 0:
            return
        child.asks = births.take_listener(child.hand)
        self._close(child, "hand")
        if child.asks >= 0:
            asks = child.asks, selectors.EVENT_READ, lambda: self._answer_birth(child)
            self.selector.register(*asks)

    def _answer_birth(self, child: Child) -> None:
        if child.asks < 0:
            return
        try:
            child.births.answer(child.asks)
        except EOFError:
            self._close(child, "asks")
        except TooMany:
            child.kill("too-many-processes")
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
                "answer": {"cannot_start": str(error)},
                "strays": 0,
                "log": "",
            }
        )

    def _let_go(self, *pipes: int) -> None:
        """In a fresh child: drop every descriptor that belongs to the fork server."""
        self.link.close()
        self.selector.close()
        for child in self.children.values():
            for fd in (child.watch, child.reply, child.output, child.hand, child.asks):
                if fd >= 0:
                    os.close(fd)
        for pipe in pipes:
            os.close(pipe)

    def _read_reply(self, child: Child) -> bool:
        """Read some of what the child says. False when there is nothing more."""
        chunk = self._read(child, "reply")
        child.line += chunk
        while (end := child.line.find(b"\n")) >= 0:
            line = bytes(child.line[:end])
            del child.line[: end + 1]
            self._understand(child, line)
        if len(child.line) > REPLY_LIMIT:
            child.line.clear()
            child.kill("reply-too-large")
        return bool(chunk)

    def _understand(self, child: Child, line: bytes) -> None:
        try:
            said = json.loads(line)
            if "progress" in said:
                self._pass_on(child, float(said["progress"]))
            else:
                child.answer.update(said)
        except (ValueError, TypeError, RecursionError):
            child.answer["garbled"] = True

    def _pass_on(self, child: Child, fraction: float) -> None:
        now = time.monotonic()
        if now - child.told >= _PROGRESS_EVERY:
            child.told = now
            self.tell({"did": "progress", "step": child.step, "fraction": fraction})

    def _read_output(self, child: Child) -> bool:
        chunk = self._read(child, "output")
        room = LOG_LIMIT // 4 - len(child.head)
        child.head += chunk[:room]
        child.tail = (child.tail + chunk[room:])[-LOG_LIMIT * 3 // 4 :]
        return bool(chunk)

    def _read(self, child: Child, pipe: str) -> bytes:
        fd: int = getattr(child, pipe)
        if fd < 0:
            return b""
        try:
            chunk = os.read(fd, _CHUNK)
        except BlockingIOError:
            return b""
        if not chunk:
            self._close(child, pipe)
        return chunk

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
        for _ in range(64):  # a stray that cannot be killed must not keep us here
            if not (self._read_reply(child) or self._read_output(child)):
                break
        self._close(child, "reply")
        self._close(child, "output")
        del self.children[child.step]
        log = child.head + (b"\n[...]\n" if len(child.tail) >= LOG_LIMIT * 3 // 4 else b"")
        self.tell(
            {
                "did": "ended",
                "step": child.step,
                "why": child.why,
                **(child.end or {}),
                "answer": child.answer,
                "strays": strays,
                "log": (log + child.tail).decode(errors="replace"),
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


def main() -> None:
    """Serve the socket whose descriptor is the first argument."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the daemon decides when; then the socket ends
    link = socket.socket(fileno=int(sys.argv[1]))
    link.set_inheritable(False)
    sandbox.adopt_orphans()
    server = ForkServer(link)
    try:
        server.serve()
    except ConnectionError:
        server.end()


if __name__ == "__main__":
    main()
