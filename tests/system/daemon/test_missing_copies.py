"""A target that comes later: the real daemon and the real command over what was sealed before."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

CTL = Path(sys.executable).parent / "archivectl"


def ctl(box, *arguments):
    return subprocess.run(
        [CTL, *arguments, "--config", box.config],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_what_was_sealed_before_there_was_a_target_becomes_safe(box, until):
    names = ["a.txt", "b.txt", "c.txt"]
    box.start()
    box.drop(*names)
    box.sealed(*names)
    until(lambda: box.metric("archived_never_safe_documents") == {(): 3}, "counted", 30)
    assert "3 documents are sealed, and nothing makes their copies" in ctl(box, "status").stdout
    assert "archivectl copy --all" in ctl(box, "report").stdout
    left = ctl(box, "copy", "--all", "--json")
    assert (left.returncode, json.loads(left.stdout)["left"]) == (5, {"paper": 3})

    (box.folder / "second").mkdir()
    box.tables["plugins"]["enabled"].append("replicate")
    box.tables["pipeline.paper"]["stages"] = ["stamp", "seal", "replicate"]
    box.tables["stage.replicate"] = {"to": ["second"]}
    box.tables["target.second"] = {
        "kind": "directory",
        "path": box.folder / "second",
        "allow_same_filesystem": True,
    }
    box.reload()
    asked = ctl(box, "copy", "--all", "--note", "the second disk", "--json")
    assert (asked.returncode, json.loads(asked.stdout)["asked"]) == (0, 3), asked
    until(lambda: set(box.states().values()) == {"safe"}, "all safe")

    assert json.loads(ctl(box, "copy", "--all", "--json").stdout)["have_all"] == 3
    assert "nothing makes" not in ctl(box, "report").stdout
    assert box.end() == 0


def test_a_target_that_is_away_is_on_status_at_once_and_gone_when_it_is_back(box, until):
    second, away = box.folder / "second", box.folder / "away"
    second.mkdir()
    box.tables["plugins"]["enabled"].append("replicate")
    box.tables["pipeline.paper"]["stages"] = ["stamp", "seal", "replicate"]
    box.tables["stage.replicate"] = {"to": ["second"]}
    box.tables["target.second"] = {
        "kind": "directory",
        "path": second,
        "allow_same_filesystem": True,
    }

    def status():
        return json.loads(ctl(box, "status", "--json").stdout)

    box.start()
    box.drop("a.txt")
    until(lambda: box.states().get("a.txt") == "safe", "safe")
    assert status()["daemon"]["problems"] == {}
    second.rename(away)
    box.drop("b.txt")
    found = until(lambda: (s := status())["daemon"]["problems"].get("replicate") and s, "told", 30)
    assert "cannot open" in found["daemon"]["problems"]["replicate"][0]
    assert [(w["stage"], w["code"], w["documents"]) for w in found["waiting"]] == [
        ("replicate", "target-missing", 1)
    ]
    told = ctl(box, "status")
    assert "target second: cannot open" in told.stdout
    assert told.returncode == 1, "who watches by exit codes is told"
    away.rename(second)
    # The next copy that is made shows that the place is back: what waited does not wait on.
    box.drop("c.txt")
    until(lambda: box.states().get("b.txt") == "safe", "safe", 30)
    until(lambda: status()["daemon"]["problems"] == {}, "nothing is the matter any more", 30)
    assert ctl(box, "status").returncode == 0
    again = ctl(box, "retry", "b.txt")
    assert again.returncode == 5
    assert "is archived: there is nothing to decide" in again.stderr
    assert box.end() == 0
