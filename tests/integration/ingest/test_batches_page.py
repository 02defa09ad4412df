"""docs/batches.md is executed: its tickets are read, its page names grouped, its fields known."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from archived.ingest.batches import MOST_PAGES, group_pages
from archived.ingest.hold_reasons import HOLDS
from archived.ingest.tickets import FORMATS, MOST_BYTES, MOST_FILES, ListedFile, Ticket, read_ticket

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "batches.md").read_text()
EXAMPLES = dict(
    re.findall(
        r"<!-- example: (ticket\.\w+) -->\n```\w+\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE
    )
)
SHOWN = Ticket(
    dossier="01/HS-2025",
    title="Hồ sơ giải quyết khiếu nại đất đai",
    secrecy="thường",
    expected=3,
    files=(
        ListedFile("001.tif", 48213, document="quyet-dinh", given={"subject": "Quyết định số 12"}),
        ListedFile("002.tif", 51170, document="quyet-dinh"),
        ListedFile(
            "phu-luc/bien-ban.pdf",
            pages=4,
            sha256=("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
        ),
    ),
)


@pytest.mark.parametrize("ending", FORMATS)
def test_the_pages_tickets_say_the_same(ending: str) -> None:
    """One example for each format there is."""
    ticket = read_ticket(f"ticket.{ending}".encode(), EXAMPLES[f"ticket.{ending}"].encode())
    assert dict(ticket.given) == ({} if ending == "csv" else {"operator": "Lan"})
    assert (ticket.dossier, ticket.title, ticket.secrecy, ticket.expected, ticket.files) == (
        SHOWN.dossier,
        SHOWN.title,
        SHOWN.secrecy,
        SHOWN.expected,
        SHOWN.files,
    )
    assert [len(document) for document in ticket.documents] == [2, 1]


def test_the_pages_names_are_grouped_as_it_says() -> None:
    """Every row of its table."""
    table = PAGE.partition("<!-- example: pages -->")[2].partition("\n\n")[0]
    rows = [row.split("|")[1:3] for row in table.strip().splitlines()[2:]]
    assert len(rows) == 9
    for files, told in rows:
        names = [name.encode() for name in re.findall(r"`([^`]+)`", files)]
        groups = group_pages(names)
        assert len(groups) == (2 if "two documents" in told else 1), files
        missing = re.search(r"([\d, ]+) (?:is|are) missing", told)
        twice = re.search(r"(\d+) is there twice", told)
        assert list(groups[0].gaps) == ([int(n) for n in missing[1].split(",")] if missing else [])
        assert list(groups[0].duplicates) == ([int(twice[1])] if twice else [])
        if "p-10 is last" in told:
            assert groups[0].members[-1] == b"p-10.tif"


def test_the_page_names_every_field_and_every_limit() -> None:
    """As the code has them."""
    fields = set(re.findall(r"`(\w+)`", PAGE.partition("### JSON")[0]))
    assert {
        "dossier",
        "title",
        "secrecy",
        "count",
        "path",
        "size",
        "sha256",
        "sha512",
        "pages",
        "document",
    } <= fields
    assert (MOST_BYTES, MOST_FILES, MOST_PAGES) == (1 << 20, 10_000, 99_999)
    assert "1 MiB and 10,000 files" in PAGE
    assert "above 99999" in PAGE
    named = {code for code in HOLDS if f"`{code}`" in PAGE}
    assert {"pages-missing", "pages-duplicate", "sides-differ"} <= named
