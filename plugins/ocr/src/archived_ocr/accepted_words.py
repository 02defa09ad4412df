"""Which words of a reading count as read, and which marks are doubtful words of a read line.

A judgement by confidence, spelling and place; knows no pixels.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from archived_ocr import language
from archived_ocr.ink import FloatBox
from archived_ocr.reading import Line, Reading, Word
from archived_ocr.shapes import Group

READ = 50.0
"""Confidence from which a word of the first reading counts as read by itself."""
CERTAIN = 80.0
"""Confidence from which a word counts as read though its letters make no syllable."""
FOREIGN = 92.0
"""Confidence from which a word counts as read that has letters of no Vietnamese alphabet: an Ä is
what the engine makes of an A with strokes over it."""
ALL_BUT_CERTAIN = 97.0
"""The same of a word with a sign that offices hardly print."""
SURE = 60.0
"""Confidence from which a word of a second look counts as read."""
ADDRESS = re.compile(r"\w@\w|\w\.(?:vn|com|gov|org|net)\b|^(?:www|https?)\b")
_LETTERS = re.compile(r"[^\W\d_]{2,}")
_FIGURES = re.compile(r"[\W_]*\d[\d\W_]*")
_CODE = re.compile(
    r"\W*(?:\d+[/-]?)*[A-ZĐa-z]{1,8}(?:[/-][A-ZĐa-z0-9]{1,8})+\W*|(?:\d+)?/[A-ZĐ]{1,8}\W*"
)
_FILLED_IN = re.compile(r"\S{1,6}/[A-ZĐ]{1,8}(?:-[A-ZĐ]{1,8})+\W*")
"""A code whose number was written by hand into the printed rest."""
_SHORT_FORMS = re.compile(r"\W*\w{0,4}?[A-ZĐ]{2,9}(?:[,&][A-ZĐ]{1,9})+\W*")
"""Names of offices, shortened, without spaces between."""
_STROKES = re.compile(r"[<>\\^~`{}]")
"""Signs that offices hardly print, and that the engine makes of strokes: a faded M is a ">"."""
_CAPITALS = re.compile(r"\W*[A-ZĐ]{3,8}\W*")
_COMPANY = 3
"""Read words that make a line one that was read."""


def accepted(reading: Reading) -> list[Word]:
    """The words that count as read: surely, or likely as part of a line that was."""
    return [w for p in reading.paragraphs for line in p for w in accepted_of(line)]


@lru_cache(2000)
def accepted_of(line: Line) -> tuple[Word, ...]:
    """The same of one line."""
    read = [w for w in line.words if _is_read(w)]
    if not read:
        return ()
    sure = set(map(id, read))
    return tuple(w for w in line.words if id(w) in sure or _is_figure(w, 30))


def _is_read(word: Word) -> bool:
    text = word.text.replace("Ð", "Đ")
    if word.confidence < FOREIGN and any(map(language.is_foreign, text)):
        return False
    if word.confidence < ALL_BUT_CERTAIN and _STROKES.search(text):
        return False
    if word.confidence >= 40 and _SHORT_FORMS.fullmatch(text):
        return True
    if any(map(language.is_misspelt, _LETTERS.findall(text))):
        return False
    if word.confidence >= CERTAIN or _is_figure(word, SURE):
        return True
    if word.confidence >= 40 and _CODE.fullmatch(text):
        return True
    if word.confidence >= READ and _CAPITALS.fullmatch(text):
        return True
    judged = language.counted(text)
    if word.confidence >= READ and all(map(language.is_syllable, judged)):
        return True
    return _is_likely(word)


def _is_figure(word: Word, at_least: float) -> bool:
    return word.confidence >= at_least and bool(_FIGURES.fullmatch(word.text))


def _is_likely(word: Word) -> bool:
    """Whether a word that the engine doubts has the shape of one: a syllable, an address."""
    text = word.text.strip(".,;:()")
    if len(text) < 3:
        return False
    if word.confidence >= 15 and ADDRESS.search(text):
        return True  # strokes make no such ending
    return word.confidence >= 30 and language.is_syllable(text)


def doubted(reading: Reading, words: Sequence[Word]) -> Reading:
    """`reading` without any confidence in `words`."""
    if not words:
        return reading
    those = set(map(id, words))

    def line(one: Line) -> Line:
        said = tuple(replace(w, confidence=0.0) if id(w) in those else w for w in one.words)
        return replace(one, words=said)

    return replace(reading, paragraphs=tuple(tuple(map(line, p)) for p in reading.paragraphs))


def within(reading: Reading, boxes: Sequence[FloatBox], scale: float) -> Reading:
    """The lines of `reading` that lie in one of `boxes` of marks."""
    boxes = [(x1 / scale, y1 / scale, x2 / scale, y2 / scale) for x1, y1, x2, y2 in boxes]
    kept = tuple(
        found
        for p in reading.paragraphs
        if (
            found := tuple(
                n for n in p if any(_across(n.box, b) > 0 and _level(n.box, b) > 0.5 for b in boxes)
            )
        )
    )
    text = "\n\n".join("\n".join(" ".join(w.text for w in n.words) for n in p) for p in kept)
    return replace(reading, paragraphs=kept, text=text)


def rows_of(outlined: Sequence[Word], scale: float) -> list[Group]:
    """`outlined` words as groups of marks, those of one line together."""
    rows: list[list[Word]] = []
    for word in outlined:
        last = rows[-1][-1] if rows else word
        if rows and _level(last.box, word.box) > 0.5 and _gap(last.box, word.box) < _tall(word):
            rows[-1].append(word)
        else:
            rows.append([word])
    return [_row(words, scale) for words in rows]


def _row(words: Sequence[Word], scale: float) -> Group:
    edges = [[w.box[n] * scale for w in words] for n in range(4)]
    box = int(min(edges[0])), int(min(edges[1])), int(max(edges[2])) + 1, int(max(edges[3])) + 1
    letters = sum(len(w.text) for w in words)
    size = (box[2] - box[0]) * (box[3] - box[1])
    return Group("text", box, size // 3, 255, letters, 0.7 * (box[3] - box[1]), outlined=True)


def is_text(reading: Reading) -> bool | None:
    """Whether a reading can be what somebody wrote; `None` when it has too few words to tell."""
    sure = [w for w in reading.words if w.confidence >= SURE]
    share = language.possible_share(w.text for w in reading.words)
    if share is None:
        return None
    if (reading.confidence or 0.0) >= 75:
        return share >= 0.3
    return share >= language.LIKELY and len(sure) >= 0.3 * len(reading.words)


def is_doubtful(group: Group, reading: Reading, scale: float) -> bool:
    """Whether a group of letters is a word that the engine doubted within a line that it read.

    The engine has said something for all of it, and beside it stand read words of its size. What
    it said is in the text. A row of letters that merely stands level with a line is none. Nor are
    outlined ones, of which the engine says anything.
    """
    if group.outlined:
        return False
    left, top, right, bottom = (v / scale for v in group.box)
    box = left, top, right, bottom
    height = max(1.0, group.height / scale)
    for paragraph in reading.paragraphs:
        for line in paragraph:
            if _level(line.box, box) < 0.5:
                continue
            said = [w for w in line.words if _across(w.box, box) > 0 and _stands_in(w, box)]
            if sum(_across(w.box, box) for w in said) < 0.6 * (right - left):
                continue
            if any(
                p.fullmatch(w.text.replace("Ð", "Đ")) and not _STROKES.search(w.text)
                for w in said
                for p in (_CODE, _FILLED_IN)
            ):
                return True
            read = accepted_of(line)
            near = [w for w in read if _gap(w.box, box) < 2.5 * max(height, 0.6 * _tall(w))]
            if near and all(_FIGURES.fullmatch(w.text) for w in said):
                return True  # a number written into a printed line
            beside = [w for w in near if _fits(w, height)]
            if not beside:
                continue
            if len(read) >= _COMPANY and 2 * len(read) >= len(line.words):
                return True
            if _is_short(said, height, right - left) and any(len(w.text) > 1 for w in beside):
                return True
    return False


def _stands_in(word: Word, box: FloatBox) -> bool:
    """Whether a word stands level with a box, and the box is no higher than a line of it."""
    return _level(word.box, box) >= max(0.5, 0.4 * (box[3] - box[1]) / _tall(word))


def _fits(word: Word, height: float) -> bool:
    """Whether letters of `height` belong to the size of print of `word`."""
    return 0.3 * _tall(word) < height < 1.35 * _tall(word)


def _tall(word: Word) -> float:
    return word.box[3] - word.box[1]


def _is_short(said: Sequence[Word], height: float, width: float) -> bool:
    """A word or two; a code with figures may be longer."""
    figures = any(c.isdigit() for w in said for c in w.text)
    return width < (16 if figures else 5) * height


def _gap(one: FloatBox, other: FloatBox) -> float:
    return max(other[0] - one[2], one[0] - other[2])


def _across(one: FloatBox, other: FloatBox) -> float:
    return max(0.0, min(one[2], other[2]) - max(one[0], other[0]))


def _level(one: FloatBox, other: FloatBox) -> float:
    """How much of the lower of two boxes lies level with the other."""
    both = min(one[3], other[3]) - max(one[1], other[1])
    return both / max(1.0, min(one[3] - one[1], other[3] - other[1]))
