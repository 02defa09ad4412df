"""A public key infrastructure on loopback: two roots, an issuing authority, OCSP, CRLs and two time
stamp servers. It goes by the process's own clock, so it can be moved with `faketime`.

The signer's certificate ends in 2034, the first time stamp server's in 2040, the second's in 2055.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from certomancer.integrations.animator import Animator, AnimatorArchStore
from certomancer.registry import ArchLabel, CertLabel, CertomancerConfig
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    pkcs12,
)
from werkzeug.serving import make_server

KEYS = ("root", "issuing", "signer", "curve", "stamp-root", "tsa1", "tsa2", "ocsp", "stamp-ocsp")
SIGNERS = ("signer", "curve", "revoked", "held", "expired", "soon", "unfit", "silent")

_CONFIG = """
external-url-prefix: "{prefix}"
keysets:
  drill:
    path-prefix: keys
    keys: {{ {keys} }}
pki-architectures:
  drill:
    keyset: drill
    entity-defaults: {{country-name: VN}}
    entities: {{ {entities} }}
    certs:
      root: {{subject: root, issuer: root, subject-key: root, authority-key: root, {life}, {ca}}}
      stamp-root:
        {{subject: stamp-root, issuer: stamp-root, subject-key: stamp-root,
          authority-key: stamp-root, {life}, {ca}}}
      issuing:
        subject: issuing
        issuer: root
        subject-key: issuing
        authority-key: root
        {life}
        profiles: [{{id: simple-ca}}]
        extensions: [{asks_root}]
      {signers}
      {stampers}
      ocsp:
        {{subject: ocsp, issuer: issuing, subject-key: ocsp, authority-key: issuing, {life},
          extensions: [{no_check}]}}
      root-ocsp:
        {{subject: ocsp, issuer: root, subject-key: ocsp, authority-key: root, {life},
          extensions: [{no_check}]}}
      stamp-ocsp:
        {{subject: stamp-ocsp, issuer: stamp-root, subject-key: stamp-ocsp,
          authority-key: stamp-root, {life}, extensions: [{no_check}]}}
    services:
      time-stamping:
        tsa1: {{signing-key: tsa1, signing-cert: tsa1}}
        tsa2: {{signing-key: tsa2, signing-cert: tsa2}}
        late: {{signing-key: tsa1, signing-cert: tsa-expired}}
        early: {{signing-key: tsa1, signing-cert: tsa-early}}
        unfit: {{signing-key: signer, signing-cert: signer}}
        revoked: {{signing-key: tsa1, signing-cert: tsa-revoked}}
      ocsp:
        issuing: {{for-issuer: issuing, responder-cert: ocsp, signing-key: ocsp}}
        root: {{for-issuer: root, responder-cert: root-ocsp, signing-key: ocsp}}
        stamp-root: {{for-issuer: stamp-root, responder-cert: stamp-ocsp, signing-key: stamp-ocsp}}
      crl-repo:
        issuing: {{for-issuer: issuing, signing-key: issuing, simulated-update-schedule: P1D}}
        root: {{for-issuer: root, signing-key: root, simulated-update-schedule: P1D}}
        stamp-root:
          {{for-issuer: stamp-root, signing-key: stamp-root, simulated-update-schedule: P1D}}
