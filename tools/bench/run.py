"""How fast and how large: the daemon beside what people would use instead, on one corpus.

Interleaved rounds on this machine: (a) `ocrmypdf`, one file after another; (b) the daemon with the
full pipeline, from the first file dropped to the last document safe; (c) bare `tesseract` on the
page images, one process per core. Run by `./run bench`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from rich.console import Console
from rich.table import Table

from archived.testing import samples
from archived.testing.daemon import DaemonError, program
from archived.testing.samples import Sample
from tools.trial import Sampler, Trial, cpu_of

NAMES = {
    "a": "ocrmypdf, one after another",
    "b": "archived, full pipeline",
    "c": "tesseract on page images",
}


@dataclass
class Measure:
    """One arm in one round. Seconds; MiB; recall is the share of the truth's words found."""

    arm: str
    round: int
    pages: int
    wall: float
    cpu: float
    recall: float
    idle_pss: float = 0.0
    busy_pss: float = 0.0
    peak_pss: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)
    """CPU seconds per stage, all documents together, as the catalog has it."""

    @property
    def pages_per_minute(self) -> float:
        """The figure people ask for."""
        return self.pages * 60 / self.wall


@dataclass
class Bench:
    """What every arm is given."""

    corpus: list[Sample]
    images: list[Path]
    work: Path
    settle_time: str | None
    deadline: float

    @property
    def pages(self) -> int:
        """Pages of the whole corpus."""
        return sum(sample.pages for sample in self.corpus)


def words(text: str) -> Counter[str]:
    """The words of a text, NFC."""
    return Counter(re.findall(r"\w+", unicodedata.normalize("NFC", text)))


def recall(found: dict[str, str], corpus: Sequence[Sample]) -> float:
    """Share of the truth's words that stand in each document's own text."""
    hit = all_words = 0
    for sample in corpus:
        told = words(" ".join(sample.truth["text"]))
        hit += sum((told & words(found.get(sample.path.name, ""))).values())
        all_words += sum(told.values())
    return hit / all_words


