"""A house of its own for the command lines: a real daemon, real files, the real console scripts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from archived.cli.asking import Session
from archived.testing.ports import free_port

CONFIG = """
[archive]
name = "Trial"
state = "{folder}/state"
[store]
path = "{folder}/store"
[spool]
keep_free = "1 MiB"
[intake]
quiet = "200 ms"
rescan = "500 ms"
max_file_size = "1 MiB"
accept = ["any"]
[hotfolder.scans]
path = "{folder}/scans"
pipeline = "paper"
[hotfolder.late]
path = "{folder}/late"
pipeline = "late"
[pipeline.paper]
stages = ["stamp", "erratic", "seal", "replicate"]
[pipeline.late]
stages = ["later", "seal", "replicate"]
[stage.erratic]
i_know_what_this_does = true
fault = "refuse"
only = "poison*"
[stage.replicate]
to = ["second"]
[target.second]
kind = "directory"
path = "{folder}/second"
allow_same_filesystem = true
[web]
listen = "127.0.0.1:{port}"
[control]
socket = "{folder}/c.sock"
[plugins]
enabled = ["stamp", "erratic", "replicate", "guest"]
folders = ["{folder}/plugins"]
"""

GUEST = '''
"""A plug-in of one file: a stage that waits for the world, and commands."""

import click

from archived.api import Postpone, Stage, hookimpl


class Later(Stage):
    name = "later"
    version = "1"

    def run(self, document, context):
        raise Postpone("The tide is out", code="tide-out", hint="Wait for the tide.", after="3 h")


@click.command("census")
@click.pass_obj
def census(session):
    """Count the documents of each state."""
    click.echo(f"json={session.as_json}")
    for state, count in sorted(session.ask("status")["documents"].items()):
        click.echo(f"{state}={count}")


@click.command("boom")
def boom():
    """Fail in a way nobody foresaw."""
    raise ZeroDivisionError("boom")


@click.command("stop-me")
def stop_me():
    """Behave as if somebody pressed Ctrl-C."""
    raise KeyboardInterrupt


@hookimpl
def register_stages(register):
    register(Later)


@hookimpl
def register_commands(cli):
    for command in (census, boom, stop_me):
        cli.add_command(command)
'''


class House:
    """One configuration below one folder, and its daemon while it runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("scans", "late", "second", "plugins"):
            (folder / name).mkdir(mode=0o755)
        (folder / "plugins" / "guest.py").write_text(GUEST)
        (folder / "plugins" / "guest.py").chmod(0o644)
        text = CONFIG.format(folder=folder, port=free_port())
        self.config = self.write("archived.toml", text)
        self.session = Session(self.config)
        """For what is only looked up on the way; a process for each would take its time."""
        self._asked: dict[tuple[str, ...], Any] = {}
        self.daemon: subprocess.Popen[bytes] | None = None

    def write(self, name: str, text: str) -> Path:
        """Another configuration file of this house."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o644)
        return path

    def variant(self, name: str, **replaced: str) -> Path:
        """The same configuration with some texts replaced."""
        text = self.config.read_text()
        for old, new in replaced.items():
            assert f'{old} = "' in text
            text = "".join(
                f'{old} = "{new}"\n' if line.startswith(f"{old} = ") else line
                for line in text.splitlines(keepends=True)
            )
        return self.write(f"{name}/archived.toml", text)

    def start(self) -> None:
        """Start the daemon and wait until it is ready."""
        with (self.folder / "log").open("wb") as log:
            self.daemon = subprocess.Popen(
                [script("archived"), "run", "--config", self.config], stderr=log, stdout=log
            )
        until(lambda: b'"ready"' in (self.folder / "log").read_bytes(), self.log, 150)

    def stop(self) -> int:
        """Stop the daemon in order; its exit status."""
        assert self.daemon is not None
        self.daemon.send_signal(signal.SIGTERM)
        return self.daemon.wait(timeout=60)

    def log(self) -> str:
        """What the daemon wrote."""
        return (self.folder / "log").read_text()

    def drop(self, name: str | bytes, content: bytes, into: str = "scans") -> None:
        """Put a whole file into a hot folder at once."""
        part = self.folder / "part"
        part.write_bytes(content)
        part.rename(self.folder / into / os.fsdecode(name))

    def ctl(self, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """`archivectl` with this house's configuration in the environment."""
        return self.run("archivectl", *words, **more)

    def run(self, program: str, *words: str, config: Path | None = None, **more: Any) -> Any:
        """A console script, to its end."""
        environment = os.environ | {"ARCHIVED_CONFIG": str(config or self.config)}
        return subprocess.run(
            [script(program), *words], capture_output=True, text=True, timeout=150,
            env=environment | more.pop("env", {}), check=False, **more,
        )  # fmt: skip

    def once(self, program: str, *words: str) -> Any:
        """As `run`, asked once for all tests: some looks take seconds."""
        if (program, *words) not in self._asked:
            self._asked[program, *words] = self.run(program, *words)
        return self._asked[program, *words]

    def json(self, *words: str, **more: Any) -> Any:
        """What `archivectl --json` answers."""
        answer = self.ctl("--json", *words, **more)
        assert answer.stdout, answer.stderr
        return json.loads(answer.stdout)

    def document(self, name: str) -> str:
        """The id of the document that was received under this name."""
        found = self.session.ask("documents")["documents"]
        return next(each["id"] for each in found if each["name"] == name)

    def settle(self, **states: int) -> None:
        """Until exactly so many documents are in each state."""
        until(lambda: self.session.ask("status")["documents"] == states, self.log)

    def wait(self, condition: Callable[[], bool]) -> None:
        """Until it holds; what the daemon wrote says why it does not."""
        until(condition, self.log)

    def settle_again(self) -> None:
        """Until nothing is in work any more."""
        ends = {"safe", "held", "waiting"}
        until(lambda: set(self.session.ask("status")["documents"]) <= ends, self.log)


