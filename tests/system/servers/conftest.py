"""Tests against real servers: run by `./run servers`, which sets ARCHIVED_SERVERS=1."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.system.servers.appliance import Appliance, Box
from tests.system.servers.services import Services


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Servers are many and slow: they have a task of their own."""
    if os.environ.get("ARCHIVED_SERVERS") == "1":
        return
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="real servers: ./run servers runs these"))


@pytest.fixture(scope="session")
def public() -> Iterator[Path]:
    """A folder that every user may pass: sshd wants the whole path to its chroot to be root's."""
    base = "/srv" if os.geteuid() == 0 else None
    made = Path(tempfile.mkdtemp(prefix="archived-servers-", dir=base))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="session")
def appliance(public: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """The real daemon, one for all tests."""
    hot = public / "hot"
    hot.mkdir()
    with Appliance(tmp_path_factory.mktemp("appliance"), hot) as running:
        yield running
        running.judge_again()


@pytest.fixture(scope="session")
def services(public: Path, appliance: Appliance) -> Iterator[Services]:
    """The servers, each started when it is first asked for."""
    made = Services(public, appliance.public)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def box(appliance: Appliance, request: pytest.FixtureRequest) -> Callable[[str], Box]:
    """Makes a folder for this test in a server's hot folder."""
    name = request.node.name.partition("[")[0].removeprefix("test_")[:60]
    return lambda folder: appliance.box(folder, name)
