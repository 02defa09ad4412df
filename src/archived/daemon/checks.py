"""Lets every configured stage and target check itself, in a child. Complaints stop nothing."""

from __future__ import annotations

from collections.abc import Mapping

from archived.config import Settings
from archived.daemon import cards
from archived.engine.boundary import Limits
from archived.engine.programs import missing
from archived.engine.runner import LocalRunner
from archived.engine.scheduler import Runner


async def check_all(settings: Settings, runners: Mapping[str, Runner]) -> dict[str, list[str]]:
    """Stage or target name -> what its own `check` complains about; empty lists left out."""
    found: dict[str, list[str]] = {}
    deck = cards.deck(settings)
    targets = {t.name: {"kind": t.kind, "options": dict(t.options)} for t in deck.targets.values()}
    for name, card in deck.stages.items():
        problems = missing(settings.stages[name].needs.programs)
        runner = runners.get(card.lane)
        if isinstance(runner, LocalRunner):
            limits = Limits(
                memory=card.memory, network=card.network, system_calls=card.system_calls
            )
            own = targets if card.targets else {}
            problems += await runner.check(
                name, card.options, own, settings.store.path, limits=limits
            )
        else:
            problems.append(f"not checked: the runner of lane {card.lane} cannot check stages")
        if problems:
            found[name] = problems
    return found
