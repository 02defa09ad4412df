"""PKCS#12 files as old Windows tools write them: RC2 and 3DES, no friendly name."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

OLD = ("PBE-SHA1-RC2-40", "PBE-SHA1-RC2-128", "PBE-SHA1-3DES")


@pytest.mark.parametrize("of_key", OLD)
@pytest.mark.parametrize("of_certificate", OLD)
def test_an_old_file_signs(of_key, of_certificate, pki, openssl, sign, make_pdfa, tmp_path):
    key = pki.private_key("signer").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    packed = tmp_path / "old.p12"
    made = openssl(
        *("pkcs12", "-export", "-legacy", "-keypbe", of_key, "-certpbe", of_certificate),
        *("-macalg", "sha1", "-passout", "pass:x", "-out", packed, "-inkey", key),
        *("-in", pki.certificate("signer").public_bytes(Encoding.PEM)),
    )
    assert made.returncode == 0, made.stderr
    packed.chmod(0o600)
    options = {"key": {"file": str(packed)}, "passphrase": {"file": str(pki.secret("x", b"x"))}}
    assert sign(make_pdfa(), **options).facts["level"] == "B-B"
