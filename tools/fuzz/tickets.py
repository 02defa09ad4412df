"""Damaged tickets through the daemon's own reader, in its own process: there it must not err.

Every ticket ends as read or as refused with a documented code, at once and within little memory;
what was read leads nowhere outside its folder.
"""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Collection
from pathlib import PurePosixPath
from typing import Any

from archived.ingest.tickets import (
    MOST_BYTES,
    Ticket,
    TicketProblem,
    compare,
    digest_problem,
    read_ticket,
    received_names,
    secrecy_problem,
)
from tools.fuzz.child import Case, Verdict
from tools.fuzz.seeds import Seed

STAGE = "ticket"
SECONDS = 3.0
"""A desk reads it between two looks at its folder."""
MEMORY = 96 << 20
"""Bytes for a ticket of at most a megabyte."""
LONGEST_REASON = 4096
_PRESENT = {"0001.tif": 920, "sub/0002.tif": 0, "quyết định.pdf": 10_160}

_FILES: list[dict[str, Any]] = [
    {"path": "0001.tif", "size": 920, "sha256": "0" * 64, "pages": 2, "document": "a"},
    {"path": "sub/0002.tif", "document": "a", "note": "mặt sau"},
    {"path": "quyết định.pdf", "sha512": "f" * 128, "box": "12"},
]
_HEAD = {"dossier": "H01.02.2026", "title": "Hồ sơ đất đai", "secrecy": "Mật", "count": 3}


def seeds() -> list[Seed]:
    """Sound tickets in every format and encoding that is read."""
    as_json = json.dumps({**_HEAD, "files": _FILES}, ensure_ascii=False, indent=1)
    rows = ["path;size;sha256;document;note", "0001.tif;920;;a;", 'sub/0002.tif;;;a;"mặt; sau"']
    as_csv = "\r\n".join(rows)
    files = "".join(f"<file><path>{f['path']}</path><note>x</note></file>" for f in _FILES)
    as_xml = f"<?xml version='1.0'?><ticket><dossier>H01</dossier>{files}</ticket>"
    found = []
    for kind, text in (("json", as_json), ("csv", as_csv), ("xml", as_xml)):
        for encoding in ("utf-8", "utf-16"):
            data = text.encode(encoding)
            found.append(Seed(f"{kind} {encoding}", data, kind, (STAGE,)))
    return found


def run(case: Case, codes: Collection[str]) -> Verdict:
    """Read one, and compare it with a folder."""
    complaints: list[str] = []
    tracemalloc.start()
    began = time.thread_time()  # others may be at work on this machine
    ending, code = "finished", ""
    try:
        ticket = read_ticket(f"ticket.{case.extension}".encode(), case.data)
        problems = [*compare(ticket, _PRESENT), secrecy_problem(ticket, "")]
        received_names(ticket, _PRESENT)
        problems += [digest_problem(listed, "0" * 64, "f" * 128) for listed in ticket.files]
        complaints += _leads_astray(ticket)
        for problem in problems:
            if problem is not None:
                complaints += _unclear(problem.code, problem.reason, codes)
                ending, code = "refused", problem.code
    except TicketProblem as problem:
        ending, code = "refused", problem.code
        complaints += _unclear(problem.code, problem.reason, codes)
    except Exception as error:  # noqa: BLE001 - that it raises is the finding
        ending = "broke intake"
        complaints.append(f"the daemon's side raised {type(error).__name__}: {error}"[:300])
    seconds, (_, memory) = time.thread_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    if seconds > SECONDS:
        complaints.append(f"took {seconds:.1f} s")
    if memory > MEMORY:
        complaints.append(f"took {memory >> 20} MiB for {len(case.data)} bytes")
    if ending == "finished" and len(case.data) > MOST_BYTES:
        complaints.append(f"{len(case.data)} bytes were read")
    return Verdict(case, ending, code, seconds, memory, tuple(complaints))


def _leads_astray(ticket: Ticket) -> list[str]:
    found = []
    for listed in ticket.files:
        path = PurePosixPath(listed.path)
        parts = listed.path.split("/")
        if path.is_absolute() or {"", ".", ".."} & set(parts) or "\0" in listed.path:
            found.append(f"the path {listed.path[:80]!r} leads out of the folder")
    return found


def _unclear(code: str, reason: str, codes: Collection[str]) -> list[str]:
    found = []
    if code not in codes:
        found.append(f"the code {code!r} is not documented")
    if not reason.strip():
        found.append(f"{code} gives no reason")
    if len(reason) > LONGEST_REASON:
        found.append(f"{code} gives a reason of {len(reason)} characters")
    if any(not c.isprintable() for c in reason):
        found.append(f"{code}: its reason holds what a terminal may obey: {reason[:80]!r}")
    return found
