"""Stages that crash, hang, eat memory and lie; a locked catalog; a full disk; files that move.

The real daemon in every test. Whatever happens, it lives, and every file ends on record.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from archived.storage.atomic import digest
from tests.system.bad_input.running import Running

DRILL = '''
"""Erratic under many names, so that one daemon can be struck by every fault at once."""

import os
import signal
import time
from pathlib import Path

from archived.api import Postpone, Result, Stage, StageConfig, hookimpl
from archived_erratic import Erratic

NAMES = (
    "crash", "vanish", "fail", "hang", "eat-memory", "outside-folder", "missing-file",
    "symlink", "wrong-media-type", "original", "facts-not-json", "refuse", "leave-children",
)


class Options(StageConfig):
    """None."""


class Later(Stage[Options]):
    """The world is down until there is a file `up` beside the plug-in."""

    name = "later"
    version = "1.0"

    def run(self, document, context):
        if not Path(__file__).with_name("up").exists():
            raise Postpone("The world is down.", code="world-down", hint="Wait.", after="200 ms")
        return Result()


class Bomb(Stage[Options]):
    """Over a poisonous document 256 processes that end within 20 seconds, if nothing stops them."""

    name = "bomb"
    version = "1.0"

    def run(self, document, context):
        if document.name.startswith("poison"):
            for _ in range(8):
                if os.fork() == 0:
                    signal.alarm(20)
                    os.setsid()
            time.sleep(20)
        return Result()


@hookimpl
def register_stages(register):
    register(Bomb)
    for name in NAMES:
        register(type(name.title().replace("-", ""), (Erratic,), {"name": name}))
    register(Later)
'''
OUTPUTS = (
    "outside-folder",
    "missing-file",
    "symlink",
    "wrong-media-type",
    "original",
    "facts-not-json",
)
EXPECTED = {
    "crash": "crashed",
    "vanish": "stage-error",
    "fail": "stage-error",
    "hang": "timed-out",
    "eat-memory": "out-of-memory",
    "bomb": "too-many-processes",
    "refuse": "erratic-refused",
    **dict.fromkeys(OUTPUTS, "bad-output"),
}
"""Stage -> the code under which a document struck by it is held."""
FINE = ("later", "leave-children")


def drill(root: Path) -> str:
    """The configuration: a hot folder and a pipeline for each fault."""
    folder = root / "plugins"
    folder.mkdir()
    (folder / "drill.py").write_text(DRILL)
    (folder / "drill.py").chmod(0o644)
    toml = [f'[plugins]\nenabled = ["drill"]\nfolders = ["{folder}"]\n']
    for name in (*EXPECTED, *FINE):
        fault = "wrong-output" if name in OUTPUTS else name
        toml.append(f'[pipeline.{name}]\nstages = ["{name}", "seal"]\ncopies = 1\n')
        (root / "hot" / name).mkdir(parents=True)
        toml.append(
            f'[hotfolder.{name}]\npath = "{{folder}}/hot/{name}"\npipeline = "{name}"\n'
            f'[stage.{name}]\nattempts = 2\ntimeout = "{"4 s" if name == "hang" else "20 s"}"\n'
        )
        if name not in ("bomb", "later"):
            toml.append(f'i_know_what_this_does = true\nonly = "poison*"\nfault = "{fault}"\n')
        if name in OUTPUTS:
            toml.append(f'output = "{name}"\n')
        if name == "eat-memory":
            toml.append('memory = "256 MiB"\namount = "1 GiB"\n')
        if name == "leave-children":
            toml.append('leave_group = true\nduration = "60 s"\n')
    return "".join(toml)


def paper(text: str) -> bytes:
    return b"%PDF-1.7\n" + text.encode() * 20 + b"\nstartxref\n9\n%%EOF\n"


def sealed(daemon: Running, hotfolder: str) -> bool:
    """No copies are made in these pipelines: sealed is the end of the way."""
    found = daemon.endings(hotfolder)
    return bool(found) and all(e.ending in {"sealed", "archived", "held", "ignored"} for e in found)


def left(folder: Path) -> list[str]:
    """What lies in a hot folder."""
    return [path.name for path in folder.iterdir()]


@pytest.mark.timeout(240)
def test_a_poisonous_document_is_held_and_its_neighbours_are_archived(tmp_path: Path):
    with Running(tmp_path, drill(tmp_path)) as daemon:
        for name in (*EXPECTED, *FINE):
            folder = tmp_path / "hot" / name
            (folder / "poison.pdf").write_bytes(paper(f"poison {name}"))
            for number in range(10 if name == "crash" else 1):
                (folder / f"good-{number}.pdf").write_bytes(paper(f"good {name} {number}"))
        daemon.wait(
            lambda: any(e.code == "world-down" for e in daemon.endings("later")), "it waits", 90
        )
        (tmp_path / "plugins" / "up").touch()
        for name in (*EXPECTED, *FINE):
            files = 11 if name == "crash" else 2
            daemon.wait(
                lambda name=name, files=files: (
                    sealed(daemon, name) and len(daemon.endings(name)) == files
                ),
                f"{name} is over: {daemon.endings(name)}",
                90,
            )
        for name, code in EXPECTED.items():
            found = {e.path.decode(): e for e in daemon.endings(name)}
            poison = found.pop("poison.pdf")
            print(f"{name:18} {poison.ending:8} {poison.code:18} {poison.reason[:110]}")
            assert poison.ending == "held", (name, poison)
            assert poison.code == code, (name, poison)
            assert len(poison.reason) > 10, (name, poison)
            assert len(poison.hint) > 10, (name, poison)
            assert {e.ending for e in found.values()} <= {"sealed", "archived"}, found
            attempts = [s for s in daemon.catalog.steps(poison.document) if s.stage == name]
            assert len(attempts) == (1 if name == "refuse" else 2), (name, attempts)
        for name in FINE:
            assert {e.ending for e in daemon.endings(name)} <= {"sealed", "archived"}, name
        later = daemon.endings("later")[0].document
        steps = [s.ending for s in daemon.catalog.steps(later) if s.stage == "later"]
        assert steps[0] == "postponed"
        assert steps[-1] == "finished"
        daemon.assert_balanced()


PLAIN = """
[plugins]
enabled = []
folders = []
[pipeline.paper]
stages = ["seal"]
[hotfolder.scans]
path = "{folder}/hot"
pipeline = "paper"
[spool]
keep_free = "2 MiB"
"""

PATIENT = """
[hotfolder.growing]
path = "{folder}/growing"
pipeline = "paper"
settle_time = "3 s"
arrival_deadline = "30 s"
"""
"""Its writers pause between two pieces, on a busy machine for longer than the usual settle time."""
GROWING = """
import sys, time
path, text = sys.argv[1:]
end = b"\\nstartxref\\n9\\n%%EOF\\n"
for part in range(1, 16):
    mode = "wb" if part == 1 else "ab"
    with open(path, mode) as file:           # closed in between, and whole by its structure
        file.write(b"%PDF-1.7\\n" if part == 1 else b"")
        file.write(text.encode() * 1000 + end)
    time.sleep(0.05)
