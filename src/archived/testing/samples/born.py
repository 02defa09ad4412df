"""A paper as an office program would export it: real text, an embedded font, no pixels."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from archived.testing.samples.fonts import STYLES, Family
from archived.testing.samples.layout import Sheet
from archived.testing.samples.papers import Paper

_CODES = {"Regular": "", "Bold": "B", "Italic": "I", "BoldItalic": "BI"}


def born_digital(paper: Paper, sheets: Sequence[Sheet], family: Family) -> bytes:
    """The sheets as a PDF with text, without seal and signature."""
    from fpdf import FPDF

    pdf = FPDF(unit="pt", format="A4")
    pdf.set_auto_page_break(False)
    issued = paper.issued
    pdf.set_creation_date(datetime(issued.year, issued.month, issued.day, 9, tzinfo=UTC))
    pdf.set_title(f"{paper.kind.name} {paper.number}")
    pdf.set_lang("vi-VN")
    for style in STYLES:
        pdf.add_font("Serif", _CODES[style], family.files[style])
    for sheet in sheets:
        pdf.add_page()
        for rule in sheet.rules:
            pdf.set_draw_color(*rule.colour)
            pdf.set_line_width(rule.width)
            pdf.line(rule.x0, rule.y0, rule.x1, rule.y1)
        for run in sheet.texts:
            pdf.set_font("Serif", _CODES[run.style], run.size)
            pdf.set_text_color(*run.colour)
            pdf.text(run.x, run.y, run.text)
    return bytes(pdf.output())
