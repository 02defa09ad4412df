"""A single-file plug-in that misbehaves on request, and a runner that has it loaded."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from archived.api import Artifact, Role
from archived.engine.protocol import StepDocument, StepLimits, StepRequest
from archived.engine.worker.runner import LocalRunner

PLUGIN = """
import ctypes, logging, os, signal, socket, subprocess, sys, time
from pathlib import Path
from archived.api import *


class Options(StageConfig):
    do: str = "finish"
    text: str = ""
    number: int = 0


class Odd(Stage[Options]):
    name = "odd"
    version = "7"
    preload = ("colorsys",)
    writes = ("text",)

    def check(self, options):
        if options.do == "check-crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if options.text:
            yield options.text

    def run(self, document, context):
        self.document, self.context, self.options = document, context, context.options
        return getattr(self, self.options.do.replace("-", "_"))() or Result()

    def finish(self):
        self.context.progress(0.5)
        logging.getLogger("lib").warning("a library speaks")
        note = self.context.new_file("note.txt", media_type="text/plain")
        note.path.write_text(self.document.main.path.read_text())
        main = self.context.new_file("a.txt", media_type="text/plain", role=Role.TEXT)
        main.path.write_text("chữ")
        return Result(
            replace_main=main, add=[note], facts={"pages": 3, "nhãn": "có"},
            tools={"pen": "1.2"}, notes=["as it was"],
        )

    def surroundings(self):
        import tempfile
        return Result(facts={
            "cwd": os.getcwd(), "tmp": tempfile.gettempdir(), "home": str(Path.home()),
            "environment": sorted(os.environ), "omp": os.environ["OMP_THREAD_LIMIT"],
            "fds": sorted(int(n) for n in os.listdir("/proc/self/fd")),
            "leader": os.getsid(0) == os.getpid(), "stdin": os.read(0, 1).decode(),
            "document": [self.document.id, self.document.name, self.document.secrecy],
            "status": Path("/proc/self/status").read_text(),
        })

    def preloaded(self):
        return Result(facts={"loaded": "colorsys" in sys.modules})

    def refuse(self):
        raise Refuse("the page is blank", code="blank-page", hint="scan it again")

    def postpone(self):
        raise Postpone("no answer", code="server-down", after="90 s")

    def fail(self):
        raise RuntimeError("cannot \\udce9 do")

    def leave(self):
        sys.exit(3)

    def leave_at_once(self):
        os._exit(0)

    def leave_after_a_fork(self):
        if os.fork() == 0:
            raise RuntimeError("of the child")
        os.wait()
        os._exit(0)

    def signal(self):
        os.kill(os.getpid(), self.options.number)

    def segfault(self):
        ctypes.string_at(0)

    def hang(self):
        self._start(["sleep", "1000"])
        subprocess.Popen(["setsid", "sleep", "1000"])
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                Path(self.options.text, "daemon").write_text(str(os.getpid()))
                time.sleep(1000)
            os._exit(0)
        os.wait()
        Path(self.options.text, "ready").touch()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(1000)

    def orphans(self):
        self._start(["setsid", "sh", "-c", "sleep 1000 & sleep 1000"])

    def _start(self, argv):
        process = subprocess.Popen(argv)
        Path(self.options.text, str(process.pid)).touch()

    def eat_memory(self):
        kept = []
        while True:
            kept.append(bytearray(16 * 2**20))

    def fill_disk(self):
        with open("big", "wb") as file:
            while True:
                file.write(bytes(2**20))

    def spin(self):
        while True:
            pass

    def no_space(self):
        raise OSError(28, "No space left on device")

    def spam(self):
        line = b"x" * 2**20
        for _ in range(100):
            os.write(1, line)
        print("the last line")

    def huge_notes(self):
        return Result(notes=["n" * 1000] * 10000)

    def huge_facts(self):
        return Result(facts={"all": "x" * 300_000})

    def odd_facts(self):
        return Result(facts={
            "set": {"a": {1}}, "nan": {"a": float("nan")}, "half": {"a": "\\udce9"},
        }[self.options.text])

    def talk_on_every_line(self):
        for fd in range(3, 32):
            try:
                os.set_blocking(fd, True)
                data = memoryview(b"x" * 6 * 2**20)
                while data:
                    data = data[os.write(fd, data):]
            except OSError:
                pass

    def page_by_page(self):
        self.context.pages(self.options.number)
        for page in range(1, self.options.number + 1):
            self.context.progress((page - 1) / self.options.number, page)
            ends = time.monotonic() + 0.2
            while time.monotonic() < ends:
                time.sleep(0.01)
        return Result(facts={"remaining": self.context.remaining()})

    def stuck_at_a_page(self):
        while True:
            self.context.progress(0.4, 713)
            time.sleep(0.05)

    def crash_at_a_page(self):
        self.context.progress(0.4, 713)
        ctypes.string_at(0)

    def fill_pages(self):
        self.context.pages(self.options.number)
        kept = [bytearray(2**20) for _ in range(self.options.number)]
        return Result(facts={"megabytes": len(kept)})

    def no_result(self):
        return "done"

    def outside(self):
        return Result(add=[Artifact(Path("/etc/hostname"), "h.txt", "text/plain")])

    def wait(self):
        Path(self.options.text, "ready").touch()
        while not Path(self.options.text, "go").exists():
            time.sleep(0.01)

    def connect(self):
        try:
            socket.create_connection(("127.0.0.1", self.options.number), 2).close()
        except OSError as error:
            return Result(facts={"connected": False, "why": str(error)})
        return Result(facts={"connected": True})


