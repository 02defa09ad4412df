"""A look tells the type by the bytes and never calls an unfinished file whole."""

from __future__ import annotations

import io
import random
import struct
import zipfile

import img2pdf
import pikepdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from archived.ingest.filetypes import Completeness, Inspection, broken_promise, inspect


class Counted:
    """Bytes as a `Reader`, counting what is read."""

    def __init__(self, data: bytes, size: int | None = None) -> None:
        self._data, self.size = data, len(data) if size is None else size
        self.read = self.reads = 0

    def at(self, offset: int, length: int) -> bytes:
        assert offset >= 0
        assert length >= 0
        piece = self._data[offset : offset + length]
        if self.size > len(self._data):
            piece += bytes(max(0, min(length, self.size - offset) - len(piece)))
        self.read += len(piece)
        self.reads += 1
        return piece


def see(data: bytes) -> Inspection:
    return inspect(Counted(data))


def page(number: int = 0, mode: str = "L") -> Image.Image:
    image = Image.new(mode, (40, 60), 1 if mode == "1" else "white")
    ImageDraw.Draw(image).text((2, 2 + number), f"{number}", fill=0)
    return image


def saved(form: str, *, mode: str = "L", pages: int = 1, **options: object) -> bytes:
    out = io.BytesIO()
    first, *others = [page(n, mode) for n in range(pages)]
    more = {"save_all": True, "append_images": others} if others else {}
    first.save(out, form, **more, **options)
    return out.getvalue()


def with_preview() -> bytes:
    """A JPEG whose headers hold a whole little JPEG, as cameras and some scanners write it."""
    plain = saved("jpeg")
    app1 = b"Exif\0\0" + saved("jpeg", quality=20)
    return plain[:2] + b"\xff\xe1" + struct.pack(">H", len(app1) + 2) + app1 + plain[2:]


def tiled(*, big: bool) -> bytes:
    """Two tiles, their lists of offsets outside the entry, the directory in front of the data."""
    tile = bytes(range(256))
    number, entry, head = ("Q", "<HHQQ", 16) if big else ("I", "<HHII", 8)
    width = struct.calcsize("<" + number)
    count = 5
    lists = head + (8 if big else 2) + count * (20 if big else 12) + width
    data = lists + 4 * width
    entries = [
        (256, 4, 1, 32),
        (257, 4, 1, 16),
        (258, 3, 1, 8),
        (324, 16 if big else 4, 2, lists),
        (325, 16 if big else 4, 2, lists + 2 * width),
    ]
    start = b"II+\0\x08\0\0\0" + struct.pack("<Q", 16) if big else b"II*\0" + struct.pack("<I", 8)
    body = struct.pack("<Q" if big else "<H", count)
    body += b"".join(struct.pack(entry, *e) for e in entries) + bytes(width)
    body += struct.pack(f"<4{number}", data, data + 256, 256, 256)
    return start + body + tile * 2


def pdf(**options: object) -> bytes:
    made = io.BytesIO()
    with pikepdf.open(io.BytesIO(img2pdf.convert(saved("png", mode="RGB")))) as file:
        file.save(made, **options)
    return made.getvalue()


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("a.txt", "một")
        file.comment = b"a comment at the end"
    return out.getvalue()


FILES = {
    "tiff, group 4": ("image/tiff", saved("tiff", mode="1", compression="group4")),
    "tiff, three pages": ("image/tiff", saved("tiff", pages=3, compression="tiff_lzw")),
    "tiff, raw": ("image/tiff", saved("tiff", mode="RGB")),
    "tiff, BigTIFF": ("image/tiff", saved("tiff", pages=2, big_tiff=True)),
    "tiff, tiles": ("image/tiff", tiled(big=False)),
    "tiff, tiles in BigTIFF": ("image/tiff", tiled(big=True)),
    "jpeg": ("image/jpeg", saved("jpeg")),
    "jpeg, progressive": ("image/jpeg", saved("jpeg", mode="RGB", progressive=True)),
    "jpeg, with a preview": ("image/jpeg", with_preview()),
    "png": ("image/png", saved("png")),
    "gif": ("image/gif", saved("gif")),
    "gif, three pages": ("image/gif", saved("gif", pages=3)),
    "pdf by img2pdf": ("application/pdf", img2pdf.convert(saved("jpeg"))),
    "pdf with object streams": (
        "application/pdf",
        pdf(object_stream_mode=pikepdf.ObjectStreamMode.generate),
    ),
    "pdf, linearized": ("application/pdf", pdf(linearize=True)),
    "pdf, encrypted": ("application/pdf", pdf(encryption=pikepdf.Encryption(user="a", owner="b"))),
    "zip": ("application/zip", zipped()),
}


