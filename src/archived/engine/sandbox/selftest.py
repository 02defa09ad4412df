"""A process confined as a step's is tries to get out, and says what held: for `archived doctor`.

A program of its own (`python -m archived.engine.sandbox.selftest`, prints JSON): it forks, which a
process with threads must not, and it becomes the parent of orphans. What it starts ends within
seconds.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from archived.engine.processes import own_children
from archived.engine.protocol import PROCESSES_LIMIT, StepLimits
from archived.engine.sandbox.access_policy import machine
from archived.engine.sandbox.attribute_broker import BrokerPool
from archived.engine.sandbox.confinement import adopt_orphans, confine
from archived.engine.sandbox.landlock import Access
from archived.engine.sandbox.process_limit import TooManyProcesses, take_listener
from archived.engine.sandbox.seccomp_listener import Listener
from archived.engine.sandbox.selftest_acts import ACTS, TRACE, ActContext, own_work, programs_work
from archived.message import Message, with_parts

_FEW = 32
"""What the bomb may have: any number shows whether it holds."""
_DOUBLINGS = 6
"""The bomb is 64 idle processes at most, however little holds."""
_LIFE = 10
"""Seconds after which each of them ends by itself, and the trial gives up."""
_LIMITS = StepLimits(
    memory=256 * 2**20, cpu_seconds=60, file_size=2**20, open_files=256, processes=_FEW
)


TRACING, PROGRAMS = "tracing", "programs"
"""What is tried and is no protection of a step: good to know."""
_PTRACE_SCOPE = Path("/proc/sys/kernel/yama/ptrace_scope")


@dataclass(frozen=True, slots=True)
class SelfTestResult:
    """What was tried. `verdict`: "yes (why)", "no (why)" or "not established (why)".

    `protection` as in `sandbox.Confinement`, `TRACING` or `PROGRAMS`.
    """

    protection: str
    what: str
    verdict: str


def _told(word: str, why: str) -> str:
    return Message("{word} ({why})", word=word, why=why)


def run_selftest() -> list[SelfTestResult]:
    """Every protection, act by act; "yes" was tried, not assumed."""
    adopt_orphans()
    with _things() as things, _things() as others:
        free = _apart(lambda: {what: _possible(act, others) for _, what, act in ACTS})
        tried = _confined(things, free or {})
    return [*tried, _yama(free), *_ends(), _bombed()]


def _yama(free: Mapping[str, str] | None) -> SelfTestResult:
    """Whether the kernel keeps a user's programs from each other, which no step depends on where
    Landlock is. Tried without confinement.
    """
    what = Message("programs of this user that are no steps cannot trace each other")
    try:
        number = _PTRACE_SCOPE.read_text().strip()
        scope = Message("ptrace_scope is {number}", number=number)
    except OSError:
        scope = Message("this kernel has no Yama")
    if free is None or TRACE not in free:
        return SelfTestResult(TRACING, what, _told("not established", scope))
    if why := free[TRACE]:
        return SelfTestResult(
            TRACING, what, _told("yes", Message("{scope}: {why}", scope=scope, why=why))
        )
    if os.geteuid() == 0:
        scope = Message("root can, whatever it is; {scope}", scope=scope)
    return SelfTestResult(TRACING, what, _told("no", scope))


# One act after the other --------------------------------------------------------------------------


@contextmanager
def _things() -> Iterator[ActContext]:
    with ExitStack() as opened:
        folders = [
            Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="archived-probe-")))
            for _ in range(3)
        ]
        own, other, given = folders
        for folder in (other, given):
            (folder / "file").write_text("of another document")
        server = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        for suffix, kind in (("", socket.SOCK_STREAM), (".datagrams", socket.SOCK_DGRAM)):
            service = opened.enter_context(socket.socket(socket.AF_UNIX, kind))
            service.bind(str(other / "service") + suffix)
            if not suffix:
                service.listen()
        bystander = os.fork()
        if bystander == 0:
            signal.alarm(6 * _LIFE)
            signal.pause()
            os._exit(0)
        opened.callback(os.waitpid, bystander, 0)
        opened.callback(os.kill, bystander, signal.SIGKILL)
        yield ActContext(
            own, other / "file", given / "file", bystander, server.getsockname(), other / "service"
        )


def _possible(act: Callable[[ActContext], object], things: ActContext) -> str:
    """Why it fails, in a process of its own without confinement; "" if it does not."""

    def one() -> dict[str, str]:
        signal.alarm(_LIFE)
        return {"why": _failure(act, things)}

    return (_apart(one) or {"why": Message("it ended the process")})["why"]


def _failure(act: Callable[[ActContext], object], things: ActContext) -> str:
    try:
        act(things)
    except OSError as error:
        return error.strerror or str(error)
    except Exception as error:  # noqa: BLE001 - an act that breaks was not tried
        return f"{type(error).__name__}: {error}"
    return ""


def _apart(work: Callable[[], dict[str, str]]) -> dict[str, str] | None:
    """What `work` returns in a process of its own; `None` if that ends before."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    found: dict[str, str] | None = json.loads(answer) if answer else None
    return found


