"""The machine under the rig: its tools, its mounts' folders, and waiting for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from archived.testing.daemon import DaemonError


class Skipped(Exception):
    """The fault cannot be made on this machine; the sentence says why."""


def need(*programs: str, root: bool = True) -> None:
    """Raises `Skipped` unless these programs (and root's rights) are there."""
    if root and os.geteuid() != 0:
        raise Skipped("needs root, for mounts or tracing")
    for each in programs:
        if shutil.which(each, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
            raise Skipped(f"{each} is not installed")


def command(*argv: str | Path) -> None:
    """Run a tool of the machine. Raises `DaemonError` with what it said."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    done = subprocess.run(
        [str(a) for a in argv],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": path, "LC_ALL": "C"},
    )
    if done.returncode:
        raise DaemonError(f"{' '.join(map(str, argv))}: {(done.stderr or done.stdout).strip()}")


def until(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Poll. Raises `DaemonError`."""
    ends = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > ends:
            raise DaemonError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.05)


def remove_folder(folder: Path) -> None:
    """A folder and all below it, read-only or not."""
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(folder)
