"""The key and the options: every mistake is a sentence at start and a visible wait at work."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, pkcs12
from cryptography.x509.oid import NameOID
from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont
from pydantic import ValidationError

from archived.api import Postpone
from archived_sign import Sign
from archived_sign.appearance import find_font
from archived_sign.incoming.stage import Signatures
from archived_sign.throwaway_key import LABEL, make_throwaway_p12

PLUGIN = Path(__file__).parents[1]


def problems(**options) -> list[str]:
    return list(Sign().check(Sign.config().model_validate(options)))


def wrong_passphrase(pki, tmp_path) -> dict:
    return {**pki.key_options(), "passphrase": {"file": str(pki.secret("wrong", b"nein"))}}


def no_passphrase(pki, tmp_path) -> dict:
    return {"key": pki.key_options()["key"]}


def missing(pki, tmp_path) -> dict:
    return {"key": {"file": str(tmp_path / "nothing.p12")}}


def readable_by_others(pki, tmp_path) -> dict:
    path = tmp_path / "open.p12"
    path.write_bytes(pki.p12().read_bytes())
    path.chmod(0o644)
    return {**pki.key_options(), "key": {"file": str(path)}}


def not_pkcs12(pki, tmp_path) -> dict:
    return {"key": {"file": str(pki.secret("text.p12", b"-----BEGIN"))}}


def expired(pki, tmp_path) -> dict:
    return pki.key_options("expired")


def unfit(pki, tmp_path) -> dict:
    return pki.key_options("unfit")


def certificate_of_another_key(pki, tmp_path) -> dict:
    packed = pkcs12.serialize_key_and_certificates(
        b"x", pki.private_key("curve"), None, [pki.certificate("signer")], NoEncryption()
    )
    return {"key": {"file": str(pki.secret("another.p12", packed))}}


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (wrong_passphrase, "key-unavailable"),
        (no_passphrase, "key-unavailable"),
        (missing, "key-unavailable"),
        (readable_by_others, "key-unavailable"),
        (not_pkcs12, "key-unavailable"),
        (expired, "certificate-expired"),
        (unfit, "key-unusable"),
        (certificate_of_another_key, "key-unusable"),
    ],
)
def test_a_key_that_cannot_sign_is_told_at_start_and_postpones_at_work(
    spoil, code, pki, make_pdfa, sign, tmp_path
):
    options = spoil(pki, tmp_path)
    (sentence,) = problems(**options)
    assert ";" in sentence, "the sentence says what to do"
    with pytest.raises(Postpone) as raised:
        sign(make_pdfa(), **options)
    assert raised.value.code == code
    assert raised.value.hint


def test_a_certificate_about_to_expire_is_told_and_still_signs(pki, make_pdfa, sign):
    (sentence,) = problems(**pki.key_options("soon"))
    assert "expires in 10 days" in sentence
    assert sign(make_pdfa(), **pki.key_options("soon")).facts["level"] == "B-B"


def test_a_good_configuration_has_no_problems(pki):
    assert problems(visible="top-right", **pki.key_options()) == []


def test_a_certificate_that_leads_to_no_trusted_root_postpones(pki, make_pdfa, sign, tmp_path):
    *_, stranger = make_throwaway_p12(tmp_path / "stranger")
    options = {"trusted_roots": [str(stranger)], **pki.key_options()}
    (said,) = problems(**options)
    assert "does not lead to a trusted root" in said
    with pytest.raises(Postpone) as raised:
        sign(make_pdfa(), **options)
    assert raised.value.code == "untrusted"


def test_a_chain_with_a_gap_is_told_at_start_and_closed_by_chain(pki, make_pdfa, sign, tmp_path):
    below = long_chain(pki)
    packed = pkcs12.serialize_key_and_certificates(
        b"x", pki.private_key("curve"), below[-1], below[4:-1], NoEncryption()
    )
    options = {
        "key": {"file": str(pki.secret("gap.p12", packed))},
        "trusted_roots": [str(pki.root_pem)],
        "reserve": "64 KiB",
    }
    (said,) = problems(**options)
    assert "3" * 64 in said, "the missing issuer is named"
    gap = tmp_path / "gap.pem"
    gap.write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in below[:4]))
    options["chain"] = [str(gap)]
    assert problems(**options) == []
    assert sign(make_pdfa(), **options).facts["verdict"]["trust"] == "yes"


def test_a_root_that_cannot_be_read_is_told_at_start(pki, make_pdfa, sign, tmp_path):
    options = {"trusted_roots": [str(tmp_path / "none.pem")], **pki.key_options()}
    (sentence,) = problems(**options)
    assert "trusted root" in sentence
    with pytest.raises(Postpone) as raised:
        sign(make_pdfa(), **options)
    assert raised.value.code == "untrusted"


def test_a_font_without_vietnamese_letters_is_told_at_start(pki, make_pdfa, sign, tmp_path):
    poor = tmp_path / "poor.ttf"
    with TTFont(find_font(None)) as font:
        subsetter = Subsetter(Options())
        subsetter.populate(text="abcdefghijklmnopqrstuvwxyz0123456789")
        subsetter.subset(font)
        font.save(poor)
    options = {"visible": "top-right", "font": str(poor), **pki.key_options()}
    (sentence,) = problems(**options)
    assert "lacks letters" in sentence
    assert "fonts-croscore" in sentence
    with pytest.raises(Postpone) as raised:
        sign(make_pdfa(), **options)
    assert raised.value.code == "no-font"
    assert problems(font=str(poor), **pki.key_options()) == [], "an invisible block needs none"


def test_a_chain_too_long_for_the_room_postpones(pki, make_pdfa, sign):
    chain = [pki.certificate("root"), *long_chain(pki)]
    packed = pkcs12.serialize_key_and_certificates(
        b"x", pki.private_key("curve"), chain[-1], chain[:-1], NoEncryption()
    )
    key = {"key": {"file": str(pki.secret("long.p12", packed))}}
    with pytest.raises(Postpone) as raised:
        sign(make_pdfa(), reserve="16 KiB", **key)
    assert raised.value.code == "reserve-too-small"
    roots = [str(pki.root_pem)]
    verdict = sign(make_pdfa(), reserve="64 KiB", trusted_roots=roots, **key).facts["verdict"]
    assert (verdict["integrity"], verdict["trust"]) == ("yes", "yes"), "the chain is embedded"


def long_chain(pki) -> list[x509.Certificate]:
    """Authorities below the root with long names, then a certificate for the key `curve`."""
    issuer, key, made = pki.certificate("root"), pki.private_key("root"), []
    now = datetime.now(UTC)
    for number in range(10):
        last = number == 9
        own = pki.private_key("curve") if last else ec.generate_private_key(ec.SECP256R1())
        names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, f"{number}" * 64)] * 6
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name(names))
            .issuer_name(issuer.subject)
            .public_key(own.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=90))
            .add_extension(x509.BasicConstraints(ca=not last, path_length=None), critical=True)
        )
        issuer, key = builder.sign(key, hashes.SHA256()), own
        made.append(issuer)
    return made


KEY = {"key": {"file": "/k.p12"}}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "key"),
        ({"key": "/k.p12"}, "a secret is never written here"),
        ({**KEY, "utc_offset": "7"}, "distance from UTC"),
        ({**KEY, "utc_offset": "+25:00"}, "14 hours"),
        ({**KEY, "visible": "seal"}, "top-right"),
        ({**KEY, "reserve": "1 KiB"}, "16384"),
        ({**KEY, "timestamp": {"url": "ftp://x/"}}, "write an address"),
        ({**KEY, "timestamp": {"url": "http://u:p@x/"}}, "secret"),
        ({**KEY, "timestamp": {"url": "http://x/", "tries": 0}}, "greater than or equal to 1"),
        ({**KEY, "timestamp": {"url": "http://x/", "timeout": 180}}, "with its unit"),
        ({**KEY, "timestamp": {"url": "http://x/", "user": KEY["key"]}}, "both user and password"),
        ({**KEY, "sealed": True}, "sealed"),
    ],
)
def test_a_mistake_in_the_options_is_told_in_words(options, words):
    with pytest.raises(ValidationError) as raised:
        Sign.config().model_validate(options)
    assert words in str(raised.value)


def test_the_throwaway_key_is_private_labelled_and_visible_in_the_facts(make_pdfa, sign, tmp_path):
    folder = tmp_path / "demo"
    made = subprocess.run(
        [sys.executable, "-m", "archived_sign.throwaway_key", str(folder)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    p12, passphrase, root = map(Path, made.stdout.split())
    for path in (p12, passphrase, root):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert LABEL in x509.load_pem_x509_certificate(root.read_bytes()).subject.rfc4514_string()
    options = {"key": {"file": str(p12)}, "passphrase": {"file": str(passphrase)}}
    assert problems(allow_throwaway=True, **options) == []
    result = sign(make_pdfa(), trusted_roots=[str(root)], allow_throwaway=True, **options)
    assert result.facts["throwaway"] is True
    assert result.facts["verdict"]["trust"] == "yes"
    assert any("demonstration" in note for note in result.notes)


def test_a_throwaway_key_is_refused_unless_the_administrator_says_so(make_pdfa, sign, tmp_path):
    p12, passphrase, _ = make_throwaway_p12(tmp_path / "k")
    options = {"key": {"file": str(p12)}, "passphrase": {"file": str(passphrase)}}
    (said,) = problems(**options)
    assert "was made for demonstrations" in said
    with pytest.raises(Postpone) as raised:
        sign(make_pdfa(), **options)
    assert raised.value.code == "throwaway-key"


def test_a_throwaway_key_never_replaces_one_that_is_there(tmp_path):
    make_throwaway_p12(tmp_path / "k")
    with pytest.raises(FileExistsError):
        make_throwaway_p12(tmp_path / "k")


def test_importing_the_plugin_loads_no_heavy_library():
    code = (
        "import archived_sign, sys; "
        "print([m for m in ('pyhanko', 'fpdf', 'fontTools', 'cryptography', 'asn1crypto')"
        " if m in sys.modules])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"]},
        timeout=60,
    ).stdout
    assert printed.strip() == "[]"


def test_every_failure_code_and_option_stands_in_the_readme():
    readme = (PLUGIN / "README.md").read_text()
    source = "".join(p.read_text() for p in (PLUGIN / "src").rglob("*.py"))
    codes = set(re.findall(r'code="([a-z-]+)"', source))
    codes |= set(re.findall(r'Flaw\(\s*"([a-z-]+)"', source))
    assert len(codes) > 8
    _, failures = readme.split("## Failures")
    assert {c for c in codes if f"| `{c}` |" not in failures} == set()
    model = Sign.config()
    names = set(model.model_fields) | {"url", "timeout", "tries", "when_down", "user", "password"}
    assert {n for n in names if f"`{n}`" not in readme} == set()


def test_the_examples_in_the_readme_load():
    blocks = re.findall(r"```toml\n(.*?)```", (PLUGIN / "README.md").read_text(), re.DOTALL)
    assert len(blocks) >= 2
    stages: dict[str, Any] = {"sign": Sign, "signatures": Signatures}
    shown = [(n, o) for block in blocks for n, o in tomllib.loads(block)["stage"].items()]
    assert {name for name, _ in shown} == set(stages)
    for name, options in shown:
        options.pop("lane", None)
        stages[name].config().model_validate(options)
