"""Revocation: asked before anything is signed, of whom the certificates name, and never assumed."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.request import urlopen

import pikepdf
import pytest
from asn1crypto import crl as asn1_crl
from asn1crypto import ocsp as asn1_ocsp
from certomancer.registry import ServiceLabel
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from archived.api import Postpone
from archived_sign import Sign
from archived_sign.keys import as_asn1
from archived_sign.levels import read_anchors
from archived_sign.options import RevocationOptions, SignOptions
from archived_sign.pades import append_document_timestamp, append_validation_data
from archived_sign.revocation import (
    Material,
    NoPath,
    RevocationSource,
    Unavailable,
    ocsp_request,
    read_crls,
)
from archived_sign.servers import ServerRefused, ask
from archived_sign.timestamps import HttpTimeStamper
from archived_sign.validation import judge


def latest_crl(authority, issuer: str) -> bytes:
    with urlopen(f"http://127.0.0.1:{authority.port}/drill/crls/{issuer}/latest.crl") as answer:
        return answer.read()


def crl_of(authority, issuer: str, at: datetime) -> bytes:
    """The CRL as it was at another time."""
    repository = authority.architecture.service_registry
    return repository.get_crl(ServiceLabel(issuer), at).dump()


@pytest.fixture
def imported(authority, tmp_path: Path) -> list[str]:
    """Files with the current CRLs of every issuer."""
    paths = []
    for issuer in ("root", "issuing", "stamp-root"):
        path = tmp_path / f"{issuer}.crl"
        path.write_bytes(latest_crl(authority, issuer))
        paths.append(str(path))
    authority.asked.clear()
    return paths


@pytest.mark.parametrize(("label", "word"), [("revoked", "revoked"), ("held", "hold")])
@pytest.mark.parametrize("away", [set(), {"ocsp"}])
@pytest.mark.parametrize("when_down", ["postpone", "sign-without"])
def test_nothing_is_signed_with_a_certificate_that_is_revoked_or_on_hold(
    label, word, away, when_down, authority, make_pdfa, sign
):
    authority.away |= away
    options = authority.options("B-LT", label, when_down=when_down)
    with pytest.raises(Postpone) as raised:
        sign(make_pdfa(), **options)
    assert raised.value.code == "certificate-revoked"
    assert word in raised.value.message.lower()
    assert not any("/tsa/" in path for path in authority.asked), "no time stamp was asked for"


@pytest.mark.parametrize("when_down", ["postpone", "sign-without"])
def test_no_level_rests_on_a_time_stamp_server_whose_certificate_is_revoked(
    when_down, authority, make_pdfa, sign
):
    options = authority.options("B-LTA", servers=("revoked",), when_down=when_down)
    with pytest.raises(Postpone) as raised:
        sign(make_pdfa(), **options)
    assert raised.value.code == "certificate-revoked"


@pytest.mark.parametrize(
    ("label", "code"),
    [
        ("expired", "certificate-expired"),
        ("soon", "certificate-not-yet-valid"),
        ("unfit", "key-unusable"),
    ],
)
def test_certificates_that_may_not_sign_now_make_no_level(label, code, authority, make_pdfa, sign):
    with pytest.raises(Postpone) as raised:
        sign(make_pdfa(), **authority.options("B-LTA", label))
    assert raised.value.code == code
    assert authority.asked == []


@pytest.mark.parametrize("away", ["ocsp", "crls"])
def test_one_of_ocsp_and_crls_is_enough(away, authority, make_pdfa, sign):
    authority.away.add(away)
    result = sign(make_pdfa(), **authority.options("B-LTA"))
    assert result.facts["level"] == "B-LTA"
    assert result.facts["verdict"]["revocation"] == "yes"
    assert result.facts["verdict"]["maintainable"] == "yes"
    with pikepdf.open(result.replace_main.path) as pdf:
        assert ("/CRLs" in pdf.Root.DSS) == (away == "ocsp")
        assert ("/OCSPs" in pdf.Root.DSS) == (away == "crls")


def test_when_nobody_answers_the_document_waits_and_the_sentence_names_whom(
    authority, make_pdfa, sign
):
    authority.away |= {"ocsp", "crls"}
    with pytest.raises(Postpone) as raised:
        sign(make_pdfa(), **authority.options("B-LTA"))
    assert raised.value.code == "revocation-unavailable"
    assert "/drill/ocsp/issuing: it answered HTTP 503" in raised.value.message
    assert "/drill/crls/issuing/latest.crl: it answered HTTP 503" in raised.value.message


def test_sign_without_makes_b_t_and_says_what_is_pending(authority, make_pdfa, sign):
    authority.away |= {"ocsp", "crls"}
    result = sign(make_pdfa(), **authority.options("B-LTA", when_down="sign-without"))
    assert (result.facts["level"], result.facts["pending"]) == ("B-T", "B-LTA")
    assert result.facts["verdict"]["revocation"].startswith("not established (")
    assert any("B-LTA is pending" in note for note in result.notes)


@pytest.mark.parametrize(("when_down", "level"), [("postpone", None), ("sign-without", "B-T")])
def test_a_time_stamp_server_of_which_nobody_says_anything_is_as_good_as_b_t(
    when_down, level, authority, make_pdfa, sign
):
    """Our own certificate is known to be good; the time stamp server's is not."""
    authority.away.add("stamp-root")
    options = authority.options("B-LTA", when_down=when_down)
    if level is None:
        with pytest.raises(Postpone) as raised:
            sign(make_pdfa(), **options)
        assert raised.value.code == "revocation-unavailable"
        assert "/drill/crls/stamp-root/" in raised.value.message
    else:
        facts = sign(make_pdfa(), **options).facts
        assert (facts["level"], facts["pending"]) == (level, "B-LTA")


