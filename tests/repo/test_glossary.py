"""The glossary of DESIGN.md names types that exist; the documentation uses no private words."""

from __future__ import annotations

import importlib
import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.repo.conftest import Checkout

PRIVATE = re.compile(
    r"\b(?:desks?|decks?|births|voices?|tongues?|deeds?|shel(?:f|ves)|the house)\b", re.IGNORECASE
)
"""Words that once named parts of the program. The terms for them stand in the glossary."""

CODE_BLOCK = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
"""Examples are programs of a plug-in's author, who chooses their names."""

NAME = re.compile(r"[a-z_]+(?:\.\w+)+")


def glossary(text: str) -> dict[str, list[str]]:
    """Term -> the dotted names in the last column of its row."""
    section = text.split("\n## 1. Words\n")[1].split("\n## ", maxsplit=1)[0]
    rows = re.findall(r"^\| (.+?) \| (.+) \| (.*?) \|$", section, re.MULTILINE)
    return {
        term: re.findall(r"`([^`]+)`", code)
        for term, _, code in rows
        if term not in {"Word", "---"}
    }


def exists(name: str) -> bool:
    """Whether `archived.NAME` is a module, or an attribute of one."""
    parts = ["archived", *name.split(".")]
    for length in range(len(parts), 0, -1):
        module = ".".join(parts[:length])
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if not module.startswith(str(error.name)):
                raise  # the module is there, and something that it imports is not
            continue
        for part in parts[length:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


def test_every_term_of_the_glossary_names_code_that_exists(checkout: Checkout) -> None:
    """Each row has a name in its last column, and each name can be imported."""
    terms = glossary(checkout.text("DESIGN.md"))
    assert len(terms) > 40, "the test does not see the rows"
    assert [term for term, names in terms.items() if not names] == []
    names = {name for row in terms.values() for name in row}
    assert sorted(name for name in names if not NAME.fullmatch(name)) == []
    assert sorted(name for name in names if not exists(name)) == []


def test_a_name_that_is_gone_is_found() -> None:
    """The test above can fail."""
    assert exists("storage.spool.Spool")
    assert not exists("storage.spool.Shelf")
    assert not exists("storage.shelf.Spool")


def test_the_glossary_stands_first(checkout: Checkout) -> None:
    """Before anything that uses its terms."""
    headings = re.findall(r"^## (.+)$", checkout.text("DESIGN.md"), re.MULTILINE)
    assert headings[:2] == ["1. Words", "2. Promises"]


def pages(checkout: Checkout) -> list[str]:
    """The documentation of what is; decisions of the past and the changelog quote older words."""
    docs = sorted(path.name for path in (checkout.root / "docs").glob("*.md"))
    plugins = [f"plugins/{name}/README.md" for name in checkout.plugins]
    return ["DESIGN.md", "README.md", "CONTRIBUTING.md", *(f"docs/{n}" for n in docs), *plugins]


def test_the_documentation_uses_no_private_words(checkout: Checkout) -> None:
    """Code blocks apart."""
    found = [
        f"{name}: {match[0]}"
        for name in pages(checkout)
        for match in PRIVATE.finditer(" ".join(CODE_BLOCK.sub("", checkout.text(name)).split()))
    ]
    assert found == []


@pytest.mark.parametrize("text", ["The desk reads.", "the\nHouse", "two shelves", "a voice's"])
def test_private_words_are_recognised(text: str) -> None:
    """Also where a line breaks, and in the plural."""
    assert PRIVATE.search(" ".join(text.split()))
