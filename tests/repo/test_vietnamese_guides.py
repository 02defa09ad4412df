"""The Vietnamese guides say what the English ones say: same headings, commands, keys and links."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import PurePosixPath
from posixpath import normpath
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.repo.conftest import Checkout

GUIDES = ("install", "operations", "admin")

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_GENERATED = re.compile(r"^<!-- .* -->\n", re.MULTILINE)
_OTHER_LANGUAGE = re.compile(r"^\*(?:English|\[English\]).*\*\n\n", re.MULTILINE)
_HEADING = re.compile(r"^(#+) +(.+)$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`]+)`")
_QUOTED_OUTPUT = re.compile(r"`([^`]+)`\s+\(“([^”]+)”")


@dataclass(frozen=True)
class Guide:
    """One page. `path` is its place in the repository."""

    path: str
    text: str

    @property
    def body(self) -> str:
        """Without what differs by purpose: the link to the other language, generator's marks."""
        return _GENERATED.sub("", _OTHER_LANGUAGE.sub("", self.text, count=1))

    @property
    def prose(self) -> str:
        return _BLOCK.sub("CODE", self.body)

    @property
    def headings(self) -> list[tuple[int, str]]:
        return [(len(marks), title) for marks, title in _HEADING.findall(self.prose)]

    @property
    def anchors(self) -> list[str]:
        return [slug(title) for _, title in self.headings]

    def blocks(self) -> list[tuple[str, str]]:
        """(language, text) of every code block; a comment in a shell block may be translated."""
        return [
            (kind, re.sub(r"^#.*\n", "", text, flags=re.MULTILINE) if kind == "sh" else text)
            for kind, text in _BLOCK.findall(self.body)
        ]

    def sections(self) -> list[str]:
        """The prose from each heading to the next, headings included."""
        return re.split(r"^(?=#+ )", self.prose, flags=re.MULTILINE)[1:]

    def links(self) -> Iterator[tuple[str, str]]:
        """(file, anchor) of every link within the repository; the file by its place there."""
        for link in _LINK.findall(self.prose):
            name, _, anchor = link.partition("#")
            if "://" not in name:
                place = normpath(f"{PurePosixPath(self.path).parent}/{name}") if name else self.path
                yield place, anchor


