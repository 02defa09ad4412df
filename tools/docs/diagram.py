"""Draws docs/flow.svg, the picture in README.md: `.venv/bin/python -m tools.docs.diagram`.

The picture is text in, text out: the same script gives the same bytes, and a test compares them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from xml.sax.saxutils import escape

PICTURE = Path(__file__).resolve().parent.parent.parent / "docs" / "flow.svg"

WIDTH, HEIGHT = 1120, 520
INK, SOFT, LINE = "#1f2933", "#5c6b7a", "#8895a3"
PAPER, INTAKE, WORK, KEPT, ALARM = "#ffffff", "#e8f1fa", "#f3effa", "#e9f5ec", "#fbeceb"
EDGES = {INTAKE: "#4a83b8", WORK: "#7d63b0", KEPT: "#4c9160", ALARM: "#bf5a52", PAPER: "#b6c0ca"}
FONT = "system-ui, 'Segoe UI', 'Liberation Sans', Arimo, 'DejaVu Sans', sans-serif"


def text(
    x: float,
    y: float,
    words: str,
    size: int = 13,
    *,
    colour: str = INK,
    bold: bool = False,
    anchor: str = "middle",
) -> str:
    """One line of text; `y` is its base line."""
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{colour}"{weight} '
        f'text-anchor="{anchor}">{escape(words)}</text>'
    )


def box(
    x: float,
    y: float,
    width: float,
    height: float,
    fill: str,
    title: str,
    *lines: str,
    dashed: bool = False,
) -> str:
    """A box with a title and smaller lines below it, centred."""
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    middle, total = x + width / 2, 18 + 17 * len(lines)
    top = y + (height - total) / 2 + 14
    parts = [
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="9" fill="{fill}" '
        f'stroke="{EDGES[fill]}" stroke-width="1.5"{dash}/>',
        text(middle, top, title, 15, bold=True),
    ]
    parts += [
        text(middle, top + 19 + 17 * row, line, 12, colour=SOFT) for row, line in enumerate(lines)
    ]
    return "\n".join(parts)


def arrow(*points: tuple[float, float], colour: str = LINE, dashed: bool = False) -> str:
    """A line through the points with its head at the last one."""
    dash = ' stroke-dasharray="4 4"' if dashed else ""
    head = "alarm" if colour == EDGES[ALARM] else "head"
    path = " ".join(f"{x:g},{y:g}" for x, y in points)
    return (
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash} '
        f'marker-end="url(#{head})"/>'
    )


def frame(x: float, y: float, width: float, height: float, title: str) -> str:
    """A dashed frame with its name on the upper edge."""
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="12" fill="none" '
        f'stroke="{EDGES[WORK]}" stroke-width="1.5" stroke-dasharray="6 5"/>\n'
        + text(x + 14, y + 21, title, 12, colour=EDGES[WORK], anchor="start")
    )


def marker(name: str, colour: str) -> str:
    """An arrow head."""
    return (
        f'<marker id="{name}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path d="M0,0 L10,5 L0,10 z" fill="{colour}"/></marker>'
    )


def picture() -> str:
    """The whole picture as SVG."""
    row = 148  # the middle of the main line
    parts = [
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="14" fill="{PAPER}"/>',
        text(
            30,
            40,
            "From paper to a record that outlives the program",
            19,
            bold=True,
            anchor="start",
        ),
        box(30, 108, 104, 80, PAPER, "Scanners", "write files"),
        box(176, 108, 122, 80, INTAKE, "Hot folder", "each file is on", "record at once"),
        box(340, 108, 122, 80, INTAKE, "Spool", "bytes fsynced,", "read-only"),
        frame(504, 70, 252, 142, "a limited process for each step"),
        box(518, 108, 62, 80, WORK, "ocr", "PDF/A"),
        box(590, 108, 80, 80, WORK, "classify", "fields"),
        box(680, 108, 62, 80, WORK, "sign", "PAdES"),
        box(798, 108, 128, 80, KEPT, "Store", "OCFL 1.1 object,", "appears whole"),
        box(968, 108, 122, 80, KEPT, "Copies", "written and", "read back"),
        arrow((134, row), (174, row)),
        arrow((298, row), (338, row)),
        arrow((462, row), (502, row)),
        arrow((756, row), (796, row)),
        arrow((926, row), (966, row)),
        text(319, 100, "admit", 12, colour=SOFT),
        text(777, 100, "seal", 12, colour=SOFT),
        text(947, 100, "replicate", 12, colour=SOFT),
        # What everybody writes to.
        box(
            176,
            262,
            750,
            62,
            PAPER,
            "Catalog and ledger",
            "one transaction per step: state, artifacts, hash-chained entry and news, or nothing",
        ),
        *(arrow((x, 188), (x, 260), dashed=True) for x in (237, 401)),
        arrow((630, 212), (630, 260), dashed=True),
        arrow((862, 188), (862, 260), dashed=True),
        arrow((1029, 188), (1029, 293), (928, 293), dashed=True),
        # What becomes of it.
        box(176, 384, 170, 62, ALARM, "Held", "a person must decide"),
        box(378, 384, 170, 62, PAPER, "Ignored", "under a named rule"),
        box(756, 384, 170, 62, KEPT, "Safe", "paper may be unclipped"),
        arrow((261, 324), (261, 382), colour=EDGES[ALARM]),
        arrow((463, 324), (463, 382)),
        arrow((841, 324), (841, 382)),
        text(652, 411, "seen = archived + held", 12, colour=SOFT),
        text(652, 429, "+ ignored + in work", 12, colour=SOFT),
        # Who looks.
        box(968, 344, 122, 34, PAPER, "/metrics"),
        box(968, 388, 122, 34, PAPER, "archivectl"),
        box(968, 432, 122, 34, PAPER, "MQTT"),
        arrow((926, 309), (1029, 309), (1029, 342)),
        text(
            30,
            490,
            "A scan leaves the hot folder only after its bytes are durable in the spool, "
            "on record, and compared; the spool lets go only after the object is durable.",
            12,
            colour=SOFT,
            anchor="start",
        ),
    ]
    heads = marker("head", LINE) + marker("alarm", EDGES[ALARM])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" font-family="{FONT}" role="img" '
        'aria-label="Scanners write to a hot folder; each file is admitted to the spool, goes '
        "through the stages ocr, classify and sign, is sealed into the store and replicated. "
        'Catalog and ledger record every step; a document ends held, ignored or safe.">\n'
        f"<defs>{heads}</defs>\n" + "\n".join(parts) + "\n</svg>\n"
    )


if __name__ == "__main__":
    PICTURE.write_text(picture())
    sys.stdout.write(f"{PICTURE.name} is drawn\n")
