"""Scores the extraction on real documents whose truth is known. A measurement, not a test.

    python score.py TEXTS DOCUMENTS.json [--half dev|held] [--wrong]

TEXTS holds one sidecar per document, named like the document's `file` with "/" as "_" and ".txt"
appended. DOCUMENTS.json has a list `documents` with the fields' true values. The two halves are
drawn here: stratified by content and kind, seed 20261121. Rules were written on `dev` only.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections import Counter, defaultdict
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from archived_classify import Options
from archived_classify.extraction import classify
from archived_classify.profile import load
from archived_classify.reading import FIELDS

TEXTUAL = {"place", "organ", "parent_organ", "subject", "signer", "signer_title"}


def halves(documents: list[dict[str, Any]]) -> dict[str, str]:
    """File -> half."""
    strata: dict[tuple[str, str], list[str]] = defaultdict(list)
    for document in documents:
        strata[document["content"], document["kind"]].append(document["file"])
    draw, half, flip = random.Random(20261121), {}, False
    for stratum in sorted(strata):
        files = sorted(strata[stratum])
        draw.shuffle(files)
        for file in files:
            half[file] = "held" if flip else "dev"
            flip = not flip
    return half


def plain(value: str) -> str:
    return re.sub(r"\s+", " ", value).strip()


def verdict(name: str, truth: str | None, found: str | None) -> str:
    """One of: right, near, wrong, lost, invented, absent."""
    if truth is None or found is None:
        if truth is None:
            return "absent" if found is None else "invented"
        return "lost"
    if plain(truth) == plain(found):
        return "right"
    close = SequenceMatcher(None, plain(truth), plain(found), autojunk=False).ratio() >= 0.9
    return "near" if name in TEXTUAL and close else "wrong"


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("texts", type=Path)
    ask.add_argument("documents", type=Path)
    ask.add_argument("--half", choices=["dev", "held"])
    ask.add_argument("--wrong", action="store_true", help="list what is not right")
    given = ask.parse_args()
    documents = json.loads(given.documents.read_text())["documents"]
    profiles, half = load(Options().profiles), halves(documents)
    sure: dict[str, dict[float, Counter[bool]]] = defaultdict(lambda: defaultdict(Counter))
    table: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for document in documents:
        which, path = (
            half[document["file"]],
            given.texts / (document["file"].replace("/", "_") + ".txt"),
        )
        if (given.half and which != given.half) or not document["labelled"] or not path.exists():
            continue
        reading = classify(path.read_text(), profiles)
        for name in FIELDS:
            truth, field = document[name], reading.found[name]
            said = verdict(name, truth, field.value)
            table[which][name][said] += 1
            if field.value is not None:
                sure[which][round(field.confidence, 2)][said in ("right", "near")] += 1
            if given.wrong and said not in ("right", "absent"):
                print(
                    f"{document['file'][:28]:28} {name:12} {said:8} {truth!r}\n{'':50}"
                    f" {field.value!r} {field.why}"
                )
    for which, rows in sorted(table.items()):
        print(f"\n{which}: {sum(rows['number'].values())} labelled documents")
        print(f"{'field':13} present right near wrong lost | absent: kept invented | precision")
        for name in FIELDS:
            c = rows[name]
            present = c["right"] + c["near"] + c["wrong"] + c["lost"]
            said = c["right"] + c["near"] + c["wrong"] + c["invented"]
            precise = f"{(c['right'] + c['near']) / said:.2f}" if said else "-"
            print(
                f"{name:13} {present:7} {c['right']:5} {c['near']:4} {c['wrong']:5} {c['lost']:4} |"
                f" {c['absent']:12} {c['invented']:8} | {precise:>9}"
            )
        print("confidence: right of all")
        for level, c in sorted(sure[which].items()):
            print(f"  {level:.2f}: {c[True]:3} of {c.total():3}")


if __name__ == "__main__":
    main()
