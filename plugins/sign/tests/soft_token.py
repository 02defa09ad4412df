"""A PKCS#11 token in files (SoftHSM 2), with a key that cannot leave it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key
from cryptography.x509.oid import NameOID

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
LABEL = "con dấu"
PIN = "271828"
COUNT_LOW, FINAL_TRY, LOCKED = 0x10000, 0x20000, 0x40000
"""CKF_USER_PIN_... of PKCS #11 v2.40, section 3.2."""
_FLAGS = (0x8000534B).to_bytes(8) + (2).to_bytes(8)
"""CKA_OS_TOKENFLAGS, a number, in SoftHSM's file of a token."""


@dataclass
class SoftToken:
    """A token below `folder`, with the key `01`; `pki` has the root that certifies it."""

    folder: Path
    pki: Any
    kind: str = "rsa:2048"

    def __post_init__(self) -> None:
        self.tokens.mkdir(parents=True)
        self.record.mkdir()
        self.settings.write_text(f"directories.tokendir = {self.tokens}\nlog.level = ERROR\n")
        self.write_pin(PIN)
        self._run(
            *("softhsm2-util", "--init-token", "--free", "--label", LABEL),
            *("--so-pin", "31415926", "--pin", PIN),
        )
        self.tool("--keypairgen", "--key-type", self.kind, "--label", "key", "--id", "01")
        self.put_certificate(self.certificate("01"))

    @property
    def tokens(self) -> Path:
        return self.folder / "tokens"

    @property
    def record(self) -> Path:
        return self.folder / "record"

    @property
    def settings(self) -> Path:
        return self.folder / "softhsm2.conf"

    def write_pin(self, pin: str) -> None:
        path = self.folder / "pin"
        path.write_text(pin + "\n")
        path.chmod(0o600)

    def options(self, **token: Any) -> dict[str, Any]:
        """`[stage.sign]` for this token."""
        return {
            "token": {
                "module": str(MODULE),
                "label": LABEL,
                "pin": {"file": str(self.folder / "pin")},
                "environment": {"SOFTHSM2_CONF": str(self.settings)},
                **token,
            },
            "pin_record": str(self.record),
            "token_folder": str(self.tokens),
        }

    def tool(self, *arguments: str) -> bytes:
        """pkcs11-tool, logged in with the right PIN."""
        return self._run(
            *("pkcs11-tool", "--module", str(MODULE), "--token-label", LABEL),
            *("--login", "--pin", PIN, *arguments),
        )

    def certificate(self, key: str, **changed: Any) -> x509.Certificate:
        """One of the root's for the public key with this id."""
        der = self.tool("--read-object", "--type", "pubkey", "--id", key, "-o", "/dev/stdout")
        start = der.index(b"\x30\x82") if self.kind.startswith("rsa") else der.index(b"\x30\x59")
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Con dấu điện tử")]))
            .issuer_name(self.pki.certificate("root").subject)
            .public_key(changed.get("public_key") or load_der_public_key(der[start:]))
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + changed.get("validity", timedelta(days=90)))
            .sign(self.pki.private_key("root"), SHA256())
        )

    def put_certificate(self, certificate: x509.Certificate, key: str = "01") -> None:
        path = self.folder / "certificate.der"
        path.write_bytes(certificate.public_bytes(Encoding.DER))
        self.tool("--write-object", str(path), "--type", "cert", "--id", key, "--label", "key")

    @property
    def flags(self) -> int:
        """The token's flags as they are on disk."""
        content = self._object.read_bytes()
        start = content.index(_FLAGS) + len(_FLAGS)
        return int.from_bytes(content[start : start + 8])

    def set_flags(self, flags: int) -> None:
        content = self._object.read_bytes()
        start = content.index(_FLAGS) + len(_FLAGS)
        self._object.write_bytes(content[:start] + flags.to_bytes(8) + content[start + 8 :])

    @property
    def _object(self) -> Path:
        (path,) = self.tokens.glob("*/token.object")
        return path

    @contextmanager
    def removed(self) -> Iterator[None]:
        """As if it were pulled out: the reader, which is the folder, stays."""
        (there,) = self.tokens.iterdir()
        elsewhere = there.rename(self.folder / there.name)
        try:
            yield
        finally:
            elsewhere.rename(there)

    def _run(self, *argv: str) -> bytes:
        done = subprocess.run(
            argv,
            capture_output=True,
            check=False,
            timeout=60,
            env=os.environ | {"SOFTHSM2_CONF": str(self.settings)},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout
