"""PKCS#12 files with several keys, and passphrases as editors and keyboards leave them."""

from __future__ import annotations

import codecs
import hashlib
import hmac
import unicodedata
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import algos, cms, core
from asn1crypto import keys as asn1_keys
from asn1crypto import pkcs12 as asn1_pkcs12
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from cryptography.x509.oid import NameOID

from archived.api import Postpone, SecretRef
from archived_sign.keys import KeyFile
from archived_sign.pkcs12_keys import spellings

NOW = datetime.now(UTC).replace(microsecond=0)
SIGNS, ENCRYPTS, BOTH = "signs", "encrypts", "both"


def certificate(
    name: str, key: Any, use: str = SIGNS, *, days: tuple[int, int] = (-1, 300), ca: Any = None
) -> x509.Certificate:
    usage = dict.fromkeys(
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    usage["digital_signature"] = usage["content_commitment"] = use in {SIGNS, BOTH}
    usage["key_encipherment"] = use in {ENCRYPTS, BOTH}
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer, signer = (subject, key) if ca is None else (ca[0].subject, ca[1])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + timedelta(days=days[0]))
        .not_valid_after(NOW + timedelta(days=days[1]))
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .sign(signer, None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    )


def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def packed(
    keys: list[Any], certificates: list[x509.Certificate], passphrase: str, *, shrouded: bool = True
) -> bytes:
    """A PKCS#12 file with any number of keys (RFC 7292): no library here makes one."""
    secret = BestAvailableEncryption(passphrase.encode())
    bags = []
    for key in keys:
        der = key.private_bytes(
            Encoding.DER, PrivateFormat.PKCS8, secret if shrouded else NoEncryption()
        )
        kind, of = (
            ("pkcs8_shrouded_key_bag", asn1_keys.EncryptedPrivateKeyInfo)
            if shrouded
            else ("key_bag", asn1_keys.PrivateKeyInfo)
        )
        bags.append(asn1_pkcs12.SafeBag({"bag_id": kind, "bag_value": of.load(der)}))
    for each in certificates:
        der = each.public_bytes(Encoding.DER)
        value = asn1_pkcs12.CertBag(
            {"cert_id": "x509", "cert_value": core.ParsableOctetString(der)}
        )
        bags.append(asn1_pkcs12.SafeBag({"bag_id": "cert_bag", "bag_value": value}))
    safe = cms.ContentInfo(
        {"content_type": "data", "content": core.OctetString(asn1_pkcs12.SafeContents(bags).dump())}
    )
    content = asn1_pkcs12.AuthenticatedSafe([safe]).dump()
    salt = b"8 octets"
    digest = hashlib.sha256
    mac = hmac.new(_mac_key(passphrase, salt, 2048), content, digest).digest()
    return bytes(
        asn1_pkcs12.Pfx(
            {
                "version": "v3",
                "auth_safe": {"content_type": "data", "content": core.OctetString(content)},
                "mac_data": {
                    "mac": {
                        "digest_algorithm": algos.DigestAlgorithm({"algorithm": "sha256"}),
                        "digest": mac,
                    },
                    "mac_salt": salt,
                    "iterations": 2048,
                },
            }
        ).dump()
    )


