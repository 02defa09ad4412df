"""A house of its own for the command lines: a real daemon, real files, the real console scripts."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from archived.cli.client import Session
from archived.testing import daemon
from archived.testing.daemon import Daemon

CONFIG = """
[archive]
name = "Trial"
state = "{folder}/state"
[store]
path = "{folder}/store"
[spool]
keep_free = "1 MiB"
[intake]
settle_time = "200 ms"
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


class Installation(Daemon):
    """One configuration below one folder, its daemon while it runs, and the console scripts."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, toml=CONFIG)
        for name in ("scans", "late", "second", "plugins"):
            (folder / name).mkdir(mode=0o755)
        (folder / "plugins" / "guest.py").write_text(GUEST)
        (folder / "plugins" / "guest.py").chmod(0o644)
        self.write()
        self.asker = Session(self.config)
        """For what is only looked up on the way; a process for each would take its time."""
        self._asked: dict[tuple[str, ...], Any] = {}

    def write(self) -> None:
        """Anybody may read it: some commands are run by others than root."""
        super().write()
        self.config.chmod(0o644)

    def written(self, name: str, text: str) -> Path:
        """Another configuration file of this installation."""
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
        return self.written(f"{name}/archived.toml", text)

    def put(self, name: str | bytes, content: bytes, into: str = "scans") -> None:
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
            [daemon.program(program), *words],
            capture_output=True,
            text=True,
            timeout=150,
            env=environment | more.pop("env", {}),
            check=False,
            **more,
        )

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
        found = self.asker.ask("documents")["documents"]
        return next(each["id"] for each in found if each["name"] == name)

    def settle(self, **states: int) -> None:
        """Until exactly so many documents are in each state."""
        self.wait(lambda: self.asker.ask("status")["documents"] == states)

    def wait(self, condition: Callable[[], bool]) -> None:
        """Until it holds; what the daemon wrote says why it does not."""
        self.until(condition, "what is waited for", else_show=self.last_lines)

    def settle_again(self) -> None:
        """Until nothing is in work any more."""
        ends = {"safe", "held", "waiting"}
        self.wait(lambda: set(self.asker.ask("status")["documents"]) <= ends)


@pytest.fixture
def new_house(tmp_path: Path) -> Installation:
    """A house whose daemon was never started."""
    return Installation(tmp_path)


@pytest.fixture(scope="session")
def make_installation() -> type[Installation]:
    """For tests that need a house of another shape for all of them."""
    return Installation


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The house `at_work` that tests share; some of them decide about its documents."""
    with at_work(tmp_path_factory.mktemp("house")) as it:
        yield it


@pytest.fixture(scope="module")
def installation_to_count(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A house `at_work` of this module's own, where nobody decides anything."""
    with at_work(tmp_path_factory.mktemp("house")) as it:
        yield it


@contextmanager
def at_work(folder: Path) -> Iterator[Installation]:
    """A house with 2 documents safe (one arrived twice), 2 held, 1 waiting, 1 file too large."""
    it = Installation(folder)
    it.start()
    try:
        it.put("letter.txt", b"a letter\n")
        it.put("quyết định.txt", "quyết định\n".encode())
        it.put("poison-1.txt", b"poison 1\n")
        it.put("poison-2.txt", b"poison 2\n")
        it.put("slow.txt", b"slow\n", into="late")
        it.put("big.bin", bytes(2_000_000))
        it.put("left.tmp", b"litter\n")
        it.settle(safe=2, held=2, waiting=1)
        it.put("again.txt", b"a letter\n")
        it.wait(lambda: it.asker.ask("account")["total"]["seen"] == 8)
        it.wait(lambda: it.asker.ask("account")["total"]["in_work"] == 1)
        yield it
    finally:
        status = it.end()
    assert status == 0, it.last_lines()
