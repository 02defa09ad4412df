"""What may be signed, what is left alone, and what is held."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pikepdf
import pytest

from archived.api import Artifact, Refuse, Role
from archived.testing.kit import take_in
from archived_sign import Sign


@pytest.fixture
def signed_file(pki, make_pdfa, sign) -> Path:
    return sign(make_pdfa(), **pki.key_options()).replace_main.path


def variant(path: Path, folder: Path, old: bytes, new: bytes) -> Path:
    data = path.read_bytes()
    assert len(old) == len(new)
    assert old in data
    changed = folder / "variant.pdf"
    changed.write_bytes(data.replace(old, new))
    return changed


def left_alone(result, path: Path, before: bytes) -> bool:
    assert result.replace_main is None
    assert not result.artifacts
    assert result.facts["level"] == "none"
    assert result.notes
    return path.read_bytes() == before


def test_a_signed_original_is_left_alone(pki, sign, signed_file):
    before = signed_file.read_bytes()
    result = sign(signed_file, role=Role.ORIGINAL, **pki.key_options())
    assert left_alone(result, signed_file, before)
    assert result.facts["reason"] == "original-signed"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(b"/SigFlags", b"/SigFlegs", id="the form does not say that there is one"),
        pytest.param(b"/AcroForm", b"/AcroFerm", id="no form leads to the signature"),
        pytest.param(b"startxref", b"startxrxx", id="the file is damaged"),
    ],
)
def test_a_signed_original_is_recognised_even_when(old, new, pki, sign, signed_file, tmp_path):
    path = variant(signed_file, tmp_path, old, new)
    before = path.read_bytes()
    result = sign(path, role=Role.ORIGINAL, **pki.key_options())
    assert left_alone(result, path, before)
    assert result.facts["reason"] == "original-signed"


@pytest.mark.parametrize("key", ["/Perms", "/DSS"])
def test_an_original_with_traces_of_a_signature_is_left_alone(key, pki, make_pdfa, sign, tmp_path):
    path = tmp_path / "traces.pdf"
    with pikepdf.open(make_pdfa()) as pdf:
        pdf.Root[key] = pikepdf.Dictionary()
        pdf.save(path)
    result = sign(path, role=Role.ORIGINAL, **pki.key_options())
    assert left_alone(result, path, path.read_bytes())
    assert result.facts["reason"] == "original-signed"


def test_an_unsigned_original_is_signed_as_a_copy(pki, make_pdfa, sign):
    path = make_pdfa()
    before = path.read_bytes()
    result = sign(path, role=Role.ORIGINAL, **pki.key_options())
    assert path.read_bytes() == before
    assert result.replace_main.role == Role.ACCESS
    assert result.replace_main.path.read_bytes().startswith(before)
    assert any("original stays as received" in note for note in result.notes)


def test_the_note_on_a_reading_copy_says_what_the_signature_attests(pki, make_pdfa, sign):
    result = sign(make_pdfa(), facts={"ocr": {"reading_copy": True}}, **pki.key_options())
    assert result.facts["level"] == "B-B"
    assert any("reading copy" in note for note in result.notes)


def test_a_copy_that_carries_a_signature_is_held(pki, sign, signed_file):
    with pytest.raises(Refuse) as raised:
        sign(signed_file, role=Role.ACCESS, **pki.key_options())
    assert raised.value.code == "already-signed"


def encrypted(source: Path, path: Path) -> None:
    with pikepdf.open(source) as pdf:
        pdf.save(path, encryption=pikepdf.Encryption(owner="o", user=""))


def damaged(source: Path, path: Path) -> None:
    path.write_bytes(source.read_bytes().replace(b"startxref", b"startxxxx"))


def no_pages(source: Path, path: Path) -> None:
    with pikepdf.new() as pdf:
        pdf.save(path)


def not_pdf(source: Path, path: Path) -> None:
    path.write_bytes(b"")


def hybrid(source: Path, path: Path) -> None:
    """A classic table whose trailer also names a cross-reference stream (ISO 32000-1, 7.5.8.4)."""
    parts = [
        b"1 0 obj\n<</Type/Catalog/Pages 2 0 R>>\nendobj\n",
        b"2 0 obj\n<</Type/Pages/Kids[3 0 R]/Count 1>>\nendobj\n",
        b"3 0 obj\n<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]>>\nendobj\n",
    ]
    data, offsets = b"%PDF-1.5\n", []
    for part in parts:
        offsets.append(len(data))
        data += part
    stream_at = len(data)
    entry = bytes([1]) + stream_at.to_bytes(2, "big") + b"\0"
    data += (
        b"4 0 obj\n<</Type/XRef/Size 5/Index[4 1]/W[1 2 1]/Root 1 0 R/Length 4>>\nstream\n"
        + entry
        + b"\nendstream\nendobj\n"
    )
    table_at = len(data)
    data += b"xref\n0 4\n0000000000 65535 f \n"
    data += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    data += b"trailer\n<</Size 5/Root 1 0 R/XRefStm %d>>\nstartxref\n%d\n%%%%EOF\n" % (
        stream_at,
        table_at,
    )
    path.write_bytes(data)


BROKEN = [
    (encrypted, "encrypted"),
    (damaged, "startxref"),
    (no_pages, "no pages"),
    (not_pdf, "PdfReadError"),
    (hybrid, "hybrid"),
]


@pytest.mark.parametrize(("spoil", "why"), BROKEN)
def test_a_copy_that_cannot_be_signed_is_held(spoil, why, pki, make_pdfa, sign, tmp_path):
    path = tmp_path / "spoilt.pdf"
    spoil(make_pdfa(), path)
    with pytest.raises(Refuse) as raised:
        sign(path, role=Role.ACCESS, **pki.key_options())
    assert raised.value.code == "unsignable"
    assert why in raised.value.message
    assert raised.value.hint


@pytest.mark.parametrize(("spoil", "why"), BROKEN)
def test_an_original_that_cannot_be_signed_goes_on_unsigned_and_says_so(
    spoil, why, pki, make_pdfa, sign, tmp_path
):
    path = tmp_path / "spoilt.pdf"
    spoil(make_pdfa(), path)
    before = path.read_bytes()
    result = sign(path, role=Role.ORIGINAL, **pki.key_options())
    assert left_alone(result, path, before)
    assert result.facts["reason"] == "original-unsignable"
    assert why in result.notes[0]


def test_one_of_several_originals_is_never_signed_for_all(pki, make_pdfa, run_stage):
    path = make_pdfa()
    result = run_stage(Sign, [path, path], **pki.key_options())
    assert result.replace_main is None
    assert not result.artifacts
    assert result.facts["reason"] == "several-originals"
    assert "2 originals" in result.notes[0]


def test_the_copy_of_several_originals_is_signed_and_they_stay(pki, make_pdfa, run_stage, tmp_path):
    first, second = (shutil.copyfile(make_pdfa(), tmp_path / f"{n}.pdf") for n in (1, 2))
    document = take_in([first, second], tmp_path)
    copy = Artifact(make_pdfa(), "document.pdf", "application/pdf", Role.ACCESS)
    document = replace(document, main=copy, artifacts=(*document.artifacts, copy))
    before = [original.path.read_bytes() for original in document.originals]
    result = run_stage(Sign, document, **pki.key_options())
    assert result.replace_main.role is Role.ACCESS
    assert result.facts["verdict"]["integrity"] == "yes"
    assert [original.path.read_bytes() for original in result.document.originals] == before
