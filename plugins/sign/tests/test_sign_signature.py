"""What a signature promises, judged by programs that are not ours."""

from __future__ import annotations

import json
import re
import subprocess
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pikepdf
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from archived.api import Role
from archived_sign.keys import HeldKeySigner, KeyFile, as_asn1
from archived_sign.options import SignOptions
from archived_sign.pades import Signature, append_signature, new_field_name
from archived_sign.validation import Anchors, judge


def pdfsig(path: Path) -> str:
    return subprocess.run(
        ["pdfsig", str(path)], capture_output=True, text=True, check=False, timeout=60
    ).stdout


@pytest.mark.parametrize(("label", "key"), [("signer", "signer"), ("curve", "curve")])
def test_openssl_and_poppler_accept_the_signature(label, key, pki, make_pdfa, sign, cut, openssl):
    result = sign(make_pdfa(), **pki.key_options(label, key))
    signed = result.replace_main.path
    parts = cut(signed)
    judged = openssl(
        "cms",
        "-verify",
        "-binary",
        "-inform",
        "DER",
        "-in",
        parts.cms,
        "-content",
        parts.covered,
        "-CAfile",
        pki.root_pem,
        "-purpose",
        "any",
        "-out",
        "/dev/null",
    )
    assert judged.returncode == 0, judged.stderr
    assert "Signature is Valid" in pdfsig(signed)
    assert "Total document signed" in pdfsig(signed)


def test_openssl_rejects_the_signature_when_one_covered_byte_differs(
    pki, make_pdfa, sign, cut, openssl
):
    parts = cut(sign(make_pdfa(), **pki.key_options()).replace_main.path)
    damaged = bytearray(parts.covered)
    damaged[100] ^= 1
    judged = openssl(
        "cms",
        "-verify",
        "-binary",
        "-inform",
        "DER",
        "-in",
        parts.cms,
        "-content",
        bytes(damaged),
        "-CAfile",
        pki.root_pem,
        "-purpose",
        "any",
        "-out",
        "/dev/null",
    )
    assert judged.returncode != 0


def test_the_bytes_before_the_signature_stay_as_they_were(pki, make_pdfa, sign):
    source = make_pdfa()
    before = source.read_bytes()
    signed = sign(source, **pki.key_options()).replace_main
    assert signed.path.read_bytes().startswith(before)
    assert source.read_bytes() == before
    assert (signed.name, signed.role, signed.media_type) == (
        "document.pdf",
        Role.ACCESS,
        "application/pdf",
    )


def test_the_signature_has_the_form_the_profile_asks_for(pki, make_pdfa, sign, cut):
    result = sign(
        make_pdfa(), reason="Số hóa", location="Hà Nội", utc_offset="+07:00", **pki.key_options()
    )
    with pikepdf.open(result.replace_main.path) as pdf:
        (only,) = pdf.Root.AcroForm.Fields
        signature = only.V
        assert str(only.T) == result.facts["field"]
        assert signature.SubFilter == "/ETSI.CAdES.detached"
        assert str(signature.Reason) == "Số hóa"
        assert str(signature.Location) == "Hà Nội"
        assert re.fullmatch(r"D:\d{14}\+07'00'?", str(signature.M))
        assert len(bytes(signature.Contents)) == 16 * 1024
    assert datetime.fromisoformat(result.facts["signed_at"]).utcoffset() == timedelta(hours=7)
    attributes = {
        a["type"].native for a in cut(result.replace_main.path).signer_info["signed_attrs"]
    }
    assert "signing_certificate_v2" in attributes
    assert "signing_time" not in attributes, "PAdES keeps the time in /M"


def test_two_signatures_never_share_a_field_name(pki, make_pdfa, sign):
    source = make_pdfa()
    options = pki.key_options()
    assert sign(source, **options).facts["field"] != sign(source, **options).facts["field"]


def test_the_facts_say_who_signed_when_and_what_was_checked(pki, make_pdfa, sign):
    result = sign(make_pdfa(), trusted_roots=[str(pki.root_pem)], **pki.key_options())
    facts = json.loads(json.dumps(result.facts))
    certificate = pki.certificate("signer")
    assert facts["level"] == "B-B"
    assert facts["pending"] is None
    assert facts["timestamp"] is None
    assert facts["throwaway"] is False
    assert facts["signer"] == "Trung tâm Lưu trữ lịch sử tỉnh"
    assert facts["issuer"] == "Bench root"
    assert facts["serial"] == f"{certificate.serial_number:x}"
    assert facts["not_after"] == certificate.not_valid_after_utc.isoformat()
    assert facts["algorithm"] == "sha256_rsa"
    assert facts["verdict"]["integrity"] == "yes"
    assert facts["verdict"]["trust"] == "yes"
    assert facts["verdict"]["revocation"].startswith("not established (")
    assert result.tools.keys() == {"pyhanko", "cryptography"}


def test_trust_is_not_established_when_nobody_said_whom_to_trust(pki, make_pdfa, sign):
    verdict = sign(make_pdfa(), **pki.key_options()).facts["verdict"]
    assert verdict["integrity"] == "yes"
    assert verdict["trust"].startswith("not established (")


def signed_copy(folder: Path, source: Path, pki: Any, signer: Any = None) -> tuple[Path, str]:
    path = folder / "signed.pdf"
    path.write_bytes(source.read_bytes())
    credential = opened(pki)
    field = new_field_name()
    moment = datetime.fromisoformat("2026-01-02T03:04:05+07:00")
    append_signature(
        path, Signature(moment, field, 32768), signer or credential.signer, timestamper=None
    )
    return path, field


def opened(pki: Any) -> Any:
    options = SignOptions.model_validate(pki.key_options())
    return KeyFile(options.key, options.passphrase).open()


def verdict_of(path: Path, field: str, pki: Any) -> str:
    return judge(path, field, Anchors(own=[as_asn1(pki.certificate("root"))])).integrity


def test_a_byte_changed_after_signing_is_found_by_the_judge(pki, make_pdfa, tmp_path):
    path, field = signed_copy(tmp_path, make_pdfa(), pki)
    assert verdict_of(path, field, pki) == "yes"
    data = bytearray(path.read_bytes())
    at = data.find(b"<?xpacket")
    assert at > 0
    data[at + 2] ^= 1
    path.write_bytes(data)
    assert verdict_of(path, field, pki).startswith("no (the digest")


def test_bytes_appended_after_signing_are_found_by_the_judge(pki, make_pdfa, tmp_path):
    path, field = signed_copy(tmp_path, make_pdfa(), pki)
    with pikepdf.open(path) as pdf:
        assert len(pdf.pages) == 1
    with path.open("ab") as file:
        file.write(b"\n% something more\n")
    assert "whole file" in verdict_of(path, field, pki)


def test_a_signature_made_with_another_key_is_found_by_the_judge(pki, make_pdfa, tmp_path):
    other = rsa.generate_private_key(65537, 2048)
    impostor = HeldKeySigner(other, pki.certificate("signer"), ())
    path, field = signed_copy(tmp_path, make_pdfa(), pki, impostor)
    assert verdict_of(path, field, pki) == "no (the signature value is wrong)"
