"""Servers that are away while documents arrive: the real daemon upgrades what it has sealed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from archived.model.ids import object_id
from archived.storage.ocfl.store import Store
from archived.storage.ocfl.validator import validate_object
from archived.testing.daemon import Daemon
from archived.testing.invariants import problems


@pytest.fixture
def box(authority, tmp_path) -> Iterator[Daemon]:
    """Signs at B-LTA, or at what is possible; one copy of every object."""
    box = Daemon(tmp_path / "box")
    second = box.folder / "second"
    second.mkdir(parents=True)
    options = authority.options(when_down="sign-without", timeout="5 s")
    box.tables["plugins"]["enabled"] = ["sign", "replicate"]
    box.tables["pipeline.paper"] = {"stages": ["sign", "seal", "replicate"]}
    box.tables["stage.sign.timestamp"] = options.pop("timestamp")
    box.tables["stage.sign"] = options
    box.tables["stage.replicate"] = {"to": ["second"]}
    box.tables["target.second"] = {
        "kind": "directory",
        "path": second,
        "allow_same_filesystem": True,
    }
    yield box
    box.close()


def levels(box: Daemon) -> dict[str, tuple[str, str | None]]:
    """Name -> level and pending level, by the catalog's newest facts."""
    rows = box.rows(
        "SELECT document.name, step.facts FROM step JOIN document ON document.id = step.document "
        "WHERE stage = 'sign' AND ending = 'finished' ORDER BY step.started"
    )
    found = {name: json.loads(facts) for name, facts in rows}
    return {name: (facts["level"], facts["pending"]) for name, facts in found.items()}


def stored(box: Daemon, name: str, file: str, place: str = "store") -> Path:
    [[document]] = box.rows(f"SELECT id FROM document WHERE name = '{name}'")
    return Store(box.folder / place).path_of(object_id(document), file)


def pdfsig(path: Path) -> str:
    line = ["pdfsig", "-nocert", str(path)]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=60).stdout


@pytest.mark.timeout(300)
def test_documents_signed_while_the_servers_were_away_reach_b_lta(
    box, authority, make_pdfa
) -> None:
    def drop(*names: str) -> None:
        for name in names:
            content = make_pdfa().read_bytes() + f"% {name}\n".encode()
            (box.hot() / name).write_bytes(content)

    def are(states: str, count: int) -> bool:
        return list(box.states().values()) == [states] * count

    authority.away |= {"tsa1", "ocsp", "crls"}
    box.start()
    drop("1.pdf", "2.pdf")
    box.until(lambda: are("safe", 2), "signed, sealed and copied without any server", 90)
    assert set(levels(box).values()) == {("B-B", "B-LTA")}
    before = stored(box, "1.pdf", "access/document.pdf").read_bytes()

    authority.away -= {"tsa1"}
    drop("3.pdf")
    box.until(lambda: levels(box).get("3.pdf") == ("B-T", "B-LTA"), "what is possible", 60)

    authority.away.clear()
    done: dict[str, Any] = {f"{n}.pdf": ("B-LTA", None) for n in (1, 2, 3)}
    box.until(lambda: levels(box) == done, "all have reached the level", 120)
    box.until(lambda: are("safe", 3), "and are copied again", 60)
    box.until(
        lambda: box.metric("archived_signatures_pending") == {(): 0}, "nothing is pending", 60
    )
    after = stored(box, "1.pdf", "access/document.pdf")
    assert after.read_bytes().startswith(before), "the signature and all before it are the same"
    copy = stored(box, "1.pdf", "access/document.pdf", "second")
    assert copy.read_bytes() == after.read_bytes()
    assert "Signature is Valid" in pdfsig(after)
    report = stored(box, "1.pdf", "metadata/signature-validation.xml").read_text()
    assert ":total-passed<" in report
    told = box.archivectl("explain", "1.pdf")
    assert told.returncode == 0
    assert "Raised from B-B to B-LTA" in told.stdout
    assert "A new version of its object was sealed" in told.stdout
    assert box.end() == 0
    assert problems(box.state, box.store) == []
    for place in (box.store, box.folder / "second"):
        roots = [path.parent for path in place.rglob("0=ocfl_object_1.1")]
        assert len(roots) == 3
        assert [counts for root in roots if (counts := validate_object(root).counts)] == []
