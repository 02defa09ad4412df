"""The split plan as it is written: `split-plan.json`, and the facts and sentences taken from it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, NamedTuple

from archived.api import Artifact, Document
from archived_separate.pages import Place, Source
from archived_separate.plan import Plan

NAME = "split-plan.json"
FORMAT = "archived-split-plan"
FORMAT_VERSION = 1


def tools() -> dict[str, str]:
    """Who does the work."""
    return {name: version(name) for name in ("zxing-cpp", "pypdfium2", "pikepdf", "pillow")}


def facts(plan: Plan, decision: str) -> dict[str, Any]:
    """What is kept under the stage's name; the rest stands in the plan."""
    return {
        "decision": decision,
        "pages": plan.pages,
        "separators": len(plan.separators),
        "documents": len(plan.segments),
        "suspicions": sorted({suspicion.code for suspicion in plan.suspicions}),
    }


class Scanned(NamedTuple):
    """What was looked at: the originals, where each page lies in them, and the option `sides`."""

    sources: Sequence[Source]
    places: Sequence[Place]
    sides: str


def write(
    file: Artifact,
    document: Document,
    scanned: Scanned,
    plan: Plan,
    decision: str,
    parts: Sequence[Mapping[str, Any]],
) -> None:
    """Write the plan; README.md of the plug-in has its fields."""
    originals = document.originals or (document.main,)
    body = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "decision": decision,
        "pages": plan.pages,
        "sides": scanned.sides,
        "collation": document.collation,
        "originals": [
            {"name": a.name, "media_type": a.media_type, "sha512": a.sha512, "pages": len(s.frames)}
            for a, s in zip(originals, scanned.sources, strict=True)
        ],
        "separators": [
            {
                "page": s.page,
                "kind": s.kind,
                "said": s.said,
                "dossier": s.dossier,
                "original": scanned.places[s.page - 1].source + 1,
            }
            for s in plan.separators
        ],
        "documents": [
            {"pages": list(s.pages), "separator": s.separator, "dossier": s.dossier, **part}
            for s, part in zip(plan.segments, parts or [{}] * len(plan.segments), strict=True)
        ],
        "dropped": plan.dropped,
        "sheets": {
            dossier: {"expected": expected, "found": found}
            for dossier, (expected, found) in plan.sheets.items()
        },
        "secrecy": plan.secrecy,
        "suspicions": [{"code": s.code, "what": s.what, "page": s.page} for s in plan.suspicions],
        "notes": plan.notes,
    }
    file.path.write_text(json.dumps(body, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
