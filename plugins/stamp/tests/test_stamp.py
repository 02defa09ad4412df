"""The stage `stamp`: a note of the day a document came in."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from archived.api import Artifact, Context, Document, Role
from archived_stamp import Options, Stamp, register_stages

SCAN = Artifact(Path("scan.tif"), "0001.tif", "image/tiff", Role.ORIGINAL)
DOCUMENT = Document(
    id="doc-1",
    received=datetime(2026, 3, 9, 23, 59, tzinfo=UTC),
    hotfolder="scans",
    name="scan.tif",
    main=SCAN,
    artifacts=(SCAN,),
)


def stamp(folder, **options):
    context = Context(
        options=Options(**options),
        folder=folder,
        deadline=datetime.now(UTC) + timedelta(minutes=1),
    )
    return Stamp().run(DOCUMENT, context)


def test_the_note_says_when_the_document_came_in(tmp_path):
    [note] = stamp(tmp_path).add

    assert note.path.read_text() == "received 2026-03-09\n"
    assert (note.name, note.media_type, note.role) == ("stamp.txt", "text/plain", Role.METADATA)


def test_the_word_can_be_chosen(tmp_path):
    [note] = stamp(tmp_path, wording="in").add

    assert note.path.read_text() == "in 2026-03-09\n"


def test_it_writes_only_its_note_and_leaves_the_document_alone(tmp_path):
    result = stamp(tmp_path)

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [result.add[0].path]
    assert result.replace_main is None


def test_running_it_twice_gives_the_same(tmp_path):
    first = stamp(tmp_path).add[0].path.read_bytes()

    assert stamp(tmp_path).add[0].path.read_bytes() == first


def test_an_unknown_option_is_refused():
    with pytest.raises(ValidationError):
        Options.model_validate({"wordnig": "in"})


def test_it_is_registered():
    registered = []
    register_stages(registered.append)

    assert registered == [Stamp]
