"""A daemon whose time and memory are measured, with the whole pipeline.

Used by `bench` and `stress`; the rig of `fault` builds on it.
"""

from __future__ import annotations

import contextlib
import sqlite3
import statistics
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import psutil

from archived.testing.daemon import Daemon, DaemonError

STAGES = ("ocr", "classify", "sign", "seal", "replicate")
PLUGINS = tuple(stage for stage in STAGES if stage != "seal")
HOT = "scans"
Tables = Mapping[str, Mapping[str, Any]]
"""Configuration: table -> key -> value."""
_MIB = 1 << 20


def tree(pid: int) -> list[psutil.Process]:
    """A process and everything below it."""
    try:
        top = psutil.Process(pid)
        return [top, *top.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def cpu_of(pid: int) -> float:
    """CPU seconds of the tree so far, ended and reaped children included."""
    total = 0.0
    for process in tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def pss_of(pid: int) -> float:
    """Proportional set size of the tree, MiB: what it really takes, shared pages counted once."""
    total = 0
    for process in tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            total += process.memory_full_info().pss
    return total / _MIB


class Sampler:
    """Reads the tree's PSS about once a second while it is open."""

    def __init__(self, pid: int, every: float = 1.0) -> None:
        self.values: list[float] = []
        self._pid, self._every = pid, every
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def _sample(self) -> None:
        while True:
            value = pss_of(self._pid)
            if value:
                self.values.append(value)
            if self._over.wait(self._every):
                return

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def middle(self) -> float:
        """Median, MiB."""
        return statistics.median(self.values) if self.values else 0.0

    @property
    def peak(self) -> float:
        """The largest reading, MiB."""
        return max(self.values, default=0.0)


class Trial(Daemon):
    """A daemon with the whole pipeline, a throw-away key and a second place for copies.

    `tables` adds keys to the configuration, or replaces them.
    """

    row_factory = sqlite3.Row
    stages: Sequence[str] = STAGES

    def __init__(
        self, folder: Path, tables: Tables | None = None, *, outside: Path | None = None
    ) -> None:
        super().__init__(folder, outside=outside)
        for table, keys in (tables or {}).items():
            self.tables.setdefault(table, {}).update(keys)

    def base(self) -> dict[str, Any]:
        """The configuration that `tables` adds to."""
        return {
            "archive": {"name": "Trial", "state": self.state},
            "store": {"path": self.store},
            "spool": {"keep_free": "256 MiB"},
            "control": {"socket": self.socket},
            "web": {"listen": f"127.0.0.1:{self.port}"},
            "plugins": {"enabled": PLUGINS, "folders": []},
            f"hotfolder.{HOT}": {"path": self.folder / "hot", "pipeline": "paper"},
            "pipeline.paper": {"stages": self.stages},
            "stage.sign": {
                "key": {"file": self._key / "signing.p12"},
                "passphrase": {"file": self._key / "signing.passphrase"},
                "allow_throwaway": True,
            },
            "stage.replicate": {"to": ["second"]},
            "target.second": {
                "kind": "directory",
                "path": self.folder / "second",
                "allow_same_filesystem": True,
            },
        }

    @property
    def _key(self) -> Path:
        return self.folder / "key"

    def hot(self, name: str = "hot") -> Path:
        """Where files are dropped."""
        return super().hot(name)

    def prepare(self) -> None:
        """Make folders, a throw-away signing key and the configuration. Raises `DaemonError`."""
        for name in ("hot", "state", "store", "second"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        if "sign" in self.stages:
            made = subprocess.run(
                [sys.executable, "-m", "archived_sign.throwaway_key", str(self._key)],
                capture_output=True,
                text=True,
                check=False,
            )
            if made.returncode:
                raise DaemonError(f"no throw-away key: {made.stderr.strip()[-400:]}")
        self.write()

    def __enter__(self) -> Self:
        self.prepare()
        return super().__enter__()

    def total(self, name: str) -> float:
        """The sum of a metric over its labels. Raises `DaemonError` when there is none."""
        found = self.metric(name)
        if not found:
            raise DaemonError(f"/metrics has no {name}")
        return sum(found.values())
