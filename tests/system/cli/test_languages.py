"""What people read is in their language; what programs read is not."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from archived.cli.archivectl import cli as archivectl
from archived.cli.archived import cli as archived
from archived.locale import asked_for, language, number, render, speaking
from archived.message import Message

VIETNAMESE = {"LC_ALL": "vi_VN.UTF-8", "LANGUAGE": ""}
ENGLISH = {"LC_ALL": "C.UTF-8", "LANGUAGE": ""}
MARKS = re.compile(r"[ăâđêôơưĂÂĐÊÔƠƯàáảãạằắẳẵặầấẩẫậèéẻẽẹềếểễệìíỉĩịòóỏõọồốổỗộờớởỡợùúủũụừứửữựỳýỷỹỵ]")
ENGLISH_WORDS = re.compile(
    r"\b(the|is|are|was|were|and|of|for|with|not|this|that|which|from|by|to)\b", re.IGNORECASE
)


def english_in(text: str) -> list[str]:
    """Lines that read like English."""
    return [line for line in text.splitlines() if len(ENGLISH_WORDS.findall(line)) > 1]


def commands(command: click.Command, *names: str) -> Iterator[tuple[str, ...]]:
    yield names
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from commands(below, *names, name)


ALL = [*commands(archivectl, "archivectl"), *commands(archived, "archived")]


# Which language ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "tag"),
    [
        ({}, None),
        ({"LANG": "C.UTF-8"}, None),
        ({"LANG": "en_US.UTF-8"}, None),
        ({"LANG": "vi_VN.UTF-8"}, "vi"),
        ({"LANG": "vi"}, "vi"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "vi_VN"}, "vi"),
        ({"LANG": "vi_VN", "LC_MESSAGES": "en_GB.UTF-8"}, None),
        ({"LC_ALL": "C", "LC_MESSAGES": "vi_VN", "LANG": "vi_VN"}, None),
        ({"LC_ALL": "", "LANG": "vi_VN"}, "vi"),
        ({"LANG": "fr_FR.UTF-8"}, None),
        ({"LANG": "fr_FR.UTF-8", "LANGUAGE": "fr:vi"}, "vi"),
        ({"LANG": "vi_VN.UTF-8", "LANGUAGE": "en:vi"}, None),
        ({"LC_ALL": "C.UTF-8", "LANGUAGE": "vi"}, None),
    ],
)
def test_the_language_is_the_one_the_surroundings_name(
    environment: dict[str, str], tag: str | None
):
    assert asked_for(environment) == tag


def test_one_call_speaks_a_language_and_the_next_is_english_again():
    with speaking("vi"):
        assert language() == "vi"
        assert number(1.5) == "1,5"
        with speaking("tlh"):
            assert language() == ""
    assert number(1.5) == "1.5"


# Commands of a house at work ---------------------------------------------------------------------


def both(installation: Any, *words: str) -> tuple[str, str]:
    """A command's output in English and in Vietnamese; both end alike."""
    english = installation.ctl(*words, env=ENGLISH)
    ours = installation.ctl(*words, env=VIETNAMESE)
    assert english.returncode == ours.returncode, ours.stderr
    return english.stdout + english.stderr, ours.stdout + ours.stderr


def test_every_answer_is_in_vietnamese_where_the_surroundings_are(installation: Any):
    poison, slow = installation.document("poison-2.txt"), installation.document("slow.txt")
    letter = installation.document("letter.txt")
    for words in (
        ("status",),
        ("documents",),
        ("account",),
        ("account", "--by", "device"),
        ("plugins",),
        ("show", letter),
        ("show", poison),
        ("explain", poison),
        ("explain", letter),
        ("explain", slow),
        ("ledger", "verify"),
        ("search", "letter"),
        ("search", "nowhere"),
        ("documents", "--state", "rejected"),
        ("documents", "--limit", "1"),
    ):
        english, ours = both(installation, *words)
        assert not MARKS.search(english.replace("quyết định", "")), words
        assert MARKS.search(ours.replace("quyết định", "")), words
        assert (
            english_in(ours.replace("Wait for the tide.", "").replace("The tide is out", "")) == []
        ), words


def test_names_numbers_codes_and_commands_are_the_same_in_both(installation: Any):
    poison = installation.document("poison-2.txt")
    english, ours = both(installation, "explain", poison)
    for same in ("poison-2.txt", "[erratic-refused]", f"archivectl retry {poison}"):
        assert same in english
        assert same in ours
    assert "  archivectl release" in ours
    assert "Tài liệu bị giữ lại chờ người xử lý, tại erratic: Từ chối theo yêu cầu" in ours
    assert "Chưa cất bản giấy: tài liệu chưa được lưu trữ." in ours


