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
from archived.locale import asked_for, heard, language, number, speaking

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


def both(house: Any, *words: str) -> tuple[str, str]:
    """A command's output in English and in Vietnamese; both end alike."""
    english = house.ctl(*words, env=ENGLISH)
    ours = house.ctl(*words, env=VIETNAMESE)
    assert english.returncode == ours.returncode, ours.stderr
    return english.stdout + english.stderr, ours.stdout + ours.stderr


def test_every_answer_is_in_vietnamese_where_the_surroundings_are(house: Any):
    poison, slow = house.document("poison-2.txt"), house.document("slow.txt")
    letter = house.document("letter.txt")
    for words in (
        ("status",), ("documents",), ("account",), ("account", "--by", "device"), ("plugins",),
        ("show", letter), ("show", poison), ("explain", poison), ("explain", letter),
        ("explain", slow), ("ledger", "verify"), ("search", "letter"), ("search", "nowhere"),
        ("documents", "--state", "refused"), ("documents", "--limit", "1"),
    ):  # fmt: skip
        english, ours = both(house, *words)
        assert not MARKS.search(english.replace("quyết định", "")), words
        assert MARKS.search(ours.replace("quyết định", "")), words
        assert (
            english_in(ours.replace("Wait for the tide.", "").replace("The tide is out", "")) == []
        ), words


def test_names_numbers_codes_and_commands_are_the_same_in_both(house: Any):
    poison = house.document("poison-2.txt")
    english, ours = both(house, "explain", poison)
    for same in ("poison-2.txt", "[erratic-refused]", f"archivectl retry {poison}"):
        assert same in english
        assert same in ours
    assert "  archivectl release" in ours
    assert "Tài liệu bị giữ lại chờ người xử lý, tại erratic: Từ chối theo yêu cầu" in ours
    assert "Chưa cất bản giấy: tài liệu chưa được lưu trữ." in ours


def test_a_strangers_reason_is_told_as_it_was_given(house: Any):
    _, ours = both(house, "explain", house.document("slow.txt"))
    assert "The tide is out [tide-out]" in ours
    assert "phải chờ" in ours


def test_the_columns_of_a_table_are_lined_up_in_both(house: Any):
    for text in both(house, "documents"):
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


def test_a_narrow_terminal_shows_names_and_whole_codes_in_both(house: Any):
    for environment in (VIETNAMESE, ENGLISH):
        program = Path(sys.executable).with_name("archivectl")
        words = [program, "--config", house.config, "documents"]
        text = on_a_terminal(80, words, **environment)
        assert max(map(len, text.splitlines())) <= 80
        assert "poison-2.txt" in text
        assert "erratic-refused" in text


@pytest.mark.parametrize("width", [50, 60, 79, 120])
def test_nothing_of_a_table_is_cut_off(width: int):
    """Each letter is there, as often as it was put in; a long column does not eat the last one."""
    cells = ("x" * 12, "y" * 5 + " y" * 30, "v" * 9, "z" * 70)
    table = f"Sheet(['a', 'b', 'c', 'd'], [{cells}], give='d', also=['b']).show()"
    told = on_a_terminal(
        width, [sys.executable, "-c", f"from archived.cli.shown import Sheet; {table}"]
    )
    assert max(map(len, told.splitlines())) <= width
    for cell in cells:
        assert told.count(cell[0]) == cell.count(cell[0]), told
    assert "yyyyy" in told


def test_without_the_daemon_the_catalog_answers_in_vietnamese_too(house: Any):
    silent = house.variant("silent", socket=f"{house.folder}/nobody.sock")
    poison = house.document("poison-2.txt")
    answer = house.ctl("explain", poison, config=silent, env=VIETNAMESE)
    assert "dịch vụ không trả lời" in answer.stderr
    assert "Tài liệu bị giữ lại" in answer.stdout
    refused = house.ctl("retry", poison, config=silent, env=VIETNAMESE)
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


def test_json_is_the_same_in_every_language(house: Any):
    poison = house.document("poison-2.txt")
    for words in (
        ("documents",), ("show", poison), ("explain", poison), ("account",), ("plugins",),
        ("ledger", "verify"), ("search", "letter"),
    ):  # fmt: skip
        english = house.ctl("--json", *words, env=ENGLISH)
        ours = house.ctl("--json", *words, env=VIETNAMESE)
        assert steady(english.stdout) == steady(ours.stdout), words


