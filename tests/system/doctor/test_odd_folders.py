"""`archived doctor FOLDER` ends with sentences, whatever the folder or its file system does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from archived.ingest.preflight import probe
from archived.ingest.preflight.agent import Agent, AgentActions
from archived.ingest.preflight.report import advice

ARCHIVED = Path(sys.executable).with_name("archived")
VERDICTS = {"yes", "no", "not established"}
DEEDS = [name for name in vars(AgentActions) if not name.startswith("_")]


def fails_with(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any) -> Any:
        raise error

    return fail


ODD: dict[str, Callable[..., Any]] = {
    "nothing": lambda *_: None,
    "an empty answer": lambda *_: [],
    "EIO": fails_with(OSError(5, "Input/output error")),
    "an error without a number": fails_with(OSError("odd")),
    "ValueError": fails_with(ValueError("embedded null byte")),
    "OverflowError": fails_with(OverflowError("too large")),
    "UnicodeError": fails_with(UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates")),
    "what JSON cannot carry": lambda *_: {1, 2},
}


@pytest.mark.parametrize(
    ("deed", "kind"),
    # A second each: every call fails in one way, and the one that says most in all.
    [
        (deed, kind)
        for deed, kind in zip(DEEDS, cycle(("nothing", "EIO", "ValueError")))
        if deed != "stat"
    ]
    + [("stat", kind) for kind in ODD],
)
def test_whatever_a_call_does_there_every_trial_has_a_verdict_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deed: str, kind: str
) -> None:
    """The processes that act in the folder are forks of this one, and have its calls."""
    monkeypatch.setattr(AgentActions, deed, ODD[kind])
    report = probe(tmp_path, None, None)
    assert report.found
    assert {each.verdict for each in report.found} <= VERDICTS
    assert all(each.why or each.verdict == "yes" for each in report.found)
    assert any(line.text.startswith("[hotfolder.") for line in advice(report))
    json.dumps(report.facts)


def test_an_answer_that_nobody_waited_for_is_not_taken_for_the_next(tmp_path: Path) -> None:
    agent = Agent(tmp_path, ".archived-probe-x-", None)
    try:
        agent.begin("set_time", "nothing", 1)
        agent.begin("create", "one", "text")
        assert agent.do("who") == [os.geteuid(), os.getegid()]
        assert agent.do("read", "one") == "text"
    finally:
        agent.let_go()


def test_a_deed_that_is_no_matter_of_the_disk_leaves_the_hand_alive(tmp_path: Path) -> None:
    agent = Agent(tmp_path, ".archived-probe-x-", None)
    try:
        with pytest.raises(OSError, match="never-opened") as told:
            agent.do("write", "never-opened", "text")
        assert told.value.errno == 0
        assert agent.do("who") == [os.geteuid(), os.getegid()]
    finally:
        agent.let_go()


@pytest.mark.parametrize(
    "name",
    [
        "file",
        "dangling",
        "loop",
        "n" * 300,
        "d/" * 2500,
        "/dev/null",
        "/proc/self/fd",
        "/dev/pts",
        "",
        "two\nlines",
        b"T\xde tr\xd5nh",
    ],
)
@pytest.mark.parametrize("more", [(), ("--json",)])
def test_no_folder_ends_it_with_a_traceback(
    tmp_path: Path, name: str | bytes, more: tuple[str, ...]
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    for made in ("two\nlines", os.fsdecode(b"T\xde tr\xd5nh")):
        (tmp_path / made).mkdir()
    ran = subprocess.run(
        [ARCHIVED, "doctor", os.fsdecode(name), *more],
        cwd=tmp_path,
        capture_output=True,
        timeout=100,
        check=False,
    )
    assert ran.returncode in {0, 1, 2}, ran.stderr
    assert b"Traceback" not in ran.stdout + ran.stderr
    if more and ran.returncode != 2:
        json.loads(ran.stdout)


def test_a_folder_below_a_working_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f'cd "{gone}" && rmdir "{gone}" && exec "{ARCHIVED}" doctor x'
    ran = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, timeout=100, check=False
    )
    assert ran.returncode == 1
    assert "could not be tried" in ran.stderr
    assert "Traceback" not in ran.stderr
