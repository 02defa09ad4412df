"""A step that may use local sockets is not let in at the control socket, whoever of it connects."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from archived.testing.daemon import Daemon

PLUGIN = '''
import errno, os, socket, subprocess, sys, time
from pathlib import Path
from archived.api import *

ASK = b"GET /v1/status HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n"


class Options(StageConfig):
    control: str = ""
    """The path of the control socket: a plain text, which opens nothing."""
    service: Path | None = None
    """A local socket, for which the stage is let use them."""


def asked(path, line=None):
    """What the control socket answers, or which error there was."""
    try:
        if line is None:
            line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            line.settimeout(20)
            line.connect(path)
        line.sendall(ASK)
        answer = b""
        while chunk := line.recv(65536):
            answer += chunk
        return "answered" if answer.startswith(b"HTTP/1.1 200") else f"said {answer[:40]!r}"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))


class Caller(Stage[Options]):
    name = "caller"
    version = "1"
    needs = Needs(attempts=1)

    def run(self, document, context):
        path = context.options.control
        facts = {"itself": asked(path), "program": self.program(path),
                 "orphan": self.orphan(path, context.folder),
                 "whose process ended": self.ended(path), "listening": self.serve(context)}
        return Result(facts=facts)

    def program(self, path):
        code = f"import socket; s = socket.socket(socket.AF_UNIX); s.connect({path!r}); " \\
               f"s.sendall({ASK!r}); print(s.recv(12))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        return "answered" if "200" in done.stdout else "refused"

    def orphan(self, path, folder):
        """A process that has left the step's session, and whose parent has ended."""
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                while os.getppid() != self.step:
                    time.sleep(0.01)
                (folder / "orphan").write_text(asked(path))
            os._exit(0)
        os.wait()
        until = time.monotonic() + 30
        while time.monotonic() < until:
            if (folder / "orphan").exists() and (found := (folder / "orphan").read_text()):
                return found
            time.sleep(0.01)
        return "nothing"

    def ended(self, path):
        """The line was made by a process that is gone when somebody asks on it."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        child = os.fork()
        if child == 0:
            line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                line.connect(path)
                socket.send_fds(theirs, [b"x"], [line.fileno()])
            except OSError:
                theirs.send(b"y")
            os._exit(0)
        said, fds, _, _ = socket.recv_fds(ours, 1, 1)
        os.waitpid(child, 0)
        if not fds:
            return "refused"
        line = socket.socket(fileno=fds[0])
        line.settimeout(20)
        return asked(path, line)

    def serve(self, context):
        """What it may do all the same: talk over a socket in its own folder."""
        there = str(context.folder / "s")
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        server.bind(there)
        server.listen()
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        line.connect(there)
        return "works"

    @property
    def step(self):
        return os.getsid(0) if os.getsid(0) == os.getpid() else self._step

    def __init__(self):
        self._step = os.getpid()


@hookimpl
def register_stages(register):
    register(Caller)
'''


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    box = Daemon(tmp_path_factory.mktemp("control"))
    box.plugin("caller", PLUGIN)
    box.tables["pipeline.paper"] = {"stages": ["caller", "seal"]}
    box.tables["stage.caller"] = {
        "control": str(box.socket),
        "service": box.folder / "not-there",
    }
    box.start()
    yield box
    if box.running():
        box.end()
    box.close()


def test_no_process_of_a_step_is_answered_by_the_control_socket(box: Daemon) -> None:
    box.drop("a.txt", text="whatever")
    [[facts, code, message]] = box.until(
        lambda: box.rows(
            "SELECT facts, code, message FROM step WHERE stage = 'caller' AND ending IS NOT NULL"
        ),
        "the attack was made",
    )
    found = json.loads(facts or "{}")
    assert found, (code, message)
    assert found.pop("listening") == "works", "so it may use local sockets"
    assert "answered" not in found.values(), found
    assert len(found) == 4
    assert "control-refused" in box.log.read_text()


def test_people_are_answered(box: Daemon) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.connect(str(box.socket))
        line.sendall(b"GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert line.recv(65536).startswith(b"HTTP/1.1 200")
