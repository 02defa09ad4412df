"""What is read from the heads and signature blocks of typed-in documents."""

from __future__ import annotations

from typing import Any

import pytest

from archived_classify import Options
from archived_classify.extraction import Reading, classify
from archived_classify.profile import Profile, load

PROFILES = load(Options().profiles)

STATE = """ỦY BAN NHÂN DÂN CỘNG HÒA XÃ HỘI CHỦ NGHĨA VIỆT NAM
TỈNH BẮC HẢI Độc lập - Tự do - Hạnh phúc
Số: 123/QĐ-UBND Bắc Hải, ngày 05 tháng 3 năm 2024
QUYẾT ĐỊNH
Về việc phê duyệt kế hoạch sắp xếp tài liệu
lưu trữ của tỉnh

CHỦ TỊCH ỦY BAN NHÂN DÂN TỈNH BẮC HẢI
Căn cứ Luật Lưu trữ số 33/2024/QH15 ngày 21 tháng 6 năm 2024;
Căn cứ Quyết định số 99/QĐ-TTg ngày 01 tháng 02 năm 2020;
QUYẾT ĐỊNH:
Điều 1. Phê duyệt kế hoạch.
Nơi nhận: KT. CHỦ TỊCH
- Như Điều 3; PHÓ CHỦ TỊCH
- Phó Chủ tịch Trần Văn Bình;
- Lưu: VT.
Nguyễn Thị Hương Giang
"""

PARTY = """TỈNH ỦY BẮC HẢI ĐẢNG CỘNG SẢN VIỆT NAM
VĂN PHÒNG
* Bắc Hải, ngày 10 tháng 4 năm 2025
Số 64-QĐ/VPTU

QUYẾT ĐỊNH
về việc giao nhiệm vụ số hoá tài liệu
-----
Căn cứ Quy định số 66-QĐ/TW ngày 06/02/2017 của Ban Bí thư;
Nơi nhận: K/T CHÁNH VĂN PHÒNG
- Như trên; PHÓ CHÁNH VĂN PHÒNG
- Lưu Văn phòng.
Lê Quang Vinh
"""

DISPATCH = """BỘ NỘI VỤ CỘNG HÒA XÃ HỘI CHỦ NGHĨA VIỆT NAM
CỤC VĂN THƯ VÀ LƯU TRỮ NHÀ NƯỚC Độc lập - Tự do - Hạnh phúc
Số: 1479/VTLTNN-NVTW Hà Nội, ngày 17 tháng 4 năm 2025
V/v hướng dẫn số hóa tài liệu
lưu trữ lịch sử

Kính gửi: Ủy ban nhân dân các tỉnh
Thực hiện Công văn số 12/BNV-VP ngày 03 tháng 01 năm 2025 của Bộ Nội vụ.
Nơi nhận:
- Như trên;
- Lưu: VT.
CỤC TRƯỞNG
PGS.TS. Đặng Thanh Tùng
"""

LAW = """CÔNG BÁO/Số 983 + 984/Ngày 25-8-2024 3
QUỐC HỘI
CỘNG HÒA XÃ HỘI CHỦ NGHĨA VIỆT NAM
Độc lập - Tự do - Hạnh phúc
Luật số: 33/2024/QH15 Hà Nội, ngày 21 tháng 6 năm 2024
LUẬT
LƯU TRỮ
Căn cứ Hiến pháp nước Cộng hòa xã hội chủ nghĩa Việt Nam;
Quốc hội ban hành Luật Lưu trữ.
\fLuật này được Quốc hội thông qua ngày 21 tháng 6 năm 2024.
CHỦ TỊCH QUỐC HỘI
Trần Thanh Mẫn
"""


def read(text: str, profiles: tuple[Profile, ...] = PROFILES) -> Reading:
    return classify(text, profiles)


def values(text: str) -> dict[str, str | None]:
    reading = read(text)
    return {"profile": reading.profile, **{k: f.value for k, f in reading.found.items()}}


