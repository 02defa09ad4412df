"""What is damaged: small sound scans, odd files and texts, each with the stages that read its like.

Made on the spot by the testing kit, or taken from a folder that is named.
"""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archived.testing import samples
from archived.testing.samples.bake import Recipe, bake

LARGEST = 256 << 10
"""Bytes; a larger file is no seed: its damage would hardly ever be hit."""

_PAPERS = {
    "pdf-gray": Recipe("tiny", "pdf", ("gray",), dpi=100),
    "pdf-bilevel": Recipe("tiny", "pdf", ("bilevel",), dpi=100),
    "tif-g4": Recipe("tiny", "tif-g4", ("bilevel",), dpi=100),
    "tif-lzw": Recipe("tiny", "tif-lzw", ("gray",), dpi=100),
    "tif-jpeg": Recipe("tiny", "tif-jpeg", ("gray",), dpi=100),
    "jpg": Recipe("tiny", "jpg", ("gray",), dpi=100),
    "png": Recipe("tiny", "png", ("gray",), dpi=100),
}
_STAGES = {"pdf": ("ocr", "sign"), "tif": ("ocr",), "jpg": ("ocr",), "png": ("ocr",)}


@dataclass(frozen=True, slots=True)
class Seed:
    """`kind` stands in the table; `stages` are tried in turn; `extension` without a dot."""

    kind: str
    data: bytes
    extension: str
    stages: tuple[str, ...]


def seeds(scratch: Path, more: Sequence[Path] = ()) -> list[Seed]:
    """Everything there is to damage. `more`: folders with files of one's own."""
    found = [_paper(kind, recipe) for kind, recipe in _PAPERS.items()]
    found += [
        Seed("pdf-plain", _unpacked(found[0].data), "pdf", _STAGES["pdf"]),
        Seed("pdf-packed", _packed(found[0].data), "pdf", _STAGES["pdf"]),
        Seed("text", _text(), "txt", ("classify",)),
    ]
    folder = scratch / "nasty"
    for what, path in samples.nasty(folder).items():
        if not what.startswith("name-"):  # those are sound scans; their names are another matter
            found += _from_file(what, path)
    for path in (p for below in more for p in sorted(below.rglob("*"))):
        found += _from_file(path.suffix.lstrip(".").lower(), path)
    return found


def signing_options(scratch: Path) -> dict[str, Any]:
    """A throw-away key for the stage `sign`, as its options."""
    key = scratch / "key"
    subprocess.run(
        [sys.executable, "-m", "archived_sign.throwaway_key", str(key)],
        check=True,
        capture_output=True,
    )
    return {
        "key": {"file": str(key / "signing.p12")},
        "passphrase": {"file": str(key / "signing.passphrase")},
        "allow_throwaway": True,
    }


def _paper(kind: str, recipe: Recipe) -> Seed:
    data, _ = bake(recipe, f"fuzz:{kind}")
    return Seed(kind, data, recipe.extension, _STAGES[recipe.extension])


def _from_file(kind: str, path: Path) -> list[Seed]:
    stages = _STAGES.get(path.suffix.lstrip(".").lower().replace("tiff", "tif"))
    if stages is None or not path.is_file() or not 0 < path.stat().st_size <= LARGEST:
        return []
    return [Seed(kind, path.read_bytes(), path.suffix.lstrip(".").lower(), stages)]


def _unpacked(data: bytes) -> bytes:
    """The same PDF without compression and without object streams: damage hits what it means."""
    return _saved(data, {"compress_streams": False, "qdf": True})


def _packed(data: bytes) -> bytes:
    """The same PDF with its objects in streams and a cross-reference stream."""
    import pikepdf

    return _saved(data, {"object_stream_mode": pikepdf.ObjectStreamMode.generate})


def _saved(data: bytes, how: Mapping[str, Any]) -> bytes:
    import pikepdf

    out = io.BytesIO()
    with pikepdf.open(io.BytesIO(data)) as pdf:
        pdf.save(out, deterministic_id=True, **how)
    return out.getvalue()


def _text() -> bytes:
    _, truth = bake(Recipe("decision", "tif-g4", ("bilevel",), dpi=100), "fuzz:text")
    return "\f".join(truth["text"]).encode()
