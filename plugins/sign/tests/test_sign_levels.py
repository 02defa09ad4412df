"""The four levels of PAdES, judged by programs that are not ours."""

from __future__ import annotations

import json
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import pikepdf
import pytest
from pydantic import ValidationError

from archived.api import Role
from archived_sign import Sign
from archived_sign.options import LEVELS, SignOptions

ETSI = "{http://uri.etsi.org/19102/v1.2.1#}"


def store(path: Path) -> dict[str, int]:
    """How many certificates, OCSP responses and CRLs the document security store has."""
    with pikepdf.open(path) as pdf:
        found = pdf.Root.get("/DSS", {})
        return {key: len(found[key]) for key in ("/Certs", "/OCSPs", "/CRLs") if key in found}


def document_timestamps(path: Path) -> list[tuple[bytes, bytes]]:
    """Of each document time stamp, without any PDF library: what it covers, and its token."""
    return parts(path)[1:]


def parts(path: Path) -> list[tuple[bytes, bytes]]:
    """The same of the signature, and then of each document time stamp."""
    data, found = path.read_bytes(), []
    for match in re.finditer(rb"/ByteRange \[0 (\d+) (\d+) (\d+) *\]", data):
        first, second, rest = map(int, match.groups())
        padded = bytes.fromhex(data[first + 1 : second - 1].decode())
        octets = padded[1] & 0x7F
        length = 2 + octets + int.from_bytes(padded[2 : 2 + octets], "big")
        found.append((data[:first] + data[second : second + rest], padded[:length]))
    return found


@pytest.mark.parametrize("level", LEVELS)
def test_each_level_has_what_the_standard_asks_for(level, authority, make_pdfa, sign):
    source = make_pdfa()
    result = sign(source, **authority.options(level))
    path, facts = result.replace_main.path, result.facts
    assert (facts["level"], facts["pending"]) == (level, None)
    assert path.read_bytes().startswith(source.read_bytes())
    rank = LEVELS.index(level)
    assert (facts["timestamp"] is not None) == (rank >= 1)
    assert ("/OCSPs" in store(path)) == (rank >= 2)
    assert len(document_timestamps(path)) == len(facts["document_timestamps"]) == (rank == 3)
    assert facts["verdict"]["integrity"] == "yes"
    assert facts["verdict"]["trust"] == "yes"
    assert facts["verdict"]["indication"] == "TOTAL-PASSED"
    asked = "yes" if rank >= 2 else "not established (nobody was asked when it was signed)"
    assert facts["verdict"]["revocation"] == asked


def test_b_lta_says_how_long_it_proves_and_that_it_can_be_kept_up(authority, make_pdfa, sign):
    facts = json.loads(json.dumps(sign(make_pdfa(), **authority.options()).facts))
    assert facts["proof_until"] == "2040-01-01T00:00:00+00:00", "the time stamp server's end"
    assert facts["verdict"]["maintainable"] == "yes"
    tried = datetime.fromisoformat(facts["maintainable_until"])
    assert tried > datetime.now(UTC) + timedelta(days=29 * 365)
    assert set(facts["waited"]) == {"tsa", "revocation"}


def test_only_b_lta_has_an_end_that_can_be_moved(authority, make_pdfa, sign):
    facts = sign(make_pdfa(), **authority.options("B-LT")).facts
    assert facts["proof_until"] is None


@pytest.mark.parametrize("label", ["signer", "curve"])
def test_openssl_and_poppler_accept_every_part_of_b_lta(
    label, authority, make_pdfa, sign, openssl, tmp_path
):
    path = sign(make_pdfa(), **authority.options("B-LTA", label)).replace_main.path
    ((covered, token),) = document_timestamps(path)
    roots = authority.pem("stamp-root")
    stamped = openssl(
        "ts", "-verify", "-data", covered, "-in", token, "-token_in", "-CAfile", roots
    )
    assert stamped.returncode == 0, stamped.stderr
    damaged = bytearray(covered)
    damaged[100] ^= 1
    again = ("ts", "-verify", "-data", bytes(damaged), "-in", token, "-token_in", "-CAfile", roots)
    assert openssl(*again).returncode != 0
    told = subprocess.run(
        ["pdfsig", str(path)], capture_output=True, text=True, check=False, timeout=60
    ).stdout
    assert "Signature is Valid" in told


