"""Decades, with the clock moved for everybody: signer, servers and verifier.

The signer's certificate ends in 2034, the first time stamp server's in 2040.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .authority import make_keys

HERE = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def drill(make_pdfa, tmp_path_factory) -> Any:
    """`drill(day, task, ...)`: what `long_term_drill` prints, by the name in the task."""
    faketime = shutil.which("faketime")
    if not faketime:
        pytest.skip("faketime is not here (Debian package faketime)")
    folder = tmp_path_factory.mktemp("drill")
    make_keys(folder)
    shutil.copyfile(make_pdfa(), folder / "document.pdf")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])

    def at(day: str, *tasks: str) -> dict[str, dict[str, Any]]:
        argv = [faketime, "-f", f"@{day} 10:00:00", sys.executable]
        argv += ["-m", "plugins.sign.tests.long_term_drill", str(folder), port, *tasks]
        done = subprocess.run(
            argv, cwd=HERE, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stderr[-3000:]
        told = [json.loads(line) for line in done.stdout.splitlines()]
        assert {each["now"] for each in told} == {day[:4]}
        return {each["task"].split(":")[1]: each for each in told}

    return at


@pytest.fixture(scope="module")
def signed(drill) -> Any:
    """2027: one document at each level, one by CRLs alone, one that got its time stamps later."""
    told = drill(
        "2027-06-01",
        *("sign:t:B-T", "sign:lt:B-LT", "sign:lta:B-LTA", "sign:crl:B-LTA:ocsp"),
        *("sign:late:B-LTA:tsa1", "sign:bare:B-LT:tsa1"),
    )
    reached = ["B-T", "B-LT", "B-LTA", "B-LTA", "B-B", "B-B"]
    assert [each["level"] for each in told.values()] == reached
    raised = drill("2027-06-03", "renew:late:late:tsa1", "renew:bare:bare:tsa1:B-LT")
    assert [raised[name]["level"] for name in ("late", "bare")] == ["B-LTA", "B-LT"]
    return drill


@pytest.fixture(scope="module")
def renewed(signed) -> Any:
    """2039, half a year before the first server's certificate ends: a stamp of the second."""
    told = signed(
        "2039-06-01",
        *(f"renew:{name}:{name}-renewed:tsa2" for name in ("lta", "crl", "late")),
    )
    assert {each["proof_until"] for each in told.values()} == {"2055-01-01T00:00:00+00:00"}
    return signed


ARCHIVED = ("lta", "crl", "late")


def indications(told: dict[str, dict[str, Any]]) -> dict[str, str]:
    assert {each["integrity"] for each in told.values()} == {"yes"}
    return {name: each["indication"] for name, each in told.items()}


def test_while_the_certificate_is_valid_every_long_term_level_holds(signed):
    told = signed("2027-06-05", "judge:lta", "judge:crl", "judge:late")
    assert set(indications(told).values()) == {"TOTAL-PASSED"}


def test_after_the_certificate_ended_only_b_lta_holds(signed):
    """`bare` has a document time stamp, and validation data that none covers: who put it there?"""
    lower = ("t", "lt", "bare")
    told = indications(signed("2036-06-01", *(f"judge:{n}" for n in (*lower, *ARCHIVED))))
    assert {name for name, word in told.items() if word == "TOTAL-PASSED"} == set(ARCHIVED)
    assert all(told[name].startswith("INDETERMINATE/") for name in lower)


def test_after_the_time_stamp_servers_certificate_ended_only_what_was_renewed_holds(renewed):
    names = (*ARCHIVED, *(f"{name}-renewed" for name in ARCHIVED))
    told = indications(renewed("2042-06-01", *(f"judge:{name}" for name in names)))
    passed = {name for name, word in told.items() if word == "TOTAL-PASSED"}
    assert passed == {f"{name}-renewed" for name in ARCHIVED}


def test_what_was_not_renewed_in_time_is_refused(signed):
    told = signed("2042-06-02", "renew:lta:too-late:tsa2")
    assert told["lta"]["refused"] == "proof-ended"


def test_nothing_is_renewed_before_its_last_year(signed):
    told = signed("2036-06-02", "renew:lta:never:tsa2")
    assert told["lta"]["level"] == "unchanged"


def test_after_the_second_servers_certificate_ended_one_renewal_is_not_enough(renewed):
    """What an earlier time stamp proved stands only as long as the last one does."""
    told = indications(renewed("2056-06-01", *(f"judge:{name}-renewed" for name in ARCHIVED)))
    assert all(word.startswith("INDETERMINATE/") for word in told.values())
