"""How answers are shown: tables on a terminal, plain columns in a file or a pipe, or JSON.

Nothing is truncated, and no word (an id, a code, a name) is broken while it fits a line of its
own: where the columns do not fit, one of them moves to lines of its own. Received names are
untrusted text: what is not printable is made visible.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Any

import click

from archived.locale import _, language, moment_text, number, pgettext
from archived.message import with_parts

GAP = 2
"""Columns between two columns of a table."""

_INDENT = 2
"""How far a cell that has lines of its own stands in."""


@dataclass(frozen=True, slots=True)
class TableLine:
    """One line: pieces of text, each with the cell it comes from, and where it begins."""

    pieces: Sequence[tuple[int, int, str]]
    """(column on the terminal, index of the cell, text)."""


def text_width(text: str) -> int:
    """Columns that a text takes."""
    from rich.cells import cell_len

    return cell_len(text)


def wrapped(text: str, room: int) -> list[str]:
    """Lines of at most `room` columns, broken between words; a longer word is broken as it must.

    Spaces inside a line stay as they are.
    """
    lines, line = [], ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if text_width(longer) <= room:
            line = longer
            continue
        if line:
            lines.append(line)
        *full, line = _pieces(word, room)
        lines += full
    return [*lines, line]


def _pieces(word: str, room: int) -> list[str]:
    pieces = [""]
    for letter in word:
        if pieces[-1] and text_width(pieces[-1] + letter) > room:
            pieces.append("")
        pieces[-1] += letter
    return pieces


def laid_out(
    rows: Sequence[Sequence[str]],
    room: int,
    *,
    flexible: Collection[int],
    right: Collection[int],
    apart: int | None,
) -> Iterator[Sequence[TableLine]]:
    """The lines of each row. Cells of `flexible` columns may be wrapped between words; the column
    `apart` has lines of its own when there is no room otherwise.
    """
    columns = list(zip(*rows, strict=True))
    wide = _widths(columns, room, flexible)
    if sum(wide) + GAP * (len(wide) - 1) <= room or apart is None or len(columns) == 1:
        for row in rows:
            yield _beside(row, range(len(row)), _forced(wide, room), right)
        return
    beside = [index for index in range(len(columns)) if index != apart]
    rest = _widths(
        [columns[i] for i in beside], room, {beside.index(i) for i in flexible if i != apart}
    )
    for row in rows:
        own = [
            TableLine([(_INDENT if apart else 0, apart, piece)])
            for piece in wrapped(row[apart], room - (_INDENT if apart else 0))
        ]
        others = _beside(row, beside, _forced(rest, room), right)
        yield [*others, *own] if apart else [*own, *others]


def _widths(columns: Sequence[Sequence[str]], room: int, flexible: Collection[int]) -> list[int]:
    """How wide each column is: the widest of those that may be wrapped give way first, none beyond
    its longest word.
    """
    wide = [max(map(text_width, cells)) for cells in columns]
    least = [
        max(text_width(word) for cell in cells for word in cell.split(" "))
        if index in flexible
        else wide[index]
        for index, cells in enumerate(columns)
    ]
    while sum(wide) + GAP * (len(wide) - 1) > room:
        spare = [now if now > low else 0 for now, low in zip(wide, least, strict=True)]
        if not any(spare):
            break
        wide[spare.index(max(spare))] -= 1
    return wide


def _forced(wide: list[int], room: int) -> list[int]:
    """The same in so much room, whatever has to be broken for it."""
    wide = list(wide)
    while sum(wide) + GAP * (len(wide) - 1) > room and max(wide) > 1:
        wide[wide.index(max(wide))] -= 1
    return wide


def _beside(
    row: Sequence[str], indexes: Sequence[int], wide: Sequence[int], right: Collection[int]
) -> list[TableLine]:
    cells = [wrapped(row[index], room) for index, room in zip(indexes, wide, strict=True)]
    lines = []
    for line in range(max(map(len, cells))):
        pieces, start = [], 0
        for index, room, parts in zip(indexes, wide, cells, strict=True):
            text = parts[line] if line < len(parts) else ""
            at = start + (room - text_width(text) if index in right else 0)
            if text:
                pieces.append((at, index, text))
            start += room + GAP
        lines.append(TableLine(pieces))
    return lines


STYLES = {
    "safe": "green",
    "sealed": "green",
    "held": "red",
    "rejected": "magenta",
    "waiting": "yellow",
    "yes": "green",
    "no": "red",
    "not established": "yellow",
}
"""Word -> how a terminal shows it; the word alone says the same."""


def words() -> Mapping[str, str]:
    """Words of the program's answers -> what a person reads: states, endings, verdicts."""
    return {
        "admitted": _("admitted"),
        "working": _("working"),
        "waiting": _("waiting"),
        "held": _("held"),
        "rejected": _("rejected"),
        "sealed": _("sealed"),
        "safe": _("safe"),
        "yes": _("yes"),
        "no": _("no"),
        "not asked": _("not asked"),
        "not established": _("not established"),
        "arriving": _("arriving"),
        "ignored": _("ignored"),
        "open": _("open"),
        # What `archived doctor` tells about.
        "user": _("user"),
        "sandbox": _("sandbox"),
        "state": _("state"),
        "spool": _("spool"),
        "store": _("store"),
        "disk": _("disk"),
        "plug-in": _("plug-in"),
        "stage": _("stage"),
        "daemon": _("daemon"),
        "program": _("program"),
        "events": _("events"),
        "polling": _("polling"),
    }


