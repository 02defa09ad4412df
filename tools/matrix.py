"""The tests on each Debian that is supported: `./run matrix [--only SUITE] [-- TASK ARGUMENTS]`.

For each one: a clean minimal root, a copy of this checkout as it lies here, and in it what README
says: `./run demo`, `./run test`. Everything that these need they install themselves. Prints a table
of what ran; ends with 0, with 1 when something failed, and with 77 when this machine cannot do it.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tools.debian import clean_root
from tools.debian.clean_root import SUITES, Bind, NotHere

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "matrix"
CHECKOUT = "/srv/checkout/archived"
"""Where the copy lies in a root; its neighbour is `shared`, as here."""
PIP_CACHE = "/var/cache/pip"
CANNOT = 77
USUAL = (("demo",), ("test",))
_COUNTS = re.compile(r"^=+ (.*\d+ (?:passed|failed|skipped|errors?).*) in [\d.]+s.*=+$", re.M)
_COUNT = re.compile(r"(\d+) (passed|failed|skipped|error)")
_SKIP = re.compile(r"^SKIPPED \[(\d+)\] \S+: (.*)$", re.M)
_BAD = re.compile(r"^(?:FAILED|ERROR) \S+.*$", re.M)


@dataclass
class Step:
    """One task of `./run` on one base: how it ended, and what its tests said."""

    task: tuple[str, ...]
    status: int
    seconds: float
    counts: dict[str, int] = field(default_factory=dict)

    def words(self) -> str:
        """For the table: the seconds, and the tests where the task has some."""
        told = ", ".join(f"{n} {what}" for what, n in self.counts.items())
        ended = "" if self.status == 0 else f" (ended with {self.status})"
        return f"{' '.join(self.task)}: {told + ', ' if told else ''}{self.seconds:.0f} s{ended}"


@dataclass
class Base:
    """What ran on one Debian."""

    suite: str
    python: str = "?"
    pip: str = "?"
    steps: list[Step] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Every task ran and ended well."""
        return bool(self.steps) and all(step.status == 0 for step in self.steps)


def counts(log: str) -> dict[str, int]:
    """The numbers in the last summary that pytest wrote into a log; errors count as failed."""
    found = _COUNTS.findall(log)
    if not found:
        return {}
    said = Counter({"passed": 0, "failed": 0, "skipped": 0})
    for number, what in _COUNT.findall(found[-1]):
        said["failed" if what == "error" else what] += int(number)
    return dict(said)


def skips(log: str) -> list[str]:
    """Why tests were skipped, with the number of tests, from a log of pytest's."""
    reasons: Counter[str] = Counter()
    for number, reason in _SKIP.findall(log):
        reasons[reason] += int(number)
    return [f"{number} x {reason}" for reason, number in reasons.most_common()]


def table(bases: Sequence[Base]) -> str:
    """What ran, a line for each base and task."""
    head = ("base", "Python", "pip", "task")
    rows = [head] + [
        (f"{SUITES[base.suite]} ({base.suite})", base.python, base.pip, step.words())
        for base in bases
        for step in base.steps
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        "  ".join([*(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)), row[3]])
        for row in rows
    )


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """What is before and what is after the first `--`."""
    at = list(words).index("--") if "--" in words else len(words)
    return list(words[:at]), list(words[at + 1 :])


def copy_checkout(source: Path, into: Path) -> None:
    """A repository at the same commit, with the files as they lie in `source` now."""
    into.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["git", "clone", "--quiet", "--no-checkout", "--no-hardlinks", str(source), str(into)],
        check=True,
    )
    subprocess.run(["git", "-C", str(into), "reset", "--quiet"], check=True, capture_output=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=source,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (source / name).is_symlink() or (source / name).exists():
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, into / name, follow_symlinks=False)


def binds(suite: str, *, cached: bool) -> list[Bind]:
    """What a root sees of this machine: shared data, the way to the registries, the caches."""
    seen = clean_root.fetching_binds(os.environ)
    shared = ROOT.parent / "shared"
    if shared.is_dir():
        seen.append(Bind(shared, str(Path(CHECKOUT).parent / "shared")))
    if cached:
        for kept, target in (
            (CACHE / f"apt-{suite}", "/var/cache/apt/archives"),
            (CACHE / "pip", PIP_CACHE),
        ):
            kept.mkdir(parents=True, exist_ok=True)
            seen.append(Bind(kept, target, writable=True))
    return seen


