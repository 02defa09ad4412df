"""From the sidecar's text to a reading: the profile that fits best, and every field of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from archived.api import Message
from archived_classify import header, marks, signature, subject
from archived_classify.header import Head, read_head
from archived_classify.marks import Mark
from archived_classify.profile import Profile, TypeEntry
from archived_classify.reading import FIELDS, Field, missing, read
from archived_classify.text import Page, fold, pages

FIRST_PAGES = 3
_JOINT = re.compile(r"[-/]")


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of one document."""

    profile: str | None
    found: dict[str, Field]
    secrecy: Mark | None
    notes: tuple[str, ...]

    def fields(self) -> dict[str, dict[str, object]]:
        """Every field in order, as JSON."""
        return {name: self.found[name].facts() for name in FIELDS}


def classify(text: str, profiles: Sequence[Profile]) -> Reading:
    """Read a whole sidecar. Never raises for what the text says."""
    whole = pages(text)
    secrecy = _mark(whole, profiles, "secrecy")
    urgency = _mark(whole[:1], profiles, "urgency")
    best = _best(whole, profiles)
    found = dict.fromkeys(FIELDS, missing(_no_head(whole)))
    notes: list[str] = []
    if best is not None:
        head, profile = best
        found.update(_fields(head, profile, whole))
        if head.number is not None and head.number.draft:
            notes.append(Message("the place of the number is empty: perhaps a draft"))
    else:
        notes.append(Message("no profile fits: {no_head}", no_head=_no_head(whole)))
    found["secrecy"] = _mark_field(secrecy, whole, "secrecy")
    found["urgency"] = _mark_field(urgency, whole[:1], "urgency")
    return Reading(best[1].name if best else None, found, secrecy, tuple(notes))


def _no_head(whole: Sequence[Page]) -> str:
    if all(page.blank for page in whole):
        return "not established: the document has no text"
    return f"not established: no head of a known layout on the first {FIRST_PAGES} pages"


def _mark(whole: Sequence[Page], profiles: Sequence[Profile], kind: str) -> Mark | None:
    entries = [m for p in profiles for m in getattr(p, kind)]
    regime = tuple(dict.fromkeys(phrase for p in profiles for phrase in p.regime))
    return marks.find(whole, entries, regime)


def _mark_field(mark: Mark | None, looked: Sequence[Page], kind: str) -> Field:
    if mark is not None:
        return Field(mark.value, 0.9, mark.evidence)
    blank = [str(page.number) for page in looked if page.blank]
    if blank and len(blank) == len(looked):
        return missing("not established: there is no text to look for a mark in")
    aside = f"; not looked at, having no text: page {', '.join(blank)}" if blank else ""
    return missing(f"no {kind} mark stands in the text{aside}")


def _best(whole: Sequence[Page], profiles: Sequence[Profile]) -> tuple[Head, Profile] | None:
    best: tuple[int, Head, Profile] | None = None
    for page in whole[:FIRST_PAGES]:
        for profile in profiles:
            head = read_head(page, profile)
            if page.number > 1 and not head.regime:
                continue  # a later page is a first page only when it has a first page's head
            score = _score(head, profile)
            if score >= 2 and (best is None or score > best[0]):
                best = (score, head, profile)
        if best is not None and best[0] >= 4:
            break
    return (best[1], best[2]) if best else None


def _score(head: Head, profile: Profile) -> int:
    score = 2 * min(head.regime, 1)
    if head.title is not None:
        score += 2 if head.title.confidence >= 0.7 else 1
    if head.number is not None:
        score += 2 if head.number.form in profile.number_forms else 0
        score += 1 if fold(head.number.head) in profile.codes else 0
    return score


def _fields(head: Head, profile: Profile, whole: Sequence[Page]) -> dict[str, Field]:
    organ, parent = header.organs(head, profile)
    block = signature.find(whole[head.page.number - 1 :], profile)
    name, abbreviation = _type(head, profile)
    found = {
        "type_name": name,
        "type_abbr": abbreviation,
        "organ": organ,
        "parent_organ": parent,
        "subject": subject.find(head, profile),
        "signer": block.signer,
        "signer_title": block.title,
    }
    number = head.number
    absent = missing("no number line stands in the head")
    found["number"] = number.number if number else absent
    found["notation"] = number.notation if number else absent
    found["code"] = number.code if number else absent
    dated = head.place_date
    undated = missing("no place and date stand in the head")
    found["issued_date"] = dated.issued if dated else undated
    found["place"] = dated.place if dated else undated
    return found


def _type(head: Head, profile: Profile) -> tuple[Field, Field]:
    """Type and abbreviation. The centred title decides; the code only where there is none."""
    number = head.number
    printed = profile.codes.get(fold(number.head), ()) if number else ()
    if head.title is not None:
        entry, title = head.title.entry, head.title
        return read(title.line, title.confidence, entry.name), _abbreviation(entry, head, printed)
    if number is not None and len(printed) == 1:
        entry = printed[0]
        where = number.notation
        return Field(entry.name, 0.6, where.evidence), _abbreviation(entry, head, printed)
    if len(printed) > 1:
        names = " or ".join(entry.name for entry in printed)
        why = missing(f"the code stands for {names} and there is no title to decide")
        return why, why
    if number is not None and profile.dispatch and _addressed(head):
        return (
            Field(profile.dispatch, 0.75, number.line.evidence),
            missing("a dispatch's number names no type"),
        )
    why = missing("there is no title of a known type, and the number names none")
    return why, why


def _addressed(head: Head) -> bool:
    return any(re.search(r"KINH G[UO]I|\bV\s?/\s?V\b", line.folded) for line in head.lines)


def _abbreviation(entry: TypeEntry, head: Head, printed: tuple[TypeEntry, ...]) -> Field:
    number = head.number
    if number is not None and entry in printed:
        where = number.notation.evidence
        return Field(entry.code, 0.95, where)
    if entry.code is None:
        return missing(f"{entry.name} has no abbreviation")
    if number is not None and not _JOINT.search(number.notation.value or ""):
        return missing("the number names no type", number.line)
    # The title is plain and the code beside it is not: the list knows what it should be.
    return Field(entry.code, 0.5, head.title.line.evidence if head.title else None)
