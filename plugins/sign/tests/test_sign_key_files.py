"""Keys in PEM files, of every kind that signs, each judged by openssl."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from archived.api import Postpone

from .test_sign_several_keys import certificate

KINDS = {
    "rsa": lambda: rsa.generate_private_key(65537, 3072),
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
}


def pem(key, passphrase: bytes | None = None, form=PrivateFormat.PKCS8) -> bytes:
    secret = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, form, secret)


def verified(cut, openssl, result, root: bytes) -> bytes:
    """What openssl says is in the signature. Fails where it does not verify."""
    signed = cut(result.replace_main.path)
    answer = openssl(
        *("cms", "-verify", "-inform", "DER", "-in", signed.cms, "-content", signed.covered),
        *("-binary", "-purpose", "any", "-CAfile", root, "-out", "/dev/null"),
    )
    assert answer.returncode == 0, answer.stderr
    return openssl("cms", "-cmsout", "-print", "-inform", "DER", "-in", signed.cms).stdout


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_a_key_in_pem_signs(kind, form, pki, sign, make_pdfa, cut, openssl, tmp_path):
    key = KINDS[kind]()
    ours = certificate("S", key, ca=(pki.certificate("root"), pki.private_key("root")))
    (tmp_path / "c.pem").write_bytes(ours.public_bytes(Encoding.PEM) + pki.root_pem.read_bytes())
    result = sign(
        make_pdfa(),
        key={"file": str(pki.secret("k.pem", pem(key, form=form)))},
        chain=[str(tmp_path / "c.pem")],
        trusted_roots=[str(pki.root_pem)],
    )
    assert result.facts["verdict"]["trust"] == "yes"
    verified(cut, openssl, result, pki.root_pem.read_bytes())


def test_rsa_signs_with_pss_where_that_is_wanted(pki, sign, make_pdfa, cut, openssl):
    result = sign(make_pdfa(), rsa_padding="pss", **pki.key_options())
    assert b"rsassaPss" in verified(cut, openssl, result, pki.root_pem.read_bytes())
    plain = sign(make_pdfa(), **pki.key_options())
    assert b"rsassaPss" not in verified(cut, openssl, plain, pki.root_pem.read_bytes())


def test_an_encrypted_key_and_its_certificate_in_one_file(pki, sign, make_pdfa):
    key = pki.private_key("signer")
    both = pem(key, "đúng".encode()) + pki.certificate("signer").public_bytes(Encoding.PEM)
    options = {"key": {"file": str(pki.secret("both.pem", b"a comment\n" + both))}}
    right = {"passphrase": {"file": str(pki.secret("right", "đúng\r\n".encode()))}}
    wrong = {"passphrase": {"file": str(pki.secret("wrong", b"x"))}}
    assert sign(make_pdfa(), **options, **right).facts["level"] == "B-B"
    for passphrase in (wrong, {}):
        with pytest.raises(Postpone) as raised:
            sign(make_pdfa(), **options, **passphrase)
        assert raised.value.code == "key-unavailable"


def test_a_key_in_pem_without_its_certificate_is_told(pki, sign, make_pdfa):
    options = {"key": {"file": str(pki.secret("k.pem", pem(pki.private_key("signer"))))}}
    for chain in ([], [str(pki.root_pem)]):
        with pytest.raises(Postpone) as raised:
            sign(make_pdfa(), chain=chain, **options)
        assert raised.value.code == "key-unusable"
        assert "stage.sign.chain" in raised.value.hint
