"""One damaged file through the real child, and everything that may be said against how it went.

The fork server, limits, confinement and the judge of the output are the daemon's own; the caller's
process is the daemon's side. What must hold of every input stands in `Bench.complaints`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil

from archived.api import Artifact, Role
from archived.engine.protocol import TEMPORARY, StepDocument, StepLimits, StepRequest
from archived.engine.worker.forkserver_client import LaneSetup
from archived.engine.worker.runner import LocalRunner
from archived.ingest.filetypes import Inspection, inspect
from archived.model.outcome import Ending, Outcome
from archived.model.pipeline import accepts
from archived.testing.watch import NOTES

SOURCES: tuple[Mapping[str, Any], ...] = (
    {"name": "watch", "entry_point": "archived.testing.watch"},
    {"name": "ocr", "entry_point": "archived_ocr"},
    {"name": "classify", "entry_point": "archived_classify"},
    {"name": "sign", "entry_point": "archived_sign"},
)
ACCEPTS = {
    "ocr": ("application/pdf", "image/tiff", "image/jpeg", "image/png"),
    "sign": ("application/pdf",),
}
BROKER = "archived.engine.sandbox.attribute_broker"
"""How the processes that a fork server keeps for its steps are started (`python -m`)."""
LOOK_SECONDS = 2.0
"""Intake's look at a file happens in the daemon: it must be over at once."""
LATE = 20.0
"""Seconds after its deadline by which a step's end must be told."""
_MARK = "ARCHIVED_FUZZ"
_GOOD = frozenset({Ending.FINISHED, Ending.REFUSED, Ending.FAILED})
_ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True, slots=True)
class Case:
    """One input for one stage. `number` names it within a run."""

    number: int
    kind: str
    stage: str
    data: bytes
    extension: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a case ended. `complaints` is empty when all that must hold held."""

    case: Case
    ending: str
    code: str
    seconds: float
    memory: int
    complaints: tuple[str, ...] = ()
    log: str = ""


def documented_codes() -> frozenset[str]:
    """The codes of docs/failures.md."""
    text = (_ROOT / "docs" / "failures.md").read_text()
    return frozenset(re.findall(r"^\| `([a-z0-9-]+)` \|", text, re.MULTILINE))


class _Bytes:
    """What intake reads through."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def at(self, offset: int, length: int) -> bytes:
        """As a file would: short at its end."""
        return self._data[max(0, offset) : max(0, offset) + max(0, length)]


