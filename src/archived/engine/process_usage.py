"""What a living process has used, where nobody waits for its end: a kept worker's, step by step.

Reads /proc. What cannot be read counts as nothing used.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

_TICK = 1 / os.sysconf("SC_CLK_TCK")
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)
_RESET_PEAK = "5"
"""What sets `VmHWM` back to what is used now (`proc_pid_clear_refs(5)`)."""


def cpu_of(pid: int) -> float:
    """Seconds of processor time, with those of the children that it has waited for."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) * _TICK


def peak_of(pid: int) -> int:
    """Bytes that it held in memory at most, since the last `reset_peak`."""
    try:
        found = _PEAK.search(Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0


def reset_peak(pid: int) -> None:
    """Begin to count anew. Where that is not allowed it is counted from the process's start."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/clear_refs").write_text(_RESET_PEAK)
