"""How well the stage `ocr` accounts for ink: marks planted on real pages, and ordinary backs.

    python -m tools.bench.ink planted FOLDER [--count 300] [--seed 1] [--kinds faded] [--show OUT]
    python -m tools.bench.ink backs FOLDER [--count 200] ...
    python -m tools.bench.ink documents FOLDER
    python -m tools.bench.ink cost FOLDER [--count 74] [--pairs 5]

`FOLDER` holds PDF files of scanned pages. `planted`: on each page a mark is printed that must be
read or stop the document. `backs`: pages without content, which must not stop it; every second one
is the page behind its front, as a scanner of both sides gives them, the others stand alone.
`documents`: the pages as they are, and what a person would be asked about each. `cost`: the CPU
time of the same pages with and without the account of their ink, in turn.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pypdfium2 as pdfium
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from archived_ocr import ink, pagetext
from archived_ocr.colour_layers import STEP
from archived_ocr.coverage import Examined, examine
from archived_ocr.crop_reading import Page
from archived_ocr.ink import Mask
from archived_ocr.reading import Reader
from archived_ocr.show_through import shrunk

DPI = 200
TESSDATA = Path("/usr/share/tesseract-ocr/5/tessdata")
FONTS = [
    f"/usr/share/fonts/truetype/croscore/{name}.ttf"
    for name in ("Tinos-Bold", "Tinos-Regular", "Arimo-Bold", "Tinos-Italic")
]
SAID = ("TUYỆT MẬT", "TỐI MẬT", "MẬT", "HỎA TỐC", "THƯỢNG KHẨN", "ĐÃ THU HỒI", "Không sao chụp")
SIZES = (22, 18, 16, 14, 13, 12)
"""Points. A mark for which a page has no room is printed smaller."""
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Case:
    """One page to be tried. `said` and `box`: what was planted, and where (pixels)."""

    name: str
    image: Image.Image
    kind: str
    said: str = ""
    box: Box = (0, 0, 0, 0)
    behind: tuple[Mask, ...] = ()
    """The marks of the page before it, where that is the other side of its sheet."""


Place = tuple[Path, int]


def scanned_pages(folder: Path) -> list[Place]:
    """The pages of the PDF files in `folder` that are scans."""
    return [
        (path, n)
        for path in sorted(folder.glob("*.pdf"))
        for n, page in enumerate(pagetext.of(path))
        if page.visible < 40 and page.covered > 0.5
    ]


def drawn(place: Place) -> Image.Image:
    """A page in colour."""
    document = pdfium.PdfDocument(place[0])
    try:
        page: Image.Image = document[place[1]].render(scale=DPI / 72).to_pil()
        return page.convert("RGB")
    finally:
        document.close()


def drawn_at_random(
    folder: Path, count: int, rng: random.Random
) -> Iterator[tuple[str, Image.Image]]:
    """`count` pages: every one as often as the others, in an order of chance."""
    places = scanned_pages(folder)
    order: list[Place] = []
    while len(order) < count:
        order += rng.sample(places, len(places))
    for place in order[:count]:
        yield f"{place[0].name}#{place[1] + 1}", drawn(place)


def font(rng: random.Random, points: float) -> ImageFont.FreeTypeFont:
    """A font of `points`."""
    return ImageFont.truetype(rng.choice(FONTS), round(points * DPI / 72))


# -- planted marks ------------------------------------------------------------------------------


def empty_place(
    page: Image.Image, size: tuple[int, int], pad: int, rng: random.Random
) -> tuple[tuple[int, int], bool]:
    """Where a mark of `size` covers no print, or the least; and whether its words, which stand
    `pad` pixels within, cover none. What is printed over other print nobody can read.
    """
    gray = np.asarray(page.convert("L"), np.uint8)
    rows, columns = gray.shape[0] // 8, gray.shape[1] // 8
    darkest = gray[: rows * 8, : columns * 8].reshape(rows, 8, columns, 8).min(axis=(1, 3))
    sums = np.pad(np.cumsum(np.cumsum(darkest < 170, axis=0), axis=1), ((1, 0), (1, 0)))

    def covered(inset: int) -> NDArray[np.int64]:
        """The print below a mark without its outer `inset` blocks, by the mark's place."""
        high, wide = (v // 8 + 2 - 2 * inset for v in (size[1], size[0]))
        lower, upper = sums[high:], sums[:-high]
        under: NDArray[np.int64] = (lower - upper)[:, wide:] - (lower - upper)[:, :-wide]
        ends = rows - size[1] // 8 - 8 + inset, columns - size[0] // 8 - 8 + inset
        return under[inset : ends[0], inset : ends[1]]

    inner = pad // 8 - 1 if pad >= 24 else 0
    cost = (covered(0) + 1000 * covered(inner))[8:, 8:]
    best = np.argwhere(cost == cost.min())
    y, x = best[rng.randrange(len(best))] + 8
    return (int(x) * 8, int(y) * 8), bool(cost.min() < 1000)


def plant(page: Image.Image, kind: str, rng: random.Random) -> tuple[Image.Image, str, Box]:
    """`page` with a mark of `kind` on it."""
    page = page.convert("RGB")
    said, points = rng.choice(SAID), rng.choice(SIZES)
    face = font(rng, points)
    pad = 90 if kind in ("picture", "stamped") else 14
    for size in SIZES[SIZES.index(points) :]:
        face = face.font_variant(size=round(size * DPI / 72))
        left, top, right, bottom = (round(v) for v in face.getbbox(said))
        width, height = right - left, bottom - top
        (x, y), free = empty_place(page, (width + 2 * pad, height + 2 * pad), pad, rng)
        if free:
            break
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
    "faded": _faded,
    "negative": _negative,
    "coloured": _coloured,
    "outlined": _outlined,
    "picture": _picture,
    "stamped": _stamped,
}


