"""What the pipeline delivers as PDF/A, judged by veraPDF: a judge that shares no code with it.

Used by `stress`. Reads the catalog, the store and the spool of a daemon that has ended. A file
about which the judge says nothing counts as one that does not conform.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pikepdf
from rich.console import Console
from rich.table import Table

from tools.trial import Trial

VARIABLE = "ARCHIVED_VERAPDF"
"""Environment: the judge's command, where it is not on PATH."""
FLAVOUR = "2b"
NOT_JUDGED = 3
"""Status of a run in which all went well and nobody judged."""
_BATCH = 150
"""Files for one run of the judge: one start of its virtual machine, and a short command line."""
_TIMEOUT = 1800.0
_READ = """
SELECT document.id AS document, document.state AS state, document.path AS path, step.facts AS facts,
       step.notes AS notes, artifact.sha512 AS sha512, artifact.path AS file,
       EXISTS (SELECT 1 FROM artifact AS copy WHERE copy.step = step.id
               AND copy.role = 'access') AS made
FROM document
JOIN artifact ON artifact.document = document.id AND artifact.main AND artifact.current
JOIN step ON step.document = document.id AND step.stage = 'ocr' AND step.ending = 'finished'
WHERE artifact.media_type = 'application/pdf'
ORDER BY document.path, step.started
"""
_WHY = {"no-pdfa": "No PDF/A was made", "already-pdfa": "The document says that it is PDF/A"}


@dataclass(frozen=True, slots=True)
class Delivered:
    """One document's PDF as it would be given out. `path` is `None` when its bytes are gone."""

    name: str
    state: str
    path: Path | None
    pdfa: str | None
    """The level that the stage says it has."""
    why: str
    """Why `pdfa` is `None`, in the stage's own words."""
    made: bool
    """`ocr` made it; otherwise it is an original, perhaps signed."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """The judge's word on one file."""

    conforms: bool
    why: str = ""


class JudgeError(Exception):
    """The judge cannot be used; the sentence says why."""


def command(given: str | None) -> str | None:
    """The judge's program: as given, as the environment says, or on PATH. Raises `JudgeError`."""
    wanted = given or os.environ.get(VARIABLE)
    found = shutil.which(wanted or "verapdf")
    if wanted and found is None:
        raise JudgeError(f"no program {wanted}")
    return found


def delivered(trial: Trial) -> list[Delivered]:
    """Every PDF that a document ended with and that `ocr` had in its hands."""
    stored: dict[str, Path] = {}
    for inventory in sorted(trial.store.rglob("inventory.json")):
        told = json.loads(inventory.read_bytes())
        for digest, paths in told.get("manifest", {}).items():
            stored.setdefault(digest, inventory.parent / paths[0])
    spool = trial.folder / "state" / "spool" / "documents"
    latest: dict[str, Delivered] = {}
    for row in trial.rows(_READ):
        waiting = spool / row["document"] / row["file"]
        path = stored.get(row["sha512"]) or (waiting if waiting.is_file() else None)
        latest[row["document"]] = _one(row, path)
    return list(latest.values())


def _one(row: sqlite3.Row, path: Path | None) -> Delivered:
    facts = json.loads(row["facts"] or "{}") or {}
    notes = json.loads(row["notes"] or "[]") or []
    why = facts.get("pdfa_why", "")
    for flag, begins in _WHY.items():
        if not why and flag in facts.get("flags", ()):
            why = next((n for n in notes if begins in n), flag)
    name = os.fsdecode(bytes(row["path"])).encode("utf-8", "backslashreplace").decode()
    return Delivered(name, row["state"], path, facts.get("pdfa"), why, bool(row["made"]))


# -- the judge ----------------------------------------------------------------------------------


def judge(program: str, files: Sequence[Path], flavour: str = FLAVOUR) -> list[Sentence]:
    """What the judge says of `files`, in their order. Raises `JudgeError` when it cannot run."""
    told: list[Sentence] = []
    for start in range(0, len(files), _BATCH):
        with tempfile.TemporaryDirectory(prefix="archived-judge-") as folder:
            # Names of our own: received ones may look like options, or be no text.
            copies = [Path(folder) / f"{n:05}.pdf" for n in range(len(files[start:][:_BATCH]))]
            for source, copy in zip(files[start:], copies, strict=False):
                shutil.copyfile(source, copy)
            answers = _answers(program, flavour, copies)
        told += [
            answers.get(copy.name, Sentence(False, "the judge says nothing of it"))
            for copy in copies
        ]
    return told


