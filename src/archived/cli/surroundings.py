"""What `archived doctor` looks at: the sandbox, the disks, the hot folders. Each look is tried.

A finding's verdict is "yes", "no" or "not established"; what could not be tried is never called
"yes".
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from archived.cli.missing import for_scanners
from archived.cli.shown import size
from archived.locale import _

if TYPE_CHECKING:
    from archived.config import HotFolderSetting, Settings

Verdict = Literal["yes", "no", "not established"]

_DESIRED = frozenset({"files", "services", "signals", "processes", "tracing", "programs"})
"""Protections that some kernels cannot give, and what is none of a step's: noted."""
_PROBE_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `needed`: the daemon should not run without it."""

    about: str
    what: str
    verdict: Verdict
    why: str = ""
    needed: bool = True


def look(settings: Settings) -> Iterator[Finding]:
    """Everything but the stages' own checks, which `check` has."""
    who = _daemons_user(settings)
    yield who
    yield from _sandbox()
    yield from _programs(settings)
    yield from _folders(settings, ours=who.verdict == "yes")
    for folder in settings.hotfolders.values():
        if folder.enabled:
            yield from _hot_folder(folder, ours=who.verdict == "yes")


def _daemons_user(settings: Settings) -> Finding:
    """Rights are only established for the user that looks."""
    what = "this is run by the daemon's own user"
    us = _user(os.geteuid())
    try:
        owner = settings.archive.state.stat().st_uid
    except OSError:
        why = f"there is no {settings.archive.state} yet; the rights below are those of {us}"
        return Finding("user", what, "not established", why, needed=False)
    if owner == os.geteuid():
        return Finding("user", what, "yes", us, needed=False)
    why = f"you are {us}, its folder belongs to {_user(owner)}; run: sudo -u {_user(owner)} ..."
    return Finding("user", what, "no", why, needed=False)


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def _sandbox() -> Iterator[Finding]:
    """One finding for each act that was tried; see `engine.trials`."""
    # A process of its own: it forks, and this one may have threads.
    command = [sys.executable, "-m", "archived.engine.probe"]
    try:
        probed = subprocess.run(command, capture_output=True, timeout=_PROBE_SECONDS, check=True)
        told: list[dict[str, str]] = json.loads(probed.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        why = f"the trial broke: {error}"
        yield Finding("sandbox", "what confines a step can be tried", "not established", why)
        return
    for trial in told:
        verdict, _paren, why = trial["verdict"].partition(" (")
        known: Verdict = "yes" if verdict == "yes" else "no" if verdict == "no" else (
            "not established"
        )  # fmt: skip
        needed = trial["protection"] not in _DESIRED
        yield Finding("sandbox", trial["what"], known, why.removesuffix(")"), needed=needed)


def _programs(settings: Settings) -> Iterator[Finding]:
    """What may be started here, by PATH: the daemon's own may differ from ours."""
    from archived.engine.programs import advice, wanted

    for each in wanted(settings.stages):
        path = shutil.which(each.name)
        what = f"the program {each.name} can be found"
        needed = each.need == "required"
        yield Finding("program", what, "yes" if path else "no", path or advice(each.name), needed)


def _folders(settings: Settings, *, ours: bool) -> Iterator[Finding]:
    spool, store = settings.archive.spool, settings.store.path
    for name, path in (("state", settings.archive.state), ("spool", spool), ("store", store)):
        yield _durable(name, path, ours=ours)
    floor = settings.spool.keep_free
    free = shutil.disk_usage(_there(spool)).free
    yield Finding(
        "spool", f"more is free than keep_free ({size(floor)})",
        "yes" if free > floor else "no", _free(free),
    )  # fmt: skip
    free = shutil.disk_usage(_there(store)).free
    yield Finding("store", "there is room", "yes" if free > floor else "no", _free(free))
    apart = _there(spool).stat().st_dev != _there(store).stat().st_dev
    yield Finding(
        "store", "spool and store lie on different file systems", "yes" if apart else "no",
        f"{mount_of(spool)} and {mount_of(store)}" if apart
        else f"both on {mount_of(store)}; a broken disk takes both", needed=False,
    )  # fmt: skip
    yield Finding(
        "disk", "what fsync was told is on the platter survives a power cut", "not established",
        "only the maker of disk and controller can say; look for power-loss protection",
        needed=False,
    )  # fmt: skip


def _free(count: int) -> str:
    return _("{size} free").format(size=size(count))


def _there(path: Path) -> Path:
    """The path, or the nearest folder above it that exists: there it will be made."""
    while not path.exists():
        path = path.parent
    return path


def _durable(name: str, path: Path, *, ours: bool) -> Finding:
    """Write, fsync, rename, remove: as the daemon will, in a folder of its own."""
    from archived.storage import atomic

    what = f"{path} takes files durably"
    there = _there(path)
    try:
        with tempfile.TemporaryDirectory(prefix=".archived-doctor-", dir=there) as trial:
            atomic.write_file(Path(trial) / "trial", b"trial")
            atomic.remove_file(Path(trial) / "trial")
    except OSError as error:
        verdict: Verdict = "no" if ours else "not established"
        return Finding(name, what, verdict, f"{error.strerror}: {there}")
    why = f"{mount_of(there)}" + ("" if there == path else f"; it will be made in {there}")
    if not ours:
        return Finding(name, what, "not established", f"it does for you; {why}", needed=False)
    return Finding(name, what, "yes", why)


def _hot_folder(folder: HotFolderSetting, *, ours: bool) -> Iterator[Finding]:
    from archived.intake.watcher import choose_mode

    name, path = f"hot folder {folder.name}", folder.path
    if not path.is_dir():
        made = for_scanners(path)
        why = f"run: {made}; or mount the share; until then the folder is offline"
        yield Finding(name, f"{path} is there", "no", why)
        return
    yield Finding(name, f"{path} is there", "yes", mount_of(path))
    yield _may_empty(name, path, ours=ours)
    mode = choose_mode(path, folder.mode)
    heard: Verdict = "yes" if mode == "events" else "no"
    why = "events, and a complete listing now and then" if heard == "yes" else (
        f"polling every {folder.rescan.total_seconds():g} s"
    )  # fmt: skip
    yield Finding(name, "the kernel tells of new files", heard, why, needed=False)


def _may_empty(name: str, path: Path, *, ours: bool) -> Finding:
    """Whether files of others may be renamed and removed there, tried with a folder of our own."""
    what = "received files can be renamed and removed"
    try:
        # A folder, not a file: a running daemon takes notice of files.
        Path(tempfile.mkdtemp(prefix=".archived-doctor-", dir=path)).rmdir()
    except OSError as error:
        return Finding(name, what, "no" if ours else "not established", str(error.strerror))
    status = path.stat()
    sticky = status.st_mode & stat.S_ISVTX and os.geteuid() not in (0, status.st_uid)
    if sticky:
        return Finding(name, what, "no", f"others' files cannot be; run: chmod -t {path}")
    if not ours:
        return Finding(name, what, "not established", "they can be by you", needed=False)
    return Finding(name, what, "yes")


def mount_of(path: Path) -> str:
    """The type of the file system under a path."""
    from archived.intake.watcher import mount_type

    mounts = Path("/proc/self/mountinfo").read_text(errors="replace")
    return mount_type(_there(path), mounts)
