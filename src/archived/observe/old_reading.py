"""Which pages of sealed documents were judged by an earlier rule of the stage `ocr`.

Until 0.1.0 a page was called blank before the recognition engine had looked at it with every
contrast, and a page with some text of its own was not read as a picture. What such a rule passed
over is told from the facts of the step: they are in the catalog, and in each object's record.json.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from archived.message import Message

STAGE = "ocr"
LAST_OF_OLD = (0, 1, 0)
"""The last version with these rules."""

REASONS: Mapping[str, str] = {
    "blank": Message("called blank"),
    "without_text": Message("not blank, and no words were read"),
    "not_read": Message("text of its own, so not read as a picture"),
    "hidden_text": Message("taken from an earlier text layer, and not read"),
}
"""Kind of page -> what the old rule made of it."""


def is_old(version: str) -> bool:
    """Whether a version of the stage has the old rules. One without numbers has not."""
    numbers = [int(each) for each in re.findall(r"[0-9]+", version)[:3]]
    return bool(numbers) and (*numbers, 0, 0)[:3] <= LAST_OF_OLD


def doubtful(version: str, facts: Mapping[str, Any]) -> dict[str, list[int]]:
    """Kind of page -> the pages (from 1) that a person may want to look at; empty without any."""
    if not is_old(version):
        return {}
    words, sure = _list(facts.get("words")), _list(facts.get("confidence"))
    blank = {n for n in _list(facts.get("blank_pages")) if isinstance(n, int)}
    prior = "prior-ocr" in _list(facts.get("flags"))
    found: dict[str, list[int]] = {kind: [] for kind in REASONS}
    found["blank"] = sorted(blank)
    for page, count in enumerate(words, start=1):
        read = page <= len(sure) and sure[page - 1] is not None
        if read or page in blank:
            continue
        # A layer of an earlier OCR is text as well; the facts tell of it for the whole document.
        with_text = "hidden_text" if prior and facts.get("text") != "born-digital" else "not_read"
        found[with_text if count else "without_text"].append(page)
    return {kind: pages for kind, pages in found.items() if pages}


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()
