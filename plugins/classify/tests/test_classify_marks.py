"""Secrecy marks: what counts as one, and that the stage fails closed."""

from __future__ import annotations

import pytest

from archived_classify import Options
from archived_classify.extraction import classify
from archived_classify.marks import rank_of_declared
from archived_classify.profile import load

PROFILES = load(Options().profiles)
HEAD = "BỘ NỘI VỤ CỘNG HÒA XÃ HỘI CHỦ NGHĨA VIỆT NAM\n{}\nSố: 12/QĐ-BNV\nQUYẾT ĐỊNH\n"


def mark(text: str) -> str | None:
    found = classify(text, PROFILES).secrecy
    return found.value if found else None


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("MẬT", "Mật"),
        ("MAT", "Mật"),
        ("  | MẬT |", "Mật"),
        ("[ M Ậ T ]", "Mật"),
        ("Mật", "Mật"),
        ("TÓI MẬT.", "Tối mật"),
        ("T0I MẬT", "Tối mật"),
        ("TUYỆT MẬT", "Tuyệt mật"),
        ("TUYỆT MẬT Độc lập - Tự do - Hạnh phúc", "Tuyệt mật"),
        ("SỞ NỘI VỤ   TỐI MẬT", "Tối mật"),
    ],
)
def test_a_line_or_column_that_is_a_mark_counts(line: str, value: str) -> None:
    assert mark(HEAD.format(line)) == value


@pytest.mark.parametrize(
    "line",
    [
        "MẶT TRẬN TỔ QUỐC VIỆT NAM",
        "MẶT TRẬN Độc lập - Tự do - Hạnh phúc",
        "BÍ MẬT NHÀ NƯỚC",
        "mật",
        "độ mật: không",
        "TỐI MẬT VÀ TUYỆT MẬT",
        "MẬT ĐỘ",
    ],
)
def test_a_line_that_only_holds_the_letters_of_a_mark_does_not_count(line: str) -> None:
    assert mark(HEAD.format(line)) is None


def test_the_highest_mark_on_any_page_counts() -> None:
    assert mark(HEAD.format("MẬT") + "\ftrang hai\fTUYỆT MẬT\nphụ lục\n") == "Tuyệt mật"


def test_a_narrow_table_cell_far_from_a_stamps_place_does_not_count() -> None:
    assert mark(HEAD.format("") + "\fTổng\nMật\nđộ\nxây dựng\n") is None


def test_a_declared_level_that_nobody_knows_counts_as_none() -> None:
    assert [rank_of_declared(d, PROFILES) for d in ("", "thường", "mat", "Tối mật", "xyz")] == [
        0,
        0,
        1,
        2,
        0,
    ]


@pytest.mark.parametrize(
    ("line", "value"), [("KHẨN", "Khẩn"), ("HỎA TỐC", "Hỏa tốc"), ("KHẨN TRƯƠNG", None)]
)
def test_urgency_is_read_like_secrecy(line: str, value: str | None) -> None:
    assert classify(HEAD.format(line), PROFILES).found["urgency"].value == value
