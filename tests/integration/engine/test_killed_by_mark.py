"""What a dead fork server left is killed, and gone when that is told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from archived.engine.processes import kill_marked

_MARK = "ARCHIVED_RUNNER=of-this-test"
_LARGE = "import sys; held = bytearray(2**29); print('held', flush=True); sys.stdin.read()"


@pytest.fixture
def large():
    """A marked process that takes a while to end, because much memory is to be given back."""
    with subprocess.Popen(
        [sys.executable, "-c", _LARGE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **dict([_MARK.split("=")])},
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_marked_process_has_ended_when_it_is_told_so(large):
    kill_marked(_MARK, 60)
    assert _state(large.pid) == "Z"
    assert large.wait() == -9


def test_one_that_was_ending_already_and_shows_no_mark_any_more_is_waited_for(large):
    large.kill()
    kill_marked(_MARK, 60)
    assert _state(large.pid) == "Z"


def test_no_other_process_is_touched(large):
    kill_marked("ARCHIVED_RUNNER=of-another", 60)
    assert large.poll() is None
