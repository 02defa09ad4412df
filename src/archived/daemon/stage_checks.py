"""Lets every configured stage and target check itself, in a child. Complaints stop nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime

import structlog

from archived.config import Settings
from archived.daemon import wiring
from archived.engine.attempt import StepEnded
from archived.engine.programs import missing
from archived.engine.protocol import StepLimits
from archived.engine.step_execution import Runner
from archived.engine.worker.runner import LocalRunner
from archived.errors import ArchivedError
from archived.message import Message
from archived.model.outcome import Ending

_log = structlog.get_logger("archived.daemon")

ALL_AGAIN = 600.0
"""Seconds between two looks of all stages at their surroundings."""
TARGETS_AGAIN = 60.0
"""The same for stages that make copies: a target's disk may have gone."""
SOONEST = 5.0
"""Seconds between two looks, however many steps of a stage that makes copies have to wait."""


class StageChecks:
    """What the stages of the configuration in force complain about, kept up to date by `run`."""

    def __init__(self, fit_again: Callable[[str], Awaitable[None]]) -> None:
        """`fit_again` is told of a stage that makes copies when a place that it needs is back."""
        self._fit_again = fit_again
        self.problems: dict[str, list[str]] = {}
        """Stage or target -> what its own check complains about."""
        self.checked: datetime | None = None
        """When all stages last checked themselves; `None` while they have not."""
        self._copying: frozenset[str] = frozenset()
        self._look = asyncio.Event()

    def step_ended(self, ended: StepEnded) -> None:
        """A copy that had to wait, or that is made again, is a reason to look at the targets."""
        if ended.stage in self._copying and (
            ended.ending != Ending.FINISHED or ended.stage in self.problems
        ):
            self._look.set()

    async def run(self, settings: Settings, runners: Mapping[str, Runner]) -> None:
        """Look at once, and now and again; until it is cancelled."""
        self._copying = frozenset(n for n, s in settings.stages.items() if s.needs.targets)
        self.checked = None
        told: dict[str, list[str]] = {}
        again = 0.0
        while True:
            everything = time.monotonic() >= again
            if everything:
                again = time.monotonic() + ALL_AGAIN
            self._look.clear()
            await self._once(settings, runners, None if everything else self._copying)
            for name, problems in self.problems.items():
                for problem in problems:
                    if problem not in told.get(name, ()):
                        _log.error(problem, action="stage-problem", stage=name)
            told = dict(self.problems)
            await asyncio.sleep(SOONEST)
            try:
                async with asyncio.timeout(TARGETS_AGAIN if self._copying else ALL_AGAIN):
                    await self._look.wait()
            except TimeoutError:
                continue

    async def _once(
        self, settings: Settings, runners: Mapping[str, Runner], only: Collection[str] | None
    ) -> None:
        try:
            found = await check_all(settings, runners, only)
        except (ArchivedError, OSError) as error:
            _log.error("the stages could not be checked", action="checks-failed", why=str(error))
            return
        before = self.problems
        if only is None:
            self.problems, self.checked = found, datetime.now(UTC)
        else:
            others = {name: each for name, each in before.items() if name not in only}
            self.problems = others | found
        for name in self._copying:
            if _places(before.get(name, ())) - _places(self.problems.get(name, ())):
                await self._fit_again(name)


def _places(problems: Iterable[str]) -> set[str]:
    """What the problems are about: their figures change, and are no other problem for that."""
    return {str(problem).partition(": ")[0] for problem in problems}


async def check_all(
    settings: Settings, runners: Mapping[str, Runner], only: Collection[str] | None = None
) -> dict[str, list[str]]:
    """Stage or target name -> what its own `check` complains about; empty lists left out. `only`:
    these stages; `None`: all of them.
    """
    found: dict[str, list[str]] = {}
    specs = wiring.specs(settings)
    targets = {t.name: {"kind": t.kind, "options": dict(t.options)} for t in specs.targets.values()}
    for name, spec in specs.stages.items():
        if only is not None and name not in only:
            continue
        problems = missing(settings.stages[name].needs.programs)
        runner = runners.get(spec.lane)
        if isinstance(runner, LocalRunner):
            limits = StepLimits(
                memory=spec.memory, network=spec.network, system_calls=spec.system_calls
            )
            own = targets if spec.targets else {}
            problems += await runner.check(
                name, spec.options, own, settings.store.path, limits=limits
            )
        else:
            problems.append(
                Message(
                    "not checked: the runner of lane {lane} cannot check stages", lane=spec.lane
                )
            )
        if problems:
            found[name] = problems
    return found
