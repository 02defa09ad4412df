"""What to write into the configuration for a folder that was probed, and why.

Pure: a report in, TOML out. Numbers follow from what was found, each with its reason beside it.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata

from archived.intake.probe.ground import Report
from archived.intake.watcher import wants_polling

_QUIET = 5
"""Seconds, on a folder about which everything is known."""
_QUIET_BLIND = 15
"""Where nobody can tell whether a file is still open: a scanner's pause is not its end."""
_QUIET_STALE = 60
"""Where sizes are told late: longer than the attribute caches of NFS and CIFS."""


def advice(report: Report, name: str = "", pipeline: str = "") -> str:
    """A `[hotfolder.NAME]` table for the folder; `name` and `pipeline` when they are known.

    An untrusted folder's table says `enabled = false`.
    """
    mode, why_mode, rescan, why_rescan = _noticing(report)
    quiet, why_quiet = _quiet(report)
    lines = [
        (f"[hotfolder.{name or _name(report)}]", ""),
        (f"path = {json.dumps(str(report.folder), ensure_ascii=False)}", ""),
        (f"pipeline = {json.dumps(pipeline or 'paper', ensure_ascii=False)}",
         "" if pipeline else "the one you want for what arrives here"),
        (f'mode = "{mode}"', why_mode),
        (f'quiet = "{quiet} s"', why_quiet),
        (f'rescan = "{rescan} s"', why_rescan),
    ]  # fmt: skip
    if not report.trusted:
        lines.insert(1, ("enabled = false", "not before what is needed holds"))
    wide = max(len(text) for text, why in lines if why)
    return "\n".join(f"{text.ljust(wide)}  # {why}" if why else text for text, why in lines)


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
    """Seconds; the longest that any finding asks for."""
    asked = [(_QUIET, "how long a file must have stayed the same")]
    if report.verdict("open") != "yes":
        asked.append((_QUIET_BLIND, "nobody can tell whether a file is still open"))
    step = report.facts["mtime_resolution"] or 0
    if step >= 1:
        asked.append((max(_QUIET, math.ceil(5 * step)), f"times are kept in steps of {step:g} s"))
    if report.verdict("overwrite") == "no":
        asked.append((_QUIET_BLIND, "a change in place may go unnoticed"))
    if report.verdict("growth") == "no":
        asked.append((_QUIET_STALE, "sizes are told late here"))
    return max(asked)
