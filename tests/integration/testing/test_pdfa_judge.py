"""The stress run has what it delivers judged, and never passes off silence as a verdict."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pikepdf
import pytest
from rich.console import Console

from tools import pdfa_judge

ROOT = Path(__file__).resolve().parents[3]

JUDGE = """#!{python}
import json, pathlib, sys
files = sys.argv[sys.argv.index("--flavour") + 2 :]
jobs = []
for name in files:
    said = pathlib.Path(name).read_bytes()
    job = {{"itemDetails": {{"name": name}}}}
    if b"%silent" in said:
        continue
    if b"%broken" in said:
        job["taskException"] = {{"exceptionMessage": "cannot be parsed"}}
    else:
        rules = [{{"clause": "6.2", "testNumber": 3, "description": "no profile"}}]
        good = {good} and b"%bad" not in said
        job["validationResult"] = [
            {{"compliant": good, "details": {{"ruleSummaries": [] if good else rules}}}}]
    jobs.append(job)
print(json.dumps({{"report": {{"jobs": jobs}}}}))
sys.exit({status})
"""
"""A program that answers in the report format of veraPDF."""


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.delenv("ARCHIVED_VERAPDF", raising=False)
    return pdfa_judge


def program(path: Path, *, good: bool = True, status: int = 0) -> str:
    path.write_text(JUDGE.format(python=sys.executable, good=good, status=status))
    path.chmod(0o755)
    return str(path)


def pdf(path: Path, *marks: str, claim: bool = False) -> Path:
    with pikepdf.Pdf.new() as made:
        made.add_blank_page()
        if claim:
            with made.open_metadata() as metadata:
                metadata["pdfaid:part"], metadata["pdfaid:conformance"] = "2", "B"
        made.save(path)
    path.write_bytes(path.read_bytes() + "".join(f"%{mark}\n" for mark in marks).encode())
    return path


def said(tool: ModuleType, found: list[object], judge: str | None) -> tuple[int, str]:
    console = Console(file=io.StringIO(), width=200, highlight=False)
    status = tool.report(found, judge, console)
    return status, console.file.getvalue()  # type: ignore[attr-defined]


def test_every_file_gets_its_own_verdict(tool: ModuleType, tmp_path: Path) -> None:
    """Also those of which the judge says nothing, and over more than one run of it."""
    kinds = ["fine", "bad", "broken", "silent"] * 40
    files = [pdf(tmp_path / f"-{n} %s.pdf", kind) for n, kind in enumerate(kinds)]
    told = tool.judge(program(tmp_path / "judge", status=1), files)

    assert [sentence.conforms for sentence in told] == [kind == "fine" for kind in kinds]
    assert [sentence.why for sentence in told[:4]] == [
        "",
        "6.2-3 no profile",
        "cannot be parsed",
        "the judge says nothing of it",
    ]


def test_without_a_judge_the_run_says_so(tool: ModuleType, tmp_path: Path) -> None:
    one = tool.Delivered("a.pdf", "safe", pdf(tmp_path / "a.pdf"), "2b", "", made=True)
    status, text = said(tool, [one], None)

    assert status == tool.NOT_JUDGED == 3
    assert "not judged: 1 delivered as PDF/A" in text
    with pytest.raises(tool.JudgeError, match="no program /nowhere/verapdf"):
        tool.command("/nowhere/verapdf")


def test_what_does_not_conform_fails_by_name(tool: ModuleType, tmp_path: Path) -> None:
    found = [
        tool.Delivered("good.pdf", "safe", pdf(tmp_path / "1"), "2b", "", made=True),
        tool.Delivered("bad.pdf", "held", pdf(tmp_path / "2", "bad"), "2b", "", made=True),
        tool.Delivered("gone.pdf", "safe", None, "2b", "", made=True),
        tool.Delivered("none.pdf", "safe", pdf(tmp_path / "3"), None, "why not", made=True),
        tool.Delivered("boast.pdf", "safe", pdf(tmp_path / "4", claim=True), None, "", made=True),
        tool.Delivered("own.pdf", "safe", pdf(tmp_path / "5", claim=True), None, "", made=False),
    ]
    status, text = said(tool, found, program(tmp_path / "judge"))

    assert status == 1 and "1 of 3 delivered as PDF/A-2b conform, 3 faults" in text
    wrong = [line for line in text.splitlines() if line.startswith("NOT conforming:")]
    assert sorted(line.split()[2] for line in wrong) == ["bad.pdf", "boast.pdf", "gone.pdf"]
    assert "why not" in text and "no reason given" in text


def test_a_judge_that_gives_no_report_is_no_judge(tool: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "judge"
    path.write_text("#!/bin/sh\necho no java here >&2\nexit 2\n")
    path.chmod(0o755)
    with pytest.raises(tool.JudgeError, match="no java here"):
        tool.judge(str(path), [pdf(tmp_path / "a.pdf")])


def test_a_stress_run_fails_when_what_it_sealed_does_not_conform(
    tmp_path: Path, sample: object
) -> None:
    """The real daemon, the real stage; the judge finds fault with everything."""
    (tmp_path / "in").mkdir()
    scan = tmp_path / "in" / "scan.tif"
    scan.write_bytes(sample("tiny.tif").read_bytes())  # type: ignore[operator]
    judge = program(tmp_path / "judge", good=False, status=1)
    argv = [
        sys.executable,
        "-m",
        "tools.stress",
        tmp_path / "in",
        "--without-made",
        "--tsv",
        tmp_path / "out.tsv",
        "--work",
        tmp_path,
        "--judge",
        judge,
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=200, cwd=ROOT)

    assert done.returncode == 1, done.stdout + done.stderr
    assert "NOT conforming: in/scan.tif (safe): 6.2-3 no profile" in done.stdout
