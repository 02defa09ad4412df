"""What of a document nobody read: facts about its ink, and what a person is asked to look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from archived.api import Artifact, Message, Region, Review, sequence
from archived_ocr.coverage import NAMES, Ink
from archived_ocr.job import Job, displayed
from archived_ocr.shapes import Group

CODE = "unread-content"
REASONS = {
    "text": "marks that look like text and were not read",
    "no-words": "something on the page, and no words were read",
    "no-language": "letters that are no words of any language",
    "mostly-unread": "most of the page is neither text that was read nor known to be no text",
}
"""Why a page is not established -> how that is said."""
_BOXES = 12
"""Boxes of one page in the facts: what a person must look at, then the largest."""
_PAGES = 500
"""Pages in the facts whose marks are told. A page that stops the document is told in any case."""
_PICTURES = 60
"""Crops of one document; further regions are told without one."""
_QUIET = {"dust", "rule", "edge-shadow"}
"""Kinds that are counted, not listed: every scan has them."""

NewPicture = Callable[[str], Artifact]


def facts(job: Job, *, delivered: bool) -> dict[str, Any]:
    """The fact `ink`: by page, what was not read and what it is instead, with boxes."""
    told: dict[str, Any] = {}
    for page, found in sorted(job.inks.items()):
        one = _page(found, _back(job, page, delivered))
        if one and (len(told) < _PAGES or found.reason):
            told[str(page + 1)] = one
    return {"ink": told} if told else {}


def _page(found: Ink, angle: int) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if marks := marks_of(found, angle):
        told["marks"] = marks
    if found.reason:
        told |= {"reason": found.reason, "unread": round(found.share, 4)}
    return told


def marks_of(found: Ink, angle: int = 0) -> list[dict[str, Any]]:
    """Kind and box of the marks of one page that are worth telling."""
    unread = set(map(id, found.unread))
    order = sorted(found.groups, key=lambda g: id(g) not in unread)
    told = [g for g in order if NAMES[g.kind] not in _QUIET][:_BOXES]
    return [{"kind": NAMES[g.kind], "box": _rounded(_shares(g, found, angle))} for g in told]


def _rounded(box: tuple[float, ...]) -> list[float]:
    return [round(v, 4) for v in box]


def _shares(group: Group, found: Ink, angle: int) -> tuple[float, float, float, float]:
    width, height = (max(1, v) for v in found.size)
    left, top, right, bottom = group.box
    if right <= left or bottom <= top:
        return 0.0, 0.0, 1.0, 1.0
    box = (
        max(0.0, left / width),
        max(0.0, top / height),
        min(1.0, right / width),
        min(1.0, bottom / height),
    )
    return displayed(box, angle)


def _back(job: Job, page: int, delivered: bool) -> int:
    """How to turn boxes so that they fit the main artifact: one that stayed was never turned."""
    return 0 if delivered else -job.turned.get(page, 0) % 360


def reviews(
    job: Job | None, new_picture: NewPicture, also: Sequence[str], *, delivered: bool
) -> tuple[list[Review], list[Artifact]]:
    """What a person is asked to look at, and the pictures that show it."""
    regions: list[Region] = []
    made: list[Artifact] = []
    pages: dict[str, list[int]] = {}
    for page, found in sorted(job.inks.items()) if job else ():
        if job is None or not found.reason:
            continue
        pages.setdefault(found.reason, []).append(page + 1)
        shown = job.pictures.get(page, [])
        groups = found.unread
        whole = found.reason != "text" or len(shown) < len(groups)
        for n, data in enumerate(shown):
            name = f"unread-page-{page + 1:04d}-{n + 1}.png"
            picture = ""
            if len(made) < _PICTURES:
                artifact = new_picture(name)
                artifact.path.write_bytes(data)
                made.append(artifact)
                picture = name
            box = (0.0, 0.0, 1.0, 1.0)
            if not whole:
                box = _shares(groups[n], found, _back(job, page, delivered))
            kind = "unread-text" if found.reason == "text" else found.reason
            regions.append(Region(page + 1, box, kind, round(found.share, 4), picture))
    if not regions and not also:
        return [], []
    said = [
        Message("page(s) {some}: {reasons}", some=_some(numbers), reasons=REASONS[reason])
        for reason, numbers in pages.items()
    ]
    told = Message(
        "Not everything on the document was read. {value}", value=sequence([*also, *said], "; ")
    )
    review = Review(
        code="unread-content",
        message=told,
        hint=Message(
            "Look at the pictures: is there a mark of secrecy, or text that must be "
            "searchable? Scan the page again where the paper is clearer than the picture; "
            "release it otherwise."
        ),
        regions=regions[:1500],
    )
    return [review], made


def _some(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:15]))
    return shown if len(numbers) <= 15 else f"{shown} and {len(numbers) - 15} more"


def pages_of(job: Job) -> list[int]:
    """The pages (from 1) on which something was not read."""
    return [page + 1 for page, found in sorted(job.inks.items()) if found.reason]


def blank(inks: Mapping[int, Ink], page: int) -> bool:
    """Whether a page was found to be without any mark."""
    found = inks.get(page)
    return found is not None and found.blank
