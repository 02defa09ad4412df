"""The report of a day says to people who read no logs what the archive's other answers say."""

from __future__ import annotations

import csv
import io
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from archived.storage.catalog import Catalog

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")


@pytest.fixture
def installation(installation_to_count: Any) -> Any:
    """What a report counts must not be what another test decided."""
    return installation_to_count


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A folder of reports."""
    (tmp_path / "reports").mkdir()
    return tmp_path / "reports"


def written(
    installation: Any, shelf: Path, *words: str, **more: Any
) -> tuple[str, list[dict[str, str]]]:
    """Text and table of a fresh report."""
    ran = installation.ctl("report", "--into", str(shelf), *words, **more)
    assert ran.returncode == 0, ran.stderr
    text, table = (Path(line) for line in sorted(ran.stdout.split(), reverse=True))
    assert text.read_bytes().startswith(b"\xef\xbb\xbf")
    rows = csv.DictReader(io.StringIO(table.read_bytes().decode("utf-8-sig")))
    return text.read_text("utf-8-sig"), list(rows)


def test_a_report_on_paper_has_the_head_that_the_ledger_is_compared_with(
    installation: Any, shelf: Path
):
    written(installation, shelf)
    [page] = shelf.glob("*.txt")
    answer = installation.json("ledger", "verify", "--against", str(page))
    assert answer["verdict"] == "yes"
    assert answer["against"]["heads"] == 1
    assert answer["against"]["agrees_to"] > 10


def test_a_report_has_all_there_is_to_know_in_both_languages(installation: Any, shelf: Path):
    text, rows = written(installation, shelf)
    vietnamese, english = text.split("=" * 72)
    assert "every file that ever came is accounted for" in english
    assert "waits for a person: 2 documents and 1 file in hot folders" in english
    assert "1 document is on its way and not safe yet" in english
    assert "- scans/poison-1.txt, " in english
    assert "- late/slow.txt, " in english
    assert "The tide is out [tide-out]" in english
    assert "- scans/big.bin: " in english
    assert "second" in english.partition("Copies")[2]
    assert f"{installation.folder}/store: " in english
    assert "none" not in english.partition("Held for a person")[2].split()
    for name in ("scans/poison-1.txt", "scans/poison-2.txt", "scans/big.bin", "late/slow.txt"):
        assert f"- {name}" in vietnamese
    assert "accounted" not in vietnamese
    named = {(row["Tệp / File"], row["Mã / Code"]) for row in rows}
    assert named == {
        ("poison-1.txt", "erratic-refused"),
        ("poison-2.txt", "erratic-refused"),
        ("big.bin", "too-large"),
        ("slow.txt", "tide-out"),
    }
    assert all(row["Lý do"] and row["Reason"] for row in rows)


def test_the_figures_of_a_report_are_those_of_the_other_answers(installation: Any):
    account = installation.json("account")
    told = {
        each["day"]: installation.json("report", "--day", each["day"]) for each in account["days"]
    }
    assert {day: it["came"]["total"]["seen"] for day, it in told.items()} == {
        each["day"]: each["seen"] for each in account["days"]
    }
    *_, it = told.values()
    assert (it["balanced"], it["unaccounted"]) == (True, 0)
    assert it["documents"] == installation.json("status")["documents"]
    assert [(each["target"], each["documents"]) for each in it["copies"]] == [("second", 2)]
    shown = installation.json("show", installation.document("letter.txt"))
    assert it["copies"][0]["verified"] >= shown["replicas"][0]["verified"]
    assert all(0 < each["free"] < each["size"] for each in it["disks"])


def test_a_day_on_which_nothing_came_tells_what_waits_all_the_same(installation: Any):
    it = installation.json("report", "--day", "2001-01-01")
    assert it["came"]["total"]["seen"] == 0
    assert len(it["held"]) == 2
    told = installation.ctl("report", "--day", "01/01/2001").stdout
    assert "- nothing came on that day" in told
    assert "What came" not in told, "a quiet day has no tables of zeros"
    assert told.count("- scans/poison-1.txt, ") == 1
    assert "none" not in told.split()
    wrong = installation.ctl("report", "--day", "tomorrow")
    assert (wrong.returncode, "is not a day" in wrong.stderr) == (2, True)


def test_reports_of_long_ago_go_and_nothing_else(installation: Any, shelf: Path):
    today = datetime.now(ZONE).date()
    for days, ending in ((2, "txt"), (2, "csv"), (3, "txt"), (3, "csv"), (3, "pdf")):
        (shelf / f"{today - timedelta(days=days)}.{ending}").write_text("")
    (shelf / "minutes.txt").write_text("")
    written(installation, shelf, "--day", str(today), "--keep", "2")
    assert sorted(path.name for path in shelf.iterdir()) == sorted(
        [
            f"{today}.txt",
            f"{today}.csv",
            f"{today - timedelta(days=2)}.txt",
            f"{today - timedelta(days=2)}.csv",
            f"{today - timedelta(days=3)}.pdf",
            "minutes.txt",
        ]
    )


def test_a_report_says_when_the_service_does_not_run(new_house: Any, shelf: Path):
    for name in ("state", "store"):
        (new_house.folder / name).mkdir()
    Catalog.open(new_house.folder / "state/catalog.db").close()
    before = datetime.now(ZONE).date() - timedelta(days=1)
    text, rows = written(new_house, shelf, "--day", "yesterday")
    assert "THE SERVICE DOES NOT RUN" in text
    assert rows == []
    named = {path.stem for path in shelf.iterdir()}
    assert named <= {str(before), str(before + timedelta(days=1))}, "midnight may have passed"
    assert {path.stat().st_mode & 0o777 for path in shelf.iterdir()} == {0o640}


def test_a_written_report_does_not_name_what_is_secret(
    installation: Any, shelf: Path, tmp_path: Path
):
    config = tmp_path / "archived.toml"
    config.write_text(
        installation.config.read_text().replace(
            "[hotfolder.late]", '[hotfolder.late]\nsecrecy = "mật"'
        )
    )
    config.chmod(0o644)
    ran = installation.ctl("--config", str(config), "report", "--into", str(shelf))
    assert ran.returncode == 0, ran.stderr
    slow = installation.document("slow.txt")
    for line in ran.stdout.split():
        told = Path(line).read_text("utf-8-sig")
        assert "poison-1.txt" in told
        assert "slow.txt" not in told
        assert "The tide is out" not in told
        assert slow in told
        assert "tide-out" in told, "the code is no secret"


def test_what_cannot_be_written_is_said(installation: Any, tmp_path: Path):
    ran = installation.ctl("report", "--into", str(tmp_path / "nowhere"))
    assert ran.returncode == 2
    assert "nowhere" in ran.stderr
