"""The result of a preflight of a folder, and the configuration that follows from it.

`advice` is pure: a report and the present configuration in, TOML out, each number with its reason.
"""

from __future__ import annotations

import errno
import json
import math
import re
import time
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any, Literal

from archived.ingest.ignore_rules import TRIAL_PREFIX
from archived.ingest.preflight.agent import Agent
from archived.ingest.scanner import SETTLE_SECONDS
from archived.ingest.watcher import wants_polling
from archived.message import Message

PREFIX = TRIAL_PREFIX.decode()
"""How the names of all trial files begin: for running daemons they are no arrivals."""

SOON = 3.0
"""Seconds within which one user's change must show to the other."""

Verdict = Literal["yes", "no", "not established"]
Answer = tuple[Verdict, str, str]
"""Verdict, what was seen and what it means, what to do (empty when there is nothing to do)."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One thing that was tried. `needed`: without it the folder cannot be trusted with scans."""

    code: str
    what: str
    verdict: Verdict
    why: str
    todo: str
    needed: bool


@dataclass(slots=True)
class Report:
    """All that came of it."""

    folder: Path
    writer: str
    daemon: str
    found: list[CheckResult] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    """What was measured: see `FACTS` for the keys; times in seconds, `None` when not known."""

    def verdict(self, code: str) -> Verdict:
        """Of one finding; "not established" when it was never come to."""
        return next((f.verdict for f in self.found if f.code == code), "not established")

    @property
    def trusted(self) -> bool:
        """Whether everything that is needed was tried and holds."""
        return all(f.verdict == "yes" for f in self.found if f.needed)


FACTS = (
    "mount",
    "mtime_resolution",
    "clock_skew",
    "events",
    "event_delay",
    "free_bytes",
    "free_inodes",
)


@dataclass(frozen=True, slots=True)
class CheckContext:
    """`w` writes as the scanner does, `d` looks as the daemon does."""

    report: Report
    w: Agent
    d: Agent

    @property
    def facts(self) -> dict[str, Any]:
        """The report's."""
        return self.report.facts

    @property
    def mount(self) -> dict[str, str]:
        """What is known of the mount; `unknown` where that could not be found out."""
        return {"type": "unknown", "rights": "?", "owner": ""} | (self.facts.get("mount") or {})

    def status(self, label: str) -> dict[str, int]:
        """What `stat` tells the daemon about a file that was just made. Raises `OSError`."""
        found: dict[str, int] | None = self.d.do("stat", label)
        if found is None:
            raise OSError(errno.ENOENT, Message("a file that was just made cannot be found"))
        return found

    def rights(self, error: OSError) -> str:
        """What to do when the daemon's user was refused something of the writer's."""
        daemon, path, mount = (
            self.report.daemon,
            quote(str(self.report.folder)),
            self.mount,
        )
        if error.errno == errno.EROFS:
            return Message("mount it for writing")
        if error.errno not in {errno.EACCES, errno.EPERM}:
            return Message("use another mount or file system")
        sticky = error.errno == errno.EPERM and mount["rights"][-1] in "tT"
        if sticky and mount["owner"] != daemon:
            return Message("the folder is sticky; run: chmod -t {path}", path=path)
        if wants_polling(mount["type"]):
            return Message(
                "mount it for {daemon} (CIFS: uid=, forceuid), or mend the rights on its server",
                daemon=daemon,
            )
        return Message(
            "give {daemon} rights, for now and for what is yet to come: setfacl -m "
            "u:{daemon}:rwx -d -m u:{daemon}:rwX {path}",
            daemon=daemon,
            path=path,
        )

    def soon(self, there: Callable[[], bool]) -> float | None:
        """Seconds until it was so; `None` when it did not become so in time."""
        began = time.monotonic()
        while not there():
            if time.monotonic() - began > SOON:
                return None
            time.sleep(0.002)
        return time.monotonic() - began


_QUIET_STALE = 60
"""Seconds where sizes are told late: longer than the attribute caches of NFS and CIFS."""