EXPECTED: dict[str, tuple[str, dict[str, Any]]] = {
    "a state decision with merged columns": (
        STATE,
        {
            "profile": "state-decree-30",
            "type_name": "Quyết định",
            "type_abbr": "QĐ",
            "number": "123",
            "notation": "QĐ-UBND",
            "code": "123/QĐ-UBND",
            "issued_date": "2024-03-05",
            "place": "Bắc Hải",
            "organ": "ỦY BAN NHÂN DÂN TỈNH BẮC HẢI",
            "parent_organ": None,
            "subject": "Về việc phê duyệt kế hoạch sắp xếp tài liệu lưu trữ của tỉnh",
            "signer": "Nguyễn Thị Hương Giang",
            "signer_title": "KT. CHỦ TỊCH\nPHÓ CHỦ TỊCH",
            "secrecy": None,
            "urgency": None,
        },
    ),
    "a party decision": (
        PARTY,
        {
            "profile": "party",
            "type_name": "Quyết định",
            "type_abbr": "QĐ",
            "number": "64",
            "notation": "QĐ/VPTU",
            "code": "64-QĐ/VPTU",
            "issued_date": "2025-04-10",
            "place": "Bắc Hải",
            "organ": "VĂN PHÒNG",
            "parent_organ": "TỈNH ỦY BẮC HẢI",
            "subject": "về việc giao nhiệm vụ số hoá tài liệu",
            "signer": "Lê Quang Vinh",
            "signer_title": "K/T CHÁNH VĂN PHÒNG\nPHÓ CHÁNH VĂN PHÒNG",
        },
    ),
    "a dispatch, whose number names no type": (
        DISPATCH,
        {
            "profile": "state-decree-30",
            "type_name": "Công văn",
            "type_abbr": None,
            "number": "1479",
            "notation": "VTLTNN-NVTW",
            "issued_date": "2025-04-17",
            "organ": "CỤC VĂN THƯ VÀ LƯU TRỮ NHÀ NƯỚC",
            "parent_organ": "BỘ NỘI VỤ",
            "subject": "V/v hướng dẫn số hóa tài liệu lưu trữ lịch sử",
            "signer": "Đặng Thanh Tùng",
            "signer_title": "CỤC TRƯỞNG",
        },
    ),
    "a law as the Official Gazette prints it": (
        LAW,
        {
            "profile": "state-normative",
            "type_name": "Luật",
            "type_abbr": None,
            "number": "33",
            "notation": "QH15",
            "code": "33/2024/QH15",
            "issued_date": "2024-06-21",
            "place": "Hà Nội",
            "organ": "QUỐC HỘI",
            "subject": "LƯU TRỮ",
            "signer": "Trần Thanh Mẫn",
            "signer_title": "CHỦ TỊCH QUỐC HỘI",
        },
    ),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_every_field_of_a_cleanly_read_document_is_found(name: str) -> None:
    text, expected = EXPECTED[name]
    found = values(text)
    assert {key: found[key] for key in expected} == expected


def head(number_line: str, title: str = "QUYẾT ĐỊNH") -> str:
    return (
        f"BỘ NỘI VỤ CỘNG HÒA XÃ HỘI CHỦ NGHĨA VIỆT NAM\nĐộc lập - Tự do\n{number_line}\n{title}\n"
    )


@pytest.mark.parametrize(
    ("line", "number", "notation", "date"),
    [
        ("Số: 12/QĐÐ-BNV Hà Nội, ngày 24 tháng 9 năm 2025", "12", "QĐ-BNV", "2025-09-24"),
        ("Số:2750 /QĐ-BNV Hà Nội, ngày 03 tháng I0năm 2025", "2750", "QĐ-BNV", "2025-10-03"),
        ("Số: 660/QĐ-BNV Hà Nội, ngày 3| tháng 12 năm 2O24", "660", "QĐ-BNV", "2024-12-31"),
        ("Sô: 7I5/QĐ-BNV Hà Nội. ngày24_ tháng9_ năm 2025", "715", "QĐ-BNV", "2025-09-24"),
        ("S0: 15a/QĐ - BNV Hà Nội, ngay 01 thang 02 nam 1999", "15a", "QĐ-BNV", "1999-02-01"),
        ("‘Số: 24/2024/QĐ–TTg Hà Nội, ngày 01 tháng 8 năm 2024", "24", "QĐ-TTg", "2024-08-01"),
        ("Số: 31 /QĐ-BNV TP. Hồ Chí Minh, ngày 9/4/2025", "31", "QĐ-BNV", "2025-04-09"),
    ],
)
def test_known_noise_of_ocr_does_not_hide_number_and_date(
    line: str, number: str, notation: str, date: str
) -> None:
    found = values(head(line))
    assert (found["number"], found["notation"], found["issued_date"]) == (number, notation, date)


@pytest.mark.parametrize(
    "line",
    [
        "Số: 0‡ /QĐ-BNV Hà Nội, ngày Íð tháng 3 năm 2024",
        "Số: đđ /QĐ-BNV Hà Nội, ngày8ổ tháng 4 năm 2017",
        "Số: 4 /QĐ-BNV Hà Nội, ngày 32 tháng 3 năm 2024",
        "sóÄ SỲ/ /QĐ-BNV Hà Nội, ngày sỐ tháng 02 năm 2021",
    ],
)
def test_what_was_written_by_hand_and_misread_is_no_number_and_no_date(line: str) -> None:
    fields = read(head(line)).fields()
    for name in ("number", "issued_date"):
        assert fields[name]["value"] is None
        assert fields[name]["why"]
        assert fields[name]["evidence"], "a person is shown where to look"
    assert fields["notation"]["value"] == "QĐ-BNV"
    assert fields["type_name"]["value"] == "Quyết định"


@pytest.mark.parametrize("blank", ["Số:      /KH-UBND", "Số: ..../KH-UBND", "Số:__/KH-UBND"])
def test_an_empty_number_is_flagged_as_perhaps_a_draft(blank: str) -> None:
    reading = read(head(f"{blank} Hà Nội, ngày    tháng 5 năm 2024", "KẾ HOẠCH"))
    assert reading.found["number"].value is None
    assert "draft" in reading.found["number"].why
    assert "2024-05" in reading.found["issued_date"].why
    assert any("draft" in note for note in reading.notes)


def test_an_empty_party_number_is_flagged_too() -> None:
    reading = read(PARTY.replace("Số 64-", "Số      -"))
    assert reading.profile == "party"
    assert "draft" in reading.found["number"].why


def test_a_number_cited_in_the_text_is_never_taken_for_the_documents_own() -> None:
    without = "".join(line for line in STATE.splitlines(True) if not line.startswith("Số:"))
    found = values(without)
    assert (found["number"], found["issued_date"]) == (None, None)
    body = "tại Thông tư số 62/2023/TT-BCA ngày 14/11/2023 của Bộ trưởng\nSố 12-CV/TW ngày 3/2 và\n"
    assert values(body)["number"] is None
    assert read(body).profile is None


def test_the_title_decides_where_a_party_code_stands_for_two_types() -> None:
    ruled = values(PARTY.replace("\nQUYẾT ĐỊNH\n", "\nQUY ĐỊNH\n"))
    assert (ruled["type_name"], ruled["type_abbr"]) == ("Quy định", "QĐ")
    untitled = read(PARTY.replace("\nQUYẾT ĐỊNH\n", "\n"))
    assert untitled.found["type_name"].value is None
    assert "Quyết định or Quy định" in untitled.found["type_name"].why


@pytest.mark.parametrize(
    ("below", "subject"),
    [
        ("Thực hiện phòng cháy trong kho\n\nNhiệt độ trong kho giữ ở mức 17 độ.", None),
        ("Thực hiện phòng cháy trong kho\nCăn cứ Luật Lưu trữ;", None),
        ("Thực hiện phòng cháy\ntrong kho\nĐiều 1. Giữ ấm.", None),
        ("Thực hiện phòng cháy trong kho\nBà Nguyễn Xuân Sửu kiểm tra\ntừng trang ảnh.", None),
        ("THỰC HIỆN PHÒNG CHÁY\n2019\nCăn cứ", "THỰC HIỆN PHÒNG CHÁY 2019"),
        ("V/v: phòng cháy\nKính gửi: Ông A", "V/v: phòng cháy"),
        ("| Đến ngày 3 Về việc phòng cháy\n\nI. MỤC ĐÍCH", "Về việc phòng cháy"),
    ],
)
def test_the_subject_ends_where_the_text_begins(below: str, subject: str | None) -> None:
    found = values(head("Số: 12/KH-BNV Hà Nội, ngày 24 tháng 9 năm 2025", "KẾ HOẠCH") + below)
    assert found["subject"] == (subject or "Thực hiện phòng cháy trong kho")


def test_a_party_dispatch_has_its_subject_below_the_number() -> None:
    found = values(PARTY.replace("64-QĐ/", "64-CV/").replace("\nQUYẾT ĐỊNH\n", "\n"))
    assert (found["type_name"], found["type_abbr"]) == ("Công văn", "CV")
    assert found["subject"] == "về việc giao nhiệm vụ số hoá tài liệu"


def test_a_number_that_lost_its_slash_is_read_with_little_confidence() -> None:
    reading = read(head("Số:1046KH-SXD _. Trường Thủy, ngày 30 tháng 12 năm 2007", "KẾ HOẠCH"))
    assert reading.found["number"].value == "1046"
    assert reading.found["number"].confidence < 0.5
    assert reading.found["place"].value == "Trường Thủy"


@pytest.mark.parametrize(
    ("lines", "organ", "parent"),
    [
        ("UBND TỈNH BẮC HẢI|SỞ NỘI VỤ", "SỞ NỘI VỤ", "UBND TỈNH BẮC HẢI"),
        ("BỘ GIÁO DỤC|VÀ ĐÀO TẠO", "BỘ GIÁO DỤC VÀ ĐÀO TẠO", None),
        ("ỦY BAN NHÂN DÂN|HUYỆN A|PHÒNG NỘI VỤ ˆ", "PHÒNG NỘI VỤ", "ỦY BAN NHÂN DÂN HUYỆN A"),
        ("LIÊN ĐOÀN B -|SỞ VĂN HÓA|TỈNH A", "LIÊN ĐOÀN B - SỞ VĂN HÓA TỈNH A", None),
    ],
)
def test_lines_of_the_head_are_put_together_to_organs(
    lines: str, organ: str, parent: str | None
) -> None:
    left = lines.split("|")
    right = ["CỘNG HÒA XÃ HỘI CHỦ NGHĨA VIỆT NAM", "Độc lập - Tự do - Hạnh phúc", "———"]
    merged = "\n".join(f"{a} {b}" for a, b in zip(left, right, strict=False))
    for head_text in (merged, "\n".join([*left, *right])):
        found = values(f"{head_text}\nSố: 12/QĐ-X Bắc Hải, ngày 02 tháng 3 năm 2024\nQUYẾT ĐỊNH\n")
        assert (found["organ"], found["parent_organ"]) == (organ, parent)


def test_what_a_digital_signature_shows_above_the_head_is_no_organ() -> None:
    shown = (
        "TRUNG TÂM CÔNG BÁO\n\nVÀ TIN HỌC\ncbth(quangngai.gov.vn\n17.01.2025 09:17:04 +07:00\n\n"
    )
    assert values(shown + STATE) == values(STATE)
    assert values("Người ký: Sở Y tế\nTHÀNH PHỐ B\nEmail: a@b.vn\n\n" + STATE) == values(STATE)


def test_nobody_signs_for_himself() -> None:
    field = read(STATE.replace("Như Điều 3; PHÓ CHỦ", "Như Điều 3; CHỦ")).found["signer_title"]
    assert field.value is None


def test_half_a_signers_office_is_not_given_as_the_whole() -> None:
    field = read(STATE.replace("- Như Điều 3; PHÓ CHỦ TỊCH", "- Như Điều 3;")).found["signer_title"]
    assert field.value is None
    assert "KT. CHỦ TỊCH" in field.why


def test_a_surname_that_lost_its_capital_under_the_seal_is_restored_with_less_confidence() -> None:
    field = read(STATE.replace("\nNguyễn Thị", "\nguyễn Thị")).found["signer"]
    assert field.value == "Nguyễn Thị Hương Giang"
    assert field.evidence is not None
    assert field.evidence.text == "guyễn Thị Hương Giang"
    assert field.confidence < 0.5


@pytest.mark.parametrize("name", Options().profiles)
def test_every_type_in_the_tables_is_found_from_its_own_title(name: str) -> None:
    (profile,) = load([name])
    regime = "ĐẢNG CỘNG SẢN VIỆT NAM" if name == "party" else "CỘNG HÒA XÃ HỘI CHỦ NGHĨA VIỆT NAM"
    for entry in profile.types:
        title = entry.name.upper()
        text = f"BAN TỔ CHỨC {regime}\n{title}\nvề công tác lưu trữ\nCăn cứ điều lệ;\n"
        reading = read(text, (profile,))
        assert reading.profile == name
        assert reading.found["type_name"].value == entry.name
        assert reading.found["type_abbr"].value == entry.code
        assert reading.found["subject"].value == "về công tác lưu trữ"


def test_a_document_of_no_known_layout_has_no_profile_and_says_why() -> None:
    reading = read("Danh sách các hộ dân\n1 Nguyễn Văn A 100\n")
    assert reading.profile is None
    assert all(f.value is None and f.why for f in reading.found.values())


def test_a_document_without_any_letter_is_not_said_to_have_no_mark() -> None:
    assert "not established" in read("\f \f").found["secrecy"].why
    assert "page 2" in read(STATE + "\f \f" + STATE).found["secrecy"].why
