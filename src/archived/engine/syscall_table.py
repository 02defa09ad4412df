"""The system calls that are known, by number: name and rule of each (`system_calls.toml`).

A fork server reads it once (`table`); the processes it forks have it then.
"""

from __future__ import annotations

import platform
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType

from archived.engine.syscalls import NotPermitted

RULES = (
    "allowed", "checked", "own", "birth", "signal", "change", "attribute", "ipc", "absent",
    "refused",
)  # fmt: skip
"""What may become of a call; explained in `system_calls.toml`."""

_MACHINES = {"x86_64": (0xC000003E, 1), "aarch64": (0xC00000B7, 2)}
"""Machine -> its audit number (AUDIT_ARCH_*), and the column of its numbers."""


@dataclass(frozen=True, slots=True)
class Call:
    """One system call. `rule` is one of `RULES`."""

    name: str
    rule: str


def architecture(machine: str = "") -> int:
    """The audit number of a machine's architecture, else of this one's. Raises `NotPermitted`."""
    return _known(machine)[0]


def table(machine: str = "") -> Mapping[int, Call]:
    """Number -> call, on the named machine, else on this one. Raises `NotPermitted`."""
    return _table(_known(machine)[1])


def number(name: str) -> int:
    """The number of a call on this machine. Raises `NotPermitted` where it has none."""
    for found, call in table().items():
        if call.name == name:
            return found
    raise NotPermitted(0, f"{name} does not exist on {platform.machine()}")


def _known(machine: str) -> tuple[int, int]:
    machine = machine or platform.machine()
    if machine not in _MACHINES or sys.maxsize < 2**32:
        raise NotPermitted(0, f"not written for {machine}")
    return _MACHINES[machine]


@cache
def _table(column: int) -> Mapping[int, Call]:
    text = resources.files("archived.engine").joinpath("system_calls.toml").read_text("utf-8")
    return MappingProxyType({
        entry[column]: Call(name, entry[0])
        for name, entry in sorted(tomllib.loads(text).items(), key=lambda each: each[1][column])
        if entry[column] >= 0
    })  # fmt: skip