def test_a_strangers_reason_is_told_as_it_was_given(installation: Any):
    _, ours = both(installation, "explain", installation.document("slow.txt"))
    assert "The tide is out [tide-out]" in ours
    assert "phải chờ" in ours


def test_the_columns_of_a_table_are_lined_up_in_both(installation: Any):
    for text in both(installation, "documents"):
        lines = [line for line in text.splitlines() if ".txt" in line]
        starts = {re.search(r"\S+\.txt|quyết định\.txt", line).start() for line in lines}  # type: ignore[union-attr] # every line has one
        assert len(starts) == 1, text


def on_a_terminal(width: int, words: list[Any], **environment: str) -> str:
    """What a program writes on a terminal so wide, without what steers it."""
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    more = environment | {"COLUMNS": str(width), "TERM": "xterm"}
    subprocess.run(words, stdout=writer, stderr=writer, env=os.environ | more, check=True)
    os.close(writer)
    shown = b""
    with contextlib.suppress(OSError):  # how a terminal ends
        while piece := os.read(reader, 100_000):
            shown += piece
    os.close(reader)
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.decode())


def test_a_narrow_terminal_shows_names_and_whole_codes_in_both(installation: Any):
    for environment in (VIETNAMESE, ENGLISH):
        program = Path(sys.executable).with_name("archivectl")
        words = [program, "--config", installation.config, "documents"]
        text = on_a_terminal(80, words, **environment)
        assert max(map(len, text.splitlines())) <= 80
        assert "poison-2.txt" in text
        assert "erratic-refused" in text


@pytest.mark.parametrize("width", [50, 60, 79, 120])
def test_nothing_of_a_table_is_cut_off(width: int):
    """Each letter is there, as often as it was put in; a long column does not eat the last one."""
    cells = ("x" * 12, "y" * 5 + " y" * 30, "v" * 9, "z" * 70)
    table = f"Table(['a', 'b', 'c', 'd'], [{cells}], give='d', also=['b']).show()"
    told = on_a_terminal(
        width, [sys.executable, "-c", f"from archived.cli.output import Table; {table}"]
    )
    assert max(map(len, told.splitlines())) <= width
    for cell in cells:
        assert told.count(cell[0]) == cell.count(cell[0]), told
    assert "yyyyy" in told


def test_without_the_daemon_the_catalog_answers_in_vietnamese_too(installation: Any):
    silent = installation.variant("silent", socket=f"{installation.folder}/nobody.sock")
    poison = installation.document("poison-2.txt")
    answer = installation.ctl("explain", poison, config=silent, env=VIETNAMESE)
    assert "dịch vụ không trả lời" in answer.stderr
    assert "Tài liệu bị giữ lại" in answer.stdout
    refused = installation.ctl("retry", poison, config=silent, env=VIETNAMESE)
    assert refused.returncode == 7
    assert "dịch vụ không chạy: không có gì lắng nghe tại" in refused.stderr
    assert "gợi ý: khởi động bằng lệnh: systemctl start archived" in refused.stderr


# Programs ----------------------------------------------------------------------------------------


def steady(text: str) -> Any:
    """JSON without what passes with time."""
    answer = json.loads(text)
    if isinstance(answer, dict):
        answer.pop("at", None)
    return answer


def test_json_is_the_same_in_every_language(installation: Any):
    poison = installation.document("poison-2.txt")
    for words in (
        ("documents",),
        ("show", poison),
        ("explain", poison),
        ("account",),
        ("plugins",),
        ("ledger", "verify"),
        ("search", "letter"),
    ):
        english = installation.ctl("--json", *words, env=ENGLISH)
        ours = installation.ctl("--json", *words, env=VIETNAMESE)
        assert steady(english.stdout) == steady(ours.stdout), words


def test_an_error_is_english_for_programs_and_vietnamese_for_people(installation: Any):
    told = installation.ctl("show", "zzz", env=VIETNAMESE)
    assert told.returncode == 4
    assert told.stderr.startswith("không có tài liệu nào tên là 'zzz'")
    wrong = json.loads(installation.ctl("--json", "show", "zzz", env=VIETNAMESE).stderr)["error"]
    assert wrong["code"] == "no-such-document"
    assert wrong["message"] == "no document has the name 'zzz', and no id begins or ends with it"


# Help, mistakes, the other program ---------------------------------------------------------------


def test_what_the_daemon_logs_is_english_wherever_the_machine_stands(installation: Any):
    missing = installation.folder / "nowhere.toml"
    told = installation.run("archived", "run", config=missing, env=VIETNAMESE)
    assert told.returncode == 78
    assert "there is no file" in told.stderr
    assert "\nhint: correct it" in told.stderr


