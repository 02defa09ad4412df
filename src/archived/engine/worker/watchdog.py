"""The service manager's watchdog (`sd_notify(3)`), fed by a fork server that was started by it."""

from __future__ import annotations

import contextlib
import os
import socket
import time


class Watchdog:
    """Fed by the loop: one that hangs is ended."""

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