def children_cpu() -> float:
    """CPU seconds of all children that have ended and been waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """Wall and CPU seconds of the processes that `work` runs to their end."""
    cpu, start = children_cpu(), time.monotonic()
    work()
    return time.monotonic() - start, children_cpu() - cpu


# -- the arms -----------------------------------------------------------------------------------


def one_after_another(bench: Bench, number: int) -> Measure:
    """(a) The command line program as people script it, with its defaults."""
    import pypdfium2

    ocrmypdf = program("ocrmypdf")
    out = bench.work / "a"
    out.mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "OMP_THREAD_LIMIT"}

    def work() -> None:
        for sample in bench.corpus:
            argv = [ocrmypdf, "--quiet", "-l", "vie", "--output-type", "pdfa"]
            argv += ["--pdfa-backend", "internal"]
            argv += [str(sample.path), str(out / f"{sample.path.name}.pdf")]
            done = subprocess.run(
                argv, capture_output=True, text=True, env=environment, check=False
            )
            if done.returncode:
                raise DaemonError(f"ocrmypdf {sample.path.name}: {done.stderr.strip()[-400:]}")

    wall, cpu = timed(work)
    found = {}
    for sample in bench.corpus:
        with pypdfium2.PdfDocument(out / f"{sample.path.name}.pdf") as pdf:
            found[sample.path.name] = "\n".join(
                page.get_textpage().get_text_bounded() for page in pdf
            )
    shutil.rmtree(out)
    return Measure("a", number, bench.pages, wall, cpu, recall(found, bench.corpus))


def bare_engine(bench: Bench, number: int) -> Measure:
    """(c) Nothing but recognition: no reading of PDF, no PDF/A, no signature, no copies."""
    out = bench.work / "c"
    out.mkdir()
    listing = "".join(f"{path}\0{out / path.stem}\0" for path in bench.images).encode()
    argv = ["xargs", "-0", "-n2", f"-P{os.cpu_count()}", "sh", "-c"]
    argv += ['exec tesseract "$1" "$2" -l vie 2>/dev/null', "sh"]
    environment = {**os.environ, "OMP_THREAD_LIMIT": "1"}

    def work() -> None:
        subprocess.run(argv, input=listing, env=environment, check=True)

    wall, cpu = timed(work)
    found: dict[str, str] = {}
    for path in bench.images:
        name = path.stem.rsplit("@", 1)[0]
        found[name] = found.get(name, "") + "\n" + (out / f"{path.stem}.txt").read_text()
    shutil.rmtree(out)
    return Measure("c", number, bench.pages, wall, cpu, recall(found, bench.corpus))


def daemon(bench: Bench, number: int) -> Measure:
    """(b) The whole pipeline: read, classify, sign, seal, copy, read the copy back."""
    folder = bench.work / "b"
    folder.mkdir()
    tables = {"intake": {"settle_time": bench.settle_time}} if bench.settle_time else {}
    with Trial(folder, tables) as trial:
        with Sampler(trial.pid, 0.5) as idle:
            time.sleep(5)
        cpu = cpu_of(trial.pid)
        start = datetime.now(UTC)
        with Sampler(trial.pid) as busy:
            for sample in bench.corpus:
                shutil.copyfile(sample.path, trial.hot() / sample.path.name)
            _wait_until_safe(trial, len(bench.corpus), bench.deadline)
        cpu = cpu_of(trial.pid) - cpu
        (last,) = trial.rows("SELECT max(safe_at) AS at FROM document")
        wall = (datetime.fromisoformat(last["at"]) - start).total_seconds()
        stages = {
            row["stage"]: float(row["cpu"] or 0)
            for row in trial.rows(
                "SELECT stage, sum(CAST(cpu AS REAL)) AS cpu FROM step GROUP BY stage"
            )
        }
        found = _texts_in(trial.store, bench.corpus)
    shutil.rmtree(folder)
    return Measure(
        "b",
        number,
        bench.pages,
        wall,
        cpu,
        recall(found, bench.corpus),
        idle.middle,
        busy.middle,
        busy.peak,
        stages,
    )


_SAFE = "SELECT count(*) AS n FROM document WHERE state = 'safe'"


def _wait_until_safe(trial: Trial, count: int, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        trial.alive()
        held = trial.rows(
            "SELECT name, code, reason FROM document WHERE state IN ('held','rejected')"
        )
        if held:
            row = held[0]
            raise DaemonError(f"{row['name']} is held: {row['code']}: {row['reason']}")
        safe = sum(row["n"] for row in trial.rows(_SAFE))
        if safe >= count:
            return
        if time.monotonic() > deadline:
            raise DaemonError(f"only {safe} of {count} documents safe:\n{trial.last_lines()}")
        time.sleep(0.25)


def _texts_in(store: Path, corpus: Sequence[Sample]) -> dict[str, str]:
    """Sample name -> the text in its sealed object, found by the original's digest."""
    names = {sample.truth["sha256"]: sample.path.name for sample in corpus}
    found = {}
    for original in store.rglob("content/original/*"):
        name = names.get(hashlib.sha256(original.read_bytes()).hexdigest())
        texts = sorted(original.parent.parent.glob("text/*.txt"))
        if name and texts:
            found[name] = texts[0].read_text()
    missing = set(names.values()) - found.keys()
    if missing:
        raise DaemonError(f"no sealed original with text for {', '.join(sorted(missing)[:3])}")
    return found


ARMS = {"a": one_after_another, "b": daemon, "c": bare_engine}

# -- corpus and report --------------------------------------------------------------------------


def page_images(corpus: Sequence[Sample], folder: Path) -> list[Path]:
    """Every page as a PNG of the scan's own pixels, `NAME@PAGE.png`."""
    import pikepdf
    from PIL import Image, ImageSequence

    made = []
    for sample in corpus:
        if sample.media_type == "application/pdf":
            with pikepdf.open(sample.path) as pdf:
                pages = [
                    pikepdf.PdfImage(cast(pikepdf.Stream, image)).as_pil_image()
                    for page in pdf.pages
                    for image in page.get_images().values()
                ]
        else:
            with Image.open(sample.path) as image:
                pages = [page.copy() for page in ImageSequence.Iterator(image)]
        dpi = sample.truth["dpi"]
        for index, page in enumerate(pages):
            path = folder / f"{sample.path.name}@{index:02d}.png"
            page.save(path, dpi=(dpi, dpi), compress_level=1)
            made.append(path)
    if len(made) != sum(sample.pages for sample in corpus):
        raise DaemonError("the corpus does not have one image per page")
    return made


