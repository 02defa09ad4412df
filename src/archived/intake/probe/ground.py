"""What every trial stands on: the folder, the two hands, and the words of an answer."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any, Literal

from archived.intake.probe.hands import Hand
from archived.intake.rules import TRIAL_PREFIX
from archived.intake.watcher import wants_polling

PREFIX = TRIAL_PREFIX.decode()
"""How the names of all trial files begin: for running daemons they are no arrivals."""

SOON = 3.0
"""Seconds within which one user's change must show to the other."""

Verdict = Literal["yes", "no", "not established"]
Answer = tuple[Verdict, str, str]
"""Verdict, what was seen and what it means, what to do (empty when there is nothing to do)."""


@dataclass(frozen=True, slots=True)
class Found:
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
    found: list[Found] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    """What was measured: see `FACTS` for the keys; times in seconds, `None` when not known."""

    def verdict(self, code: str) -> Verdict:
        """Of one finding; "not established" when it was never come to."""
        return next((f.verdict for f in self.found if f.code == code), "not established")

    @property
    def trusted(self) -> bool:
        """Whether everything that is needed was tried and holds."""
        return all(f.verdict == "yes" for f in self.found if f.needed)


FACTS = ("mount", "mtime_resolution", "clock_skew", "events", "event_delay", "free_bytes",
         "free_inodes")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ground:
    """`w` writes as the scanner does, `d` looks as the daemon does."""

    report: Report
    w: Hand
    d: Hand

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
            raise OSError(errno.ENOENT, "a file that was just made cannot be found")
        return found

    def rights(self, error: OSError) -> str:
        """What to do when the daemon's user was refused something of the writer's."""
        daemon, path, mount = (
            self.report.daemon,
            quote(str(self.report.folder)),
            self.mount,
        )
        if error.errno == errno.EROFS:
            return "mount it for writing"
        if error.errno not in {errno.EACCES, errno.EPERM}:
            return "use another mount or file system"
        sticky = error.errno == errno.EPERM and mount["rights"][-1] in "tT"
        if sticky and mount["owner"] != daemon:
            return f"the folder is sticky; run: chmod -t {path}"
        if wants_polling(mount["type"]):
            return f"mount it for {daemon} (CIFS: uid=, forceuid), or mend the rights on its server"
        return (
            f"give {daemon} rights, for now and for what is yet to come: "
            f"setfacl -m u:{daemon}:rwx -d -m u:{daemon}:rwX {path}"
        )

    def soon(self, there: Callable[[], bool]) -> float | None:
        """Seconds until it was so; `None` when it did not become so in time."""
        began = time.monotonic()
        while not there():
            if time.monotonic() - began > SOON:
                return None
            time.sleep(0.002)
        return time.monotonic() - began
