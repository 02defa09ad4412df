"""Ids, plans, secrecy, descriptions: small pure decisions."""

import unicodedata
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archived.api import Artifact, Document, Role
from archived.engine.protocol import asked_about
from archived.model import ids as ids_module
from archived.model import pipeline, record, secrecy

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@given(
    now=st.integers(0, 2**32).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
    randomness=st.binary(min_size=10, max_size=10),
)
def test_a_document_id_is_a_uuid_of_version_7(now: datetime, randomness: bytes) -> None:
    text = ids_module.document_id(now, randomness)

    found = uuid.UUID(text)
    assert (found.version, found.variant) == (7, uuid.RFC_4122)
    assert ids_module.is_document_id(text)
    assert ids_module.of_object(ids_module.object_id(text)) == text


def test_a_document_id_says_when_to_the_millisecond() -> None:
    found = uuid.UUID(ids_module.document_id(NOON + timedelta(milliseconds=7), b"\xff" * 10))

    assert found.int >> 80 == int(NOON.timestamp()) * 1000 + 7
    for length in (9, 11):
        with pytest.raises(ValueError, match="10 random bytes"):
            ids_module.document_id(NOON, bytes(length))


def test_an_objects_id_is_a_urn_and_no_other_names_a_document() -> None:
    ours = ids_module.document_id(NOON, bytes(10))
    assert ids_module.object_id(ours) == f"urn:uuid:{ours}"
    for other in (ours, f"urn:oid:{ours}", "urn:uuid:ecb2d8a1-93a5-4e3e-8a2b-53b4f9a6a2de"):
        with pytest.raises(ValueError, match="does not name a document"):
            ids_module.of_object(other)


def test_names_are_compared_with_their_accents_in_one_form_and_other_bytes_as_they_are() -> None:
    apart, together = (unicodedata.normalize(form, "Quyết").encode() for form in ("NFD", "NFC"))
    assert apart != together
    assert ids_module.composed(apart + b"\xff") == together + b"\xff"


def test_ids_sort_by_time_of_admission() -> None:
    ids = [
        ids_module.document_id(NOON + timedelta(milliseconds=n), bytes([255 - n % 256]) * 10)
        for n in range(300)
    ]

    assert ids == sorted(ids)


@pytest.mark.parametrize(
    "text",
    ["", "x", "ecb2d8a1-93a5-4e3e-8a2b-53b4f9a6a2de", "01A20175-C08F-7616-8877-C23EA51A0421"],
)
def test_other_texts_are_no_document_ids(text: str) -> None:
    assert not ids_module.is_document_id(text)


@pytest.mark.parametrize(
    ("name", "readable"),
    [
        ("Quyết định.pdf".encode(), "Quyết định.pdf"),
        ("Quyết định.pdf".encode(), "Quyết định.pdf"),
        (b"a\xffb.pdf", "a\\xffb.pdf"),
        (b"two\nlines\x07.pdf", "two\\nlines\\x07.pdf"),
        (b"-rf.pdf", "-rf.pdf"),
    ],
)
def test_names_are_shown_in_nfc_with_nothing_hidden(name: bytes, readable: str) -> None:
    assert ids_module.readable(name) == readable


@given(st.binary(max_size=300))
def test_every_name_can_be_shown_on_one_line(name: bytes) -> None:
    shown = ids_module.readable(name)

    assert shown.isprintable()
    shown.encode()


def test_a_plan_is_read_from_left_to_right() -> None:
    stages = ("ocr", "seal", "replicate")

    assert [pipeline.next_step(stages, n) for n in range(4)] == ["ocr", "seal", "replicate", None]
    assert [pipeline.is_sealed(stages, n) for n in range(4)] == [False, False, True, True]


@pytest.mark.parametrize(
    ("stages", "problems"),
    [
        (["seal"], 0),
        (["ocr", "seal", "replicate"], 0),
        ([], 1),
        (["ocr"], 1),
        (["seal", "seal"], 1),
        (["ocr", "ocr", "seal"], 1),
    ],
)
def test_a_plan_seals_exactly_once_and_repeats_nothing(stages: list[str], problems: int) -> None:
    assert len(pipeline.problems(stages)) == problems


@pytest.mark.parametrize(
    ("patterns", "media_type", "accepted"),
    [
        (("*/*",), "application/x-unknown", True),
        (("image/*",), "image/tiff", True),
        (("image/*",), "application/pdf", False),
        (("application/pdf", "image/png"), "image/png", True),
        ((), "image/png", False),
    ],
)
def test_stages_accept_by_media_type(
    patterns: tuple[str, ...], media_type: str, accepted: bool
) -> None:
    assert pipeline.accepts(patterns, media_type) is accepted


def test_a_stage_of_several_originals_is_asked_about_all_of_them_until_there_is_one_main() -> None:
    letter, scan, made = (
        Artifact(Path(name), name, kind, role)
        for name, kind, role in (
            ("0001.txt", "text/plain", Role.ORIGINAL),
            ("0002.tif", "image/tiff", Role.ORIGINAL),
            ("document.pdf", "application/pdf", Role.ACCESS),
        )
    )
    received = Document(
        "id", datetime(2026, 3, 2, tzinfo=UTC), "scans", "a", letter, (letter, scan)
    )
    read = replace(received, main=made, artifacts=(letter, scan, made))

    assert asked_about(received, any_original=False) == ("text/plain",)
    assert asked_about(received, any_original=True) == ("text/plain", "image/tiff")
    assert asked_about(read, any_original=True) == ("application/pdf",)
    assert pipeline.accepts(("image/*",), "text/plain", "image/tiff")
    assert not pipeline.accepts(("image/*",), "text/plain", "application/pdf")


def test_levels_of_secrecy_rise() -> None:
    words = ["thường", "mật", "tối mật", "tuyệt mật"]

    for low, declared in enumerate(words):
        for high, found in enumerate(words):
            assert secrecy.exceeds(found, declared) is (high > low)
    assert not secrecy.exceeds("Thường", "")
    assert secrecy.exceeds("MẬT", "")
    assert [secrecy.level(w).printed.casefold() for w in words] == words


def test_an_unknown_level_is_named_with_those_that_exist() -> None:
    with pytest.raises(ValueError, match=r'unknown secrecy level "geheim".*"tuyệt mật"'):
        secrecy.level("geheim")


def test_later_stages_describe_better() -> None:
    facts = {
        "ocr": {"pages": 3},
        "classify": {"fields": {"number": {"value": "04"}, "signer": {"value": None}}},
        "correct": {"pages": 2, "fields": {"number": {"value": "4"}}},
        "odd": {"fields": "none", "pages": True},
    }

    assert record.fields_of(facts) == {"number": "4"}
    assert record.pages_of(facts) == 2
    assert record.pages_of({}) is None


def test_ids_of_one_submission_sort_by_their_place_in_it() -> None:
    ids = [ids_module.nth_document_id(NOON, n, bytes([255 - n % 256]) * 8) for n in range(10_000)]

    assert ids == sorted(ids)
    assert len(set(ids)) == 10_000
    assert all(map(ids_module.is_document_id, ids))


def test_the_codes_of_secrecy_are_names_that_others_act_on() -> None:
    assert secrecy.ABOVE_DECLARED == "secrecy-above-declared"
    assert (secrecy.PART_ABOVE, secrecy.PART_UNKNOWN) == (
        "part-secrecy-above",
        "part-secrecy-unknown",
    )
    assert {secrecy.PART_ABOVE, secrecy.PART_UNKNOWN} == secrecy.OF_PARTS