def _answers(program: str, flavour: str, files: Sequence[Path]) -> dict[str, Sentence]:
    argv = [program, "--format", "json", "--flavour", flavour, *map(str, files)]
    try:
        done = subprocess.run(argv, capture_output=True, check=False, timeout=_TIMEOUT)
        told = json.loads(done.stdout)
        return {Path(name).name: sentence for name, sentence in _sentences(told)}
    except (OSError, subprocess.TimeoutExpired) as error:
        raise JudgeError(f"{program}: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        said = done.stderr.decode(errors="replace").strip()[-400:]
        raise JudgeError(f"{program} gave no report ({error}): {said}") from None


def _sentences(told: Mapping[str, Any]) -> Iterator[tuple[str, Sentence]]:
    for job in told["report"]["jobs"]:
        name = job["itemDetails"]["name"]
        results = job.get("validationResult") or []
        results = results if isinstance(results, list) else [results]  # before veraPDF 1.26
        if not results:
            failed = job.get("taskException", {}).get("exceptionMessage", "no result")
            yield name, Sentence(False, str(failed))
            continue
        broken = [
            f"{rule.get('clause')}-{rule.get('testNumber')} {rule.get('description', '')}"
            for result in results
            for rule in result.get("details", {}).get("ruleSummaries", ())
            if rule.get("ruleStatus", "FAILED") == "FAILED"
        ]
        yes = all(result.get("compliant", result.get("isCompliant")) is True for result in results)
        yield name, Sentence(yes, "; ".join(dict.fromkeys(broken)))


def claims(path: Path) -> bool:
    """Whether the PDF at `path` says of itself that it is PDF/A."""
    try:
        with pikepdf.open(path) as pdf:
            # Only read: leaving a `with` block would write the metadata anew.
            told = pdf.open_metadata(set_pikepdf_as_editor=False, update_docinfo=False)
            return bool(told.pdfa_status)
    except (pikepdf.PdfError, ValueError):
        return False


# -- report -------------------------------------------------------------------------------------


def report(found: Sequence[Delivered], program: str | None, console: Console) -> int:
    """Print what was delivered and what the judge says; 0, 1, or `NOT_JUDGED`."""
    claimed = [one for one in found if one.pdfa]
    others = [one for one in found if not one.pdfa]
    wrong = [
        (one, "says PDF/A in its metadata, and the stage does not")
        for one in others
        if one.made and one.path and claims(one.path)
    ]
    wrong += [
        (one, "its bytes are neither in the store nor in the spool")
        for one in claimed
        if one.path is None
    ]
    judged = 0
    if program is not None:
        present = [one for one in claimed if one.path is not None]
        told = judge(program, [one.path for one in present if one.path is not None])
        judged = sum(sentence.conforms for sentence in told)
        wrong += [
            (one, sentence.why)
            for one, sentence in zip(present, told, strict=True)
            if not sentence.conforms
        ]
    _tables(found, others, console)
    for one, why in wrong:
        console.print(
            f"[bold red]NOT conforming:[/] {one.name} ({one.state}): {why}", soft_wrap=True
        )
    if program is None:
        console.print(
            f"[bold red]not judged:[/] {len(claimed)} delivered as PDF/A; veraPDF is not here. "
            f"Name its program with --judge or {VARIABLE}, or put it on PATH."
        )
        return 1 if wrong else NOT_JUDGED
    console.print(
        f"judged by {program}: {judged} of {len(claimed)} delivered as PDF/A-{FLAVOUR} conform, "
        f"{len(wrong)} faults; {len(others)} delivered without (pdfa: null)"
    )
    return 1 if wrong else 0


def _tables(found: Sequence[Delivered], others: Sequence[Delivered], console: Console) -> None:
    table = Table("delivered", "sealed", "held or under way")
    kinds = (
        (f"as PDF/A-{FLAVOUR}", [one for one in found if one.pdfa]),
        ("as a copy with a text layer, pdfa: null", [one for one in others if one.made]),
        ("as it came, pdfa: null", [one for one in others if not one.made]),
    )
    for kind, ones in kinds:
        sealed = sum(one.state in {"sealed", "safe"} for one in ones)
        table.add_row(kind, str(sealed), str(len(ones) - sealed))
    console.print(table)
    if others:
        reasons = Table("delivered with pdfa: null", "why")
        for one in others:
            reasons.add_row(one.name, one.why or "[bold red]no reason given[/]")
        console.print(reasons)