def _mac_key(passphrase: str, salt: bytes, rounds: int) -> bytes:
    """RFC 7292, appendix B.2, with SHA-256 and the identifier 3."""
    block = 64
    secret = (passphrase + "\0").encode("utf-16-be")

    def filled(text: bytes) -> bytes:
        return (text * (-(-block // len(text))))[: block * -(-len(text) // block)]

    salted = filled(salt) + (secret * block)[: block * -(-len(secret) // block)]
    digest = hashlib.sha256(bytes([3]) * block + salted).digest()
    for _ in range(rounds - 1):
        digest = hashlib.sha256(digest).digest()
    return digest


def source(folder: Path, content: bytes, passphrase: bytes, **more: str) -> KeyFile:
    for name, written in (("k.p12", content), ("pass", passphrase)):
        (folder / name).write_bytes(written)
        (folder / name).chmod(0o600)
    return KeyFile(SecretRef(file=folder / "k.p12"), SecretRef(file=folder / "pass"), **more)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("shrouded", [True, False])
def test_of_two_keys_the_one_whose_certificate_may_sign_signs(
    tmp_path: Path, order: tuple[int, int], shrouded: bool
) -> None:
    keys = [rsa_key(), rsa_key()]
    certificates = [certificate("Mã hóa", keys[0], ENCRYPTS), certificate("Chữ ký", keys[1])]
    content = packed(
        [keys[n] for n in order], [certificates[n] for n in order], "abc123", shrouded=shrouded
    )
    opened = source(tmp_path, content, b"abc123\n").open()
    assert opened.name == "Chữ ký"
    assert opened.certificate.public_key() == keys[1].public_key()


@pytest.mark.parametrize("first", ["old", "new"])
def test_of_an_expired_and_a_valid_certificate_the_valid_one_signs(
    tmp_path: Path, first: str
) -> None:
    keys = {"old": rsa_key(), "new": rsa_key()}
    made = {
        "old": certificate("Cũ", keys["old"], days=(-900, -1)),
        "new": certificate("Mới", keys["new"]),
    }
    order = sorted(keys, key=lambda each: each != first)
    content = packed([keys[n] for n in order], [made[n] for n in order], "x")
    assert source(tmp_path, content, b"x").open().name == "Mới"


def test_a_renewed_certificate_for_the_same_key_signs(tmp_path: Path) -> None:
    key = rsa_key()
    both = [certificate("Cũ", key, days=(-900, -1)), certificate("Mới", key)]
    assert source(tmp_path, packed([key], both, "x"), b"x").open().name == "Mới"


def test_several_that_may_sign_are_listed_and_one_can_be_named(tmp_path: Path) -> None:
    keys = [rsa_key(), ec.generate_private_key(ec.SECP256R1())]
    made = [certificate("Trung tâm Lưu trữ", keys[0]), certificate("Sở Nội vụ", keys[1], BOTH)]
    content = packed(keys, made, "x")
    with pytest.raises(Postpone) as told:
        source(tmp_path, content, b"x").open()
    assert told.value.code == "key-ambiguous"
    for each in made:
        assert f"{each.serial_number:x}" in told.value.message
    assert "stage.sign.certificate" in told.value.hint
    fingerprint = made[1].fingerprint(hashes.SHA256()).hex()
    pairs = ":".join(fingerprint[n : n + 2] for n in range(0, 64, 2)).upper()
    decomposed = unicodedata.normalize("NFD", "sở nội vụ")
    for wanted in ("Sở Nội vụ", decomposed, f"{made[1].serial_number:X}", fingerprint, pairs):
        assert source(tmp_path, content, b"x", certificate=wanted).open().name == "Sở Nội vụ"


def test_a_name_that_is_no_certificates_is_told_with_those_there_are(tmp_path: Path) -> None:
    keys = [rsa_key(), rsa_key()]
    made = [certificate("A", keys[0]), certificate("B", keys[1], ENCRYPTS)]
    with pytest.raises(Postpone, match="does not allow") as told:
        source(tmp_path, packed(keys, made, "x"), b"x", certificate="C").open()
    assert told.value.code == "key-unusable"


def test_several_keys_of_which_none_may_sign_are_listed(tmp_path: Path) -> None:
    keys = [rsa_key(), rsa_key()]
    made = [certificate(f"Mã hóa {n}", key, ENCRYPTS) for n, key in enumerate(keys)]
    with pytest.raises(Postpone, match=r"Mã hóa 0.*Mã hóa 1") as told:
        source(tmp_path, packed(keys, made, "x"), b"x").open()
    assert told.value.code == "key-unusable"


def test_a_key_of_another_kind_beside_ours_is_no_obstacle(tmp_path: Path) -> None:
    keys: list[Any] = [ed25519.Ed25519PrivateKey.generate(), rsa_key()]
    made = [certificate("Ed", keys[0]), certificate("RSA", keys[1])]
    assert source(tmp_path, packed(keys, made, "x"), b"x").open().name == "RSA"


def test_the_chain_is_that_of_the_chosen_certificate(tmp_path: Path) -> None:
    keys = [rsa_key(), rsa_key(), rsa_key()]
    root = certificate("CA", keys[2])
    made = [
        certificate("Mã hóa", keys[0], ENCRYPTS, ca=(root, keys[2])),
        certificate("Chữ ký", keys[1], ca=(root, keys[2])),
        root,
    ]
    opened = source(tmp_path, packed(keys[:2], made, "x"), b"x").open()
    assert [opened.name, *(c.subject.rfc4514_string() for c in opened.chain)] == ["Chữ ký", "CN=CA"]


WORD = "Mật khẩu số 1"
NFC, NFD = (unicodedata.normalize(form, WORD) for form in ("NFC", "NFD"))


@pytest.mark.parametrize("made_with", [NFC, NFD])
@pytest.mark.parametrize(
    "written",
    [
        NFC.encode(),
        NFD.encode(),
        NFC.encode() + b"\n",
        NFC.encode() + b"\r\n",
        NFC.encode() + b"\r\n\r\n",
        codecs.BOM_UTF8 + NFC.encode(),
        codecs.BOM_UTF8 + NFD.encode() + b"\r\n",
        NFC.encode("utf-16"),
        codecs.BOM_UTF16_BE + (NFD + "\r\n").encode("utf-16-be"),
        NFC.encode() + b" ",
        NFC.encode() + b" \t\r\n",
        b" " + NFD.encode(),
    ],
)
def test_a_passphrase_opens_the_file_however_it_was_typed_and_saved(
    tmp_path: Path, made_with: str, written: bytes
) -> None:
    key = rsa_key()
    content = pkcs12.serialize_key_and_certificates(
        b"x", key, certificate("Chữ ký", key), [], BestAvailableEncryption(made_with.encode())
    )
    assert source(tmp_path, content, written).open().name == "Chữ ký"


def test_a_passphrase_that_really_has_a_blank_at_its_end_opens_its_file(tmp_path: Path) -> None:
    key = rsa_key()
    content = packed([key], [certificate("A", key)], "abc ")
    assert source(tmp_path, content, b"abc \n").open().name == "A"


@pytest.mark.parametrize("written", [b"wrong", b"\xff", b"\xff\xfe\x00", "sài".encode("cp1258")])
def test_a_wrong_passphrase_is_said(tmp_path: Path, written: bytes) -> None:
    key = rsa_key()
    content = packed([key], [certificate("A", key)], "abc")
    with pytest.raises(Postpone) as told:
        source(tmp_path, content, written).open()
    assert told.value.code == "key-unavailable"


def test_the_passphrase_as_written_is_tried_first() -> None:
    assert spellings(NFD)[0] == NFD
    assert spellings("abc") == ("abc",)
