"""Signatures that documents arrive with: found, judged in three values, shown; nothing breaks."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pikepdf
import pytest
from pyhanko.pdf_utils.generic import TextStringObject
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import signers
from pyhanko.sign.fields import MDPPerm, SigFieldSpec, append_signature_field
from pyhanko.sign.timestamps.requests_client import HTTPTimeStamper

from archived.api import Artifact, Context, Document, Postpone, Role
from archived.testing.daemon import Daemon
from archived_sign.incoming.examine import examine
from archived_sign.incoming.judgement import SignatureVerdict, Trusted
from archived_sign.incoming.run import read_trusted
from archived_sign.incoming.stage import Signatures
from archived_sign.keys import KeyFile
from archived_sign.options import SignOptions

SHARED = Path(__file__).resolve().parents[4] / "shared/data/vn"
Sign = Callable[..., Path]


@pytest.fixture
def trusted(authority) -> Trusted:
    """Both roots of the infrastructure."""
    return trusting(authority)


def trusting(authority: Any, **more: Any) -> Trusted:
    options = {
        "trusted_roots": [str(authority.pem("root"))],
        "timestamp_roots": [str(authority.pem("stamp-root"))],
        **more,
    }
    return read_trusted(Signatures.config().model_validate(options))


@pytest.fixture
def signed(authority, make_pdfa, sign) -> Path:
    """A document of another office, signed at B-LTA."""
    return sign(make_pdfa(), **authority.options("B-LTA")).replace_main.path


@pytest.fixture
def by(authority, make_pdfa, tmp_path) -> Sign:
    """Sign with any certificate and digest, also those that our own stage refuses."""

    def make(
        label: str, digest: str = "sha256", field: str = "Chữ ký", stamped: bool = False
    ) -> Path:
        stamper = HTTPTimeStamper(authority.url()) if stamped else None
        options = SignOptions.model_validate(authority.options("B-B", label))
        path = tmp_path / f"{label}-{digest}.pdf"
        with make_pdfa().open("rb") as source, path.open("wb") as target:
            writer = IncrementalPdfFileWriter(source)
            metadata = signers.PdfSignatureMetadata(field_name=field, md_algorithm=digest)
            signer = KeyFile(options.key, options.passphrase).open().signer
            signers.PdfSigner(metadata, signer, timestamper=stamper).sign_pdf(writer, output=target)
        return path

    return make


def crl_file(authority: Any, folder: Path, issuer: str) -> str:
    """The newest list of an issuing authority, as an administrator imports it."""
    path = folder / f"{issuer}.crl"
    address = f"http://127.0.0.1:{authority.port}/drill/crls/{issuer}/latest.crl"
    with urlopen(address, timeout=10) as answer:
        path.write_bytes(answer.read())
    return str(path)


def only(path: Path, trusted: Trusted) -> SignatureVerdict:
    (found,) = (f for f in examine(path, trusted)[0] if f.kind == "signature")
    return found


def test_a_good_signature_is_valid_attested_and_not_revoked(signed, trusted, authority):
    verdicts, why = examine(signed, trusted)
    assert why == ""
    assert [each.kind for each in verdicts] == ["signature", "timestamp"]
    assert [(each.verdict, each.code) for each in verdicts] == [("valid", "")] * 2
    found = verdicts[0]
    assert (found.integrity, found.trust, found.revocation) == ("valid", "yes", "good")
    assert found.signer == "Drill signer" and "Drill issuing" in found.issuer
    assert found.changes == "validation data" and found.coverage == "revision"
    assert not found.weak and found.digest == "sha256"
    assert found.attested_at is not None and found.claimed_at is not None
    at = datetime.fromisoformat(found.attested_at)
    assert abs(at - datetime.now(UTC)) < timedelta(minutes=10)
    assert verdicts[1].coverage == "file"


def test_nothing_is_asked_of_the_network(signed, trusted, authority):
    asked = len(authority.asked)
    authority.away |= {"ocsp", "crls", "tsa1"}
    assert only(signed, trusted).verdict == "valid"
    assert len(authority.asked) == asked


def test_one_changed_byte_is_invalid(signed, trusted):
    data = bytearray(signed.read_bytes())
    assert data[9:10] == b"%", "the comment behind the header: any program still opens the file"
    data[11] ^= 1
    signed.chmod(0o644)
    signed.write_bytes(data)
    found = only(signed, trusted)
    assert (found.verdict, found.code, found.integrity) == ("invalid", "digest-mismatch", "invalid")


def test_what_was_added_to_the_page_afterwards_is_told(by, trusted, tmp_path):
    path = by("signer")
    changed = tmp_path / "changed.pdf"
    with path.open("rb") as source, changed.open("wb") as target:
        writer = IncrementalPdfFileWriter(source)
        page = writer.root["/Pages"]["/Kids"][0]
        page["/Rotate"] = type(page.raw_get("/MediaBox")[0])(90)
        writer.update_container(page)
        writer.write(target)
    found = only(changed, trusted)
    assert (found.verdict, found.code) == ("not established", "changed-later")
    assert (found.integrity, found.coverage) == ("valid", "revision")


@pytest.mark.parametrize(
    ("label", "code"),
    [("signer", ""), ("curve", ""), ("expired", "certificate-ended"), ("unfit", "")],
)
def test_certificates_good_and_ended(by, trusted, label, code):
    found = only(by(label), trusted)
    assert found.integrity == "valid"
    assert found.code == code
    assert found.verdict == ("not established" if code else "valid")
    assert found.revocation == "not established", "nobody said anything about it"
    assert found.attested_at is None


def test_without_roots_or_with_others_nothing_is_established(by, authority):
    path = by("signer")
    assert (only(path, Trusted()).code, only(path, Trusted()).integrity) == ("no-root", "valid")
    other = read_trusted(
        Signatures.config().model_validate({"trusted_roots": [str(authority.pem("stamp-root"))]})
    )
    assert (only(path, other).verdict, only(path, other).code) == ("not established", "untrusted")


def test_an_imported_crl_tells_what_was_revoked(by, authority, tmp_path):
    """Without a proven time it may have been signed before."""
    trusted = trusting(authority, crls=[crl_file(authority, tmp_path, "issuing")])
    found = only(by("revoked"), trusted)
    assert (found.verdict, found.code) == ("not established", "revoked-since")
    assert (found.revocation, found.integrity) == ("revoked", "valid")
    # The same with a time stamp of now, which is after the revocation.
    stamped = by("revoked", stamped=True)
    proven = only(stamped, trusted)
    assert proven.attested_at is not None
    assert (proven.verdict, proven.code, proven.trust) == ("invalid", "certificate-revoked", "no")
    assert only(by("signer"), trusted).revocation == "not established", "of the authority itself"
    lists = [crl_file(authority, tmp_path, issuer) for issuer in ("issuing", "root")]
    assert only(by("signer"), trusting(authority, crls=lists)).revocation == "good"


def test_a_list_of_another_authority_says_nothing(by, authority, tmp_path):
    crl = crl_file(authority, tmp_path, "stamp-root")
    found = only(by("signer"), trusting(authority, crls=[crl]))
    assert (found.verdict, found.revocation) == ("valid", "not established")


def test_a_change_that_a_certified_document_forbids_is_told(
    authority, make_pdfa, trusted, tmp_path
):
    """DocMDP, ISO 32000-1, 12.8.2.2: to fill a form is more than this one permits."""
    options = SignOptions.model_validate(authority.options("B-B"))
    signer = KeyFile(options.key, options.passphrase).open().signer
    certified, changed = tmp_path / "certified.pdf", tmp_path / "changed.pdf"
    metadata = signers.PdfSignatureMetadata(
        field_name="author", certify=True, docmdp_permissions=MDPPerm.NO_CHANGES
    )
    form = tmp_path / "form.pdf"
    with pikepdf.open(make_pdfa()) as pdf:
        kind = {"FT": pikepdf.Name.Tx, "T": "name", "V": "before", "DA": "/Helv 0 Tf 0 g"}
        place = {"Type": pikepdf.Name.Annot, "Subtype": pikepdf.Name.Widget, "Rect": [9, 9, 99, 29]}
        field = pdf.make_indirect(pikepdf.Dictionary(**kind, **place))
        pdf.pages[0].Annots = pdf.make_indirect(pikepdf.Array([field]))
        pdf.Root.AcroForm = pdf.make_indirect(pikepdf.Dictionary(Fields=[field]))
        pdf.save(form)
    with form.open("rb") as source, certified.open("wb") as target:
        writer = IncrementalPdfFileWriter(source)
        signers.PdfSigner(metadata, signer).sign_pdf(writer, output=target)
    with certified.open("rb") as source, changed.open("wb") as target:
        writer = IncrementalPdfFileWriter(source)
        filled = writer.root["/AcroForm"]["/Fields"][0]
        filled["/V"] = TextStringObject("after")
        writer.update_container(filled)
        writer.write(target)
    assert only(certified, trusted).verdict == "valid"
    found = only(changed, trusted)
    assert found.changes == "forms"
    assert (found.verdict, found.code) == ("not established", "changed-later")
    assert found.integrity == "valid"


def test_sha_1_is_recorded_and_not_rejected(by, trusted):
    found = only(by("signer", "sha1"), trusted)
    assert (found.digest, found.weak, found.integrity) == ("sha1", True, "valid")
    assert (found.verdict, found.code) == ("not established", "weak-digest")


def test_several_signatures_and_an_empty_field(by, authority, trusted, tmp_path):
    first = by("signer", field="one")
    both = tmp_path / "both.pdf"
    options = SignOptions.model_validate(authority.options("B-B", "curve"))
    with first.open("rb") as source, both.open("wb") as target:
        writer = IncrementalPdfFileWriter(source)
        append_signature_field(writer, SigFieldSpec("empty"))
        signer = KeyFile(options.key, options.passphrase).open().signer
        metadata = signers.PdfSignatureMetadata(field_name="two")
        signers.PdfSigner(metadata, signer).sign_pdf(writer, output=target)
    found, _ = examine(both, trusted)
    assert [(each.field, each.kind) for each in found] == [
        ("one", "signature"),
        ("two", "signature"),
        ("empty", "empty field"),
    ]
    assert {each.integrity for each in found[:2]} == {"valid"}
    assert found[2].code == "empty-field"


@pytest.mark.parametrize("damage", ["zeros", "text", "cut", "range"])
def test_a_signature_that_cannot_be_read_is_not_established_and_never_invalid(by, trusted, damage):
    path = by("signer")
    data = path.read_bytes()
    start = data.rindex(b"/Contents <") + len(b"/Contents <")
    end = data.index(b">", start)
    content = {
        "zeros": data[:start] + b"0" * (end - start) + data[end:],
        "text": data[:start] + b"3003020101" + b"0" * (end - start - 10) + data[end:],
        "cut": data[: data.rindex(b"startxref")],
        "range": re.sub(rb"/ByteRange \[0 \d+", b"/ByteRange [0 99", data),
    }[damage]
    path.chmod(0o644)
    path.write_bytes(content)
    found, _ = examine(path, trusted)
    assert found, "the trace of a signature is never passed over"
    assert {each.verdict for each in found} <= {"not established", "invalid"}
    assert found[0].verdict == "not established" or damage == "range"


def test_no_signature_is_no_finding_and_garbage_breaks_nothing(make_pdfa, tmp_path, trusted):
    assert examine(make_pdfa(), trusted) == ([], "")
    for content in (b"", b"%PDF-1.7\n%%EOF", b"\0" * 4096, b"/ByteRange [0 1 2 3]"):
        path = tmp_path / "garbage.pdf"
        path.write_bytes(content)
        found, why = examine(path, trusted)
        assert why
        assert [each.verdict for each in found] in ([], ["not established"])


def test_every_prefix_of_a_signed_file_is_judged_without_an_error(by, trusted, tmp_path):
    data = by("curve").read_bytes()
    path = tmp_path / "prefix.pdf"
    for end in range(0, len(data), max(1, len(data) // 60)):
        path.write_bytes(data[:end])
        found, _ = examine(path, trusted)
        assert "valid" not in {each.verdict for each in found}


def test_the_stage_counts_and_words_what_it_found(by, authority, tmp_path):
    originals = tuple(
        Artifact(by(label), f"{n:04}.pdf", "application/pdf", Role.ORIGINAL)
        for n, label in enumerate(("signer", "expired"), start=1)
    )
    options = {"trusted_roots": [str(authority.pem("root"))]}
    document = Document("d1", datetime.now(UTC), "scans", "thư.pdf", originals[0], originals, {})
    folder = tmp_path / "step"
    folder.mkdir()
    context = Context(
        options=Signatures.config().model_validate(options),
        folder=folder,
        deadline=datetime.now(UTC) + timedelta(minutes=2),
    )
    result = Signatures().run(document, context)
    facts = json.loads(json.dumps(result.facts))
    counts = {key: facts[key] for key in ("signatures", "valid", "invalid", "not_established")}
    assert counts == {"signatures": 2, "valid": 1, "invalid": 0, "not_established": 1}
    assert [each["file"] for each in facts["files"]] == ["0001.pdf", "0002.pdf"]
    assert str(result.notes[0]) == "the signature of Drill signer is valid"
    assert "not established" in str(result.notes[1])
    assert result.artifacts == ()


def test_roots_that_cannot_be_read_make_documents_wait(authority, tmp_path, make_pdfa):
    options = Signatures.config().model_validate({"trusted_roots": [str(tmp_path / "none.pem")]})
    assert "none.pem" in str(next(iter(Signatures().check(options))))
    main = Artifact(make_pdfa(), "0001.pdf", "application/pdf", Role.ORIGINAL)
    document = Document("d1", datetime.now(UTC), "scans", "thư.pdf", main, (main,), {})
    deadline = datetime.now(UTC) + timedelta(minutes=2)
    context = Context(options=options, folder=tmp_path, deadline=deadline)
    with pytest.raises(Postpone) as caught:
        Signatures().run(document, context)
    assert caught.value.code == "roots-unusable"


# -- the daemon and the command -----------------------------------------------------------------


@pytest.fixture
def box(authority, tmp_path) -> Iterator[Daemon]:
    box = Daemon(tmp_path / "box")
    box.tables["plugins"]["enabled"] = ["sign"]
    box.tables["pipeline.paper"] = {"stages": ["signatures", "seal"]}
    box.tables["stage.signatures"] = {
        "trusted_roots": [authority.pem("root")],
        "timestamp_roots": [authority.pem("stamp-root")],
    }
    yield box
    box.close()


def test_the_command_shows_what_the_confined_stage_found(box, signed, make_pdfa):
    original = signed.read_bytes()
    (box.hot() / "có chữ ký.pdf").write_bytes(original)
    (box.hot() / "không.pdf").write_bytes(make_pdfa().read_bytes())
    box.start()
    box.sealed("có chữ ký.pdf", "không.pdf")
    told = json.loads(box.archivectl("signatures", "có chữ ký.pdf", "--json").stdout)
    assert (told["received"]["signatures"], told["received"]["valid"]) == (2, 2)
    assert told["own"] is None
    english = box.archivectl("signatures", "có chữ ký.pdf").stdout
    assert "Drill signer" in english and "the file as it was when it was signed" in english
    vietnamese = box.archivectl("signatures", "có chữ ký.pdf", LC_ALL="vi_VN.UTF-8").stdout
    assert "hợp lệ" in vietnamese
    assert "no signature" in box.archivectl("signatures", "không.pdf").stdout
    [stored] = [
        path for path in box.store.rglob("original/*.pdf") if path.stat().st_size == len(original)
    ]
    assert stored.read_bytes() == original, "a signed original stays as it came"
    assert box.end() == 0


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason=f"the shared corpus is not at {SHARED}")
def test_real_documents_are_judged_as_an_independent_tool_judges_them():
    """Count and integrity of 59 signatures in 22 files, as poppler's pdfsig says them."""
    documents = json.loads((SHARED / "documents.json").read_text())["documents"]
    files = signatures = 0
    for it in documents:
        if not it.get("signatures"):
            continue
        (path,) = SHARED.rglob(it["file"])
        found = [f for f in examine(path, Trusted())[0] if f.kind != "empty field"]
        theirs = [s["pdfsig_integrity"] == "Signature is Valid." for s in it["signatures"]]
        assert [f.integrity == "valid" for f in found] == theirs, it["file"]
        assert "invalid" not in {f.verdict for f in found}
        files, signatures = files + 1, signatures + len(found)
    assert (files, signatures) == (22, 59)
