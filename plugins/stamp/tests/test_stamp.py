"""The stage `stamp`, run as the daemon runs it: in a process of its own, with its limits."""

import pytest
from pydantic import ValidationError

from archived.api import Role
from archived.testing import StageContract
from archived_stamp import Stamp


class TestStampKeepsEveryStagesPromises(StageContract):
    """Some twenty tests for three lines: yours begins with these as well."""

    stage = Stamp
    sample = "tiny.tif"
    reads_content = False  # it never looks into the document, so garbage is as good as a scan


def test_the_note_says_when_the_document_came_in(run_stage, sample):
    done = run_stage(Stamp, sample("tiny.tif"))

    [note] = done.add
    assert note.path.read_text() == f"received {done.document.received:%Y-%m-%d}\n"
    assert (note.name, note.media_type, note.role) == ("stamp.txt", "text/plain", Role.METADATA)


def test_the_word_can_be_chosen(run_stage, sample):
    [note] = run_stage(Stamp, sample("tiny.tif"), wording="in").add

    assert note.path.read_text().startswith("in 2")


def test_a_mistyped_option_is_refused(run_stage, sample):
    with pytest.raises(ValidationError, match="wordnig"):
        run_stage(Stamp, sample("tiny.tif"), wordnig="in")