def _confined(things: ActContext, free: Mapping[str, str]) -> list[SelfTestResult]:
    """Every act in a process that is confined as a step's is."""
    rules = [
        (str(things.own), Access.CHANGE),
        (str(things.given), Access.READ),
        *machine(str(things.own), network=False),
    ]

    def work(hand: int, parent: int, tell: Callable[[str], None]) -> None:
        held = confine(_LIMITS, parent, rules, hand=hand).to_json()
        tell(json.dumps(["", "", held]))
        for protection, what, act in ACTS:
            tell(json.dumps([protection, what, _failure(act, things)]))
        tell(json.dumps(["own", "", _failure(own_work, things)]))
        tell(json.dumps(["programs", "", _failure(programs_work, things)]))
        with suppress(OSError):
            status = Path("/proc/self/status").read_text()
            tell(json.dumps(["privileges", "", status]))

    said = [json.loads(line) for line in _answered(work)]
    held: dict[str, str] = said[0][2] if said else {}
    results = {(protection, what): result for protection, what, result in said[1:]}
    trials = [
        SelfTestResult(
            protection,
            what,
            _verdict(results.get((protection, what)), free.get(what, ""), held, protection),
        )
        for protection, what, _ in ACTS
    ]
    status = results.get(("privileges", ""), "")
    bare = "NoNewPrivs:\t1" in status and "CapEff:\t0000000000000000" in status
    trials.append(
        SelfTestResult(
            "privileges",
            Message("a step has no privilege and set-uid programs give it none"),
            _told("yes", Message("the kernel says so of it"))
            if bare
            else _told("no", held.get("privileges", "unknown")),
        )
    )
    own = results.get(("own", ""), Message("it ended before"))
    trials.append(
        SelfTestResult(
            "files",
            Message("a step works with files of its own, their mode and times included"),
            _told("no", own) if own else "yes",
        )
    )
    theirs = results.get(("programs", ""), Message("it ended before"))
    trials.append(
        SelfTestResult(
            PROGRAMS,
            Message("programs that a step starts change the mode of its files"),
            _told("no", theirs) if theirs else "yes",
        )
    )
    return trials


def _verdict(failed: str | None, free: str, held: Mapping[str, str], protection: str) -> str:
    """`failed`: why the confined act did; "" if it did not; `None` if it was not reached."""
    if failed is None:
        return _told("not established", Message("the process that tries it ended before"))
    if not failed:
        claimed = held.get(protection, "")
        why = (
            claimed[4:-1] if claimed.startswith("no (") else Message("it was possible all the same")
        )
        return _told("no", why)
    if free == failed:
        return _told("yes", Message("nobody can here: {failed}", failed=failed))
    return _told("yes", failed)


def _answered(work: Callable[[int, int, Callable[[str], None]], None]) -> list[str]:
    """The lines that `work` tells in a process of its own, whose listener is answered here."""
    hand, theirs = socket.socketpair()
    read, write = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        try:
            hand.close()
            signal.alarm(4 * _LIFE)
            work(theirs.detach(), parent, lambda line: _write(write, f"{line}\n"))
        finally:
            os._exit(0)
    theirs.close()
    os.close(write)
    heard = bytearray()

    def told() -> bool:
        heard.extend(chunk := os.read(read, 65536))
        return not chunk

    brokers = BrokerPool()
    try:
        _serve(read, hand.detach(), Listener(child, _FEW, brokers), told, 5 * _LIFE)
    except (TooManyProcesses, EOFError):
        pass
    finally:
        brokers.close()
        os.close(read)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return heard.decode().splitlines()


def _write(pipe: int, text: str) -> None:
    left = text.encode()
    while left:
        left = left[os.write(pipe, left) :]


