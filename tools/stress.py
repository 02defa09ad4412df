"""Throw whole folders of difficult files at one daemon and see that none gets lost.

Every file dropped must end as archived, held with a code, or ignored by a named rule, and the
daemon must live. What is delivered as PDF/A is judged by veraPDF, where it is installed. Run by
`./run stress [FOLDER ...]`; the table is also written as TSV. It ends with 1 when something is
wrong, and with 3 when all is well but nobody judged.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from archived.model.outcome import CORE_CODES
from archived.testing import samples
from archived.testing.daemon import DaemonError
from tools import pdfa_judge
from tools.trial import HOT, Sampler, Tables, Trial

NOTES = frozenset({"MANIFEST.json", "documents.json", "texts.json", "README.md"})
"""Lists that describe a corpus; they are not part of it."""

ENDINGS = ("archived", "held", "ignored")
"""The only endings there are; anything else is a fault."""

_STATE = """
SELECT arrival.path AS path, arrival.state AS state, arrival.code AS code,
       coalesce(document.reason, arrival.reason, '') AS reason,
       arrival.present AS present, document.state AS document, document.code AS document_code,
       (SELECT group_concat(DISTINCT step.stage) FROM step
        WHERE step.document = document.id AND step.ending = 'skipped') AS skipped
FROM arrival LEFT JOIN document ON document.id = arrival.document
ORDER BY arrival.id
"""


@dataclass(frozen=True, slots=True)
class Ending:
    """How one file ended. `ending` outside `ENDINGS` says what was seen last instead."""

    path: bytes
    """Relative to the hot folder."""
    ending: str
    code: str = ""
    """Why it is held or ignored; for `archived`, the stages that passed it over."""
    reason: str = ""

    @property
    def final(self) -> bool:
        """Whether this is one of the three endings, with its reason."""
        return self.ending in ENDINGS and (self.ending == "archived" or bool(self.code))

    @property
    def broken(self) -> bool:
        """Whether it is held for a stage's fault and not its own: a bug worth a look."""
        return self.ending == "held" and self.code in CORE_CODES

    @property
    def name(self) -> str:
        """The path for people: what cannot be shown is escaped."""
        shown = os.fsdecode(self.path).encode("utf-8", "backslashreplace").decode()
        return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in shown)


def ending_of(row: sqlite3.Row) -> Ending:
    """What the catalog says about one arrival."""
    path, state = bytes(row["path"]), row["state"]
    if state in {"held", "ignored"}:
        return Ending(path, state, row["code"] or "", row["reason"])
    if row["document"] is None:
        return Ending(path, f"arrival {state}")
    document, code = row["document"], row["document_code"] or ""
    if document in {"held", "rejected"}:
        return Ending(path, "held", code, row["reason"])
    if document != "safe":
        return Ending(path, f"document {document}", code, row["reason"])
    if row["present"]:
        return Ending(path, "archived but still in the hot folder")
    skipped = row["skipped"]
    return Ending(path, "archived", f"without {skipped.replace(',', ', ')}" if skipped else "")


def endings(trial: Trial, dropped: Sequence[bytes]) -> list[Ending]:
    """The ending of every file dropped, in that order; a file seen twice counts once."""
    latest = {bytes(row["path"]): ending_of(row) for row in trial.rows(_STATE)}
    return [latest.get(path, Ending(path, "never seen")) for path in dropped]


# -- feeding ------------------------------------------------------------------------------------


