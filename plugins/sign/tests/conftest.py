"""Keys and certificates, a time stamp server on loopback, and a way to run the stage."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pikepdf
import pikepdf.pdfa
import pytest
from asn1crypto import cms
from certomancer.integrations.animator import Animator, AnimatorArchStore
from certomancer.registry import ArchLabel, CertLabel, CertomancerConfig
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    pkcs12,
)
from werkzeug.serving import make_server

from archived.api import Artifact, Context, Document, Result, Role
from archived_sign import Sign

from .authority import Authority, make_keys, running

ORGANISATION = "Trung tâm Lưu trữ lịch sử tỉnh"
PASSPHRASE = "đúng mật khẩu"
CONFIG = """
keysets:
  bench:
    path-prefix: keys
    keys:
      root: {{path: root.pem}}
      signer: {{path: signer.pem}}
      curve: {{path: curve.pem}}
      tsa: {{path: tsa.pem}}
pki-architectures:
  bench:
    keyset: bench
    entity-defaults: {{country-name: VN}}
    entities:
      root: {{common-name: Bench root}}
      signer: {{common-name: {name}}}
      curve: {{common-name: {name}}}
      expired: {{common-name: {name}}}
      soon: {{common-name: {name}}}
      unfit: {{common-name: {name}}}
      tsa: {{common-name: Bench time}}
    certs:
      root:
        subject: root
        issuer: root
        subject-key: root
        authority-key: root
        validity: {{valid-from: "2020-01-01T00:00:00+0000", valid-to: "2100-01-01T00:00:00+0000"}}
        profiles: [{{id: simple-ca}}]
      signer: {{subject: signer, subject-key: signer, {years}, extensions: [{usage}]}}
      curve: {{subject: curve, subject-key: curve, {years}, extensions: [{usage}]}}
      expired: {{subject: expired, subject-key: signer, {past}, extensions: [{usage}]}}
      soon: {{subject: soon, subject-key: signer, {days}, extensions: [{usage}]}}
      unfit: {{subject: unfit, subject-key: signer, {years}, extensions: [{unfit}]}}
      tsa:
        subject: tsa
        subject-key: tsa
        issuer: root
        authority-key: root
        validity: {{valid-from: "2020-01-01T00:00:00+0000", valid-to: "2099-01-01T00:00:00+0000"}}
        extensions:
          - {{id: extended_key_usage, critical: true, value: [time_stamping]}}
    services:
      time-stamping:
        tsa: {{signing-key: tsa, signing-cert: tsa}}
"""


def _validity(start: datetime, end: datetime) -> str:
    texts = [f'"{moment:%Y-%m-%dT%H:%M:%S+0000}"' for moment in (start, end)]
    return (
        "issuer: root, authority-key: root, "
        f"validity: {{valid-from: {texts[0]}, valid-to: {texts[1]}}}"
    )


def _usage(*bits: str) -> str:
    return (
        "{id: key_usage, critical: true, "
        f"smart-value: {{schema: key-usage, params: [{', '.join(bits)}]}}}}"
    )


@dataclass
class Pki:
    """Certificates by label and PKCS#12 files of them."""

    folder: Path
    architecture: Any
    passphrase: Path = field(init=False)
    root_pem: Path = field(init=False)

    def __post_init__(self) -> None:
        self.passphrase = self.secret("passphrase", PASSPHRASE.encode() + b"\n")
        self.root_pem = self.folder / "root.pem"
        self.root_pem.write_bytes(self.certificate("root").public_bytes(Encoding.PEM))

    def certificate(self, label: str) -> x509.Certificate:
        der = self.architecture.get_cert(CertLabel(label)).dump()
        return x509.load_der_x509_certificate(der)

    def private_key(self, name: str) -> Any:
        return load_pem_private_key((self.folder / "keys" / f"{name}.pem").read_bytes(), None)

    def secret(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        path.chmod(0o600)
        return path

    def p12(self, label: str = "signer", key: str = "signer") -> Path:
        packed = pkcs12.serialize_key_and_certificates(
            b"bench",
            self.private_key(key),
            self.certificate(label),
            [self.certificate("root")],
            BestAvailableEncryption(PASSPHRASE.encode()),
        )
        return self.secret(f"{label}.p12", packed)

    def key_options(self, label: str = "signer", key: str = "signer") -> dict[str, Any]:
        return {
            "key": {"file": str(self.p12(label, key))},
            "passphrase": {"file": str(self.passphrase)},
        }


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """Root, signers good and bad, and a time stamp authority, made by certomancer."""
    folder = tmp_path_factory.mktemp("pki")
    (folder / "keys").mkdir()
    for name in ("root", "signer", "curve", "tsa"):
        key: Any = (
            rsa.generate_private_key(65537, 2048)
            if name == "signer"
            else ec.generate_private_key(ec.SECP256R1())
        )
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / "keys" / f"{name}.pem").write_bytes(pem)
    now = datetime.now(UTC)
    long_ago = datetime(2021, 1, 1, tzinfo=UTC)
    config = CONFIG.format(
        name=ORGANISATION,
        years=_validity(now - timedelta(days=1), now + timedelta(days=900)),
        past=_validity(long_ago, now - timedelta(days=1)),
        days=_validity(long_ago, now + timedelta(days=10, hours=1)),
        usage=_usage("digital_signature", "non_repudiation"),
        unfit=_usage("key_encipherment"),
    )
    parsed = CertomancerConfig.from_yaml(config, key_search_dir=str(folder))
    return Pki(folder, parsed.get_pki_arch(ArchLabel("bench")))


