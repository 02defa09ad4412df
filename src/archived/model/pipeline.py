"""Which step of a document's pipeline comes next.

A document keeps the list of stages it was admitted with; a changed configuration does not change
what was promised to it. `seal` is the core's own step and stands in every configured list exactly
once. An upgrade of a sealed document puts its stage, `seal` and the stages that copy behind them.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from archived.message import Message

SEAL = "seal"


def next_step(stages: Sequence[str], position: int) -> str | None:
    """The stage at `position`, or `None` when the pipeline is done."""
    return stages[position] if position < len(stages) else None


def is_sealed(stages: Sequence[str], position: int) -> bool:
    """True when `seal` lies behind `position`."""
    return SEAL in stages[:position]


def copying_begins(stages: Sequence[str]) -> int:
    """The position behind the last `seal`. Raises `ValueError` for a list without one."""
    return len(stages) - list(reversed(stages)).index(SEAL)


def is_upgrade(stages: Sequence[str], position: int) -> bool:
    """True when the step at `position` stands between two seals: what it makes is sealed anew."""
    return SEAL in stages[:position] and SEAL in stages[position + 1 :]


def accepts(patterns: Sequence[str], *media_types: str) -> bool:
    """True when one of the media types fits one of a stage's patterns, such as `image/*`."""
    return any(fnmatchcase(kind, pattern) for kind in media_types for pattern in patterns)


def problems(stages: Sequence[str]) -> list[str]:
    """What is wrong with a pipeline's list of stages, in words."""
    found: list[str] = []
    if stages.count(SEAL) != 1:
        found.append(Message('"{seal}" must stand in the list exactly once', seal=SEAL))
    found += [
        Message('"{name}" stands in the list twice', name=name)
        for name in _repeated(stages)
        if name != SEAL
    ]
    return found


def _repeated(names: Sequence[str]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})
