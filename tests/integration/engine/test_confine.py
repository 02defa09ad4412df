"""A step reaches its own files and no others; where the kernel cannot hold it, that is said."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field

from archived.api import Artifact, Role, Sealed, SecretRef, Stage, StageConfig
from archived.engine.plugin_loader import Registry
from archived.engine.protocol import StepDocument, StepLimits, StepRequest
from archived.engine.sandbox import access_policy, landlock
from archived.engine.sandbox.syscalls import NotPermitted
from archived.engine.worker.runner import LocalRunner
from archived.model.outcome import Ending

PLUGIN = '''
import errno, os, socket, subprocess, sys
from pathlib import Path
from archived.api import *


class Options(StageConfig):
    attempts: dict[str, str] = {}
    font: Path | None = None
    secret: SecretRef | None = None
    counts: Path | None = None


class Prying(Stage[Options]):
    """Does what it is asked to and says how it ended."""

    name = "prying"
    version = "1"
    writes = ("counts",)

    def run(self, document, context):
        self.context = context
        self.document = document
        ends = {}
        for asked, path in context.options.attempts.items():
            try:
                ends[asked] = getattr(self, asked.split()[0])(Path(path)) or "done"
            except OSError as error:
                ends[asked] = errno.errorcode[error.errno]
            except subprocess.CalledProcessError as error:
                ends[asked] = error.stderr.decode().strip().rpartition(": ")[2]
        return Result(facts=ends)

    def read(self, path):
        return path.read_bytes().decode(errors="replace")[:40]

    def list(self, path):
        return " ".join(sorted(p.name for p in path.iterdir()))

    def write(self, path):
        path.write_text("x")

    def make(self, path):
        path.mkdir()

    def remove(self, path):
        path.unlink()

    def move(self, path):
        path.rename(self.context.folder / "taken")

    def link(self, path):
        os.link(path, self.context.folder / "linked")

    def empty(self, path):
        os.truncate(path, 0)

    def open_empty(self, path):
        os.close(os.open(path, os.O_RDONLY | os.O_TRUNC))

    def signal(self, path):
        os.kill(os.getppid(), 0)

    def connect(self, path):
        socket.create_connection(("127.0.0.1", 9), 1)

    def control(self, path):
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(path))

    def pair(self, path):
        for end in socket.socketpair():
            end.close()

    def cat(self, path):
        return self.context.run(["cat", path]).stdout.decode()

    def python(self, path):
        return self.context.run([sys.executable, "-c", "import sqlite3; print(1)"]).stdout.decode()

    def start_own(self, path):
        program = self.context.folder / "program"
        program.write_text("#!/bin/sh")
        program.chmod(0o700)
        self.context.run([program])

    def environment_of_parent(self, path):
        return Path(f"/proc/{os.getppid()}/environ").read_text()

    def lazy(self, path):
        import wave
        return wave.__name__

    def own(self, path):
        with self.context.new_file("a.txt", media_type="text/plain").path.open("w") as file:
            file.write("x")
        (self.context.folder / "metadata" / "a.txt").rename(self.context.folder / "b.txt")
        return (self.context.folder / "b.txt").read_text()

    def original(self, path):
        return self.document.main.path.read_text()

    def change_original(self, path):
        self.document.main.path.chmod(0o600)
        self.document.main.path.write_text("x")


class Shelf(TargetConfig):
    path: Path
    there: str = "/"
    password: SecretRef | None = None


class Room(Target[Shelf]):
    kind = "room"
    version = "1"
    put = replace = open = list = free = lambda self, *_: None


@hookimpl
def register_stages(register):
    register(Prying)


@hookimpl
def register_targets(register):
    register(Room)
'''
REFUSED = {"EACCES", "EPERM", "EXDEV", "Permission denied"}
"""EXDEV is how the kernel refuses to move or link a file to where it would have more rights."""


@dataclass
class Bench:
    """A small archive on disk, and a runner that has the plug-in loaded."""

    root: Path
    runner: LocalRunner
    request: StepRequest

    def path(self, name: str, text: str = "of somebody else") -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    async def ends(self, attempts: Mapping[str, Any], **more: Any) -> dict[str, str]:
        """What became of each attempt: `{"read x": path}`."""
        options = {"attempts": {k: str(v) for k, v in attempts.items()}, **more.pop("options", {})}
        request = replace(self.request, options=options, **more)
        done = await self.runner.run(request, on_log=print)
        assert done.ending is Ending.FINISHED, done
        if not self.runner.confinement["files"].startswith("yes"):
            pytest.skip(f"nothing to hold here: {self.runner.confinement['files']}")
        return dict(done.facts)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    file = tmp_path / "prying.py"
    file.write_text(PLUGIN)
    mine = tmp_path / "state/spool/doc-1/0001.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("as received")
    folder = tmp_path / "state/spool/work/step-1"
    folder.mkdir(parents=True)
    original = Artifact(mine, mine.name, "text/plain", Role.ORIGINAL, "ab" * 64, 11)
    now = datetime.now(UTC)
    spec = StepDocument("doc-1", now, "scans", "a.txt", (original,))
    request = StepRequest("step-1", "prying", {}, spec, folder, now + timedelta(seconds=30))
    runner = LocalRunner("cpu", 1, [{"name": "prying", "file": str(file)}])
    await runner.start()
    yield Bench(tmp_path, runner, request)
    await runner.stop()


async def test_a_step_works_with_its_own_files_with_programs_and_with_python(bench):
    ends = await bench.ends(
        dict.fromkeys(("own", "original", "lazy", "python"), "") | {"write null": "/dev/null"}
    )
    assert ends == {
        "own": "x",
        "original": "as received",
        "lazy": "wave",
        "python": "1\n",
        "write null": "done",
    }


async def test_a_step_reaches_nothing_of_the_house_the_machine_or_other_processes(bench):
    other = bench.path("state/spool/doc-2/0001.txt")
    catalog = bench.path("state/catalog.db")
    sealed = bench.path("store/doc-3/v1/content/a.txt")
    beside = other.parent / "new"
    ends = await bench.ends(
        {
            "read spool": other,
            "list spool": other.parent,
            "read catalog": catalog,
            "read store": sealed,
            "list store": bench.root / "store",
            "cat catalog": catalog,
            "read passwords": "/etc/shadow",
            "list home": Path.home(),
            "list tmp": "/tmp",
            "list root": "/",
            "list machine": "/proc",
            "read plug-in's neighbour": bench.path("b"),
            "write beside": beside,
            "make": beside,
            "remove": other,
            "move": other,
            "link": other,
            "link original": bench.request.document.artifacts[0].path,
            "write catalog": catalog,
            "empty": catalog,
            "open_empty": catalog,
            "change_original": "",
            "start_own": "",
            "environment_of_parent": "",
            "connect": "",
        }
    )
    connect = ends.pop("connect")
    assert connect in REFUSED | {"ENETUNREACH"} or bench.runner.confinement["network"][:2] == "no"
    assert {asked: end for asked, end in ends.items() if end not in REFUSED} == {}
    assert other.read_text() == catalog.read_text() == "of somebody else"
    assert bench.request.document.artifacts[0].path.read_text() == "as received"
    if bench.runner.confinement["signals"].startswith("yes"):
        assert (await bench.ends({"signal": ""}))["signal"] == "EPERM"


async def test_what_the_options_name_is_readable_and_only_what_is_declared_is_writable(bench):
    font, secret = bench.path("fonts/a.ttf", "font"), bench.path("secret/key", "key")
    neighbour, counts = bench.path("secret/other"), bench.root / "counts"
    counts.mkdir()
    ends = await bench.ends(
        {
            "read font": font,
            "write font": font,
            "read secret": secret,
            "write secret": secret,
            "read other": neighbour,
            "write count": counts / "one",
            "read count": counts / "one",
        },
        options={"font": str(font), "secret": {"file": str(secret)}, "counts": str(counts)},
    )
    assert ends == {
        "read font": "font",
        "write font": "EACCES",
        "read secret": "key",
        "write secret": "EACCES",
        "read other": "EACCES",
        "write count": "done",
        "read count": "x",
    }


async def test_a_local_socket_is_reached_only_by_a_stage_whose_options_name_one(bench):
    control, service = bench.root / "control", bench.root / "service"
    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as two:
        for server, path in ((one, control), (two, service)):
            server.bind(str(path))
            server.listen()
        named = {"font": str(service)}
        assert await bench.ends({"control": service}, options=named) == {"control": "done"}
        assert "services" not in bench.runner.confinement, "nobody asked for them to be closed"
        for limits in (StepLimits(), StepLimits(network=True)):
            asked = {"control": control, "pair": ""}
            assert await bench.ends(asked, limits=limits) == {
                "control": "ECONNREFUSED",
                "pair": "done",
            }
        assert bench.runner.confinement["services"] == "yes"


async def test_a_replica_is_written_from_its_own_object_and_the_files_of_the_store(bench):
    mine = bench.path("store/0a/doc-1/v1/content/a.txt", "mine")
    other = bench.path("store/0b/doc-2/v1/content/a.txt")
    declaration = bench.path("store/0=ocfl_1.1", "ocfl_1.1")
    extension = bench.path("store/extensions/e/config.json", "{}")
    shelf, password = bench.root / "shelf", bench.path("secret/password", "p")
    shelf.mkdir()
    sealed = Sealed(bench.root / "store/0a/doc-1", "0a/doc-1", 1, "ab")
    options = {"path": str(shelf), "there": str(bench.root), "password": {"file": str(password)}}
    asked = {
        "read mine": mine,
        "write mine": mine,
        "read other": other,
        "read root": declaration,
        "read extension": extension,
        "write shelf": shelf / "a",
        "read shelf": shelf / "a",
        "read password": password,
        "write password": password,
    }
    document = replace(bench.request.document, sealed=sealed)
    ends = await bench.ends(
        asked, document=document, targets={"second": {"kind": "room", "options": options}}
    )
    assert ends == {
        "read mine": "mine",
        "write mine": "EACCES",
        "read other": "EACCES",
        "read root": "ocfl_1.1",
        "read extension": "{}",
        "write shelf": "done",
        "read shelf": "x",
        "read password": "p",
        "write password": "EACCES",
    }
    bench.request = replace(bench.request, document=document)
    alone = await bench.ends({"read mine": mine, "read root": declaration, "list": shelf})
    assert alone == {"read mine": "mine", "read root": "EACCES", "list": "EACCES"}


async def test_a_path_around_the_spool_opens_nothing_and_is_said(bench):
    other = bench.path("state/spool/doc-2/0001.txt")
    for wide in (bench.root, bench.root / "state/spool", Path("/")):
        ends = await bench.ends({"read": other}, options={"font": str(wide)})
        assert ends == {"read": "EACCES"}
    store = bench.path("store/0=ocfl_1.1").parent
    shelf = {"second": {"kind": "room", "options": {"path": str(bench.root)}}}
    problems = await bench.runner.check("prying", {}, shelf, store)
    assert len(problems) == 1
    assert problems[0].startswith(f"{bench.root} is not opened to the stage")


async def test_what_a_step_was_denied_is_explained_in_its_failure(runner, ask, tmp_path):
    if not _newest():
        pytest.skip("this kernel has no Landlock, or this container keeps it away")
    (tmp_path / "file").write_text("x")
    done = await runner.run(ask("wait", text="/"))
    assert (done.ending, done.code) == (Ending.FAILED, "stage-error")
    assert "Permission denied" in done.message
    assert "`writes`" in done.hint


class Inner(StageConfig):
    roots: tuple[Path, ...] = ()
    key: SecretRef | None = None


class Wanted(StageConfig):
    fonts: dict[str, Annotated[Path, Field()]] = Field(default_factory=dict)
    inner: list[Inner] | None = None
    either: int | Path = 0
    remote: str = ""
    relative: Path = Path("a")


class Wanting(Stage[Wanted]):
    name = "wanting"
    version = "1"

    def run(self, document, context):
        raise NotImplementedError


def test_options_name_paths_by_their_types_at_any_depth(monkeypatch):
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/archived")
    options = Wanted(
        fonts={"a": Path("/f/a")},
        inner=[Inner(roots=(Path("/r/1"), Path("/r/2")), key=SecretRef(credential="pin"))],
        either=Path("/e"),
        remote="/remote",
    )
    registry = Registry()
    registry.add_stage(Wanting)
    job = {
        "folder": "/spool/1",
        "stage": "wanting",
        "options": options.model_dump(mode="json"),
        "targets": {},
        "beside": "/store",
    }
    found = access_policy.of_check(registry, job)
    assert set(found.named) == {"/f/a", "/r/1", "/r/2", "/e"}
    assert set(found.reads) == {"/run/credentials/archived/pin"}
    assert not found.writes


HELD = """
import json, os, sys
from pathlib import Path
from archived.engine.sandbox import confinement
from archived.engine.protocol import StepLimits
from archived.engine.sandbox.landlock import Access
own, other, abi = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
rules = [(str(own), Access.CHANGE), ("/dev/null", Access.USE)]
held = confinement.confine(StepLimits(), os.getppid(), rules, newest=abi)
escaped = []
for name, escape in {
    "read": other.read_text, "list": lambda: list(other.parent.iterdir()),
    "write": lambda: other.write_text("x"), "append": lambda: other.open("a"),
    "remove": other.unlink, "make": (other.parent / "new").mkdir,
    "link": lambda: os.link(other, own / "link"), "rename": lambda: other.rename(own / "b"),
    "empty": lambda: os.truncate(other, 0),
    "open empty": lambda: os.open(other, os.O_RDONLY | os.O_TRUNC),
    "open empty, neither": lambda: os.open(other, 3 | os.O_TRUNC),
}.items():
    try:
        escape()
    except OSError:
        continue
    escaped.append(name)
