"""What a taken-over stage leaves in its folder stops neither its document nor the next start."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PLUGIN = """
import json, os
from archived.api import *


class Options(StageConfig):
    pass


class Leaves(Stage[Options]):
    name = "leaves"
    version = "1"
    needs = Needs(attempts=2)

    def run(self, document, context):
        asked = json.loads(document.originals[0].path.read_text())
        os.chdir(context.folder)
        for _ in range(asked["depth"]):
            os.mkdir(asked["name"])
            os.chdir(asked["name"])
        open("file", "w").close()
        if "mode" in asked:
            os.chmod(".", asked["mode"])
        os.chdir("/")
        if asked.get("fails"):
            raise RuntimeError("as it was told")
        return Result()


@hookimpl
def register_stages(register):
    register(Leaves)
"""


@pytest.fixture
def leaving(box: Any) -> Iterator[Any]:
    box.plugin("leaves", PLUGIN)
    box.tables["pipeline.paper"] = {"stages": ["leaves", "seal"]}
    yield box
    if box.process is not None and box.process.poll() is None:
        box.end()
    subprocess.run(["chattr", "-R", "-i", box.folder], capture_output=True, check=False)
    subprocess.run(["rm", "-rf", box.folder / "state"], check=True)


def drop(box: Any, file: str, **asked: object) -> None:
    box.drop(file, text=json.dumps(asked))


def left(box: Any, name: str) -> list[str]:
    folder = box.folder / "state" / name
    found = sorted(os.listdir(folder)) if folder.exists() else []  # noqa: PTH208 - names only
    return [each for each in found if not each.startswith("archived-check-")]


def build(folder: Path, depth: int, name: str) -> None:
    folder.mkdir(parents=True)
    handle = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=handle)
        above, handle = handle, os.open(name, os.O_RDONLY, dir_fd=handle)
        os.close(above)
    os.close(handle)


def test_deep_long_and_closed_trees_are_cleared_with_the_step(leaving: Any) -> None:
    leaving.start()
    drop(leaving, "deep.txt", depth=1500, name="d")
    drop(leaving, "long.txt", depth=60, name="n" * 200)
    drop(leaving, "closed.txt", depth=3, name="c", mode=0)
    drop(leaving, "fails.txt", depth=1200, name="d", fails=True)
    leaving.until(
        lambda: (
            leaving.states()
            == {
                "deep.txt": "sealed",
                "long.txt": "sealed",
                "closed.txt": "sealed",
                "fails.txt": "held",
            }
        ),
        "all at rest",
        120,
    )
    leaving.until(lambda: left(leaving, "work") == [], "cleared", 60)
    assert left(leaving, "uncleared") == []
    rows = leaving.rows("SELECT code, attempts FROM document WHERE name = 'fails.txt'")
    assert rows == [("stage-error", 2)]
    assert leaving.said("step-unrecorded") == []


def test_a_daemon_starts_whatever_a_step_left(leaving: Any) -> None:
    leaving.start()
    leaving.end()
    for place in ("work", "spool/incoming"):
        build(leaving.folder / "state" / place / "deep", 1500, "d")
        build(leaving.folder / "state" / place / "long", 60, "n" * 255)
    leaving.start()
    assert left(leaving, "work") == left(leaving, "spool/incoming") == []
    drop(leaving, "a.txt", depth=1, name="d")
    leaving.sealed("a.txt")


def test_what_cannot_be_cleared_is_set_aside_told_and_tried_again(leaving: Any) -> None:
    leaving.start()
    leaving.end()
    held = leaving.folder / "state/work/held"
    (held / "a").mkdir(parents=True)
    (held / "a/file").touch()
    made = subprocess.run(["chattr", "+i", held / "a/file"], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("this user or this file system knows no immutable files")
    leaving.start()
    assert len(left(leaving, "uncleared")) == 1
    assert left(leaving, "work") == []
    assert leaving.said("not-cleared", folder="held")
    assert leaving.metric("archived_uncleared_folders")["spool",] == 1
    shown = subprocess.run(
        [
            Path(leaving.command()[0]).with_name("archivectl"),
            "--config",
            leaving.config,
            "--json",
            "status",
        ],
        capture_output=True,
        check=False,
        text=True,
    )
    uncleared = json.loads(shown.stdout)["daemon"]["uncleared"]
    assert uncleared[str(leaving.folder / "state/uncleared")] == 1
    drop(leaving, "a.txt", depth=1, name="d")
    leaving.sealed("a.txt")
    leaving.end()
    for file in (leaving.folder / "state/uncleared").glob("*/a/file"):
        subprocess.run(["chattr", "-i", file], check=True)
    leaving.start()
    with contextlib.suppress(FileNotFoundError):
        leaving.until(lambda: left(leaving, "uncleared") == [], "removed at last", 60)
    assert left(leaving, "uncleared") == []
