"""A file is taken only if it is what the stage says it is."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from archived.engine.worker.output import check_output, check_sealed, sniff
from archived.model.outcome import Ending, Made, Outcome, PartMade
from archived.model.review import PICTURE_LIMIT, Region, Review
from archived.storage.spool import Spool


def judge(folder: Path, *made: Made) -> Outcome:
    return check_output(Outcome(Ending.FINISHED, made=made, main=0, facts={"a": 1}), folder)


@pytest.mark.parametrize(
    ("media_type", "content"),
    [
        ("application/pdf", b"%PDF-1.7\n"),
        ("image/tiff", b"II*\0\x08\0\0\0"),
        ("image/png", b"\x89PNG\r\n\x1a\n...."),
        ("image/jp2", b"\0\0\0\x0cjP  \r\n\x87\n"),
        ("text/plain", "Cộng hòa\n".encode()),
        ("text/plain", b""),
        ("application/json", b' {"a": 1}'),
        ("application/xml", b"\xef\xbb\xbf<?xml version='1.0'?><a/>"),
        ("application/octet-stream", b"\0\1"),
    ],
)
def test_what_is_what_it_says_is_taken_as_it_is(tmp_path, media_type, content):
    (tmp_path / "f").write_bytes(content)
    made = Made("f", "f.bin", media_type, "metadata")
    assert judge(tmp_path, made) == Outcome(Ending.FINISHED, made=(made,), main=0, facts={"a": 1})


@pytest.mark.parametrize(
    ("media_type", "content", "words"),
    [
        ("application/pdf", b"II*\0", "begins like image/tiff"),
        ("application/pdf", b"", "something else"),
        ("image/jpeg", b"%PDF-1.4", "begins like application/pdf"),
        ("text/plain", b"caf\xe9 au lait", "not UTF-8"),
        ("text/plain", b"a\0b", "zero bytes"),
        ("text/plain", "đ".encode()[:1], "not UTF-8"),
        ("application/json", b"<a/>", "something else"),
        ("application/xml", b"{}", "something else"),
        ("pdf", b"%PDF-1.4", "not a media type"),
        ("text/\udce9", b"x", "not a media type"),
    ],
)
def test_what_is_not_what_it_says_is_named_and_refused(tmp_path, media_type, content, words):
    (tmp_path / "f").write_bytes(content)
    done = judge(tmp_path, Made("f", "f.bin", media_type, "access"))
    assert (done.ending, done.code, done.made) == (Ending.FAILED, "bad-output", ())
    assert done.message.startswith("f: ") and words in done.message


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/etc/hostname", "outside"),
        ("../beside", "outside"),
        ("sub/../../beside", "outside"),
        (".", "outside"),
        (".tmp/left", "temporary"),
        ("missing", "does not exist"),
        ("sub", "not a regular file"),
        ("fifo", "not a regular file"),
        ("link", "symbolic link"),
        ("linked-folder/real", "not a folder"),
        ("twin", "2 hard links"),
    ],
)
def test_only_plain_files_of_the_folder_itself_are_taken(tmp_path, path, words):
    (tmp_path / "beside").write_text("x")
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / ".tmp").mkdir()
    (folder / ".tmp/left").write_text("x")
    (folder / "sub/real").write_text("x")
    os.mkfifo(folder / "fifo")
    (folder / "link").symlink_to("sub/real")
    (folder / "linked-folder").symlink_to("sub")
    (folder / "one").write_text("x")
    (folder / "twin").hardlink_to(folder / "one")
    done = judge(folder, Made(path, "f.txt", "text/plain", "text"))
    assert (done.code, words in done.message) == ("bad-output", True), done


@pytest.mark.parametrize(
    ("name", "role", "words"),
    [
        ("a.txt", "original", "only admission"),
        ("a.txt", "precious", "no role"),
        ("../a.txt", "text", "plain file name"),
        (".a", "text", "plain file name"),
        ("a\nb", "text", "plain file name"),
        ("đ" * 121, "text", "plain file name"),
        ("a\udce9", "text", "plain file name"),
        ("record.json", "metadata", "the core's own"),
        ("dc.xml", "metadata", "the core's own"),
    ],
)
def test_roles_and_names_are_legal(tmp_path, name, role, words):
    (tmp_path / "f").write_text("x")
    done = judge(tmp_path, Made("f", name, "text/plain", role))
    assert (done.code, words in done.message) == ("bad-output", True), done


def test_the_longest_name_that_is_taken_fits_into_the_spool(tmp_path):
    spool, name = Spool(tmp_path), "đ" * 118 + ".txt"
    spool.create()
    folder = spool.start_work("step")
    (folder / "f").write_text("x")
    done = judge(folder, Made("f", name, "text/plain", "metadata"))
    [kept] = spool.keep("document", "step", folder, done.made)
    assert kept.path.endswith(name)


def test_nothing_is_returned_twice(tmp_path):
    for name in "fg":
        (tmp_path / name).write_text("x")
    one = Made("f", "a.txt", "text/plain", "text")
    assert "role and name" in judge(tmp_path, one, Made("g", "a.txt", "text/plain", "text")).message
    assert "twice" in judge(tmp_path, one, Made("f", "b.txt", "text/plain", "text")).message


def test_an_unknown_beginning_is_not_guessed(tmp_path):
    (tmp_path / "f").write_bytes(b"MZ")
    assert sniff(tmp_path / "f") is None


PICTURE = Made("metadata/mark.png", "mark.png", "image/png", "metadata")
LOOK = Review("unread-content", "Look.", regions=(Region(1, (0, 0, 1, 1), picture="mark.png"),))


def put(folder: Path, made: Made) -> None:
    path = folder / made.path
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n....")


def test_a_region_is_shown_by_a_picture_of_the_same_step(tmp_path):
    put(tmp_path, PICTURE)
    asked = Outcome(Ending.FINISHED, made=(PICTURE,), reviews=(LOOK,))
    assert check_output(asked, tmp_path) is asked


@pytest.mark.parametrize(
    "made",
    [
        None,
        replace(PICTURE, name="other.png"),
        replace(PICTURE, role="access"),
        replace(PICTURE, media_type="application/octet-stream"),
    ],
)
def test_a_region_whose_picture_is_not_there_is_refused(tmp_path, made):
    put(tmp_path, PICTURE)
    asked = Outcome(Ending.FINISHED, made=(made,) if made else (), reviews=(LOOK,))
    done = check_output(asked, tmp_path)
    assert (done.ending, done.code, done.reviews) == (Ending.FAILED, "bad-output", ())
    assert "'mark.png'" in done.message


def test_a_picture_larger_than_a_person_can_be_shown_is_refused(tmp_path):
    put(tmp_path, PICTURE)
    os.truncate(tmp_path / PICTURE.path, PICTURE_LIMIT + 1)
    asked = Outcome(Ending.FINISHED, made=(PICTURE,), reviews=(LOOK,))
    done = check_output(asked, tmp_path)
    assert (done.code, done.reviews) == ("bad-output", ())
    assert "'mark.png' takes more than" in done.message
    assert check_output(replace(asked, reviews=()), tmp_path).ending is Ending.FINISHED


def test_what_was_cut_into_parts_or_did_not_finish_asks_for_no_review(tmp_path):
    """Its parts would go on unseen; what did not finish is held or tried again for that."""
    look = replace(LOOK, regions=())
    (tmp_path / "part.bin").write_bytes(b"x")
    part = PartMade(Made("part.bin", "part.bin", "application/octet-stream", "original"), "one")
    for asked in (
        Outcome(Ending.FINISHED, parts=(part,), reviews=(look,)),
        Outcome(Ending.REFUSED, "blank", "m", reviews=(look,)),
    ):
        assert check_output(asked, tmp_path).code == "bad-output"
        assert check_output(replace(asked, reviews=()), tmp_path).code != "bad-output"


def test_behind_the_seal_nobody_is_asked_to_look():
    done = check_sealed(Outcome(Ending.FINISHED, reviews=(replace(LOOK, regions=()),)))
    assert (done.ending, done.code) == (Ending.FAILED, "bad-output")
