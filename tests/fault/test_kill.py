"""The real daemon is killed (SIGKILL) at random instants while documents are in work."""

import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.fault, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]


def test_a_daemon_killed_again_and_again_archives_every_document_exactly_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import fault

    found = fault.run(tmp_path, rounds=8, documents=20, seed=20260301)

    assert (found.dropped, found.lost, found.doubled, found.disagreements) == (20, 0, 0, [])
    sys.modules.pop("fault", None)
