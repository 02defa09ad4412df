"""`archived doctor FOLDER` tells the truth about folders on real mounts, and leaves nothing."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import tomli

from archived.config import load
from archived.config.schema import HotFolder
from archived.config.schema import Intake as IntakeTable
from archived.ingest.ignore_rules import is_trial
from archived.ingest.preflight import PREFIX
from archived.ingest.preflight.agent import Agent, AgentNoAnswer
from archived.ingest.scanner import scan

ARCHIVED = Path(sys.executable).with_name("archived")
ODD_MOUNT = Path(__file__).with_name("odd_mount.py")
root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts and other users need root")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A hot folder that other users can reach.

    Not below pytest's folders: each pytest that starts on this machine closes them to others.
    """
    with tempfile.TemporaryDirectory(prefix="archived-doctor-") as reached:
        Path(reached).chmod(0o755)
        path = Path(reached) / "Phòng Văn thư"
        path.mkdir(mode=0o755)
        yield path


@pytest.fixture(scope="module")
def ordinary() -> Said:
    """What is said of a folder of ours on an ordinary disk: tests may write in memory."""
    with tempfile.TemporaryDirectory(prefix="archived-doctor-", dir="/var/tmp") as folder:
        path = Path(folder) / "Phòng Văn thư"
        path.mkdir()
        said = Said(path)
        assert names(path) == []
    return said


class Said:
    """What the doctor answered about a folder."""

    def __init__(self, folder: Path, *words: str) -> None:
        command = [ARCHIVED, "doctor", folder, "--json", *words]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert ran.returncode in {0, 1}, ran.stderr
        self.all: dict[str, Any] = json.loads(ran.stdout)
        self.status = ran.returncode
        self.of = {each["code"]: each for each in self.all["findings"]}
        self.facts = self.all["facts"]
        ((self.name, self.table),) = tomli.loads(self.all["toml"])["hotfolder"].items()

    def verdicts(self, *codes: str) -> list[str]:
        return [self.of[code]["verdict"] for code in codes]

    def unfit(self) -> set[str]:
        return {c for c, each in self.of.items() if each["needed"] and each["verdict"] != "yes"}


@contextmanager
def mounted(point: Path, *words: str | Path) -> Iterator[Path]:
    """Something mounted for the time of a test; skips when this machine cannot."""
    point.mkdir(exist_ok=True)
    ran = subprocess.run(["mount", *words, point], capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        pytest.skip(f"this machine cannot mount it: {ran.stderr.strip()}")
    try:
        yield point
    finally:
        subprocess.run(["umount", "--lazy", point], check=True)


def until(there: Callable[[], bool], seconds: float = 60) -> None:
    """Poll until it is so."""
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def names(folder: Path) -> list[bytes]:
    return os.listdir(os.fsencode(folder))  # noqa: PTH208 - bytes names


def test_an_ordinary_folder_is_trusted_and_its_table_can_be_loaded(ordinary: Said):
    said = ordinary
    assert (said.status, said.all["trusted"], said.unfit()) == (0, True, set())
    assert len(said.of) > 20
    assert said.verdicts("nfd", "newline", "case", "mtime", "clock", "no-replace") == ["yes"] * 6
    assert said.name == "phong-van-thu"
    table = HotFolder.model_validate(said.table)
    assert table.enabled
    assert str(table.path) == said.all["folder"]
    heard = said.of["events"]["verdict"] == "yes"  # a busy machine may have no watches left
    assert table.mode == ("events" if heard else "auto")
    if heard:
        assert said.facts["events"] == ["created", "modified", "closed", "moved", "deleted"]
        assert 0 <= said.facts["event_delay"] < 60
    if os.geteuid() == 0:
        assert said.of["user"]["verdict"] == "not established"  # root's rights are nobody else's


def test_its_table_fits_into_the_configuration_that_is_there(folder: Path, tmp_path: Path):
    config = tmp_path / "archived.toml"
    opening = f"""
[archive]
state = "{tmp_path}/state"
[store]
path = "{tmp_path}/store"
[plugins]
folders = []
[pipeline.letters]
stages = ["seal"]
"""
    other = """
[hotfolder.Phong-van-thu]
path = "/srv/elsewhere"
pipeline = "letters"
"""
    known = f"""
[hotfolder.post]
path = "{folder}"
pipeline = "letters"
secrecy = "mật"
settle_time = "1 s"
ignore = ["*.thm"]
"""
    for there, name in ((other, "phong-van-thu-2"), (known, "post")):
        config.write_text(opening + there)
        config.chmod(0o644)
        said = Said(folder, "--config", str(config))
        assert said.name == name
        assert said.table["pipeline"] == "letters"
        pasted = opening + (other if there is other else "") + said.all["toml"]
        config.write_text(pasted)
        [before] = [f for f in load(config).hotfolders.values() if f.path == folder]
        assert before.settle_time == IntakeTable().settle_time, "doctor advises what holds anyway"
        if there is known:
            assert (before.secrecy, before.ignore) == ("mật", ("*.thm",)), "its other keys stay"


def test_a_running_daemon_puts_nothing_of_it_on_record(folder: Path):
    (folder / "scan.pdf").write_bytes(b"%PDF-1.7 somebody's page")
    (folder / f"{PREFIX}not-ours").touch()
    running = subprocess.Popen([ARCHIVED, "doctor", folder], stdout=subprocess.DEVNULL)
    seen: set[bytes] = set()
    looks = 0
    while running.poll() is None:
        seen.update(each.path for each in scan(folder))
        looks += 1
    assert looks > 5
    assert seen == {b"scan.pdf", f"{PREFIX}not-ours".encode()}


def test_every_name_it_uses_is_passed_by_and_people_are_told_what_to_do(folder: Path):
    (folder / "scan.pdf").write_bytes(b"%PDF-1.7 somebody's page")
    seen: set[bytes] = set()
    running = subprocess.Popen([ARCHIVED, "doctor", folder], stdout=subprocess.PIPE, text=True)
    while running.poll() is None:
        seen.update(names(folder))
    assert running.stdout is not None
    told = running.stdout.read()
    assert "can be trusted with scans" in told
    assert "[hotfolder.phong-van-thu]" in told
    ours = seen - {b"scan.pdf"}
    assert len(ours) > 5
    assert all(name.startswith(PREFIX.encode()) for name in ours)
    assert all(map(is_trial, ours))
    assert names(folder) == [b"scan.pdf"]
    assert (folder / "scan.pdf").read_bytes() == b"%PDF-1.7 somebody's page"


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)],
)
def test_whatever_ends_it_nothing_stays_in_the_folder(folder: Path, number: int, status: int):
    def hears() -> None:
        # What a shell starts in the background ignores SIGINT, and so does all that comes of it.
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    running = subprocess.Popen(
        [ARCHIVED, "doctor", folder],
        stdout=subprocess.DEVNULL,
        preexec_fn=hears,  # noqa: PLW1509 - one signal, no lock
    )
    until(lambda: len(names(folder)) > 3)
    running.send_signal(number)
    assert running.wait(60) == status
    until(lambda: names(folder) == [])


