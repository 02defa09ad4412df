"""Files of one batch belong together however the accents of their names are typed."""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from archived.ingest.batches import group_pages
from archived.model.ids import composed
from tests.integration.ingest.hand_driven_folder import Place, paper

NAMES = [
    "Tờ trình",
    "Quyết định số 12_QĐ-UBND",
    "Nghị quyết Đảng ủy",
    "Hồ sơ ông Nguyễn Văn Ấu",
    "Biên bản bàn giao (lần 2)",
    "Ủy ban nhân dân xã Tân Phú",
    "Ảnh 3",
    "Sổ hộ khẩu ở Huế",
    "Số ước lượng",
    "Giấy chứng nhận quyền sử dụng đất",
    "Ö Å é",
    "한글 문서",
]


def nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def nfd(text: str) -> str:
    return unicodedata.normalize("NFD", text)


def numbered(tmp_path: Path, deadline: str = "1 h") -> Place:
    return Place(tmp_path, deadline=deadline, more='pages = "numbered"\nbatch_settle_time = "1 ms"')


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("forms", [(nfc, nfd), (nfd, nfc), (nfd, nfd)])
def test_numbered_pages_of_one_name_are_one_document(
    tmp_path: Path, name: str, forms: tuple[Callable[[str], str], ...]
) -> None:
    place = numbered(tmp_path)
    for number in (2, 1, 3):
        form = forms[number % 2]
        place.drop(f"{form(name)}-{number:03}.png", paper(f"page {number}"))
    [document] = place.quiet()
    assert document.name == nfc(name)
    assert document.code is None
    assert place.originals(document) == [paper(f"page {n}") for n in (1, 2, 3)]
    place.settle_up()


def test_pages_in_one_folder_typed_in_two_ways_are_one_document(tmp_path: Path) -> None:
    place = numbered(tmp_path)
    place.drop(nfc("Phòng Nội vụ/Tờ trình-001.png"), paper("1"))
    place.drop(nfd("Phòng Nội vụ/") + nfc("Tờ trình-002.png"), paper("2"))
    [document] = place.quiet()
    assert place.originals(document) == [paper("1"), paper("2")]
    place.settle_up()


def test_the_same_number_in_both_forms_is_a_number_too_many(tmp_path: Path) -> None:
    place = numbered(tmp_path, deadline="50 ms")
    for form, text in ((nfc, "one"), (nfd, "other")):
        place.drop(form("Tờ trình-001.png"), paper(text))
    [document] = place.quiet()
    assert document.code == "pages-duplicate"
    assert len(place.originals(document)) == 2
    place.settle_up()


def test_a_mark_closes_pages_whose_accents_are_typed_otherwise(tmp_path: Path) -> None:
    place = Place(tmp_path, more='pages = "numbered"\nbatch_settle_time = "1 h"')
    place.drop(nfc("Tờ trình-001.png"), paper("1"))
    place.drop(nfd("Tờ trình-002.png"), paper("2"))
    place.drop(nfd("Tờ trình.done"), b"")
    [document] = place.quiet()
    assert len(place.originals(document)) == 2
    assert place.left() == []
    place.settle_up()


def test_two_marks_of_one_name_close_it_together_and_none_is_left(tmp_path: Path) -> None:
    place = Place(tmp_path, more='pages = "numbered"\nbatch_settle_time = "1 h"')
    place.drop(nfc("Tờ trình-001.png"), paper("1"))
    for form in (nfc, nfd):
        place.drop(form("Tờ trình.done"), form("x").encode() + form("ờ").encode())
    assert len(place.quiet()) == 1
    assert place.left() == []
    place.settle_up()


def test_a_dossiers_folder_typed_in_two_ways_is_one_dossier(tmp_path: Path) -> None:
    place = Place(tmp_path, more='dossiers = true\nclosed_by = ["ticket"]')
    folder = "Hồ sơ số 7"
    place.drop(f"{nfc(folder)}/Tờ trình.pdf", paper("1"))
    place.drop(f"{nfd(folder)}/{nfd('Quyết định')}.pdf", paper("2"))
    listed = {"files": [{"path": "Tờ trình.pdf"}, {"path": nfc("Quyết định.pdf")}]}
    place.drop(f"{nfd(folder)}/ticket.json", json.dumps(listed).encode())
    documents = place.quiet()
    assert {d.dossier for d in documents} == {folder}
    assert len(documents) == 2
    assert place.left() == []
    place.settle_up()


def test_one_name_in_both_spellings_of_a_dossiers_folder_is_held_and_nothing_lost(
    tmp_path: Path,
) -> None:
    place = Place(tmp_path, more='dossiers = true\nclosed_by = ["ticket"]')
    for form, text in ((nfc, "one"), (nfd, "other")):
        place.drop(f"{form('Hồ sơ số 7')}/1.pdf", paper(text))
    listed = json.dumps({"files": [{"path": "1.pdf"}]}).encode()
    place.drop(f"{nfc('Hồ sơ số 7')}/ticket.json", listed)
    for _ in range(4):
        place.sweep()
    assert {a.code for a in place.arrivals()} == {"ticket-duplicate"}
    assert len(place.left()) == 3
    place.settle_up()


def test_a_dossier_closed_by_a_mark_in_the_other_spelling(tmp_path: Path) -> None:
    place = Place(tmp_path, more='dossiers = true\nclosed_by = ["mark"]')
    place.drop(f"{nfc('Hồ sơ')}/a.pdf", paper("1"))
    place.drop(f"{nfd('Hồ sơ')}/b.pdf", paper("2"))
    place.drop(f"{nfd('Hồ sơ')}/.done", b"")
    assert {d.dossier for d in place.quiet()} == {"Hồ sơ"}
    assert place.left() == []
    place.settle_up()


def test_fronts_and_backs_typed_in_two_ways_are_collated(tmp_path: Path) -> None:
    place = Place(
        tmp_path, more='pages = "numbered"\ncollate = "two-pass"\nbatch_settle_time = "1 ms"'
    )
    for at, (name, number) in enumerate((n, k) for n in ("Mặt trước", "Mặt sau") for k in (1, 2)):
        form = nfc if number == 1 else nfd
        path = place.drop(f"{form(name)}-{number}.png", paper(f"{name} {number}"))
        os.utime(path, (1_700_000_000 + at, 1_700_000_000 + at))
    [document] = place.quiet()
    assert place.originals(document) == [
        paper(each) for each in ("Mặt trước 1", "Mặt sau 2", "Mặt trước 2", "Mặt sau 1")
    ]
    place.settle_up()


def test_bytes_that_are_no_text_are_compared_as_they_are() -> None:
    one, other = b"T\xde-001.png", b"T\xdd-002.png"
    assert composed(one) == one
    assert len(group_pages([one, other])) == 2
    assert len(group_pages([one, b"T\xde-002.png"])) == 1