def script(name: str) -> str:
    """The console script that was installed beside this interpreter."""
    return str(Path(sys.executable).with_name(name))


def until(condition: Callable[[], bool], why: Callable[[], str], seconds: float = 60) -> None:
    """Poll until it holds; fails after a while, saying why."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, why()
        time.sleep(0.05)


@pytest.fixture
def new_house(tmp_path: Path) -> House:
    """A house whose daemon was never started."""
    return House(tmp_path)


@pytest.fixture(scope="session")
def make_house() -> type[House]:
    """For tests that need a house of another shape for all of them."""
    return House


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The house `at_work` that tests share; some of them decide about its documents."""
    with at_work(tmp_path_factory.mktemp("house")) as it:
        yield it


@pytest.fixture(scope="module")
def house_to_count(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house `at_work` of this module's own, where nobody decides anything."""
    with at_work(tmp_path_factory.mktemp("house")) as it:
        yield it


@contextmanager
def at_work(folder: Path) -> Iterator[House]:
    """A house with 2 documents safe (one arrived twice), 2 held, 1 waiting, 1 file too large."""
    it = House(folder)
    it.start()
    try:
        it.drop("letter.txt", b"a letter\n")
        it.drop("quyết định.txt", "quyết định\n".encode())
        it.drop("poison-1.txt", b"poison 1\n")
        it.drop("poison-2.txt", b"poison 2\n")
        it.drop("slow.txt", b"slow\n", into="late")
        it.drop("big.bin", bytes(2_000_000))
        it.drop("left.tmp", b"litter\n")
        it.settle(safe=2, held=2, waiting=1)
        it.drop("again.txt", b"a letter\n")
        until(lambda: it.session.ask("account")["total"]["seen"] == 8, it.log)
        until(lambda: it.session.ask("account")["total"]["in_work"] == 1, it.log)
        yield it
    finally:
        status = it.stop()
    assert status == 0, it.log()
