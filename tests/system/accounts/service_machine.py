"""For tests of accounts: a service's user, what it owns, and a root that gives steps accounts.

`Manager` does what systemd does for `archived-worker.socket` with `Accept=yes` and `DynamicUser=`:
each connection is a fork server under another user id.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SERVICE = "daemon"
"""A user that every system has; here the service's."""
FIRST = 61_600
"""The first number of an account: in the range of systemd's dynamic users."""
WITHOUT_LANDLOCK = """
import sys
from archived.engine.sandbox import landlock
def version():
    raise landlock.NotPermitted(95, "switched off by a test")
landlock.version = version
sys.argv.pop(0)
from archived.engine.worker import forkserver
forkserver.main()
"""
SCRIPT = """
import asyncio, json, os, sys, time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from archived.engine.protocol import StepRequest
from archived.engine.worker.forkserver_client import LaneSetup
from archived.engine.worker.runner import LocalRunner

async def main():
    told = json.loads(sys.stdin.readline())
    runner = LocalRunner(
        told["lane"], 4, told["sources"],
        LaneSetup(
            preload=told["preload"],
            environment={"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
            scratch=Path(told["scratch"]), workers=told["workers"] and Path(told["workers"]),
            accounts=told["accounts"],
        ),
    )
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=2**24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    async def one(asked):
        request = StepRequest.from_json(asked["request"])
        request.folder.mkdir(mode=0o700)
        began = time.perf_counter()
        done = await runner.run(request)
        took = time.perf_counter() - began
        print(json.dumps({
            "step": request.step, "ending": str(done.ending), "code": done.code,
            "message": done.message, "facts": dict(done.facts), "took": took,
            "made": [m.path for m in done.made], "separate": runner.separate,
        }), flush=True)

    tasks = set()
    try:
        await runner.start()
        print(json.dumps({"started": runner.separate}), flush=True)
        while line := await reader.readline():
            tasks.add(asyncio.ensure_future(one(json.loads(line))))
        await asyncio.gather(*tasks)
    finally:
        await runner.stop()

asyncio.run(main())
"""


@dataclass
class Manager:
    """Answers each connection to `path` with a fork server in an account of its own."""

    path: Path
    landlock: bool = True
    work: Path | None = None
    """Where what is left of an account that has ended is given back, as by `ExecStopPost=`."""
    account: int = FIRST
    """The first fork server's; others have the numbers after it."""
    fork_servers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __enter__(self) -> Manager:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(self.path))
        shutil.chown(self.path, SERVICE)
        self.path.chmod(0o600)
        self._listener.listen(16)
        self._stopping: list[threading.Thread] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        for thread in self._stopping:
            thread.join(30)
        for each in self.fork_servers:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(each.pid, signal.SIGKILL)
            each.wait()

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            with line:
                account = self.account + len(self.fork_servers)
                python = ["-m", "archived.engine.worker.forkserver"]
                if not self.landlock:
                    python = ["-c", WITHOUT_LANDLOCK, "archived.engine.worker.forkserver"]
                self.fork_servers.append(
                    subprocess.Popen(
                        [sys.executable, "-P", *python, str(line.fileno()), SERVICE],
                        pass_fds=(line.fileno(),),
                        user=account,
                        group=account,
                        extra_groups=[],
                        start_new_session=True,
                        stdin=subprocess.DEVNULL,
                        umask=0o077,
                        env={
                            "PATH": os.defpath,
                            "LANG": "C.UTF-8",
                            "MALLOC_ARENA_MAX": "2",
                            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
                        },
                    )
                )
                if self.work is not None:
                    stop = threading.Thread(target=self._stop_post, args=(account,), daemon=True)
                    self._stopping.append(stop)
                    stop.start()

    def _stop_post(self, account: int) -> None:
        self.fork_servers[account - self.account].wait()
        subprocess.run(
            [
                sys.executable,
                "-P",
                "-m",
                "archived.engine.worker.handover",
                str(self.work),
                SERVICE,
            ],
            check=True,
            user=account,
            group=account,
            extra_groups=[],
            env={"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        )


@dataclass
class Machine:
    """A state folder, a store, a key, a catalog and a control socket, as the package has them."""

    root: Path
    steps: int = 0
    """How many were asked for."""

    @property
    def latest(self) -> Path:
        """The folder of the latest."""
        return self.work / f"step-{self.steps}"

    def __post_init__(self) -> None:
        self.root.chmod(0o755)
        self.state = self._folder("state", 0o751)
        self.work = self._folder("state/work", 0o711)
        self.spool = self._folder("state/spool", 0o750)
        self.catalog = self._file("state/catalog.db", 0o640)
        self.store = self._folder("store", 0o750)
        self.sealed = self._file("store/sealed.pdf", 0o444)
        self.secret = self._file("signing.p12", 0o600, "the key")
        self.original = self._file("state/spool/0001.txt", 0o440, "as received")
        self.control = self.root / "control.sock"
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(str(self.control))
        self.listening.listen()
        self._own(self.control, 0o660)
        self.workers = self.root / "workers"

    def _own(self, path: Path, mode: int) -> Path:
        shutil.chown(path, SERVICE, SERVICE)
        path.chmod(mode)
        return path

    def _folder(self, name: str, mode: int) -> Path:
        (self.root / name).mkdir()
        return self._own(self.root / name, mode)

    def _file(self, name: str, mode: int, text: str = "of the service") -> Path:
        (self.root / name).write_text(text)
        return self._own(self.root / name, mode)


@contextlib.contextmanager
def machine():
    """A `Machine` that goes again."""
    made = Machine(Path(tempfile.mkdtemp(prefix="archived-accounts-", dir="/var/tmp")))
    try:
        yield made
    finally:
        made.listening.close()
        shutil.rmtree(made.root)


class Service:
    """A runner in a process of the service's user."""

    def __init__(
        self,
        place: Machine,
        sources: list[Mapping[str, Any]],
        *,
        lane: str = "cpu",
        accounts: Mapping[str, str] | None = None,
        preload: list[str] | None = None,
        plain: bool = False,
    ) -> None:
        self._place = place
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", SCRIPT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            user=SERVICE,
            group=SERVICE,
            extra_groups=[],
            umask=0o027,
            start_new_session=True,
        )
        self._write(
            {
                "lane": lane,
                "sources": sources,
                "scratch": str(place.work),
                "preload": preload or [],
                "workers": None if plain else str(place.workers),
                "accounts": accounts or {},
            }
        )
        self.started = self._read()["started"]

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()

    def _write(self, value: Any) -> None:
        self.process.stdin.write(json.dumps(value) + "\n")
        self.process.stdin.flush()

    def _read(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        if not line:
            self.process.wait(60)
            self.process.stdin.close()
            self.process.stdout.close()
        assert line, "the service's process ended"
        return json.loads(line)

    def ask(self, request: dict[str, Any]) -> None:
        """Start a step."""
        self._write({"request": request})

    def answer(self) -> dict[str, Any]:
        """How the next step ended."""
        return self._read()

    def run(self, request: dict[str, Any]) -> dict[str, Any]:
        """A step from its start to its end."""
        self.ask(request)
        return self.answer()
