"""How well the stage `ocr` accounts for ink: marks planted on real pages, and ordinary backs.

    python tools/ink_bench.py planted FOLDER [--count 300] [--seed 1] [--show OUT]
    python tools/ink_bench.py backs FOLDER [--count 200] ...
    python tools/ink_bench.py documents FOLDER

`FOLDER` holds PDF files of scanned pages. `planted`: on each page a mark is printed that must be
read or stop the document. `backs`: pages without content, which must not stop it. `documents`: the
pages as they are, and what a person would be asked about each. Figures are of the page alone: no
other page of its sheet is known.
"""

from __future__ import annotations

import argparse
import random
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pypdfium2 as pdfium
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from archived_ocr import ink, pagetext
from archived_ocr.colour_layers import STEP
from archived_ocr.coverage import Examined, examine
from archived_ocr.crop_reading import Page
from archived_ocr.reading import Reader

DPI = 200
TESSDATA = Path("/usr/share/tesseract-ocr/5/tessdata")
FONTS = [
    f"/usr/share/fonts/truetype/croscore/{name}.ttf"
    for name in ("Tinos-Bold", "Tinos-Regular", "Arimo-Bold", "Tinos-Italic")
]
SAID = ("TUYỆT MẬT", "TỐI MẬT", "MẬT", "HỎA TỐC", "THƯỢNG KHẨN", "ĐÃ THU HỒI", "Không sao chụp")
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Case:
    """One page to be tried. `said` and `box`: what was planted, and where (pixels)."""

    name: str
    image: Image.Image
    kind: str
    said: str = ""
    box: Box = (0, 0, 0, 0)


def scanned_pages(folder: Path, most: int = 400) -> Iterator[tuple[str, Image.Image]]:
    """The pages of the PDF files in `folder` that are scans, in colour."""
    for path in sorted(folder.glob("*.pdf")):
        found = pagetext.of(path)
        document = pdfium.PdfDocument(path)
        for n, page in enumerate(found):
            if page.visible < 40 and page.covered > 0.5 and most > 0:
                most -= 1
                yield f"{path.name}#{n + 1}", document[n].render(scale=DPI / 72).to_pil()


def font(rng: random.Random, points: float) -> ImageFont.FreeTypeFont:
    """A font of `points`."""
    return ImageFont.truetype(rng.choice(FONTS), round(points * DPI / 72))


# -- planted marks ------------------------------------------------------------------------------