def files_in(folder: Path) -> Iterator[tuple[Path, Path]]:
    """(file, path below the hot folder) for everything in `folder` but its own lists."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name not in NOTES:
            yield path, Path(folder.name) / path.relative_to(folder)


def feed(trial: Trial, folders: Sequence[Path]) -> list[bytes]:
    """Copy every file into the hot folder, the way a scanner writes: under its final name."""
    dropped = []
    for folder in folders:
        for source, below in files_in(folder):
            trial.alive()
            target = trial.hot() / below
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            dropped.append(os.fsencode(below))
    return dropped


def wait(trial: Trial, dropped: Sequence[bytes], seconds: float, console: Console) -> list[Ending]:
    """Until every file has ended, or the time is up; tells how far it is now and then."""
    deadline = time.monotonic() + seconds
    told = 0.0
    while True:
        trial.alive()
        now = endings(trial, dropped)
        open_ones = sum(not ending.final for ending in now)
        if time.monotonic() - told > 20:
            told = time.monotonic()
            console.print(f"  {len(now) - open_ones} of {len(now)} files have ended")
        if not open_ones or time.monotonic() > deadline:
            return now
        time.sleep(0.5)


# -- report -------------------------------------------------------------------------------------


def totals(found: Sequence[Ending], console: Console) -> None:
    """How many ended how."""
    table = Table("ending", "code, rule or note", "files")
    counted = Counter((ending.ending, ending.code) for ending in found)
    for (ending, code), count in sorted(counted.items()):
        table.add_row(ending, code, str(count))
    table.add_row("", "", str(len(found)), style="bold")
    console.print(table)


def every_file(found: Sequence[Ending], console: Console) -> None:
    """One line per file."""
    table = Table("file", "ending", "code, rule or note")
    for each in found:
        style = "bold red" if not each.final else "yellow" if each.broken else None
        table.add_row(each.name, each.ending, each.code, style=style)
    console.print(table)


def write_tsv(found: Sequence[Ending], path: Path) -> None:
    """The same table for programs."""
    lines = ["file\tending\tcode\treason"]
    lines += [f"{e.name}\t{e.ending}\t{e.code}\t{' '.join(e.reason.split())}" for e in found]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def default_folders(console: Console) -> list[Path]:
    """The shared corpora, where they are; says so where they are not."""
    beside = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
    shared = Path(os.environ.get("ARCHIVED_SHARED_DATA", beside))
    found = []
    for name in ("stress", "vn", "faults"):
        if (shared / name).is_dir():
            found.append(shared / name)
        else:
            console.print(f"[bold]not run: {name}: no folder {shared / name}[/]")
    return found


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="./run stress", description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path, help="folders of files (shared corpora)")
    parser.add_argument("--without-made", action="store_true", help="no bad input of our own")
    parser.add_argument("--deadline", type=float, default=5400, help="seconds for all (5400)")
    parser.add_argument("--timeout", default="2 min", help="for one attempt of ocr (2 min)")
    parser.add_argument("--tsv", type=Path, default=Path("out/stress.tsv"), help="table as TSV")
    parser.add_argument("--work", type=Path, help="where scratch files go (the temporary folder)")
    parser.add_argument("--strict", action="store_true", help="fail when a stage broke, too")
    parser.add_argument("--judge", metavar="PROGRAM", help="veraPDF (from PATH)")
    parser.add_argument("--keep", action="store_true", help="leave the scratch folder behind")
    return parser.parse_args()


def tables(given: argparse.Namespace) -> Tables:
    """Shorter waits than in an archive: what fails shall fail today."""
    timeout = given.timeout
    return {
        "intake": {"settle_time": "1 s", "rescan": "5 s", "arrival_deadline": "30 s"},
        "retry": {"first_wait": "1 s", "longest_wait": "5 s"},
        "stage.ocr": {"timeout": timeout, "attempts": 2},
        "stage.classify": {"timeout": timeout, "attempts": 2},
        "stage.sign": {"timeout": timeout, "attempts": 2},
    }


def run(given: argparse.Namespace, console: Console) -> int:
    """Feed one daemon, wait, judge."""
    folders = given.folders or default_folders(console)
    missing = [folder for folder in folders if not folder.is_dir()]
    if missing:
        console.print(f"[bold red]no folder {missing[0]}[/]")
        return 2
    if not given.without_made:
        samples.nasty(given.folder / "made" / "nasty")
        samples.make(given.folder / "made" / "papers", count=14)
        shutil.rmtree(given.folder / "made" / "papers" / "truth")
        folders = [*folders, given.folder / "made"]
    if not folders:
        console.print("[bold red]nothing to do: no folder of files[/]")
        return 2
    try:
        judge = pdfa_judge.command(given.judge)
    except pdfa_judge.JudgeError as error:
        console.print(f"[bold red]--judge: {error}[/]")
        return 2
    started = time.monotonic()
    with Trial(given.folder, tables(given)) as trial, Sampler(trial.pid) as memory:
        dropped = feed(trial, folders)
        console.print(f"{len(dropped)} files dropped from {', '.join(map(str, folders))}")
        found = wait(trial, dropped, given.deadline, console)
        lost = round(trial.total("archived_unaccounted_files"))
        extra = {bytes(row["path"]) for row in trial.rows(_STATE)} - set(dropped)
        status = trial.end()
    every_file(found, console)
    totals(found, console)
    write_tsv(found, given.tsv)
    wrong = [ending for ending in found if not ending.final]
    console.print(
        f"{time.monotonic() - started:.0f} s, daemon at most {memory.peak:.0f} MiB (PSS), "
        f"hot folder {HOT!r}: {lost} unaccounted, {len(extra)} seen that were not dropped, "
        f"daemon ended with status {status}; table: {given.tsv}"
    )
    broken = [ending for ending in found if ending.broken]
    if broken:
        console.print(f"[yellow]{len(broken)} are held because a stage broke; reasons:[/]")
        for (code, reason), count in Counter((e.code, e.reason) for e in broken).most_common(12):
            console.print(f"  {count} x {code}: {reason}", markup=False)
    try:
        judged = pdfa_judge.report(pdfa_judge.delivered(trial), judge, console)
    except pdfa_judge.JudgeError as error:
        console.print(f"[bold red]not judged:[/] {error}", markup=True)
        judged = 1
    if wrong or lost or status or (broken and given.strict) or judged == 1:
        console.print(
            f"[bold red]FAILED: {len(wrong)} files without one of the three endings, "
            f"{len(broken)} held by a broken stage"
            f"{', and not all of the PDF/A delivered conforms' if judged == 1 else ''}[/]"
        )
        return 1
    console.print("[bold]every file is archived, held with a code, or ignored by a named rule[/]")
    return judged


def main() -> int:
    """Run in a scratch folder of its own."""
    given = options()
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    given.folder = Path(tempfile.mkdtemp(prefix="archived-stress-", dir=given.work))
    try:
        return run(given, console)
    except DaemonError as error:
        console.print(f"[bold red]FAILED:[/] {error}")
        return 1
    finally:
        if given.keep:
            console.print(f"scratch folder: {given.folder}")
        else:
            shutil.rmtree(given.folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
