"""Public testing kit: run a stage for real, the contracts, sample scans.

`run_stage`, `StageContract` and `TargetContract` are what a plug-in's tests need; samples are in
`archived.testing.samples`. Importing this package is light; names load what they need on use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archived.testing.kit import Finished, StageFailed, run_stage
    from archived.testing.stage_contract import StageContract
    from archived.testing.target_contract import TargetContract

__all__ = ["Finished", "StageContract", "StageFailed", "TargetContract", "run_stage"]

_HOMES = {
    "Finished": "kit",
    "StageFailed": "kit",
    "StageContract": "stage_contract",
    "TargetContract": "target_contract",
    "run_stage": "kit",
}


_FORMER = {"StageBroke": "StageFailed"}


def __getattr__(name: str) -> Any:
    if name in _FORMER:
        raise ImportError(f"{name} is now called {_FORMER[name]}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