@pytest.fixture(scope="session")
def tsa_url(pki: Pki) -> Iterator[str]:
    """A real RFC 3161 server on loopback."""
    app = Animator(AnimatorArchStore({ArchLabel("bench"): pki.architecture}), with_web_ui=False)
    server = make_server("127.0.0.1", 0, app)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.port}/bench/tsa/tsa"
    server.shutdown()
    thread.join()


Answer = Callable[[bytes, Any], tuple[int, str, bytes]]


@pytest.fixture
def http_server() -> Iterator[Callable[[Answer], str]]:
    """Start a server whose answer to a POST is what the given function returns."""
    started: list[tuple[ThreadingHTTPServer, threading.Thread]] = []

    def start(answer: Answer) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, kind, content = answer(body, self.headers)
                self.send_response(status)
                if target := self.headers["Redirect-To"]:
                    self.send_header("Location", target)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                with suppress(BrokenPipeError, ConnectionResetError):
                    self.wfile.write(content)

            def log_message(self, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        started.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}/"

    yield start
    for server, thread in started:
        server.shutdown()
        thread.join()
        server.server_close()


def _page(pdf: pikepdf.Pdf, width: float, height: float, rotate: int) -> None:
    page = pdf.add_blank_page(page_size=(width, height))
    page.Contents = pdf.make_stream(b"0.2 0.3 0.7 rg 40 40 120 60 re f")
    if rotate:
        page.Rotate = rotate


@pytest.fixture(scope="session")
def make_pdfa(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A PDF/A-2b of one page, approved by a validator before it is used."""

    def make(width: float = 595.276, height: float = 841.89, rotate: int = 0) -> Path:
        path = tmp_path_factory.mktemp("pdfa") / "document.pdf"
        with pikepdf.new() as pdf:
            _page(pdf, width, height, rotate)
            pikepdf.pdfa.save(pdf, path, flavour="2b")
        return path

    return make


@pytest.fixture(scope="session")
def _authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    folder = tmp_path_factory.mktemp("authority")
    make_keys(folder)
    with running(folder) as authority:
        yield authority


@pytest.fixture
def authority(_authority: Authority) -> Authority:
    """Two roots, OCSP, CRLs and time stamp servers on loopback; nothing is away at first."""
    _authority.away.clear()
    _authority.asked.clear()
    _authority.lies.clear()
    return _authority


@pytest.fixture
def upgrade(sign: Callable[..., Result]) -> Callable[..., Result]:
    """Upgrade what `sign` or `upgrade` gave: `upgrade(result, **options)`."""

    def run(result: Result, **options: Any) -> Result:
        assert result.replace_main is not None
        facts = {"sign": dict(result.facts)}
        return sign(result.replace_main.path, facts=facts, upgrade=True, **options)

    return run


@pytest.fixture
def sign(tmp_path: Path) -> Callable[..., Result]:
    """Run the stage in this process: `sign(path, role=..., facts=..., **options)`."""
    number = iter(range(1000))

    def run(
        path: Path,
        *,
        role: Role = Role.ACCESS,
        facts: dict[str, Any] | None = None,
        upgrade: bool = False,
        **options: Any,
    ) -> Result:
        folder = tmp_path / f"step-{next(number)}"
        folder.mkdir()
        main = Artifact(path, "document.pdf", "application/pdf", role)
        now = datetime.now(UTC)
        document = Document("d1", now, "scans", "thư.pdf", main, (main,), facts or {})
        context = Context(
            options=Sign.config().model_validate(options),
            folder=folder,
            deadline=now + timedelta(minutes=2),
            stage="sign",
        )
        return Sign().upgrade(document, context) if upgrade else Sign().run(document, context)

    return run


@dataclass(frozen=True)
class Cut:
    """A signed PDF taken apart without any PDF library."""

    covered: bytes
    cms: bytes

    @classmethod
    def of(cls, path: Path) -> Cut:
        data = path.read_bytes()
        found = re.findall(rb"/ByteRange \[(\d+) (\d+) (\d+) (\d+) *\]", data)
        assert len(found) == 1
        start, length, second, rest = map(int, found[0])
        assert start == 0
        assert second + rest == len(data), "the signature covers the file to its last byte"
        contents = bytes.fromhex(data[length + 1 : second - 1].decode())
        return cls(data[:length] + data[second:], _first_der(contents))

    @property
    def signer_info(self) -> Any:
        return cms.ContentInfo.load(self.cms)["content"]["signer_infos"][0]


def _first_der(padded: bytes) -> bytes:
    assert padded[1] & 0x80
    octets = padded[1] & 0x7F
    length = int.from_bytes(padded[2 : 2 + octets], "big")
    assert not any(padded[2 + octets + length :])
    return padded[: 2 + octets + length]


@pytest.fixture(scope="session")
def cut() -> Callable[[Path], Cut]:
    return Cut.of


@pytest.fixture
def openssl(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Run openssl; bytes among the arguments are written to a file that is named instead."""

    def run(*arguments: str | bytes | Path) -> subprocess.CompletedProcess[bytes]:
        argv = ["openssl"]
        for number, argument in enumerate(arguments):
            if isinstance(argument, bytes):
                path = tmp_path / f"openssl-{number}"
                path.write_bytes(argument)
                argv.append(str(path))
            else:
                argv.append(str(argument))
        return subprocess.run(argv, capture_output=True, check=False, timeout=60)

    return run