@pytest.mark.parametrize("program", ["archivectl", "archived"])
def test_the_help_of_every_command_is_vietnamese(installation: Any, program: str):
    for names in (each for each in ALL if each[0] == program):
        told = installation.run(*names, "--help", env=VIETNAMESE)
        assert told.returncode == 0
        assert told.stdout.startswith("Cách dùng:"), names
        assert "Tùy chọn:" in told.stdout, names
        ours = "".join(line for line in told.stdout.splitlines(True) if "census" not in line)
        assert english_in(ours) == [], names


def test_a_mistyped_command_line_is_told_in_vietnamese(installation: Any):
    for words, told in (
        (("frobnicate",), "Không có lệnh 'frobnicate'"),
        (("documents", "--state", "gone"), "'gone' không phải là một trong:"),
        (("show",), "Thiếu đối số 'DOC'"),
        (("refuse", "x", "--note", "y"), '"refuse" nay gọi là "reject"'),
        (("documents", "--state", "refused"), '"refused" nay gọi là "rejected"'),
        (("review", "--code", "bomb"), '"bomb" nay gọi là "decompression-bomb"'),
        (("release", "x", "--note", "y", "--code", "bomb"), '"bomb" nay gọi là "decompression-'),
        (("release", "x"), "Thiếu tùy chọn '--note'"),
    ):
        answer = installation.ctl(*words, env=VIETNAMESE)
        assert answer.returncode == 2
        assert told in answer.stderr, answer.stderr


def test_mistakes_in_the_configuration_are_told_in_vietnamese(installation: Any):
    wrong = installation.written(
        "wrong/archived.toml",
        installation.config.read_text()
        .replace('settle_time = "200 ms"', 'settle_tme = "200 ms"')
        .replace('pipeline = "late"', 'pipeline = "lat"')
        .replace('keep_free = "1 MiB"', "keep_free = 1"),
    )
    told = installation.run("archived", "check", config=wrong, env=VIETNAMESE)
    assert told.returncode == 78
    for words in (
        'intake.settle_tme: không có khóa này; có phải ý bạn là "settle_time"?',
        'hãy viết dung lượng kèm đơn vị, như "512 MiB"',
        'không có quy trình "lat"; có phải ý bạn là "late"? (các quy trình: late, paper)',
    ):
        assert words in told.stdout, told.stdout
    assert "lỗi trong" in told.stdout


def test_what_doctor_finds_is_told_in_vietnamese(installation: Any):
    told = installation.run("archived", "doctor", env=VIETNAMESE)
    assert english_in(told.stdout) == []
    assert "dịch vụ đang chạy và sẵn sàng" in told.stdout
    (
        installation.folder / "shelf"
    ).mkdir()  # no hot folder: its daemon would have the trials on record
    folder = installation.run(
        "archived", "doctor", str(installation.folder / "shelf"), env=VIETNAMESE
    )
    assert "dịch vụ đọc đúng từng byte đã ghi" in folder.stdout
    before = folder.stdout.partition("Cần ghi vào cấu hình")[0]
    assert english_in(before) == []


def test_gnu_gettext_finds_nothing_wrong_with_the_catalogue(installation: Any):
    """Where msgfmt is installed: its reading of the file is not ours."""
    from archived.locale import FOLDER

    try:
        ran = subprocess.run(
            ["msgfmt", "--check-format", "-o", "/dev/null", FOLDER / "vi.po"],
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        pytest.skip("msgfmt (Debian's gettext) is not installed")
    assert ran.returncode == 0, ran.stderr


# Sentences ---------------------------------------------------------------------------------------


def test_a_sentence_is_said_from_what_it_was_made_of():
    unknown = Message("no document has the id {document}", document="x y")
    with speaking("vi"):
        assert render(unknown) == "không có tài liệu mã x y"
        assert render(Message("{place}: {what}", place="a:3", what=Message("must be set"))) == (
            "a:3: phải đặt khóa này"
        )
        assert render(
            Message("{state}: cannot be used ({why})", state="/x", why="File exists")
        ) == ("/x: không dùng được (Tệp đã có)")
    assert render(unknown) == unknown == "no document has the id x y"


def test_a_sentence_without_parameters_is_its_own_template():
    """So what stood on record as text only is told as well, where nothing varied in it."""
    with speaking("vi"):
        assert render("must be set") == "phải đặt khóa này"
        assert render("must be set\nwrite a number") == "phải đặt khóa này\nhãy viết một số"


def test_a_sentence_nobody_translated_stays_as_it_is():
    with speaking("vi"):
        for text in ("The tide is out", "", "scan0001.tif", "a: b; c: d", "{1} {2}", "{", "%s"):
            assert render(text) == text
            assert render(Message(text)) == text
