"""Page-per-file scanners: which files are one document, in which order, and what is left out."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archived.ingest.batches import MOST_GAPS, PageGroup, SidesDiffer, group_pages, interleave
from archived.ingest.hold_reasons import HOLDS


@pytest.mark.parametrize(
    "names",
    [
        [b"name-001.tif", b"name-002.tif", b"name-003.tif"],
        [b"name_001.TIF", b"name_002.tif", b"name_003.Tif"],
        [b"name0001.jpg", b"name0002.jpg", b"name0003.jpg"],
        [b"scan (1).png", b"scan (2).png", b"scan (3).png"],
        [b"scan [1].png", b"scan [2].png", b"scan [3].png"],
        [b"p-1.tif", b"p-02.tif", b"p-003.tif"],
        [b"20251104-001.tif", b"20251104-002.tif", b"20251104-003.tif"],
        [b"001.tif", b"002.tif", b"003.tif"],
        [b"box 7/file 12/a1.tif", b"box 7/file 12/a2.tif", b"box 7/file 12/a3.tif"],
        [b"a-001", b"a-002", b"a-003"],
        [b"a.001", b"a.002", b"a.003"],
        [b"a1.jp2", b"a2.jp2", b"a3.jp2"],
        [b"a0.tif", b"a1.tif", b"a2.tif"],
        ["hồ sơ-1.tif".encode(), "hồ sơ-2.tif".encode(), "hồ sơ-3.tif".encode()],
        [b"\xff\xfe 1.tif", b"\xff\xfe 2.tif", b"\xff\xfe 3.tif"],
        [b"a-1.tif", b"a-2.jpg", b"a-3.png"],
    ],
)
def test_pages_of_one_document_are_one_group_in_the_order_of_their_numbers(
    names: list[bytes],
) -> None:
    """However the scanner writes numbers, and in whatever order the files are found."""
    [group] = group_pages(reversed(names))
    assert group.members == tuple(names)
    assert (group.gaps, group.duplicates, group.problems) == ((), (), ())


def test_twelve_pages_are_in_the_order_of_numbers_not_of_letters() -> None:
    """p-10 comes after p-9, not after p-1."""
    names = [b"p-%d.tif" % number for number in range(1, 13)]
    [group] = group_pages(sorted(names))
    assert group.members == tuple(names)


@pytest.mark.parametrize(
    ("numbers", "first", "gaps", "duplicates"),
    [
        ([1, 2, 4], 1, (3,), ()),
        ([0, 1, 3], 0, (2,), ()),
        ([0, 2], 0, (1,), ()),
        ([3, 4, 5], 3, (1, 2), ()),
        ([3], 3, (1, 2), ()),
        ([1], 1, (), ()),
        ([0], 0, (), ()),
        ([1, 5], 1, (2, 3, 4), ()),
    ],
)
def test_a_number_that_is_left_out_is_a_gap_also_at_the_beginning(
    numbers: list[int], first: int, gaps: tuple[int, ...], duplicates: tuple[int, ...]
) -> None:
    """A first page has the number 0 or 1."""
    [group] = group_pages(b"n-%03d.tif" % number for number in numbers)
    assert (group.first, group.gaps, group.duplicates) == (first, gaps, duplicates)
    assert [p.code for p in group.problems] == (["pages-missing"] if gaps else [])


@pytest.mark.parametrize(
    "names",
    [
        [b"n-1.tif", b"n-1.jpg", b"n-2.tif"],
        [b"n-1.tif", b"n-1.TIF", b"n-2.tif"],
        [b"n-1.tif", b"n-001.tif", b"n-2.tif"],
    ],
)
def test_the_same_number_twice_is_a_duplicate(names: list[bytes]) -> None:
    """Other extension, other capitals or other padding: nobody can tell which page it is."""
    [group] = group_pages(names)
    assert set(group.members) == set(names)
    assert group.duplicates == (1,)
    [problem] = group.problems
    assert problem.code == "pages-duplicate"
    assert problem.sentence == 'a page number is there more than once: of "n-": 1; ' + problem.hint


def test_other_stems_folders_and_closings_are_other_documents() -> None:
    """In the order in which each was first seen."""
    names = [b"b-1.tif", b"a-1.tif", b"x/a-1.tif", b"a_1.tif", b"A-1.tif", b"(1).tif", b"1.tif"]
    groups = group_pages([*names, b"b-2.tif"])
    assert [g.members for g in groups] == [(b"b-1.tif", b"b-2.tif"), *((n,) for n in names[1:])]


@pytest.mark.parametrize(
    "name",
    [
        b"scan.jp2",
        b"cover.tif",
        b"readme",
        b"a-12-b.tif",
        b"20251104.tif",
        b"143501.tif",
        b"1234567890123.tif",
        b"100000.tif",
        b"scan (4) - Copy.png",
        b"\xff.tif",
        b"",
    ],
)
def test_a_name_without_a_page_number_is_a_group_of_one(name: bytes) -> None:
    """A date, a time, a counter of six digits is no page; nothing is missing before it."""
    assert group_pages([name]) == [PageGroup(name, (name,))]


def test_a_name_is_never_counted_with_a_stem_that_looks_like_it() -> None:
    """A file called like the stem of others stays alone."""
    groups = group_pages([b"name-", b"name-1.tif", b"name-2.tif"])
    assert [len(g.members) for g in groups] == [1, 2]


def test_a_path_that_is_told_twice_is_one_file() -> None:
    """No duplicate out of nothing."""
    [group] = group_pages([b"a-1.tif", b"a-1.tif"])
    assert group.members == (b"a-1.tif",)
    assert group.duplicates == ()


def test_made_up_names_cost_neither_memory_nor_time() -> None:
    """Ten thousand files that each begin at page 99999."""
    begun = time.process_time()
    groups = group_pages(b"%x_99999.tif" % number for number in range(10_000))
    assert {len(g.gaps) for g in groups} == {MOST_GAPS}
    assert time.process_time() - begun < 5
    assert groups[0].problems[0].reason == 'of "0_": 1, 2, 3, 4, 5, 6, 7, 8, and more'


@given(st.lists(st.binary(max_size=20).map(lambda b: b.replace(b"\0", b"")), max_size=30))
def test_every_file_is_in_exactly_one_group(names: list[bytes]) -> None:
    """Whatever the bytes of its name."""
    members = [member for group in group_pages(names) for member in group.members]
    assert sorted(members) == sorted(set(names))


@given(
    st.sets(st.integers(0, 300), min_size=1, max_size=60),
    st.sampled_from(["%d", "%03d", "%06d"]),
    st.randoms(use_true_random=False),
)
def test_numbers_and_gaps_are_all_numbers_from_one_on(
    numbers: set[int], form: str, random: object
) -> None:
    """Members in order; members and gaps together leave nothing out."""
    names = [f"Box 4 - {form % number}.tif".encode() for number in numbers]
    random.shuffle(names)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    [group] = group_pages(names)
    found = [int(m.split(b" - ")[1].split(b".")[0]) for m in group.members]
    assert found == sorted(numbers)
    missing = set(range(1, max(numbers))) - numbers
    assert group.gaps == tuple(sorted(missing))[:MOST_GAPS]


def test_two_passes_are_read_front_back_front_back() -> None:
    """The stack was turned over: the last sheet's back comes first."""
    assert interleave(["f1", "f2", "f3"], ["b3", "b2", "b1"]) == (
        "f1",
        "b1",
        "f2",
        "b2",
        "f3",
        "b3",
    )
    assert interleave([], []) == ()


@pytest.mark.parametrize(("fronts", "backs"), [(3, 2), (2, 3), (1, 0), (0, 1)])
def test_sides_that_differ_in_number_are_never_put_together(fronts: int, backs: int) -> None:
    """A person decides."""
    with pytest.raises(SidesDiffer) as caught:
        interleave(range(fronts), range(backs))
    problem = caught.value.problem
    assert problem.code == "sides-differ"
    assert problem.reason == f"{fronts} fronts, {backs} backs"
    assert problem.hint == HOLDS["sides-differ"].hint


@given(st.lists(st.integers(), max_size=50), st.randoms(use_true_random=False))
def test_what_was_put_together_comes_apart_again(sheets: list[int], _: object) -> None:
    """Every second page is a front, the others backs from the end."""
    backs = [-n for n in sheets]
    pages = interleave(sheets, backs)
    assert list(pages[0::2]) == sheets
    assert list(pages[1::2]) == backs[::-1]