def test_an_error_is_english_for_programs_and_vietnamese_for_people(house: Any):
    told = house.ctl("show", "zzz", env=VIETNAMESE)
    assert told.returncode == 4
    assert told.stderr.startswith("không có tài liệu nào tên là 'zzz'")
    wrong = json.loads(house.ctl("--json", "show", "zzz", env=VIETNAMESE).stderr)["error"]
    assert wrong["code"] == "no-such-document"
    assert wrong["message"] == "no document has the name 'zzz', and no id begins or ends with it"


# Help, mistakes, the other program ---------------------------------------------------------------


def test_what_the_daemon_logs_is_english_wherever_the_machine_stands(house: Any):
    missing = house.folder / "nowhere.toml"
    told = house.run("archived", "run", config=missing, env=VIETNAMESE)
    assert told.returncode == 78
    assert "there is no file" in told.stderr
    assert "\nhint: correct it" in told.stderr


@pytest.mark.parametrize("program", ["archivectl", "archived"])
def test_the_help_of_every_command_is_vietnamese(house: Any, program: str):
    for names in (each for each in ALL if each[0] == program):
        told = house.run(*names, "--help", env=VIETNAMESE)
        assert told.returncode == 0
        assert told.stdout.startswith("Cách dùng:"), names
        assert "Tùy chọn:" in told.stdout, names
        ours = "".join(line for line in told.stdout.splitlines(True) if "census" not in line)
        assert english_in(ours) == [], names


def test_a_mistyped_command_line_is_told_in_vietnamese(house: Any):
    for words, told in (
        (("frobnicate",), "Không có lệnh 'frobnicate'"),
        (("documents", "--state", "gone"), "'gone' không phải là một trong:"),
        (("show",), "Thiếu đối số 'DOC'"),
        (("release", "x"), "Thiếu tùy chọn '--note'"),
    ):
        answer = house.ctl(*words, env=VIETNAMESE)
        assert answer.returncode == 2
        assert told in answer.stderr, answer.stderr


def test_mistakes_in_the_configuration_are_told_in_vietnamese(house: Any):
    wrong = house.write(
        "wrong/archived.toml",
        house.config.read_text()
        .replace('quiet = "200 ms"', 'quite = "200 ms"')
        .replace('pipeline = "late"', 'pipeline = "lat"')
        .replace('keep_free = "1 MiB"', "keep_free = 1"),
    )
    told = house.run("archived", "check", config=wrong, env=VIETNAMESE)
    assert told.returncode == 78
    for words in (
        'intake.quite: không có khóa này; có phải ý bạn là "quiet"?',
        'hãy viết dung lượng kèm đơn vị, như "512 MiB"',
        'không có quy trình "lat"; có phải ý bạn là "late"? (các quy trình: late, paper)',
    ):
        assert words in told.stdout, told.stdout
    assert "lỗi trong" in told.stdout


def test_what_doctor_finds_is_told_in_vietnamese(house: Any):
    told = house.run("archived", "doctor", env=VIETNAMESE)
    assert english_in(told.stdout) == []
    assert "dịch vụ đang chạy và sẵn sàng" in told.stdout
    (house.folder / "shelf").mkdir()  # no hot folder: its daemon would have the trials on record
    folder = house.run("archived", "doctor", str(house.folder / "shelf"), env=VIETNAMESE)
    assert "dịch vụ đọc đúng từng byte đã ghi" in folder.stdout
    before = folder.stdout.partition("Cần ghi vào cấu hình")[0]
    assert english_in(before) == []


def test_gnu_gettext_finds_nothing_wrong_with_the_catalogue(house: Any):
    """Where msgfmt is installed: its reading of the file is not ours."""
    from archived.locale import FOLDER

    try:
        ran = subprocess.run(
            ["msgfmt", "--check-format", "-o", "/dev/null", FOLDER / "vi.po"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        pytest.skip("msgfmt (Debian's gettext) is not installed")
    assert ran.returncode == 0, ran.stderr


# Sentences that arrive finished ------------------------------------------------------------------


def test_a_finished_sentence_is_known_by_its_shape():
    with speaking("vi"):
        assert heard("no document has the id x y") == "không có tài liệu mã x y"
        assert heard("/a.toml:3: spool.keep_free: must be set") == (
            "/a.toml:3: spool.keep_free: phải đặt khóa này"
        )
        assert heard("target second: /mnt/x is not a mount point now.") == (
            "nơi chứa second: /mnt/x hiện không phải là điểm gắn"
        )


def test_a_sentence_nobody_translated_stays_as_it_is():
    with speaking("vi"):
        for text in ("The tide is out", "", "scan0001.tif", "a: b; c: d", "{1} {2}", "stage"):
            assert heard(text) in {text, "công đoạn"}
    assert heard("no document has the id x") == "no document has the id x"