def _said(root: Path, *argv: str) -> str:
    """What a short command in the root prints; "?" when it fails."""
    with tempfile.TemporaryFile("w+") as output:
        status = clean_root.run(root, argv, folder=CHECKOUT, output=output, within=60)
        output.seek(0)
        return output.read().strip() if status == 0 else "?"


def _run_base(suite: str, tasks: Sequence[Sequence[str]], work: Path, *, cached: bool) -> Base:
    base = Base(suite)
    root, log = work / suite, _new_log(suite)
    _say(f"{SUITES[suite]}: a clean root")
    clean_root.unpack(clean_root.root(suite, (), CACHE), root)
    copy_checkout(ROOT, root / CHECKOUT.lstrip("/"))
    with log.open("w", errors="replace") as output:
        for task in tasks:
            _say(f"{SUITES[suite]}: ./run {' '.join(task)}; what it prints is in {log}")
            print(f"== ./run {' '.join(task)}", file=output, flush=True)
            began, from_here = time.monotonic(), output.tell()
            status = clean_root.run(
                root,
                ["./run", *task],
                folder=CHECKOUT,
                output=output,
                binds=binds(suite, cached=cached),
                env={**clean_root.fetching(os.environ), "PIP_CACHE_DIR": PIP_CACHE},
            )
            output.seek(0, os.SEEK_END)
            text = log.read_bytes()[from_here:].decode(errors="replace")
            step = Step(tuple(task), status, time.monotonic() - began, counts(text))
            base.steps.append(step)
            _say(f"{SUITES[suite]}: {step.words()}")
            for line in (*_BAD.findall(text), *(f"skipped: {each}" for each in skips(text))):
                print(f"   {line}", flush=True)
            if status and not step.counts:
                print(*(f"   {line}" for line in text.splitlines()[-15:]), sep="\n", flush=True)
    python = f"{CHECKOUT}/.venv/bin/python"
    base.python = _said(root, python, "-c", "import platform; print(platform.python_version())")
    base.pip = _said(root, python, "-c", "import pip; print(pip.__version__)")
    return base


def _new_log(suite: str) -> Path:
    """A file for what is printed; those of runs long ago are removed."""
    for old in CACHE.glob("*.log"):
        if time.time() - old.stat().st_mtime > clean_root.OLD:
            old.unlink()
    return CACHE / f"{suite}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"


def _say(sentence: str) -> None:
    print(time.strftime("%H:%M:%S"), sentence, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the matrix; the exit status is 0, 1 or 77."""
    words = list(sys.argv[1:] if argv is None else argv)
    own, task = split(words)
    parser = argparse.ArgumentParser(
        prog="./run matrix",
        description=(__doc__ or "").splitlines()[0],
        epilog="after -- a task of ./run and its arguments, instead of demo and test",
    )
    parser.add_argument("--only", choices=sorted(SUITES), help="one Debian")
    parser.add_argument(
        "--no-cache", action="store_true", help="fetch every package again (Debian's and Python's)"
    )
    parser.add_argument("--keep", action="store_true", help="leave the roots where they are")
    given = parser.parse_args(own)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # nothing stays behind
    work = Path(tempfile.mkdtemp(prefix="archived-matrix-", dir="/var/tmp"))
    bases = []
    try:
        clean_root.need()
        CACHE.mkdir(parents=True, exist_ok=True)
        for suite in [given.only] if given.only else SUITES:
            bases.append(
                _run_base(suite, [task] if task else USUAL, work, cached=not given.no_cache)
            )
    except NotHere as why:
        print(f"the matrix cannot run on this machine: {why}", flush=True)
        return CANNOT
    finally:
        if given.keep:
            print(f"the roots are in {work}", flush=True)
        else:
            clean_root.remove(work)
    print(table(bases), flush=True)
    return 0 if all(base.good for base in bases) else 1


if __name__ == "__main__":
    sys.exit(main())