def report(measures: Sequence[Measure], console: Console) -> None:
    """Three tables: each arm, the ratios, the daemon's memory and stages."""
    arms = [arm for arm in ARMS if any(m.arm == arm for m in measures)]
    table = Table("arm", "round", "wall s", "pages/min", "CPU s/page", "words found")
    for arm in arms:
        mine = [m for m in measures if m.arm == arm]
        for m in mine:
            table.add_row(
                f"({arm}) {NAMES[arm]}",
                str(m.round),
                f"{m.wall:.1f}",
                f"{m.pages_per_minute:.1f}",
                f"{m.cpu / m.pages:.2f}",
                f"{m.recall:.1%}",
            )
        table.add_row(
            "",
            "median",
            f"{statistics.median(m.wall for m in mine):.1f}",
            f"{statistics.median(m.pages_per_minute for m in mine):.1f}",
            f"{statistics.median(m.cpu / m.pages for m in mine):.2f}",
            "",
            style="bold",
            end_section=True,
        )
    console.print(table)
    ratios(measures, arms, console)
    ours = [m for m in measures if m.arm == "b"]
    if ours:
        idle = statistics.median(m.idle_pss for m in ours)
        busy = statistics.median(m.busy_pss for m in ours)
        peak = max(m.peak_pss for m in ours)
        console.print(
            f"memory of the daemon and everything below it (sum of PSS): "
            f"idle {idle:.0f} MiB, busy {busy:.0f} MiB (median), {peak:.0f} MiB (highest)"
        )
        for stage in sorted({s for m in ours for s in m.stages}):
            each = statistics.median(m.stages.get(stage, 0) / m.pages for m in ours)
            console.print(f"  stage {stage}: {each:.3f} CPU s/page")


def ratios(measures: Sequence[Measure], arms: Sequence[str], console: Console) -> None:
    """Pages per minute of (b) over the others, round by round."""
    if "b" not in arms or len(arms) < 2:
        return
    speed = {(m.arm, m.round): m.pages_per_minute for m in measures}
    rounds = sorted({m.round for m in measures})
    table = Table("pages/min", *(f"round {r}" for r in rounds), "median")
    for other in (arm for arm in arms if arm != "b"):
        each = [speed["b", r] / speed[other, r] for r in rounds]
        cells = (f"{ratio:.2f}" for ratio in (*each, statistics.median(each)))
        table.add_row(f"b/{other}", *cells)
    console.print(table)


def about_machine() -> str:
    """One line about where this was measured."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    python = platform.python_version()
    return f"{os.cpu_count()} x {model}, Linux {platform.release()}, Python {python}"


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="./run bench", description=__doc__)
    parser.add_argument("--pages", type=int, default=60, help="pages of the corpus (60)")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds (3)")
    parser.add_argument("--arms", default="abc", help='which arms, such as "ac" (abc)')
    parser.add_argument(
        "--settle-time", help="the hot folder's settle time (the product's default)"
    )
    parser.add_argument("--deadline", type=float, default=1800, help="seconds for one (b) (1800)")
    parser.add_argument("--json", type=Path, help="also write every measure to this file")
    parser.add_argument("--work", type=Path, help="where scratch files go (the temporary folder)")
    given = parser.parse_args()
    if not given.arms or set(given.arms) - set(ARMS):
        parser.error("--arms: letters out of a, b, c")
    return given


def main() -> int:
    """Make the corpus, run the rounds, print the tables."""
    given = options()
    console = Console(width=None if sys.stdout.isatty() else 110, highlight=False)
    console.print(about_machine())
    load = os.getloadavg()[0]
    if load > 0.3 * (os.cpu_count() or 1):
        console.print(f"[bold]the machine is busy (load {load:.1f}): wall times will be too long")
    measures: list[Measure] = []
    with tempfile.TemporaryDirectory(prefix="archived-bench-", dir=given.work) as scratch:
        work = Path(scratch)
        corpus = samples.corpus(work / "corpus", pages=given.pages)
        (work / "images").mkdir()
        images = page_images(corpus, work / "images") if "c" in given.arms else []
        bench = Bench(corpus, images, work, given.settle_time, given.deadline)
        console.print(f"{len(corpus)} documents, {bench.pages} pages, {given.rounds} rounds")
        arms = [arm for arm in ARMS if arm in given.arms]
        try:
            for number in range(1, given.rounds + 1):
                first = (number - 1) % len(arms)
                for arm in arms[first:] + arms[:first]:
                    measure = ARMS[arm](bench, number)
                    measures.append(measure)
                    console.print(
                        f"round {number} ({arm}): {measure.wall:.1f} s, "
                        f"{measure.pages_per_minute:.1f} pages/min"
                    )
        except DaemonError as error:
            console.print(f"[bold red]stopped:[/] {error}", markup=True)
            return 1
    report(measures, console)
    if given.json:
        given.json.write_text(json.dumps([asdict(m) for m in measures], indent=1) + "\n")
    return 0
