"""A step's new processes and threads: each is asked for, and let be while few of them live.

The side of whoever holds the listener (`syscalls.ask_for_births`). Nothing can be born faster than
it is answered here, and nothing once the listener is closed, whatever the step does, as root too.
"""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

from archived.engine import syscalls
from archived.engine.descent import children_of


class TooMany(Exception):
    """The step has as many as it may and wants more."""


class Births:
    """Answers for one step. `root`: its process; `most`: how many may live, itself included.

    They are counted only after so many births that there may be too many. A birth that was let be
    and has not happened yet is not seen then, nor is whoever changes parents meanwhile: for a
    moment there can be a few more, never more than some times `most`.
    """

    def __init__(self, root: int, most: int) -> None:
        self._root = root
        self._most = most
        self._free = most - 1

    def answer(self, listener: int) -> None:
        """Answer who asks now, if anybody does.

        Raises `TooMany`, and then nobody was answered; `EOFError` when nobody is left to ask.
        """
        birth = syscalls.next_birth(listener)
        if birth is None:
            return
        if self._free <= 0:
            try:
                self._free = self._most - living(self._root, self._most)
            except OSError:  # out of open files, say: whoever cannot be counted cannot grow
                syscalls.let_be(listener, birth, refused=errno.EAGAIN)
                return
        if self._free <= 0:
            raise TooMany
        self._free -= 1
        syscalls.let_be(listener, birth)


def give_listener(hand: socket.socket, listener: int) -> None:
    """Hand it over and keep none: a step must not answer itself."""
    try:
        socket.send_fds(hand, [b"!"], [listener])
    finally:
        os.close(listener)


def take_listener(hand: int) -> int:
    """The listener that the other end of the socket gave; -1 if it has none to give."""
    line = socket.socket(fileno=hand)
    try:
        found = socket.recv_fds(line, 1, 1)[1]
    except OSError:
        return -1
    finally:
        line.detach()
    return found[0] if found else -1


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