def word(text: str) -> str:
    """A word of the program's answers, for a person."""
    return words().get(text, text)


def ending(text: str | None) -> str:
    """How a step ended, for a person; `None` while it runs."""
    endings = {
        "finished": pgettext("ending", "finished"),
        "skipped": pgettext("ending", "skipped"),
        "postponed": pgettext("ending", "postponed"),
        "refused": pgettext("ending", "refused"),
        "failed": pgettext("ending", "failed"),
        "requeued": pgettext("ending", "requeued"),
        "lost": pgettext("ending", "lost"),
        "superseded": pgettext("ending", "superseded"),
    }
    return pgettext("ending", "running") if text is None else endings.get(text, text)


def role(text: str) -> str:
    """What a file is for, for a person."""
    roles = {
        "original": pgettext("role", "original"),
        "master": pgettext("role", "master"),
        "access": pgettext("role", "access"),
        "text": pgettext("role", "text"),
        "metadata": pgettext("role", "metadata"),
    }
    return roles.get(text, text)


def label(text: str) -> str:
    """What a part of a description is called; a stage may have names that nobody translated."""
    fields = {
        "type_name": pgettext("field", "type_name"),
        "type_abbr": pgettext("field", "type_abbr"),
        "number": pgettext("field", "number"),
        "notation": pgettext("field", "notation"),
        "code": pgettext("field", "code"),
        "issued_date": pgettext("field", "issued_date"),
        "place": pgettext("field", "place"),
        "organ": pgettext("field", "organ"),
        "parent_organ": pgettext("field", "parent_organ"),
        "subject": pgettext("field", "subject"),
        "signer": pgettext("field", "signer"),
        "signer_title": pgettext("field", "signer_title"),
        "secrecy": pgettext("field", "secrecy"),
        "urgency": pgettext("field", "urgency"),
    }
    return fields.get(text, text)


def verdict(text: str, *, noted: bool = False) -> str:
    """A verdict; one that is not "yes" and in nobody's way says so."""
    told = _("{verdict} (note)") if noted and text != "yes" else "{verdict}"
    return told.format(verdict=word(text))


def reason(message: str | None, code: str | None) -> str:
    """What went wrong, for a person."""
    if not language():
        return message or ""
    from archived.observe.receipts.reasons import reason_in_words

    return reason_in_words(message or "", code)


def _style(text: str) -> str:
    return next((STYLES[name] for name in STYLES if text == word(name)), "")


def as_json(value: Any) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(with_parts(value), ensure_ascii=False, indent=2, default=str))


def clean(text: object) -> str:
    """Text on one line that cannot steer a terminal."""
    return "".join(
        c if c.isprintable() else " " if c in "\n\t" else c.encode("unicode_escape").decode()
        for c in str(text)
    )


def moment(text: str | None, zone: tzinfo, *, seconds: bool = False) -> str:
    """An ISO 8601 instant on the archive's clock; a dash when there is none."""
    return "–" if text is None else moment_text(instant(text), zone, seconds=seconds)


def instant(text: str) -> datetime:
    """An ISO 8601 instant."""
    return datetime.fromisoformat(text)


def zone_name(zone: tzinfo) -> str:
    """The zone as a note under a table: `times: Asia/Ho_Chi_Minh`."""
    return _("times: {zone}").format(zone=zone if zone is not UTC else "UTC")


def size(count: int) -> str:
    """Bytes as people write them: `1.4 MiB`."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{number(amount)} {unit}"
        amount /= 1024
    return f"{number(amount)} TiB"


def span(seconds: float) -> str:
    """A length of time in one or two words: `3 min`, `2 h 5 min`, `4 d`."""
    whole = max(0, int(seconds))
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        told = _("{days} d {hours} h") if hours else _("{days} d")
    elif hours:
        told = _("{hours} h {minutes} min") if minutes else _("{hours} h")
    else:
        told = _("{minutes} min") if minutes else _("{seconds} s")
    return told.format(days=days, hours=hours, minutes=minutes, seconds=whole)


def terminal() -> bool:
    """Whether a person looks at stdout."""
    return sys.stdout.isatty()


def terminal_width() -> int:
    """Columns of the terminal."""
    return shutil.get_terminal_size().columns


def short_id(document: str) -> str:
    """An id's end where the whole does not fit; every command takes either."""
    return document[-12:] if terminal() and terminal_width() < 120 else document


