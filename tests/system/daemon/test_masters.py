"""A real daemon, a stack of papers and one that is secret: nothing of it leaves the spool."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from archived.cli.client import Session
from archived.errors import ArchivedError
from archived.storage.catalog import Catalog
from archived.testing import invariants

Wait = Callable[..., Any]
SECRET = "MẬT: lời không ai được đọc"
JUDGE = '''
from archived.api import *


class Cutter(Stage[StageConfig]):
    name = "cutter"
    version = "1"

    def run(self, document, context):
        """Cuts a text that begins with CUT into one document for each other line."""
        lines = document.main.path.read_text().splitlines()
        if lines[0] != "CUT":
            return Result()
        parts = []
        for number, line in enumerate(lines[1:], start=1):
            file = context.new_part(f"{number}.txt", media_type="text/plain")
            file.path.write_text(line + "\\n")
            parts.append(Part(file, f"part {number}"))
        return Result(parts=parts)


class Judge(Stage[StageConfig]):
    name = "judge"
    version = "1"

    def run(self, document, context):
        """Refuses MẬT, and has a person look at LOOK."""
        text = document.main.path.read_text()
        if text.startswith("MẬT"):
            raise Refuse("a mark is above the declared level", code="secrecy-above-declared")
        note = context.new_file("note.txt", media_type="text/plain", role=Role.TEXT)
        note.path.write_text(text)
        asked = [Review("unread-content", "Marks were not read.")] if "LOOK" in text else []
        return Result(add=[note], reviews=asked)


@hookimpl
def register_stages(register):
    register(Cutter)
    register(Judge)
'''


@pytest.fixture
def archive(box: Any) -> Any:
    box.plugin("judge", JUDGE)
    box.tables["plugins"]["enabled"].append("replicate")
    box.tables["pipeline.paper"]["stages"] = ["cutter", "judge", "seal", "replicate"]
    box.tables["stage.replicate"] = {"to": ["second"]}
    box.tables["target.second"] = {
        "kind": "directory",
        "path": box.hot("second"),
        "allow_same_filesystem": True,
    }
    return box


def decide(box: Any, what: str, name: str) -> str:
    session = Session(box.config)
    document = box.documents()[name][3]
    shown = None
    if what == "look":
        (step,) = session.ask_daemon("review", {"document": document})["steps"]
        what, shown = "release", step["shown"]
    return str(session.decide(what, document, "a word", shown=shown)["state"])


def stands(box: Any, until: Wait, name: str, *state: str | None) -> None:
    until(
        lambda: box.documents().get(name, ())[: len(state)] == state,
        f"{name} is {state}",
        else_show=box.documents,
    )


def nothing_secret_is_out(box: Any) -> None:
    """Neither in the store, nor in the copies, nor in the log, nor to be found."""
    for place in ("store", "second"):
        for path in (box.folder / place).rglob("*"):
            assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path
    assert SECRET not in box.log.read_text()
    assert not box.rows("SELECT * FROM words WHERE body LIKE '%khong ai duoc%'")
    assert not box.rows("SELECT * FROM outbox WHERE facts LIKE '%không ai%'")


def test_a_scan_with_a_secret_part_stays_in_the_spool_until_a_person_decides_about_it(
    archive: Any, until: Wait
) -> None:
    archive.start()
    archive.drop("stack.txt", text=f"CUT\nmột\n{SECRET}\nLOOK here\n")
    stands(archive, until, "part 1", "safe")
    stands(archive, until, "part 2", "held", "secrecy-above-declared")
    stands(archive, until, "part 3", "held", "unread-content")
    decide(archive, "look", "part 3")
    stands(archive, until, "part 3", "safe")
    assert archive.states()["stack.txt"] == "divided"
    decide(archive, "reject", "part 2")
    stands(archive, until, "stack.txt", "held", "part-secrecy-above")
    nothing_secret_is_out(archive)

    decide(archive, "retry", "stack.txt")
    stands(archive, until, "stack.txt", "held", "part-secrecy-above")
    assert archive.end(signal.SIGKILL) == -signal.SIGKILL
    archive.start()
    stands(archive, until, "stack.txt", "held", "part-secrecy-above")
    nothing_secret_is_out(archive)

    decide(archive, "release", "stack.txt")
    stands(archive, until, "stack.txt", "safe")
    assert archive.end(signal.SIGTERM) == 0
    assert invariants.problems(archive.folder / "state", archive.folder / "store") == []


def test_a_rebuilt_catalog_does_not_let_it_out(archive: Any, until: Wait) -> None:
    archive.start()
    archive.drop("stack.txt", text=f"CUT\nmột\n{SECRET}\n")
    stands(archive, until, "part 2", "held")
    stands(archive, until, "part 1", "safe")
    decide(archive, "reject", "part 2")
    stands(archive, until, "stack.txt", "held", "part-secrecy-above")
    assert archive.end(signal.SIGTERM) == 0
    for part in (archive.folder / "state").glob("catalog.db*"):
        part.unlink()
    command = [archive.command()[0], "--config", str(archive.config), "rebuild"]
    subprocess.run(command, check=True, capture_output=True)

    archive.start()
    stands(archive, until, "stack.txt", "held", "parts-found")
    decide(archive, "release", "stack.txt")  # against the advice: it is cut and judged again
    until(lambda: len(archive.rows("SELECT id FROM document WHERE state = 'held'")) == 1, "again")
    nothing_secret_is_out(archive)
    assert archive.end(signal.SIGTERM) == 0


def test_one_that_was_sealed_before_this_rule_is_not_copied(archive: Any, until: Wait) -> None:
    """As an earlier version left it, its copy not made yet."""
    archive.start()
    archive.drop("stack.txt", text=f"CUT\nmột\n{SECRET}\n")
    stands(archive, until, "part 2", "held")
    stands(archive, until, "part 1", "safe")
    decide(archive, "reject", "part 2")
    stands(archive, until, "stack.txt", "held", "part-secrecy-above")
    aside = archive.folder / "aside"
    (archive.folder / "second").rename(aside)
    decide(archive, "release", "stack.txt")
    stands(archive, until, "stack.txt", "sealed", "target-missing")
    assert archive.end(signal.SIGTERM) == 0
    with closing(Catalog.open(archive.folder / "state" / "catalog.db")) as catalog:
        row = catalog.document(archive.documents()["part 2"][3])
        with catalog.transaction() as change:  # nobody had decided about this part as it is
            change.set_columns(row.id, changed=row.received)
            change.set_columns(row.master or "", due=row.received)
    aside.rename(archive.folder / "second")
    archive.start()
    stands(archive, until, "stack.txt", "held", "part-secrecy-above")
    copies = [path for path in (archive.folder / "second").rglob("*") if path.is_file()]
    assert not any(SECRET.encode() in path.read_bytes() for path in copies)
    decide(archive, "release", "stack.txt")
    stands(archive, until, "stack.txt", "safe")
    assert archive.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("pause", [0.0, 0.02, 0.2])
def test_killed_while_it_asks_for_a_look_and_while_a_person_decides(
    archive: Any, until: Wait, pause: float
) -> None:
    archive.start()
    archive.drop("look.txt", text="LOOK here\n")
    until(archive.documents, "it was taken in")
    time.sleep(pause)  # until the moment at which it dies
    archive.end(signal.SIGKILL)
    archive.start()
    stands(archive, until, "look.txt", "held", "unread-content")

    def release() -> None:
        with contextlib.suppress(ArchivedError, OSError):
            decide(archive, "look", "look.txt")

    operators = [threading.Thread(target=release) for _ in range(2)]
    for each in operators:
        each.start()
    time.sleep(pause)
    archive.end(signal.SIGKILL)
    for each in operators:
        each.join(30)
    archive.start()
    if archive.states()["look.txt"] == "held":
        decide(archive, "look", "look.txt")
    stands(archive, until, "look.txt", "safe")
    decided = archive.rows("SELECT * FROM ledger WHERE kind = 'document-released'")
    assert len(decided) == 1
    assert archive.end(signal.SIGTERM) == 0
    assert invariants.problems(archive.folder / "state", archive.folder / "store") == []
    objects = list((archive.folder / "store").rglob("record.json"))
    assert len(objects) == 1
