"""A document that was signed below the wanted level is brought there, and never signed again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pikepdf
import pytest

from archived.api import Postpone, Refuse, Role

from .test_sign_levels import parts

PATIENT = {"when_down": "sign-without"}


def signed_while_away(authority, sign, make_pdfa, level: str, *away: str):
    authority.away |= set(away)
    result = sign(make_pdfa(), **authority.options(level, **PATIENT))
    authority.away.clear()
    authority.asked.clear()
    assert result.facts["pending"] == level
    return result


@pytest.mark.parametrize(
    ("away", "before"),
    [(("tsa1", "ocsp", "crls"), "B-B"), (("tsa1",), "B-B"), (("ocsp", "crls"), "B-T")],
)
@pytest.mark.parametrize("level", ["B-LT", "B-LTA"])
def test_what_is_pending_is_reached_when_the_servers_are_back(
    away, before, level, authority, make_pdfa, sign, upgrade
):
    first = signed_while_away(authority, sign, make_pdfa, level, *away)
    assert first.facts["level"] == before
    second = upgrade(first, **authority.options(level, **PATIENT))
    assert (second.facts["level"], second.facts["pending"]) == (level, None)
    assert second.facts["verdict"] == {
        "integrity": "yes",
        "trust": "yes",
        "revocation": "yes",
        "indication": "TOTAL-PASSED",
        "maintainable": "yes",
    }
    assert (second.facts["proof_until"] is not None) == (level == "B-LTA")
    assert second.replace_main.role == Role.ACCESS
    assert [each.name for each in second.add] == ["signature-validation.xml"]
    assert "total-passed" in second.add[0].path.read_text()


def test_the_signature_and_all_bytes_before_stay(authority, make_pdfa, sign, upgrade):
    first = signed_while_away(authority, sign, make_pdfa, "B-LTA", "tsa1")
    second = upgrade(first, **authority.options())
    old, new = (each.replace_main.path.read_bytes() for each in (first, second))
    assert new.startswith(old)
    (signature, *stamps) = parts(second.replace_main.path)
    assert [signature] == parts(first.replace_main.path)
    assert len(stamps) == 2, "one proves the signature, one what proves its certificate"
    for fact in ("signer", "serial", "signed_at", "field", "algorithm", "timestamp"):
        assert second.facts[fact] == first.facts[fact]


def test_openssl_accepts_every_part_of_an_upgraded_document(
    authority, make_pdfa, sign, upgrade, openssl
):
    first = signed_while_away(authority, sign, make_pdfa, "B-LTA", "tsa1")
    path = upgrade(first, **authority.options()).replace_main.path
    (covered, cms), *stamps = parts(path)
    judged = openssl(
        *("cms", "-verify", "-binary", "-inform", "DER", "-in", cms, "-content", covered),
        *("-CAfile", authority.pem("root"), "-purpose", "any", "-out", "/dev/null"),
    )
    assert judged.returncode == 0, judged.stderr
    roots = authority.pem("stamp-root")
    for data, token in stamps:
        stamped = openssl(
            "ts", "-verify", "-data", data, "-in", token, "-token_in", "-CAfile", roots
        )
        assert stamped.returncode == 0, stamped.stderr


def test_b_t_is_reached_by_a_document_time_stamp(authority, make_pdfa, sign, upgrade):
    first = signed_while_away(authority, sign, make_pdfa, "B-T", "tsa1")
    second = upgrade(first, **authority.options("B-T"))
    assert (second.facts["level"], second.facts["pending"]) == ("B-T", None)
    (stamp,) = second.facts["document_timestamps"]
    assert (stamp["integrity"], stamp["trust"]) == ("yes", "yes")
    assert second.facts["timestamp"] is None, "there is none in the signature"


def test_the_key_is_not_needed(authority, make_pdfa, sign, upgrade, tmp_path):
    first = signed_while_away(authority, sign, make_pdfa, "B-LTA", "tsa1")
    options = {**authority.options(), "key": {"file": str(tmp_path / "gone.p12")}}
    assert upgrade(first, **options).facts["level"] == "B-LTA"


@pytest.mark.parametrize("when_down", ["postpone", "sign-without"])
@pytest.mark.parametrize(
    ("away", "code"),
    [("tsa1", "timestamp-server-down"), ("nothing", "")],
)
def test_while_the_server_is_away_nothing_changes_and_it_waits(
    away, code, when_down, authority, make_pdfa, sign, upgrade
):
    first = signed_while_away(authority, sign, make_pdfa, "B-LTA", "tsa1")
    authority.away.add(away)
    options = authority.options(when_down=when_down)
    if not code:
        assert upgrade(first, **options).facts["level"] == "B-LTA"
        return
    with pytest.raises(Postpone) as raised:
        upgrade(first, **options)
    assert raised.value.code == code


def test_a_part_of_the_way_is_kept(authority, make_pdfa, sign, upgrade):
    """The time stamp proves the signature from today; the rest follows."""
    first = signed_while_away(authority, sign, make_pdfa, "B-LTA", "tsa1")
    authority.away |= {"ocsp", "crls"}
    second = upgrade(first, **authority.options(**PATIENT))
    assert (second.facts["level"], second.facts["pending"]) == ("B-T", "B-LTA")
    authority.away.clear()
    third = upgrade(second, **authority.options(**PATIENT))
    assert (third.facts["level"], third.facts["pending"]) == ("B-LTA", None)
    assert third.replace_main.path.read_bytes().startswith(second.replace_main.path.read_bytes())


def test_half_a_step_is_not_kept(authority, make_pdfa, sign, upgrade):
    first = sign(make_pdfa(), **authority.options("B-LT"))
    authority.away.add("tsa1")
    with pytest.raises(Postpone) as raised:
        upgrade(first, **authority.options("B-LTA", **PATIENT))
    assert raised.value.code == "timestamp-server-down"


def test_a_higher_level_asked_for_later_is_reached(authority, make_pdfa, sign, upgrade):
    result = sign(make_pdfa(), **authority.options("B-B"))
    for level in ("B-T", "B-LT", "B-LTA"):
        result = upgrade(result, **authority.options(level))
        assert (result.facts["level"], result.facts["pending"]) == (level, None)
        assert result.facts["verdict"]["integrity"] == "yes"


def test_a_certificate_revoked_meanwhile_is_not_raised(authority, make_pdfa, sign, upgrade):
    """Signed B-B without asking; when OCSP is asked, the certificate is on hold."""
    signed = sign(make_pdfa(), **authority.options("B-B", "held"))
    with pytest.raises(Postpone) as raised:
        upgrade(signed, **authority.options("B-LTA"))
    assert raised.value.code == "certificate-revoked"


def test_a_document_that_wants_nothing_is_left_alone(authority, make_pdfa, sign, upgrade):
    first = sign(make_pdfa(), **authority.options("B-LTA"))
    again = upgrade(first, **authority.options("B-LTA"))
    assert again.replace_main is None
    assert not again.add
    assert again.facts == dict(first.facts)
    unsigned = replace(first, facts={"level": "none", "pending": None})
    assert upgrade(unsigned, **authority.options("B-LTA")).replace_main is None
    assert authority.asked.count("/drill/tsa/tsa1") == 2, "only when it was signed"


def test_a_wish_that_was_withdrawn_is_no_longer_pending(authority, make_pdfa, sign, upgrade):
    first = signed_while_away(authority, sign, make_pdfa, "B-LTA", "tsa1")
    second = upgrade(first, **authority.options("B-B"))
    assert (second.facts["level"], second.facts["pending"]) == ("B-B", None)
    assert second.replace_main is None


@pytest.mark.parametrize("fact", ["proof_until", "not_after"])
def test_what_no_longer_proves_anything_is_refused(fact, authority, make_pdfa, sign, upgrade):
    first = signed_while_away(authority, sign, make_pdfa, "B-LTA", "tsa1")
    ended = replace(first, facts={**first.facts, fact: "2026-01-02T00:00:00+00:00"})
    with pytest.raises(Refuse) as raised:
        upgrade(ended, **authority.options("B-LTA"))
    assert raised.value.code == "proof-ended"
    assert "2026-01-02" in raised.value.message
    assert authority.asked == []


def damaged(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[data.find(b"<?xpacket") + 2] ^= 1
    path.write_bytes(data)


def rewritten(path: Path) -> None:
    with pikepdf.open(path, allow_overwriting_input=True) as pdf:
        del pdf.Root.AcroForm, pdf.pages[0].Annots
        pdf.save(path)


@pytest.mark.parametrize("spoil", [damaged, rewritten])
def test_a_file_that_is_not_what_was_signed_is_refused(spoil, authority, make_pdfa, sign, upgrade):
    first = signed_while_away(authority, sign, make_pdfa, "B-LTA", "tsa1")
    spoil(first.replace_main.path)
    with pytest.raises(Refuse) as raised:
        upgrade(first, **authority.options())
    assert raised.value.code == "signature-damaged"
    assert authority.asked == [], "no time stamp is spent on it"