def slug(heading: str) -> str:
    """A heading's anchor, as the usual viewers make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def english(checkout: Checkout, name: str) -> Guide:
    return Guide(f"docs/{name}.md", checkout.text(f"docs/{name}.md"))


def vietnamese(checkout: Checkout, name: str) -> Guide:
    return Guide(f"docs/vi/{name}.md", checkout.text(f"docs/vi/{name}.md"))


def shape(section: str) -> list[str]:
    """What a section is made of, in order: paragraphs, blocks, lists and tables with their size."""
    found = []
    for part in re.split(r"\n{2,}", section.strip()):
        rows = [line.count("|") for line in part.splitlines() if line.startswith("|")]
        items = re.findall(r"^(?:[-*]|\d+\.) ", part, re.MULTILINE)
        if marks := re.match(r"#+ ", part):
            found.append(f"heading {len(marks[0]) - 1}")
        elif rows:
            found.append(f"table with the cells {rows}")
        elif part == "CODE":
            found.append("block")
        else:
            found.append(f"list of {len(items)}" if items else "paragraph")
    return found


def codes(section: str) -> set[str]:
    return {" ".join(code.split()) for code in _CODE.findall(section)}


def differences(one: Guide, other: Guide) -> list[str]:
    """What the English page `one` and the Vietnamese `other` do not have in common."""
    found = []
    for a, b in zip_longest(one.headings, other.headings):
        if a is None or b is None or a[0] != b[0]:
            found.append(f"heading: {a} / {b}")
    found += [f"block: {a} / {b}" for a, b in zip_longest(one.blocks(), other.blocks()) if a != b]
    for a, b in zip(one.sections(), other.sections(), strict=False):
        title = a.partition("\n")[0]
        if only := codes(a) - codes(b):
            found.append(f"{title}: only in English: {sorted(only)}")
        if only := codes(b) - codes(a):
            found.append(f"{title}: only in Vietnamese: {sorted(only)}")
        if shape(a) != shape(b):
            found.append(f"{title}: {shape(a)} / {shape(b)}")
    return found


def links_as_wanted(checkout: Checkout, guide: Guide) -> list[tuple[str, str]]:
    """Where the Vietnamese page must lead: to the Vietnamese page where there is one."""
    wanted = []
    for place, anchor in guide.links():
        name = place.removeprefix("docs/").removesuffix(".md")
        if name not in GUIDES:
            wanted.append((place, anchor))
            continue
        there, here = english(checkout, name), vietnamese(checkout, name)
        by_anchor = dict(zip(there.anchors, here.anchors, strict=True))
        wanted.append((here.path, by_anchor[anchor] if anchor else ""))
    return wanted


@pytest.mark.parametrize("name", GUIDES)
def test_a_guide_says_the_same_in_both_languages(checkout: Checkout, name: str) -> None:
    """Headings, blocks byte for byte, what stands in backticks by section, paragraphs, tables."""
    assert differences(english(checkout, name), vietnamese(checkout, name)) == []


@pytest.mark.parametrize("name", GUIDES)
def test_its_links_lead_to_the_same_places(checkout: Checkout, name: str) -> None:
    """To the Vietnamese guide instead of the English one; every file and anchor exists."""
    guide = vietnamese(checkout, name)
    assert sorted(guide.links()) == sorted(links_as_wanted(checkout, english(checkout, name)))
    broken = []
    for place, anchor in guide.links():
        path = checkout.root / place
        if not path.exists():
            broken.append(place)
        elif anchor and anchor not in Guide(place, path.read_text()).anchors:
            broken.append(f"{place}#{anchor}")
    assert broken == []


@pytest.mark.parametrize("name", GUIDES)
def test_each_language_leads_to_the_other(checkout: Checkout, name: str) -> None:
    """Below the title; the Vietnamese README leads to the Vietnamese guide."""
    assert f"](vi/{name}.md)*" in english(checkout, name).text.splitlines()[2]
    assert f"](../{name}.md) ·" in vietnamese(checkout, name).text.splitlines()[2]
    assert f"](docs/vi/{name}.md)" in checkout.text("README.vi.md")
    assert f"](docs/vi/{name}.md)" in checkout.text("README.md")


def test_every_vietnamese_guide_is_compared(checkout: Checkout) -> None:
    """None is added without its English page and this comparison."""
    there = {path.stem for path in (checkout.root / "docs" / "vi").rglob("*.md")}
    assert there == set(GUIDES)


def test_the_debian_package_has_them(checkout: Checkout) -> None:
    """The folder docs is installed whole, and nothing that is left out is one of these."""
    words = re.findall(r"^\tdh_installdocs (.*)$", checkout.text("packaging/debian/rules"), re.M)
    (arguments,) = [line.split() for line in words]
    assert "docs" in arguments
    left_out = [word.removeprefix("-X") for word in arguments if word.startswith("-X")]
    paths = [vietnamese(checkout, name).path for name in GUIDES]
    assert [path for path in paths if any(part in path for part in left_out)] == []


def test_output_that_is_quoted_is_what_the_program_says(checkout: Checkout) -> None:
    """`no` (“không”): the catalogue has the Vietnamese words for the English ones."""
    locales = checkout.tool("locales")
    entries = [each for each in locales.read(locales.CORE, "vi") if each.id]
    quotes = [
        (output, words, name)
        for name in GUIDES
        for output, words in _QUOTED_OUTPUT.findall(
            " ".join(vietnamese(checkout, name).prose.split())
        )
    ]
    assert quotes, "the guides quote the program's output"
    for output, words, name in quotes:
        said = output.partition(":")[0]
        assert any(said in str(entry.id) and words in "".join(entry.string) for entry in entries), (
            f"{name}: {output} is not called {words}"
        )


EDITS: dict[str, Callable[[str], str]] = {
    "a command in a block": lambda text: text.replace("archived check\n", "archived check -v\n", 1),
    "a block more": lambda text: f"{text}\n```sh\narchivectl status\n```\n",
    "a command in a sentence": lambda text: f"{text}\nThen `archivectl tidy`.\n",
    "a key in a sentence that has others": lambda text: text.replace("`keep_free`", "`keep`", 1),
    "a heading": lambda text: f"{text}\n## More\n",
    "a heading's level": lambda text: text.replace("\n### ", "\n## ", 1),
    "a paragraph": lambda text: f"{text}\nOne more.\n",
    "a row of a table": lambda text: text.replace("| --- |\n", "| --- |\n| `a` | | | | |\n", 1),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_change_of_one_language_alone_is_found(checkout: Checkout, edit: str) -> None:
    """In whichever of the two it was made."""
    one, other = english(checkout, "install"), vietnamese(checkout, "install")
    for guide, pair in (
        (one, lambda changed: (changed, other)),
        (other, lambda changed: (one, changed)),
    ):
        changed = Guide(guide.path, EDITS[edit](guide.text))
        assert changed.text != guide.text
        assert differences(*pair(changed)), edit
