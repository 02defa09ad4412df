"""The other end of a step's seccomp filter: every call that the filter asks for is answered here.

Runs in the fork server. It reads numbers and no memory of the step: what one step says must not be
in the memory that the next one is forked with. What takes a path is passed on to another process
(`engine/sandbox/attribute_broker.py`), which is started when a step first needs it.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Collection
from pathlib import Path

from archived.engine.processes import children_of
from archived.engine.sandbox import seccomp, syscalls
from archived.engine.sandbox.attribute_broker import BrokerPool, BrokerProcess
from archived.engine.sandbox.process_limit import ProcessLimit, TooManyProcesses
from archived.engine.sandbox.syscalls import Notification


class Listener:
    """The listener of one step. `root`: its process; `most`: how many processes it may have.

    `brokers` change files for it; without them that is refused.
    """

    def __init__(self, root: int, most: int | None, brokers: BrokerPool | None = None) -> None:
        self.refused: Counter[str] = Counter()
        """Name of a call -> how often it was refused."""
        self.folders: list[int] = []
        """Descriptors of the folders in which the step may change mode and times."""
        self._root = root
        self._process_limit = ProcessLimit(root, most)
        self._brokers = brokers
        self._worker: BrokerProcess | None = None
        self._calls = seccomp.table()

    def answer(self, listener: int, *, no_births: bool = False) -> None:
        """Answer who asks now, if anybody does. `no_births`: even one more process is too many.

        Raises `TooManyProcesses`, and then nobody was answered; `EOFError` when nobody is left.
        """
        asked = syscalls.next_call(listener)
        if asked is None:
            return
        call = self._calls.get(asked.number)
        match "refused" if call is None else call.rule:
            case "birth" if not _leaves(call, asked):
                if no_births:
                    raise TooManyProcesses
                self._process_limit.answer(listener, asked)
            case "change":
                self._change(listener, asked)
            case "own" | "checked" if _is_own_thread(asked, _subject(call, asked)):
                syscalls.let_be(listener, asked)
            case "signal" if self._is_for_the_step(call, asked):
                syscalls.let_be(listener, asked)
            case _:
                self.refused["unknown" if call is None else call.name] += 1
                syscalls.answer(listener, asked, errno.EPERM)

    def close(self) -> None:
        """Keep nothing of the step. The listener itself is the caller's."""
        for folder in self.folders:
            os.close(folder)
        self.folders.clear()
        if self._worker is not None and self._brokers is not None:
            self._brokers.give_back(self._worker)
            self._worker = None

    def let_go(self) -> None:
        """In a process just forked for another step: keep nothing of this one."""
        for folder in self.folders:
            os.close(folder)

    def _change(self, listener: int, asked: Notification) -> None:
        """Have a file changed; refuse it when nobody can do that."""
        try:
            if self._worker is None and self._brokers is not None:
                self._worker = self._brokers.take(listener, self.folders)
            if self._worker is not None:
                self._worker.give(asked.raw)
                return
        except OSError:
            pass
        syscalls.answer(listener, asked, errno.EPERM)

    def _is_for_the_step(self, call: seccomp.SystemCall | None, asked: Notification) -> bool:
        """Whether a signal stays within the step, which Landlock before ABI 6 cannot tell."""
        if call is None or call.name == "pidfd_send_signal":
            return False
        target = asked.whole(0)
        if target == 0 or _is_own_thread(asked, target):
            return True
        if call.name == "tkill" or target == -1:
            return False
        family = _family(self._root)
        if target > 0:
            return target in family
        return any(_group(pid) == -target for pid in family)


def _leaves(call: seccomp.SystemCall | None, asked: Notification) -> bool:
    """Whether a new process leaves the namespaces or the parent that the step is confined by."""
    forbidden = seccomp.NAMESPACES | seccomp.CLONE_PARENT
    return call is not None and call.name == "clone" and bool(asked.arguments[0] & forbidden)


def _subject(call: seccomp.SystemCall | None, asked: Notification) -> int:
    """The thread that a call is about; 0: it is about something else."""
    if call is None:
        return 0
    if call.rule == "own":
        return asked.whole(0)
    one = {"setpriority": os.PRIO_PROCESS, "ioprio_set": 1}.get(call.name)
    return asked.whole(1) if one is not None and asked.whole(0) == one else 0


def _is_own_thread(asked: Notification, target: int) -> bool:
    """Whether `target` is a thread of the process that asks.

    The number could be another's by the time of the call only if that thread ended and the system
    gave out all its numbers meanwhile.
    """
    return target > 0 and Path(f"/proc/{asked.thread}/task/{target}").exists()


def _family(root: int) -> Collection[int]:
    """The processes at and below `root`."""
    found, unseen = set(), [root]
    while unseen:
        pid = unseen.pop()
        if pid not in found:
            found.add(pid)
            unseen += children_of(pid)
    return found


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0