"""
_LIFE = ("2020-01-01", "2095-01-01")


def _validity(start: str, end: str) -> str:
    first, last = (f'"{day}T00:00:00+0000"' for day in (start, end))
    return f"validity: {{valid-from: {first}, valid-to: {last}}}"


def _asks(issuer: str) -> str:
    return (
        "{id: crl_distribution_points, smart-value: {schema: crl-dist-url, "
        f"params: {{crl-repo-names: [{issuer}]}}}}}}, "
        "{id: authority_information_access, smart-value: {schema: aia-urls, "
        f"params: {{ocsp-responder-names: [{issuer}]}}}}}}"
    )


def _usage(*bits: str) -> str:
    return (
        "{id: key_usage, critical: true, "
        f"smart-value: {{schema: key-usage, params: [{', '.join(bits)}]}}}}"
    )


def _signer(label: str) -> str:
    life = {
        "expired": ("2021-01-01", "2026-01-01"),
        "soon": ("2090-01-01", "2094-01-01"),
    }.get(label, ("2025-01-01", "2034-01-01"))
    usage = (
        _usage("key_encipherment")
        if label == "unfit"
        else _usage("digital_signature", "non_repudiation")
    )
    reason = {"revoked": "key_compromise", "held": "certificate_hold"}.get(label)
    revoked = _revocation(reason)
    asks = "" if label == "silent" else f", {_asks('issuing')}"
    key = "curve" if label == "curve" else "signer"
    return (
        f"{label}: {{subject: {label}, issuer: issuing, subject-key: {key}, "
        f"authority-key: issuing, {_validity(*life)}, {revoked}extensions: [{usage}{asks}]}}"
    )


def _revocation(reason: str | None) -> str:
    since = "2026-02-01T00:00:00+0000"
    return f'revocation: {{revoked-since: "{since}", reason: {reason}}}, ' if reason else ""


def _stamper(label: str, key: str, start: str, end: str, revoked: str | None = None) -> str:
    purpose = "{id: extended_key_usage, critical: true, value: [time_stamping]}"
    return (
        f"{label}: {{subject: {key}, issuer: stamp-root, subject-key: {key}, "
        f"authority-key: stamp-root, {_validity(start, end)}, {_revocation(revoked)}"
        f"extensions: [{purpose}, {_asks('stamp-root')}]}}"
    )


def _config(prefix: str) -> str:
    entities = ("root", "issuing", "stamp-root", "tsa1", "tsa2", "ocsp", "stamp-ocsp", *SIGNERS)
    stampers = (
        _stamper("tsa1", "tsa1", "2025-01-01", "2040-01-01"),
        _stamper("tsa2", "tsa2", "2025-01-01", "2055-01-01"),
        _stamper("tsa-expired", "tsa1", "2021-01-01", "2026-01-01"),
        _stamper("tsa-early", "tsa1", "2090-01-01", "2094-01-01"),
        _stamper("tsa-revoked", "tsa1", "2025-01-01", "2040-01-01", "superseded"),
    )
    return _CONFIG.format(
        prefix=prefix,
        keys=", ".join(f"{key}: {{path: {key}.pem}}" for key in KEYS),
        entities=", ".join(f"{each}: {{common-name: Drill {each}}}" for each in entities),
        life=_validity(*_LIFE),
        ca="profiles: [{id: simple-ca}]",
        asks_root=_asks("root"),
        signers="\n      ".join(map(_signer, SIGNERS)),
        stampers="\n      ".join(stampers),
        no_check=(
            "{id: extended_key_usage, critical: true, value: [ocsp_signing]}, {id: ocsp_no_check}"
        ),
    )


def make_keys(folder: Path) -> None:
    """New keys, once: a drill loads the same ones at another time.

    What signs certificates is RSA: its signatures are always the same, and so are the certificates.
    """
    (folder / "keys").mkdir(parents=True, exist_ok=True)
    for name in KEYS:
        key: Any = (
            rsa.generate_private_key(65537, 2048)
            if name in {"signer", "root", "issuing", "stamp-root"}
            else ec.generate_private_key(ec.SECP256R1())
        )
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / "keys" / f"{name}.pem").write_bytes(pem)


@dataclass
class Authority:
    """The infrastructure while it runs. `away`: what does not answer: "ocsp", "crls", "tsa1"."""

    folder: Path
    port: int
    architecture: Any
    away: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    """Paths of all requests, in order."""
    lies: dict[str, tuple[str, str, bytes]] = field(default_factory=dict)
    """What answers otherwise -> status line, media type and content of its answer."""
    location: str = "http://other.example/"
    """Where an answer of status 302 points to."""

    def url(self, server: str = "tsa1") -> str:
        return f"http://127.0.0.1:{self.port}/drill/tsa/{server}"

    def certificate(self, label: str) -> x509.Certificate:
        der = self.architecture.get_cert(CertLabel(label)).dump()
        return x509.load_der_x509_certificate(der)

    def pem(self, *labels: str) -> Path:
        path = self.folder / f"{'-'.join(labels)}.pem"
        each = (self.certificate(label).public_bytes(Encoding.PEM) for label in labels)
        path.write_bytes(b"".join(each))
        return path

    def p12(self, label: str) -> Path:
        name = "curve" if label == "curve" else "signer"
        key: Any = load_pem_private_key((self.folder / "keys" / f"{name}.pem").read_bytes(), None)
        chain = [self.certificate("issuing"), self.certificate("root")]
        path = self.folder / f"{label}.p12"
        path.write_bytes(
            pkcs12.serialize_key_and_certificates(
                b"drill", key, self.certificate(label), chain, NoEncryption()
            )
        )
        path.chmod(0o600)
        return path

    def options(
        self,
        level: str | None = "B-LTA",
        label: str = "signer",
        servers: Sequence[str] = ("tsa1",),
        **timestamp: Any,
    ) -> dict[str, Any]:
        """`[stage.sign]` for this infrastructure."""
        addresses = [{"url": self.url(each)} for each in servers]
        where = addresses[0] if len(addresses) == 1 else {"servers": addresses}
        roots = {"trusted_roots": [str(self.pem("stamp-root"))]}
        stamp = {} if level == "B-B" else {"timestamp": {"tries": 1, **where, **roots, **timestamp}}
        return {
            "key": {"file": str(self.p12(label))},
            "trusted_roots": [str(self.pem("root"))],
            **({"level": level} if level else {}),
            **stamp,
        }


@contextmanager
def running(folder: Path, port: int = 0) -> Iterator[Authority]:
    """Start it on loopback; with `port` its certificates are the same as the last time."""
    if not port:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
    config = _config(f"http://127.0.0.1:{port}")
    parsed = CertomancerConfig.from_yaml(config, key_search_dir=str(folder))
    architecture = parsed.get_pki_arch(ArchLabel("drill"))
    authority = Authority(folder, port, architecture)
    app = Animator(AnimatorArchStore({ArchLabel("drill"): architecture}), with_web_ui=False)

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Any:
        path = environ["PATH_INFO"]
        authority.asked.append(path)
        if authority.away & set(path.split("/")):
            start("503 Service Unavailable", [("Content-Type", "text/html")])
            return [b"<html>later</html>"]
        for each in authority.lies.keys() & set(path.split("/")):
            status, kind, content = authority.lies[each]
            start(status, [("Content-Type", kind), ("Location", authority.location)])
            return [content]
        return app(environ, start)

    server = make_server("127.0.0.1", port, answer, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield authority
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
