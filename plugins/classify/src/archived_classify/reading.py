"""What a field's reading is: a value with its evidence, or no value and the reason."""

from __future__ import annotations

from dataclasses import dataclass

from archived_classify.text import Evidence, Line, Page, squeeze

FIELDS = (
    "type_name",
    "type_abbr",
    "number",
    "notation",
    "code",
    "issued_date",
    "place",
    "organ",
    "parent_organ",
    "subject",
    "signer",
    "signer_title",
    "secrecy",
    "urgency",
)
"""Every field there is, in the order they are given."""


@dataclass(frozen=True, slots=True)
class Field:
    """`value` with `confidence` (0-1: a rank for the review queue, not a probability), or `why`."""

    value: str | None = None
    confidence: float = 0.0
    evidence: Evidence | None = None
    why: str = ""

    def facts(self) -> dict[str, object]:
        """As JSON. Evidence beside `why` shows where a person should look."""
        seen = {"evidence": self.evidence.facts()} if self.evidence else {}
        if self.value is None:
            return {"value": None, "why": self.why, **seen}
        return {"value": self.value, "confidence": round(self.confidence, 2), **seen}


def read(line: Line, confidence: float, value: str | None = None) -> Field:
    """A field read from one stretch; the value is its text, white space squeezed."""
    return Field(value or squeeze(line.text), confidence, line.evidence)


def missing(why: str, line: Line | None = None) -> Field:
    """A field not established."""
    return Field(why=why, evidence=line.evidence if line else None)


def span(page: Page, parts: list[Line]) -> Evidence:
    """Evidence from the first part's start to the last one's end."""
    return page.evidence(min(p.start for p in parts), max(p.end for p in parts))
