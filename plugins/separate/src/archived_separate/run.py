"""What the stage does: look, plan, decide, cut. The order stands here; the rest is elsewhere."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from archived.api import (
    Artifact,
    Context,
    Document,
    Message,
    Part,
    Refuse,
    Result,
    digest_file,
    sequence,
)
from archived.api.cover_sheet import LEVELS
from archived_separate import errors, page_scan, pages, record, signed
from archived_separate.cutting import SUFFIXES, Cutter
from archived_separate.options import SeparateOptions
from archived_separate.pages import Place, Source
from archived_separate.plan import HELD_CODES, Plan, Rules, Segment, Suspicion
from archived_separate.planner import lay_out

_DECLARED = {"mật": 1, "mat": 1, "tối mật": 2, "toi-mat": 2, "tuyệt mật": 3, "tuyet-mat": 3}
"""A hot folder's level -> its place in `LEVELS`. What is not known counts as open: fail closed."""
_LOOKING = 0.8
"""Share of the work that is done when all pages have been looked at."""


def separate(document: Document, context: Context[SeparateOptions]) -> Result:
    """The parts and the plan. Raises `Refuse` where a person must decide."""
    options = context.options
    originals = document.originals or (document.main,)
    with errors.limits_in_force(options.max_megapixels):
        sources = pages.survey(originals, options.max_pages, options.max_megapixels)
        places = pages.in_order(sources, document.collation)
        with pages.Rasters(sources) as rasters:
            seen = page_scan.view(
                rasters, places, options, lambda done: context.progress(done * _LOOKING)
            )
        plan = lay_out(seen, _rules(options, document))
        _check_secrecy(plan, document)
        if not options.dry_run:
            _refuse(_held(plan, options))
        decision, why = _decision(plan, sources, options)
        parts, told = (
            _parts(document, context, sources, places, plan) if decision == "cut" else ([], [])
        )
    file = context.new_file(record.NAME, media_type="application/json")
    scanned = record.Scanned(sources, places, options.sides)
    record.write(file, document, scanned, plan, decision, told)
    return Result(
        add=[file],
        facts=record.facts(plan, decision),
        tools=record.tools(),
        notes=_notes(plan, why, sources),
        parts=parts,
    )


def _rules(options: SeparateOptions, document: Document) -> Rules:
    return Rules(
        patches=frozenset(options.patches),
        payload=options.payload,
        keep=options.separators == "keep",
        sides=options.sides,
        every=options.every,
        blank_pages=options.blank_pages,
        min_pages=options.min_pages,
        max_pages_each=options.max_pages_each,
        max_parts=options.max_parts,
        dossier=document.dossier,
    )


def _check_secrecy(plan: Plan, document: Document) -> None:
    """Before anything else, and in a dry run too: nothing may follow a level that is too high."""
    if not plan.secrecy:
        return
    if LEVELS.index(plan.secrecy) > _DECLARED.get(document.secrecy.strip().casefold(), 0):
        raise Refuse(
            Message(
                "a cover sheet says {printed!r}; the hot folder is declared {declared!r}",
                printed=plan.secrecy,
                declared=document.secrecy or "open",
            ),
            code="secrecy-above-declared",
            hint=HELD_CODES["secrecy-above-declared"],
        )


def _held(plan: Plan, options: SeparateOptions) -> list[Suspicion]:
    """The suspicions that a person must see, the weightiest first."""
    free = {"separator-unread"} if options.unread == "note" else set()
    if options.counts == "note":
        free |= {"sheets-missing", "sheets-extra", "sheets-uneven"}
    order = list(HELD_CODES)
    found = [s for s in plan.suspicions if s.code not in free]
    return sorted(found, key=lambda s: order.index(s.code))


def _refuse(held: Sequence[Suspicion]) -> None:
    if not held:
        return
    first = held[0]
    said = [_sentence(suspicion) for suspicion in held[:5]]
    told = sequence(said, "; ")
    if len(held) > 5:
        told = Message("{told}; and {more} more", told=told, more=len(held) - 5)
    raise Refuse(
        Message("{told}. Nothing was cut.", told=told),
        code=first.code,
        hint=Message(
            "{held_codes} Released, the document goes on uncut.", held_codes=HELD_CODES[first.code]
        ),
    )


