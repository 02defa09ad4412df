"""Every event there is happens to a real daemon, and says what docs/events.md says it does."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema

from archived.api import EVENTS
from archived.observe.publisher import payload
from archived.storage.catalog import Catalog
from tests.system.monitoring.monitoring_programs import ROOT

SAYS = Path(sys.executable).parent / "archivectl"


def strict_schema() -> dict:
    """The documented one, but a fact that it does not name is a mistake."""
    page = (ROOT / "docs" / "events.md").read_text()
    schema = json.loads(page.split("```json schema\n")[1].split("```")[0])
    jsonschema.Draft202012Validator.check_schema(schema)
    schema["properties"]["facts"]["additionalProperties"] = False
    return schema


def test_a_schema_that_misses_a_fact_is_noticed():
    judge = jsonschema.Draft202012Validator(strict_schema())
    event = {
        "sequence": 1,
        "event": "step-failed",
        "at": "2026-01-02T03:04:05+00:00",
        "document": "01",
        "hotfolder": "scans",
        "facts": {"stage": "ocr", "code": "x"},
    }
    assert judge.is_valid(event)
    for odd in (
        {"facts": {"stage": "ocr"}},
        {"document": None},
        {"extra": 1},
        {"facts": {"stage": "ocr", "code": "x", "more": 1}},
    ):
        wrong = copy.deepcopy(event) | odd
        assert not judge.is_valid(wrong), odd


def decided(box, what: str, name: str) -> None:
    """As a person decides it."""
    subprocess.run(
        [SAYS, "--config", box.config, what, box.documents()[name][3], "--note", "bởi tôi"],
        capture_output=True,
        check=True,
        timeout=150,
        env=os.environ | {"LC_ALL": "C.UTF-8"},
    )


def eventful(box, until, elsewhere: Path) -> None:
    """A daemon to which everything happens."""
    box.plugin("eventful", EVENTFUL)
    box.tables["plugins"]["enabled"].append("replicate")
    box.tables["target.second"] = {"kind": "directory", "path": elsewhere}
    box.tables["stage.replicate"] = {"to": ["second"]}
    box.tables["pipeline.paper"]["stages"] = ["eventful", "pictures", "seal", "replicate"]
    box.tables["intake"]["max_file_size"] = "1 KiB"
    box.start()
    box.drop("cut.txt", "late.txt", "broken.txt", "one.txt", "two.txt", "three.txt", "seen.txt")
    (box.hot() / ".hidden").write_text("x")
    box.drop("large.txt", text="x" * 2000)
    held = {"broken.txt", "one.txt", "two.txt", "three.txt", "seen.txt"}
    until(
        lambda: {n for n, s in box.states().items() if s == "held"} == held, "held", 60, box.states
    )
    until(lambda: box.documents()["late.txt"][1] == "not-yet", "it waits", 60, box.documents)
    for number in range(60):  # more at once than are told of one by one
        (box.hot() / f".hidden-{number}").write_text("x")
        box.drop(f"large-{number}.txt", text="x" * 2000)
    (box.plugins / "up").touch()
    for what, name in (("release", "one.txt"), ("reject", "two.txt"), ("retry", "three.txt")):
        decided(box, what, name)
    until(
        lambda: [box.states()[n] for n in ("cut.txt", "late.txt", "one.txt")] == ["safe"] * 3,
        "safe",
        60,
        box.states,
    )
    # As if its writer had gone on after it was taken in, where nobody could tell that he would.
    [(document, arrival)] = box.rows("SELECT document, id FROM arrival WHERE name = 'late.txt'")
    grown = box.hot() / f".archived-taken-{document}.{arrival}"
    grown.write_text("the words of late.txt\nand more of them\n")
    until(lambda: box.rows("SELECT 1 FROM arrival WHERE code = 'source-grew'"), "it grew", 60)
    for keep_free, status in (("900 TiB", 503), ("1 MiB", 200)):
        box.tables["spool"]["keep_free"] = keep_free
        box.reload()
        box.drop("again.txt", text="the words of one.txt\n")
        until(lambda status=status: box.get("/readyz")[0] == status, keep_free)


def test_every_event_there_is_says_what_its_schema_says(box, until, elsewhere):
    eventful(box, until, elsewhere)
    catalog = Catalog(box.folder / "state" / "catalog.db")  # beside the running daemon

    def missing() -> set[str]:
        return set(EVENTS) - {event.name for event in catalog.events_for("test", 1000)}

    until(lambda: not missing(), "everything happened", 60, missing)
    judge = jsonschema.Draft202012Validator(strict_schema())
    told = [json.loads(payload(event)) for event in catalog.events_for("test", 1000)]
    assert {event["event"] for event in told} == set(EVENTS)
    wrong = [(event, each.message) for event in told for each in judge.iter_errors(event)]
    assert wrong == []


EVENTFUL = """
from pathlib import Path
from archived.api import *


class Options(StageConfig):
    pass


class Eventful(Stage[Options]):
    name = "eventful"
    version = "1"
    upgrades = True

    def run(self, document, context):
        if document.name == "cut.txt":
            parts = []
            for word in ("left", "right"):
                file = context.new_part(f"{word}.txt", media_type="text/plain")
                file.path.write_text(f"the {word} half\\n")
                parts.append(Part(file, word))
            return Result(parts=parts)
        if document.name == "late.txt" and not Path(__file__).with_name("up").exists():
            raise Postpone("not yet", code="not-yet", hint="wait", after="0.3 s")
        if document.name == "seen.txt":
            return Result(reviews=[Review("unread-content", "there is more on it")])
        if document.name == "broken.txt":
            raise RuntimeError("as always")
        if document.name in {"one.txt", "two.txt", "three.txt"}:
            raise Refuse("not this one", code="not-this-one", hint="another")
        return Result(facts={"pending": "more"} if document.name == "late.txt" else {})

    def upgrade(self, document, context):
        more = context.new_file("more.txt", media_type="text/plain")
        more.path.write_text("more")
        return Result(add=[more], facts={"pending": None})


class Pictures(Stage[Options]):
    name = "pictures"
    version = "1"
    accepts = ("image/*",)

    def run(self, document, context):
        return Result()


@hookimpl
def register_stages(register):
    register(Eventful)
    register(Pictures)
"""
