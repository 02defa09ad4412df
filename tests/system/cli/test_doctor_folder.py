"""The folder of what was shown is nobody else's word, and its page is harmless and clear."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any

import click
import pytest

from archived.cli.review import page
from archived.cli.review_folder import ReviewFolder, read_shown

DOCUMENT = "01a20185-3925-74c7-8638-1c35d891ab18"
HOSTILE = '"><script src=//x></script><img src=x onerror=y>\u202egnp.x\x00'


def found(**more: Any) -> dict[str, Any]:
    document = {
        "id": DOCUMENT,
        "name": "scan.tif",
        "dossier": "HS-1",
        "code": "unread-content",
        "hotfolder": "scans",
    }
    region = {
        "page": 3,
        "box": [0.1, 0.2, 0.3, 0.4],
        "kind": "unread-marks",
        "share": 0.5,
        "picture": "a.png",
        "sha512": "",
        "file": "00001.png",
    }
    review = {"code": "unread-content", "message": "Marks.", "hint": "", "regions": [region]}
    return {
        "document": document,
        "step": "s",
        "stage": "ocr",
        "holds": True,
        "shown": "d" * 64,
        "reviews": [review],
        **more,
    }


def written(folder: Path) -> Path:
    ReviewFolder.new(folder).write_shown([found()])
    return folder


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    (entry,) = read_shown(written(tmp_path / "look"))
    assert (entry["document"], entry["shown"]) == (DOCUMENT, "d" * 64)
    assert read_shown(written(tmp_path / "deep" / "er" / "look"))


def test_what_does_not_wait_for_a_decision_is_not_to_be_decided_about(tmp_path: Path) -> None:
    ReviewFolder.new(tmp_path / "look").write_shown([found(holds=False)])
    assert read_shown(tmp_path / "look") == []


def test_a_picture_comes_in_pieces_and_is_hashed_on_the_way(tmp_path: Path) -> None:
    folder = ReviewFolder.new(tmp_path / "look")
    name, digest = folder.picture(lambda take: [take(b"abc"), take(b"def")])
    assert (folder.path / name).read_bytes() == b"abcdef"
    assert digest == hashlib.sha512(b"abcdef").hexdigest()
    assert stat.S_IMODE((folder.path / name).stat().st_mode) == 0o600

    def breaks(take: Any) -> None:
        take(b"half of a secret")
        raise click.ClickException("the daemon died")

    with pytest.raises(click.ClickException):
        folder.picture(breaks)
    assert [path.name for path in folder.path.iterdir()] == [name]


def test_a_link_is_no_new_folder(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "look").symlink_to(tmp_path / "theirs")
    with pytest.raises(click.ClickException):
        ReviewFolder.new(tmp_path / "look")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(click.ClickException):
        ReviewFolder.new(tmp_path / "dangling")
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_that_others_may_write_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "look").mkdir()
    (tmp_path / "look").chmod(0o777)
    with pytest.raises(click.ClickException, match="others may write"):
        ReviewFolder.new(tmp_path / "look")


def test_nothing_is_written_through_a_link_that_came_meanwhile(tmp_path: Path) -> None:
    folder = ReviewFolder.new(tmp_path / "look")
    (tmp_path / "look" / "00001.png").symlink_to(tmp_path / "victim")
    with pytest.raises(click.ClickException):
        folder.picture(lambda take: take(b"x"))
    folder.path.rename(tmp_path / "moved")
    (tmp_path / "look").mkdir()
    folder.write("index.html", "x")
    assert not list((tmp_path / "look").iterdir()), "what was moved away is still what is filled"
    assert not (tmp_path / "victim").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of somebody else")
@pytest.mark.parametrize("which", ["look", "look/shown.json"])
def test_what_somebody_else_prepared_releases_nothing(tmp_path: Path, which: str) -> None:
    written(tmp_path / "look")
    os.chown(tmp_path / which, 12345, 12345)
    with pytest.raises(click.UsageError, match="somebody else"):
        read_shown(tmp_path / "look")


@pytest.mark.skipif(os.geteuid() != 0, reason="sudo gives the rights of root")
def test_with_sudo_it_is_the_word_of_the_person_who_typed_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path / "look")
    for each in (tmp_path / "look", tmp_path / "look" / "shown.json"):
        os.chown(each, 12345, 12345)
    monkeypatch.setenv("SUDO_UID", "12345")
    assert read_shown(tmp_path / "look")


@pytest.mark.parametrize("which", ["look", "look/shown.json"])
def test_what_others_could_have_written_releases_nothing(tmp_path: Path, which: str) -> None:
    written(tmp_path / "look")
    (tmp_path / which).chmod(0o777)
    with pytest.raises(click.UsageError, match="others may write"):
        read_shown(tmp_path / "look")


def test_a_link_to_what_was_shown_releases_nothing(tmp_path: Path) -> None:
    written(tmp_path / "look")
    (tmp_path / "link").symlink_to(tmp_path / "look")
    with pytest.raises(click.UsageError):
        read_shown(tmp_path / "link")
    (tmp_path / "look" / "shown.json").rename(tmp_path / "away.json")
    (tmp_path / "look" / "shown.json").symlink_to(tmp_path / "away.json")
    with pytest.raises(click.UsageError):
        read_shown(tmp_path / "look")


def test_a_pipe_in_its_place_keeps_nobody_waiting(tmp_path: Path) -> None:
    ReviewFolder.new(tmp_path / "look")
    os.mkfifo(tmp_path / "look" / "shown.json", 0o600)
    with pytest.raises(click.UsageError):
        read_shown(tmp_path / "look")


ENTRY = {"document": DOCUMENT, "name": "a", "dossier": "", "code": None, "shown": "d"}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "null",
        "[]",
        "{}",
        "[" * 100_000,
        '{"format": 1}',
        '{"format": 1, "documents": null}',
        '{"format": 1, "documents": {"a": 1}}',
        '{"format": 1, "documents": [1]}',
        json.dumps({"format": 2, "documents": [ENTRY]}),
        json.dumps({"documents": [ENTRY]}),
        *(
            json.dumps({"format": 1, "documents": [ENTRY | odd]})
            for odd in (
                {"document": ["x"]},
                {"document": ""},
                {"document": None},
                {"shown": {}},
                {"name": 5},
            )
        ),
        json.dumps({"format": 1, "documents": [{"document": DOCUMENT}]}),
        b"\xff\xfe{",
    ],
)
def test_what_is_not_what_review_writes_is_named_and_nothing_more(
    tmp_path: Path, content: str | bytes
) -> None:
    folder = ReviewFolder.new(tmp_path / "look")
    file = folder.path / "shown.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    file.chmod(0o600)
    with pytest.raises(click.UsageError, match="nothing that archivectl review wrote"):
        read_shown(folder.path)


def test_a_strangers_text_is_no_markup_and_turns_nothing_around() -> None:
    it = found(stage=HOSTILE)
    it["document"] |= {"name": HOSTILE, "dossier": HOSTILE, "hotfolder": HOSTILE}
    it["reviews"][0] |= {"message": HOSTILE, "hint": HOSTILE}
    it["reviews"][0]["regions"][0] |= {"kind": HOSTILE}
    text = page([it], "/srv/lan/x")
    assert "<script" not in text
    assert text.count("<img") == 1
    assert "\u202e" not in text
    assert "\x00" not in text
    assert "default-src 'none'" in text


@pytest.mark.parametrize("folder", ["/srv/lan/hồ sơ/xem", "/tmp/it's; rm -r x", "/tmp/\udcff"])
def test_what_is_to_be_typed_can_be_typed_as_it_is(tmp_path: Path, folder: str) -> None:
    import html
    import re
    import shlex

    text = page([found()], folder)
    commands = [html.unescape(each) for each in re.findall("<code>(archivectl .*?)</code>", text)]
    whole, alone, refuse = (shlex.split(command) for command in commands)
    assert {command[-1] for command in (whole, alone, refuse)} == {"--note"}, "a reason is missing"
    assert whole[:3] == ["archivectl", "release", "--reviewed"]
    assert alone[2] == DOCUMENT
    assert refuse[:3] == ["archivectl", "reject", DOCUMENT]
    if folder.isprintable():
        assert whole[3] == alone[4] == folder
    ReviewFolder.new(tmp_path / "look").write("index.html", text)


def test_what_was_only_flagged_has_no_commands() -> None:
    text = page([found(holds=False)], "/srv/lan/look")
    assert "archivectl release 01a2" not in text
    assert "không chờ quyết định" in text
