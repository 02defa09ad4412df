"""What a fork server knows of one of its children: a step's process."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from typing import Any

from archived.engine.listener import Listener


@dataclass(eq=False)
class Child:
    """One step's process. `why` is set when we were the ones to kill it."""

    step: str
    pid: int
    watch: int
    began: float
    ends: float
    listener: Listener
    hand: int
    """Where it hands its listener over."""
    asks: int = -1
    """The listener, as soon as it is here; answered by `listener`."""
    why: str = ""
    end: dict[str, Any] | None = None
    """Set once it is dead and waits for its stray descendants to be gone."""
    sweep_until: float = 0.0

    def kill(self, why: str) -> None:
        """Kill it and its group. Until it is waited for, its pid cannot be another's."""
        if self.end is None:
            self.why = self.why or why
            for send in (os.killpg, os.kill):  # it may not have made its group yet
                with contextlib.suppress(ProcessLookupError):
                    send(self.pid, signal.SIGKILL)
