"""Each of the six hooks, used by a plug-in in a running daemon (or on the command line)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from archived.api.hooks import HOOKS


def test_all_six_hooks_are_tested_here():
    tested = {name for name in globals() if name.startswith("test_hook_")}
    assert {f"test_hook_{name}" for name in HOOKS} == tested


def test_hook_register_stages(box, gate):
    (gate / "open").touch()
    box.start()
    box.drop("a.txt")
    box.sealed("a.txt")
    assert box.metric("archived_step_attempts_total")["", "finished", "gate"] == 1


def test_hook_register_targets(box, until):
    box.plugin("closet", CLOSET)
    box.tables["plugins"]["enabled"].append("replicate")
    box.tables["pipeline.paper"]["stages"] = ["seal", "replicate"]
    box.tables["stage.replicate"] = {"to": ["shelf"]}
    box.tables["target.shelf"] = {"kind": "closet", "path": box.hot("shelf")}
    box.start()
    box.drop("a.txt")
    until(lambda: box.states().get("a.txt") == "safe", "a copy was written and read back")
    assert list((box.folder / "shelf").rglob("inventory.json"))


def test_hook_register_runners(box, until):
    box.plugin("mine", RUNNER)
    box.tables["lanes"] = {"cpu": {"width": 1, "runner": "mine"}}
    box.start()
    box.drop("a.txt")
    box.sealed("a.txt")
    assert "stamp in lane cpu" in (box.plugins / "mine.said").read_text()
    box.drop("raise.txt")
    until(
        lambda: box.said("step-failed", code="runner-lost"), "a runner that raises costs an attempt"
    )
    until(lambda: box.states()["raise.txt"] == "held", "and then the document is held")
    assert box.get("/readyz")[0] == 200


def test_hook_register_commands(box):
    box.plugin("polite", COMMAND)
    box.write()
    line = [Path(sys.executable).parent / "archivectl", "--config", box.config, "greet"]
    said = subprocess.run(line, check=False, capture_output=True, text=True, timeout=60)
    assert (said.returncode, said.stdout) == (0, "good morning\n"), said


def test_hook_choose_pipeline(box, until):
    box.plugin("chooser", CHOOSER)
    box.tables["pipeline.bare"] = {"stages": ["seal"]}
    box.start()
    box.drop("bare.txt", "usual.txt", "wrong.txt", "raise.txt")
    box.sealed("bare.txt", "usual.txt", "wrong.txt", "raise.txt")
    chosen = dict(box.rows("SELECT name, pipeline FROM document"))
    assert chosen == {
        "bare.txt": "bare",
        "usual.txt": "paper",
        "wrong.txt": "paper",
        "raise.txt": "paper",
    }
    both = {("choose_pipeline", "chooser"): 2}
    until(lambda: box.metric("archived_plugin_failures_total") == both, "both are counted")


def test_hook_on_event(box, until):
    for name in ("before", "after"):
        box.plugin(name, OBSERVER)
    box.plugin(
        "moody",
        "from archived.api import hookimpl\n\n\n@hookimpl\n"
        "def on_event(event):\n    raise RuntimeError('not today')\n",
    )
    box.tables["plugins"]["enabled"] = ["stamp", "before", "moody", "after"]
    box.start()
    box.drop("a.txt", "b.txt")
    box.sealed("a.txt", "b.txt")

    def heard(name: str) -> list[int]:
        notes = box.plugins / f"{name}.heard"
        told = notes.read_text() if notes.exists() else ""
        return [json.loads(line)[0] for line in told.splitlines()]

    def told() -> list[int]:
        return [row[0] for row in box.rows("SELECT sequence FROM outbox ORDER BY sequence")]

    until(lambda: heard("before") == heard("after") == told(), "both heard all, in order")
    wanted = told()
    until(
        lambda: box.metric("archived_plugin_failures_total")["on_event", "moody"] == len(wanted),
        "each failure is counted",
    )
    assert box.end() == 0
    box.start()
    box.drop("c.txt")
    box.sealed("c.txt")
    until(lambda: len(heard("after")) > len(wanted), "news")
    assert heard("after") == sorted(set(heard("after"))), "the restart repeated nothing"


CLOSET = '''
import shutil
from pathlib import Path
from archived.api import Target, TargetConfig, hookimpl


class Options(TargetConfig):
    path: Path
    """Where things are put."""


class Closet(Target[Options]):
    kind = "closet"
    version = "1"

    def put(self, source, key, sha512):
        to = self.options.path / key
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, to)

    replace = put

    def open(self, key):
        return (self.options.path / key).open("rb")

    def list(self, prefix):
        for path in (self.options.path / prefix).rglob("*"):
            if path.is_file():
                yield str(path.relative_to(self.options.path))

    def free(self):
        return None


@hookimpl
def register_targets(register):
    register(Closet)
'''

CHOOSER = """
from archived.api import hookimpl


@hookimpl
def choose_pipeline(document, pipelines):
    assert set(pipelines) == {"paper", "bare"}
    if document.name == "raise.txt":
        raise RuntimeError("cannot decide")
    return {"bare.txt": "bare", "wrong.txt": "no such pipeline"}.get(document.name)
"""

OBSERVER = """
import json
from pathlib import Path
from archived.api import hookimpl


@hookimpl
def on_event(event):
    with Path(__file__).with_suffix(".heard").open("a") as notes:
        notes.write(json.dumps([event.sequence, event.name]) + "\\n")
"""

RUNNER = '''
from pathlib import Path
from archived.api import hookimpl


class Mine:
    """Notes what it runs and lets the house's own runner do it."""

    def __init__(self, lane, width, sources):
        from archived.engine.worker.runner import LocalRunner

        self.lane, self.inner = lane, LocalRunner(lane, width, sources)

    async def start(self):
        await self.inner.start()

    async def run(self, request, on_progress=None, on_log=None):
        if request.document.name == "raise.txt":
            raise RuntimeError("no connection to the cluster")
        with Path(__file__).with_suffix(".said").open("a") as notes:
            notes.write(f"{request.stage} in lane {self.lane}\\n")
        return await self.inner.run(request, on_progress, on_log)

    async def stop(self, grace=0.0):
        await self.inner.stop(grace)


@hookimpl
def register_runners(register):
    register("mine", Mine)
'''

COMMAND = '''
import click
from archived.api import hookimpl


@hookimpl
def register_commands(cli):
    @click.command()
    def greet():
        """Say good morning."""
        click.echo("good morning")

    cli.add_command(greet)
'''
