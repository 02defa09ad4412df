"""A stage that keeps its worker, in a real daemon: many documents, a reload, a stop, a kill."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from archived.testing.daemon import Daemon

PLUGIN = '''
import os, time
from archived.api import *


class Options(StageConfig):
    word: str = "one"
    """Something to change."""


class Token(Stage[Options]):
    name = "token"
    version = "1"
    needs = Needs(worker="kept", attempts=2)

    def __init__(self):
        self.steps = 0

    def run(self, document, context):
        self.steps += 1
        text = document.main.path.read_text()
        if text.startswith("crash"):
            os.kill(os.getpid(), 11)
        if text.startswith("wait"):
            time.sleep(1000)
        made = context.new_file("r.txt", media_type="text/plain", role=Role.TEXT)
        made.path.write_text(f"{document.id} {text}")
        return Result(add=[made], facts={
            "pid": os.getpid(), "steps": self.steps, "word": context.options.word,
        })


@hookimpl
def register_stages(register):
    register(Token)
'''


@pytest.fixture
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    box = Daemon(tmp_path_factory.mktemp("kept"))
    box.plugin("token", PLUGIN)
    box.tables["pipeline.paper"] = {"stages": ["token", "seal"]}
    box.tables["stage.token"] = {"lane": "token", "word": "one"}
    box.tables["lanes"] = {"token": 1, "cpu": 2}
    box.start()
    yield box
    if box.running():
        box.end()
    box.close()


def facts(box: Daemon, *names: str) -> list[dict[str, Any]]:
    """What the stage found of documents, when all are sealed."""
    wanted = ", ".join(f"'{name}'" for name in names)
    sealed = f"SELECT id FROM document WHERE name IN ({wanted}) AND state IN ('sealed', 'safe')"
    box.until(lambda: len(box.rows(sealed)) == len(names), f"{names} are sealed")
    found = box.rows(
        "SELECT s.facts FROM step s JOIN document d ON s.document = d.id "
        f"WHERE d.name IN ({wanted}) AND s.stage = 'token' AND s.ending = 'finished'"
    )
    return [json.loads(each) for (each,) in found]


def test_all_documents_are_done_by_one_process_until_something_changes(box: Daemon) -> None:
    names = [f"{number}.txt" for number in range(12)]
    box.drop(*names)
    found = facts(box, *names)
    assert len({each["pid"] for each in found}) == 1
    assert sorted(each["steps"] for each in found) == list(range(1, 13))
    box.drop("crash.txt", text="crash")
    box.until(
        lambda: box.rows("SELECT 1 FROM document WHERE name = 'crash.txt' AND state = 'held'"),
        "it has used up its attempts",
    )
    box.drop("after.txt")
    [after] = facts(box, "after.txt")
    assert after["steps"] == 1
    assert after["pid"] != found[0]["pid"]
    box.tables["stage.token"]["word"] = "two"
    box.write()
    box.process.send_signal(signal.SIGHUP)
    box.until(lambda: '"reloaded"' in box.log.read_text(), "it is reloaded")
    box.drop("reloaded.txt")
    [reloaded] = facts(box, "reloaded.txt")
    assert (reloaded["word"], reloaded["steps"]) == ("two", 1)
    box.until(lambda: not psutil.pid_exists(after["pid"]), "the worker of before is gone")
    box.end(seconds=60)
    assert not psutil.pid_exists(reloaded["pid"])
    assert list((box.folder / "state" / "work").iterdir()) == []


def test_when_the_daemon_is_killed_it_ends_and_every_document_is_done_once(box: Daemon) -> None:
    box.drop("first.txt")
    [first] = facts(box, "first.txt")
    box.drop("wait.txt", text="wait")
    box.until(
        lambda: box.rows("SELECT 1 FROM document WHERE name = 'wait.txt' AND running IS NOT NULL"),
        "a step runs",
    )
    box.end(signal.SIGKILL)
    box.until(lambda: not psutil.pid_exists(first["pid"]), "nothing of it survives")
    assert list((box.folder / "state" / "work").glob("kept-*")), "as a crash leaves it"
    box.start()
    box.until(
        lambda: box.rows("SELECT 1 FROM document WHERE name = 'wait.txt' AND running IS NOT NULL"),
        "the step is tried again",
    )
    box.end(seconds=60)
    ended = box.rows(
        "SELECT d.name, s.ending FROM step s JOIN document d ON s.document = d.id "
        "WHERE s.stage = 'token' ORDER BY s.started"
    )
    assert ended == [("first.txt", "finished"), ("wait.txt", "lost"), ("wait.txt", "requeued")]
    assert list((box.folder / "state" / "work").iterdir()) == []