def _sentence(suspicion: Suspicion) -> str:
    if suspicion.page is None:
        return suspicion.what
    return Message("{what} (page {page})", what=suspicion.what, page=suspicion.page)


def _decision(plan: Plan, sources: Sequence[Source], options: SeparateOptions) -> tuple[str, str]:
    """`cut`, `whole` or `dry-run`, and why it is not cut."""
    if not plan.separators and len(plan.segments) < 2:
        return "whole", Message("no separator was found: the document stays as it is")
    if options.dry_run:
        return "dry-run", Message(
            "it would become {count} documents; nothing was cut", count=len(plan.segments)
        )
    if any(source.is_pdf and signed.signed(source.path) for source in sources):
        if options.signed == "hold":
            raise Refuse(
                Message(
                    "The document is signed and has separators in it; a signed file is never cut"
                ),
                code="signed-original",
                hint=Message(
                    "Released, it is archived whole. To get its documents, scan the paper."
                ),
            )
        return "whole", Message("it is signed and was left whole, though it has separators in it")
    return "cut", ""


def _parts(
    document: Document,
    context: Context[SeparateOptions],
    sources: Sequence[Source],
    places: Sequence[Place],
    plan: Plan,
) -> tuple[list[Part], list[dict[str, Any]]]:
    parts: list[Part] = []
    told: list[dict[str, Any]] = []
    stem = re.sub(r"[^\w .()-]", "_", document.name.rpartition(".")[0] or document.name)[:80]
    count = len(plan.segments)
    with Cutter(sources) as cutter:
        for number, segment in enumerate(plan.segments, 1):
            made: list[Artifact] = []

            def new(kind: str, number: int = number, made: list[Artifact] = made) -> Path:
                made.append(context.new_part(f"{number:04}{SUFFIXES[kind]}", media_type=kind))
                return made[-1].path

            cut = cutter.cut([places[page - 1] for page in segment.pages], new)
            name = f"{stem}-{number:03}{SUFFIXES[cut.media_type]}"
            parts.append(Part(made[-1], name, segment.dossier, _part_facts(plan, segment, number)))
            told.append(
                {
                    "name": name,
                    "media_type": cut.media_type,
                    "how": cut.how,
                    "sha512": digest_file(cut.path),
                }
            )
            context.progress(_LOOKING + (1 - _LOOKING) * number / count)
    return parts, told


def _part_facts(plan: Plan, segment: Segment, number: int) -> dict[str, Any]:
    by = next((s for s in plan.separators if s.page == segment.separator), None)
    return {
        "part": number,
        "of": len(plan.segments),
        "pages": _ranges(segment.pages),
        "separator": None if by is None else {"page": by.page, "kind": by.kind, "said": by.said},
        "dossier": segment.dossier,
    }


def _ranges(numbers: Sequence[int]) -> str:
    """`2-5,7`: pages in few letters, for a document may have thousands."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in found)


def _notes(plan: Plan, why: str, sources: Sequence[Source]) -> tuple[str, ...]:
    reduced = sum(source.reduced for source in sources)
    told = [why] if why else []
    told += [
        Message("{code}: {sentence}", code=s.code, sentence=_sentence(s))
        for s in plan.suspicions[:20]
    ]
    told += plan.notes[:20]
    if reduced:
        told.append(f"{reduced} smaller copies of pages are in the file; they are no pages")
    if any(source.restricted for source in sources) and plan.separators:
        told.append("its owner restricts its use; parts of it carry no restriction")
    for dossier, (expected, found) in list(plan.sheets.items())[:20]:
        if expected is not None and found is None:
            told.append(
                f"dossier {dossier}: {expected} sheets expected; not established how many "
                "came, for sides is unknown"
            )
    return tuple(told)