def test_a_certificate_that_names_nobody_to_ask_needs_an_imported_crl(
    authority, make_pdfa, sign, tmp_path
):
    """The authority above it is asked on the network all the same."""
    options = authority.options("B-LT", "silent")
    with pytest.raises(Postpone) as raised:
        sign(make_pdfa(), **options)
    assert raised.value.code == "revocation-unavailable"
    key = load_pem_private_key((authority.folder / "keys" / "issuing.pem").read_bytes(), None)
    now = datetime.now(UTC)
    made = x509.CertificateRevocationListBuilder(
        issuer_name=authority.certificate("issuing").subject,
        last_update=now - timedelta(hours=1),
        next_update=now + timedelta(days=1),
    ).sign(key, SHA256())
    path = tmp_path / "office.crl"
    path.write_bytes(made.public_bytes(Encoding.DER))
    facts = sign(make_pdfa(), revocation={"crls": [str(path)]}, **options).facts
    assert (facts["level"], facts["verdict"]["revocation"]) == ("B-LT", "yes")


def test_with_imported_crls_nobody_is_asked(authority, imported, make_pdfa, sign):
    """A machine that reaches the time stamp server and nothing else."""
    revocation = {"crls": imported, "fetch": False}
    facts = sign(make_pdfa(), revocation=revocation, **authority.options("B-LTA")).facts
    assert facts["level"] == "B-LTA"
    assert facts["verdict"]["indication"] == "TOTAL-PASSED"
    assert {path.split("/")[2] for path in authority.asked} == {"tsa"}


def test_a_crl_may_be_pem(authority, imported, make_pdfa, sign, tmp_path):
    for path in imported:
        argv = ["openssl", "crl", "-inform", "DER", "-in", path, "-out", path]
        subprocess.run(argv, check=True, capture_output=True, timeout=60)
    assert b"BEGIN X509 CRL" in Path(imported[0]).read_bytes()
    revocation = {"crls": imported, "fetch": False}
    facts = sign(make_pdfa(), revocation=revocation, **authority.options("B-LT")).facts
    assert facts["level"] == "B-LT"


