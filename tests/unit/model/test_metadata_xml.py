"""The three descriptions in a sealed object: complete, deterministic, valid, and never broken by
what a document is called.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from archived.model import ids
from archived.model.metadata_xml import (
    DC,
    EVENT_TYPES,
    PREMIS_NS,
    STAGE_EVENTS,
    dublin_core,
    premis,
)
from archived.model.record import (
    ArrivedFile,
    LedgerPosition,
    Record,
    RecordedDecision,
    RecordedFile,
    RecordedStep,
    from_json,
    to_json,
)

NOON = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=7)))
DOCUMENT = ids.document_id(NOON, b"0123456789")
P = {"p": PREMIS_NS}
ABOUT = {
    "type_name": {"value": "Quyết định", "confidence": 0.97},
    "number": {"value": "12", "confidence": 0.9},
    "notation": {"value": "QĐ-UBND", "confidence": 0.9},
    "code": {"value": "12/QĐ-UBND", "confidence": 0.9},
    "issued_date": {"value": "2026-11-20", "confidence": 0.9},
    "place": {"value": "Hà Nội", "confidence": 0.9},
    "organ": {"value": "UBND XÃ ĐẠI MỖ", "confidence": 0.8},
    "subject": {"value": "Về việc giao đất <đợt 2> & bồi thường", "confidence": 0.7},
    "signer": {"value": None, "why": "not established: no signature block"},
}


def a_file(role: str, name: str, media_type: str, **more) -> RecordedFile:
    digests = [hashlib.new(a, name.encode()).hexdigest() for a in ("sha512", "sha256")]
    return RecordedFile(role, name, media_type, len(name), *digests, **more)


def a_record(**changes) -> Record:
    scan = "scans/Quye\u0302\u0301t đi\u0323nh 12.tif".encode()
    step = RecordedStep(
        "step-1",
        0,
        "ocr",
        2,
        "1.0",
        "archived-ocr",
        "sha256:ab",
        NOON,
        NOON,
        "finished",
        tools={"tesseract": "5.3.0", "ocrmypdf": "17.13"},
        notes=("page 2 was turned",),
    )
    record = Record(
        document=DOCUMENT,
        object=ids.object_id(DOCUMENT),
        hotfolder="scans",
        path=scan,
        pipeline="paper",
        stages=("ocr", "classify", "seal"),
        media_type="image/tiff",
        secrecy="mật",
        received=NOON,
        sealed=NOON + timedelta(minutes=3),
        archived="0.1.0",
        arrived=(ArrivedFile(scan, "original/0001.tif", 9, 1_700_000_000_123_456_789, NOON),),
        files=(
            a_file("original", "0001.tif", "image/tiff"),
            a_file("access", "document.pdf", "application/pdf", step="step-1", main=True),
            a_file("text", "document.txt", "text/plain", step="step-1"),
        ),
        steps=(
            replace(step, id="step-0", attempt=1, ended=None, ending="failed", code="timed-out"),
            step,
            RecordedStep("step-2", 1, "classify", 1, "1.0", "", "", NOON, NOON, "finished"),
            RecordedStep("step-3", 2, "verify-seal", 1, "2", "x", "", NOON, NOON, "skipped"),
        ),
        facts={"classify": {"fields": ABOUT}, "ocr": {"pages": 1, "mean": 0.93}},
        ledger=LedgerPosition(41, "ab" * 32),
        decisions=(
            RecordedDecision(NOON, "lan", "released", "the page is upside down but legible"),
        ),
    )
    return replace(record, **changes)


@pytest.fixture(scope="module")
def schema() -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(Path(__file__).parent / "data/premis-v3-0.xsd"))


def dc_of(record: Record) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for element in etree.fromstring(dublin_core(record)):
        found.setdefault(etree.QName(element).localname, []).append(element.text)
    return found


NASTY = (
    b"\x00\x01\x1f name\r\n.tif",
    b"\xff\xfe not utf-8.tif",
    "emoji \U0001f600 \ufffe \uffff \u2028.tif".encode(),
    b"\xed\xa0\x80 a surrogate.tif",
    b"]]><script>&amp;'\".tif",
    b"",
)


def test_a_record_is_read_back_as_it_was():
    record = a_record()
    assert from_json(to_json(record)) == record


def test_every_field_of_a_record_is_written():
    written = json.loads(to_json(a_record()))
    for kind, value in (
        (Record, written),
        (ArrivedFile, written["arrived"][0]),
        (RecordedFile, written["files"][0]),
        (RecordedStep, written["steps"][0]),
        (RecordedDecision, written["decisions"][0]),
        (LedgerPosition, written["ledger"]),
    ):
        assert {field.name for field in fields(kind)} <= set(value)


def test_received_names_are_kept_as_exact_bytes_and_in_nfc_for_people():
    written = json.loads(to_json(a_record()))
    assert bytes.fromhex(written["path"]) == a_record().path
    assert written["name"] == "scans/Quyết định 12.tif"
    assert written["arrived"][0]["name"] == "scans/Quyết định 12.tif"


@settings(max_examples=50, deadline=None)
@given(
    st.binary(max_size=40),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    ),
)
def test_any_name_and_any_facts_come_back(path, fact):
    record = a_record(path=path, facts={"stage": {"fact": fact}})
    assert from_json(to_json(record)) == record
    assert to_json(from_json(to_json(record))) == to_json(record)


def test_the_order_in_which_things_were_put_in_does_not_show():
    one, other = a_record(), a_record()
    shuffled = {stage: other.facts[stage] for stage in reversed(list(other.facts))}
    other = replace(other, facts=shuffled)
    for describe in (to_json, premis, dublin_core):
        assert describe(one) == describe(other)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda value: value.update(format=2), "format 2"),
        (lambda value: value.update(files=3), "files"),
        (lambda value: value["files"][1].update(size="12"), r"files\[1\]: size"),
        (lambda value: value["files"][1].update(size=True), r"files\[1\]: size"),
        (lambda value: value.pop("document"), "document"),
        (lambda value: value.update(path="zz"), "path"),
        (lambda value: value.update(received="yesterday"), "received"),
        (lambda value: value["ledger"].update(sequence=None), "ledger: sequence"),
    ],
)
def test_a_damaged_record_says_where(change, said):
    value = json.loads(to_json(a_record()))
    change(value)
    with pytest.raises(ValueError, match=said):
        from_json(json.dumps(value).encode())
    with pytest.raises(ValueError, match="not readable"):
        from_json(to_json(a_record())[:-20])


def test_keys_of_a_later_program_do_not_disturb():
    value = json.loads(to_json(a_record()))
    value["colour"] = value["files"][0]["colour"] = "blue"
    assert from_json(json.dumps(value).encode()) == a_record()


def test_a_record_of_an_earlier_program_says_of_no_file_that_it_grew():
    value = json.loads(to_json(a_record()))
    for arrived in value["arrived"]:
        assert arrived.pop("grew") is False
    assert from_json(json.dumps(value).encode()) == a_record()


def test_a_time_without_a_zone_is_not_recorded():
    with pytest.raises(ValueError, match="time zone"):
        to_json(a_record(received=datetime(2026, 1, 1)))  # noqa: DTZ001


def test_premis_is_valid_against_the_official_schema(schema):
    for record in (
        a_record(),
        a_record(steps=(), decisions=(), facts={}),
        *(a_record(path=name) for name in NASTY),
    ):
        schema.assertValid(etree.fromstring(premis(record)))


def test_every_identifier_in_premis_is_unique_and_every_link_leads_somewhere():
    root = etree.fromstring(premis(a_record()))
    for kind in ("object", "event", "agent"):
        own = root.xpath(
            f"p:{kind}/p:{kind}Identifier/p:{kind}IdentifierValue/text()", namespaces=P
        )
        assert len(own) == len(set(own)) > 0
        links = [
            *root.xpath(f"//p:linking{kind.title()}IdentifierValue/text()", namespaces=P),
            *root.xpath(f"//p:related{kind.title()}IdentifierValue/text()", namespaces=P),
        ]
        assert set(links) <= set(own)
        assert links


def test_premis_tells_what_happened_in_the_vocabulary_of_archives():
    root = etree.fromstring(premis(a_record()))
    events = root.xpath("p:event/p:eventType", namespaces=P)
    assert [event.text for event in events] == [
        "ingestion",
        "message digest calculation",
        "normalization",
        "normalization",
        "metadata extraction",
        "metadata extraction",
        "policy assignment",
        "information package creation",
    ]
    uri = "http://id.loc.gov/vocabulary/preservation/eventType/"
    assert all(e.get("valueURI") == uri + EVENT_TYPES[e.text] for e in events)
    outcomes = root.xpath("p:event//p:eventOutcome/text()", namespaces=P)
    assert outcomes[2:4] == ["fail", "success"]
    assert set(STAGE_EVENTS.values()) <= set(EVENT_TYPES)
    agents = root.xpath("p:agent/p:agentIdentifier/p:agentIdentifierValue/text()", namespaces=P)
    assert {"archived 0.1.0", "archived-ocr 1.0", "tesseract 5.3.0", "lan"} <= set(agents)


def test_premis_gives_both_digests_of_every_file():
    root = etree.fromstring(premis(a_record()))
    for file in a_record().files:
        (found,) = root.xpath(f"p:object[.//p:contentLocationValue='{file.logical}']", namespaces=P)
        assert found.xpath(".//p:messageDigest/text()", namespaces=P) == [file.sha512, file.sha256]
        assert found.findtext(".//p:size", namespaces=P) == str(file.size)


def test_dublin_core_says_what_was_read_on_the_page():
    found = dc_of(a_record())
    assert found["title"] == ["Quyết định số 12/QĐ-UBND: Về việc giao đất <đợt 2> & bồi thường"]
    assert found["identifier"] == [ids.object_id(DOCUMENT), "12/QĐ-UBND"]
    assert found["date"] == ["2026-11-20"]
    assert found["creator"] == ["UBND XÃ ĐẠI MỖ"]
    assert found["rights"] == ["mật"]
    assert "contributor" not in found, "what was not established is left out"
    assert set(found) <= {
        "title",
        "creator",
        "subject",
        "description",
        "publisher",
        "contributor",
        "date",
        "type",
        "format",
        "identifier",
        "source",
        "language",
        "relation",
        "coverage",
        "rights",
    }
    assert {etree.QName(e).namespace for e in etree.fromstring(dublin_core(a_record()))} == {DC}


def test_dublin_core_names_what_a_document_is_a_part_of_and_has_as_parts():
    related = {"dossier": "HS-7", "master": "urn:uuid:master", "parts": ("urn:uuid:p1",)}
    assert dc_of(a_record(**related))["relation"] == ["HS-7", "urn:uuid:master", "urn:uuid:p1"]
    assert "relation" not in dc_of(a_record(dossier="", master="", parts=()))


def test_dublin_core_falls_back_on_the_received_name():
    found = dc_of(a_record(facts={}))
    assert found["title"] == ["scans/Quyết định 12.tif"]
    assert found["date"] == ["2026-11-22"]


@pytest.mark.parametrize("name", NASTY)
def test_no_received_name_breaks_a_description(name):
    record = a_record(path=name, facts={"classify": {"fields": {"subject": {"value": "\x00\x0b"}}}})
    for describe in (premis, dublin_core):
        etree.fromstring(describe(record))
    assert from_json(to_json(record)) == record
    assert "\\x00" in dc_of(record)["title"][0]


def test_everything_known_is_utc_or_says_its_offset():
    written = json.loads(to_json(a_record(received=datetime(2026, 1, 2, tzinfo=UTC))))
    assert written["received"] == "2026-01-02T00:00:00+00:00"
    assert written["sealed"].endswith("+07:00")