def _serve(
    told: int, hand: int, answers: Listener, done: Callable[[], bool], seconds: float
) -> None:
    """Answer as a fork server does until `done`, which is asked when `told` can be read.

    Raises `TooMany`; `EOFError` when nobody can ask any more.
    """
    listener = -1
    until = time.monotonic() + seconds
    try:
        while time.monotonic() < until:
            asking = hand if listener < 0 else listener
            ready = select.select([told, *([asking] if asking >= 0 else [])], [], [], 1)[0]
            if listener < 0 and hand in ready:
                listener, answers.folders = take_listener(hand)
                os.close(hand)
                hand = -1
            elif listener in ready:
                try:
                    answers.answer(listener)
                except EOFError:  # what was told before may still be unread
                    os.close(listener)
                    listener = -1
            if told in ready and done():
                return
    finally:
        answers.close()
        for end in {hand, listener} - {-1}:
            os.close(end)


# What ends a step ---------------------------------------------------------------------------------


def _ends() -> list[SelfTestResult]:
    """A step that uses too much processor time, and one whose starter is gone."""
    return [
        SelfTestResult(
            "limits",
            Message("a step that uses more processor time than it may is ended"),
            _used_up(),
        ),
        SelfTestResult(
            "parent", Message("a step dies when the process that started it dies"), _orphaned()
        ),
    ]


def _used_up() -> str:
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        signal.alarm(2 * _LIFE)
        confine(replace(_LIMITS, cpu_seconds=1), parent)
        while True:
            pass
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
        return _told("yes", Message("after a second"))
    return _told("no", Message("it ended with {status}", status=os.waitstatus_to_exitcode(status)))


def _orphaned() -> str:
    read, write = os.pipe()
    middle = os.fork()
    if middle == 0:
        own = os.getpid()
        if os.fork() == 0:
            confine(_LIMITS, own)
            os.write(write, b"!")
            signal.pause()
        os.close(write)
        os.read(read, 1)
        os._exit(0)
    os.close(write)
    os.waitpid(middle, 0)
    ended = bool(select.select([read], [], [], _LIFE)[0]) and not os.read(read, 1)
    os.close(read)
    left = _killed_all()
    if not ended:
        return _told("no", Message("it lived on"))
    if not left:
        return "yes"
    return _told("not established", Message("{left} processes cannot be killed", left=left))


# The bomb -----------------------------------------------------------------------------------------


def _bombed() -> SelfTestResult:
    """Whether a step that starts processes without end is stopped, tried with a bomb that ends."""
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
        said, why = _stopped(read, hand.detach(), Listener(bomb, _FEW))
    finally:
        os.close(read)
        left = _killed_all()
    verdict = _told(said, why)
    if left:
        verdict = _told("no", Message("{left} processes of a bomb cannot be killed", left=left))
    return SelfTestResult(
        "processes", Message("a step that starts processes without end is stopped"), verdict
    )


def _stopped(told: int, hand: int, answers: Listener) -> tuple[str, str]:
    """Answer the bomb as a fork server does until it is clear how it ends: verdict and why."""
    heard = bytearray()
    found: list[tuple[str, str]] = []

    def done() -> bool:
        heard.extend(chunk := os.read(told, 4096))
        found[:] = filter(None, [_of_bomb(heard.decode())])
        return bool(found) or not chunk

    try:
        _serve(told, hand, answers, done, _LIFE)
    except TooManyProcesses:
        return "yes", Message(
            "a bomb was stopped; at most {processes_limit} processes and threads",
            processes_limit=PROCESSES_LIMIT,
        )
    part = ("not established", Message("a bomb went off only in part: it ended by itself"))
    return found[0] if found else part


def _of_bomb(heard: str) -> tuple[str, str] | None:
    """What the bomb's words say of how it ends; `None`: nothing yet."""
    held, _, born = heard.partition("\n")
    if held.startswith("no"):
        return "no", held[4:-1]
    if "!" in born:
        return "not established", Message(
            "a bomb went off only in part: {born}", born=born.strip("*!")
        )
    if born.count("*") + 1 == 2**_DOUBLINGS:
        return "no", Message("all {value} processes of a bomb were started", value=2**_DOUBLINGS)
    return None


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


def to_json(trials: Sequence[SelfTestResult]) -> str:
    """One line."""
    return json.dumps(with_parts([asdict(trial) for trial in trials]))


if __name__ == "__main__":
    sys.stdout.write(to_json(run_selftest()) + "\n")
