"""Damaged scans cost their own step at most; and the fuzzer sees what it is there to see.

`./run fuzz` does more, with another seed each time.
"""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tools.fuzz import child, tickets
from tools.fuzz.damage import mutate

pytestmark = [pytest.mark.fault]

ROOT = Path(__file__).resolve().parents[3]
ERRATIC = [
    {"name": "watch", "entry_point": "archived.testing.watch"},
    {"name": "erratic", "entry_point": "archived_erratic"},
]
SCAN = b"%PDF-1.7\n" + b"a page " * 100 + b"\nstartxref\n9\n%%EOF\n"


@pytest.mark.timeout(300)
def test_every_damaged_scan_costs_its_own_step_at_most(tmp_path: Path) -> None:
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "tools.fuzz",
            "--seed",
            "20260301",
            "--cases",
            "120",
            "--seconds",
            "200",
            "--timeout",
            "60",
            "--work",
            tmp_path,
            "--keep",
            tmp_path / "kept",
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "120 inputs in" in ran.stdout, ran.stdout + ran.stderr
    assert [path.name for path in tmp_path.iterdir()] in ([], ["kept"]), "scratch files were left"


def test_every_damaged_ticket_is_read_or_refused_at_once() -> None:
    codes, seeds = child.documented_codes(), tickets.seeds()
    endings = set()
    for number in range(1500):
        rng = random.Random(f"20260301/{number}")
        seed = rng.choice(seeds)
        data = mutate(seed.data, rng, [one.data for one in seeds])
        case = child.Case(number, seed.kind, tickets.STAGE, data, seed.extension)
        seen = tickets.run(case, codes)
        assert seen.complaints == (), (number, seen.complaints, data[:500])
        endings.add(seen.code)
    assert {"", "ticket-unreadable", "ticket-field", "ticket-path"} <= endings


@pytest.mark.parametrize("form", ["json", "csv", "xml"])
def test_a_level_of_secrecy_that_nobody_knows_is_told_without_what_a_terminal_obeys(
    form: str,
) -> None:
    word = "M\u202e\u2066ật"
    data = {
        "json": f'{{"secrecy": "{word}"}}',
        "csv": f"secrecy,path\r\n{word},\r\n",
        "xml": f"<ticket><secrecy>{word}</secrecy></ticket>",
    }[form]
    case = child.Case(1, form, tickets.STAGE, data.encode(), form)
    seen = tickets.run(case, child.documented_codes())
    assert (seen.code, seen.complaints) == ("ticket-secrecy", ())


def test_the_same_seed_and_number_make_the_same_input() -> None:
    made = [
        [mutate(SCAN, random.Random(f"7/{number}"), [SCAN, b"II*\0other"]) for number in range(50)]
        for _ in range(2)
    ]
    assert made[0] == made[1]
    assert len(set(made[0])) > 40, "most inputs differ"


@pytest.mark.parametrize(
    ("faults", "ending", "code"),
    [
        ({"fault": "hang"}, "failed", "timed-out"),
        ({"fault": "leave-children", "leave_group": True}, "finished", ""),
        ({"fault": "crash"}, "failed", "crashed"),
        ({"fault": "wrong-output"}, "failed", "bad-output"),
    ],
)
async def test_a_stage_that_misbehaves_within_its_step_is_counted_and_not_blamed(
    faults: dict[str, object], ending: str, code: str, tmp_path: Path
) -> None:
    async with _bench(tmp_path, faults) as bench:
        seen = await bench.run(_case())
        assert (seen.ending, seen.code) == (ending, code), seen
        assert seen.complaints == ()
        assert await bench.stop() == []


async def test_a_code_that_is_written_down_nowhere_is_a_finding(tmp_path: Path) -> None:
    async with _bench(tmp_path, {"fault": "refuse"}) as bench:
        bench.codes = frozenset()
        seen = await bench.run(_case())
    assert seen.ending == "refused"
    assert any("not documented" in each for each in seen.complaints), seen


def _bench(root: Path, faults: dict[str, object]) -> child.Bench:
    options = {"erratic": {"i_know_what_this_does": True, **faults}}
    seconds = 2.0 if faults.get("fault") == "hang" else 60.0
    return child.Bench(root / "bench", options, seconds, 1 << 30, sources=ERRATIC)


def _case() -> child.Case:
    return child.Case(1, "scan", "erratic", SCAN, "pdf")