def test_openssl_accepts_the_signature_within_a_file_that_grew(authority, make_pdfa, sign, openssl):
    path = sign(make_pdfa(), **authority.options("B-LTA")).replace_main.path
    covered, cms = parts(path)[0]
    judged = openssl(
        *("cms", "-verify", "-binary", "-inform", "DER", "-in", cms, "-content", covered),
        *("-CAfile", authority.pem("root"), "-purpose", "any", "-out", "/dev/null"),
    )
    assert judged.returncode == 0, judged.stderr


@pytest.mark.parametrize("level", LEVELS)
def test_the_validation_report_is_kept_with_the_object(level, authority, make_pdfa, sign):
    (artifact,) = sign(make_pdfa(), **authority.options(level)).add
    assert (artifact.name, artifact.role) == ("signature-validation.xml", Role.METADATA)
    assert artifact.media_type == "application/xml"
    report = ElementTree.parse(artifact.path).getroot()
    assert report.tag == f"{ETSI}ValidationReport"
    (indication,) = report.iter(f"{ETSI}MainIndication")
    assert indication.text.endswith(":total-passed")
    (process,) = report.iter(f"{ETSI}SignatureValidationProcessID")
    names = {"B-B": "Basic", "B-T": "LTVM", "B-LT": "LTVM", "B-LTA": "LTA"}
    assert process.text.endswith(names[level])


def test_without_roots_the_report_does_not_say_passed(authority, make_pdfa, sign):
    options = {**authority.options("B-B"), "trusted_roots": []}
    result = sign(make_pdfa(), **options)
    assert result.facts["verdict"]["trust"].startswith("not established (")
    assert result.facts["verdict"]["indication"].startswith("INDETERMINATE/")
    assert "total-passed" not in result.add[0].path.read_text()


def test_the_level_is_what_the_timestamp_table_means_when_nobody_names_it(authority):
    def wanted(level):
        options = authority.options(level)
        options.pop("level", None)
        return SignOptions.model_validate(options).wanted_level

    assert [wanted("B-B"), wanted("B-T")] == ["B-B", "B-T"]


@pytest.mark.parametrize(
    ("level", "change", "told"),
    [
        ("B-T", {"timestamp": None}, "needs stage.sign.timestamp"),
        ("B-LTA", {"timestamp": None}, "needs stage.sign.timestamp"),
        ("B-LT", {"trusted_roots": []}, "needs trusted_roots"),
        ("B-LTA", {"timestamp": {"url": "http://tsa.example/"}}, "needs trusted_roots"),
        ("B-B", {"timestamp": {"url": "http://tsa.example/"}}, "takes no time stamp"),
        ("B-T", {"timestamp": {}}, "either url or servers"),
        (
            "B-T",
            {"timestamp": {"url": "http://a.example/", "servers": [{"url": "http://b.example/"}]}},
            "either url or servers",
        ),
        ("B-T", {"timestamp": {"servers": [{"url": "ftp://b.example/"}]}}, "write an address"),
    ],
)
def test_a_level_that_cannot_be_is_told_at_start(level, change, told, authority):
    with pytest.raises(ValidationError, match=told):
        SignOptions.model_validate({**authority.options(level), **change})


def test_the_network_is_asked_for_only_with_a_time_stamp_server(authority):
    needed = [
        Sign.needs_for(SignOptions.model_validate(authority.options(level))).network
        for level in LEVELS
    ]
    assert needed == [False, True, True, True]


@pytest.mark.judge
def test_verapdf_says_that_every_level_is_still_pdfa(authority, make_pdfa, sign, upgrade, verapdf):
    source = make_pdfa()
    made = [sign(source, **authority.options(level)) for level in LEVELS]
    made.append(upgrade(made[0], **authority.options("B-LTA")))
    made.append(sign(source, visible="top-right", **authority.options("B-LTA")))
    told = verapdf([source, *(each.replace_main.path for each in made)])
    assert [sentence.why for sentence in told] == [""] * 7
    assert all(sentence.conforms for sentence in told)


@pytest.mark.parametrize("level", ["B-LT", "B-LTA"])
def test_appending_changes_nothing_of_the_description_and_the_pages(
    level, authority, make_pdfa, sign
):
    """What PDF/A looks at beside the signature: metadata, output intent, page content."""
    source = make_pdfa()
    path = sign(source, **authority.options(level)).replace_main.path
    with pikepdf.open(source) as before, pikepdf.open(path) as after:
        assert after.Root.Metadata.read_bytes() == before.Root.Metadata.read_bytes()
        assert len(after.Root.OutputIntents) == len(before.Root.OutputIntents)
        assert after.pages[0].Contents.read_bytes() == before.pages[0].Contents.read_bytes()
        assert {"/XFA", "/NeedAppearances"}.isdisjoint(after.Root.AcroForm.keys())
