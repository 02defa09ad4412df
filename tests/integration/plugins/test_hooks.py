"""A plug-in that fails in a hook harms neither the others nor a document."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime

import click
import pytest

from archived.api import Event
from archived.api.hooks import HOOKS
from archived.plugins import find

OBSERVER = """
from archived.api import hookimpl
seen = []
@hookimpl
def on_event(event):
    seen.append(event)
"""

EVENT = Event("document-sealed", datetime(2024, 5, 1, tzinfo=UTC))


@dataclass(frozen=True)
class File:
    hotfolder: str = "scans"
    name: str = "a.pdf"
    media_type: str = "application/pdf"
    size: int = 3


def seen_by(plugins, name):
    return plugins._manager.get_plugin(name).seen


@pytest.mark.parametrize("order", [["good", "bad", "fine"], ["bad", "good", "fine"]])
def test_on_event_one_bad_observer_silences_nobody(bench, caplog, order):
    bench.file("good", OBSERVER)
    bench.file("fine", OBSERVER)
    bench.file("bad", OBSERVER + "    raise RuntimeError('no')\n")
    plugins = find(order, [bench.folder])

    with caplog.at_level(logging.ERROR):
        plugins.tell(EVENT)
        plugins.tell(EVENT)

    assert [len(seen_by(plugins, name)) for name in ("good", "fine", "bad")] == [2, 2, 2]
    assert plugins.failures == {("bad", "on_event"): 2}
    assert "plug-in bad: on_event failed on event document-sealed" in caplog.messages
    assert "RuntimeError: no" in caplog.text


@pytest.mark.parametrize(
    "waits_for",
    [
        '    if event.name == "step-broke": seen.append(event)\n',
        '    if event.name in ("step-broke", "document-safe"): seen.append(event)\n',
        "    if event.name in WANTED: seen.append(event)\n",
        "    [e for e in [event] if e.name == 'step-broke']\n",
    ],
)
def test_an_observer_that_waits_for_a_former_event_is_named_and_used(bench, waits_for):
    bench.file("old", 'WANTED = {"step-broke": 1}\n' + OBSERVER + waits_for)
    bench.file("good", OBSERVER + '    if event.name == "step-failed": seen.append(event)\n')
    plugins = find(["old", "good"], [bench.folder])

    assert plugins.warnings == [
        'plug-in "old": its on_event names the event "step-broke", which is now called '
        '"step-failed"'
    ]
    plugins.tell(EVENT)
    assert seen_by(plugins, "old")


CHOOSER = """
from archived.api import hookimpl
@hookimpl
def choose_pipeline(document, pipelines):
    return ANSWER
"""


@pytest.mark.parametrize(
    ("answers", "chosen", "failures"),
    [
        (["None", '"fast"', '"slow"'], "fast", {}),
        (['"slow"', '"fast"'], "slow", {}),
        (["None", "None"], None, {}),
        (['"nowhere"', '"fast"'], None, {("p0", "choose_pipeline"): 1}),
        (["1 / 0", '"fast"'], None, {("p0", "choose_pipeline"): 1}),
        (['exit("bye")', '"fast"'], None, {("p0", "choose_pipeline"): 1}),
        (["[]"], None, {("p0", "choose_pipeline"): 1}),
        (['"fast" if document.size > 2 else None'], "fast", {}),
    ],
)
def test_choose_pipeline_takes_the_first_answer_and_no_nonsense(
    bench, caplog, answers, chosen, failures
):
    names = [f"p{number}" for number in range(len(answers))]
    for name, answer in zip(names, answers, strict=True):
        bench.file(name, CHOOSER.replace("ANSWER", answer))
    plugins = find(names, [bench.folder])

    assert plugins.choose_pipeline(File(), ("fast", "slow")) == chosen
    assert plugins.failures == failures
    assert bool(caplog.messages) == bool(failures)


COMMANDS = """
import click
from archived.api import hookimpl
@hookimpl
def register_commands(cli):
    cli.add_command(click.Command("NAME"))
"""


def test_register_commands_adds_and_never_replaces_and_a_failure_is_a_warning(bench):
    bench.file("good", COMMANDS.replace("NAME", "ink"))
    bench.file("thief", COMMANDS.replace("NAME", "status"))
    bench.file("bad", COMMANDS.replace("click.Command", "click.NoSuchThing"))
    status = click.Command("status")
    cli = click.Group(commands=[status])

    warnings = find(["thief", "bad", "good"], [bench.folder]).add_commands(cli)

    assert set(cli.commands) == {"status", "ink"}
    assert cli.commands["status"] is status
    assert [warning.partition("adds no commands: ")[::2] for warning in warnings] == [
        ('plug-in "thief" ', 'ValueError: there is already a command "status"'),
        ('plug-in "bad" ', "AttributeError: NoSuchThing"),
    ]


def test_every_hook_there_is_has_a_test_in_this_folder():
    from pathlib import Path

    text = "".join(file.read_text() for file in Path(__file__).parent.glob("test_*.py"))

    assert all(f"def {hook}(" in text or f"def test_{hook}" in text for hook in HOOKS), HOOKS


def test_register_stages_is_asked_of_each_plugin_alone(bench):
    bench.file("ink", bench.stage("ink"))
    bench.file("oil", bench.stage("oil"))

    plugins = find(["oil", "ink"], [bench.folder])

    assert [(info.name, info.stages) for info in plugins.catalogue()] == [
        ("oil", ("oil",)),
        ("ink", ("ink",)),
    ]
