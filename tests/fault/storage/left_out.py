"""Leaving out one durable call at a time, and whether a power cut then loses something."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tests.fault.storage.crash_states import record, restore


@dataclass(frozen=True)
class Scenario:
    """A piece of work on a folder, and what must hold after a power cut at any moment of it.

    `check(folder, ended)` puts right what the cut left, as a start does, and raises when something
    is lost; `ended` says that the work had returned. `harmless` names the calls that may be left
    out: a place (`place_of_call`) -> why nothing is lost by it.
    """

    prepare: Callable[[Path], object]
    act: Callable[[Path], object]
    check: Callable[[Path, bool], object]
    harmless: dict[str, str]


def places(scenario: Scenario, folder: Path) -> list[str]:
    """Every place in it that asks for an fsync."""
    _prepared(scenario, folder)
    return record(lambda: scenario.act(folder), folder, limit=1).places


def losses(
    scenario: Scenario,
    folder: Path,
    ignored: str = "",
    *,
    limit: int = 16,
    tries: int = 10_000,
    seed: int = 1,
) -> Iterator[str]:
    """Each tree that a power cut may leave and that breaks the scenario's check, with the reason.

    `tries` limits how many trees are checked.
    """
    _prepared(scenario, folder)
    history = record(lambda: scenario.act(folder), folder, ignored=ignored, limit=limit, seed=seed)
    for moment, image in islice(history.images(seed), tries):
        restore(image, folder)
        try:
            scenario.check(folder, moment.startswith("the end"))
        except Exception as error:  # whatever the check stumbles over is a loss
            yield f"before {moment}: {type(error).__name__}: {error}"


def _prepared(scenario: Scenario, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    restore((), folder)
    scenario.prepare(folder)
