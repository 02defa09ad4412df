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
from typing import TYPE_CHECKING, Literal, cast

from archived.cli.missing_paths import for_scanners
from archived.cli.output import size
from archived.locale import _
from archived.message import Message, with_messages

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
    what = Message("this is run by the daemon's own user")
    us = _user(os.geteuid())
    try:
        owner = settings.archive.state.stat().st_uid
    except OSError:
        why = Message(
            "there is no {state} yet; the rights below are those of {us}",
            state=settings.archive.state,
            us=us,
        )
        return Finding("user", what, "not established", why, needed=False)
    if owner == os.geteuid():
        return Finding("user", what, "yes", us, needed=False)
    why = Message(
        "you are {us}, its folder belongs to {user}; run: sudo -u {user} ...",
        us=us,
        user=_user(owner),
    )
    return Finding("user", what, "no", why, needed=False)


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def _sandbox() -> Iterator[Finding]:
    """One finding for each act that was tried; see `engine.sandbox.selftest_acts`."""
    # A process of its own: it forks, and this one may have threads.
    command = [sys.executable, "-m", "archived.engine.sandbox.selftest"]
    try:
        probed = subprocess.run(command, capture_output=True, timeout=_PROBE_SECONDS, check=True)
        told: list[dict[str, str]] = with_messages(json.loads(probed.stdout))
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        why = Message("the trial broke: {error}", error=error)
        yield Finding(
            "sandbox", Message("what confines a step can be tried"), "not established", why
        )
        return
    for trial in told:
        verdict, said = _verdict(trial["verdict"])
        known: Verdict = (
            "yes" if verdict == "yes" else "no" if verdict == "no" else ("not established")
        )
        needed = trial["protection"] not in _DESIRED
        yield Finding("sandbox", trial["what"], known, said, needed=needed)


def _verdict(told: str) -> tuple[str, str]:
    """The word, and why: what a trial's verdict was made of."""
    if isinstance(told, Message):
        return str(told.parameters["word"]), cast(str, told.parameters["why"])
    return told, ""


def _programs(settings: Settings) -> Iterator[Finding]:
    """What may be started here, by PATH: the daemon's own may differ from ours."""
    from archived.engine.programs import INTERPRETER, advice, wanted

    for each in wanted(settings.stages):
        # The package's interpreter is no program on PATH; what starts it again names it in full.
        path = sys.executable if each.name == INTERPRETER else shutil.which(each.name)
        what = Message("the program {name} can be found", name=each.name)
        needed = each.need == "required"
        yield Finding("program", what, "yes" if path else "no", path or advice(each.name), needed)


def _folders(settings: Settings, *, ours: bool) -> Iterator[Finding]:
    spool, store = settings.archive.spool, settings.store.path
    for name, path in (("state", settings.archive.state), ("spool", spool), ("store", store)):
        yield _durable(name, path, ours=ours)
    floor = settings.spool.keep_free
    free = shutil.disk_usage(_there(spool)).free
    yield Finding(
        "spool",
        Message("more is free than keep_free ({size})", size=size(floor)),
        "yes" if free > floor else "no",
        _free(free),
    )
    free = shutil.disk_usage(_there(store)).free
    yield Finding("store", Message("there is room"), "yes" if free > floor else "no", _free(free))
    apart = _there(spool).stat().st_dev != _there(store).stat().st_dev
    yield Finding(
        "store",
        Message("spool and store lie on different file systems"),
        "yes" if apart else "no",
        Message("{one} and {other}", one=mount_kind(spool), other=mount_kind(store))
        if apart
        else Message("both on {mount}; a broken disk takes both", mount=mount_kind(store)),
        needed=False,
    )
    yield Finding(
        "disk",
        Message("what fsync was told is on the platter survives a power cut"),
        "not established",
        Message("only the maker of disk and controller can say; look for power-loss protection"),
        needed=False,
    )


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

    what = Message("{path} takes files durably", path=path)
    there = _there(path)
    try:
        with tempfile.TemporaryDirectory(prefix=".archived-doctor-", dir=there) as trial:
            atomic.write_file(Path(trial) / "trial", b"trial")
            atomic.remove_file(Path(trial) / "trial")
    except OSError as error:
        verdict: Verdict = "no" if ours else "not established"
        return Finding(
            name, what, verdict, Message("{why}: {there}", why=error.strerror, there=there)
        )
    why = mount_kind(there)
    if there != path:
        why = Message("{mount}; it will be made in {there}", mount=why, there=there)
    if not ours:
        return Finding(
            name, what, "not established", Message("it does for you; {why}", why=why), needed=False
        )
    return Finding(name, what, "yes", why)


def _hot_folder(folder: HotFolderSetting, *, ours: bool) -> Iterator[Finding]:
    from archived.ingest.watcher import choose_mode

    name, path = Message("hot folder {name}", name=folder.name), folder.path
    if not path.is_dir():
        made = for_scanners(path)
        why = Message(
            "run: {made}; or mount the share; until then the folder is offline", made=made
        )
        yield Finding(name, Message("{path} is there", path=path), "no", why)
        return
    yield Finding(name, Message("{path} is there", path=path), "yes", mount_kind(path))
    yield _may_empty(name, path, ours=ours)
    mode = choose_mode(path, folder.mode)
    heard: Verdict = "yes" if mode == "events" else "no"
    why = (
        Message("events, and a complete listing now and then")
        if heard == "yes"
        else (
            Message(
                "polling every {total_seconds} s",
                total_seconds=f"{folder.rescan.total_seconds():g}",
            )
        )
    )
    yield Finding(name, Message("the kernel tells of new files"), heard, why, needed=False)


def _may_empty(name: str, path: Path, *, ours: bool) -> Finding:
    """Whether files of others may be renamed and removed there, tried with a folder of our own."""
    what = Message("received files can be renamed and removed")
    try:
        # A folder, not a file: a running daemon takes notice of files.
        Path(tempfile.mkdtemp(prefix=".archived-doctor-", dir=path)).rmdir()
    except OSError as error:
        return Finding(name, what, "no" if ours else "not established", str(error.strerror))
    status = path.stat()
    sticky = status.st_mode & stat.S_ISVTX and os.geteuid() not in (0, status.st_uid)
    if sticky:
        return Finding(
            name, what, "no", Message("others' files cannot be; run: chmod -t {path}", path=path)
        )
    if not ours:
        return Finding(name, what, "not established", Message("they can be by you"), needed=False)
    return Finding(name, what, "yes")


def mount_kind(path: Path) -> str:
    """The type of the file system under a path."""
    from archived.ingest.mounts import mount_of

    return mount_of(_there(path)).kind
