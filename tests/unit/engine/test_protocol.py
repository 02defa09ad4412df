"""What crosses the process boundary arrives as it left, or is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from archived.api import Artifact, Role, Sealed
from archived.engine.protocol import StepDocument, StepLimits, StepRequest, outcome_to_json
from archived.engine.worker.reply import MalformedReply
from archived.engine.worker.results import outcome_from_json
from archived.model.outcome import CopyMade, Ending, Made, Outcome
from archived.model.review import Region, Review

NOW = datetime(2026, 3, 2, 1, 30, 0, 250, tzinfo=UTC)
REQUEST = StepRequest(
    step="7",
    stage="ocr",
    options={"languages": ["vie"]},
    document=StepDocument(
        "id",
        NOW,
        "scans",
        "Công văn.tif",
        (Artifact(Path("/spool/0001.tif"), "0001.tif", "image/tiff", Role.ORIGINAL, "ab", 3),),
        facts={"classify": {"kind": "công văn"}},
        secrecy="mật",
        sealed=Sealed(Path("/store/x"), "a/x", 1, "cd"),
        answers={"pages-differ": "the paper is complete"},
    ),
    folder=Path("/srv/steps/7"),
    deadline=NOW,
    targets={"offsite": {"kind": "directory", "options": {"path": "/mnt"}}},
    limits=StepLimits(memory=5, network=True),
)
OUTCOME = Outcome(
    Ending.FINISHED,
    made=(Made("access/a.pdf", "a.pdf", "application/pdf", "access"),),
    main=0,
    facts={"pages": 2},
    tools={"t": "1"},
    copies=(CopyMade("offsite", "a/x", "cd", 3, 4, NOW),),
    notes=("n",),
    reviews=(
        Review(
            "unread-content",
            "marks that were not read",
            "look for a stamp",
            (
                Region(2, (0.1, 0.25, 0.5, 1.0), "unread-marks", 0.125, "mark.png"),
                Region(3, (0.0, 0.0, 1.0, 1.0)),
            ),
        ),
    ),
)


COPY = outcome_to_json(OUTCOME)["copies"][0]


def line(outcome: dict[str, object]) -> bytes:
    """As a child says it."""
    return json.dumps({"outcome": outcome}).encode()


def test_the_daemons_side_imports_neither_the_childs_side_nor_heavy_libraries():
    program = "import archived.engine.worker.runner, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    loaded = set(done.stdout.decode().split())
    childs = {f"archived.engine.{name}" for name in ("worker.child", "registry", "sandbox")}
    assert not loaded & (childs | {"ocrmypdf", "pikepdf", "pyhanko", "numpy", "PIL"})


def test_a_request_survives_json():
    again = StepRequest.from_json(json.loads(json.dumps(REQUEST.to_json())))
    assert again == REQUEST


def test_a_card_builds_the_document_and_is_built_from_it():
    document = REQUEST.document.document()
    assert document.main is document.artifacts[0] and document.sealed.key == "a/x"
    assert StepDocument.of(document) == REQUEST.document
    with pytest.raises(TypeError):
        document.facts["classify"]["kind"] = "other"


@pytest.mark.parametrize(
    "outcome",
    [
        OUTCOME,
        Outcome(Ending.POSTPONED, "c", "m", "h", after=timedelta(seconds=90)),
        replace(OUTCOME, main=None),
    ],
)
def test_an_outcome_survives_json(outcome):
    assert outcome_from_json(line(outcome_to_json(outcome))) == outcome


OTHER_SHAPES = [
    {"ending": "superb"},
    {"ending": "requeued"},
    {"ending": "lost"},
    {"ending": ["finished"]},
    {"ending": "postponed", "made": [], "main": None},
    {"code": "a-code"},
    {"main": 1},
    {"main": True},
    {"main": "0"},
    {"facts": []},
    {"facts": None},
    {"tools": {"t": 1}},
    {"tools": {"two\nlines": "1"}},
    {"tools": {"t": "\u2028"}},
    {"notes": [1]},
    {"notes": ["\x1b[31m"]},
    {"notes": ["\u202e"]},
    {"notes": "n"},
    {"notes": ["n" * 4001]},
    {"message": None},
    {"message": "\x85"},
    {"hint": "\ud800"},
    {"made": [{"path": "x"}]},
    {"made": [{"path": 1, "name": "a", "media_type": "b", "role": "c"}]},
    {"made": [{"path": "x", "name": "a\u2029", "media_type": "b", "role": "c"}]},
    {"copies": [{}]},
    {"copies": [{**COPY, "key": "/etc"}]},
    {"copies": [{**COPY, "key": "a/../../b"}]},
    {"copies": [{**COPY, "files": -1}]},
    {"copies": [{**COPY, "size": 1.5}]},
    {"copies": [{**COPY, "size": True}]},
    {"copies": [{**COPY, "verified": "2026-03-02T01:30:00"}]},
    {"copies": [{**COPY, "verified": "yesterday"}]},
    {"copies": [{**COPY, "target": "off\nsite"}]},
    {"after": "soon"},
    {"after": 0},
    {"after": -5},
    {"after": 1e12},
    {"after": True},
    {"reviews": None},
    {"reviews": [{"code": "a", "message": "b"}]},
    {"reviews": [{"code": "a", "message": "b", "regions": [{"page": 0, "box": [0, 0, 1, 1]}]}]},
    {"reviews": [{"code": "a", "message": "b", "regions": [[]]}]},
    {"one": "key too many"},
    {"usage": {"wall": -1e300}},
]


@pytest.mark.parametrize("change", OTHER_SHAPES, ids=repr)
def test_an_outcome_of_another_shape_is_refused(change):
    with pytest.raises(MalformedReply):
        outcome_from_json(line({**outcome_to_json(OUTCOME), **change}))


@pytest.mark.parametrize("missing", list(outcome_to_json(OUTCOME)))
def test_an_outcome_has_every_key(missing):
    outcome = {key: value for key, value in outcome_to_json(OUTCOME).items() if key != missing}
    with pytest.raises(MalformedReply):
        outcome_from_json(line(outcome))


@pytest.mark.parametrize(
    ("ending", "code", "fine"),
    [
        ("refused", "blank-page", True),
        ("refused", "", False),
        ("refused", "evil\ncode", False),
        ("refused", "Chữ", False),
        ("refused", "x" * 81, False),
        ("refused", "timed-out", False),
        ("refused", "crashed", False),
        ("refused", "core-error", False),
        ("refused", "step-failed", False),
        ("postponed", "no-space", True),
        ("postponed", "runner-lost", False),
        ("postponed", "shutdown", False),
        ("failed", "stage-error", True),
        ("failed", "out-of-memory", True),
        ("failed", "too-many-processes", False),
        ("failed", "interrupted", False),
        ("failed", "a-code-of-its-own", False),
        ("requeued", "shutdown", False),
    ],
)
def test_what_only_the_runner_may_say_is_not_taken_from_a_child(ending, code, fine):
    said = line(
        {**outcome_to_json(Outcome(Ending.FAILED, message="m")), "ending": ending, "code": code}
    )
    if fine:
        assert (outcome_from_json(said).ending, outcome_from_json(said).code) == (ending, code)
    else:
        with pytest.raises(MalformedReply):
            outcome_from_json(said)
