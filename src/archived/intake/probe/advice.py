"""What to write into the configuration for a folder that was probed, and why.

Pure: a report and what is configured already in, TOML out. Numbers follow from what was found, each
with its reason beside it.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from archived.intake.probe.ground import Report
from archived.intake.settle import QUIET
from archived.intake.watcher import wants_polling

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
    quiet, why_quiet = _quiet(report)
    path = json.dumps(str(report.folder), ensure_ascii=False)
    lines = {"path": Line(path), "pipeline": _pipeline(known), "mode": Line(f'"{mode}"', why_mode),
             "quiet": Line(f'"{quiet} s"', why_quiet),
             "rescan": Line(f'"{rescan} s"', why_rescan)}  # fmt: skip
    kept = {key: Line(value) for key, value in known.kept.items() if key not in lines}
    if not report.trusted:
        kept["enabled"] = Line("false", "not before what is needed holds")
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
        return Line(json.dumps(known.pipelines[0]), f"the one you want of: {others}")
    return Line(json.dumps(_USUAL), "the one you want for what arrives here")


def _free_name(report: Report, taken: Collection[str]) -> str:
    """A name after the folder that no other hot folder has, however it is written."""
    name, number, used = _name(report), 1, {each.casefold() for each in taken}
    while (name if number == 1 else f"{name}-{number}") in used:
        number += 1
    return name if number == 1 else f"{name}-{number}"


def _name(report: Report) -> str:
    plain = unicodedata.normalize("NFD", report.folder.name.replace("đ", "d").replace("Đ", "D"))
    return re.sub(r"[^a-z0-9]+", "-", plain.encode("ascii", "ignore").decode().lower()).strip(
        "-"
    ) or "scans"  # fmt: skip


def _noticing(report: Report) -> tuple[str, str, int, str]:
    """Mode and rescan (seconds), each with its reason."""
    kind = (report.facts["mount"] or {}).get("type", "unknown")
    if wants_polling(kind):
        why = f"on {kind} nobody tells what other machines write"
        return "polling", why, 10, "nothing else notices new files"
    if report.verdict("events") == "yes":
        delay = report.facts["event_delay"] * 1000
        why = f"events were heard after {delay:.0f} ms"
        return "events", why, 60, "only for what events miss"
    if report.verdict("events") == "not established":
        return "auto", "whether events are heard is not established", 30, "the usual"
    return "polling", "events were not heard", 10, "nothing else notices new files"


def _quiet(report: Report) -> tuple[int, str]:
    """Seconds; the longest that any finding asks for, and never less than the usual."""
    asked = [(QUIET, "the usual: how long a file must have stayed the same")]
    if report.verdict("open") != "yes":
        asked.append((QUIET, "the usual, and needed: nobody can tell whether a file is still open"))
    step = report.facts["mtime_resolution"] or 0
    if step >= 1:
        asked.append((max(QUIET, math.ceil(5 * step)), f"times are kept in steps of {step:g} s"))
    if report.verdict("overwrite") == "no":
        asked.append((QUIET, "the usual, and needed: a change in place may go unnoticed"))
    if report.verdict("growth") == "no":
        asked.append((_QUIET_STALE, "sizes are told late here"))
    longest = max(seconds for seconds, _why in asked)
    return longest, next(why for seconds, why in reversed(asked) if seconds == longest)
