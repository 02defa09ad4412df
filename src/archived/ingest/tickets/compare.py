"""Does what lies in the folder agree with its ticket? Pure: names and numbers in, problems out.

Every problem of a batch is told at once, each kind in one sentence of bounded length.
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping

from archived.ingest.hold_reasons import BatchProblem, named
from archived.ingest.tickets.validate import ListedFile, Ticket
from archived.message import Message
from archived.model import secrecy
from archived.model.ids import readable


def compare(
    ticket: Ticket, present: Mapping[str, int], *, extra_is_fine: bool = False
) -> list[BatchProblem]:
    """What differs between the ticket and the files that are there.

    `present`: path relative to the dossier's folder, as received (`os.fsdecode`), without the
    ticket itself and what is left alone by rule -> size in bytes. Digests are compared while the
    bytes are read, by `digest_problem`.
    """
    problems = [*_counted(ticket, present)]
    if not ticket.files:
        return problems
    by_name, unclear = _by_name(present)
    listed = Counter(file.path for file in ticket.files)
    missing = [path for path in listed if path not in by_name]
    extra = [name for name in by_name if name not in listed]
    alike = _alike(missing, extra)
    problems += _told("ticket-duplicate", (p for p, times in listed.items() if times > 1))
    problems += _told(
        "ticket-duplicate", unclear, Message("two spellings of one name lie in the folder: ")
    )
    problems += _told(
        "ticket-files-missing",
        (
            Message("{p} (the folder has {shown})", p=p, shown=shown(alike[p])) if p in alike else p
            for p in missing
        ),
    )
    if not extra_is_fine:
        taken = set(alike.values())
        problems += _told("ticket-files-extra", (n for n in extra if n not in taken))
    problems += _told(
        "ticket-size", _wrong_sizes(ticket, {n: present[r] for n, r in by_name.items()})
    )
    return problems


def received_names(ticket: Ticket, present: Iterable[str]) -> dict[str, str]:
    """Path in the ticket -> the same path as received, for every listed file that is there.

    Names agree when they are equal in NFC: a ticket and a share may type accents differently.
    """
    by_name, _ = _by_name(present)
    return {file.path: by_name[file.path] for file in ticket.files if file.path in by_name}


def digest_problem(listed: ListedFile, sha256: str, sha512: str) -> BatchProblem | None:
    """Whether bytes with these digests (hex) are the file the ticket lists."""
    wrong = [
        kind
        for kind, claimed, found in (
            ("SHA-256", listed.sha256, sha256),
            ("SHA-512", listed.sha512, sha512),
        )
        if claimed is not None and claimed != found.lower()
    ]
    if not wrong:
        return None
    return BatchProblem("ticket-digest", f"{listed.path} ({' and '.join(wrong)})")


def secrecy_problem(ticket: Ticket, declared: str) -> BatchProblem | None:
    """Whether the ticket's level is above the one declared for the hot folder; both are words."""
    if not secrecy.exceeds(ticket.secrecy, declared):
        return None
    said, has = secrecy.level(ticket.secrecy).printed, secrecy.level(declared).printed
    return BatchProblem(
        "ticket-secrecy",
        Message('it says "{said}", the hot folder is declared "{has}"', said=said, has=has),
    )


def shown(name: str) -> str:
    """A received path for people."""
    return readable(os.fsencode(name))


def _counted(ticket: Ticket, present: Mapping[str, int]) -> Iterable[BatchProblem]:
    claimed = ticket.expected
    if claimed is None:
        return
    if ticket.files and claimed != len(ticket.files):
        yield BatchProblem(
            "ticket-count",
            Message(
                "it claims {claimed} and lists {count}", claimed=claimed, count=len(ticket.files)
            ),
        )
    if not ticket.files and claimed != len(present):
        yield BatchProblem(
            "ticket-count",
            Message(
                "it claims {claimed}, and there are {count}", claimed=claimed, count=len(present)
            ),
        )


def _by_name(present: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """(name in NFC -> as received, names that two files share)."""
    found: dict[str, str] = {}
    unclear: list[str] = []
    for received in present:
        name = unicodedata.normalize("NFC", received)
        if name in found:
            unclear.append(name)
        found[name] = received
    return found, unclear


def _alike(missing: Iterable[str], extra: Iterable[str]) -> dict[str, str]:
    """Missing path -> the one that differs from it in capitals only, if there is one."""
    folded = {name.casefold(): name for name in extra}
    return {path: folded[path.casefold()] for path in missing if path.casefold() in folded}


def _wrong_sizes(ticket: Ticket, sizes: Mapping[str, int]) -> Iterable[str]:
    for file in ticket.files:
        size = sizes.get(file.path)
        if file.size is not None and size is not None and size != file.size:
            yield Message(
                "{path} ({size} bytes, not {claimed})", path=file.path, size=size, claimed=file.size
            )


def _told(code: str, names: Iterable[str], lead: str = "") -> Iterable[BatchProblem]:
    every = [shown(name) for name in names]
    if every:
        yield BatchProblem(code, lead + named(every))
