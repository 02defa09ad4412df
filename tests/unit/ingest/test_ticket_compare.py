"""A ticket against what lies in the folder: every difference is told, and told once."""

from __future__ import annotations

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archived.ingest.tickets import (
    ListedFile,
    Ticket,
    compare,
    digest_problem,
    received_names,
    secrecy_problem,
)

NFC = "phụ lục/tờ 1.tif"
NFD = unicodedata.normalize("NFD", NFC)


def ticket(*paths: str, expected: int | None = None) -> Ticket:
    return Ticket(files=tuple(ListedFile(path) for path in paths), expected=expected)


def codes(made: Ticket, present: dict[str, int], **how: bool) -> list[str]:
    return [problem.code for problem in compare(made, present, **how)]


def test_what_is_listed_and_what_is_there_agree() -> None:
    """Sizes where the ticket has them."""
    made = Ticket(files=(ListedFile("a", 3), ListedFile("b/c"), ListedFile(NFC, 0)), expected=3)
    assert compare(made, {"a": 3, "b/c": 9, NFD: 0}) == []
    assert received_names(made, ["a", "b/c", NFD]) == {"a": "a", "b/c": "b/c", NFC: NFD}


def test_a_ticket_without_a_list_fits_every_folder() -> None:
    """Unless it claims another number."""
    assert compare(Ticket(), {"a": 1}) == []
    assert compare(Ticket(expected=1), {"a": 1}) == []
    [problem] = compare(Ticket(expected=2), {"a": 1})
    assert (problem.code, problem.reason) == ("ticket-count", "it claims 2, and there are 1")


def test_missing_and_extra_files_are_told_by_name() -> None:
    """The first few of very many."""
    [missing, extra] = compare(ticket("a", *(f"m{n}" for n in range(99))), {"a": 1, "x": 1})
    assert missing.code == "ticket-files-missing"
    assert missing.reason == "m0, m1, m2, m3, m4 and 94 more"
    assert extra.sentence == (
        "there are files that the ticket does not list: x; take them away, or list them"
    )
    assert codes(ticket("a"), {"a": 1, "x": 1}, extra_is_fine=True) == []


def test_a_claimed_number_that_differs_from_the_list_is_told() -> None:
    """Also when all that is listed is there."""
    assert codes(ticket("a", "b", expected=3), {"a": 1, "b": 1}) == ["ticket-count"]


def test_a_file_listed_twice_is_told() -> None:
    """However its accents are typed, for the reader made them one."""
    assert codes(ticket("a", "b", "a"), {"a": 1, "b": 1}) == ["ticket-duplicate"]


def test_two_files_with_one_name_are_told() -> None:
    """Nobody can say which of them is meant."""
    [problem] = compare(ticket(NFC), {NFC: 1, NFD: 2})
    assert problem.code == "ticket-duplicate"
    assert NFC in problem.reason


def test_capitals_make_another_name_and_the_reason_says_so() -> None:
    """One problem, not one for each side."""
    [problem] = compare(ticket("A.TIF"), {"a.tif": 1})
    assert problem.code == "ticket-files-missing"
    assert problem.reason == "A.TIF (the folder has a.tif)"
    assert received_names(ticket("A.TIF"), ["a.tif"]) == {}


def test_a_wrong_size_is_told_with_both() -> None:
    """For the person who looks for what was cut short."""
    [problem] = compare(Ticket(files=(ListedFile("a", 10), ListedFile("b", 2))), {"a": 7, "b": 2})
    assert (problem.code, problem.reason) == ("ticket-size", "a (7 bytes, not 10)")


def test_names_that_are_no_text_are_shown_and_never_listed() -> None:
    """A name's bytes may be anything."""
    [problem] = compare(ticket("a"), {"a": 1, os.fsdecode(b"\xff\n\x1b"): 1})
    assert (problem.code, problem.reason) == ("ticket-files-extra", "\\xff\\n\\x1b")


def test_everything_that_is_wrong_is_told_at_once() -> None:
    """A batch is corrected once, not once for each mistake."""
    made = Ticket(files=(ListedFile("a", 1), ListedFile("b"), ListedFile("a", 1)), expected=9)
    assert codes(made, {"a": 2, "c": 1}) == [
        "ticket-count",
        "ticket-duplicate",
        "ticket-files-missing",
        "ticket-files-extra",
        "ticket-size",
    ]


@pytest.mark.parametrize(
    ("listed", "told"),
    [
        (ListedFile("a"), ""),
        (ListedFile("a", sha256="11", sha512="22"), ""),
        (ListedFile("a", sha256="12", sha512="22"), "a (SHA-256)"),
        (ListedFile("a", sha512="23"), "a (SHA-512)"),
        (ListedFile("a", sha256="33", sha512="44"), "a (SHA-256 and SHA-512)"),
    ],
)
def test_bytes_with_another_digest_are_another_file(listed: ListedFile, told: str) -> None:
    """Each digest that the ticket has must fit."""
    problem = digest_problem(listed, "11", "22")
    assert (problem.reason if problem else "") == told
    assert problem is None or problem.code == "ticket-digest"


@pytest.mark.parametrize(
    ("said", "declared", "stops"),
    [
        ("", "", False),
        ("", "mật", False),
        ("thường", "mật", False),
        ("Mật", "mật", False),
        ("mật", "", True),
        ("tuyệt mật", "tối mật", True),
        ("Tối mật", "mat", True),
    ],
)
def test_a_level_above_the_folders_stops_the_batch(said: str, declared: str, stops: bool) -> None:
    """A lower one changes nothing: the folder's level stands."""
    problem = secrecy_problem(Ticket(secrecy=said), declared)
    assert (problem is not None) is stops
    if problem:
        assert problem.code == "ticket-secrecy"


NAMES = st.sampled_from(["a", "A", "b", NFC, NFD, "ß", "SS", "c/d"])


@given(st.lists(NAMES, max_size=8), st.dictionaries(NAMES, st.integers(0, 3), max_size=8))
def test_no_difference_goes_unseen(paths: list[str], present: dict[str, int]) -> None:
    """Nothing is told exactly when the names are the same, once each."""
    listed = [unicodedata.normalize("NFC", path) for path in paths]
    there = [unicodedata.normalize("NFC", name) for name in present]
    problems = compare(ticket(*listed), present)
    agree = not listed or (sorted(listed) == sorted(there) and len(set(listed)) == len(listed))
    assert (problems == []) is agree