def test_a_hold_in_an_imported_crl_counts_whatever_a_server_says(
    authority, imported, make_pdfa, sign
):
    """The server has released the certificate; the file, still current, has it on hold."""
    held = asn1_crl.CertificateList.load(Path(imported[1]).read_bytes())
    serials = {
        each["user_certificate"].native for each in held["tbs_cert_list"]["revoked_certificates"]
    }
    assert authority.certificate("held").serial_number in serials
    authority.away |= {"ocsp", "crls"}
    options = authority.options("B-LT", "held")
    with pytest.raises(Postpone) as raised:
        sign(make_pdfa(), revocation={"crls": imported}, **options)
    assert raised.value.code == "certificate-revoked"
    assert authority.asked == [], "nobody is asked for another opinion"


def test_a_crl_whose_time_is_over_says_nothing(authority, imported, make_pdfa, sign):
    old = crl_of(authority, "issuing", datetime.now(UTC) - timedelta(days=3))
    Path(imported[1]).write_bytes(old)
    with pytest.raises(Postpone) as raised:
        sign(
            make_pdfa(),
            revocation={"crls": imported, "fetch": False},
            **authority.options("B-LT"),
        )
    assert raised.value.code == "revocation-unavailable"
    assert "not recent enough" in raised.value.message


def test_a_crl_from_the_future_says_nothing(authority, imported, make_pdfa, sign):
    """`retroactive_revinfo` would take it, and would overlook a hold that was released by then."""
    Path(imported[1]).write_bytes(
        crl_of(authority, "issuing", datetime.now(UTC) + timedelta(days=3))
    )
    with pytest.raises(Postpone) as raised:
        sign(
            make_pdfa(),
            revocation={"crls": imported, "fetch": False},
            **authority.options("B-LT"),
        )
    assert raised.value.code == "revocation-unavailable"


@pytest.mark.parametrize("content", [b"", b"<html>", b"\x30\x03\x02\x01\x00"])
def test_a_file_that_is_no_crl_is_told_at_start_and_waits_at_work(
    content, authority, make_pdfa, sign, tmp_path
):
    path = tmp_path / "broken.crl"
    path.write_bytes(content)
    options = {**authority.options("B-LT"), "revocation": {"crls": [str(path)]}}
    (sentence,) = Sign().check(Sign.config().model_validate(options))
    assert str(path) in sentence
    with pytest.raises(Postpone) as raised:
        sign(make_pdfa(), **options)
    assert raised.value.code == "revocation-unavailable"
    assert str(path) in raised.value.message


# -- answers that are none -----------------------------------------------------------------------


def source(fetch: bool = True) -> RevocationSource:
    return RevocationSource(RevocationOptions(fetch=fetch), lambda: 10.0)


@pytest.mark.parametrize(
    "answer",
    [
        (200, "text/html", b"<html>Welcome</html>"),
        (200, "application/ocsp-response", b"\x30\x03\x0a\x01\x06"),
        (200, "application/ocsp-response", b"\x30\x03\x0a\x01\x00"),
        (200, "application/ocsp-response", b""),
        (302, "text/plain", b""),
    ],
    ids=["html", "unauthorized", "no-body", "empty", "redirect"],
)
def test_an_ocsp_answer_that_is_none_counts_as_no_answer(
    answer, authority, monkeypatch, http_server, make_pdfa, sign
):
    """The certificates name the address, so the answer is given there."""
    status, kind, content = answer
    authority.lies["ocsp"] = (f"{status} x", kind, content)
    authority.away.add("crls")
    with pytest.raises(Postpone) as raised:
        sign(make_pdfa(), **authority.options("B-LT"))
    assert raised.value.code == "revocation-unavailable"
    authority.away.clear()
    assert sign(make_pdfa(), **authority.options("B-LT")).facts["level"] == "B-LT", "CRLs are"


@pytest.mark.parametrize(("days", "with_nonce"), [(0, True), (30, False)])
def test_an_answer_to_an_earlier_question_is_not_taken_for_todays(
    days, with_nonce, authority, make_pdfa, sign
):
    """A replay: it has another nonce; or none, and its time is over."""
    answer = replayed(authority, days, with_nonce)
    authority.lies["issuing"] = ("200 OK", "application/ocsp-response", answer)
    with pytest.raises(Postpone) as raised:
        sign(make_pdfa(), **authority.options("B-LT"))
    assert raised.value.code == "revocation-unavailable"
    told = "/drill/ocsp/issuing: it gives no answer" if with_nonce else "not recent enough"
    assert told in raised.value.message


