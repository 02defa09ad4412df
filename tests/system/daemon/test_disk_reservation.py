"""Room is kept for a step before it starts; one for which there is none waits, visibly."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from archived.engine.disk_reservation import LEAST, DiskReservations, wanted

pytestmark = pytest.mark.timeout(300)
MIB = 1 << 20
SMALL = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """96 MiB, a file system of its own."""
    point = tmp_path / "state"
    point.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "none", str(point)], check=True)
    yield point
    subprocess.run(["umount", "-l", str(point)], check=True)


def fill(disk: Path, left: int) -> Path:
    """All but so many bytes are taken."""
    ballast = disk / "ballast"
    free = os.statvfs(disk)
    with ballast.open("wb") as file:
        for _ in range((free.f_bavail * free.f_frsize - left) // MIB):
            file.write(bytes(MIB))
    return ballast


@SMALL
def test_what_is_kept_for_one_step_is_not_given_to_another(disk: Path) -> None:
    room = DiskReservations()
    assert room.reserve("one", wanted(disk, 6 * MIB, 10.0)) is None
    short = room.reserve("two", wanted(disk, 6 * MIB, 10.0))
    assert short is not None
    assert (short.reserved, short.folder) == (60 * MIB, disk)
    assert "60 MiB of them kept for running steps" in str(short)
    assert room.reserve("small", wanted(disk, 1, 3.0)) is None, f"{LEAST} bytes are left for it"
    assert room.reserved(disk) == 60 * MIB + LEAST
    room.give_back("one")
    assert room.reserve("two", wanted(disk, 6 * MIB, 10.0)) is None
    assert room.reserve("nothing", wanted(disk, 10**12, 0.0)) is None, "0 keeps nothing"


@SMALL
def test_a_step_without_room_waits_at_no_cost_and_begins_as_soon_as_there_is_some(
    box: Any, gate: Path, until: Callable[..., Any], disk: Path
) -> None:
    (gate / "open").touch()
    box.tables["stage.gate"]["disk_factor"] = 10
    box.start()
    ballast = fill(disk, 40 * MIB)
    box.drop("big.txt", text="0123456789abcde\n" * (4 * MIB // 16))
    until(lambda: box.documents().get("big.txt", ("",))[0] == "waiting", "big.txt waits")
    state, code, attempts, document = box.documents()["big.txt"]
    assert (state, code, attempts) == ("waiting", "no-space", 0)
    [(reason, hint)] = box.rows("SELECT reason, hint FROM document")
    assert "no room to begin: 4" in reason
    assert str(disk) in reason
    assert "`disk_factor`" in hint
    until(lambda: box.said("step-postponed", document=document, code="no-space"), "the log says so")
    # A small one fits, and passes.
    box.drop("small.txt")
    box.sealed("small.txt")
    assert box.states()["big.txt"] == "waiting"
    assert not (gate / "began-big.txt").exists()

    ballast.unlink()
    box.sealed("big.txt")
    assert (gate / "began-big.txt").read_text() == ".", "it ran once"
    assert box.rows("SELECT name FROM outbox WHERE name = 'step-postponed'")


@SMALL
def test_intake_leaves_alone_what_is_kept_for_a_running_step(
    box: Any, gate: Path, until: Callable[..., Any], disk: Path
) -> None:
    box.tables["stage.gate"]["disk_factor"] = 15
    box.start()
    box.drop("big.txt", text="0123456789abcde\n" * (4 * MIB // 16))
    until((gate / "began-big.txt").exists, "the step of big.txt runs")
    ballast = fill(disk, 64 * MIB)
    box.drop("next.txt", text="another page\n" * (4 * MIB // 13))
    until(lambda: box.metric("archived_intake_paused") == {("scans",): 1.0}, "intake is paused")
    assert "next.txt" not in box.states(), "60 of the 64 MiB are kept for big.txt"

    (gate / "open").touch()
    box.sealed("big.txt")
    until(lambda: box.metric("archived_intake_paused") == {("scans",): 0.0}, "intake goes on")
    ballast.unlink()
    box.sealed("next.txt")


HUNGRY = """
from pathlib import Path
from archived.api import *


class Options(StageConfig):
    tries: Path = Path("/")
    \"\"\"Where it says that it began.\"\"\"


class Hungry(Stage[Options]):
    name = "hungry"
    version = "1"
    writes = ("tries",)

    def run(self, document, context):
        \"\"\"Needs 32 MiB for a while.\"\"\"
        with (context.options.tries / "began").open("a") as began:
            began.write(".")
        (context.folder / "much").write_bytes(bytes(32 << 20))
        (context.folder / "much").unlink()
        return Result()


@hookimpl
def register_stages(register):
    register(Hungry)
"""


@SMALL
def test_a_step_that_outgrew_its_room_is_not_begun_again_until_there_is_more(
    box: Any, tmp_path: Path, until: Callable[..., Any], disk: Path
) -> None:
    tries = tmp_path / "tries"
    tries.mkdir()
    box.plugin("hungry", HUNGRY)
    box.tables["pipeline.paper"]["stages"] = ["hungry", "seal"]
    box.tables["stage.hungry"] = {"disk_factor": 4, "tries": tries}
    box.start()
    ballast = fill(disk, 28 * MIB)
    box.drop("big.txt", text="0123456789abcde\n" * (4 * MIB // 16))
    # 16 MiB of the 24 that are left are kept for it; it fills them, and next time wants 32.

    def reason() -> str:
        return str(box.rows("SELECT reason FROM document") or "")

    until(lambda: "no room to begin: 3" in reason(), "it waits for more", else_show=reason)
    assert (tries / "began").read_text() == "."
    assert box.documents()["big.txt"][:3] == ("waiting", "no-space", 0)

    ballast.unlink()
    box.sealed("big.txt")
    assert (tries / "began").read_text() == ".."