def planted(given: argparse.Namespace) -> Iterator[Case]:
    """Real pages, each with one mark."""
    rng = random.Random(given.seed)
    kinds = given.kinds.split(",") if given.kinds else list(PLANTS)
    for n, (name, page) in enumerate(drawn_at_random(given.folder, given.count, rng)):
        kind = kinds[n % len(kinds)]
        image, said, box = plant(back(page, rng) if given.on_backs else page, kind, rng)
        yield Case(name, image, kind, said, box)


# -- ordinary backs -----------------------------------------------------------------------------


def back(front: Image.Image, rng: random.Random) -> Image.Image:
    """The empty back of a sheet: paper, what shines through, holes, shadows, dust."""
    noise = np.random.default_rng(rng.randrange(10**6))
    paper = rng.randrange(225, 256)
    gray = np.full((front.height, front.width), float(paper))
    if rng.random() < 0.7:
        other = front.convert("L").transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        # The two sides of a scanner are off from one another by a little.
        off = rng.randrange(-16, 17), rng.randrange(-16, 17)
        other = other.transform(
            other.size, Image.Transform.AFFINE, (1, 0, off[0], 0, 1, off[1]), fillcolor=255
        )
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
            "left": np.s_[:, :wide],
            "right": np.s_[:, -wide:],
            "top": np.s_[:wide, :],
            "bottom": np.s_[-wide:, :],
        }[side]
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


def backs(given: argparse.Namespace) -> Iterator[Case]:
    """Pages without content."""
    rng = random.Random(given.seed)
    for n, (name, front) in enumerate(drawn_at_random(given.folder, given.count, rng)):
        image = back(front, rng)
        if n % 2:
            yield Case(name, image, "back alone")
        else:
            marks = ink.find(front.convert("L"), DPI)
            yield Case(name, image, "back of its front", behind=(shrunk(marks.any),))


def documents(given: argparse.Namespace) -> Iterator[Case]:
    """The pages as they are, each with the one before it, which may be the front of its sheet."""
    before: tuple[Path, Mask] | None = None
    for path, number in scanned_pages(given.folder):
        image = drawn((path, number))
        behind = (before[1],) if before and before[0] == path and number else ()
        before = path, shrunk(ink.find(image.convert("L"), DPI).any)
        yield Case(f"{path.name}#{number + 1}", image, "as it is", behind=behind)


