"""The card for the scanning desk: whole in both languages, true to what stands on the share."""

from __future__ import annotations

import re
import tomllib
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pikepdf
import pypdfium2
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.repo.conftest import Checkout

AGAIN = "run: .venv/bin/python -m tools.docs.clerk_card docs/clerk-card/clerk-card.pdf"


def texts_in(part: Any) -> Iterator[str]:
    """Every text of a language, as it is printed; the names of signs apart."""
    if isinstance(part, str):
        yield part.replace("*", "")
    elif isinstance(part, dict):
        for key, below in part.items():
            yield from () if key == "sign" else texts_in(below)
    else:
        for below in part:
            yield from texts_in(below)


@pytest.fixture(scope="module")
def card(checkout: Checkout) -> dict[str, Any]:
    return tomllib.loads(checkout.text("docs/clerk-card/card.toml"))


def plain(text: str) -> str:
    """Without what the breaking of lines does to it."""
    return re.sub(r"\s+", "", text)


def test_the_printed_card_has_every_text_one_side_for_each_language(
    checkout: Checkout, card: dict[str, Any]
) -> None:
    """Read from the PDF by another library than the one that drew it."""
    pdf = pypdfium2.PdfDocument(checkout.root / "docs/clerk-card/clerk-card.pdf")
    sides = [plain(page.get_textpage().get_text_bounded()) for page in pdf]
    assert len(sides) == 2
    for language, printed in zip(("vi", "en"), sides, strict=True):
        missing = [text for text in texts_in(card[language]) if plain(text) not in printed]
        assert missing == [], AGAIN


def test_both_sides_say_the_same_things(card: dict[str, Any]) -> None:
    """Step for step, and nothing is left empty."""
    one, other = card["vi"], card["en"]
    assert one.keys() == other.keys()
    for key in ("step", "nevers", "statuses", "asks"):
        assert len(one[key]) == len(other[key])
    assert [s["sign"] for s in one["step"]] == [s["sign"] for s in other["step"]]
    assert all(text.strip() for text in (*texts_in(one), *texts_in(other)))


def test_what_the_card_quotes_is_what_stands_on_the_share(
    checkout: Checkout, card: dict[str, Any]
) -> None:
    """Headings of receipts, the words of STATUS.txt, the names of folders."""
    answers = checkout.text("src/archived/observe/receipts/texts.py")
    answers += checkout.text("src/archived/observe/receipts/folder.py")
    everything = " ".join((*texts_in(card["vi"]), *texts_in(card["en"])))
    shouted = set(re.findall(r"“([A-ZĐÀ-Ỹ ]{6,})”", everything)) | {"TẠM DỪNG", "PAUSED"}
    assert {"TỆP NÀY ĐÃ CÓ RỒI", "RECEIVED BEFORE", "KHÔNG LƯU TRỮ", "NOT ARCHIVED"} <= shouted
    states = [row[0].split(", ") for side in ("vi", "en") for row in card[side]["statuses"]]
    shouted |= {words for row in states for words in row if words.isupper()}
    assert {"ĐANG LÀM VIỆC", "MẤT KẾT NỐI", "STOPPED"} <= shouted
    assert [words for words in shouted if words not in answers] == []
    for name in ("receipts", "held", "safe", "STATUS.txt"):
        assert name in everything
        assert name in answers


def test_it_prints_as_one_sheet_of_a4_with_its_fonts_in_it(checkout: Checkout) -> None:
    """So it looks the same on every printer; nothing reaches below the margin."""
    with pikepdf.open(checkout.root / "docs/clerk-card/clerk-card.pdf") as pdf:
        for page in pdf.pages:
            width, height = (float(n) / 72 * 25.4 for n in page.mediabox[2:])
            assert (round(width), round(height)) == (210, 297)
            for font in page.resources.Font.values():
                inner = font.DescendantFonts[0]
                assert "/FontFile2" in inner.FontDescriptor
    document = pypdfium2.PdfDocument(checkout.root / "docs/clerk-card/clerk-card.pdf")
    for page in document:
        text = page.get_textpage()
        boxes = [text.get_charbox(n) for n in range(text.count_chars())]
        lows = sorted({round(bottom) for _, bottom, _, _ in boxes})
        assert lows[0] > 20
        assert all(left > 20 and right < 580 for left, _, right, _ in boxes)
        assert max(above - below for below, above in pairwise(lows)) < 120
