"""The signature block: who signed, in what office.

Seals and pen strokes lie over it, so it is the worst-read part of a page: a name is only believed
when it begins with a known surname.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from archived_classify.profile import Profile
from archived_classify.reading import Field, missing, span
from archived_classify.text import Line, Page, fold, squeeze

BEFORE, AFTER, TAIL, MOST = 8, 60, 16, 5


@dataclass(frozen=True, slots=True)
class Signature:
    """The two fields of the block."""

    signer: Field
    title: Field


def find(pages: Sequence[Page], profile: Profile) -> Signature:
    """The first signature block; without one, the end of the last page with text."""
    lines, certain = _zone(pages, profile)
    if not lines:
        nothing = missing("the document has no text")
        return Signature(nothing, nothing)
    titles = [part for line in lines for part in _titles(line, profile)]
    titles = titles[:MOST]
    title = _title(titles, profile, certain=certain)
    signer = _signer(lines, titles, profile, certain=certain)
    return Signature(signer, title)


def _zone(pages: Sequence[Page], profile: Profile) -> tuple[list[Line], bool]:
    recipients = profile.words("recipients")
    for page in pages:
        for line in page.lines:
            clean = line.part(0)
            if any(clean.folded.startswith(word) for word in recipients):
                first = _block_start(page, line.index)
                return [ln for ln in page.lines[first : line.index + AFTER] if ln], True
    for page in reversed(pages):
        filled = [line for line in page.lines if line.key]
        if filled:
            return filled[-TAIL:], False
    return [], False


def _block_start(page: Page, at: int) -> int:
    """Up from the recipients over what may belong to the block: no running text."""
    first = at
    while first > max(0, at - BEFORE):
        above = page.lines[first - 1]
        if len(above.key) >= 6 and not above.capitals and _name(above, ()) is None:
            break
        first -= 1
    return first


def _titles(line: Line, profile: Profile) -> list[Line]:
    """The stretch of a line that names an office, in capitals, with or without TM., KT., ..."""
    authority = _authority(profile.words("authority"))
    offices = "|".join(re.escape(w) for w in profile.words("signer_titles"))
    pattern = rf"(?<![A-Z])(?:{authority}[A-Z]|(?:{offices})(?![A-Z]))"
    for match in re.finditer(pattern, line.folded):
        part = _capitals_run(line, match.start())
        bare = not re.match(authority, part.folded)
        if len(part.key) < 4 or (bare and not _office(part, profile)):
            continue
        # Running text in capitals is no office, unless it stands beside the recipients.
        before = line.text[: match.start()].strip(" .~_-*:—")
        if not before or _beside_recipients(line, match.start()):
            return [part]
    return []


def _office(part: Line, profile: Profile) -> bool:
    return any(part.folded.startswith(w) for w in profile.words("signer_titles"))


def _beside_recipients(line: Line, at: int) -> bool:
    before = line.folded[:at].rstrip(" ._-*§|")
    return before.endswith((":", ";", ".", ",")) or before.startswith(("NOI NHAN", "-", "~"))


def _capitals_run(line: Line, start: int) -> Line:
    end = start
    for word in re.finditer(r"\S+", line.text[start:]):
        alpha = [c for c in word.group() if c.isalpha()]
        if not alpha or sum(c.isupper() for c in alpha) < 0.7 * len(alpha):
            break
        end = start + word.end()
    return line.part(start, end)


def _title(titles: list[Line], profile: Profile, *, certain: bool) -> Field:
    if not titles:
        return missing("no office stands in the signature block")
    where = span(titles[0].page, titles)
    text = "\n".join(squeeze(t.text) for t in titles)
    # "KT. GIÁM ĐỐC" is signed by somebody else, whose own office stands below.
    # Nobody signs for himself: of "KT. GIÁM ĐỐC / GIÁM ĐỐC" the second has lost its "PHÓ".
    above = titles[-2].key[-len(titles[-1].key) :] if len(titles) > 1 else ""
    if _on_behalf(titles[-1], profile) or above == titles[-1].key:
        return Field(why=f"only a part of the signer's office was read: {text!r}", evidence=where)
    return Field(text, 0.8 if certain else 0.6, where)


def _on_behalf(part: Line, profile: Profile) -> bool:
    words = [w for w in profile.words("authority") if not w.startswith("Q")]
    return bool(words) and re.match(_authority(words), part.folded) is not None


def _authority(words: Sequence[str]) -> str:
    """A pattern for "TM.", "KT." (the stop is often misread) and "T/M", "K/T" and the like."""
    stopped = [re.escape(w[:-1]) + r"\s?[./,]\s?" for w in words if w[-1] in "./"]
    return "(?:" + "|".join([*stopped, *(re.escape(w) + r"\s" for w in words)]) + ")"


def _signer(
    lines: Sequence[Line], titles: Sequence[Line], profile: Profile, *, certain: bool
) -> Field:
    after = titles[0].start if titles else 0
    honorifics = {w.rstrip(".") for w in profile.words("honorifics")}
    for line in reversed(lines):
        if line.start < after:
            break
        part = _name(line, honorifics)
        if part is None:
            continue
        name = squeeze(part.text)
        surname, _, given = name.partition(" ")
        whole = _surname(surname, profile)
        if whole == surname:
            return Field(name, 0.8 if certain else 0.6, part.evidence)
        if whole:
            return Field(f"{whole} {given}", 0.4, part.evidence)
    return missing("no name with a known surname stands in the signature block")


def _name(line: Line, honorifics: Collection[str]) -> Line | None:
    """A name-like end of a line: alone on it, or behind a recipient's semicolon."""
    text = line.part(0)
    start = max(text.text.rfind(";"), text.text.rfind(":")) + 1
    if not text or (start == 0 and line.text.lstrip()[:1] in "-~•+*"):
        return None
    text = text.part(start)
    words = [*re.finditer(r"\S+", text.text)]
    while words and _honorific(words, text, honorifics):
        words.pop(0)
    if not 2 <= len(words) <= 5 or not all(_name_word(w.group()) for w in words[1:]):
        return None
    return text.part(words[0].start(), words[-1].end())


def _name_word(word: str) -> bool:
    return word[0].isupper() and (len(word) == 1 or word[1:].replace("'", "").islower())


def _surname(word: str, profile: Profile) -> str | None:
    """The surname a word is; a seal often eats its capital, and "guyễn" is "Nguyễn" only."""
    if not word[0].islower():
        return word if _name_word(word) and fold(word) in profile.words("surnames") else None
    ends = {name for name in profile.spelled("surnames") if name[1:] == word and len(word) >= 3}
    return ends.pop() if len(ends) == 1 else None


def _honorific(words: list[re.Match[str]], text: Line, honorifics: Collection[str]) -> bool:
    first = fold(words[0].group()).rstrip(".")
    if all(piece in honorifics for piece in first.split(".")):
        return True
    if len(words) > 1:
        pair = fold(text.text[words[0].start() : words[1].end()])
        if pair in honorifics:
            words.pop(0)
            return True
    return False
