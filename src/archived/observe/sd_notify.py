"""Tells the service manager how we are, see sd_notify(3): ready, alive, reloading, stopping.

A datagram to the socket in `NOTIFY_SOCKET`; without it (a terminal, a test) nothing is sent.
"""

from __future__ import annotations

import os
import socket
import time


class Notifier:
    """Sends when there is somebody to tell; never raises, never blocks."""

    def __init__(self, address: str | None = None) -> None:
        address = address if address is not None else os.environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address

    def ready(self, status: str) -> None:
        """Start-up or reload is done."""
        self._send(f"READY=1\nSTATUS={status}")

    def status(self, status: str) -> None:
        """What is going on before it is ready."""
        self._send(f"STATUS={status}")

    def alive(self, status: str) -> None:
        """There is progress: feed the watchdog."""
        self._send(f"WATCHDOG=1\nSTATUS={status}")

    def reloading(self) -> None:
        """A reload begins; `ready` ends it. systemd wants the monotonic time with it."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={microseconds}")

    def stopping(self) -> None:
        """An orderly stop begins."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
                line.setblocking(False)
                line.sendto(message.encode(), self._address)
        except OSError:
            return  # the service manager is gone; there is nobody to tell that, either
