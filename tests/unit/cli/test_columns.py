"""Tables on a terminal: nothing is lost, and no word is broken while it fits a line."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archived.cli.archivectl import cli as archivectl
from archived.cli.archived import cli as archived
from archived.cli.output import TableLine, laid_out, text_width, wrapped

ID = "28870053bf05"
DOCUMENTS = [
    ["tài liệu", "nhận lúc", "trạng thái", "bước", "trang", "tên"],
    [ID, "01/12/2026 02:33", "giữ lại: secrecy-above-declared", "classify", "120", "báo cáo.pdf"],
    [ID, "01/12/2026 02:33", "an toàn", "–", "1", "Tờ trình về việc phê duyệt quyết toán.pdf"],
]


def text_of(line: TableLine) -> str:
    shown = ""
    for start, _index, piece in line.pieces:
        shown += " " * (start - text_width(shown)) + piece
    return shown


def told(rows: list[list[str]], room: int, apart: int | None) -> list[list[str]]:
    flexible = {len(rows[0]) - 1, 2}
    rows_of_lines = laid_out(rows, room, flexible=flexible, right={4}, apart=apart)
    return [[text_of(line) for line in lines] for lines in rows_of_lines]


@pytest.mark.parametrize("room", [80, 100, 200])
def test_ids_codes_and_times_are_whole_at_the_width_of_a_terminal(room: int) -> None:
    _header, *rows = told(DOCUMENTS, room, apart=5)
    for row, cells in zip(rows, DOCUMENTS[1:], strict=True):
        assert max(map(text_width, row)) <= room
        words = " ".join(row).split()
        assert [word for cell in cells for word in cell.split() if word not in words] == []


def test_a_name_has_a_line_of_its_own_where_columns_do_not_fit() -> None:
    header, held, _safe = told(DOCUMENTS, 80, apart=5)
    assert [line.strip() for line in header][-1] == "tên"
    assert held[-1] == "  báo cáo.pdf"


@given(
    st.lists(
        st.lists(st.text(alphabet="abđế –.", max_size=30), min_size=6, max_size=6),
        min_size=1,
        max_size=4,
    ),
    st.integers(min_value=20, max_value=120),
    st.sampled_from([None, 0, 5]),
)
def test_every_letter_is_shown_and_no_line_is_too_wide(
    rows: list[list[str]], room: int, apart: int | None
) -> None:
    for row, lines in zip(rows, told(rows, room, apart), strict=True):
        assert all(text_width(line) <= room for line in lines)
        assert sorted("".join(lines).replace(" ", "")) == sorted("".join(row).replace(" ", ""))


@given(st.text(alphabet="abđế ", max_size=80), st.integers(min_value=1, max_value=40))
def test_a_word_is_broken_only_where_it_fits_no_line(text: str, room: int) -> None:
    lines = wrapped(text, room)
    assert all(text_width(line) <= room for line in lines)
    whole = [word for word in text.split() if text_width(word) <= room]
    shown = [word for line in lines for word in line.split()]
    assert not [word for word in set(whole) if shown.count(word) < whole.count(word)]


def groups(group: click.Group, *above: str) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = [above]
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found += groups(command, *above, name)
    return found


@pytest.mark.parametrize("language", ["C.UTF-8", "vi_VN.UTF-8"])
def test_the_help_of_no_command_is_cut_off(language: str, tmp_path: Path) -> None:
    for program, group in (("archived", archived), ("archivectl", archivectl)):
        for words in groups(group):
            asked = [str(Path(sys.executable).with_name(program)), *words, "--help"]
            environment = {
                "LC_ALL": language,
                "COLUMNS": "80",
                "ARCHIVED_CONFIG": str(tmp_path / "none.toml"),
            }
            text = subprocess.run(
                asked, check=True, capture_output=True, text=True, env=environment
            ).stdout
            assert not re.search(r"^ .*\.\.\.$", text, re.M), text
            assert max(map(len, text.splitlines())) <= 80


def test_no_table_shows_a_whole_id_where_it_would_not_fit() -> None:
    """`shown.short_id` decides; an id as it is would push every other column aside."""
    folder = Path(__file__).resolve().parents[3] / "src/archived/cli"
    rows = re.compile(r"\.row\(\s*\w+\[\"(?:id|document)\"\]")
    assert {path.name for path in folder.glob("*.py") if rows.search(path.read_text())} == set()
