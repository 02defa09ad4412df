"""How many passwords may be tried, and by whom: guessing must not take the archive's processor.

Checking a password against its scrypt hash takes tens of milliseconds by intent (RFC 7914). Here it
is done in a thread of its own, one at a time, and after each wrong one nothing is checked for four
times as long as it took. A client of another network waits for its turn; it is not kept out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from archived.observe.http_listener import client_network

_WAITING = 16
"""Networks that may wait for their turn; more are told to come again."""
_REST = 4.0
"""After a wrong password, times as long as it took to check: a fifth of one core at the most."""


class TooManyAttempts(Exception):
    """Nothing was checked: the client's network has an attempt under way, or too many wait."""


class PasswordAttempts:
    """The queue of those whose password must be checked. Belongs to one event loop."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "archived-passwords")
        self._turn = asyncio.Lock()
        self._waiting: set[str] = set()
        self._next = 0.0

    async def check(self, client: str, attempt: Callable[[], bool]) -> bool:
        """What `attempt` finds, when its turn has come; `client` is an IP address.

        Raises `TooManyAttempts`.
        """
        network = client_network(client)
        if network in self._waiting or len(self._waiting) >= _WAITING:
            raise TooManyAttempts
        self._waiting.add(network)
        try:
            async with self._turn:
                await asyncio.sleep(max(0.0, self._next - time.monotonic()))
                began = time.monotonic()
                right = await asyncio.get_running_loop().run_in_executor(self._thread, attempt)
                ended = time.monotonic()
                if not right:
                    self._next = ended + _REST * (ended - began)
                return right
        finally:
            self._waiting.discard(network)

    def close(self) -> None:
        """Check nothing else."""
        self._thread.shutdown(wait=False, cancel_futures=True)
