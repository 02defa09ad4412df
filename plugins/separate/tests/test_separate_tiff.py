"""TIFF pages are moved, not made again: the image data of every page is the very same bytes."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from archived_separate import tiff

COUNTS, PLACES = 279, 273
WAYS = {
    "fax": {"compression": "group4"},
    "lzw": {"compression": "tiff_lzw"},
    "deflate": {"compression": "tiff_adobe_deflate"},
    "raw": {"compression": None},
    "jpeg": {"compression": "jpeg", "quality": 60},
    "big": {"compression": "tiff_lzw", "big_tiff": True},
}


def strips(path: Path, frame: int) -> list[bytes]:
    """The stored image data of one page, as it lies in the file."""
    data = path.read_bytes()
    with Image.open(path) as image:
        image.seek(frame)
        places, counts = image.tag_v2[PLACES], image.tag_v2[COUNTS]  # type: ignore[attr-defined]  # a TIFF's
    return [data[a : a + n] for a, n in zip(places, counts, strict=True)]


def pixels(path: Path, frame: int) -> Any:
    with Image.open(path) as image:
        image.seek(frame)
        return np.asarray(image)


@pytest.fixture(params=WAYS)
def scan(desk: Any, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    pages = [desk.letter(word, 75) for word in ("first", "second", "third")]
    if request.param in ("lzw", "jpeg"):
        pages = [page.convert("RGB") for page in pages]
    return desk.tiff_of(tmp_path / "scan.tif", pages, 75, **WAYS[request.param])


def test_the_image_data_of_every_page_is_the_same_bytes(scan: Path, tmp_path: Path) -> None:
    target = tmp_path / "part.tif"
    tiff.copy([(scan, [2, 0])], target)
    with Image.open(target) as image:
        assert image.n_frames == 2  # type: ignore[attr-defined]  # a TIFF's
        assert image.info["dpi"] == (75, 75)
    for new, old in ((0, 2), (1, 0)):
        assert strips(target, new) == strips(scan, old)
        assert np.array_equal(pixels(target, new), pixels(scan, old))


def test_pages_of_several_files_become_one(desk: Any, tmp_path: Path) -> None:
    files = [desk.tiff_of(tmp_path / f"{n}.tif", [desk.letter(str(n), 75)], 75) for n in range(3)]
    tiff.copy([(file, [0]) for file in files], tmp_path / "all.tif")
    for number, file in enumerate(files):
        assert strips(tmp_path / "all.tif", number) == strips(file, 0)


def big_endian(path: Path, *more: tuple[int, int, int]) -> Path:
    """A small gray page as another kind of machine writes it."""
    data = 122 + 12 * len(more)
    fields = [
        (256, 3, 4 << 16),
        (257, 3, 2 << 16),
        (258, 3, 8 << 16),
        (259, 3, 1 << 16),
        (262, 3, 1 << 16),
        (273, 4, data),
        (277, 3, 1 << 16),
        (278, 3, 2 << 16),
        (279, 4, 8),
        *more,
    ]
    body = struct.pack(">2sHIH", b"MM", 42, 8, len(fields))
    body += b"".join(struct.pack(">HHII", tag, kind, 1, value) for tag, kind, value in fields)
    path.write_bytes(body + struct.pack(">I", 0) + bytes(range(8)))
    return path


def test_both_byte_orders_are_copied_and_never_mixed(desk: Any, tmp_path: Path) -> None:
    other = big_endian(tmp_path / "mm.tif")
    tiff.copy([(other, [0])], tmp_path / "copy.tif")
    assert np.array_equal(pixels(tmp_path / "copy.tif", 0), pixels(other, 0))
    ours = desk.tiff_of(tmp_path / "ii.tif", [desk.letter("x", 75)], 75)
    with pytest.raises(tiff.NotCopyable, match="differently"):
        tiff.copy([(ours, [0]), (other, [0])], tmp_path / "mixed.tif")


def test_what_points_elsewhere_is_not_copied(tmp_path: Path) -> None:
    for tag in (330, 513, 34665):
        odd = big_endian(tmp_path / f"{tag}.tif", (tag, 4, 8))
        with pytest.raises(tiff.NotCopyable):
            tiff.copy([(odd, [0])], tmp_path / f"copy-{tag}.tif")


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_damaged_files_are_refused_in_words_or_copied_and_never_without_end(
    tmp_path: Path, data: st.DataObject
) -> None:
    source, target = tmp_path / "odd.tif", tmp_path / "copy.tif"
    if not source.exists():
        Image.new("L", (64, 64), 7).save(tmp_path / "good.tif", compression="tiff_lzw")
    good = bytearray((tmp_path / "good.tif").read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    source.write_bytes(good[: data.draw(st.integers(0, len(good)))])
    target.unlink(missing_ok=True)
    try:
        tiff.copy([(source, [0])], target)
    except tiff.NotCopyable as why:
        assert str(why)
    assert not target.exists() or target.stat().st_size < 10 * len(good) + 1000