# -- trying -------------------------------------------------------------------------------------


def tried(reader: Reader, case: Case) -> tuple[Examined, float]:
    """What the stage makes of a page, and the CPU seconds of that."""
    began = time.process_time()
    gray = case.image.convert("L")
    colour = case.image if case.image.mode == "RGB" else None
    marks = ink.find(gray, DPI)
    reading = reader.read(gray, DPI, marks)
    page = Page(gray, DPI, lambda: colour, lambda: colour.reduce(STEP) if colour else None)
    done = examine(reader, page, reading, marks, case.behind)
    return done, time.process_time() - began


def cost(given: argparse.Namespace) -> None:
    """Say what the account of a page's ink costs beside reading it, by pairs in turn."""
    reader = Reader(given.languages, TESSDATA)
    rng = random.Random(given.seed)
    cases = [Case(name, page, "") for name, page in drawn_at_random(given.folder, given.count, rng)]
    without: list[float] = []
    more: list[float] = []
    for case in cases:
        pairs = [(_read_only(reader, case), tried(reader, case)[1]) for _ in range(given.pairs)]
        without.append(statistics.median(p[0] for p in pairs))
        more.append(statistics.median(p[1] - p[0] for p in pairs))
    print(f"{len(cases)} pages, {given.pairs} pairs each, CPU s a page")
    print(f"without: median {statistics.median(without):.3f}, mean {statistics.mean(without):.3f}")
    print(
        f"account: median {statistics.median(more):.3f}, mean {statistics.mean(more):.3f}, "
        f"most {max(more):.3f}"
    )
    print(f"ratio of sums {1 + sum(more) / sum(without):.3f}")


def _read_only(reader: Reader, case: Case) -> float:
    """The CPU seconds of a page that is read, and no more is asked."""
    began = time.process_time()
    gray = case.image.convert("L")
    reader.read(gray, DPI, ink.find(gray, DPI))
    return time.process_time() - began


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
    parser.add_argument("what", choices=("planted", "backs", "documents", "cost"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", default="", help="of planted marks, with commas between")
    parser.add_argument("--on-backs", action="store_true", help="plant on the backs of pages")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--languages", default="vie")
    parser.add_argument(
        "--show", type=Path, help="write the pages that were missed or stopped here"
    )
    given = parser.parse_args()
    if given.what == "cost":
        cost(given)
        return
    make = {"planted": planted, "backs": backs, "documents": documents}[given.what]
    judge(given, make(given))


def judge(given: argparse.Namespace, cases: Iterator[Case]) -> None:
    """Try `cases`, and print what became of them."""
    reader = Reader(given.languages, TESSDATA)
    told: Counter[tuple[str, str]] = Counter()
    spent = 0.0
    number = 0
    for number, case in enumerate(cases, 1):
        done, seconds = tried(reader, case)
        spent += seconds
        result = outcome(case, done)
        told[case.kind, result] += 1
        if number % 20 == 0:
            print(f"{number} pages", flush=True)
        if result == "missed" or (not case.said and result != "passed"):
            left = [(g.kind, g.letters, g.contrast, g.box) for g in done.ink.unread][:4]
            print(number, case.name, case.kind, case.said, result, left, flush=True)
            if given.show:
                given.show.mkdir(exist_ok=True)
                box = case.box if case.said else (0, 0, *case.image.size)
                wide = (max(0, box[0] - 120), max(0, box[1] - 120), box[2] + 120, box[3] + 120)
                case.image.crop(wide).save(given.show / f"{given.what}-{number}.png")
    for (kind, result), times in sorted(told.items()):
        print(f"{kind:18} {result:24} {times}")
    print(f"{number} pages, {spent / max(1, number):.2f} CPU s a page")


if __name__ == "__main__":
    main()
