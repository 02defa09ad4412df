"""SIGKILL at random instants: of the daemon alone, or of it and everything below it."""

from __future__ import annotations

import random
import time
from pathlib import Path

from archived.testing.samples import tiny
from tools.fault.installation import Installation, living
from tools.fault.judge import Outcome, settled
from tools.fault.load import Load


def kill(folder: Path, *, rounds: int, seed: int, documents: int | None = None) -> Outcome:
    """A mixed load through the whole pipeline over `rounds` lives; then it may finish.

    Per life about one page that is really read (PDF, TIFF, JPEG), and as many the bytes of which
    were dropped before.
    """
    dice = random.Random(seed)
    count = documents if documents is not None else max(4, rounds)
    began = time.monotonic()
    with living(Installation(folder, full=True)) as installation:
        pages = _pages(folder / "made", count, seed)
        load = Load(dice, installation.hot())
        whole = busy = 0
        for number in range(rounds):
            installation.start_somehow(dice)
            for index in range(-(-len(pages) // max(1, rounds - number))):
                content, extension = pages.pop()
                load.put(content, f"{number:04d}-{index}.{extension}")
                if documents is None and dice.random() < 0.1:
                    load.put(content, f"hồ sơ/{number:04d}-{index}-again.{extension}")
            time.sleep(dice.uniform(0.2, 3.0))
            installation.acknowledge()
            busy += installation.in_work()
            everything = dice.random() < 0.3
            whole += everything
            installation.kill(whole=everything)
        return settled(
            installation,
            load,
            rounds=rounds,
            began=began,
            remarks=lambda: f"{busy} while in work, {whole} with all children",
        )


def _pages(folder: Path, count: int, seed: int) -> list[tuple[bytes, str]]:
    """Small pages that differ, in three formats, mixed."""
    folder.mkdir()
    share = -(-count // 3)
    made = []
    for form in ("pdf", "tif-g4", "jpg"):
        (folder / form).mkdir()
        made.append(tiny(folder / form, count=share, seed=seed, form=form))
    mixed = [each.path for group in zip(*made, strict=True) for each in group][:count]
    return [(path.read_bytes(), path.suffix[1:]) for path in mixed]
