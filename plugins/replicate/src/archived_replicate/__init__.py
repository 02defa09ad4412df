"""Copies of sealed objects in other places, read back before they count.

Registers the stage `replicate` and the target kind `directory`. What a sealed object is made of is
in `sealed`, one object's way to one target in `copying`, the disk itself in `directory`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from archived.api import Stage, Target, hookimpl
from archived_replicate.directory import DirectoryTarget
from archived_replicate.stage import Replicate

__all__ = ["DirectoryTarget", "Replicate"]


@hookimpl
def register_stages(register: Callable[[type[Stage[Any]]], None]) -> None:
    register(Replicate)


@hookimpl
def register_targets(register: Callable[[type[Target[Any]]], None]) -> None:
    register(DirectoryTarget)
