"""Whether the paper of a safe document may go back, and what must be said of it beside that. Pure.

Safe says that copies of its object were read back. That there are pages in it which somebody or
something looked at is another matter: a file without pages, or one that was let past a stage, is
as safe as any, and no reason to put paper away.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

from archived.model.secrecy import OF_PARTS

SIGNING = "signing"
"""In the facts of a seal's ledger entry: the stages of the document's pipeline that sign."""
_SIGNING_BEFORE = "sign"
"""The one stage that signed before seals said which do."""
_OF_PAGES = ("application/pdf", "image/*")


class PaperMark(StrEnum):
    """What sets a safe document apart from a scan that went through its whole pipeline."""

    NO_PAGES = "no-pages"
    """No page was counted in it, and it is no scan by its type."""
    RELEASED = "released"
    """A person let it go on without a stage before its seal, or as incomplete as it came."""
    UNSIGNED = "unsigned"
    """Its pipeline signs, and it carries neither our signature nor one of its own."""


_KEEP_PAPER = frozenset({PaperMark.NO_PAGES, PaperMark.RELEASED})


def marks(
    *,
    media_type: str,
    pages: int | None,
    signing: Collection[str],
    facts: Mapping[str, Mapping[str, Any]],
    releases: Sequence[Mapping[str, Any]],
) -> tuple[PaperMark, ...]:
    """What must be said of a document.

    `signing`: the stages of its pipeline that sign. `facts`: what each stage that ended well found.
    `releases`: the facts of the ledger's entries about releases before the seal.
    """
    found = []
    scan = any(fnmatchcase(media_type, pattern) for pattern in _OF_PAGES)
    if pages == 0 or (pages is None and not scan):
        found.append(PaperMark.NO_PAGES)
    if any(_left_out(facts) for facts in releases):
        found.append(PaperMark.RELEASED)
    if signing and not any(_is_signed(facts.get(stage)) for stage in signing):
        found.append(PaperMark.UNSIGNED)
    return tuple(found)


def signing_stages(seal: Mapping[str, Any], stages: Collection[str]) -> Collection[str]:
    """Which stages sign, by the facts of the seal's ledger entry; `stages`: the pipeline."""
    before = {_SIGNING_BEFORE} & set(stages)
    named: Collection[str] = seal.get(SIGNING, before)
    return named


def may_go_back(found: Collection[PaperMark]) -> bool:
    """Whether the paper of a safe document may go back without asking anybody."""
    return not _KEEP_PAPER & set(found)


def _left_out(facts: Mapping[str, Any]) -> bool:
    """Whether something was not done, or not there. Who looked at what a stage asked about has done
    the rest of its work; a decision about parts leaves no page out.
    """
    return "reviews" not in facts and facts.get("was") not in OF_PARTS


def _is_signed(facts: Mapping[str, Any] | None) -> bool:
    return facts is not None and (
        bool(facts.get("signed") or facts.get("pades")) or facts.get("reason") == "original-signed"
    )
