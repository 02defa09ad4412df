"""The real daemon is killed (SIGKILL) at random instants while documents are in work."""

from pathlib import Path

import pytest

from tools.fault import run as fault

pytestmark = [pytest.mark.fault, pytest.mark.timeout(900)]


def test_a_daemon_killed_again_and_again_archives_every_document_exactly_once(
    tmp_path: Path,
) -> None:
    found = fault.run(tmp_path, rounds=6, documents=12, seed=20260301)

    assert (found.dropped, found.lost, found.doubled, found.disagreements) == (12, 0, 0, [])
