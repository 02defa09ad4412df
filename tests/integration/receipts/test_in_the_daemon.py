"""The real daemon on real folders: what a clerk sees there from the first scan to the last word."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

PICKY = '''"""Refuses what the test wants refused, quoting it, as a careless author would."""

from archived.api import Refuse, Result, Stage, hookimpl


class Picky(Stage):
    name = "picky"
    version = "1"

    def run(self, document, context):
        text = document.main.path.read_text()
        if "refuse" in text:
            raise Refuse(f"it says: {text}", code="encrypted", hint=text)
        return Result()


@hookimpl
def register_stages(register):
    register(Picky)
'''


@pytest.fixture
def second(box) -> Path:
    """Where copies would go, if it were there; until then nothing is safe."""
    box.plugin("picky", PICKY)
    box.tables["plugins"]["enabled"].append("replicate")
    box.tables["pipeline.paper"]["stages"] = ["picky", "seal", "replicate"]
    box.tables["stage.replicate"] = {"to": ["second"]}
    path = box.folder / "second"
    box.tables["target.second"] = {
        "kind": "directory",
        "path": path,
        "allow_same_filesystem": True,
    }
    box.tables["hotfolder.other"] = {
        "path": box.hot("other"),
        "pipeline": "paper",
        "secrecy": "mật",
        "receipts_folder": "tra-loi",
    }
    return path


def _status(box, folder: str = "scans/_archived") -> str:
    path = box.folder / folder / "STATUS.txt"
    return path.read_text("utf-8-sig") if path.exists() else ""


def test_from_receipt_to_the_list_of_what_is_safe(box, second, until, answers, safe_rows):
    box.tables["hotfolder.silent"] = {
        "path": box.hot("silent"),
        "pipeline": "paper",
        "receipts": False,
    }
    box.start()
    box.drop("silence.txt", folder="silent")
    hot, other = box.hot(), box.hot("other")
    box.drop("hợp đồng.txt", text="one page")
    box.drop("mật.txt", text="refuse: burn this after reading")
    (other / "tên riêng.txt").write_text("another page")
    until(lambda: sum(n.endswith(".json") for n in answers(hot)) == 2, "two receipts")
    [receipt] = [
        json.loads(c) for n, c in answers(hot).items() if n.endswith(".json") and "hợp" in n
    ]
    assert receipt["sha256"] == sha256(b"one page").hexdigest()
    assert (receipt["name"], receipt["size"]) == ("hợp đồng.txt", 8)
    until(lambda: any(n.startswith("held/") for n in answers(hot)), "a reason")
    until(lambda: box.states().get("hợp đồng.txt") == "sealed", "sealed, but no copy")
    assert safe_rows(hot) == [], "the paper must not go back yet"

    second.mkdir()
    line = [Path(sys.executable).parent / "archivectl", "--config", box.config]
    retried = subprocess.run([*line, "retry", box.documents()["hợp đồng.txt"][3]], check=False)
    # The daemon tries again by itself, too, and may have come first.
    assert retried.returncode == 0 or box.states()["hợp đồng.txt"] == "safe"
    until(lambda: [r["Tệp / File"] for r in safe_rows(hot)] == ["hợp đồng.txt"], "safe")
    until(lambda: "Safe today: 1" in _status(box), "status says so")

    identity = box.documents()["mật.txt"][3]
    subprocess.run([*line, "release", identity, "--note", "looked at"], check=True)
    until(lambda: not [n for n in answers(hot) if n.startswith("held/")], "no reason any more")
    theirs = other / "tra-loi" / "receipts"
    until(lambda: theirs.exists() and list(theirs.glob("*.json")), "the other folder's receipt")

    seen = {"scans": b"", "other": b""}
    for path in [*(hot / "_archived").rglob("*"), *(other / "tra-loi").rglob("*")]:
        folder = "scans" if path.is_relative_to(hot) else "other"
        with contextlib.suppress(FileNotFoundError):  # it is being written, and renamed
            seen[folder] += path.name.encode() + (path.read_bytes() if path.is_file() else b"")
    assert "tên riêng".encode() not in seen["scans"]
    assert "hợp đồng".encode() not in seen["other"]
    assert b"burn" not in seen["scans"], "answers quote no document"

    box.tables["spool"]["keep_free"] = "1000 TiB"
    box.reload()
    box.drop("waits.txt")
    until(lambda: "TẠM DỪNG" in _status(box), "paused")
    box.tables["spool"]["keep_free"] = "1 MiB"
    box.reload()
    until(lambda: "ĐANG LÀM VIỆC" in _status(box), "working")
    box.sealed("waits.txt")

    away = box.folder / "away"
    hot.rename(away)
    until(lambda: box.metric("archived_hotfolder_online")[("scans",)] == 0, "offline")
    (away / "_archived" / "STATUS.txt").unlink()
    away.rename(hot)
    until(lambda: "ĐANG LÀM VIỆC" in _status(box), "working again")

    assert box.rows("SELECT count(*) FROM arrival") == [(5,)], "no answer was taken for a scan"
    assert set(box.metric("archived_unaccounted_files").values()) == {0.0}
    assert box.end() == 0
    assert list(box.hot("silent").iterdir()) == [], "where they are switched off"
    assert "ĐÃ DỪNG" in _status(box)
    assert "ĐÃ DỪNG" in _status(box, "other/tra-loi")


def test_a_share_that_cannot_be_written_disturbs_nobody_and_is_caught_up_with(box, until, answers):
    blocked = box.hot() / "_archived"
    blocked.touch()
    box.start()
    box.drop("a.txt", "b.txt")
    box.sealed("a.txt", "b.txt")
    until(lambda: box.said("receipts-wait", hotfolder="scans"), "the log says why")
    assert len(box.said("receipts-wait")) == 1, "once"
    assert box.get("/readyz")[0] == 200
    below = box.children()
    assert box.end(signal.SIGKILL) == -signal.SIGKILL
    until(lambda: not any(map(box.lives, below)), "children are gone")
    blocked.unlink()
    box.start()
    until(lambda: sum(n.endswith(".json") for n in answers(box.hot())) == 2, "both receipts")
    box.drop("c.txt")
    until(lambda: sum(n.endswith(".json") for n in answers(box.hot())) == 3, "and the next")
    rules = box.rows("SELECT name, code FROM arrival WHERE state = 'ignored'")
    assert rules == [("_archived", "own-folder")], "the clerk's file of that name is on record"
    until(lambda: box.metric("archived_files_seen_total") == {("scans",): 4.0}, "they are counted")
    # The receipt tells of the bytes that are in custody; then the source goes.
    until(lambda: [path.name for path in box.hot().iterdir()] == ["_archived"], "all are taken in")


SIGNING = '''"""Signs with a token, where there is one."""

from archived.api import Result, Stage, hookimpl


class TokenSeal(Stage):
    name = "token-seal"
    version = "1"
    signs = True

    def run(self, document, context):
        return Result(facts={"signed": "signed" in document.main.path.read_text()})


@hookimpl
def register_stages(register):
    register(TokenSeal)
'''


def test_what_a_signing_stage_of_any_name_left_unsigned_is_marked(box, second, until, safe_rows):
    box.plugin("token", SIGNING)
    box.tables["pipeline.paper"]["stages"] = ["token-seal", "seal", "replicate"]
    second.mkdir()
    box.start()
    box.drop("plain.txt", text="left alone")
    box.drop("done.txt", text="signed by the token")
    rows = until(lambda: (r := safe_rows(box.hot())) and len(r) == 2 and r, "both listed", 60)
    notes = {row["Tệp / File"]: row["Ghi chú / Note"] for row in rows}
    assert "unsigned" in notes["plain.txt"]
    assert "unsigned" not in notes["done.txt"]
    archivectl = Path(sys.executable).parent / "archivectl"
    told = subprocess.run(
        [archivectl, "explain", "plain.txt", "--config", box.config],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "it is not signed" in told
    assert box.end() == 0