def test_the_documented_answer_is_the_one_that_is_given(ordinary: Said):
    text = (Path(__file__).parents[3] / "docs" / "archived.md").read_text()
    told = text.partition("### A folder that shall be a hot folder")[2].partition("\n## ")[0]
    documented = json.loads(told.partition("```json\n")[2].partition("```")[0])
    said = ordinary
    assert set(documented) == set(said.all)
    assert set(documented["facts"]) == set(said.facts)
    assert set(documented["facts"]["mount"]) == set(said.facts["mount"])
    assert set(documented["findings"][0]) == set(said.all["findings"][0]) - {"messages"}
    for line in told.splitlines():
        what = line.partition("  yes  ")[0].strip()
        if what != line.strip():
            assert what in {each["what"] for each in said.all["findings"]}, line


def test_a_folder_that_is_not_there_is_not_trusted(folder: Path):
    said = Said(folder / "share")
    assert (said.status, set(said.of)) == (1, {"there"})
    assert said.of["there"]["todo"] == "make the folder, or mount the share"
    assert said.table["enabled"] is False


def test_a_user_nobody_knows_is_a_mistake_on_the_command_line(folder: Path):
    for words in (["--as", "nobody-at-all"], ["--daemon-user", "nobody-at-all"]):
        ran = subprocess.run(
            [ARCHIVED, "doctor", folder, *words], capture_output=True, text=True, check=False
        )
        assert ran.returncode == 2
        assert "there is no user nobody-at-all" in ran.stderr
    alone = subprocess.run(
        [ARCHIVED, "doctor", "--as", "root"], capture_output=True, text=True, check=False
    )
    assert alone.returncode == 2


@root
def test_memory_is_no_place_for_the_only_copy(folder: Path):
    with mounted(folder, "-t", "tmpfs", "-o", "size=300m", "tmpfs"):
        said = Said(folder)
        assert (said.status, said.unfit()) == (1, {"mount"})
        assert said.facts["mount"]["type"] == "tmpfs"
        assert said.table["enabled"] is False
        assert names(folder) == []


@root
def test_a_read_only_folder_is_not_trusted_and_what_was_not_tried_is_not_called_yes(folder: Path):
    (folder / "scan.pdf").write_bytes(b"%PDF")
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    with mounted(folder, "-o", "remount,ro,bind"):
        said = Said(folder)
        assert said.status == 1
        assert said.verdicts("there", "writable", "rest") == ["yes", "no", "not established"]
        assert said.of["writable"]["todo"] == "mount it for writing"
        assert "ro" in said.facts["mount"]["options"].split(",")


@root
def test_a_sticky_folder_keeps_the_daemon_from_taking_and_the_advice_mends_it(folder: Path):
    shutil.chown(folder, "nobody", "nogroup")
    folder.chmod(0o1777)
    words = ("--as", "nobody", "--daemon-user", "daemon")
    said = Said(folder, *words)
    assert said.status == 1
    assert said.unfit() == {"claim", "remove"}
    assert said.of["claim"]["todo"] == f"the folder is sticky; run: chmod -t '{folder}'"
    assert said.of["open"]["verdict"] == "not established"
    assert said.of["user"]["verdict"] == "yes"
    assert said.of["owner"]["why"].startswith("nobody, ")
    assert said.table["settle_time"] == "15 s"
    subprocess.run(["chmod", "-t", folder], check=True)
    mended = Said(folder, *words)
    assert (mended.status, mended.unfit()) == (0, set())
    assert mended.of["below"]["verdict"] == "no"  # a folder of nobody's is nobody's
    assert names(folder) == []


