"""The kit's front door: folders full of samples, and samples by name.

Light to import; whatever draws or writes is loaded when it is first needed.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from archived.testing.samples.bake import Recipe


@dataclass(frozen=True, slots=True)
class Sample:
    """One file made. `truth` is what also stands in `truth/NAME.json` beside it."""

    path: Path
    truth: dict[str, Any]
    pages: int
    media_type: str


def make(
    folder: Path, *, seed: int = 1, count: int = 12, pages: int | None = None, dpi: int = 300
) -> list[Sample]:
    """Write `count` different papers below `folder`, with marks of urgency and secrecy on some.

    `pages`: pages of every document; without it a mix of one to four (one where the form holds
    only one). The truth goes to `folder/truth/NAME.json`.
    """
    from archived.testing.samples.bake import Recipe
    from archived.testing.samples.papers import SECRECY, URGENCY, kinds

    rng = random.Random(f"make:{seed}")
    keys = list(kinds())
    forms = ("pdf", "tif-g4", "jpg", "pdf", "tif-jpeg", "born", "pdf", "tif-lzw", "png")
    made = []
    for index in range(count):
        form = forms[index % len(forms)]
        size = pages or rng.choice((1, 1, 1, 2, 2, 3, 4))
        if form in {"jpg", "png"}:
            size = 1
        small = form in {"tif-lzw", "png"}
        recipe = Recipe(
            kind=keys[(index * 5 + seed) % len(keys)],
            form=form,
            modes=_modes(form, rng),
            pages=size,
            dpi=min(dpi, 200) if small else dpi,
            clean=small,
            secrecy=rng.choice(SECRECY) if index % 7 == 5 else None,
            urgency=rng.choice(URGENCY) if index % 5 == 3 else None,
        )
        name = f"{index + 1:04d}-{recipe.kind}.{recipe.extension}"
        made.append(_write(folder, name, recipe, f"{seed}:{index}"))
    return made


def corpus(folder: Path, pages: int = 60, seed: int = 7, dpi: int = 300) -> list[Sample]:
    """The benchmark's mix, exactly `pages` pages: no marks, nothing that ought to be held.

    Lengths from 1 to 10 pages with a mean near three; about 44 % of the pages colour, 19 % gray
    and 37 % bilevel, as JPEG, JPEG-in-PDF, G4-in-PDF and G4 TIFF.
    """
    from archived.testing.samples.bake import Recipe
    from archived.testing.samples.papers import kinds

    keys = [key for key in kinds() if key != "minutes"]
    made = []
    for index, (size, form, mode) in enumerate(_mix(pages)):
        recipe = Recipe(keys[index % len(keys)], form, (mode,), pages=size, dpi=dpi)
        name = f"c{index:03d}-{size:02d}p-{mode}.{recipe.extension}"
        made.append(_write(folder, name, recipe, f"corpus:{seed}:{index}"))
    return made


def tiny(
    folder: Path, *, count: int = 20, seed: int = 1, form: Literal["pdf", "tif-g4", "jpg"] = "pdf"
) -> list[Sample]:
    """`count` different very small one-page scans that are read in a fraction of a second."""
    from archived.testing.samples.bake import Recipe

    mode: Literal["bilevel", "gray"] = "bilevel" if form == "tif-g4" else "gray"
    recipe = Recipe("tiny", form, (mode,), dpi=200 if form == "tif-g4" else 150)
    return [
        _write(folder, f"tiny-{index + 1:04d}.{recipe.extension}", recipe, f"tiny:{seed}:{index}")
        for index in range(count)
    ]


def sample(name: str) -> Path:
    """The path of a sample with a fixed name, such as `decision-g4.tif`. Copy it, never change it.

    Made on first use and cached per user; processes may ask at the same time. Raises `KeyError`
    that lists the names.
    """
    from archived.testing.samples import catalogue

    return catalogue.sample(name)


def truth(name: str) -> dict[str, Any]:
    """The truth about a sample with a fixed name."""
    from archived.testing.samples import catalogue

    return catalogue.truth(name)


def nasty(folder: Path) -> dict[str, Path]:
    """Bad input made by hand: what is wrong with it -> its path below `folder`."""
    from archived.testing.samples.bad_input import write_all

    return write_all(folder)


def _modes(form: str, rng: random.Random) -> tuple[Any, ...]:
    if form == "tif-g4":
        return ("bilevel",)
    if form in {"tif-lzw", "tif-jpeg"}:
        return ("gray",)
    return (rng.choice(("colour", "gray", "colour", "bilevel" if form == "pdf" else "gray")),)


def _mix(pages: int) -> Iterator[tuple[int, str, Any]]:
    """(length, form, mode) of each document until `pages` are used up."""
    lengths = (1, 2, 1, 3, 1, 2, 10, 1, 3, 2, 1, 4, 2, 5, 1, 3, 7, 2, 4, 3)
    shapes = (
        ("pdf", "colour"),
        ("tif-g4", "bilevel"),
        ("jpg", "colour"),
        ("pdf", "gray"),
        ("jpg", "gray"),
        ("pdf", "bilevel"),
        ("pdf", "colour"),
    )
    index = 0
    while pages > 0:
        form, mode = shapes[index % len(shapes)]
        size = min(pages, 1 if form == "jpg" else lengths[index % len(lengths)])
        yield size, form, mode
        pages -= size
        index += 1


def _write(folder: Path, name: str, recipe: Recipe, seed: str) -> Sample:
    from archived.testing.samples.bake import bake

    data, facts = bake(recipe, seed)
    digest = hashlib.sha256(data).hexdigest()
    full = {"file": name, "sha256": digest, "size": len(data), **facts}
    beside = folder / "truth"
    beside.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(data)
    (beside / f"{name}.json").write_text(json.dumps(full, ensure_ascii=False, indent=1) + "\n")
    return Sample(path, full, full["pages"], recipe.media_type)
