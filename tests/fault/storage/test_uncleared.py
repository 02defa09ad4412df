"""What cannot be removed is set aside where no work meets it, and known until it is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from archived.storage import uncleared
from archived.storage.uncleared import Uncleared

DOCS = Path(__file__).parents[3] / "docs"


def a_tree(folder: Path) -> Path:
    """One that is not removed in no time."""
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "file").touch()
    return folder


@pytest.fixture
def place(tmp_path: Path) -> Uncleared:
    return Uncleared(tmp_path / "uncleared")


def test_what_can_be_removed_is_and_the_answer_says_so(place: Uncleared, tmp_path: Path) -> None:
    assert place.clear(a_tree(tmp_path / "tree"))
    assert not (tmp_path / "tree").exists()
    assert place.clear(tmp_path / "tree"), "there is nothing, and so nothing is left"
    assert place.names() == []
    assert not place.folder.exists(), "it is made when it is needed"


def test_nobody_but_the_service_may_enter_what_was_set_aside(
    place: Uncleared, tmp_path: Path
) -> None:
    assert not place.clear(a_tree(tmp_path / "tree"), seconds=0.0)
    assert place.folder.stat().st_mode & 0o777 == 0o750


def test_where_its_own_folder_cannot_be_made_a_tree_is_set_aside_beside_itself(
    tmp_path: Path,
) -> None:
    (tmp_path / "uncleared").touch()
    place = Uncleared(tmp_path / "uncleared")
    assert not place.clear(a_tree(tmp_path / "work" / "tree"), seconds=0.0)
    assert not (tmp_path / "work" / "tree").exists(), "its name is free"
    [name] = place.names()
    assert (tmp_path / "work" / name / "a").is_dir()
    assert place.try_again() == [name]
    assert place.names() == []


def test_of_many_those_that_the_time_allows_are_removed_and_all_are_named(
    place: Uncleared, tmp_path: Path
) -> None:
    trees = [a_tree(tmp_path / name) for name in ("one", "two")]
    assert place.clear_all(trees) == ["one", "two"]
    assert [tree.exists() for tree in trees] == [False, False]
    assert place.names() == []

    trees = [a_tree(tmp_path / name) for name in ("one", "two")]
    assert place.clear_all(trees, seconds=0.0) == ["one", "two"]
    assert [tree.exists() for tree in trees] == [False, False]
    assert [name.partition(".")[0] for name in place.names()] == ["one", "two"]


def test_without_time_nothing_is_tried_again(place: Uncleared, tmp_path: Path) -> None:
    place.clear(a_tree(tmp_path / "tree"), seconds=0.0)
    before = place.names()
    assert place.try_again(seconds=0.0) == []
    assert place.names() == before
    assert place.try_again() == before


def test_the_code_that_it_is_told_under_is_in_the_runbook() -> None:
    assert f"ACTION={uncleared.CODE}`" in (DOCS / "runbook.md").read_text()
