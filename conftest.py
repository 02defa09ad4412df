"""Where tests write, the order of files, and the judges that tests ask.

Tests write below a folder in memory where there is room: on a disk they mostly wait for fsync, and
no test can tell whether a disk kept what it was told to keep. What is not fsynced is torn or left
out by the tests that ask for it; `./run fault` and the file systems that tests mount are real.
`--basetemp` or ARCHIVED_TESTS_ON_DISK=1 says otherwise, and keeps what failed tests wrote.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tools import pdfa_judge
from tools.pdfa_judge import Sentence

ROOT = Path(__file__).parent
SLOW = (
    "tests/fault",
    "tests/fault/stateful",
    "tests/fault/storage",
    "tests/system/daemon",
    "tests/system/bad_input",
    "plugins/ocr",
    "tests/integration/receipts",
    "tests/integration/ingest",
    "tests/system/cli",
)
"""Where single files take longest, the slowest first."""


MEMORY = Path("/dev/shm")
ROOM = 4 << 30
"""Bytes that must be free in memory; a whole run takes less than half of it."""


def pytest_configure(config: pytest.Config) -> None:
    """Choose where tests write, unless the command line says it; workers are told by theirs."""
    if hasattr(config, "workerinput") or config.option.basetemp is not None:
        return
    if os.environ.get("ARCHIVED_TESTS_ON_DISK") == "1" or not os.access(MEMORY, os.W_OK):
        return
    if shutil.disk_usage(MEMORY).free < ROOM:
        return
    for left in MEMORY.glob("archived-tests-*"):  # by a run that was killed
        if not Path("/proc", left.name.split("-")[2]).exists():
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"archived-tests-{os.getpid()}-", dir=MEMORY))
    config.option.basetemp = folder
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


@pytest.fixture(scope="session", autouse=True)
def statements_compiled_once() -> None:
    """All catalogs of a test process share what SQLAlchemy compiled.

    A daemon opens one catalog and compiles each statement once; tests open thousands, and every one
    would compile them again, a third of what such a test costs. The cache asks for the dialect as
    well, of which each engine has its own: they are all the same one.
    """
    from sqlalchemy import Connection, Engine, event
    from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite as Dialect
    from sqlalchemy.util import LRUCache

    compiled: LRUCache[object, object] = LRUCache(2000)
    Dialect.__eq__ = lambda one, other: type(one) is type(other)  # type: ignore[method-assign]
    Dialect.__hash__ = lambda one: hash(type(one))  # type: ignore[method-assign]

    def share(connection: Connection) -> None:
        connection.execution_options(compiled_cache=compiled)

    event.listen(Engine, "engine_connect", share)


def judge_program(name: str) -> str:
    """The command of a judge that `./run judges` made, or that stands on PATH.

    Where it is absent the test is skipped, and fails in `./run judges`.
    """
    folder = os.environ.get("ARCHIVED_JUDGES")
    program = shutil.which(f"{folder}/{name}" if folder else name)
    if program is None and folder:
        pytest.fail(f"./run judges did not install {name}")
    if program is None:
        pytest.skip(f"{name} is not here: ./run judges installs it and runs these")
    return program


@pytest.fixture(scope="session")
def verapdf() -> Callable[..., list[Sentence]]:
    """What veraPDF says of PDF files: `verapdf(paths, flavour="2b")`, one `Sentence` for each."""
    return partial(pdfa_judge.judge, judge_program("verapdf"))


@pytest.fixture(scope="session")
def evidence_record_judge() -> str:
    """The command of tools/judges/EvidenceRecordJudge.java."""
    return judge_program("evidence-record")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort by folder; within a folder the order stays."""

    def place(item: pytest.Item) -> int:
        path = item.path.relative_to(ROOT).as_posix()
        return next((n for n, each in enumerate(SLOW) if path.startswith(each)), len(SLOW))

    items.sort(key=place)
