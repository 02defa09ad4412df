"""Vietnamese from before Unicode: TCVN3 (ABC) and VNI texts, recognised and converted.

Such fonts draw Vietnamese letters at the places of other Latin ones: what looks right is stored as
"Céng hßa x· héi". Converted text is for searching; the record says that it was converted.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping

from archived_ocr import language

_TCVN3_FONT = re.compile(r"^(?:[A-Z]{6}\+)?\.?Vn[A-Z0-9]", re.ASCII)
_VNI_FONT = re.compile(r"^(?:[A-Z]{6}\+)?VNI[-A-Z ]", re.IGNORECASE)

_TCVN3 = dict(
    zip(
        "µ¸¶·¹¨»¾¼½Æ©ÇÊÈÉË®ÌÐÎÏÑªÒÕÓÔÖ×ÝØÜÞßãáâä«åèæçé¬êíëìîïóñòô­õøö÷ùúýûüþ¡¢§£¤¥¦",
        "àáảãạăằắẳẵặâầấẩẫậđèéẻẽẹêềếểễệìíỉĩịòóỏõọôồốổỗộơờớởỡợùúủũụưừứửữựỳýỷỹỵĂÂĐÊÔƠƯ",
        strict=True,
    )
)
_VNI_MARKS = {
    "ù": "\u0301",
    "ø": "\u0300",
    "û": "\u0309",
    "õ": "\u0303",
    "ï": "\u0323",
    "â": "\u0302",
    "á": "\u0302\u0301",
    "à": "\u0302\u0300",
    "å": "\u0302\u0309",
    "ã": "\u0302\u0303",
    "ä": "\u0302\u0323",
    "ê": "\u0306",
    "é": "\u0306\u0301",
    "è": "\u0306\u0300",
    "ú": "\u0306\u0309",
    "ü": "\u0306\u0303",
    "ë": "\u0306\u0323",
}
_VNI_LETTERS = {
    "ô": "ơ",
    "ö": "ư",
    "ñ": "đ",
    "í": "í",
    "ì": "ì",
    "æ": "ỉ",
    "ó": "ĩ",
    "ò": "ị",
    "î": "ỵ",
    "Ô": "Ơ",
    "Ö": "Ư",
    "Ñ": "Đ",
    "Í": "Í",
    "Ì": "Ì",
    "Æ": "Ỉ",
    "Ó": "Ĩ",
    "Ò": "Ị",
    "Î": "Ỵ",
}
_MODERN = re.compile("[\u1ea0-\u1ef9ăĂđĐơƠưƯ]")
"""Letters that only Unicode has: a line with one of them is no old text."""
BETTER = 0.2
"""By how much more of the words must be syllables once they are converted."""


def of_font(name: str) -> str:
    """`tcvn3`, `vni`, or empty for a font that is neither by its name."""
    if _TCVN3_FONT.match(name):
        return "tcvn3"
    return "vni" if _VNI_FONT.match(name) else ""


def from_tcvn3(text: str) -> str:
    """TCVN3 as read through Latin-1 as Unicode; capitals with tones are a matter of the font."""
    return "".join(_TCVN3.get(c, c) for c in text)


def from_vni(text: str) -> str:
    """VNI as read through Windows-1252: a letter, and its marks as a letter after it."""
    made: list[str] = []
    for char in text:
        mark = _VNI_MARKS.get(char.lower())
        if mark and made and made[-1][-1:].isalpha() and _takes(made[-1], mark):
            made[-1] = unicodedata.normalize("NFC", made[-1] + mark)
        else:
            made.append(_VNI_LETTERS.get(char, char))
    return "".join(made)


def _takes(letter: str, mark: str) -> bool:
    return len(unicodedata.normalize("NFC", letter + mark)) == 1


def converted(text: str, fonts: frozenset[str] = frozenset()) -> tuple[str, str]:
    """`text` in Unicode and the encoding it was in; unchanged and empty when it is none of these.

    Decided by the text, whatever the fonts are called: more of it must be Vietnamese afterwards.
    """
    made = {"tcvn3": _by_lines(text, from_tcvn3), "vni": _by_lines(text, from_vni)}
    before = syllables(text)
    if before is None:
        named = {of_font(f) for f in fonts} - {""}
        encoding = named.pop() if len(named) == 1 else _of_few_words(text, made)
        return made.get(encoding, text), encoding
    shares = {name: syllables(new) or 0.0 for name, new in made.items()}
    best = max(shares, key=lambda name: shares[name])
    if made[best] != text and shares[best] >= 0.7 and shares[best] >= before + BETTER:
        return made[best], best
    return text, ""


def _by_lines(text: str, convert: Callable[[str], str]) -> str:
    """`text` converted but for the lines that are Unicode already: a stamp, a later note."""
    lines = text.splitlines(keepends=True)
    return "".join(line if _MODERN.search(line) else convert(line) for line in lines)


def _of_few_words(text: str, made: Mapping[str, str]) -> str:
    """The encoding in which each of a few words is a syllable, and none is as it stands."""
    if _counted_syllables(text)[0]:
        return ""
    for encoding, new in made.items():
        good, all_ = _counted_syllables(new)
        if new != text and good == all_ > 0:
            return encoding
    return ""


def _counted_syllables(text: str) -> tuple[int, int]:
    words = language.counted(unicodedata.normalize("NFC", text))
    return sum(map(language.is_syllable, words)), len(words)


def syllables(text: str) -> float | None:
    """Share of the words that are Vietnamese syllables; `None` for fewer than a few words."""
    words = language.counted(unicodedata.normalize("NFC", text))
    # The letters of old fonts that are no letters in Unicode split words: they count as well.
    if len(words) < language.ENOUGH:
        return None
    odd = sum(1 for c in text if c in "·®¸¹»¼½¾¨©ª«¬¶µ§¡¢£¤¥¦×ß")
    weight = sum(min(6, len(w)) for w in words) + 3 * odd
    return sum(min(6, len(w)) for w in words if language.is_syllable(w)) / weight
