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
from archived.engine.boundary import (
    DocumentCard,
    Limits,
    Request,
    outcome_from_json,
    outcome_to_json,
)
from archived.model.outcome import CopyMade, Ending, Made, Outcome, Usage
from archived.model.review import Region, Review

NOW = datetime(2026, 3, 2, 1, 30, 0, 250, tzinfo=UTC)
REQUEST = Request(
    step="7",
    stage="ocr",
    options={"languages": ["vie"]},
    document=DocumentCard(
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
    limits=Limits(memory=5, network=True),
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
    usage=Usage(1.5, 0.5, 9),
)


def test_the_daemons_side_imports_neither_the_childs_side_nor_heavy_libraries():
    program = "import archived.engine.runner, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    loaded = set(done.stdout.decode().split())
    childs = {f"archived.engine.{name}" for name in ("worker", "registry", "sandbox")}
    assert not loaded & (childs | {"ocrmypdf", "pikepdf", "pyhanko", "numpy", "PIL"})


def test_a_request_survives_json():
    again = Request.from_json(json.loads(json.dumps(REQUEST.to_json())))
    assert again == REQUEST


def test_a_card_builds_the_document_and_is_built_from_it():
    document = REQUEST.document.document()
    assert document.main is document.artifacts[0] and document.sealed.key == "a/x"
    assert DocumentCard.of(document) == REQUEST.document
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
    assert outcome_from_json(json.loads(json.dumps(outcome_to_json(outcome)))) == outcome


@pytest.mark.parametrize(
    "change",
    [
        {"ending": "superb"},
        {"main": 1},
        {"main": True},
        {"main": "0"},
        {"facts": []},
        {"tools": {"t": 1}},
        {"notes": [1]},
        {"message": None},
        {"made": [{"path": "x"}]},
        {"made": [{"path": 1, "name": "a", "media_type": "b", "role": "c"}]},
        {"copies": [{}]},
        {"after": "soon"},
        {"reviews": None},
        {"reviews": [{"code": "a", "message": "b"}]},
        {"reviews": [{"code": "a", "message": "b", "regions": [{"page": 0, "box": [0, 0, 1, 1]}]}]},
    ],
)
def test_an_outcome_of_another_shape_is_refused(change):
    with pytest.raises((KeyError, TypeError, ValueError)):
        outcome_from_json({**outcome_to_json(OUTCOME), **change})
