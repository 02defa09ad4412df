"""A row of the catalog that a disk or a hand has damaged is the trouble of its document alone."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import Any

DUE = "state = 'working', lane = 'cpu', due = '2020-01-01T00:00:00.000000+00:00', stages = "
STAGES = '\'["stamp", "seal"]\''
DAMAGED = {
    "a word for a time": "state = 'working', lane = 'cpu', due = 'garbage', stages = '[]'",
    "a time before all others": f"{DUE}{STAGES}, due = '0', position = 0",
    "no state": f"{DUE}{STAGES}, state = 'nonsense'",
    "no JSON": DUE + "'{'",
    "no list": DUE + "'5'",
    "no names": DUE + "'[5, null]'",
    "a word for a place": f"{DUE}{STAGES}, position = 'x'",
    "a place before the first": f"{DUE}{STAGES}, position = -5",
    "a place behind the last": f"{DUE}{STAGES}, position = 99",
    "no date": f"{DUE}{STAGES}, position = 0, received = 'x'",
}


def edit(box: Any, name: str, what: str) -> None:
    path = box.folder / "state" / "catalog.db"
    with contextlib.closing(sqlite3.connect(path, timeout=30)) as catalog, catalog:
        catalog.execute(f"UPDATE document SET {what} WHERE name = ?", [name])


def test_damaged_rows_stop_no_other_document_and_are_told(box: Any) -> None:
    """Each of them ended the daemon or kept every other document of the lane waiting for good."""
    box.start()
    names = [f"{number}.txt" for number in range(len(DAMAGED))]
    box.drop(*names)
    box.sealed(*names)
    for name, what in zip(names, DAMAGED.values(), strict=True):
        edit(box, name, what)
    box.drop("sound.txt")
    box.sealed("sound.txt", seconds=30)
    assert box.get("/healthz")[0] == 200
    assert box.get("/metrics")[0] == 200
    box.until(lambda: "cannot be read from the catalog" in box.get("/readyz")[1], "told")
    told = {line["document"] for line in box.said("row-unreadable")}
    assert told, "each is logged"
    assert told <= {row[-1] for row in box.documents().values()}


def test_a_daemon_starts_with_damaged_rows_and_works(box: Any) -> None:
    box.start()
    names = [f"{number}.txt" for number in range(len(DAMAGED))]
    box.drop(*names)
    box.sealed(*names)
    box.end()
    for name, what in zip(names, DAMAGED.values(), strict=True):
        edit(box, name, f"{what}, running = 'a step'")
    box.start(ready=False)
    box.until(lambda: box.alive() and box.get("/healthz")[0] == 200, "alive", 60)
    box.drop("sound.txt")
    box.sealed("sound.txt", seconds=30)
    sound = box.documents()["sound.txt"]
    assert sound[0] in {"sealed", "safe"}
