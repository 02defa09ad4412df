"""What plug-ins and the MQTT broker are told, after it has been committed.

An event is a fact about the past; observing it cannot change it. `EVENTS` is the complete list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any

EVENTS: Mapping[str, str] = MappingProxyType(
    {
        "document-admitted": "A document is in custody: durable in the spool and on record.",
        "step-finished": "A stage ended well on a document.",
        "step-skipped": "A stage does not accept this document's type and was passed over.",
        "step-postponed": "A stage waits for the world; it will be tried again.",
        "step-refused": "A stage decided that the document must not go on.",
        "step-failed": "A stage failed; it will be tried again, or the document is held.",
        "document-divided": "A document was cut into parts, which are documents of their own now.",
        "review-required": "A stage ended well and asks that a person looks; the document is "
        "held, or goes on where its hot folder says so.",
        "document-held": "A person must decide about a document.",
        "document-released": "A person decided that a held document goes on.",
        "document-rejected": "A person decided that a held document is not archived.",
        "document-retried": "A person asked for the held or waiting step to be tried again.",
        "document-sealed": "The document's OCFL object is durable in the store.",
        "document-upgraded": "A stage improved a sealed document; its object has a new version, "
        "which is copied again.",
        "document-safe": "The wanted number of copies was written and read back.",
        "arrival-repeated": "The same bytes arrived again; both arrivals point to one document.",
        "arrival-ignored": "A file in a hot folder was left alone under a named rule.",
        "arrivals-ignored": "Many files of a hot folder were left alone; how many under each rule.",
        "document-source-grew": "More was written to its file after it was taken in; "
        "what came is a new arrival.",
        "arrival-held": "A file in a hot folder cannot be taken in; a person must act.",
        "arrivals-held": "Many files of a hot folder cannot be taken in; how many under each code.",
        "intake-paused": "Nothing is taken in for now, and why.",
        "intake-resumed": "Intake goes on.",
    }
)
"""Event name -> what happened. Names are an interface."""


@dataclass(frozen=True, slots=True)
class Event:
    """One fact. `sequence` is its place in the outbox; `facts` is small and JSON."""

    name: str
    at: datetime
    sequence: int = 0
    document: str | None = None
    hotfolder: str | None = None
    facts: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