def empty_place(page: Image.Image, size: tuple[int, int], rng: random.Random) -> tuple[int, int]:
    """Where a mark of `size` covers the least print, out of many places."""
    dark = np.asarray(page.convert("L").reduce(8), np.int16) < 170
    best, where = 10**9, (0, 0)
    for _ in range(60):
        x = rng.randrange(60, max(61, page.width - size[0] - 60))
        y = rng.randrange(60, max(61, page.height - size[1] - 60))
        cost = int(dark[y // 8 : (y + size[1]) // 8 + 1, x // 8 : (x + size[0]) // 8 + 1].sum())
        if cost < best:
            best, where = cost, (x, y)
        if not cost:
            break
    return where


def plant(page: Image.Image, kind: str, rng: random.Random) -> tuple[Image.Image, str, Box]:
    """`page` with a mark of `kind` on it."""
    page = page.convert("RGB")
    said, face = rng.choice(SAID), font(rng, rng.choice((12, 13, 14, 16, 18, 22)))
    left, top, right, bottom = (round(v) for v in face.getbbox(said))
    width, height = right - left, bottom - top
    pad = 90 if kind in ("picture", "stamped") else 14
    x, y = empty_place(page, (width + 2 * pad, height + 2 * pad), rng)
    layer = Image.new("RGB", (width + 2 * pad, height + 2 * pad), "white")
    draw = ImageDraw.Draw(layer)
    at = (pad - left, pad - top)
    PLANTS[kind](Mark(layer, draw, at, said, face, rng))
    below = page.crop((x, y, x + layer.width, y + layer.height))
    both = layer if kind in ("negative", "picture") else ImageChops.multiply(below, layer)
    page.paste(both, (x, y))
    return page, said, (x + pad, y + pad, x + pad + width, y + pad + height)


@dataclass(frozen=True)
class Mark:
    """A mark being drawn on its own `layer`."""

    layer: Image.Image
    draw: ImageDraw.ImageDraw
    at: tuple[int, int]
    said: str
    face: ImageFont.FreeTypeFont
    rng: random.Random


def _faded(mark: Mark) -> None:
    mark.draw.text(mark.at, mark.said, font=mark.face, fill=(mark.rng.randrange(150, 226),) * 3)


def _negative(mark: Mark) -> None:
    mark.draw.rectangle((0, 0, *mark.layer.size), fill=(mark.rng.randrange(0, 90),) * 3)
    mark.draw.text(mark.at, mark.said, font=mark.face, fill=(mark.rng.randrange(200, 256),) * 3)


def _coloured(mark: Mark) -> None:
    colours = (
        "#c8102e",
        "#d9534f",
        "#1f4fa3",
        "#2e8b57",
        "#e08a00",
        "#f2b8b5",
        "#9bb8e8",
        "#e6c800",
    )
    mark.draw.text(mark.at, mark.said, font=mark.face, fill=mark.rng.choice(colours))


def _outlined(mark: Mark) -> None:
    width, dark = mark.rng.choice((1, 2)), mark.rng.randrange(0, 120)
    mark.draw.text(
        mark.at,
        mark.said,
        font=mark.face,
        fill="white",
        stroke_width=width,
        stroke_fill=(dark,) * 3,
    )


def _picture(mark: Mark) -> None:
    noise = np.random.default_rng(mark.rng.randrange(10**6)).integers(0, 255, (9, 13, 3), np.uint8)
    photo = Image.fromarray(noise).resize(mark.layer.size, Image.Resampling.BICUBIC)
    photo = Image.blend(photo, Image.new("RGB", mark.layer.size, (120, 130, 140)), 0.55)
    mark.layer.paste(photo)
    fill = mark.rng.choice(("white", "black", "#ffee88"))
    mark.draw.text(mark.at, mark.said, font=mark.face, fill=fill)


def _stamped(mark: Mark) -> None:
    mark.draw.text(mark.at, mark.said, font=mark.face, fill=(20, 20, 25))
    stamp = Image.new("RGB", mark.layer.size, "white")
    pen = ImageDraw.Draw(stamp)
    middle = mark.layer.width // 2, mark.layer.height // 2
    radius = min(middle) - 4
    red = mark.rng.choice(((214, 40, 57), (200, 30, 60), (60, 80, 190)))
    for r in (radius, radius - 10, radius // 2):
        pen.ellipse(
            (middle[0] - r, middle[1] - r, middle[0] + r, middle[1] + r), outline=red, width=4
        )
    for n in range(mark.rng.randrange(6, 14)):
        end = n * 26 + mark.rng.randrange(-30, 30)
        pen.line((0, n * 26, mark.layer.width, end), fill=red, width=5)
    mark.layer.paste(ImageChops.multiply(mark.layer, stamp))


PLANTS: dict[str, Callable[[Mark], None]] = {
    "faded": _faded, "negative": _negative, "coloured": _coloured,
    "outlined": _outlined, "picture": _picture, "stamped": _stamped,
}  # fmt: skip


def planted(folder: Path, count: int, seed: int) -> Iterator[Case]:
    """Real pages, each with one mark."""
    rng = random.Random(seed)
    pages = list(scanned_pages(folder))
    for n in range(count):
        name, page = pages[n % len(pages)]
        kind = list(PLANTS)[n % len(PLANTS)]
        image, said, box = plant(page, kind, rng)
        yield Case(name, image, kind, said, box)


# -- ordinary backs -----------------------------------------------------------------------------


def back(front: Image.Image, rng: random.Random) -> Image.Image:
    """The empty back of a sheet: paper, what shines through, holes, shadows, dust."""
    noise = np.random.default_rng(rng.randrange(10**6))
    paper = rng.randrange(225, 256)
    gray = np.full((front.height, front.width), float(paper))
    if rng.random() < 0.7:
        other = front.convert("L").transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        other = other.filter(ImageFilter.GaussianBlur(rng.uniform(1.5, 4.0)))
        weight = rng.uniform(0.02, 0.16)
        gray -= (255.0 - np.asarray(other, np.float32)) * weight
    gray += noise.normal(0, rng.uniform(0, 3.0), gray.shape)
    image = Image.fromarray(np.clip(gray, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    if rng.random() < 0.5:
        for y in (image.height // 2 - 315, image.height // 2 + 315):
            x, r = rng.randrange(70, 110), rng.randrange(20, 26)
            draw.ellipse((x - r, y - r, x + r, y + r), fill=rng.randrange(0, 160))
    if rng.random() < 0.5:
        wide, dark = rng.randrange(4, 40), rng.randrange(0, 140)
        side = rng.choice(("left", "right", "top", "bottom"))
        shade = np.asarray(image, np.float32).copy()
        ramp = np.linspace(dark - 255, 0, wide)
        edge = {
            "left": np.s_[:, :wide], "right": np.s_[:, -wide:],
            "top": np.s_[:wide, :], "bottom": np.s_[-wide:, :],
        }[side]  # fmt: skip
        if side in ("right", "bottom"):
            ramp = ramp[::-1]
        shade[edge] += ramp if side in ("left", "right") else ramp[:, None]
        image = Image.fromarray(np.clip(shade, 0, 255).astype(np.uint8))
        draw = ImageDraw.Draw(image)
    for _ in range(rng.randrange(0, 60)):
        x, y, r = (
            rng.randrange(image.width),
            rng.randrange(image.height),
            rng.choice((1, 1, 2, 2, 3)),
        )
        draw.ellipse((x, y, x + r, y + r), fill=rng.randrange(0, 200))
    return image


def backs(folder: Path, count: int, seed: int) -> Iterator[Case]:
    """Pages without content."""
    rng = random.Random(seed)
    pages = list(scanned_pages(folder))
    for n in range(count):
        name, front = pages[n % len(pages)]
        yield Case(name, back(front, rng), "back")


def documents(folder: Path, count: int, seed: int) -> Iterator[Case]:  # noqa: ARG001
    """The pages as they are."""
    for name, page in scanned_pages(folder):
        yield Case(name, page, "as it is")


# -- trying -------------------------------------------------------------------------------------


def tried(reader: Reader, case: Case) -> tuple[Examined, float]:
    """What the stage makes of a page, and the CPU seconds of that."""
    began = time.process_time()
    gray = case.image.convert("L")
    colour = case.image.convert("RGB") if case.image.mode == "RGB" else None
    marks = ink.find(gray, DPI)
    reading = reader.read(gray, DPI, marks)
    page = Page(gray, DPI, lambda: colour, lambda: colour.reduce(STEP) if colour else None)
    done = examine(reader, page, reading, marks)
    return done, time.process_time() - began


def folded(text: str) -> str:
    """Text without tones, case and spaces."""
    plain = unicodedata.normalize("NFD", text.upper().replace("Đ", "D"))
    return "".join(c for c in plain if c.isalnum() and not unicodedata.combining(c))


def outcome(case: Case, done: Examined) -> str:
    """`read`, `stopped` or `missed` of a planted mark; `stopped` or `passed` of other pages."""
    if not case.said:
        return f"stopped: {done.ink.reason}" if done.ink.reason else "passed"
    if folded(case.said) in folded(done.reading.text):
        return "read"
    if done.ink.reason in ("no-words", "no-language", "mostly-unread"):
        return "stopped"
    scale = done.marks.scale
    mine = [v * scale for v in case.box]
    for group in done.ink.unread:
        left, top, right, bottom = group.box
        if min(right, mine[2]) > max(left, mine[0]) and min(bottom, mine[3]) > max(top, mine[1]):
            return "stopped"
    return "missed"


def main() -> None:
    """Try a set and say what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=("planted", "backs", "documents"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--languages", default="vie")
    parser.add_argument(
        "--show", type=Path, help="write the pages that were missed or stopped here"
    )
    given = parser.parse_args()
    make = {"planted": planted, "backs": backs, "documents": documents}[given.what]
    reader = Reader(given.languages, TESSDATA)
    told: Counter[tuple[str, str]] = Counter()
    spent = 0.0
    number = 0
    for number, case in enumerate(make(given.folder, given.count, given.seed), 1):
        done, seconds = tried(reader, case)
        spent += seconds
        result = outcome(case, done)
        told[case.kind, result] += 1
        bad = result == "missed" or (not case.said and result != "passed")
        if bad:
            left = [(g.kind, g.letters, g.contrast, g.box) for g in done.ink.unread][:4]
            print(number, case.name, case.kind, case.said, result, left, flush=True)
            if given.show:
                given.show.mkdir(exist_ok=True)
                box = case.box if case.said else (0, 0, *case.image.size)
                wide = (max(0, box[0] - 120), max(0, box[1] - 120), box[2] + 120, box[3] + 120)
                case.image.crop(wide).save(given.show / f"{given.what}-{number}.png")
    for (kind, result), times in sorted(told.items()):
        print(f"{kind:10} {result:24} {times}")
    print(f"{number} pages, {spent / max(1, number):.2f} CPU s a page")


if __name__ == "__main__":
    main()
