"""A file that is given one name after another is one arrival, whatever the number of names."""

from __future__ import annotations

import pytest

from tests.integration.ingest.hand_driven_folder import Place, paper


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path)
    yield made
    made.settle_up()


def test_a_storm_of_renames_puts_nothing_on_record(place: Place):
    names = [f"{number:03}-0.pdf" for number in range(120)]
    for name in names:
        (place.hot / name).touch()
    place.sweep()
    before = place.catalog.ledger_head().sequence, len(place.arrivals())
    for turn in range(1, 8):
        for number in range(120):
            old, new = f"{number:03}-{turn - 1}.pdf", f"{number:03}-{turn}.pdf"
            (place.hot / old).rename(place.hot / new)
        place.sweep()
    assert (place.catalog.ledger_head().sequence, len(place.arrivals())) == before
    assert place.balance.seen == 120
    assert {a.name for a in place.arrivals()} == {f"{number:03}-7.pdf" for number in range(120)}
    for number in range(120):
        (place.hot / f"{number:03}-7.pdf").unlink()
    place.sweep()
    assert place.balance.rules == {"withdrawn": 120}


def test_a_renamed_file_comes_in_under_its_last_name_from_where_it_lies(place: Place):
    path = place.drop("may1-scan.pdf", paper("một"))
    place.sweep()
    path.rename(place.hot / "hồ sơ.pdf")
    [document] = place.quiet()
    assert document.name == "hồ sơ.pdf"
    assert place.custody(document) == paper("một")
    assert place.balance.seen == 1
    assert not place.balance.rules


def test_a_file_that_is_renamed_to_a_name_that_is_left_alone_is_withdrawn(place: Place):
    path = place.drop("scan.pdf")
    place.sweep()
    path.rename(place.hot / "nháp-scan.pdf")
    place.quiet()
    assert place.balance.seen == 2
    assert place.balance.rules["withdrawn"] == 1


def test_another_file_with_the_number_of_the_one_before_is_another_arrival(place: Place):
    """File systems give an inode number again at once; size and time are then others."""
    path = place.drop("a.pdf", paper("một"))
    place.sweep()
    place.destroyed(path)
    other = path.rename(place.hot / "b.pdf")
    other.write_bytes(paper("hai hai"))  # in place: the inode stays
    [document] = place.quiet()
    assert place.custody(document) == paper("hai hai")
    assert place.balance.rules == {"withdrawn": 1}


def test_names_that_change_places_lose_nothing(place: Place):
    one, two = place.drop("1.pdf", paper("một")), place.drop("2.pdf", paper("hai"))
    place.sweep()
    one.rename(place.hot / "3.pdf")
    two.rename(one)
    (place.hot / "3.pdf").rename(two)
    documents = place.quiet()
    assert sorted(place.custody(each) for each in documents) == sorted([paper("một"), paper("hai")])