@dataclass
class Table:
    """A table. `give` names the column that gives way when the terminal is narrow: it is wrapped
    between words, or has lines of its own.
    """

    titles: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    right: Sequence[str] = ()
    """Titles of the columns of numbers."""
    give: str = ""
    also: Sequence[str] = ()
    """Titles of further columns that may be wrapped between words."""

    def row(self, *cells: object) -> None:
        """One more line; `None` is shown as a dash."""
        self.rows.append(["–" if cell is None else clean(cell) for cell in cells])

    def show(self) -> None:
        """On stdout: coloured and fitted for a terminal, whole lines in columns otherwise."""
        if terminal():
            self._fitted()
        else:
            self._plain()

    def _plain(self) -> None:
        lines: list[Sequence[str]] = [self.titles, *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.titles))]
        for line in lines:
            cells = (
                cell.rjust(wide) if title in self.right else cell.ljust(wide)
                for cell, wide, title in zip(line, widths, self.titles, strict=True)
            )
            click.echo("  ".join(cells).rstrip())

    def _fitted(self) -> None:
        out = console()
        room = out.width
        flexible = {i for i, t in enumerate(self.titles) if t == self.give or t in self.also}
        right = {i for i, title in enumerate(self.titles) if title in self.right}
        apart = self.titles.index(self.give) if self.give else None
        cells = [self.titles, *self.rows]
        lines = list(laid_out(cells, room, flexible=flexible, right=right, apart=apart))
        bold = ["bold"] * len(self.titles)
        for line in lines[0]:
            out.print(_styled(line, bold), soft_wrap=True)
        out.print("─" * min(room, _extent(lines)), soft_wrap=True)
        for row, told in zip(self.rows, lines[1:], strict=True):
            styles = [_style(cell) for cell in row]
            for line in told:
                out.print(_styled(line, styles), soft_wrap=True)


def _styled(line: TableLine, styles: Sequence[str]) -> Any:
    from rich.text import Text

    text, end = Text(), 0
    for start, index, piece in line.pieces:
        text.append(" " * (start - end))
        text.append(piece, styles[index])
        end = start + text_width(piece)
    return text


def _extent(rows: Iterable[Sequence[TableLine]]) -> int:
    """Columns that the widest line takes."""
    ends = (
        start + text_width(piece)
        for lines in rows
        for line in lines
        for start, _index, piece in line.pieces
    )
    return max(ends, default=0)


def console() -> Any:
    """A rich console on stdout that adds nothing of its own to the text."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False)


def line(text: str, style: str = "", *, indent: int = 0) -> None:
    """One paragraph; on a terminal wrapped between words, and indented as a whole."""
    if not terminal():
        click.echo(" " * indent + clean(text))
        return
    from rich.text import Text

    out = console()
    for part in wrapped(clean(text), max(1, out.width - indent)):
        out.print(Text(" " * indent) + Text(part, style), soft_wrap=True)


def command(text: str) -> None:
    """Something to type: never broken into lines, so that it can be copied."""
    if terminal():
        console().print("    " + clean(text), style="bold", soft_wrap=True)
    else:
        click.echo("    " + clean(text))


def pairs(rows: Iterable[tuple[str, object]]) -> None:
    """Name and value, one a line; values that are `None` or empty are left out."""
    known = [(name, clean(value)) for name, value in rows if value not in (None, "", [])]
    wide = max((text_width(name) for name, _ in known), default=0)
    if not terminal():
        for name, value in known:
            click.echo(f"{name.ljust(wide)}  {value}")
        return
    from rich.text import Text

    out = console()
    room = max(1, out.width - wide - GAP)
    for name, value in known:
        # What is one word, like a path, stays one: the terminal breaks it, and it can be copied.
        whole = " " not in value
        first, *more = [value] if whole else wrapped(value, room)
        gap = " " * (wide + GAP - text_width(name))
        style = _style(value)
        out.print(Text(name, "bold") + Text(gap) + Text(first, style), soft_wrap=True)
        for part in more:
            out.print(Text(" " * (wide + GAP)) + Text(part, style), soft_wrap=True)


def heading(text: str) -> None:
    """A line that opens a part of the output."""
    click.echo()
    if terminal():
        console().print(clean(text), style="bold underline")
    else:
        click.echo(clean(text))