"""


@pytest.mark.timeout(240)
def test_files_that_grow_or_go_away_while_they_are_taken_in(tmp_path: Path):
    """Also under load: many files at once, so that reading and writing really meet."""
    hot = tmp_path / "hot"
    hot.mkdir()
    growing = tmp_path / "growing"
    growing.mkdir()
    with Running(tmp_path, PLAIN + PATIENT) as daemon:
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", GROWING, str(growing / f"{n}.pdf"), f"page {n} "]
            )
            for n in range(4)
        ]
        for number in range(20):
            (hot / f"gone-{number}.pdf").write_bytes(paper(f"gone {number}") * 2000)
        daemon.wait(lambda: len(daemon.endings("scans")) >= 20, "they are seen", 60)
        for number in range(20):
            (hot / f"gone-{number}.pdf").unlink(missing_ok=True)
        for writer in writers:
            assert writer.wait(60) == 0
        for folder, files in (("scans", 20), ("growing", 4)):
            daemon.wait(
                lambda folder=folder, files=files: (
                    sealed(daemon, folder) and len(daemon.endings(folder)) >= files
                ),
                "all ended",
                60,
            )
            assert len(daemon.endings(folder)) == files, daemon.endings(folder)
        found = daemon.endings("scans") + daemon.endings("growing")
        whole = {
            n: b"%PDF-1.7\n" + (f"page {n} ".encode() * 1000 + b"\nstartxref\n9\n%%EOF\n") * 15
            for n in range(4)
        }
        for ending in found:
            name = ending.path.decode()
            if name.startswith("gone"):
                assert ending.ending in {"sealed", "archived"} or ending.code == "withdrawn"
                continue
            [original] = [
                a for a in daemon.catalog.artifacts(ending.document) if a.role == "original"
            ]
            expected = tmp_path / "expected"
            expected.write_bytes(whole[int(name[0])])
            assert original.sha512 == digest(expected).sha512
        for folder in (hot, growing):
            daemon.wait(lambda folder=folder: left(folder) == ["_archived"], "all have left", 20)
        daemon.assert_balanced()


@pytest.mark.timeout(240)
def test_a_catalog_locked_for_some_seconds_costs_nothing_but_time(tmp_path: Path):
    hot = tmp_path / "hot"
    hot.mkdir()
    with Running(tmp_path, PLAIN) as daemon:
        database = tmp_path / "state" / "catalog.db"
        with sqlite3.connect(database, isolation_level=None, timeout=20) as other:
            for number in range(5):
                (hot / f"{number}.pdf").write_bytes(paper(f"{number}"))
            daemon.wait(lambda: daemon.endings("scans"), "the first is seen", 60)
            other.execute("BEGIN IMMEDIATE")
            (hot / "late.pdf").write_bytes(paper("late"))
            until = other.execute("SELECT julianday('now') + 4.0 / 86400").fetchone()[0]
            daemon.wait(
                lambda: other.execute("SELECT julianday('now')").fetchone()[0] > until,
                "four seconds have passed",
                60,
            )
            assert b"late.pdf" not in {e.path for e in daemon.endings("scans")}, "it was locked"
            assert daemon.get("metrics")[0] == 200, "questions are answered meanwhile"
            other.execute("ROLLBACK")
        daemon.wait(
            lambda: sealed(daemon, "scans") and len(daemon.endings("scans")) == 6, "all ended", 60
        )
        assert {e.ending for e in daemon.endings("scans")} <= {"sealed", "archived"}
        daemon.assert_balanced()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
@pytest.mark.timeout(240)
def test_a_full_disk_pauses_intake_says_why_and_goes_on_when_there_is_room(tmp_path: Path):
    hot, state = tmp_path / "hot", tmp_path / "state"
    hot.mkdir()
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", str(state)], check=True)
    try:
        with Running(tmp_path, PLAIN) as daemon:
            ballast = state / "ballast"
            free = os.statvfs(state)
            ballast.write_bytes(bytes(free.f_bavail * free.f_frsize - (3 << 20)))
            (hot / "big.pdf").write_bytes(paper("x" * 100_000))  # 2 MB, and 2 MiB must stay free
            (hot / "small.pdf").write_bytes(paper("y"))
            daemon.wait(lambda: _paused(daemon) == 1, "intake is paused", 60)
            [folder] = daemon.status()["daemon"]["hotfolders"]
            assert "room" in folder["paused"]
            daemon.wait(lambda: "room" in daemon.get("readyz")[1], "it is not ready", 20)
            daemon.wait(
                lambda: "archived_ready 0.0" in daemon.get("metrics")[1], "metrics say so", 20
            )
            assert (hot / "big.pdf").exists()
            assert list((state / "spool" / "incoming").iterdir()) == []
            ballast.unlink()
            daemon.wait(
                lambda: sealed(daemon, "scans") and len(daemon.endings("scans")) == 2,
                "both are archived",
                60,
            )
            assert {e.ending for e in daemon.endings("scans")} <= {"sealed", "archived"}
            daemon.wait(lambda: _paused(daemon) == 0, "intake goes on", 60)
            daemon.wait(lambda: left(hot) == ["_archived"], "both have left", 20)
            daemon.assert_balanced()
            names = [e.name for e in daemon.catalog.events_for("nobody", 1000)]
            assert names.count("intake-paused") == names.count("intake-resumed") == 1
    finally:
        subprocess.run(["umount", "-l", str(state)], check=True)


def _paused(daemon: Running) -> float:
    for line in daemon.get("metrics")[1].splitlines():
        if line.startswith('archived_intake_paused{hotfolder="scans"}'):
            return float(line.split()[-1])
    return -1
