"""Nobody forges a list of what is safe unnoticed: the receipts folder must be the service's."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from archived.ingest.recording import record_grown
from archived.observe.receipts.folder import ForgeryDoubt

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
SOMEBODY = 12345
WARNING = "WARNING: others may write into this folder."


def status(told: Any) -> str:
    return told.files()["STATUS.txt"].decode()


def answers(told: Any) -> Path:
    return Path(told.hot) / "_archived"


@AS_ROOT
@pytest.mark.parametrize("below", ["", "safe", "receipts", "held"])
def test_a_folder_of_somebody_else_is_doubted_and_told(told: Any, below: str) -> None:
    (answers(told) / below).mkdir(parents=True)
    os.chown(answers(told) / below, SOMEBODY, SOMEBODY)
    told.update()
    assert told.writer.doubt is ForgeryDoubt.OWNER
    assert WARNING in status(told)
    os.chown(answers(told) / below, os.geteuid(), -1)
    told.update()
    assert told.writer.doubt is ForgeryDoubt.NONE
    assert WARNING not in status(told)


@pytest.mark.parametrize("below", ["", "safe"])
def test_a_link_in_place_of_a_folder_is_doubted_although_nothing_is_written(
    told: Any, below: str
) -> None:
    told.update()
    forged = answers(told) / below
    (told.root / "forged").mkdir()
    forged.rename(told.root / "true")
    forged.symlink_to(told.root / "forged")
    with pytest.raises(OSError):
        told.update()
    assert told.writer.doubt is ForgeryDoubt.OWNER
    assert list((told.root / "forged").iterdir()) == []
    forged.unlink()
    (told.root / "true").rename(forged)
    told.update()
    assert told.writer.doubt is ForgeryDoubt.NONE


@AS_ROOT
def test_a_folder_that_cannot_be_written_to_is_doubted_all_the_same(told: Any) -> None:
    answers(told).mkdir()
    os.chown(answers(told), SOMEBODY, SOMEBODY)
    (answers(told) / "receipts").touch()
    with pytest.raises(OSError):
        told.update()
    assert told.writer.doubt is ForgeryDoubt.OWNER


def test_a_folder_that_others_may_write_to_is_closed_to_them(told: Any) -> None:
    for name in ("", "safe", "receipts", "held"):
        (answers(told) / name).mkdir(exist_ok=True)
        (answers(told) / name).chmod(0o777)
    told.update()
    for name in ("", "safe", "receipts", "held"):
        assert (answers(told) / name).stat().st_mode & 0o022 == 0
    assert told.writer.doubt is ForgeryDoubt.NONE


def test_a_folder_that_cannot_be_closed_is_doubted(
    told: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a mount that shows every folder with one mode."""
    told.update()
    (answers(told) / "safe").chmod(0o777)
    monkeypatch.setattr(os, "fchmod", lambda *_: None)
    told.update()
    assert told.writer.doubt is ForgeryDoubt.MODE
    assert WARNING in status(told)


@AS_ROOT
@pytest.mark.parametrize(
    "name", ["safe/safe-2026-11-30.csv", "receipts/{receipt}.json", "receipts/{receipt}.txt"]
)
def test_a_forged_list_or_receipt_is_told_and_is_none_of_ours(told: Any, name: str) -> None:
    told.drop("a.txt")
    told.update()
    [receipt] = [p.stem for p in (answers(told) / "receipts").glob("*.json")]
    forged = answers(told) / name.format(receipt=receipt)
    forged.write_text("everything is safe")
    os.chown(forged, SOMEBODY, SOMEBODY)
    told.writer = told.new_voice()
    told.update()
    assert told.writer.doubt is ForgeryDoubt.FILES
    assert WARNING in status(told)


@AS_ROOT
def test_a_forged_list_of_today_is_replaced_by_the_true_one(told: Any) -> None:
    told.drop("a.txt")
    today = told.now().astimezone(told.writer.spec.zone).date()
    (answers(told) / "safe").mkdir(parents=True)
    forged = answers(told) / f"safe/safe-{today:%Y-%m-%d}.csv"
    forged.write_text("everything is safe")
    os.chown(forged, SOMEBODY, SOMEBODY)
    told.work()
    told.update()
    assert "everything" not in forged.read_text("utf-8-sig")
    told.writer = told.new_voice()
    told.update()
    assert told.writer.doubt is ForgeryDoubt.NONE


def test_a_receipt_is_written_anew_when_more_came_after_it(told: Any) -> None:
    told.drop("a.txt", "b.txt")
    told.update()
    arrival = next(a for a in told.catalog.arrivals() if a.name == "a.txt")
    assert record_grown(told.catalog, arrival, datetime.now(UTC))
    assert record_grown(told.catalog, replace(arrival, code="source-grew"), datetime.now(UTC))
    told.update()
    grew = {}
    for name, content in told.files().items():
        if name.endswith(".json"):
            receipt = json.loads(content)
            grew[receipt["name"]] = receipt["grew_afterwards"]
            text = told.files()[name.removesuffix(".json") + ".txt"].decode()
            assert ("may be only" in text) is receipt["grew_afterwards"]
    assert grew == {"a.txt": True, "b.txt": False}
    assert [row.code for row in told.catalog.documents() if row.name == "a.txt"] == ["source-grew"]
