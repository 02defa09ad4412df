"""The stage `ocr` in the daemon: what a person answers to it, and originals it cannot read."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(240)
Sample = Callable[[str], Path]


@pytest.fixture
def desk(box: Any, sample: Sample) -> Any:
    """A daemon that reads, and a dossier of two documents with a ticket."""
    box.tables["plugins"]["enabled"] = ["ocr"]
    box.tables["pipeline.paper"]["stages"] = ["ocr", "seal"]
    box.tables["hotfolder.dossiers"] = {
        "path": box.hot("dossiers"),
        "pipeline": "paper",
        "dossiers": True,
        "closed_by": ["ticket"],
    }
    folder = box.hot("dossiers") / "HS-9"
    folder.mkdir()
    (folder / "letter.txt").write_text("A letter that came by e-mail.\n")
    for name in ("annex.tif", "plan.tif"):
        (folder / name).write_bytes(sample("tiny.tif").read_bytes())
    (folder / "plan.tif").open("ab").write(b"\0")  # other bytes, the same page
    ticket = {
        "dossier": "HS-9",
        "files": [
            {"path": "letter.txt", "document": "letter"},
            {"path": "annex.tif", "document": "letter"},
            {"path": "plan.tif", "pages": 2},
        ],
    }
    (folder / "ticket.json").write_text(json.dumps(ticket))
    return box


def retry(box: Any, document: str, *note: str) -> None:
    program = Path(sys.executable).parent / "archivectl"
    line = [program, "--config", box.config, "retry", document, *note]
    subprocess.run(line, check=True, capture_output=True)


def test_a_person_answers_and_files_that_cannot_be_read_are_left_alone(
    desk: Any, until: Callable[..., Any]
) -> None:
    def now() -> dict[str, tuple[Any, ...]]:
        return {name.split("/")[-1]: row for name, row in desk.documents().items()}

    def tries() -> int:
        asked = "SELECT count(*) FROM step WHERE stage = 'ocr' AND ending = 'refused'"
        return int(desk.rows(asked)[0][0])

    desk.start()
    until(
        lambda: len(now()) == 2 and {row[0] for row in now().values()} == {"sealed", "held"},
        "one is sealed, one held",
        120,
        else_show=desk.documents,
    )
    [plan] = [row for row in now().values() if row[0] == "held"]
    assert plan[1] == "pages-differ"
    [letter] = [row[3] for row in now().values() if row[0] == "sealed"]
    # The letter, which comes first, is no page; the annex was read all the same.
    made = desk.rows(
        f"SELECT role, name, main FROM artifact WHERE document = '{letter}' "
        "AND role <> 'metadata' ORDER BY role, name"
    )
    assert made == [
        ("access", "document.pdf", 1),
        ("original", "0001.txt", 0),
        ("original", "0002.tif", 0),
        ("text", "document.txt", 0),
    ]
    [(ending, notes)] = desk.rows(
        f"SELECT ending, notes FROM step WHERE document = '{letter}' AND stage = 'ocr'"
    )
    assert ending == "finished"
    assert "original 1 (0001.txt)" in notes

    retry(desk, plan[3])  # nothing was said: it is asked again
    until(lambda: tries() == 2, "ocr asks again", 60)
    retry(desk, plan[3], "--note", "the sheet has one side")
    until(
        lambda: [row[0] for row in now().values()] == ["sealed"] * 2,
        "both sealed",
        60,
        else_show=desk.documents,
    )
    [(notes,)] = desk.rows(
        f"SELECT notes FROM step WHERE document = '{plan[3]}' AND ending = 'finished' "
        "AND stage = 'ocr'"
    )
    assert "the sheet has one side" in notes
    assert len(list(desk.folder.glob("store/**/v1/content/access/document.pdf"))) == 2
