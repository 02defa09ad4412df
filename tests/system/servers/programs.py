"""Programs under test: found or skipped visibly, started in a session of their own, ended by id."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

HOUSE = Path(__file__).parents[3]
UNPACKED = HOUSE / ".cache" / "servers"
"""Debian packages that may not be installed beside each other, unpacked by `./run servers`."""
VENV = HOUSE / ".venv-servers"
FOLDERS = ["/usr/sbin", "/usr/lib/openssh", str(UNPACKED / "usr/sbin"), str(UNPACKED / "usr/bin")]


def absent(what: str) -> None:
    """Skip, saying so; where the servers are promised, their absence is a failure."""
    if os.environ.get("CI") == "true" and os.environ.get("ARCHIVED_SERVERS") == "1":
        pytest.fail(f"{what} is missing, and ./run servers promises it", pytrace=False)
    pytest.skip(f"{what} is missing; ./run servers sets it up")


def need(program: str) -> str:
    """The path of a program."""
    found = shutil.which(program, path=os.pathsep.join([os.environ["PATH"], *FOLDERS]))
    if found is None:
        absent(program)
    return str(found)


def need_root() -> None:
    """Servers change users, and namespaces need root."""
    if os.geteuid() != 0:
        absent("root, which the servers must start as,")


def need_python() -> str:
    """The interpreter that has the clients' and servers' libraries."""
    if not (VENV / "requirements.sum").exists():
        absent(str(VENV.name))
    return str(VENV / "bin" / "python")


def environment() -> dict[str, str]:
    """With the unpacked programs' libraries."""
    libraries = os.pathsep.join(map(str, UNPACKED.glob("usr/lib/*-linux-gnu")))
    return {**os.environ, "LD_LIBRARY_PATH": libraries, "LC_ALL": "C.UTF-8"}


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """Poll until a condition holds."""
    give_up = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < give_up, f"not within {seconds} s: {what}"
        time.sleep(0.02)
    return found


@contextmanager
def server(
    name: str,
    argv: Sequence[object],
    port: int,
    log: Path,
    within: Sequence[str] = (),
    address: str = "127.0.0.1",
) -> Iterator[None]:
    """A server as long as the block lasts; `within` is a command that runs it elsewhere."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*within, *map(str, argv)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env=environment(),
        )
    probe = [*within, "bash", "-c", f"exec 3<>/dev/tcp/{address}/{port}"]

    def answers() -> bool:
        assert process.poll() is None, f"{name} ended: {log.read_text(errors='replace')[-2000:]}"
        return subprocess.run(probe, stderr=subprocess.DEVNULL, check=False).returncode == 0

    try:
        until(answers, 20, f"{name} listens: {log.read_text(errors='replace')[-2000:]}")
        yield
    finally:
        end_group(process)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process that we started and all it started in its session."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


class Upload:
    """A client at work; it can be stopped, continued and killed."""

    def __init__(self, argv: Sequence[object], **environment_too: str) -> None:
        self.argv = [str(each) for each in argv]
        self.process = subprocess.Popen(
            self.argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "LC_ALL": "C.UTF-8", **environment_too},
        )

    def done(self) -> None:
        """Wait for its good end."""
        said, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, f"{self.argv}: {said.decode(errors='replace')}"

    def ended(self) -> bool:
        """Whether it is over."""
        return self.process.poll() is not None

    def _signal(self, number: signal.Signals) -> None:
        assert not self.ended(), f"{self.argv} was over too early"
        os.killpg(self.process.pid, number)

    def stop(self) -> None:
        """The scanner is busy; nothing more comes for a while."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """It comes back."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """The scanner is switched off in the middle."""
        self._signal(signal.SIGKILL)
        self.process.communicate(timeout=20)