@dataclass(eq=False)
class Bench:
    """A fork server and a neighbourhood of its own below `root`; one case at a time."""

    root: Path
    options: Mapping[str, Mapping[str, Any]]
    timeout: float
    memory: int
    sources: Sequence[Mapping[str, Any]] = SOURCES
    codes: frozenset[str] = field(default_factory=documented_codes)
    confinement: Mapping[str, str] = field(default_factory=dict)

    async def __aenter__(self) -> Bench:
        for name in ("documents", "steps", "neighbour"):
            (self.root / name).mkdir(parents=True)
        (self.root / "neighbour" / "record.txt").write_text("somebody else's document\n")
        self._mark = secrets.token_hex(8)
        self._runner = LocalRunner(
            "fuzz", 1, self.sources, LaneSetup(environment={_MARK: self._mark})
        )
        await self._runner.start()
        self._server = self._servers()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.stop()
        shutil.rmtree(self.root, ignore_errors=True)

    async def stop(self) -> list[str]:
        """End the fork server; what is left of it, in words."""
        await self._runner.stop()
        return [f"after the end process {p.pid} is left: {_words(p)}" for p in self._marked()]

    async def run(self, case: Case) -> Verdict:
        """Intake's look, the attempt, and what is to be said against both."""
        found, complaints = await asyncio.to_thread(_looked, case.data)
        if found is None:
            return Verdict(case, "broke intake", "", 0.0, 0, tuple(complaints))
        kind = found.media_type
        if not accepts(ACCEPTS.get(case.stage, ("*/*",)), kind):
            return Verdict(case, "passed by", "", 0.0, 0, tuple(complaints))
        request, original = self._request(case, kind)
        before = self._neighbourhood(request.folder)
        began, log = time.monotonic(), list[str]()
        try:
            outcome = await self._runner.run(request, on_log=log.append)
        except Exception as error:  # noqa: BLE001 - that it raises is the finding
            complaints.append(f"the daemon's side raised {type(error).__name__}: {error}")
            outcome = Outcome(Ending.FAILED, "stage-error")
        seconds = time.monotonic() - began
        self.confinement = dict(self._runner.confinement)
        complaints += self._complaints(request, outcome, seconds)
        complaints += self._left_behind()
        if self._neighbourhood(request.folder) != before:
            complaints.append("files beside the step's folder changed")
        if original.read_bytes() != case.data:
            complaints.append("the original was changed")
        for folder in (request.folder, original.parent.parent):
            shutil.rmtree(folder, ignore_errors=True)
        memory = outcome.usage.peak_memory
        ending, code = str(outcome.ending), outcome.code
        return Verdict(case, ending, code, seconds, memory, tuple(complaints), "".join(log))

    def _request(self, case: Case, kind: str) -> tuple[StepRequest, Path]:
        document = self.root / "documents" / f"{case.number}"
        original = document / "original" / f"0001.{case.extension}"
        original.parent.mkdir(parents=True)
        original.write_bytes(case.data)
        original.chmod(0o440)
        digest, size = hashlib.sha512(case.data).hexdigest(), len(case.data)
        artifacts = [Artifact(original, original.name, kind, Role.ORIGINAL, digest, size)]
        if case.stage == "classify":
            artifacts.append(
                Artifact(original, "document.txt", "text/plain", Role.TEXT, digest, size)
            )
        folder = self.root / "steps" / f"{case.number}"
        folder.mkdir()
        spec = StepDocument(
            id=f"0196e0a0-0000-7000-8000-{case.number:012x}",
            received=datetime.now(UTC),
            hotfolder="scans",
            name=original.name,
            artifacts=artifacts,
        )
        request = StepRequest(
            step=f"{case.number}",
            stage=case.stage,
            options=self.options.get(case.stage, {}),
            document=spec,
            folder=folder,
            deadline=datetime.now(UTC) + timedelta(seconds=self.timeout),
            limits=StepLimits(memory=self.memory, cpu_seconds=int(self.timeout) + 30),
        )
        return request, original

    def _complaints(self, request: StepRequest, outcome: Outcome, seconds: float) -> list[str]:
        found = []
        if outcome.ending not in _GOOD:
            found.append(f"ended as {outcome.ending} ({outcome.code}: {outcome.message})")
        if outcome.ending is not Ending.FINISHED and outcome.code not in self.codes:
            found.append(f"the code {outcome.code!r} is not documented")
        if outcome.ending is not Ending.FINISHED and not outcome.message:
            found.append("it gives no reason")
        if seconds > self.timeout + LATE:
            found.append(f"took {seconds:.1f} s, its timeout is {self.timeout:.0f} s")
        if outcome.code == "runner-lost":
            found.append("the fork server was lost")
        notes = request.folder / TEMPORARY / NOTES
        if notes.exists():
            found.append(f"tried to write outside its folder: {notes.read_text().split()[:3]}")
        found += [
            f"a file of its own is {path.stat().st_size} bytes long"
            for path in request.folder.rglob("*")
            if path.is_file() and not path.is_symlink() and path.stat().st_size > 2**30
        ]
        return found

    def _left_behind(self) -> list[str]:
        """Nothing of the step may live on, and the fork server must be the one it was."""
        if self._servers() != self._server:
            self._server = self._servers()
            return ["the fork server is not the one it was"]
        return [
            f"process {p.pid} is left: {_words(p)}"
            for p in self._marked()
            if p.pid not in self._server and not self._is_broker(p)
        ]

    def _is_broker(self, process: psutil.Process) -> bool:
        """Whether it is one of the fork server's own: kept for later steps, and without a step."""
        with contextlib.suppress(psutil.Error):
            return process.ppid() in self._server and BROKER in process.cmdline()
        return False

    def _servers(self) -> frozenset[int]:
        return frozenset(
            p.pid for p in psutil.Process().children() if self._mark in _environment(p.pid)
        )

    def _marked(self) -> list[psutil.Process]:
        return [
            p
            for p in psutil.process_iter()
            if p.pid != os.getpid() and self._mark in _environment(p.pid)
        ]

    def _neighbourhood(self, own: Path) -> dict[str, tuple[int, int, int]]:
        """Every file and folder below the root but the step's own: size, mode, time of change."""
        seen = {}
        for folder, folders, names in os.walk(self.root):
            folders[:] = [n for n in folders if Path(folder, n) != own]
            for name in (*folders, *names):
                path = Path(folder, name)
                at = path.lstat()
                seen[str(path)] = (at.st_size, at.st_mode, at.st_mtime_ns)
        return seen


def _looked(data: bytes) -> tuple[Inspection | None, list[str]]:
    began = time.thread_time()  # others may be at work on this machine
    try:
        found = inspect(_Bytes(data))
    except Exception as error:  # noqa: BLE001 - that it raises is the finding
        return None, [f"intake's look raised {type(error).__name__}: {error}"]
    seconds = time.thread_time() - began
    return found, [f"intake's look took {seconds:.1f} s"] if seconds > LOOK_SECONDS else []


def _environment(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    return ""


def _words(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())[:100]
    return "?"
