"""Where things stand on the sheet: a paper becomes marks in points, and the text of each page.

Knows type sizes and margins of the state's and the party's rules; knows nothing of pixels or PDF,
so a scan and a born-digital file of one paper agree line for line.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from archived.testing.samples.fonts import Family, Style
from archived.testing.samples.papers import Block, Paper, body_blocks

A4 = (595.28, 841.89)
LEFT, RIGHT, TOP, BOTTOM = 85.0, 545.0, 60.0, 782.0
INK = (20, 20, 26)
RED = (200, 22, 34)


@dataclass(frozen=True, slots=True)
class Text:
    """A run of letters; `x`, `y`: left end of its baseline, points from the top left corner."""

    x: float
    y: float
    text: str
    style: Style
    size: float
    colour: tuple[int, int, int] = INK


@dataclass(frozen=True, slots=True)
class Rule:
    """A straight line."""

    x0: float
    y0: float
    x1: float
    y1: float
    width: float = 0.7
    colour: tuple[int, int, int] = INK


@dataclass(frozen=True, slots=True)
class Seal:
    """A round red seal, centre and radius in points, and a pen's signature across it."""

    x: float
    y: float
    radius: float
    ring: str
    seed: str


@dataclass(slots=True)
class Sheet:
    """One page: its size in points, the marks on it, its text in reading order."""

    size: tuple[float, float] = A4
    texts: list[Text] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)
    seal: Seal | None = None
    lines: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The page's text, one paragraph or printed line per line."""
        return "\n".join(self.lines)


