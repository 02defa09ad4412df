"""Time-stamp authorities whose clock a test sets, made by certomancer and judged by openssl."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from asn1crypto import tsp
from certomancer.registry import ArchLabel, CertLabel, CertomancerConfig, KeyLabel
from certomancer.services import TimeStamper
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from archived.evidence.hash_tree import HashTree
from archived.evidence.timestamp_tokens import Trust

AUTHORITIES = {"first": (2026, 2034), "second": (2032, 2045), "third": (2043, 2060)}
"""Label of a TSA -> the years that its certificate is valid from and until."""
_CERTIFICATE = """
      {name}:
        subject: {name}
        subject-key: {name}
        issuer: root
        authority-key: root
        validity:
          valid-from: "{start}-01-01T00:00:00+0000"
          valid-to: "{end}-01-01T00:00:00+0000"
        extensions: [{{id: extended_key_usage, critical: true, value: [{usage}]}}]"""
_CONFIG = """
keysets:
  evidence:
    path-prefix: keys
    keys: {{{keys}}}
pki-architectures:
  evidence:
    keyset: evidence
    entity-defaults: {{country-name: VN}}
    entities: {{{entities}}}
    certs:
      root:
        subject: root
        issuer: root
        subject-key: root
        authority-key: root
        validity: {{valid-from: "2020-01-01T00:00:00+0000", valid-to: "2100-01-01T00:00:00+0000"}}
        profiles: [{{id: simple-ca}}]{certificates}
"""


@dataclass
class Authorities:
    """TSAs by label, and the root they lead to."""

    folder: Path
    architecture: Any

    def certificate(self, label: str) -> Any:
        return self.architecture.get_cert(CertLabel(label))

    @property
    def trust(self) -> Trust:
        return Trust(anchors=[self.certificate("root")])

    @property
    def root_pem(self) -> Path:
        from asn1crypto import pem

        path = self.folder / "root.pem"
        path.write_bytes(pem.armor("CERTIFICATE", self.certificate("root").dump()))
        return path

    def token(self, imprint: bytes, at: datetime, label: str, algorithm: str = "sha256") -> bytes:
        """A token over `imprint`, made at `at`."""
        stamper = TimeStamper(
            self.certificate(label),
            self.architecture.key_set.get_private_key(KeyLabel(label)),
            certs_to_embed=[self.certificate("root")],
            fixed_dt=at,
        )
        request = tsp.TimeStampReq(
            {
                "version": 1,
                "message_imprint": {
                    "hash_algorithm": {"algorithm": algorithm},
                    "hashed_message": imprint,
                },
                "cert_req": True,
            }
        )
        return bytes(stamper.request_tsa_response(request)["time_stamp_token"].dump())

    def stamp(self, tree: HashTree, year: int, label: str) -> bytes:
        return self.token(tree.root, datetime(year, 6, 1, tzinfo=UTC), label, tree.algorithm)


def make_authorities(folder: Path) -> Authorities:
    """Keys and certificates in an empty folder."""
    (folder / "keys").mkdir()
    names = ["root", *AUTHORITIES, "unfit"]
    for name in names:
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / "keys" / f"{name}.pem").write_bytes(pem)
    made = {**AUTHORITIES, "unfit": (2026, 2060)}
    config = _CONFIG.format(
        keys=", ".join(f"{name}: {{path: {name}.pem}}" for name in names),
        entities=", ".join(f"{name}: {{common-name: Giờ chuẩn {name}}}" for name in names),
        certificates="".join(
            _CERTIFICATE.format(
                name=name,
                start=start,
                end=end,
                usage="code_signing" if name == "unfit" else "time_stamping",
            )
            for name, (start, end) in made.items()
        ),
    )
    parsed = CertomancerConfig.from_yaml(config, key_search_dir=str(folder))
    return Authorities(folder, parsed.get_pki_arch(ArchLabel("evidence")))


def digests_of(*data: bytes) -> Any:
    """What `verify` asks for the digests of these data objects."""

    def digests(algorithm: str) -> Sequence[bytes]:
        return [hashlib.new(algorithm, each).digest() for each in data]

    return digests
