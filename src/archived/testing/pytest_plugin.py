"""pytest plug-in offered to plug-in authors; loaded by pytest through its entry point.

pytest imports this module in every session of every project where archived is installed, so it
imports nothing of archived until a fixture is used.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.register_assert_rewrite(
    "archived.testing.stage_contract", "archived.testing.target_contract"
)


@pytest.hookimpl(tryfirst=True)
def pytest_configure() -> None:
    """Keep one warning of pytest-asyncio's back, which is installed where archived is developed.

    Whoever tests a plug-in there has set nothing for it and uses nothing of it. pytest forgets the
    filter when all plug-ins are configured.
    """
    warnings.filterwarnings(
        "ignore", message='The configuration option "asyncio_default_fixture_loop_scope" is unset'
    )


def pytest_sessionfinish() -> None:
    """End the fork servers the session used."""
    if "archived.testing.lane" in sys.modules:
        sys.modules["archived.testing.lane"].close_lanes()


@pytest.fixture
def run_stage(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """`archived.testing.run_stage`, with its folders below `tmp_path`."""
    from archived.testing.kit import run_stage_below

    yield partial(run_stage_below, tmp_path)


@pytest.fixture(scope="session")
def sample() -> Callable[[str], Path]:
    """`sample("tiny.tif")` is the path of that scan; see `archived.testing.samples`."""
    from archived.testing import samples

    return samples.sample
