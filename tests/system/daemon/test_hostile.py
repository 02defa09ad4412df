"""What a taken-over stage reports, in a real daemon: no document is safe by its word alone, none
runs without end, none stays behind as working, and no figure says what it likes.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from archived.engine.worker.reply import PROTECTIONS
from archived.testing.daemon import Daemon

PLUGIN = '''
import fcntl, json, os, stat, time
from datetime import UTC, datetime
from pathlib import Path
from archived.api import *

GOOD = {"ending": "finished", "code": "", "message": "", "hint": "", "after": None, "made": [],
        "main": None, "facts": {}, "tools": {}, "copies": [], "notes": [], "parts": [],
        "reviews": []}


def writes(fd):
    try:
        return (stat.S_ISFIFO(os.fstat(fd).st_mode)
                and fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY)
    except OSError:
        return False


def say(what):
    pipe = next(n for n in map(int, os.listdir("/proc/self/fd")) if n > 2 and writes(n))
    view = memoryview((what if isinstance(what, str) else json.dumps(what)).encode() + b"\\n")
    while view:
        view = view[os.write(pipe, view):]


class Options(StageConfig):
    pass


class Evil(Stage[Options]):
    name = "evil"
    version = "1"
    needs = Needs(attempts=2)

    def run(self, document, context):
        asked = json.loads(document.originals[0].path.read_text())
        return getattr(self, asked["do"])(document, context, asked) or Result()

    def nothing(self, document, context, asked):
        pass

    def wait(self, document, context, asked):
        until = time.monotonic() + 20
        while time.monotonic() < until:
            time.sleep(0.05)

    def raw(self, document, context, asked):
        for line in asked["lines"]:
            say(line)
        os._exit(0)

    def outcome(self, document, context, asked):
        say({"outcome": {**GOOD, **asked["change"]}})
        os._exit(0)

    def deep(self, document, context, asked):
        facts = {}
        for _ in range(asked["depth"]):
            facts = {"a": facts}
        return Result(facts=facts)

    def copies(self, document, context, asked):
        sealed = document.sealed
        key = asked.get("key") or ("ocfl/" + sealed.key if sealed else "ocfl/x")
        digest = asked.get("digest") or (sealed.inventory_sha512 if sealed else "0" * 128)
        if asked.get("partly"):
            target = context.target(asked["targets"][0])
            target.put(sealed.root / "inventory.json", f"{key}/inventory.json",
                       sealed.inventory_sha512)
        return Result(copies=[Copy(t, key, digest, 1, 1, datetime.now(UTC))
                              for t in asked["targets"]])


class Copies(Evil):
    """The same, and it declares that it makes copies."""

    name = "evil-copies"
    needs = Needs(attempts=2, targets=True)


@hookimpl
def register_stages(register):
    register(Evil)
    register(Copies)
'''


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    box = Daemon(tmp_path_factory.mktemp("hostile"))
    box.plugin("evil", PLUGIN)
    box.tables["plugins"]["enabled"].append("replicate")
    second = box.folder / "second"
    second.mkdir()
    box.tables["target.second"] = {
        "kind": "directory",
        "path": second,
        "allow_same_filesystem": True,
    }
    box.tables["stage.replicate"] = {"to": ["second"]}
    box.tables["lanes"] = {"cpu": 3, "network": 1}
    for name, stages, copies in (
        ("before", ["evil", "seal"], 1),
        ("plain", ["seal", "evil"], 1),
        ("after", ["seal", "evil-copies"], 1),
        ("honest", ["seal", "replicate"], 1),
    ):
        box.tables[f"pipeline.{name}"] = {"stages": stages, "copies": copies}
        box.tables[f"hotfolder.{name}"] = {"path": box.hot(name), "pipeline": name}
    box.start()
    yield box
    if box.running():
        box.end()
    box.close()


def drop(box: Daemon, folder: str, **asked: Any) -> str:
    """A document that asks for an attack; its name."""
    name = f"{os.urandom(6).hex()}.txt"
    box.drop(name, folder=folder, text=json.dumps({"of": name, **asked}))
    return name


def document(box: Daemon, name: str) -> dict[str, Any]:
    keys = "id", "state", "running", "attempts", "code", "reason"
    found = box.rows(f"SELECT {', '.join(keys)} FROM document WHERE name = '{name}'")
    return dict(zip(keys, found[0], strict=True)) if found else {}


def at_rest(box: Daemon, name: str, *states: str) -> dict[str, Any]:
    states = states or ("held", "safe")
    box.until(
        lambda: document(box, name).get("state") in states,
        f"{name}: {states}",
        90,
        lambda: document(box, name),
    )
    found = document(box, name)
    assert found["running"] is None
    return found


@pytest.mark.parametrize(
    "change",
    [
        {"ending": "requeued"},
        {"ending": "requeued", "code": "shutdown"},
        {"ending": "postponed", "code": "a-server", "after": -1},
        {"ending": "postponed", "code": "runner-lost", "after": 1},
        {"ending": "failed", "code": "interrupted"},
        {"facts": {"x": "\ud800"}},
        {"facts": {"mean_confidence": 10**400}},
        {"facts": {"x": float("nan")}},
        {"facts": {"x": "y" * (3 << 20)}},
        {"tools": {"text of a page": "\ud800"}},
        {"made": [{"path": "x", "name": "a\u202egpj.\u2028", "media_type": "a/b", "role": "text"}]},
    ],
    ids=lambda change: repr(change)[:60],
)
def test_a_forged_result_is_held_after_its_attempts(box: Daemon, change: dict[str, Any]) -> None:
    found = at_rest(box, drop(box, "before", do="outcome", change=change))
    assert (found["state"], found["code"], found["attempts"]) == ("held", "bad-output", 2), found
    steps = box.rows(f"SELECT ending FROM step WHERE document = '{found['id']}'")
    assert steps == [("failed",), ("failed",)]


@pytest.mark.parametrize("depth", [33, 150, 400, 900])
def test_facts_too_deep_to_be_sealed_are_judged_when_they_arrive(box: Daemon, depth: int) -> None:
    found = at_rest(box, drop(box, "before", do="deep", depth=depth))
    assert (found["state"], found["code"]) == ("held", "bad-output"), found


def test_facts_that_are_as_deep_as_they_may_be_are_sealed(box: Daemon) -> None:
    at_rest(box, drop(box, "before", do="deep", depth=30), "sealed")


@pytest.mark.parametrize(
    ("folder", "more", "words"),
    [
        ("plain", {"targets": ["second"]}, "does not declare"),
        ("before", {"targets": ["second"]}, "does not declare"),
        ("after", {"targets": ["no-such-disk"]}, "no target that it was given"),
        ("after", {"targets": ["second", "second"]}, "two copies at one target"),
        ("after", {"targets": ["second"], "digest": "0" * 128}, "another version"),
        ("after", {"targets": ["second"], "key": "/etc"}, "not a path below"),
        ("after", {"targets": ["second"], "key": "ocfl/../../.."}, "not a path below"),
    ],
)
def test_copies_that_cannot_be_are_not_counted(
    box: Daemon, folder: str, more: dict[str, Any], words: str
) -> None:
    found = at_rest(box, drop(box, folder, do="copies", **more), "held")
    assert found["code"] == "bad-output", found
    assert words in found["reason"]
    assert box.rows(f"SELECT * FROM replica WHERE document = '{found['id']}'") == []


@pytest.mark.parametrize("partly", [False, True], ids=["not at all", "its inventory only"])
def test_a_copy_that_is_not_there_makes_no_document_safe(box: Daemon, partly: bool) -> None:
    found = at_rest(box, drop(box, "after", do="copies", targets=["second"], partly=partly), "held")
    assert found["code"] == "copy-differs", found
    assert "was reported, but is not there" in found["reason"]
    assert box.rows(f"SELECT * FROM replica WHERE document = '{found['id']}'") == []


def test_a_copy_that_is_there_makes_its_document_safe(box: Daemon) -> None:
    found = at_rest(box, drop(box, "honest", do="nothing"), "safe")
    assert len(box.rows(f"SELECT * FROM replica WHERE document = '{found['id']}'")) == 1


def test_figures_are_what_the_core_says_and_stay_readable(box: Daemon) -> None:
    at_rest(box, drop(box, "before", do="nothing"), "sealed")
    leak = {f"leak-{n}-text of a secret page": "yes (all is well)" for n in range(2000)}
    for lines in (
        [{"confinement": leak | {"files": "yes (forged)"}}],
        [{"confinement": dict.fromkeys(PROTECTIONS, "yes (forged)")}],
        ['{"confinement": {"files": "yes (\\ud800)"}}'],
        ['{"progress": 1' + "0" * 400 + "}"],
    ):
        found = at_rest(box, drop(box, "before", do="raw", lines=lines))
        assert found["code"] == "bad-output", found
    change = {"tools": {"text of a secret page": "1"}, "facts": {"waited": {"a secret page": 1.0}}}
    at_rest(box, drop(box, "before", do="outcome", change=change), "sealed")

    def figures() -> str:
        status, text = box.get("/metrics")
        assert status == 200, text[:500]
        return text

    box.until(lambda: 'archived_tool_info{tool="other"' in figures(), "the last step is told")
    text = figures()
    assert "secret" not in text
    assert "forged" not in text
    held = [line for line in text.splitlines() if line.startswith("archived_sandbox_active{")]
    assert 0 < len(held) <= 2 * len(PROTECTIONS), "of two lanes"
    assert "archived_documents_without_step 0.0" in text


def test_a_lane_that_loses_its_fork_server_counts_against_nobody_and_works_again(
    box: Daemon,
) -> None:
    names = [drop(box, "before", do="nothing") for _ in range(2)]
    for name in names:
        at_rest(box, name, "sealed")
    waiting = [drop(box, "before", do="wait") for _ in range(2)]
    box.until(lambda: all(document(box, name).get("running") for name in waiting), "both run", 90)

    def children() -> dict[int, int]:
        """Fork server -> its children. A step counts as running shortly before it has one."""
        return {pid: len(psutil.Process(pid).children()) for pid in box.fork_servers()}

    box.until(lambda: sum(children().values()) >= len(waiting), "both have a process", 90)
    for pid, number in children().items():
        if number:
            os.kill(pid, signal.SIGKILL)
    for one in [document(box, name)["id"] for name in waiting]:
        back = f"SELECT 1 FROM step WHERE document = '{one}' AND ending = 'requeued'"
        box.until(lambda: box.rows(back), "put back")  # noqa: B023 - waited for at once
    box.until(lambda: any(document(box, name)["running"] for name in waiting), "one runs again")
    assert {document(box, name)["attempts"] for name in waiting} <= {0, 1}
    at_rest(box, drop(box, "before", do="nothing"), "sealed")


def test_nothing_stays_behind(box: Daemon) -> None:
    assert box.get("/readyz")[0] == 200, box.get("/readyz")
    assert "step-unrecorded" not in Path(box.log).read_text()
