"""Keys in a PKCS#11 token: a real one in files, in the kept worker, confined as in the daemon."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import ValidationError

from archived.api import Artifact, Document, Postpone, Role, digest_file
from archived.testing import run_stage
from archived_sign import Sign
from archived_sign.pin_record import PinRecord

from .soft_token import COUNT_LOW, FINAL_TRY, LABEL, LOCKED, PIN, SoftToken


@pytest.fixture
def token(pki, tmp_path) -> SoftToken:
    return SoftToken(tmp_path / "token", pki)


@pytest.fixture
def document(make_pdfa, tmp_path) -> Document:
    path, original = make_pdfa(), tmp_path / "scan.tif"
    original.write_bytes(b"II*\x00")
    both = [
        Artifact(each, each.name, kind, role, digest_file(each), each.stat().st_size)
        for each, kind, role in (
            (original, "image/tiff", Role.ORIGINAL),
            (path, "application/pdf", Role.ACCESS),
        )
    ]
    return Document("d1", datetime.now(UTC), "scans", "scan.tif", both[1], tuple(both), {})


def refusal(document: Document, options: dict[str, Any]) -> str:
    """The code that the document waits under."""
    with pytest.raises(Postpone) as raised:
        run_stage(Sign, document, **options)
    assert raised.value.hint
    return raised.value.code


def problems(options: dict[str, Any]) -> list[str]:
    """What `archived check` says, asked in a process of its own: the driver is loaded there."""
    code = (
        "import json, sys; from archived_sign import Sign; "
        "options = Sign.config().model_validate(json.load(sys.stdin)); "
        "print(json.dumps([str(each) for each in Sign().check(options)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(options),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found: list[str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("kind", "padding"),
    [("rsa:2048", "pkcs1v15"), ("rsa:2048", "pss"), ("EC:prime256v1", "pkcs1v15")],
)
def test_a_key_that_cannot_leave_its_token_signs(
    kind, padding, pki, document, cut, openssl, tmp_path
):
    token = SoftToken(tmp_path / "token", pki, kind)
    roots = {"trusted_roots": [str(pki.root_pem)]}
    assert "never extractable" in token.tool("-O").decode()
    made = run_stage(Sign, document, rsa_padding=padding, **token.options(), **roots)
    assert made.facts["signer"] == "Con dấu điện tử"
    assert made.facts["verdict"]["trust"] == "yes"
    signed = cut(made.document.main.path)
    verified = openssl(
        *("cms", "-verify", "-inform", "DER", "-in", signed.cms, "-content", signed.covered),
        *("-binary", "-purpose", "any", "-CAfile", pki.root_pem, "-out", "/dev/null"),
    )
    assert verified.returncode == 0, verified.stderr
    assert list(token.record.iterdir()) == [], "an accepted PIN leaves no record"


def test_one_session_signs_a_batch_without_another_login(token, document):
    run_stage(Sign, document, **token.options())
    (token.folder / "pin").write_text("000000\n")  # a second login would be refused
    for _ in range(20):
        assert run_stage(Sign, document, **token.options()).facts["level"] == "B-B"
    assert not token.flags & COUNT_LOW


def test_a_wrong_pin_is_tried_exactly_once_until_a_person_says_so(token, document):
    token.write_pin("000000")
    assert refusal(document, token.options()) == "pin-refused"
    assert token.flags & COUNT_LOW, "it was tried"
    token.tool("-O")  # the right PIN by hand sets the token's count back
    assert not token.flags & COUNT_LOW
    for _ in range(3):  # each in a new worker
        assert refusal(document, token.options()) == "pin-not-tried-again"
    token.write_pin(PIN)
    assert refusal(document, token.options()) == "pin-not-tried-again"
    assert not token.flags & COUNT_LOW, "it was not tried again"
    (record,) = token.record.iterdir()
    assert "000000" not in record.read_text()
    record.unlink()
    assert run_stage(Sign, document, **token.options()).facts["level"] == "B-B"


def test_a_try_whose_end_is_unknown_is_not_repeated(token, document):
    PinRecord(token.record, LABEL).path.write_bytes(b"")  # the power failed
    assert refusal(document, token.options()) == "pin-not-tried-again"
    (said,) = problems(token.options())
    assert "unknown" in said


@pytest.mark.parametrize("flag", [LOCKED, FINAL_TRY])
def test_a_token_that_is_or_would_be_locked_is_not_asked(flag, token, document):
    token.set_flags(token.flags | flag)
    assert refusal(document, token.options()) == "pin-locked"
    (said,) = problems(token.options())
    assert LABEL in said
    assert list(token.record.iterdir()) == []


def test_the_check_logs_in_nowhere(token):
    token.write_pin("000000")
    assert problems(token.options()) == []
    assert not token.flags & COUNT_LOW
    assert list(token.record.iterdir()) == []


def test_a_missing_module_is_told(token, document, tmp_path):
    for module in (tmp_path / "none.so", token.settings):
        options = token.options(module=str(module))
        assert refusal(document, options) == "token-module"
        (said,) = problems(options)
        assert str(module) in said


def test_a_token_of_another_name_is_away(token, document):
    assert refusal(document, token.options(label="another")) == "token-away"
    assert "another" in problems(token.options(label="another"))[0]


def test_a_token_that_is_pulled_out_in_a_batch_is_waited_for(token, document):
    run_stage(Sign, document, **token.options())
    with token.removed():
        for _ in range(2):
            assert refusal(document, token.options()) == "token-away"
    assert run_stage(Sign, document, **token.options()).facts["level"] == "B-B"
    assert not token.flags & COUNT_LOW


@pytest.mark.parametrize("kind", ["rsa:2048", "EC:prime256v1"])
def test_a_certificate_of_another_key_is_refused(kind, pki, document, tmp_path):
    token = SoftToken(tmp_path / "token", pki, kind)
    wrong = tmp_path / "wrong.pem"
    wrong.write_bytes(pki.certificate("signer").public_bytes(Encoding.PEM))
    options = token.options(certificate=str(wrong))
    (said,) = problems(options)
    assert "does not belong to the certificate" in said
    assert refusal(document, options) == "key-unusable"
    assert problems(token.options()) == []


def test_an_expired_certificate_in_the_token_is_told_by_the_check(token, document, tmp_path):
    old = tmp_path / "old.pem"
    expired = token.certificate("01", validity=timedelta(hours=-1))
    old.write_bytes(expired.public_bytes(Encoding.PEM))
    options = token.options(certificate=str(old))
    assert "expired" in problems(options)[0]
    assert refusal(document, options) == "certificate-expired"


def test_several_keys_are_told_apart_by_label_and_id(token, document):
    token.tool("--keypairgen", "--key-type", "rsa:2048", "--label", "other", "--id", "02")
    assert refusal(document, token.options()) == "key-unusable"
    assert run_stage(Sign, document, **token.options(key_id="01")).facts["level"] == "B-B"
    assert refusal(document, token.options(key_label="other")) == "key-unusable"
    assert run_stage(Sign, document, **token.options(key_label="key")).facts["level"] == "B-B"


def test_without_a_record_no_pin_is_tried(token, document):
    token.write_pin("000000")
    token.record.rmdir()
    assert refusal(document, token.options()) == "key-unavailable"
    assert not token.flags & COUNT_LOW
    assert str(token.record) in problems(token.options())[0]


TOKEN = {"module": "/m.so", "label": "t", "pin": {"file": "/pin"}}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "write either key or the table"),
        ({"key": {"file": "/k"}, "token": TOKEN, "pin_record": "/r"}, "write either key or"),
        ({"token": TOKEN}, "needs pin_record"),
        ({"token": {**TOKEN, "pin": "1234"}, "pin_record": "/r"}, "never written here"),
        ({"token": {**TOKEN, "key_id": "0g"}, "pin_record": "/r"}, "hexadecimal"),
        ({"key": {"file": "/k"}, "pin_record": "/r"}, "belong to the table"),
    ],
)
def test_a_mistake_in_the_table_is_told_in_words(options, words):
    with pytest.raises(ValidationError) as raised:
        Sign.config().model_validate(options)
    assert words in str(raised.value)


def test_only_a_token_keeps_its_worker():
    token = Sign.config().model_validate({"token": TOKEN, "pin_record": Path("/r")})
    file = Sign.config().model_validate({"key": {"file": "/k"}})
    assert Sign.needs_for(token).worker == "kept"
    assert Sign.needs_for(file).worker == "fresh"
