"""A step's new processes and threads: each is asked for, and let be while few of them live.

The side of whoever holds the listener of its filter (`seccomp.Policy.listening`). Nothing can be
born faster than it is answered here, and nothing once the listener is closed, whatever the step
does, as root too.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence
from pathlib import Path

from archived.engine.processes import children_of
from archived.engine.sandbox import syscalls
from archived.engine.sandbox.syscalls import Notification

FOLDERS_LIMIT = 64
"""Folders that are handed over with a listener."""


class TooManyProcesses(Exception):
    """The step has as many as it may and wants more."""


class ProcessLimit:
    """Answers for one step. `root`: its process; `most`: how many may live, itself included.

    They are counted only after so many clones that there may be too many. A clone that was allowed
    and has not happened yet is not seen then, nor is whoever changes parents meanwhile: for a
    moment there can be a few more, never more than some times `most`. `most` `None`: any number.
    """

    def __init__(self, root: int, most: int | None) -> None:
        self._root = root
        self._most = most
        self._free = 0 if most is None else most - 1

    def answer(self, listener: int, clone: Notification) -> None:
        """Answer one that waits. Raises `TooMany`, and then nobody was answered."""
        if self._most is not None:
            if self._free <= 0:
                try:
                    self._free = self._most - living(self._root, self._most)
                except OSError:  # out of open files, say: whoever cannot be counted cannot grow
                    syscalls.answer(listener, clone, errno.EAGAIN)
                    return
            if self._free <= 0:
                raise TooManyProcesses
            self._free -= 1
        syscalls.let_be(listener, clone)


def give_listener(hand: socket.socket, listener: int, folders: Sequence[int]) -> None:
    """Hand it over and keep none: a step must not answer itself.

    `folders`: descriptors of the folders in which the step may change mode and times of files.
    """
    try:
        socket.send_fds(hand, [b"!"], [listener, *folders])
    finally:
        os.close(listener)


def take_listener(hand: int) -> tuple[int, list[int]]:
    """The listener that the other end of the socket gave, and folders; -1 if it gives none."""
    line = socket.socket(fileno=hand)
    try:
        found = socket.recv_fds(line, 1, 1 + FOLDERS_LIMIT)[1]
    except OSError:
        return -1, []
    finally:
        line.detach()
    for fd in found:
        os.set_inheritable(fd, False)
    return (found[0], found[1:]) if found else (-1, [])


def living(root: int, enough: int) -> int:
    """How many processes and threads there are at and below `root`, or `enough`, if that is fewer.

    The dead that nobody has waited for count. So does, as `enough`, whoever hides from us: what it
    started cannot be seen. Raises `OSError` when the system cannot tell.
    """
    found, unseen = 0, [root]
    while unseen and found < enough:
        pid = unseen.pop()
        try:
            found += len(list(Path(f"/proc/{pid}/task").iterdir()))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            if _exists(pid):
                return enough
            continue
        unseen += children_of(pid)
    return min(found, enough)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
