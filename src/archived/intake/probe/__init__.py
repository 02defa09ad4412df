"""Can this folder be a hot folder? Tried on the folder itself, with the daemon's own calls.

Every file it makes has a name that running daemons pass by: nothing of it comes on record. A
verdict is "yes", "no" or "not established"; what could not be tried is never called "yes".
"""

from __future__ import annotations

import os
import pwd
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from archived.intake.file_errors import sentence
from archived.intake.probe import custody, mount, names
from archived.intake.probe.deeds import name_of
from archived.intake.probe.ground import FACTS, PREFIX, Answer, Found, Ground, Report, Verdict
from archived.intake.probe.hands import Hand, NoAnswer

__all__ = ["FACTS", "PREFIX", "Found", "Report", "Verdict", "probe"]


def probe(
    folder: Path, writer: pwd.struct_passwd | None, daemon: pwd.struct_passwd | None
) -> Report:  # fmt: skip
    """Try everything in `folder`: `writer` writes as a scanner, `daemon` looks as the daemon.

    `None` is whoever runs this; anybody else needs root. Takes some seconds, more on a slow mount.
    Leaves nothing behind, also when it is interrupted or killed. Must be called while the process
    has one thread: it forks.
    """
    us = name_of(os.geteuid())
    report = Report(folder, writer.pw_name if writer else us, daemon.pw_name if daemon else us)
    report.facts.update(dict.fromkeys(FACTS))
    with _hands(folder, writer, daemon) as (w, d):
        _run(Ground(report, w, d))
    return report


@contextmanager
def _hands(
    folder: Path, writer: pwd.struct_passwd | None, daemon: pwd.struct_passwd | None
) -> Iterator[tuple[Hand, Hand]]:  # fmt: skip
    prefix = f"{PREFIX}{secrets.token_hex(4)}-"
    # Root's own comes last: it sweeps up what the others were not allowed to remove.
    users = [writer, daemon, *([None] if os.geteuid() == 0 else [])]
    hands: list[Hand] = []
    try:
        for user in users:
            hands.append(Hand(folder, prefix, user))
        yield hands[0], hands[1]
    finally:
        for hand in hands:
            hand.let_go()


def _run(g: Ground) -> None:
    try:
        first = ("there", "the daemon can list the folder", True, mount.there)
        if _try(g, *first) != "yes":
            return
        _try(g, "user", "this was tried with the daemon's own rights", False, mount.user)
        _try(g, "mount", "what lies there outlives a power cut", None, mount.mounted)
        if _try(g, "writable", "the writer can make files", True, mount.writable) != "yes":
            _give_up(g, "nothing could be written", "")
            return
        for trial in _TRIALS:
            _try(g, *trial)
    except NoAnswer:
        # A hand that is gone took its files with it: what the other found would say nothing.
        _give_up(g, "the folder did not answer", "look at the mount and its server; dmesg tells")


def _give_up(g: Ground, why: str, todo: str) -> None:
    what = "all that was still to be tried"
    g.report.found.append(Found("rest", what, "not established", why, todo, needed=True))


_TRIALS: tuple[tuple[str, str, bool | None, Callable[[Ground], Answer]], ...] = (
    ("owner", "it is known who owns new files", False, custody.owner),
    ("bytes", "the daemon reads the very bytes that were written", True, custody.read),
    ("growth", "a file being written is seen to grow", False, custody.growth),
    ("overwrite", "bytes changed in place are noticed", False, custody.overwrite),
    ("open", "it is known whether somebody still writes", False, custody.still_open),
    ("fsync", "files and folder can be made durable", True, custody.fsync),
    ("rename", "a renamed file keeps its identity", True, custody.rename),
    ("no-replace", "renameat2(RENAME_NOREPLACE) works", False, custody.no_replace),
    ("links", "hard links work", False, custody.links),
    ("claim", "the daemon can take a name away from the writer", True, custody.claim),
    ("victim", "taking a name never destroys another file", True, custody.victim),
    ("remove", "the daemon can remove what the writer wrote", True, custody.remove),
    ("below", "the daemon can empty a folder of the writer's", False, custody.below),
    ("withdrawn", "a file taken away is seen to be gone", True, custody.withdrawn),
    ("atomic", "a replaced file is always there, and whole", False, custody.atomic),
    ("nfd", "accents stay as they were typed", False, names.nfd),
    ("long", "names of 255 bytes work", False, names.longest),
    ("newline", "names with a line feed work", False, names.newline),
    ("encoding", "names in old encodings work", False, names.not_utf8),
    ("case", "upper and lower case are two names", False, names.case),
    ("mtime", "times are finer than a second", False, mount.mtime),
    ("clock", "the folder's clock is ours", False, mount.clock),
    ("events", "the kernel tells of changes", False, mount.events),
    ("room", "there is room for scans", False, mount.room),
)
"""Code, what is tried, whether it is needed (`None`: only a "no" is in the way), and how."""


def _try(
    g: Ground, code: str, what: str, needed: bool | None, trial: Callable[[Ground], Answer]
) -> Verdict:  # fmt: skip
    try:
        verdict, why, todo = trial(g)
    except NoAnswer:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a file system does, it is told in words
        verdict, why, todo = "not established", f"the trial broke: {sentence(error)}", ""
    in_the_way = verdict == "no" if needed is None else needed
    g.report.found.append(Found(code, what, verdict, why, todo, in_the_way))
    return verdict