@hookimpl
def register_stages(register):
    register(Odd)
"""


@pytest.fixture(scope="session")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """The sources list naming the plug-in."""
    path = tmp_path_factory.mktemp("plugin") / "odd.py"
    path.write_text(PLUGIN)
    return [{"name": "odd", "file": str(path)}]


@pytest.fixture
async def runner(plugin: list[dict[str, str]]) -> AsyncIterator[LocalRunner]:
    """Started, four wide."""
    runner = LocalRunner("cpu", 4, plugin)
    await runner.start()
    yield runner
    await runner.stop()


Ask = Callable[..., StepRequest]


@pytest.fixture
def ask(tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """`ask("hang", seconds=1)`: a request with a folder of its own, not below `tmp_path`."""
    spool = tmp_path_factory.mktemp("spool")
    received = spool / "0001.txt"
    received.write_text("as received")
    original = Artifact(received, received.name, "text/plain", Role.ORIGINAL, "ab" * 64, 11)
    asked = 0

    def request(
        do: str,
        *,
        seconds: float = 60,
        limits: StepLimits | None = None,
        document: str = "doc-1",
        **options,
    ) -> StepRequest:
        nonlocal asked
        asked += 1
        folder = spool / f"step-{asked}"
        folder.mkdir()
        return StepRequest(
            step=f"step-{asked}",
            stage="odd",
            options={"do": do, **options},
            document=StepDocument(
                document, datetime.now(UTC), "scans", "Thư.txt", (original,), secrecy="mật"
            ),
            folder=folder,
            deadline=datetime.now(UTC) + timedelta(seconds=seconds),
            limits=limits or StepLimits(),
        )

    return request


ORDINARY = 61_997
"""A user of no name and no processes."""


def run_program(*argv: str, user: str = "same", **more: Any) -> subprocess.CompletedProcess[str]:
    """Run Python, as us or as an ordinary user, where the tests are root's."""
    if user == "ordinary":
        if os.geteuid() != 0:
            pytest.skip("these tests are run by an ordinary user already")
        more |= {"user": ORDINARY, "group": ORDINARY, "extra_groups": [], "cwd": "/tmp"}
        here = subprocess.run([sys.executable, "-c", "import archived.api"], check=False, **more)
        if here.returncode != 0:
            pytest.skip("other users may not read this checkout")
    return subprocess.run(
        [sys.executable, "-P", *argv],
        capture_output=True,
        text=True,
        check=True,
        timeout=250,
        **more,
    )


@pytest.fixture
def program() -> Callable[..., subprocess.CompletedProcess[str]]:
    """`program("-c", SCRIPT, user="ordinary")`: Python as us or as an ordinary user, to its end."""
    return run_program


@pytest.fixture
def eventually() -> Callable[..., None]:
    """`eventually(condition)`: polls until it holds; fails after a minute."""

    def wait(condition: Callable[[], object], what: str = "") -> None:
        until = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < until, f"still not so after a minute: {what}"
            time.sleep(0.005)

    return wait


@pytest.fixture
def mentioning() -> Callable[[Path], list[int]]:
    """`mentioning(folder)`: pids of living processes whose environment or files name a folder."""

    def find(folder: Path) -> list[int]:
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                environment = (entry / "environ").read_bytes()
                where = str((entry / "cwd").readlink())
            except OSError:
                continue
            if os.fsencode(folder) in environment or where.startswith(str(folder)):
                found.append(int(entry.name))
        return found

    return find
