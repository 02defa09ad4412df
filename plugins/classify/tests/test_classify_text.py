"""Folds and offsets hold for any text whatever."""

from __future__ import annotations

import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st

from archived_classify import Options
from archived_classify.extraction import classify
from archived_classify.profile import load
from archived_classify.text import Page, fold, nfc

PROFILES = load(Options().profiles)

PIECES = st.sampled_from(
    [
        "Số: 12/QĐÐ-UBND ",
        "Hà Nội, ngày 05 tháng 3 năm 2024",
        "QUYẾT ĐỊNH",
        "QUYÉT ĐÐỊNH",
        "MẬT",
        "\n",
        "\f",
        " ",
        "ỦY BAN NHÂN DÂN ",
        "CỘNG HÒA XÃ HỘI CHỦ NGHĨA VIỆT NAM",
        "Về việc đÐo",
        "Nơi nhận:",
        "KT. CHỦ TỊCH",
        "PHÓ CHỦ TỊCH",
        "Nguyễn Văn Ân",
        "Số 64-CV/TW",
        "V/v ",
        "ĐẢNG CỘNG SẢN VIỆT NAM",
        "Kính gửi:",
        "-",
        "*",
        "\r\n",
        "LIÊN ĐOÀN LAO ĐỘNG - ",
    ]
)
HEADS = st.lists(st.one_of(PIECES, st.text(max_size=6)), max_size=40).map("".join)


@given(st.text())
def test_the_fold_keeps_length(text: str) -> None:
    assert len(fold(text)) == len(text)


@given(st.text(alphabet="aăâđĐÐðêôơưÁỆỒ \nxZ'\u0301\u0323"))
def test_the_fold_of_vietnamese_is_plain_capitals(text: str) -> None:
    assert not set(fold(nfc(text))) & set("đĐÐðăâêôơư")


@given(st.text(alphabet="ĐÐđðAb \n"))
def test_a_page_without_ocrs_doubled_d_still_points_into_the_page(text: str) -> None:
    page = Page(1, text)
    assert len(page.text) == len(page.folded) <= len(page.nfc)
    for line in page.lines:
        if line.end > line.start:
            seen = line.evidence
            assert page.nfc[seen.start : seen.end] == seen.text
            assert Page(1, seen.text).text.startswith(line.text[:1])


@settings(max_examples=300, deadline=None)
@given(HEADS)
def test_evidence_slices_to_its_own_text_and_nothing_is_ever_raised(text: str) -> None:
    pages = unicodedata.normalize("NFC", text).split("\f")
    for name, field in classify(text, PROFILES).fields().items():
        assert (field["value"] is None) == ("why" in field), name
        seen = field.get("evidence")
        if isinstance(seen, dict):
            assert pages[seen["page"] - 1][seen["start"] : seen["end"]] == seen["text"]
            assert seen["text"].strip()
        if field["value"] is not None:
            assert seen
            assert 0 < field["confidence"] <= 1