@pytest.mark.parametrize("name", FILES)
def test_the_type_is_told_by_the_bytes_and_a_whole_file_is_whole(name):
    media_type, data = FILES[name]
    found = see(data)
    assert (found.media_type, found.whole, found.why) == (media_type, Completeness.YES, "")


@pytest.mark.parametrize("name", FILES)
def test_no_prefix_of_a_file_is_called_whole(name):
    _, data = FILES[name]
    harmless = len(data.rstrip(b"\0\r\n"))  # a line end, or padding that nothing points to
    assert len(data) - harmless < 32
    assert [n for n in range(harmless) if see(data[:n]).whole is not Completeness.NO] == []


@pytest.mark.parametrize("name", FILES)
def test_reserved_space_after_a_prefix_does_not_make_it_whole(name):
    """Windows sets the full size first; what has not arrived reads as zeros."""
    media_type, data = FILES[name]
    ends = range(16, len(data) - 40, 7)
    if media_type == "image/tiff":
        # With the directory in front, zeros cannot be told from an image that is black there.
        directory = (
            struct.unpack("<Q", data[8:16])[0]
            if data[2] == 43
            else struct.unpack("<I", data[4:8])[0]
        )
        ends = range(16, min(directory, len(data) - 40), 7)
    for n in ends:
        found = see(data[:n] + bytes(len(data) - n))
        assert found.whole is Completeness.NO, n


def test_junk_after_a_pdf_does_not_make_it_unfinished():
    data = FILES["pdf by img2pdf"][1]
    for junk in (b"\r\n", b"\0" * 60_000, b"<html>printer says hello</html>", b"\n" * 3000):
        assert see(data + junk).whole is Completeness.YES
    assert see(data + b"x" * 5000).whole is Completeness.NO


def test_a_pdf_behind_lines_of_the_printer_is_a_pdf():
    data = FILES["pdf by img2pdf"][1]
    assert see(b"\x1b%-12345X@PJL JOB\r\n" + data).media_type == "application/pdf"


def test_words_about_pdf_inside_another_format_do_not_make_it_one():
    out = io.BytesIO()
    page().save(out, "jpeg", comment=b"made from %PDF-1.4")
    assert see(out.getvalue()).media_type == "image/jpeg"


def test_a_pdf_cut_behind_an_earlier_revision_passes_for_whole():
    """What a format truly cannot tell: that prefix *is* a PDF. Quiet time and writers must."""
    first = FILES["pdf by img2pdf"][1]
    second = first + b"9 0 obj\n<<>>\nendobj\nxref\n0 0\ntrailer\n<<>>\nstartxref\n9\n%%EOF\n"
    assert see(second).whole is Completeness.YES
    assert see(second[: len(first)]).whole is Completeness.YES


def test_a_tiff_without_a_page_and_one_with_an_empty_directory_are_unfinished():
    assert see(b"II*\0\0\0\0\0").whole is Completeness.NO
    assert "not written yet" in see(b"MM\0*\0\0\0\x08" + bytes(100)).why


def test_damage_that_is_no_truncation_is_not_waited_for():
    loop = b"II*\0\x08\0\0\0" + struct.pack("<H", 1) + struct.pack("<HHII", 256, 4, 1, 9)
    assert see(loop + struct.pack("<I", 8)).whole is Completeness.UNKNOWN
    noise = bytearray(FILES["gif"][1])
    noise[13 + (3 << ((noise[10] & 7) + 1))] = 0x99  # where a block must begin
    assert see(bytes(noise)).whole is Completeness.UNKNOWN


