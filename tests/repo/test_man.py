"""The manual pages say what the programs do, and manual readers can read them."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.repo.conftest import Checkout

PAGES = ("archived.1", "archivectl.1", "archived.toml.5")


def test_the_pages_are_those_that_the_programs_write(checkout: Checkout) -> None:
    """`python -m tools.docs.man docs/man` would change nothing."""
    man = checkout.tool("man")
    assert tuple(man.PAGES) == PAGES
    for name, page in man.PAGES.items():
        again = f"run: .venv/bin/python -m tools.docs.man docs/man ({name})"
        assert checkout.text(f"docs/man/{name}") == page(), again


def test_every_command_option_and_key_stands_in_a_page(checkout: Checkout) -> None:
    """Not by generation alone: the pages are read as a person would."""
    man = checkout.tool("man")
    for program, file in ((man.archived, "archived.1"), (man.archivectl, "archivectl.1")):
        page = checkout.text(f"docs/man/{file}")
        for name, command in man.commands(program, ""):
            assert f".SS {man.roff(name)}\n" in page or not name, name
            for parameter in command.params:
                if parameter.param_type_name == "option":
                    assert f"\\fB{man.roff(parameter.opts[0])}\\fR" in page, (name, parameter.opts)
    page = checkout.text("docs/man/archived.toml.5")
    for line in man.tables().splitlines():
        if line.startswith("| `"):
            key = line.split("`")[1]
            assert man.roff(f"`{key}`") in page, key


@pytest.mark.parametrize("name", PAGES)
def test_manual_readers_find_nothing_wrong(checkout: Checkout, name: str) -> None:
    """mandoc, man-db and groff, as far as they are installed."""
    path = checkout.root / "docs" / "man" / name
    asked = [
        (["mandoc", "-T", "lint", "-W", "warning", path], ""),
        (["lexgrog", path], "archive"),
        (["groff", "-t", "-k", "-man", "-ww", "-Tutf8", path], "archive"),
    ]
    there = [each for each in asked if shutil.which(each[0][0])]
    if not there:
        pytest.skip("neither mandoc, man-db nor groff is installed")
    for command, said in there:
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, (command[0], ran.stdout, ran.stderr)
        assert ran.stderr == "", command[0]
        assert said in ran.stdout, command[0]
