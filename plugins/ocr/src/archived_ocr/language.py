"""Whether words can be words: Vietnamese syllables by their grammar, other Latin words by shape.

A guess about a whole page or line, never a correction. What an engine makes of marks that are no
letters, or a font of what is no Unicode, seldom passes for syllables.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

_TONES = {"\u0300", "\u0301", "\u0303", "\u0309", "\u0323"}
_VIETNAMESE = _TONES | {"\u0302", "\u0306", "\u031b", "đ"}
_INITIAL = r"(?:b|ch|c|d|đ|gh|gi|g|h|kh|k|l|m|ngh|ng|nh|n|ph|p|qu|r|s|tr|th|t|v|x)?"
_OPEN = (
    "a|e|ê|i|o|ô|ơ|u|ư|y|ai|ao|au|ay|âu|ây|eo|êu|ia|iu|iêu|oa|oai|oao|oay|oe|oeo|oi|ôi|ơi|ua|uây|"
    "uê|ui|uôi|uơ|uy|uya|uyu|uêu|ưa|ưi|ươi|ươu|ưu|yêu"
)
_CLOSED = "a|ă|â|e|ê|i|o|ô|ơ|u|ư|y|iê|oa|oă|oe|oo|uâ|uê|uô|uy|uyê|ươ|yê"
_SYLLABLE = re.compile(rf"{_INITIAL}(?:(?:{_OPEN})|(?:{_CLOSED})(?:ch|c|m|ng|nh|n|p|t))")
_LATIN = re.compile(r"[a-z]{2,}")
_VOWEL = re.compile(r"[aeiouy]")
_HEAP = re.compile(r"[^aeiouy]{5,}|[aeiouy]{5,}|(.)\1\1")
_WORD = re.compile(r"[^\W\d_]+")
_SHORT_FORM = re.compile(r"[A-ZĐ]{2,8}")
_ALIKE = {"a": "aăâ", "e": "eê", "o": "oôơ", "u": "uư"}
_CACHED = 20_000
ENOUGH = 5
"""Words; about fewer nothing can be said."""
LIKELY = 0.55
"""Share of possible words from which a text may be one that somebody wrote."""


@lru_cache(_CACHED)
def is_syllable(word: str) -> bool:
    """Whether Vietnamese could have this syllable, by the rules of its spelling."""
    decomposed = unicodedata.normalize("NFD", word.lower())
    tones = [c for c in decomposed if c in _TONES]
    if len(tones) > 1:
        return False
    bare = unicodedata.normalize("NFC", "".join(c for c in decomposed if c not in _TONES))
    return _SYLLABLE.fullmatch(bare) is not None


@lru_cache(_CACHED)
def is_foreign(sign: str) -> bool:
    """Whether a sign is a letter that Vietnamese has not, and neither has plain Latin."""
    if sign.isascii() or not sign.isalpha() or sign in "đĐ":
        return False
    return not set(unicodedata.normalize("NFD", sign.lower())[1:]) & _VIETNAMESE


@lru_cache(_CACHED)
def is_misspelt(word: str) -> bool:
    """Whether a word has Vietnamese letters and cannot be Vietnamese: an engine's mistake.

    A wrong hook or circumflex is none: the letters are where they were printed. Short forms
    ("HĐND") have no spelling.
    """
    if word.isascii() or not (set(unicodedata.normalize("NFD", word.lower())) & _VIETNAMESE):
        return False
    if _SHORT_FORM.fullmatch(word):
        return False
    return not _is_syllables(word, 4) and not _is_nearly_syllable(word)


def _is_nearly_syllable(word: str) -> bool:
    """Whether a syllable differs from `word` by the marks of its vowels only."""
    if len(word) > 7:
        return False
    plain = "".join(
        c for c in unicodedata.normalize("NFD", word.lower()) if not unicodedata.combining(c)
    )
    ways = itertools.product(*(_ALIKE.get(c, c) for c in plain))
    return any(is_syllable("".join(way)) for way in itertools.islice(ways, 100))


def _is_syllables(word: str, most: int) -> bool:
    """A syllable, or several that were run together."""
    if is_syllable(word):
        return True
    if most < 2 or len(word) < 6:
        return False
    return any(
        is_syllable(word[:n]) and _is_syllables(word[n:], most - 1)
        for n in range(2, min(8, len(word) - 1))
    )


@lru_cache(_CACHED)
def is_possible(word: str) -> bool:
    """Whether a word of letters may be Vietnamese, or have the shape of another Latin word."""
    if is_syllable(word):
        return True
    low = word.lower()
    return bool(_LATIN.fullmatch(low) and _VOWEL.search(low) and not _HEAP.search(low))


def counted(text: str) -> list[str]:
    """The words of `text` that can be judged: no abbreviations, numbers, single letters."""
    return [w for one in text.split() for w in _counted(one)]


@lru_cache(_CACHED)
def _counted(text: str) -> tuple[str, ...]:
    return tuple(w for w in _WORD.findall(text) if len(w) > 1 and not is_short_form(w))


def is_short_form(word: str) -> bool:
    """Whether a word is short and of capitals alone, as abbreviations are."""
    return word.isupper() and len(word) <= 5 and not is_syllable(word)


def possible_share(words: Iterable[str] | str) -> float | None:
    """Share of possible words, longer ones counting more; `None` when there are too few."""
    text = words if isinstance(words, str) else " ".join(words)
    judged = counted(unicodedata.normalize("NFC", text))
    if len(judged) < ENOUGH:
        return None
    weight = sum(min(6, len(w)) for w in judged)
    return sum(min(6, len(w)) for w in judged if is_possible(w)) / weight