@root
def test_a_folder_that_the_daemon_may_not_write_to_is_mended_by_the_command_it_names(folder: Path):
    shutil.chown(folder, "nobody", "nogroup")
    words = ("--as", "nobody", "--daemon-user", "daemon")
    said = Said(folder, *words)
    assert said.unfit() == {"claim", "remove"}
    deed = said.of["remove"]["todo"].partition(": ")[2]
    assert deed.startswith("setfacl ")
    if shutil.which("setfacl") is None:
        pytest.skip("there is no setfacl: the command it names was not tried")
    subprocess.run(shlex.split(deed), check=True)
    mended = Said(folder, *words)
    assert mended.unfit() == set()
    assert mended.of["below"]["verdict"] == "yes"


@contextmanager
def loop(point: Path, kind: str, make: list[str], options: str) -> Iterator[Path]:
    """A file system of its own on a loop device; skips when this machine cannot have it."""
    if shutil.which(make[0]) is None:
        pytest.skip(f"there is no {make[0]}")
    image = point.with_name("image")
    with image.open("wb") as file:
        file.truncate(48 << 20)
    ran = subprocess.run([*make, image], capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        pytest.skip(f"{make[0]}: {ran.stderr.strip()}")
    with mounted(point, "-t", kind, "-o", f"loop{options}", image):
        yield point


@root
def test_a_fat_file_system_is_seen_through(folder: Path):
    with loop(folder, "vfat", ["mkfs.vfat"], ",iocharset=utf8"):
        said = Said(folder)
        assert said.verdicts("case", "mtime", "newline") == ["no"] * 3
        assert said.facts["mtime_resolution"] == 2
        assert names(folder) == []


@root
def test_a_folder_that_folds_case_is_seen_through(folder: Path):
    with loop(folder, "ext4", ["mkfs.ext4", "-q", "-O", "casefold"], ""):
        (folder / "lost+found").rmdir()
        folded = folder / "folded"
        folded.mkdir()
        if (
            subprocess.run(["chattr", "+F", folded], capture_output=True, check=False).returncode
            != 0
        ):
            pytest.skip("this kernel folds no case")
        said = Said(folded)
        assert said.status == 0
        assert said.verdicts("case", "nfd", "room") == ["no", "yes", "no"]
        assert said.of["nfd"]["why"] == "two spellings are one file"


@contextmanager
def odd_mount(folder: Path) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """The mount of `odd_mount.py`; skips when no interpreter here has fusepy."""
    python = next((p for p in (sys.executable, "/usr/bin/python3") if _has_fusepy(p)), None)
    if python is None or not Path("/dev/fuse").exists():
        pytest.skip("no fusepy (Debian: python3-fusepy), or no /dev/fuse")
    behind = folder.with_name("behind")
    behind.mkdir()
    server = subprocess.Popen([python, ODD_MOUNT, behind, folder])
    try:
        until(lambda: server.poll() is not None or os.path.ismount(folder))
        assert server.poll() is None
        yield folder, server
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
        server.send_signal(signal.SIGCONT)
        server.terminate()
        server.wait(60)


def _has_fusepy(python: str) -> bool:
    code = "try:\n import fuse; fuse.FUSE\nexcept ImportError:\n import fusepy"
    try:
        return (
            subprocess.run([python, "-c", code], capture_output=True, check=False).returncode == 0
        )
    except OSError:
        return False


@root
def test_a_mount_with_foreign_habits_is_polled_and_each_habit_is_named(folder: Path):
    with odd_mount(folder) as (path, _):
        said = Said(path)
        habits = ("nfd", "long", "case", "mtime", "no-replace", "links")
        assert said.verdicts(*habits) == ["no"] * len(habits)
        assert said.facts["mtime_resolution"] == 2
        assert said.of["events"]["verdict"] != "yes"
        assert (said.table["mode"], said.table["rescan"]) == ("polling", "10 s")
        assert said.of["mount"]["verdict"] == "not established"
        # Without both ways to take a name, the daemon could not remove what it took in.
        assert said.status == 1
        assert "claim" in said.unfit()
        assert names(path) == []


@root
def test_a_mount_that_hangs_costs_one_hand_and_not_the_program(folder: Path):
    with odd_mount(folder) as (path, server):
        agent = Agent(path, f"{PREFIX}test-", None)
        assert agent.do("entries") == 0
        server.send_signal(signal.SIGSTOP)
        agent.begin("entries")
        with pytest.raises(AgentNoAnswer):
            agent.result(patience=0.3)
        with pytest.raises(AgentNoAnswer):
            agent.do("entries")
        agent.let_go(patience=0.3)
