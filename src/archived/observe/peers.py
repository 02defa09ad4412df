"""Who is at the other end of a local socket: a person's program, or a step of ours.

A step that may use local sockets can connect to any that its user may open: Landlock does not keep
it from sockets by path, and the filter of system calls cannot read the path. In plain mode its user
is ours. So the control socket asks the kernel who connected, and lets in nobody that descends from
this process: steps and what they start do, for whoever loses its parent is given to the step or
the fork server that it came from.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
from pathlib import Path

_CREDENTIALS = struct.Struct("3i")
_PEER_DESCRIPTOR = 77
"""`SO_PEERPIDFD`, from Linux 6.5: the process itself, whose number cannot become another's."""
_DEPTH = 1000


def is_ours(line: socket.socket) -> bool:
    """Whether a process of ours made this connection, or one of our user that cannot be asked.

    A process of another user is none of plain mode's steps; those in accounts of their own are kept
    out by the socket's mode. Number 0 is a process outside of our container.
    """
    credentials = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    process, user, _ = _CREDENTIALS.unpack(credentials)
    if user != os.geteuid() or process in (0, os.getpid()):
        return False
    return _descends_from_us(process) or _is_gone(line)


def _descends_from_us(process: int) -> bool:
    """One that is gone, or whose parents cannot be seen, counts."""
    own = os.getpid()
    for _ in range(_DEPTH):
        try:
            words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            process = int(words[1])
        except (OSError, ValueError, IndexError):
            return True
        if process in (0, 1):
            return own == 1 and process == 1
        if process == own:
            return True
    return True


def _is_gone(line: socket.socket) -> bool:
    """Whether it ended while its number was looked at, as far as the kernel tells."""
    with contextlib.suppress(OSError):
        found = line.getsockopt(socket.SOL_SOCKET, _PEER_DESCRIPTOR)
        try:
            waiting = select.poll()
            waiting.register(found, select.POLLIN)
            return bool(waiting.poll(0))
        finally:
            os.close(found)
    return False
