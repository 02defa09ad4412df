"""Folders of strangers among the answers keep no answer from being written.

Where a mount shows every file as one user's, or all write as one, the folder of answers can be
written to by whoever may scan.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from archived.storage.atomic import SCRATCH_PREFIX


def answers(told: Any) -> Path:
    return Path(told.hot) / "_archived"


@pytest.mark.parametrize("below", ["", "receipts", "held", "safe"])
def test_a_folder_with_the_name_of_an_unfinished_file_silences_nothing(
    told: Any, below: str
) -> None:
    told.update()
    strange = answers(told) / below / f"{SCRATCH_PREFIX}0123"
    strange.mkdir()
    (strange / "scan.pdf").touch()
    told.writer = told.new_voice()
    told.drop("a.txt")
    told.update()
    assert list((answers(told) / "receipts").glob("a*.json"))
    assert (strange / "scan.pdf").exists(), "what is not ours stays"


@pytest.mark.parametrize("which", ["status", "receipt", "list"])
def test_a_folder_under_the_name_of_an_answer_costs_that_answer_alone(
    told: Any, which: str
) -> None:
    told.drop("a.txt")
    told.work()
    told.update()
    [receipt] = (answers(told) / "receipts").glob("a*.json")
    [safe] = (answers(told) / "safe").glob("*.csv")
    there = {"status": answers(told) / "STATUS.txt", "receipt": receipt, "list": safe}[which]
    there.unlink()
    there.mkdir()
    (there / "scan.pdf").touch()
    told.writer = told.new_voice()
    told.drop("b.txt")
    told.work()
    told.update()
    assert list((answers(told) / "receipts").glob("b*.json"))
    assert (there / "scan.pdf").exists()