_USUAL = "paper"
"""The pipeline that is named where none is known."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a configuration says already. `kept` and `taken` are empty where there is none."""

    name: str = ""
    """What it calls this folder; empty when it does not."""
    kept: Mapping[str, str] = field(default_factory=dict)
    """Key -> value as TOML of the table that it has for this folder."""
    taken: Collection[str] = ()
    """Names of its other hot folders."""
    pipelines: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table, and why it is so (may be empty)."""

    text: str
    why: str = ""


def advice(report: Report, known: Known | None = None) -> list[Line]:
    """A `[hotfolder.NAME]` table for the folder, whole: it stands in place of one that is there.

    An untrusted folder's table says `enabled = false`.
    """
    known = known or Known()
    mode, why_mode, rescan, why_rescan = _noticing(report)
    settle_time, why_settle_time = _settle_time(report)
    path = json.dumps(str(report.folder), ensure_ascii=False)
    lines = {
        "path": Line(path),
        "pipeline": _pipeline(known),
        "mode": Line(f'"{mode}"', why_mode),
        "settle_time": Line(f'"{settle_time} s"', why_settle_time),
        "rescan": Line(f'"{rescan} s"', why_rescan),
    }
    kept = {key: Line(value) for key, value in known.kept.items() if key not in lines}
    if not report.trusted:
        kept["enabled"] = Line("false", Message("not before what is needed holds"))
    table = lines | kept
    return [
        Line(f"[hotfolder.{known.name or _free_name(report, known.taken)}]"),
        *(Line(f"{key} = {each.text}", each.why) for key, each in table.items()),
    ]


def joined(lines: Sequence[Line]) -> str:
    """The table as text, its reasons as comments, one below the other."""
    wide = max(len(each.text) for each in lines if each.why)
    return "\n".join(
        f"{each.text.ljust(wide)}  # {each.why}" if each.why else each.text for each in lines
    )


def _pipeline(known: Known) -> Line:
    if "pipeline" in known.kept:
        return Line(known.kept["pipeline"])
    if len(known.pipelines) == 1:
        return Line(json.dumps(known.pipelines[0]))
    if known.pipelines:
        others = ", ".join(known.pipelines)
        return Line(
            json.dumps(known.pipelines[0]), Message("the one you want of: {others}", others=others)
        )
    return Line(json.dumps(_USUAL), Message("the one you want for what arrives here"))


def _free_name(report: Report, taken: Collection[str]) -> str:
    """A name after the folder that no other hot folder has, however it is written."""
    name, number, used = _name(report), 1, {each.casefold() for each in taken}
    while (name if number == 1 else f"{name}-{number}") in used:
        number += 1
    return name if number == 1 else f"{name}-{number}"


def _name(report: Report) -> str:
    plain = unicodedata.normalize("NFD", report.folder.name.replace("đ", "d").replace("Đ", "D"))
    return (
        re.sub(r"[^a-z0-9]+", "-", plain.encode("ascii", "ignore").decode().lower()).strip("-")
        or "scans"
    )


def _noticing(report: Report) -> tuple[str, str, int, str]:
    """Mode and rescan (seconds), each with its reason."""
    kind = (report.facts["mount"] or {}).get("type", "unknown")
    if wants_polling(kind):
        why = Message("on {kind} nobody tells what other machines write", kind=kind)
        return "polling", why, 10, Message("nothing else notices new files")
    if report.verdict("events") == "yes":
        delay = report.facts["event_delay"] * 1000
        why = Message("events were heard after {delay:.0f} ms", delay=delay)
        return "events", why, 60, Message("only for what events miss")
    if report.verdict("events") == "not established":
        return (
            "auto",
            Message("whether events are heard is not established"),
            30,
            Message("the usual"),
        )
    return (
        "polling",
        Message("events were not heard"),
        10,
        Message("nothing else notices new files"),
    )


def _settle_time(report: Report) -> tuple[int, str]:
    """Seconds; the longest that any finding asks for, and never less than the usual."""
    asked = [(SETTLE_SECONDS, Message("the usual: how long a file must have stayed the same"))]
    if report.verdict("open") != "yes":
        asked.append(
            (
                SETTLE_SECONDS,
                Message("the usual, and needed: nobody can tell whether a file is still open"),
            )
        )
    step = report.facts["mtime_resolution"] or 0
    if step >= 1:
        asked.append(
            (
                max(SETTLE_SECONDS, math.ceil(5 * step)),
                Message("times are kept in steps of {step} s", step=f"{step:g}"),
            )
        )
    if report.verdict("overwrite") == "no":
        asked.append(
            (SETTLE_SECONDS, Message("the usual, and needed: a change in place may go unnoticed"))
        )
    if report.verdict("growth") == "no":
        asked.append((_QUIET_STALE, Message("sizes are told late here")))
    longest = max(seconds for seconds, _why in asked)
    return longest, next(why for seconds, why in reversed(asked) if seconds == longest)
