"""SIGKILL while dossiers are taken in: each is archived whole, with its ticket, or not at all."""

from __future__ import annotations

import hashlib
import json
import random
import time
from dataclasses import replace
from pathlib import Path

from tools.fault.installation import Installation, living
from tools.fault.judge import Outcome, settled
from tools.fault.load import Load
from tools.trial import HOT

_RULES = {"dossiers": True, "closed_by": ["ticket"], "arrival_deadline": "1 min"}


def batches(folder: Path, *, rounds: int, seed: int) -> Outcome:
    """Two dossiers a life: some files are documents of their own, some pages of one document."""
    dice = random.Random(seed)
    began = time.monotonic()
    with living(Installation(folder, tables={f"hotfolder.{HOT}": _RULES})) as installation:
        load = Load(dice, installation.hot())
        wanted: dict[str, list[int]] = {}
        for number in range(rounds):
            installation.start_somehow(dice)
            for code in (f"HS-{number}-a", f"HS-{number}-b"):
                wanted[code] = _dossier(dice, load, code)
            time.sleep(dice.uniform(0.2, 2.0))
            installation.acknowledge()
            installation.kill(whole=dice.random() < 0.3)
        found = settled(
            installation,
            load,
            rounds=rounds,
            began=began,
            documents=sum(len(sizes) for sizes in wanted.values()),
            remarks=lambda: f"{len(wanted)} dossiers",
        )
        return replace(found, disagreements=[*found.disagreements, *_broken(installation, wanted)])


def _dossier(dice: random.Random, load: Load, code: str) -> list[int]:
    """Drop one, the ticket last; returns how many files each of its documents has."""
    sizes = [dice.choice([1, 1, 2, 5]) for _ in range(dice.randint(1, 4))]
    files = []
    for document, pages in enumerate(sizes):
        for page in range(pages):
            content = load.content()
            name = f"{document}-{page}.pdf"
            load.put(content, f"{code}/{name}")
            files.append(
                {
                    "path": name,
                    "document": str(document),
                    "sha256": hashlib.sha256(content).hexdigest(),
                }
            )
    ticket = json.dumps({"dossier": code, "count": len(files), "files": files})
    load.put(ticket.encode(), f"{code}/ticket.json", expected=False)
    return sizes


def _broken(installation: Installation, wanted: dict[str, list[int]]) -> list[str]:
    """Dossiers that are not what their tickets said."""
    found: dict[str, list[int]] = {}
    for row in installation.rows(
        "SELECT dossier, document.id, count(*) AS files FROM document JOIN artifact "
        "ON artifact.document = document.id WHERE role = 'original' "
        "GROUP BY document.id ORDER BY document.id"
    ):
        found.setdefault(row["dossier"], []).append(row["files"])
    tickets = {
        row["dossier"]: row["n"]
        for row in installation.rows(
            "SELECT dossier, count(*) AS n FROM document JOIN artifact "
            "ON artifact.document = document.id WHERE artifact.name = 'ticket.json' "
            "GROUP BY dossier"
        )
    }
    return [
        f"{code}: documents of {found.get(code)} files and {tickets.get(code, 0)} tickets, "
        f"not of {sizes} and 1"
        for code, sizes in wanted.items()
        if found.get(code) != sizes or tickets.get(code) != 1
    ]