@pytest.mark.parametrize(
    ("data", "media_type", "whole"),
    [
        (b"", "application/x-empty", Completeness.NO),
        (bytes(2000), "application/octet-stream", Completeness.NO),
        (b"\0", "application/octet-stream", Completeness.NO),
        ("Kính gửi".encode(), "text/plain", Completeness.UNKNOWN),
        (("ữ" * 1000).encode()[1:-1], "application/octet-stream", Completeness.UNKNOWN),
        (("a" + "ữ" * 1000).encode(), "text/plain", Completeness.UNKNOWN),
        ("ữ".encode()[:2], "application/octet-stream", Completeness.UNKNOWN),
        (b"\x7fELF\x02\x01\x01\0\0", "application/octet-stream", Completeness.UNKNOWN),
        (b"%PDF", "application/octet-stream", Completeness.NO),
        (b"\xff", "application/octet-stream", Completeness.NO),
    ],
)
def test_what_has_no_end_mark_is_not_established(data, media_type, whole):
    found = see(data)
    assert (found.media_type, found.whole) == (media_type, whole)


def test_a_look_at_a_made_up_tiff_ends_soon():
    """Directories that overlap and chain, each naming lists as long as it may."""
    count, length = 4000, 4 << 20
    entry = struct.pack("<HHII", 273, 4, 190_000, 64)
    one = struct.pack("<H", count) + entry * count
    data = bytearray(length)
    data[:8] = b"II*\0\x08\0\0\0"
    place = 8
    while place + 2 * len(one) < length:
        data[place : place + len(one)] = one
        following = place + len(one) + 4
        data[place + len(one) : following] = struct.pack("<I", following)
        place = following
    chain = Counted(bytes(data))
    inspect(chain)
    assert chain.read < 20 << 20
    assert chain.reads < 200_000


def test_a_sparse_giant_is_looked_at_without_being_read():
    for begin in (
        b"%PDF-1.7\n",
        b"GIF89a",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0\0\x10JFIF",
        b"PK\3\4",
    ):
        giant = Counted(begin, size=1 << 45)
        inspect(giant)
        assert giant.read < 1 << 20


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(FILES)), st.randoms(use_true_random=False))
def test_no_mutation_of_a_file_upsets_the_look(name: str, chance: random.Random):
    data = bytearray(FILES[name][1])
    for _ in range(chance.randint(1, 12)):
        place = chance.randrange(len(data))
        match chance.randrange(4):
            case 0:
                data[place] = chance.choice((0, 1, 0x7F, 0xFF, chance.randrange(256)))
            case 1:
                data[place : place + 8] = b"\xff" * 8
            case 2:
                del data[place : place + chance.randrange(1, 40)]
            case _:
                data[place:place] = chance.randbytes(chance.randrange(1, 40))
        data = data or bytearray(b"\1")
    reader = Counted(bytes(data))
    assert isinstance(inspect(reader), Inspection)
    assert reader.read < 20 << 20


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([b"", b"II*\0", b"MM\0+\0\x08\0\0", b"GIF89a", b"\xff\xd8\xff", b"PK\3\4"]),
    st.binary(max_size=400),
)
def test_no_bytes_upset_the_look(mark: bytes, noise: bytes):
    found = see(mark + noise)
    assert found.extension.isalnum()
    assert found.media_type.count("/") == 1


@pytest.mark.parametrize(
    ("name", "media_type", "promise"),
    [
        (b"a/page.PDF", "text/plain", "the name promises a PDF, the content contains text/plain"),
        (b"page.tiff", "application/octet-stream", "a TIFF, the content cannot be recognised"),
        (b"page.jpg", "image/gif", "a JPEG, the content contains image/gif"),
        (b"page.jpg", "image/png", ""),
        (b"page.pdf", "image/tiff", ""),
        (b"letter.eml", "text/plain", ""),
        (b"page", "application/octet-stream", ""),
        (b"\xff.\xff", "text/plain", ""),
    ],
)
def test_a_name_that_promises_a_scan_is_held_to_it(
    name: bytes, media_type: str, promise: str
) -> None:
    said = broken_promise(name, Inspection(media_type, "bin", Completeness.UNKNOWN))

    assert promise in said
    assert bool(said) == bool(promise)
