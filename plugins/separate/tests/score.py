"""How many worn sheets are read: `python plugins/separate/tests/score.py [SHEETS-PER-CELL] [SEED]`.

Prints, per kind of sheet and resolution, how many were read, were suspicious, or went unnoticed,
for three degrees of wear; then the same for sheets whose codes were destroyed on purpose, and the
milliseconds of processor time per page. Nothing here is a test; the tests keep a few of these.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pypdfium2 as pdfium
from PIL import Image, ImageFilter

from archived_separate import page_scan
from archived_separate.options import SeparateOptions
from archived_separate.pages import Place, Rasters, Source
from archived_separate.plan import Rules
from archived_separate.planner import lay_out

WEAR = {
    # blur in pixels at 200 dpi, ink, paper, noise, shading, share of specks, JPEG quality
    "light": (0.3, 20, 245, 3, 2, 0.0002, 75),
    "usual": (0.6, 50, 225, 9, 10, 0.002, 50),
    "heavy": (1.0, 85, 200, 18, 20, 0.006, 30),
}
KINDS = {
    "cover": (
        "--dossier",
        "H49.64.33.2001.160",
        "--sheets",
        "120",
        "--secrecy",
        "mat",
        "--count",
        "3",
    ),
    "long cover": ("--dossier", "Hồ sơ số 05/QĐ-UBND ngày 12.3.2001 (tập 2)"),
    "plain": ("--plain",),
    "plain, patch": ("--plain", "--patch", "T"),
}
CODES = ((64, 15, 62), (205, 149, 46))
"""Top, left and side of the two QR codes of a sheet, in millimetres."""
HARM = ("erased", "blotted", "striped", "spotted", "no corners")


def printed(folder: Path, kind: str, dpi: int) -> Image.Image:
    """The first sheet of this kind."""
    file = folder / f"{kind}.pdf"
    if not file.exists():
        ctl = Path(sys.executable).parent / "archivectl"
        subprocess.run(
            [ctl, "cover-sheet", *KINDS[kind], "-o", file], check=True, capture_output=True
        )
    page = pdfium.PdfDocument(file)[0]
    return page.render(scale=dpi / 72, grayscale=True).to_pil().convert("L")


def scanned(image: Image.Image, rng: np.random.Generator, dpi: int, wear: str) -> Image.Image:
    """Scaled, shifted, skewed up to 3 degrees, turned, blurred, shaded, noisy, striped."""
    blur, ink, paper, noise, shade, specks, quality = WEAR[wear]
    wide, high = image.size
    scale = 1.0 if wear == "light" else rng.uniform(0.93, 1.02)
    page = Image.new("L", image.size, 255)
    small = image.resize((int(wide * scale), int(high * scale)), Image.Resampling.LANCZOS)
    shift = rng.uniform(-0.02, 0.02, 2) * wide if wear != "light" else (0, 0)
    page.paste(
        small, (int(shift[0] + (wide - small.width) / 2), int(shift[1] + (high - small.height) / 2))
    )
    page = page.rotate(rng.uniform(-3, 3), Image.Resampling.BICUBIC, fillcolor=255)
    page = page.filter(ImageFilter.GaussianBlur(blur * dpi / 200))
    pixels = ink + (paper - ink) * np.asarray(page).astype(np.float32) / 255
    pixels += rng.normal(0, noise, pixels.shape) + np.linspace(-shade, shade, wide)[None, :]
    spots = rng.random(pixels.shape) < specks
    pixels[spots] = rng.integers(0, 255, int(spots.sum()))
    if wear != "light":
        line = int(rng.uniform(0.1, 0.9) * wide)
        pixels[:, line : line + max(1, dpi // 150)] = rng.choice([30, 240])
    if wear == "heavy":
        fold = int(rng.uniform(0.1, 0.9) * high)
        pixels[fold : fold + int(dpi * 0.03)] += 70
    page = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    page = page.rotate(int(rng.choice([0, 90, 180, 270])), expand=True)
    if rng.random() < 0.25:
        return page.point(lambda value: 255 if value > 140 else 0)
    file = io.BytesIO()
    page.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("L")


def harmed(image: Image.Image, rng: np.random.Generator, dpi: int, how: str) -> Image.Image:
    """Both QR codes beyond repair, and the bar code gone."""
    pixels, mm = np.asarray(image).copy(), dpi / 25.4
    for place in CODES:
        top, left, side = (int(value * mm) for value in place)
        area = pixels[top : top + side, left : left + side]
        part = int(side * 0.63)
        y, x = rng.integers(0, side - part, 2)
        if how in ("erased", "blotted"):
            area[y : y + part, x : x + part] = 255 if how == "erased" else 0
        elif how == "striped":
            for row in range(0, side, int(4 * mm)):
                area[row : row + int(1.5 * mm)] = 255
        elif how == "spotted":
            cell = int(1.6 * mm)
            few = rng.random((side // cell, side // cell)) < 0.35
            spots = np.kron(few, np.ones((cell, cell))) > 0
            square = area[: spots.shape[0], : spots.shape[1]]
            square[spots] = 255 - square[spots]
        else:
            area[: int(side * 0.3), : int(side * 0.3)] = 255
            area[: int(side * 0.3), -int(side * 0.3) :] = 255
    pixels[int(160 * mm) : int(192 * mm)] = 255
    return Image.fromarray(pixels)


def judged(folder: Path, page: Image.Image, dpi: int, spent: list[float]) -> str:
    """`read`, `suspicious` or `unnoticed`."""
    file = folder / "page.tif"
    page.save(file, dpi=(dpi, dpi))
    begun = time.process_time()
    with Rasters([Source(file, "image/tiff", [0])]) as rasters:
        seen = page_scan.view(rasters, [Place(0, 0)], SeparateOptions(), lambda _: None)  # type: ignore[call-arg]  # defaults
    spent.append(time.process_time() - begun)
    plan = lay_out(seen, Rules())
    if any(suspicion.code == "separator-unread" for suspicion in plan.suspicions):
        return "suspicious"
    return "read" if plan.separators else "unnoticed"


def rows(
    folder: Path, each: int, seed: int, spent: list[float]
) -> Iterator[tuple[str, Counter[str]]]:
    """Name of a row, and what became of its sheets."""
    rng = np.random.default_rng(seed)
    for kind in KINDS:
        for dpi in (150, 200, 300):
            image = printed(folder, kind, dpi)
            found = Counter(
                judged(folder, scanned(image, rng, dpi, wear), dpi, spent)
                for wear in WEAR
                for _ in range(each)
            )
            yield f"{kind}, {dpi} dpi", found
    for how in HARM:
        found = Counter[str]()
        for kind in ("cover", "plain"):
            image = printed(folder, kind, 200)
            for _ in range(each):
                page = scanned(harmed(image, rng, 200, how), rng, 200, "usual")
                found[judged(folder, page, 200, spent)] += 1
        yield f"destroyed: {how}", found


def main() -> None:
    """Print the table."""
    each, seed = (int(word) for word in (*sys.argv[1:], "8", "1")[:2])
    spent: list[float] = []
    print(f"{each} sheets per cell, seed {seed}")
    with tempfile.TemporaryDirectory() as folder:
        for name, found in rows(Path(folder), each, seed, spent):
            told = ", ".join(f"{count} {what}" for what, count in sorted(found.items()))
            print(f"{name:24} {told}", flush=True)
    print(f"{1000 * sum(spent) / len(spent):.0f} ms of processor time per page")


if __name__ == "__main__":
    main()
