"""Time stamps: level B-T, and what happens when the server is down, slow or wrong."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from asn1crypto import tsp
from certomancer.integrations.animator import Animator, AnimatorArchStore
from certomancer.registry import ArchLabel, ServiceLabel
from werkzeug.serving import make_server

from archived.api import Postpone

REPLY = "application/timestamp-reply"


@pytest.fixture
def closed_port() -> Iterator[str]:
    """Taken, so that nobody else is given it, and nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{probe.getsockname()[1]}/"


@pytest.fixture
def https_tsa(pki, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The RFC 3161 server over https; an authority of the office, made with openssl alone."""
    (tmp_path / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    for line in (
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=Office -keyout ca.key -out ca.pem",
        "req -newkey rsa:2048 -nodes -subj /CN=127.0.0.1 -keyout tsa.key -out tsa.csr",
        "x509 -req -in tsa.csr -CA ca.pem -CAkey ca.key -days 2 -extfile names -out tsa.pem",
    ):
        subprocess.run(["openssl", *line.split()], cwd=tmp_path, check=True, capture_output=True)
    app = Animator(AnimatorArchStore({ArchLabel("bench"): pki.architecture}), with_web_ui=False)
    pair = (str(tmp_path / "tsa.pem"), str(tmp_path / "tsa.key"))
    server = make_server("127.0.0.1", 0, app, ssl_context=pair)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"https://127.0.0.1:{server.port}/bench/tsa/tsa", tmp_path / "ca.pem"
    server.shutdown()
    thread.join()
    server.server_close()


def stamped_by(pki, request: tsp.TimeStampReq) -> bytes:
    stamper = pki.architecture.service_registry.summon_timestamper(
        ServiceLabel("tsa"), datetime.now(UTC)
    )
    return stamper.request_tsa_response(request).dump()


def test_with_a_server_the_level_is_b_t_and_openssl_accepts_the_token(
    pki, tsa_url, make_pdfa, sign, cut, openssl
):
    result = sign(
        make_pdfa(),
        timestamp={"url": tsa_url, "tries": 1, "trusted_roots": [str(pki.root_pem)]},
        **pki.key_options(),
    )
    facts = result.facts
    assert (facts["level"], facts["pending"]) == ("B-T", None)
    assert facts["timestamp"]["authority"] == "Bench time"
    assert 0 < facts["waited"]["tsa"] < 60
    assert (facts["timestamp"]["integrity"], facts["timestamp"]["trust"]) == ("yes", "yes")
    info = cut(result.replace_main.path).signer_info
    (attribute,) = info["unsigned_attrs"]
    assert attribute["type"].native == "signature_time_stamp_token"
    judged = openssl(
        "ts",
        "-verify",
        "-data",
        info["signature"].native,
        "-in",
        attribute["values"][0].dump(),
        "-token_in",
        "-CAfile",
        pki.root_pem,
    )
    assert judged.returncode == 0, judged.stderr
    assert b"Verification: OK" in judged.stdout


def test_trust_in_the_time_stamp_is_not_established_without_roots(pki, tsa_url, make_pdfa, sign):
    facts = sign(make_pdfa(), timestamp={"url": tsa_url}, **pki.key_options()).facts
    assert facts["timestamp"]["integrity"] == "yes"
    assert facts["timestamp"]["trust"].startswith("not established (")


def test_an_authority_of_the_office_that_the_system_trusts_is_enough_for_https(
    pki, https_tsa, make_pdfa, sign, monkeypatch
):
    """It has no key usage: Python 3.13 would refuse it, and Python 3.11 does not."""
    url, authority = https_tsa
    options = {"timestamp": {"url": url, "tries": 1}, **pki.key_options()}
    with pytest.raises(Postpone) as raised:
        sign(make_pdfa(), **options)
    assert "CERTIFICATE_VERIFY_FAILED" in str(raised.value)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    assert sign(make_pdfa(), **options).facts["level"] == "B-T"


def test_a_server_that_is_down_postpones_the_document(pki, closed_port, make_pdfa, sign):
    with pytest.raises(Postpone) as raised:
        sign(make_pdfa(), timestamp={"url": closed_port, "tries": 1}, **pki.key_options())
    assert raised.value.code == "timestamp-server-down"
    assert raised.value.hint


def test_sign_without_makes_b_b_and_shows_b_t_as_pending(
    pki, closed_port, make_pdfa, sign, cut, openssl
):
    result = sign(
        make_pdfa(),
        timestamp={"url": closed_port, "tries": 1, "when_down": "sign-without"},
        **pki.key_options(),
    )
    assert (result.facts["level"], result.facts["pending"]) == ("B-B", "B-T")
    assert any("pending" in note for note in result.notes)
    assert result.facts["waited"].keys() == {"tsa"}, "in vain, but waited"
    parts = cut(result.replace_main.path)
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


def test_a_busy_server_is_asked_again(pki, make_pdfa, sign, http_server):
    asked = []

    def answer(body, headers):
        asked.append(body)
        if len(asked) == 1:
            return 503, "text/plain", b"later"
        return 200, REPLY, stamped_by(pki, tsp.TimeStampReq.load(body))

    url = http_server(answer)
    facts = sign(make_pdfa(), timestamp={"url": url, "tries": 2}, **pki.key_options()).facts
    assert facts["level"] == "B-T"
    assert len(asked) == 2
    assert facts["waited"]["tsa"] > 2, "all tries, with the pause between"


def test_a_server_that_says_it_cannot_now_counts_as_down(pki, make_pdfa, sign, http_server):
    url = http_server(lambda body, headers: (200, REPLY, refusal("time_not_available")))
    with pytest.raises(Postpone) as raised:
        sign(make_pdfa(), timestamp={"url": url, "tries": 1}, **pki.key_options())
    assert raised.value.code == "timestamp-server-down"
    assert "time_not_available" in raised.value.message


def test_a_server_that_never_answers_is_down_after_the_timeout(pki, make_pdfa, sign, http_server):
    release = threading.Event()

    def answer(body, headers):
        release.wait(60)
        return 503, "text/plain", b""

    url = http_server(answer)
    try:
        with pytest.raises(Postpone) as raised:
            sign(
                make_pdfa(),
                timestamp={"url": url, "tries": 1, "timeout": "200 ms"},
                **pki.key_options(),
            )
    finally:
        release.set()
    assert raised.value.code == "timestamp-server-down"


def other_digest(pki, body: bytes) -> bytes:
    request = tsp.TimeStampReq.load(body)
    request["message_imprint"]["hashed_message"] = bytes(32)
    return stamped_by(pki, tsp.TimeStampReq.load(request.dump(force=True)))


def other_nonce(pki, body: bytes) -> bytes:
    request = tsp.TimeStampReq.load(body)
    request["nonce"] = request["nonce"].native + 1
    return stamped_by(pki, tsp.TimeStampReq.load(request.dump(force=True)))


def damaged(pki, body: bytes) -> bytes:
    answer = bytearray(stamped_by(pki, tsp.TimeStampReq.load(body)))
    answer[-3] ^= 1
    return bytes(answer)


def refusal(failure: str) -> bytes:
    """What RFC 3161 (2.4.2) asks for: a status and no token."""
    status = {"status": "rejection", "status_string": ["no"], "fail_info": {failure}}
    inner = tsp.PKIStatusInfo(status).dump()
    return bytes([0x30, len(inner)]) + inner


def rejected(pki, body: bytes) -> bytes:
    return refusal("bad_alg")


@pytest.mark.parametrize(
    "make", [other_digest, other_nonce, damaged, rejected, lambda pki, body: b"not ASN.1"]
)
def test_a_wrong_answer_is_never_embedded(make, pki, make_pdfa, sign, http_server):
    url = http_server(lambda body, headers: (200, REPLY, make(pki, body)))
    with pytest.raises(Postpone) as raised:
        sign(
            make_pdfa(),
            timestamp={"url": url, "tries": 1, "when_down": "sign-without"},
            **pki.key_options(),
        )
    assert raised.value.code == "timestamp-refused"


def test_a_server_that_wants_a_password_gets_it(pki, make_pdfa, sign, http_server):
    def answer(body, headers):
        if headers["Authorization"] != "Basic YXJjaGl2ZTpz4bqvYw==":
            return 401, "text/plain", b""
        return 200, REPLY, stamped_by(pki, tsp.TimeStampReq.load(body))

    url = http_server(answer)
    user, password = pki.secret("user", b"archive\n"), pki.secret("password", "sắc".encode())
    secrets = {"user": {"file": str(user)}, "password": {"file": str(password)}}
    with pytest.raises(Postpone) as raised:
        sign(make_pdfa(), timestamp={"url": url, "tries": 1}, **pki.key_options())
    assert raised.value.code == "timestamp-refused"
    facts = sign(make_pdfa(), timestamp={"url": url, **secrets}, **pki.key_options()).facts
    assert facts["level"] == "B-T"
