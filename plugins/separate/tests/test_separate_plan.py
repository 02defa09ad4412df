"""The plan: every page is somewhere, and what does not fit is told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archived.api import Sheet, SheetKind
from archived_separate.plan import HELD_CODES, Rules, Seen
from archived_separate.planner import lay_out

PAGE = Seen()
BLANK = Seen(blank=True)
PLAIN = Seen(codes=(("qr", Sheet(SheetKind.PLAIN).text()),))
MARK = Seen(codes=(("code128", Sheet(SheetKind.MARK).text()),))


def cover(dossier: str = "HS.01", **more: Any) -> Seen:
    text = Sheet(SheetKind.COVER, dossier, **more).text()
    mark = Sheet(SheetKind.MARK).text()
    return Seen(codes=(("qr", text), ("code128", mark)))


def codes(*pages: Seen, **rules: Any) -> list[str]:
    return [suspicion.code for suspicion in lay_out(pages, Rules(**rules)).suspicions]


def cut(*pages: Seen, **rules: Any) -> list[tuple[int, ...]]:
    return [segment.pages for segment in lay_out(pages, Rules(**rules)).segments]


SEEN = st.one_of(
    st.sampled_from(
        [
            PAGE,
            PAGE,
            BLANK,
            PLAIN,
            MARK,
            Seen(unread="torn"),
            Seen(patches=("T",)),
            Seen(codes=(("qr", "https://example.org"),)),
            Seen(codes=(("qr", "ARCHIVED:1:C&d=../../etc&c=00000000"),)),
        ]
    ),
    st.builds(
        cover,
        st.sampled_from(["A", "B"]),
        sheets=st.sampled_from([None, 1, 3]),
        secrecy=st.sampled_from(["", "mat"]),
        number=st.integers(1, 2),
        of=st.just(2),
    ),
)
RULES = st.builds(
    Rules,
    keep=st.booleans(),
    sides=st.sampled_from(["one", "two", "unknown"]),
    every=st.integers(0, 3),
    blank_pages=st.booleans(),
    max_pages_each=st.integers(0, 4),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(SEEN, max_size=20), RULES)
def test_every_page_is_in_one_document_or_dropped_and_only_separators_are_dropped(
    pages: list[Seen], rules: Rules
) -> None:
    made = lay_out(pages, rules)
    places = [page for segment in made.segments for page in segment.pages] + made.dropped
    assert sorted(places) == list(range(1, len(pages) + 1))
    for segment in made.segments:
        assert list(segment.pages) == sorted(segment.pages)
    separators = {separator.page for separator in made.separators}
    assert all(page in separators or pages[page - 1].blank for page in made.dropped)
    assert {s.code for s in made.suspicions} <= set(HELD_CODES)


def test_a_scan_without_separators_is_one_document_without_suspicion() -> None:
    made = lay_out([PAGE, BLANK, PAGE], Rules())
    assert [s.pages for s in made.segments] == [(1, 2, 3)]
    assert not made.suspicions
    assert not made.separators


def test_documents_between_separators_are_cut_and_separators_dropped() -> None:
    assert cut(PLAIN, PAGE, PAGE, PLAIN, PAGE) == [(2, 3), (5,)]
    assert cut(PAGE, PLAIN, PAGE) == [(1,), (3,)]
    assert cut(PLAIN, PAGE, PLAIN, PAGE, keep=True) == [(1, 2), (3, 4)]


def test_two_separators_in_a_row_make_no_empty_document() -> None:
    made = lay_out([PLAIN, PLAIN, PAGE, PLAIN], Rules())
    assert [s.pages for s in made.segments] == [(3,)]
    assert len(made.notes) == 2


def test_a_plain_separator_stays_in_its_dossier_and_the_next_cover_ends_it() -> None:
    made = lay_out([cover("A"), PAGE, PLAIN, PAGE, cover("B"), PAGE], Rules())
    assert [(s.pages, s.dossier) for s in made.segments] == [((2,), "A"), ((4,), "A"), ((6,), "B")]


def test_somebody_elses_codes_do_not_separate_unless_they_fit_the_pattern() -> None:
    invoice = Seen(codes=(("qr", "HD:0001;1200000"),))
    assert cut(PAGE, invoice, PAGE) == [(1, 2, 3)]
    made = lay_out([PAGE, invoice, PAGE], Rules(payload=r"HD:(?P<dossier>\d+);.*"))
    assert [(s.pages, s.dossier) for s in made.segments] == [((1,), ""), ((3,), "0001")]
    assert codes(invoice, PAGE, payload=r"HD:0001") == []  # the whole text must fit


def test_a_strangers_dossier_code_is_checked_as_ours_are() -> None:
    bad = Seen(codes=(("qr", "HS:../../etc/passwd"),))
    assert codes(bad, PAGE, payload="HS:(?P<dossier>.*)") == ["sheet-invalid"]


def test_patch_codes_count_upside_down_too() -> None:
    upside = Seen(patches=("3",))
    assert cut(PAGE, upside, PAGE, patches=frozenset("T")) == [(1,), (3,)]
    assert cut(PAGE, Seen(patches=("1",)), PAGE, patches=frozenset("T")) == [(1, 2, 3)]


def test_fixed_lengths_and_blank_pages_separate_where_asked() -> None:
    assert cut(*[PAGE] * 5, every=2) == [(1, 2), (3, 4), (5,)]
    assert cut(PAGE, BLANK, PAGE) == [(1, 2, 3)]
    assert cut(PAGE, BLANK, PAGE, blank_pages=True) == [(1,), (3,)]


@pytest.mark.parametrize(
    ("pages", "found"),
    [
        ([cover(sheets=2), PAGE, PAGE], []),
        ([cover(sheets=3), PAGE, PAGE], ["sheets-missing"]),
        ([cover(sheets=1), PAGE, PLAIN, PAGE], ["sheets-extra"]),
        ([cover(sheets=99999), PAGE], ["sheets-missing"]),
        ([cover("A", sheets=1), PAGE, cover("B", sheets=1), PAGE], []),
    ],
)
def test_sheets_are_counted_against_the_cover(pages: list[Seen], found: list[str]) -> None:
    assert codes(*pages) == found


def test_sheets_of_two_sides_are_counted_in_pairs_and_empty_backs_go_with_the_separator() -> None:
    pages = [cover(sheets=2), BLANK, PAGE, PAGE, PAGE, BLANK]
    made = lay_out(pages, Rules(sides="two"))
    assert [s.pages for s in made.segments] == [(3, 4, 5, 6)]
    assert made.dropped == [1, 2]
    assert made.sheets == {"HS.01": (2, 2)}
    assert not made.suspicions
    assert codes(*pages[:-1], sides="two") == ["sheets-uneven"]


def test_a_separators_back_with_something_on_it_is_kept() -> None:
    made = lay_out([PLAIN, PAGE, PAGE, PAGE], Rules(sides="two"))
    assert [s.pages for s in made.segments] == [(2, 3, 4)]
    assert "page 2" in made.notes[0]


def test_uncounted_sheets_are_said_to_be_uncounted() -> None:
    made = lay_out([cover(sheets=7), PAGE], Rules(sides="unknown"))
    assert made.sheets == {"HS.01": (7, None)}
    assert not made.suspicions


def test_a_numbered_cover_that_was_not_seen_is_missed() -> None:
    first, second, third = (cover(number=n, of=3) for n in (1, 2, 3))
    assert codes(first, PAGE, second, PAGE, third, PAGE) == []
    assert codes(first, PAGE, third, PAGE) == ["separators-missing"]
    assert codes(second, PAGE, first, PAGE, third, PAGE) == ["separators-out-of-order"]
    assert codes(first, PAGE, second, PAGE, second, PAGE, third, PAGE) == [
        "separators-out-of-order"
    ]


def test_covers_that_contradict_each_other_are_a_conflict() -> None:
    assert codes(cover(sheets=1), PAGE, cover(sheets=2), PAGE)[0] == "sheet-conflict"
    both = Seen(codes=cover("A").codes + cover("B").codes)
    assert codes(both, PAGE) == ["sheet-conflict"]


def test_pages_before_the_first_cover_belong_to_nobody() -> None:
    assert codes(PAGE, cover(), PAGE) == ["separators-missing"]
    assert codes(PAGE, cover(), PAGE, dossier="HS.01") == []
    assert codes(PAGE, PLAIN, PAGE) == []


def test_a_cover_of_another_dossier_than_the_folders_is_told() -> None:
    assert codes(cover("A"), PAGE, dossier="B") == ["dossier-differs"]


def test_what_looks_like_a_separator_and_is_not_read_is_suspicious() -> None:
    assert codes(PAGE, MARK, PAGE) == ["separator-unread"]
    assert codes(PAGE, Seen(unread="torn"), PAGE) == ["separator-unread"]
    assert codes(PAGE, Seen(unread="torn", patches=("T",)), PAGE) == ["separator-unread"]
    assert codes(Seen(codes=PLAIN.codes, unread="a scratch"), PAGE) == []


def test_lengths_out_of_bounds_are_told() -> None:
    assert codes(PLAIN, PAGE, PLAIN, PAGE, PAGE, min_pages=2) == ["segment-too-short"]
    assert codes(PLAIN, PAGE, PAGE, PLAIN, PAGE, max_pages_each=1) == ["segment-too-long"]
    assert codes(PLAIN, PAGE, PLAIN, PAGE, PLAIN, PAGE, max_parts=2) == ["too-many-parts"]
    assert codes(PAGE, PAGE, PAGE, max_pages_each=1) == []  # nothing separates: nothing is cut
    assert codes(PLAIN, PLAIN) == ["only-separators"]


def test_the_highest_level_on_any_cover_counts() -> None:
    pages = [cover("A", secrecy="mat"), PAGE, cover("B", secrecy="toi-mat"), PAGE]
    assert lay_out(pages, Rules()).secrecy == "toi-mat"
