"""The command lines are documented, and what is documented is so."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from archived.cli import client
from archived.cli.archivectl import cli as archivectl
from archived.cli.archived import cli as archived
from archived.cli.errors import EXITS
from archived.config.schema import SINGLE
from archived.message import BESIDE
from archived.model.lifecycle import State

DOCS = Path(__file__).resolve().parents[3] / "docs"
PROGRAMS = {"archived": archived, "archivectl": archivectl}
MAPS = {
    "documents",
    "stages",
    "held",
    "held_documents",
    "rules",
    "problems",
    "lanes",
    "facts",
    "fields",
    "tools",
    "counts",
    "uncleared",
    "untrusted_receipts",
    "accounts",
    "confinement",
}
"""Objects whose keys are data; the list called `documents` is compared all the same."""


def walk(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by its whole name."""
    if isinstance(command, click.Group):
        for below, each in command.commands.items():
            yield from walk(each, f"{name} {below}")
    else:
        yield name, command


COMMANDS = {
    name: command for program in PROGRAMS.items() for name, command in walk(program[1], program[0])
}


def section(name: str) -> str:
    """What stands in the documentation under a command's name."""
    text = (DOCS / f"{name.split(maxsplit=1)[0]}.md").read_text()
    found = re.search(rf"^## {re.escape(name)}\n(.*?)(?=^## |\Z)", text, re.S | re.M)
    assert found, f"{name} is not documented"
    return found[1]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does_and_is_documented_with_an_example(name: str):
    command = COMMANDS[name]
    assert command.help
    assert command.help.split("\n\n")[0].rstrip().endswith((".", "?")), command.help
    told = section(name)
    assert f"\n{name}" in told or f" {name}" in told, f"{name} has no example"
    for option in command.params:
        if isinstance(option, click.Option) and option.opts[0] not in {"--config", "--json"}:
            assert option.help
            assert option.opts[0] in told, f"{name} {option.opts[0]} is not documented"


def test_nothing_is_documented_that_is_not_there():
    for program in PROGRAMS:
        text = (DOCS / f"{program}.md").read_text()
        for name in re.findall(rf"^## ({program} .+)$", text, re.M):
            assert name in COMMANDS


def test_every_command_takes_the_two_options_that_all_have():
    for command in COMMANDS.values():
        options = {name for option in command.params for name in option.opts}
        assert {"--config", "--json"} <= options


def test_the_exit_codes_are_documented_word_for_word():
    text = (DOCS / "archivectl.md").read_text()
    table = dict(re.findall(r"^\| (\d+) \| (.+) \|$", text, re.M))
    assert {int(code): meaning for code, meaning in table.items()} == EXITS


def test_the_states_that_can_be_asked_for_are_those_there_are():
    (option,) = [p for p in COMMANDS["archivectl documents"].params if p.name == "states"]
    assert isinstance(option.type, click.Choice)
    assert set(option.type.choices) == set(State)


def test_where_things_are_is_the_same_as_in_the_whole_configuration():
    for (table, key), default in client.DEFAULTS.items():
        assert str(getattr(SINGLE[table](), key)) == default


def test_drop_ins_count_when_the_socket_is_looked_for(tmp_path: Path):
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "archived.toml").write_text('[archive]\nstate = "/a"\n')
    (tmp_path / "conf.d" / "10.toml").write_text('[control]\nsocket = "/b"\n')
    found = client.find(tmp_path / "archived.toml")
    assert (str(found.state), str(found.socket)) == ("/a", "/b")
    assert found.catalog == Path("/a/catalog.db")


def example(name: str) -> Any:
    """The JSON example of a command."""
    found = re.search(r"```json\n(.*?)```", section(name), re.S)
    assert found, f"{name} has no JSON example"
    return json.loads(found[1])


def compare(documented: Any, real: Any, where: str) -> None:
    """Both have the same keys all the way down, wherever both have something."""
    if isinstance(documented, dict) and isinstance(real, dict):
        assert set(documented) - {BESIDE} == set(real) - {BESIDE}, where
        for key, value in documented.items():
            if key not in MAPS or not isinstance(value, dict):
                compare(value, real[key], f"{where}.{key}")
    elif isinstance(documented, list) and isinstance(real, list) and documented and real:
        compare(documented[0], real[0], f"{where}[0]")
    elif documented is not None and real is not None:
        kinds = (bool, str, (int, float), list, dict)
        same = [isinstance(documented, kind) == isinstance(real, kind) for kind in kinds]
        assert all(same), f"{where}: {documented!r} and {real!r}"


def test_the_documented_json_is_what_the_programs_answer(installation: Any):
    letter, poison = installation.document("letter.txt"), installation.document("poison-2.txt")
    asked = {
        "status": ["status"],
        "documents": ["documents"],
        "show": ["show", letter],
        "explain": ["explain", poison],
        "search": ["search", "letter"],
        "account": ["account"],
        "report": ["report"],
        "compare": ["compare", "--now"],
        "ledger verify": ["ledger", "verify"],
        "plugins list": ["plugins"],
        "retry": ["retry", poison],
    }
    for name, words in asked.items():
        compare(example(f"archivectl {name}"), installation.json(*words), name)
    installation.settle_again()  # others who share this house find it as it was
    for name in ("check", "doctor", "sample-config"):
        answer = json.loads(installation.once("archived", name, "--json").stdout)
        compare(example(f"archived {name}"), answer, name)
