"""A process confined as a step's is tries to get out, and says what held: for `archived doctor`.

A program of its own (`python -m archived.engine.probe`, prints JSON): it forks, which a process
with threads must not, and it becomes the parent of orphans. What it starts ends within seconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from archived.engine.births import Births, TooMany, take_listener
from archived.engine.boundary import PROCESSES_LIMIT, Limits
from archived.engine.descent import own_children
from archived.engine.landlock import Access
from archived.engine.reach import machine
from archived.engine.sandbox import adopt_orphans, confine

_FEW = 32
"""What the bomb may have: any number shows whether it holds."""
_DOUBLINGS = 6
"""The bomb is 64 idle processes at most, however little holds."""
_LIFE = 10
"""Seconds after which each of them ends by itself, and the trial gives up."""
_LIMITS = Limits(cpu_seconds=60, processes=_FEW)


def probe() -> dict[str, str]:
    """Names as in `sandbox.Confinement`; "yes" was tried, not assumed."""
    with (
        tempfile.TemporaryDirectory(prefix="archived-probe-") as folder,
        tempfile.TemporaryDirectory(prefix="archived-probe-") as others,
        socket.create_server(("127.0.0.1", 0)) as server,
    ):
        forbidden = Path(others, "secret")
        forbidden.write_text("of another document")
        address = server.getsockname()
        read, write = os.pipe()
        parent = os.getpid()
        child = os.fork()
        if child == 0:
            try:
                rules = [(folder, Access.CHANGE), *machine(folder, network=False)]
                confinement = confine(_LIMITS, parent, rules).to_json()
                tried = _tried(confinement, address, Path(folder), forbidden, parent)
                os.write(write, json.dumps(tried).encode())
            finally:
                os._exit(0)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            answer = pipe.read()
        os.waitpid(child, 0)
    found: dict[str, str] = json.loads(answer)
    return {**found, "processes": _bombed()}


def _tried(
    verdicts: dict[str, str], address: tuple[str, int], folder: Path, other: Path, parent: int
) -> dict[str, str]:
    """The verdicts, each "yes" taken back if what it rules out was possible all the same."""
    escapes: list[tuple[str, str, Callable[[], object]]] = [
        ("network", "a connection", lambda: socket.create_connection(address, timeout=1).close()),
        ("files", "reading another's file", other.read_text),
        ("files", "listing another's folder", lambda: list(other.parent.iterdir())),
        ("files", "changing another's file", lambda: other.open("a").close()),
        ("files", "emptying another's file", lambda: os.truncate(other, 0)),
        ("files", "writing outside", (other.parent / "new").touch),
        ("services", "a local socket", lambda: socket.socket(socket.AF_UNIX).close()),
        ("signals", "a signal to another process", lambda: os.kill(parent, 0)),
    ]
    for name, what, escape in escapes:
        if verdicts[name].startswith("yes"):
            with contextlib.suppress(OSError):
                escape()
                verdicts[name] = f"no ({what} was possible all the same)"
    if verdicts["files"].startswith("yes"):
        try:
            (folder / "own").write_text("of this step")
            (folder / "own").read_text()
        except OSError as error:
            verdicts["files"] = f"no (its own folder is closed to it as well: {error.strerror})"
    return verdicts


def _bombed() -> str:
    """Whether a step that starts processes without end is stopped, tried with a bomb that ends."""
    adopt_orphans()
    hand, theirs = socket.socketpair()
    read, write = os.pipe()
    parent = os.getpid()
    bomb = os.fork()
    if bomb == 0:
        try:
            hand.close()
            signal.alarm(_LIFE)
            held = confine(_LIMITS, parent, hand=theirs.detach()).processes
            os.write(write, f"{held}\n".encode())
            if held.startswith("yes"):
                _explode(write)
        finally:
            os._exit(0)
    theirs.close()
    os.close(write)
    try:
        said, why = _stopped(read, hand.detach(), Births(bomb, _FEW))
    finally:
        os.close(read)
        left = _killed_all()
    return f"no ({left} processes of a bomb cannot be killed)" if left else f"{said} ({why})"


def _stopped(told: int, hand: int, births: Births) -> tuple[str, str]:
    """Answer the bomb as a fork server does until it is clear how it ends: verdict and why."""
    listener, heard = -1, b""
    until = time.monotonic() + _LIFE
    try:
        while time.monotonic() < until:
            ready = select.select([told, hand if listener < 0 else listener], [], [], 1)[0]
            if hand in ready:
                listener = take_listener(hand)
            elif listener in ready:
                births.answer(listener)
            if told in ready:
                heard += (chunk := os.read(told, 4096))
                if not chunk:
                    break
            held, _, born = heard.decode().partition("\n")
            if held.startswith("no"):
                return "no", held[4:-1]
            if "!" in born:
                return "not established", f"a bomb went off only in part: {born.strip('*!')}"
            if born.count("*") + 1 == 2**_DOUBLINGS:
                return "no", f"all {2**_DOUBLINGS} processes of a bomb were started"
    except TooMany:
        return "yes", f"a bomb was stopped; at most {PROCESSES_LIMIT} processes and threads"
    except EOFError:
        pass
    finally:
        for end in {hand, listener} - {-1}:
            os.close(end)
    return "not established", "a bomb went off only in part: it ended by itself"


def _killed_all() -> int:
    """Kill what is left of the bomb. How many cannot be."""
    until = time.monotonic() + _LIFE
    while (left := own_children()) and time.monotonic() < until:
        for pid in left:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, os.WNOHANG)
        time.sleep(0.002)
    return len(left)


def _explode(told: int) -> None:
    """Every process doubles, leaves its group and says so, until it may not or the fuse is out."""
    for _ in range(_DOUBLINGS):
        try:
            child = os.fork()
        except OSError as error:
            os.write(told, f"!{error.strerror}".encode())
            break
        if child == 0:
            signal.alarm(_LIFE)  # not inherited
            os.setsid()
            os.write(told, b"*")
    signal.pause()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(probe()) + "\n")
