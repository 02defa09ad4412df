"""Throw damaged files at the stages, each in its real child, and see that only the step suffers.

Every input must end as finished, refused or broke with a documented code, within its limits; no
process may be left, no file outside the step's folder, and the daemon's side must never raise. A
crash that costs a step is fine and counted, and so is a hang that is killed at its deadline.
The seed and a case's number make the same input again.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from archived.api import parse_size
from tools.fuzz import tickets
from tools.fuzz.child import Bench, Case, Verdict, documented_codes
from tools.fuzz.damage import mutate
from tools.fuzz.seeds import Seed, seeds, signing_options

_WEIGHTS = {"ocr": 5, "sign": 3, "classify": 1, tickets.STAGE: 4}
"""How often a stage is chosen where several can be: text mutates fast and parses fast."""


def cases(corpus: Sequence[Seed], seed: int, first: int = 0) -> Iterator[Case]:
    """Without end; case `n` depends on the corpus, the seed and `n` alone."""
    for number in itertools.count(first):
        rng = random.Random(f"{seed}/{number}")
        stage = rng.choices(list(_WEIGHTS), weights=list(_WEIGHTS.values()))[0]
        fitting = [one for one in corpus if stage in one.stages]
        chosen = rng.choice(fitting)
        others = [one.data for one in corpus if one.data]
        data = mutate(chosen.data, rng, others)
        yield Case(number, chosen.kind, stage, data, chosen.extension)


async def run(
    given: argparse.Namespace, scratch: Path, corpus: Sequence[Seed]
) -> tuple[list[Verdict], list[str], dict[str, str]]:
    """Cases until the time or their number is up: verdicts, what else is wrong, the confinement."""
    options: dict[str, dict[str, Any]] = {"sign": signing_options(scratch)}
    stop_at = time.monotonic() + given.seconds
    source = cases(corpus, given.seed, given.first)
    codes = documented_codes()
    verdicts: list[Verdict] = []
    wrong: list[str] = []
    confinement: dict[str, str] = {}
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, told: wrong.append(f"nobody caught: {told}"))

    async def work(place: int) -> None:
        root = scratch / f"bench-{place}"
        async with Bench(root, options, given.timeout, given.memory) as bench:
            while time.monotonic() < stop_at:
                case = next(source)
                if given.cases is not None and case.number >= given.first + given.cases:
                    break
                ticket = case.stage == tickets.STAGE
                verdicts.append(tickets.run(case, codes) if ticket else await bench.run(case))
            wrong.extend(await bench.stop())
            confinement.update(bench.confinement)

    async with asyncio.TaskGroup() as group:
        for place in range(given.jobs):
            group.create_task(work(place))
    return verdicts, wrong, confinement


def show(verdicts: Sequence[Verdict], console: Console) -> None:
    """One line per stage, kind of file and ending."""
    table = Table("stage", "ending", "code", "inputs", "slowest s", "memory MiB", "kinds of file")
    lines: dict[tuple[str, str, str], list[Verdict]] = defaultdict(list)
    for one in verdicts:
        lines[one.case.stage, one.ending, one.code].append(one)
    for (stage, ending, code), some in sorted(lines.items()):
        kinds = sorted({one.case.kind for one in some})
        table.add_row(
            stage,
            ending,
            code,
            str(len(some)),
            f"{max(one.seconds for one in some):.1f}",
            str(max(one.memory for one in some) >> 20),
            ", ".join(kinds[:4]) + (f" and {len(kinds) - 4} more" if len(kinds) > 4 else ""),
        )
    console.print(table)


def keep(some: Sequence[Verdict], folder: Path, given: argparse.Namespace) -> None:
    """Write the inputs down, each with what was said about it."""
    folder.mkdir(parents=True, exist_ok=True)
    for one in some:
        case = one.case
        name = f"{given.seed}-{case.number}-{case.stage}"
        (folder / f"{name}.{case.extension}").write_bytes(case.data)
        told = {
            "kind": case.kind,
            "stage": case.stage,
            "ending": one.ending,
            "code": one.code,
            "seconds": round(one.seconds, 1),
            "complaints": one.complaints,
            "log": one.log[-4000:],
        }
        (folder / f"{name}.json").write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print the table; 0 when every input ended as it must."""
    given = options(argv)
    console = Console(width=None if sys.stdout.isatty() else 150, highlight=False)
    scratch = Path(tempfile.mkdtemp(prefix="archived-fuzz-", dir=given.work))
    began = time.monotonic()
    try:
        corpus = [*seeds(scratch, given.corpus), *tickets.seeds()]
        console.print(f"seed {given.seed}, {len(corpus)} files to damage", soft_wrap=True)
        verdicts, wrong, confinement = asyncio.run(run(given, scratch, corpus))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    show(verdicts, console)
    bad = [one for one in verdicts if one.complaints]
    crashes = [one for one in verdicts if one.code in {"crashed", "stage-error", "bad-output"}]
    killed = sum(one.code == "timed-out" for one in verdicts)
    console.print(
        f"{len(verdicts)} inputs in {time.monotonic() - began:.0f} s; "
        f"{len(crashes)} cost a crash, {killed} were killed at their deadline; "
        f"files: {confinement.get('files', '?')}; network: {confinement.get('network', '?')}",
        soft_wrap=True,
    )
    if given.keep is not None:
        keep([*bad, *(one for one in crashes if one not in bad)], given.keep, given)
    for one in bad:
        case = one.case
        for complaint in one.complaints:
            told = f"case {case.number} ({case.kind}, {case.stage}): {complaint}"
            console.print(told, style="bold red", markup=False, soft_wrap=True)
        console.print(f"  again: ./run fuzz --seed {given.seed} --first {case.number} --cases 1")
    for each in wrong:
        console.print(each, style="bold red", markup=False, soft_wrap=True)
    if bad or wrong or not verdicts:
        console.print(f"[bold red]FAILED: {len(bad)} inputs, {len(wrong)} other findings[/]")
        return 1
    console.print("[bold]every input cost its own step at most[/]")
    return 0


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="./run fuzz", description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--seconds", type=float, default=60, help="begin no input after this long (60)")
    add("--cases", type=int, help="so many inputs at most")
    add("--first", type=int, default=0, help="number of the first input (0)")
    add("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="(another one)")
    add("--timeout", type=float, default=20, help="seconds for one step (20)")
    add("--memory", type=parse_size, default=parse_size("1 GiB"), help="of one step (1 GiB)")
    add("--jobs", type=int, default=2, help="steps side by side (2)")
    add("--corpus", type=Path, action="append", default=[], help="a folder of further files")
    add("--keep", type=Path, help="write inputs that crashed a step, or worse, to this folder")
    add("--work", type=Path, help="where scratch files go (the temporary folder)")
    return parser.parse_args(argv)
