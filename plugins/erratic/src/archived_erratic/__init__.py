"""A stage that misbehaves on request, for tests and fire drills. Never for production.

Whom it strikes is decided in `aim`, what it then does in `faults`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from archived.api import Stage, hookimpl
from archived_erratic.stage import Erratic

__all__ = ["Erratic"]


@hookimpl
def register_stages(register: Callable[[type[Stage[Any]]], None]) -> None:
    register(Erratic)
