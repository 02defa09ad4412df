"""Makes a throw-away key for demonstrations: an authority of our own and a signing certificate.

Never for documents that matter: whoever holds the folder can sign as this archive. The subject
says so, and every signature made with it carries `throwaway` in its facts.
"""

from __future__ import annotations

import os
import secrets
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    pkcs12,
)
from cryptography.x509.oid import NameOID

LABEL = "THROW-AWAY DEMONSTRATION KEY"
LIFE = timedelta(days=365)


def make_throwaway_p12(
    folder: Path, common_name: str = "archived demonstration"
) -> tuple[Path, Path, Path]:
    """Write a PKCS#12 file, its passphrase and the root certificate (PEM) into `folder`.

    The files are readable by their owner only. Raises `FileExistsError` when one is there
    already: a key in use is never replaced, and `ValueError` for a name of more than 64 bytes.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    p12, passphrase, root_pem = (
        folder / name for name in ("signing.p12", "signing.passphrase", "root.pem")
    )
    for path in (p12, passphrase, root_pem):
        if path.exists():
            raise FileExistsError(f"{path} is there already; choose another folder")
    root_key = ec.generate_private_key(ec.SECP256R1())
    root = _certificate(_name("archived demonstration root"), root_key, authority=True)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    signing = _certificate(_name(common_name), key, issuer=(root, root_key))
    word = secrets.token_urlsafe(24)
    packed = pkcs12.serialize_key_and_certificates(
        common_name.encode(), key, signing, [root], BestAvailableEncryption(word.encode())
    )
    _write_private(p12, packed)
    _write_private(passphrase, word.encode() + b"\n")
    _write_private(root_pem, root.public_bytes(Encoding.PEM))
    return p12, passphrase, root_pem


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, LABEL),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _certificate(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
    *,
    issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None = None,
    authority: bool = False,
) -> x509.Certificate:
    now = datetime.now(UTC).replace(microsecond=0)
    public = key.public_key()
    signer = issuer[1] if issuer else key
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
    allowed = (
        ("key_cert_sign", "crl_sign")
        if authority
        else (
            "digital_signature",
            "content_commitment",
        )
    )
    usage.update(dict.fromkeys(allowed, True))
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + LIFE)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
            critical=False,
        )
        .sign(signer, hashes.SHA256())
    )


def _write_private(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def main(arguments: list[str]) -> int:
    """`python -m archived_sign.throwaway_key FOLDER [NAME]`."""
    if not 1 <= len(arguments) <= 2:
        sys.stderr.write("usage: python -m archived_sign.throwaway_key FOLDER [NAME]\n")
        return 2
    folder, *name = arguments
    try:
        made = make_throwaway_p12(Path(folder), *name)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("".join(f"{path}\n" for path in made))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
