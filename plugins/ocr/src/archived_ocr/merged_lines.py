"""Lines that were read later, put into a reading where they stand.

What is surer takes the place of what it lies on; words of one line stay in their order, because
"TỐI MẬT" is looked for as two words in a row. Knows no pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from archived_ocr.accepted_words import READ
from archived_ocr.ink import FloatBox
from archived_ocr.reading import Line, Reading, Word

GUESS = 30.0
"""Confidence below which the engine's word is hardly more than strokes."""
_PIECE = 0.6
"""Width by that of the word that stands there, below which a word is a piece of it."""


def covers(before: Word, now: Word) -> bool:
    """Whether the middle of `now` lies in `before`."""
    x, y = (now.box[0] + now.box[2]) / 2, (now.box[1] + now.box[3]) / 2
    return before.box[0] <= x <= before.box[2] and before.box[1] <= y <= before.box[3]


def replaced(reading: Reading, lines: Sequence[Line]) -> Reading:
    """`reading` with `lines` in place of whatever was read where they stand."""
    paragraphs = list(reading.paragraphs)
    for line in sorted(lines, key=lambda n: n.box[1]):
        gone = {
            id(w)
            for p in paragraphs
            for n in p
            for w in n.words
            if any(_overlap(w.box, now.box) > 0.25 for now in line.words)
            and _width_under(w, line) > _least_under(w) * (w.box[2] - w.box[0])
        }
        paragraphs = [q for p in paragraphs if (q := _less(p, gone))]
        _insert(paragraphs, line)
    return _with(reading, paragraphs) if lines else reading


def _width_under(word: Word, line: Line) -> float:
    """How much of the width of `word` the words of `line` cover. A piece of it replaces nothing."""
    left, right = word.box[0], word.box[2]
    return sum(max(0.0, min(right, n.box[2]) - max(left, n.box[0])) for n in line.words)


def _least_under(word: Word) -> float:
    """The share of a word that others must cover to replace it: less of one that is a guess."""
    return 0.5 if word.confidence >= GUESS else 0.3


def _overlap(one: FloatBox, other: FloatBox) -> float:
    """How much of the smaller of two boxes lies in the other."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    if wide <= 0 or high <= 0:
        return 0.0
    sizes = [(b[2] - b[0]) * (b[3] - b[1]) for b in (one, other)]
    return wide * high / max(1.0, min(sizes))


def added(reading: Reading, lines: Sequence[Line]) -> Reading:
    """`reading` with further lines: part of a line that they go on, or each a paragraph."""
    paragraphs = list(reading.paragraphs)
    for line in sorted(lines, key=lambda n: n.box[1]):
        if not _is_new(line, paragraphs):
            continue
        own = {id(w) for w in line.words}
        doubtful = [w for p in paragraphs for n in p for w in n.words if _same_place(w, line)]
        gone = {id(w) for w in doubtful} - own
        paragraphs = [q for p in paragraphs if (q := _less(p, gone))]
        _insert(paragraphs, line)
    return _with(reading, paragraphs)


def _with(reading: Reading, paragraphs: Sequence[tuple[Line, ...]]) -> Reading:
    text = "\n\n".join("\n".join(" ".join(w.text for w in n.words) for n in p) for p in paragraphs)
    return replace(reading, paragraphs=tuple(paragraphs), text=text)


def _insert(paragraphs: list[tuple[Line, ...]], line: Line) -> None:
    """Put `line` where it stands: into the line that its words are part of, if there is one."""
    for at, paragraph in enumerate(paragraphs):
        for n, other in enumerate(paragraph):
            if _goes_on(other, line):
                more = tuple(
                    w
                    for w in line.words
                    if not any(_is_as_sure(o, w) or _holds(o, w) for o in other.words)
                )
                words = tuple(sorted(other.words + more, key=lambda w: w.box[0]))
                joined = replace(other, words=words, box=_around(words))
                paragraphs[at] = (*paragraph[:n], joined, *paragraph[n + 1 :])
                return
    middle = (line.box[1] + line.box[3]) / 2
    where = next(
        (k for k, p in enumerate(paragraphs) if min(n.box[1] for n in p) > middle),
        len(paragraphs),
    )
    paragraphs.insert(where, (line,))


def _goes_on(other: Line, line: Line) -> bool:
    """Whether `line` stands level with `other`, beside one of its words or between two."""
    for word in line.words:
        tall = word.box[3] - word.box[1]
        for near in other.words:
            level = min(word.box[3], near.box[3]) - max(word.box[1], near.box[1])
            gap = max(word.box[0] - near.box[2], near.box[0] - word.box[2])
            low = min(tall, near.box[3] - near.box[1])
            if level >= 0.6 * low and gap < 0.7 * tall and low > 0.5 * tall:
                return True
    return False


def _around(words: Sequence[Word]) -> FloatBox:
    boxes = [w.box for w in words]
    return (
        min(b[0] for b in boxes),
        min(b[1] for b in boxes),
        max(b[2] for b in boxes),
        max(b[3] for b in boxes),
    )


def _is_new(line: Line, paragraphs: Sequence[tuple[Line, ...]]) -> bool:
    """Whether a word of `line` was not read as surely before."""
    before = [w for p in paragraphs for n in p for w in n.words if _level(n.box, line.box)]
    return any(not any(_is_as_sure(b, w) for b in before) for w in line.words)


def _level(one: FloatBox, other: FloatBox) -> bool:
    return one[1] < other[3] and other[1] < one[3]


def _is_as_sure(before: Word, now: Word) -> bool:
    sure = before.confidence >= max(READ, now.confidence)
    return sure and covers(before, now) and not _is_piece(before, now)


def _holds(whole: Word, piece: Word) -> bool:
    """Whether a word that counts as read lies over a piece of itself."""
    return whole.confidence >= READ and covers(whole, piece) and _is_piece(piece, whole)


def _same_place(word: Word, line: Line) -> bool:
    """A word that was less sure, or a piece of one, where a later look read `line`; a guess that
    merely touches it as well.
    """
    return any(
        (covers(w, word) and (word.confidence < max(READ, w.confidence) or _is_piece(word, w)))
        or (word.confidence < min(GUESS, w.confidence) and _overlap(word.box, w.box) > 0.3)
        for w in line.words
    )


def _is_piece(one: Word, other: Word) -> bool:
    """Whether a word is so much narrower than another that it can only be a piece of it."""
    return one.box[2] - one.box[0] < _PIECE * (other.box[2] - other.box[0])


def _less(paragraph: tuple[Line, ...], gone: set[int]) -> tuple[Line, ...]:
    if not gone:
        return paragraph
    lines = []
    for line in paragraph:
        kept = tuple(w for w in line.words if id(w) not in gone)
        if kept:
            lines.append(replace(line, words=kept) if len(kept) < len(line.words) else line)
    return tuple(lines)
