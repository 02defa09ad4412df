"""What was typed or sent, before anything is looked up with it: text, and no more than people type.

A line of a shell may hold bytes that are no text, and JSON may hold halves of characters. The
catalog cannot be asked for either, nor for a name that is longer than any pattern may be.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archived.errors import ArchivedError
from archived.message import Message

LONGEST = 800
"""Characters of one argument of a question: a line of HTTP has room for no more, escaped."""
LONGEST_SAID = 4000
"""Characters of one text that comes with a decision, such as its note."""


def check(said: Mapping[str, Any], longest: int = LONGEST) -> None:
    """Raises `ArchivedError` when a text among these arguments cannot be kept or looked for."""
    for name, value in said.items():
        if not isinstance(value, str):
            continue
        if len(value) > longest:
            raise ArchivedError(
                Message(
                    "{name}: {count} characters; at most {longest} are taken",
                    name=name,
                    count=len(value),
                    longest=longest,
                ),
                code="bad-question",
            )
        if any("\ud800" <= char <= "\udfff" or char == "\0" for char in value):
            raise ArchivedError(
                Message("{name}: it is no text in UTF-8", name=name),
                hint=Message("type the document's id instead of a name"),
                code="bad-question",
            )