class Composer:
    """Lays one paper out on as many sheets as asked for."""

    def __init__(self, paper: Paper, pages: int, family: Family) -> None:
        self.paper, self.pages, self.family = paper, pages, family
        self.sheets: list[Sheet] = [Sheet()]
        self.y = TOP

    def compose(self) -> list[Sheet]:
        """All sheets, the last one with recipients, signer and seal."""
        self._head()
        for block in body_blocks(self.paper):
            if not self._block(block):
                break
        last = self.sheets[-1]
        for index in range(len(last.lines) - 1, -1, -1):
            if last.lines[index].endswith(".") and not self.paper.party:
                self._end_mark(index)
                break
        self._sign()
        return self.sheets

    # -- small steps ----------------------------------------------------------------------------

    def _width(self, text: str, style: Style, size: float) -> float:
        return self.family.width(text, style, size)

    def _put(self, x: float, text: str, style: Style, size: float, y: float | None = None) -> None:
        self.sheets[-1].texts.append(Text(x, self.y if y is None else y, text, style, size))

    def _centre(
        self, x: float, text: str, style: Style = "Regular", size: float = 13, y: float = 0.0
    ) -> float:
        """Centre `text` on `x`; returns its width."""
        width = self._width(text, style, size)
        self._put(x - width / 2, text, style, size, y or self.y)
        return width

    def _say(self, *lines: str) -> None:
        self.sheets[-1].lines.extend(lines)

    def _rule(self, x: float, width: float, y: float) -> None:
        self.sheets[-1].rules.append(Rule(x - width / 2, y, x + width / 2, y))

    def _wrap(
        self, text: str, style: Style, size: float, width: float, indent: float = 0.0
    ) -> list[list[str]]:
        lines: list[list[str]] = [[]]
        room = width - indent
        for word in text.split():
            if lines[-1] and self._width(" ".join([*lines[-1], word]), style, size) > room:
                lines.append([])
                room = width
            lines[-1].append(word)
        return lines

    # -- the head -------------------------------------------------------------------------------

    def _head(self) -> None:
        paper = self.paper
        left, right = LEFT + 92, LEFT + 327
        size = 13.0 if paper.party else 12.0
        rows: list[tuple[str, Style]] = [(line, "Regular") for line in paper.body.parent]
        rows += [(line, "Bold") for line in paper.body.lines]
        if paper.party:
            rows.append(("*", "Regular"))
            motto = [("ĐẢNG CỘNG SẢN VIỆT NAM", 14.0)]
        else:
            motto = [("CỘNG HÒA XÃ HỘI CHỦ NGHĨA VIỆT NAM", 12.0)]
            motto.append(("Độc lập - Tự do - Hạnh phúc", 13.0))
        top = self.y
        for index in range(max(len(rows), len(motto))):
            y = top + 15.5 * index
            if index < len(rows):
                text, style = rows[index]
                self._centre(left, text, style, size, y)
                self._say(text)
            if index < len(motto):
                text, points = motto[index]
                width = self._centre(right, text, "Bold", points, y)
                self._say(text)
                if index == len(motto) - 1:
                    self._rule(right, width, y + 4.5)
        if not paper.party:
            self._rule(left, 62, top + 15.5 * (len(rows) - 1) + 4.5)
        self.y = top + 15.5 * max(len(rows), len(motto)) + 8
        self._centre(left, paper.number_line, "Regular", 13)
        self._centre(right, paper.date_line, "Italic", 13)
        self._say(paper.number_line, paper.date_line)
        self.y += 16
        if paper.is_letter_head:
            for line in self._wrap(paper.subject, "Regular", 12, 190):
                self._centre(left, " ".join(line), "Regular", 12)
                self.y += 14
            self._say(paper.subject)
        for mark in (paper.secrecy, paper.urgency):
            if mark:
                self._mark(left, mark.upper())
        self._title()

    def _mark(self, x: float, text: str) -> None:
        """A red boxed stamp, as a registry prints it."""
        sheet = self.sheets[-1]
        self.y += 8
        width = self._width(text, "Bold", 14)
        y0, y1 = self.y, self.y + 26
        x0, x1 = x - width / 2 - 9, x + width / 2 + 9
        for box in ((x0, y0, x1, y0), (x0, y1, x1, y1), (x0, y0, x0, y1), (x1, y0, x1, y1)):
            sheet.rules.append(Rule(*box, width=1.5, colour=RED))
        sheet.texts.append(Text(x - width / 2, y1 - 8, text, "Bold", 14, RED))
        self._say(text)
        self.y = y1 + 10

    def _title(self) -> None:
        paper, middle = self.paper, (LEFT + RIGHT) / 2
        self.y += 16
        if not paper.is_letter_head:
            title = paper.kind.name.upper()
            self._centre(middle, title, "Bold", 15)
            self.y += 18
            self._say(title)
            for line in self._wrap(paper.subject, "Bold", 14, 360):
                self._centre(middle, " ".join(line), "Bold", 14)
                self.y += 17
            self._say(paper.subject)
            self._rule(middle, 44 if paper.party else 96, self.y - 9)
            self.y += 12
        if paper.kind.build == "letter":
            self.y += 4
            prefix = "Kính gửi: "
            text = prefix + "; ".join(paper.addressees) + "."
            for line in self._wrap(text, "Regular", 14, 380):
                self._centre(middle, " ".join(line), "Regular", 14)
                self.y += 18
            self._say(text)
            self.y += 8

    # -- the body -------------------------------------------------------------------------------

    def _next_sheet(self) -> None:
        self.sheets.append(Sheet())
        number = str(len(self.sheets))
        self._centre((LEFT + RIGHT) / 2, number, "Regular", 13, 40)
        self._say(number)
        self.y = TOP + 12

    def _room(self) -> float:
        """The lowest baseline on this sheet: the last one keeps room for the signature."""
        return 560.0 if len(self.sheets) == self.pages else BOTTOM

    def _block(self, block: Block) -> bool:
        """Place it; false when the paper is full."""
        on_last = len(self.sheets) == self.pages
        if block.kind == "table":
            if self.y + 24 * len(block.rows) < self._room():
                self._table(block)
            return True
        style: Style = "Regular" if block.kind == "para" else "Bold"
        indent = 0.0 if block.kind == "centre" else 34.0
        lines = self._wrap(block.text, style, 13.5, RIGHT - LEFT, indent)
        company = 3 if block.kind == "bold" else 0  # a heading never stands alone at the end
        if on_last and self.y + 18.5 * (len(lines) + company) > self._room():
            return False
        if block.kind == "centre":
            self._centre((LEFT + RIGHT) / 2, block.text, style, 13.5, self.y + 3)
            self._say(block.text)
            self.y += 27
            return True
        part: list[str] = []
        for index, words in enumerate(lines):
            if self.y > self._room():
                if part:
                    self._say(" ".join(part))
                part = []
                if len(self.sheets) == self.pages:
                    return False
                self._next_sheet()
            last = index == len(lines) - 1
            self._line(words, style, LEFT + (indent if index == 0 else 0.0), justify=not last)
            part += words
        self._say(" ".join(part))
        self.y += 5
        return True

    def _line(self, words: list[str], style: Style, x: float, *, justify: bool) -> None:
        if not justify or len(words) < 3:
            self._put(x, " ".join(words), style, 13.5)
        else:
            widths = [self._width(word, style, 13.5) for word in words]
            gap = (RIGHT - x - sum(widths)) / (len(words) - 1)
            for word, width in zip(words, widths, strict=True):
                self._put(x, word, style, 13.5)
                x += width + gap
        self.y += 18.5

    def _table(self, block: Block) -> None:
        stops = [LEFT, LEFT + 40, LEFT + 290, LEFT + 355, RIGHT]
        rules = self.sheets[-1].rules
        top = self.y - 10
        for index, row in enumerate(block.rows):
            style: Style = "Bold" if index == 0 else "Regular"
            y = top + 24 * index
            rules.append(Rule(LEFT, y, RIGHT, y))
            for stop, cell in zip(stops, row, strict=False):
                self._put(stop + 5, cell, style, 12, y + 16)
            self._say(" ".join(row))
        bottom = top + 24 * len(block.rows)
        rules.append(Rule(LEFT, bottom, RIGHT, bottom))
        rules.extend(Rule(x, top, x, bottom) for x in stops)
        self.y = bottom + 22

    # -- the end --------------------------------------------------------------------------------

    def _end_mark(self, index: int) -> None:
        """A state paper's text ends with `./.`"""
        sheet = self.sheets[-1]
        sheet.lines[index] += "/."
        for at in range(len(sheet.texts) - 1, -1, -1):
            run = sheet.texts[at]
            if run.text.endswith(".") and run.size == 13.5:
                sheet.texts[at] = Text(run.x, run.y, run.text + "/.", run.style, run.size)
                return

    def _sign(self) -> None:
        paper, middle = self.paper, LEFT + 345
        top = self.y = self.y + 14
        heading: Style = "Regular" if paper.party else "BoldItalic"
        label = "Nơi nhận:"
        self._put(LEFT, label, heading, 12)
        if paper.party:
            width = self._width(label, heading, 12)
            self._rule(LEFT + width / 2, width, top + 2.5)
        for index, text in enumerate(paper.recipients):
            self._put(LEFT, text, "Regular", 11, top + 14.5 * (index + 1))
        for title in paper.signer_title.split("\n"):
            self._centre(middle, title, "Bold", 13.5)
            self.y += 17
        self._say(label, *paper.recipients, *paper.signer_title.split("\n"), paper.signer)
        self._centre(middle, paper.signer, "Bold", 13.5, self.y + 96)
        ring = " ".join(paper.body.lines)
        self.sheets[-1].seal = Seal(middle - 46, self.y + 32, 48, ring, paper.seed)


def lay_out(paper: Paper, pages: int, family: Family) -> list[Sheet]:
    """The paper on at most `pages` sheets."""
    return Composer(paper, pages, family).compose()