def replayed(authority, days: int, with_nonce: bool) -> bytes:
    body, _ = ocsp_request(
        as_asn1(authority.certificate("signer")), as_asn1(authority.certificate("issuing"))
    )
    request = asn1_ocsp.OCSPRequest.load(body)
    if not with_nonce:
        del request["tbs_request"]["request_extensions"]
        request = asn1_ocsp.OCSPRequest.load(request.dump(force=True))
    responders = authority.architecture.service_registry
    responder = responders.summon_responder(
        ServiceLabel("issuing"), datetime.now(UTC) - timedelta(days=days)
    )
    answer = responder.build_ocsp_response(request)
    assert (answer.nonce_value is not None) == with_nonce
    return answer.dump()


def test_only_chains_that_lead_to_a_trusted_root_are_asked_about(authority, pki):
    """What a stranger's certificate names is no address to go to."""
    leaf, issuing = (as_asn1(authority.certificate(each)) for each in ("signer", "issuing"))
    with pytest.raises(NoPath):
        source().gather(leaf, [issuing], [as_asn1(pki.certificate("root"))])
    assert authority.asked == []


def test_without_fetch_nobody_is_asked(authority):
    leaf, issuing, root = (
        as_asn1(authority.certificate(each)) for each in ("signer", "issuing", "root")
    )
    with pytest.raises(Unavailable):
        source(fetch=False).gather(leaf, [issuing], [root])
    assert authority.asked == []


def test_a_redirect_to_another_host_is_not_followed_for_a_crl(authority, http_server):
    target = http_server(lambda body, headers: (200, "text/plain", b""))
    authority.lies["crls"] = ("302 Found", "text/plain", b"")
    authority.location = target
    url = f"http://127.0.0.1:{authority.port}/drill/crls/root/latest.crl"
    with pytest.raises(ServerRefused, match="redirects"):
        ask(url, None, {}, seconds=5, largest=1000)
    authority.location = f"http://127.0.0.1:{authority.port}/drill/crls2/root/latest.crl"
    with pytest.raises(ServerRefused, match="404"):
        ask(url, None, {}, seconds=5, largest=1000)


def test_the_crls_of_a_file_are_all_read(imported, tmp_path):
    both = tmp_path / "both.pem"
    for path in imported[:2]:
        argv = ["openssl", "crl", "-inform", "DER", "-in", path]
        made = subprocess.run(argv, check=True, capture_output=True, timeout=60)
        both.write_bytes((both.read_bytes() if both.exists() else b"") + made.stdout)
    assert len(read_crls(both)) == 2


@pytest.mark.parametrize("level", ["B-B", "B-T"])
@pytest.mark.parametrize("days", [0, 2])
def test_what_was_issued_after_the_proven_time_proves_nothing_about_it(
    days, level, authority, make_pdfa, sign
):
    """A CRL of later may have forgotten a hold. Without a time stamp in the signature and with."""
    signed = sign(make_pdfa(), **authority.options(level))
    path, field = signed.replace_main.path, signed.facts["field"]
    at = datetime.now(UTC) + timedelta(days=days)
    labels = ("root", "issuing", "signer", "stamp-root", "tsa1")
    material = Material(
        tuple(as_asn1(authority.certificate(each)) for each in labels),
        crls=tuple(
            asn1_crl.CertificateList.load(crl_of(authority, each, at))
            for each in ("root", "issuing", "stamp-root")
        ),
    )
    append_validation_data(path, material)
    options = SignOptions.model_validate(authority.options("B-LTA"))
    append_document_timestamp(path, HttpTimeStamper(options.timestamp, lambda: 60.0), 32768)
    verdict = judge(path, field, read_anchors(options), long_term=True, updated=True)
    assert verdict.integrity == "yes"
    assert verdict.passed == (days == 0), verdict.indication
    assert (verdict.revocation == "yes") == (days == 0)
