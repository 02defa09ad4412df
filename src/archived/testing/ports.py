"""A port on loopback that nobody else is given while this process lives.

For tests and tools that start servers. A port that is only looked up is free again at once, and a
program that starts in that second may be given it.
"""

from __future__ import annotations

import socket

_kept: list[socket.socket] = []


def free_port() -> int:
    """A port of 127.0.0.1. A server that sets SO_REUSEADDR may listen there, again and again.

    Until one does, connections are refused.
    """
    keeper = socket.socket()
    keeper.bind(("127.0.0.1", 0))
    # Only now: two that both share may be given the same.
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    _kept.append(keeper)
    return int(keeper.getsockname()[1])
