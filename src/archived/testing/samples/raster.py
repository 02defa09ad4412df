"""Marks become a clean page image; then paper and scanner do to it what they do.

Every random choice comes from the seed handed in. Knows nothing of file formats.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from archived.testing.samples.fonts import Family
from archived.testing.samples.layout import RED, Seal, Sheet

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Mode = Literal["colour", "gray", "bilevel"]
PEN = (32, 48, 150)


@dataclass(frozen=True, slots=True)
class Wear:
    """How bad paper and scanner are. `clean`: the scanner whitens the background itself."""

    strength: float = 1.0
    clean: bool = False


def draw(sheet: Sheet, dpi: int, family: Family) -> Image.Image:
    """The sheet as a clean RGB image."""
    scale = dpi / 72
    size = (round(sheet.size[0] * scale), round(sheet.size[1] * scale))
    image = Image.new("RGB", size, (255, 255, 255))
    pen = ImageDraw.Draw(image)
    for rule in sheet.rules:
        width = max(1, round(rule.width * scale))
        ends = (rule.x0 * scale, rule.y0 * scale, rule.x1 * scale, rule.y1 * scale)
        pen.line(ends, fill=rule.colour, width=width)
    for run in sheet.texts:
        font = family.font(run.style, run.size * scale)
        pen.text((run.x * scale, run.y * scale), run.text, font=font, fill=run.colour, anchor="ls")
    if sheet.seal is not None:
        _stamp(image, sheet.seal, scale, family)
    return image


def _stamp(image: Image.Image, seal: Seal, scale: float, family: Family) -> None:
    """Seal and signature, as inks that darken what lies under them."""
    half = round(seal.radius * 2.6 * scale)
    cx, cy = round(seal.x * scale), round(seal.y * scale)
    box = (cx - half, cy - half, cx + half, cy + half)
    patch = image.crop(box)
    rng = random.Random(f"seal:{seal.seed}")
    red = _seal_mask(half, seal, scale, family).rotate(
        rng.uniform(-9, 9), resample=Image.Resampling.BICUBIC
    )
    for mask, colour in ((red, RED), (_pen_mask(half, rng), PEN)):
        ink = Image.composite(
            Image.new("RGB", patch.size, colour),
            Image.new("RGB", patch.size, (255, 255, 255)),
            mask,
        )
        patch = ImageChops.multiply(patch, ink)
    image.paste(patch, box[:2])


def _seal_mask(half: int, seal: Seal, scale: float, family: Family) -> Image.Image:
    size = 2 * half
    mask = Image.new("L", (size, size), 0)
    pen = ImageDraw.Draw(mask)
    radius = seal.radius * scale
    for part, width in ((1.0, 2.0), (0.66, 1.0)):
        r = radius * part
        pen.ellipse(
            (half - r, half - r, half + r, half + r),
            outline=205,
            width=max(2, round(width * scale)),
        )
    points = []
    for index in range(10):
        r = radius * (0.36 if index % 2 == 0 else 0.15)
        angle = index * math.pi / 5
        points.append((half + r * math.sin(angle), half - r * math.cos(angle)))
    pen.polygon(points, fill=205)
    font = family.font("Bold", 8.5 * scale)
    ring = seal.ring
    arc = min(300.0, 11.5 * len(ring))
    for index, letter in enumerate(ring):
        degrees = -arc / 2 + arc * index / max(1, len(ring) - 1)
        tile = Image.new("L", (round(18 * scale),) * 2, 0)
        middle = tile.width / 2
        ImageDraw.Draw(tile).text((middle, middle), letter, font=font, fill=205, anchor="mm")
        tile = tile.rotate(-degrees, resample=Image.Resampling.BICUBIC)
        angle = math.radians(degrees)
        at = (
            round(half + 0.83 * radius * math.sin(angle) - middle),
            round(half - 0.83 * radius * math.cos(angle) - middle),
        )
        mask.paste(
            ImageChops.lighter(mask.crop((*at, at[0] + tile.width, at[1] + tile.height)), tile), at
        )
    return mask


def _pen_mask(half: int, rng: random.Random) -> Image.Image:
    """A few quick loops drifting to the right, thick where the pen is slow."""
    mask = Image.new("L", (2 * half, 2 * half), 0)
    pen = ImageDraw.Draw(mask)
    loops, drift = rng.uniform(2.4, 3.8), rng.uniform(0.95, 1.35)
    tall, lean = rng.uniform(0.20, 0.32), rng.uniform(0.1, 0.35)
    phase = rng.uniform(0, math.tau)
    before: tuple[float, float] | None = None
    for step in range(420):
        t = step / 420
        turn = math.tau * loops * t + phase
        fade = 1 - 0.75 * t
        y = tall * fade * math.sin(turn) - 0.16 * t + 0.06 * math.sin(2.3 * turn)
        x = -0.45 + drift * t + 0.13 * fade * math.cos(turn) - lean * y
        here = (half + half * x, half + half * (y + 0.12))
        if before is not None:
            speed = math.dist(here, before) / half
            pen.line((before, here), fill=225, width=max(2, round(half * (0.022 - 0.5 * speed))))
        before = here
    return mask.filter(ImageFilter.GaussianBlur(max(0.6, half / 350)))


def scan(image: Image.Image, mode: Mode, seed: str, wear: Wear) -> Image.Image:
    """What a scanner would have delivered: RGB, L or 1."""
    import numpy as np

    rng = random.Random(f"scan:{seed}")
    k = wear.strength
    if mode != "colour":
        image = image.convert("L")
    white: tuple[int, ...] | int = (255, 255, 255) if mode == "colour" else 255
    image = image.rotate(
        rng.uniform(-0.8, 0.8) * k, resample=Image.Resampling.BILINEAR, fillcolor=white
    )
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.45, 1.05) * k * image.width / 2480))
    pixels = np.asarray(image, dtype=np.float32)
    if mode != "colour":
        pixels = pixels[:, :, None]
    pixels = _weather(pixels, rng, k)
    if wear.clean:
        pixels = (pixels - 40) * (255 / 170)
    flat = np.clip(pixels, 0, 255).astype(np.uint8)
    if mode == "colour":
        return Image.fromarray(flat)
    gray = Image.fromarray(flat[:, :, 0])
    if mode == "gray":
        return gray
    return gray.point([0] * 152 + [255] * 104).convert("1", dither=Image.Dither.NONE)


def _weather(pixels: NDArray[np.float32], rng: random.Random, k: float) -> NDArray[np.float32]:
    """Paper tint, uneven light, a shadow at one edge, sensor noise, dust."""
    import numpy as np

    dice = np.random.default_rng(rng.randrange(2**32))
    height, width, channels = pixels.shape
    age, bright = rng.random(), rng.uniform(240, 252)
    tint = np.array([bright, bright - 3 - 6 * age, bright - 8 - 24 * age], dtype=np.float32) / 255
    across = np.linspace(-1, 1, width, dtype=np.float32)
    down = np.linspace(-1, 1, height, dtype=np.float32)
    light_x = 1 - 0.03 * k * rng.uniform(-1, 1) * across
    light_y = 1 - 0.03 * k * rng.uniform(-1, 1) * down
    shadow = max(3, round(width * rng.uniform(0.002, 0.008)))
    light_x[:shadow] *= np.linspace(0.72, 1.0, shadow, dtype=np.float32)
    pixels = pixels * (tint if channels == 3 else tint[1])
    pixels *= light_x[None, :, None]
    pixels *= light_y[:, None, None]
    noise = dice.standard_normal((height, width, 1), dtype=np.float32)
    pixels += noise * np.float32(rng.uniform(2.5, 6.0) * k)
    count = round(rng.uniform(120, 700) * k * height * width / 8.7e6)
    ys, xs = dice.integers(4, height - 4, count), dice.integers(4, width - 4, count)
    radii, dark = dice.integers(1, 4, count), dice.uniform(0.25, 0.8, count)
    for y, x, r, d in zip(ys, xs, radii, dark, strict=True):
        pixels[y : y + r, x : x + r] *= np.float32(d)
    return pixels