(own / "a").write_text("long")
(own / "a").write_text("x")
(own / "a").rename(own / "c")
Path("/dev/null").write_text("x")
print(json.dumps([held.files, held.signals, escaped, (own / "c").read_text()]))
"""


def _newest() -> int:
    try:
        return landlock.version()
    except NotPermitted:
        return 0


@pytest.mark.parametrize("abi", range(1, landlock.NEWEST_ABI + 1))
def test_each_version_of_landlock_holds_what_it_says(abi, tmp_path):
    if abi > _newest():
        pytest.skip(f"this kernel has Landlock ABI {_newest()}")
    for name in ("own", "other"):
        (tmp_path / name).mkdir()
    other = tmp_path / "other/file"
    other.write_text("text")
    command = [sys.executable, "-c", HELD, str(tmp_path / "own"), str(other), str(abi)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    files, signals, escaped, own = json.loads(done.stdout)
    assert files.startswith(f"yes (Landlock ABI {abi}")
    assert signals.startswith("yes" if abi >= landlock.SIGNAL_ABI else "no (")
    assert (escaped, own, other.read_text()) == ([], "x", "text")


WITHOUT = """
import json, os, sys
from archived.engine.sandbox import confinement, syscalls
from archived.engine.protocol import StepLimits
syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
syscalls.install_filter([(0x20, 0, 0, 0), (0x15, 0, 1, 444), (6, 0, 0, 0x50026),
                         (6, 0, 0, 0x7fff0000)])
said = confinement.confine(StepLimits(), os.getppid(), [(sys.argv[1], 1)]).to_json()
print(json.dumps([said, open(sys.argv[2]).read()]))
"""


def test_without_landlock_the_step_runs_and_the_missing_protection_is_said(tmp_path):
    """The kernel is made to answer as one without Landlock does."""
    other = tmp_path / "other"
    other.write_text("text")
    command = [sys.executable, "-c", WITHOUT, str(tmp_path / "own"), str(other)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    said, read = json.loads(done.stdout)
    assert said["files"] == said["signals"] == "no (landlock: Function not implemented)"
    assert said["limits"] == "yes"
    assert read == "text"


async def test_a_step_with_the_network_knows_names_and_is_confined_all_the_same(bench):
    other = bench.path("state/spool/doc-2/0001.txt")
    asked = {"read hosts": "/etc/hosts", "read other": other, "connect": ""}
    ends = await bench.ends(asked, limits=StepLimits(network=True))
    assert ends.pop("read hosts").strip()
    assert ends == {"read other": "EACCES", "connect": "ECONNREFUSED"}
