"""Several time stamp servers: the next one is asked, and a lie is never kept."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime

import pytest
from asn1crypto import cms, tsp
from certomancer.registry import ServiceLabel

from archived.api import Postpone
from archived_sign.keys import as_asn1

from .authority import SIGNERS

REPLY = "application/timestamp-reply"


def stamped(authority, request: tsp.TimeStampReq, server: str = "tsa1") -> bytes:
    stampers = authority.architecture.service_registry
    stamper = stampers.summon_timestamper(ServiceLabel(server), datetime.now(UTC))
    return stamper.request_tsa_response(request).dump()


def other_nonce(authority, body: bytes) -> tuple[int, str, bytes]:
    request = tsp.TimeStampReq.load(body)
    request["nonce"] = request["nonce"].native + 1
    return 200, REPLY, stamped(authority, tsp.TimeStampReq.load(request.dump(force=True)))


def other_imprint(authority, body: bytes) -> tuple[int, str, bytes]:
    request = tsp.TimeStampReq.load(body)
    request["message_imprint"]["hashed_message"] = bytes(32)
    return 200, REPLY, stamped(authority, tsp.TimeStampReq.load(request.dump(force=True)))


def expired_certificate(authority, body: bytes) -> tuple[int, str, bytes]:
    return 200, REPLY, stamped(authority, tsp.TimeStampReq.load(body), "late")


def early_certificate(authority, body: bytes) -> tuple[int, str, bytes]:
    return 200, REPLY, stamped(authority, tsp.TimeStampReq.load(body), "early")


def unfit_certificate(authority, body: bytes) -> tuple[int, str, bytes]:
    return 200, REPLY, stamped(authority, tsp.TimeStampReq.load(body), "unfit")


def no_certificate(authority, body: bytes) -> tuple[int, str, bytes]:
    answer = tsp.TimeStampResp.load(stamped(authority, tsp.TimeStampReq.load(body)))
    answer["time_stamp_token"]["content"]["certificates"] = []
    return 200, REPLY, answer.dump(force=True)


def damaged(authority, body: bytes) -> tuple[int, str, bytes]:
    answer = bytearray(stamped(authority, tsp.TimeStampReq.load(body)))
    answer[-3] ^= 1
    return 200, REPLY, bytes(answer)


def a_page(authority, body: bytes) -> tuple[int, str, bytes]:
    return 200, "text/html", b"<html>Welcome to the portal</html>"


def garbage(authority, body: bytes) -> tuple[int, str, bytes]:
    return 200, REPLY, b"\x30\x80garbage"


def too_large(authority, body: bytes) -> tuple[int, str, bytes]:
    return 200, REPLY, bytes(2 * 1024 * 1024)


LIES = {
    other_nonce: "nonce",
    other_imprint: "something else",
    expired_certificate: "expired on 2026-01-01",
    early_certificate: "valid from 2090-01-01",
    unfit_certificate: "not one for time stamps",
    no_certificate: "lacks the certificate",
    damaged: "signature",
    a_page: "text/html",
    garbage: "not a time stamp",
    too_large: "larger than",
}


def with_servers(authority, *urls: str, **timestamp) -> dict:
    options = authority.options("B-T", **timestamp)
    options["timestamp"].pop("url")
    options["timestamp"]["servers"] = [{"url": url} for url in urls]
    return options


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_never_embedded(lie, authority, make_pdfa, sign, http_server):
    url = http_server(lambda body, headers: lie(authority, body))
    options = authority.options("B-T", url=url, when_down="sign-without")
    with pytest.raises(Postpone) as raised:
        sign(make_pdfa(), **options)
    assert raised.value.code == "timestamp-refused"
    assert LIES[lie] in raised.value.message


@pytest.mark.parametrize("lie", LIES)
def test_a_server_that_lies_is_passed_over(lie, authority, make_pdfa, sign, http_server):
    url = http_server(lambda body, headers: lie(authority, body))
    facts = sign(make_pdfa(), **with_servers(authority, url, authority.url("tsa2"))).facts
    assert facts["level"] == "B-T"
    assert facts["timestamp"]["authority"] == "Drill tsa2"
    assert facts["timestamp"]["server"] == authority.url("tsa2")


def test_a_server_that_is_down_is_passed_over(authority, make_pdfa, sign):
    authority.away.add("tsa1")
    facts = sign(make_pdfa(), **authority.options("B-LTA", servers=("tsa1", "tsa2"))).facts
    assert facts["level"] == "B-LTA"
    assert facts["timestamp"]["authority"] == "Drill tsa2"
    assert facts["proof_until"] == "2055-01-01T00:00:00+00:00"
    asked = [path for path in authority.asked if "/tsa/" in path]
    assert asked == ["/drill/tsa/tsa1", "/drill/tsa/tsa2", "/drill/tsa/tsa2"]


def test_a_server_that_hangs_is_left_after_its_own_timeout(authority, make_pdfa, sign, http_server):
    release = threading.Event()

    def hang(body, headers):
        release.wait(60)
        return 503, "text/plain", b""

    options = with_servers(authority, http_server(hang), authority.url("tsa2"))
    options["timestamp"]["servers"][0]["timeout"] = "300 ms"
    began = time.monotonic()
    try:
        facts = sign(make_pdfa(), **options).facts
    finally:
        release.set()
    assert facts["timestamp"]["authority"] == "Drill tsa2"
    assert time.monotonic() - began < 30


def test_a_server_without_a_timeout_has_the_one_of_all(authority, make_pdfa, sign, http_server):
    release = threading.Event()

    def hang(body, headers):
        release.wait(60)
        return 503, "text/plain", b""

    options = with_servers(authority, http_server(hang), authority.url("tsa2"), timeout="300 ms")
    options["timestamp"]["servers"][1]["timeout"] = "30 s"
    began = time.monotonic()
    try:
        facts = sign(make_pdfa(), **options).facts
    finally:
        release.set()
    assert facts["timestamp"]["authority"] == "Drill tsa2"
    assert time.monotonic() - began < 30


def test_when_all_are_down_the_sentence_names_each(authority, make_pdfa, sign):
    authority.away |= {"tsa1", "tsa2"}
    options = authority.options("B-T", servers=("tsa1", "tsa2"))
    with pytest.raises(Postpone) as raised:
        sign(make_pdfa(), **options)
    assert raised.value.code == "timestamp-server-down"
    for server in ("tsa1", "tsa2"):
        assert f"{authority.url(server)}: it answered HTTP 503" in raised.value.message


def test_while_one_of_those_that_failed_may_come_back_the_document_waits(
    authority, make_pdfa, sign, http_server
):
    authority.away.add("tsa1")
    liar = http_server(lambda body, headers: a_page(authority, body))
    options = with_servers(authority, liar, authority.url("tsa1"), when_down="sign-without")
    facts = sign(make_pdfa(), **options).facts
    assert (facts["level"], facts["pending"]) == ("B-B", "B-T")


def test_no_redirect_to_another_host_is_followed(authority, make_pdfa, sign, http_server):
    asked = []

    def elsewhere(body, headers):
        asked.append(body)
        return 200, REPLY, stamped(authority, tsp.TimeStampReq.load(body))

    target = http_server(elsewhere)

    def redirect(body, headers):
        headers["Redirect-To"] = target
        return 307, "text/plain", b""

    url = http_server(redirect)
    with pytest.raises(Postpone) as raised:
        sign(make_pdfa(), **authority.options("B-T", url=url))
    assert raised.value.code == "timestamp-refused"
    assert target.rstrip("/") in raised.value.message
    assert asked == []


def test_each_server_has_its_own_roots(authority, make_pdfa, sign):
    """The roots of all servers count; a token that leads to none of them is not kept."""
    options = with_servers(authority, authority.url("tsa2"))
    options["timestamp"]["trusted_roots"] = []
    options["timestamp"]["servers"][0]["trusted_roots"] = [str(authority.pem("stamp-root"))]
    assert sign(make_pdfa(), **options).facts["timestamp"]["trust"] == "yes"
    options["timestamp"]["servers"][0]["trusted_roots"] = [str(authority.pem("root"))]
    with pytest.raises(Postpone) as raised:
        sign(make_pdfa(), **options)
    assert raised.value.code == "untrusted"


def with_chain(authority, body: bytes) -> bytes:
    """A token that carries a dozen certificates more."""
    answer = tsp.TimeStampResp.load(stamped(authority, tsp.TimeStampReq.load(body), "tsa2"))
    held = answer["time_stamp_token"]["content"]["certificates"]
    more = [authority.certificate(each) for each in ("root", "issuing", "stamp-root", *SIGNERS)]
    for each in more:
        held.append(cms.CertificateChoices({"certificate": as_asn1(each)}))
    return answer.dump(force=True)


def test_a_document_time_stamp_larger_than_the_one_before_fits(
    authority, make_pdfa, sign, http_server
):
    """The first server gives one token and is away; what the second gives is larger by far."""
    asked = []

    def once(body, headers):
        asked.append(body)
        if len(asked) > 1:
            return 503, "text/plain", b""
        return 200, REPLY, stamped(authority, tsp.TimeStampReq.load(body))

    larger = http_server(lambda body, headers: (200, REPLY, with_chain(authority, body)))
    first = http_server(once)
    options = with_servers(authority, first, larger)
    facts = sign(make_pdfa(), **{**options, "level": "B-LTA"}).facts
    assert facts["level"] == "B-LTA"
    assert facts["timestamp"]["authority"] == "Drill tsa1"
    assert facts["timestamp"]["server"] == first
    assert facts["document_timestamps"][0]["authority"] == "Drill tsa2"
    assert facts["proof_until"] == "2055-01-01T00:00:00+00:00"


def test_room_that_is_too_small_is_told(authority, make_pdfa, sign, http_server):
    larger = http_server(lambda body, headers: (200, REPLY, with_chain(authority, body)))
    options = with_servers(authority, larger)
    with pytest.raises(Postpone) as raised:
        sign(make_pdfa(), **{**options, "level": "B-LTA", "reserve": "16 KiB"})
    assert raised.value.code == "reserve-too-small"


@pytest.mark.parametrize("when_down", ["postpone", "sign-without"])
def test_a_server_that_goes_away_before_the_document_time_stamp_leaves_b_lt(
    when_down, authority, make_pdfa, sign, upgrade, http_server
):
    asked = []

    def once(body, headers):
        asked.append(body)
        if len(asked) > 1:
            return 503, "text/plain", b""
        return 200, REPLY, stamped(authority, tsp.TimeStampReq.load(body))

    options = authority.options("B-LTA", url=http_server(once), when_down=when_down)
    if when_down == "postpone":
        with pytest.raises(Postpone) as raised:
            sign(make_pdfa(), **options)
        assert raised.value.code == "timestamp-server-down"
        return
    result = sign(make_pdfa(), **options)
    assert (result.facts["level"], result.facts["pending"]) == ("B-LT", "B-LTA")
    assert result.facts["document_timestamps"] == []
    assert result.facts["verdict"]["indication"] == "TOTAL-PASSED"
    raised_to = upgrade(result, **authority.options("B-LTA"))
    assert (raised_to.facts["level"], raised_to.facts["pending"]) == ("B-LTA", None)
    assert raised_to.facts["timestamp"] == result.facts["timestamp"]
