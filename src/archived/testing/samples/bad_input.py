"""Bad input, made by hand: what a hot folder meets on its worst days.

Each maker returns bytes (or a name and bytes); nothing is taken from another project's files.
"""

from __future__ import annotations

import io
import os
import unicodedata
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pikepdf

    from archived.testing.samples.raster import Mode

GIB = 1 << 30


def _tiny(form: str, seed: str) -> bytes:
    from archived.testing.samples.bake import Recipe, bake

    mode: Mode = "bilevel" if form == "tif-g4" else "gray"
    data, _ = bake(Recipe("tiny", form, (mode,), dpi=150), f"nasty:{seed}")
    return data


def _half(form: str) -> bytes:
    data = _tiny(form, form)
    return data[: len(data) // 2]


def _raw_pdf(*objects: bytes, root: int = 1) -> bytes:
    """A PDF whose objects 1, 2, ... have these bodies, with a right cross-reference table."""
    out = io.BytesIO(b"")
    out.write(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
    places = []
    for number, body in enumerate(objects, start=1):
        places.append(out.tell())
        out.write(b"%d 0 obj\n%s\nendobj\n" % (number, body))
    start = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    for place in places:
        out.write(b"%010d 00000 n \n" % place)
    trailer = (len(objects) + 1, root, start)
    out.write(b"trailer\n<< /Size %d /Root %d 0 R >>\nstartxref\n%d\n%%%%EOF\n" % trailer)
    return out.getvalue()


_CATALOG = b"<< /Type /Catalog /Pages 2 0 R >>"
_ONE_PAGE = b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>"


def _page(extra: bytes) -> bytes:
    return b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] %s >>" % extra


def _stream(keys: bytes, data: bytes) -> bytes:
    return b"<< /Length %d %s >>\nstream\n%s\nendstream" % (len(data), keys, data)


def zero_pages() -> bytes:
    """A sound PDF without a page."""
    return _raw_pdf(_CATALOG, b"<< /Type /Pages /Kids [] /Count 0 >>")


def deep_nesting(depth: int = 60_000) -> bytes:
    """A page whose dictionary holds an array nested deeper than any parser's stack."""
    page = _page(b"/Deep " + b"[" * depth + b"]" * depth)
    return _raw_pdf(_CATALOG, _ONE_PAGE, page)


def deep_page_tree(depth: int = 3_000) -> bytes:
    """One page at the end of a chain of page tree nodes."""
    nodes = [
        b"<< /Type /Pages /Kids [%d 0 R] /Count 1 %s >>"
        % (number + 1, b"/Parent %d 0 R" % (number - 1) if number > 2 else b"")
        for number in range(2, depth + 2)
    ]
    last = depth + 1
    leaf = b"<< /Type /Page /Parent %d 0 R /MediaBox [0 0 595 842] >>" % last
    return _raw_pdf(_CATALOG, *nodes, leaf)


def page_tree_loop() -> bytes:
    """A page tree that contains itself."""
    return _raw_pdf(_CATALOG, b"<< /Type /Pages /Kids [2 0 R] /Count 1 >>")


def flate_bomb(size: int = GIB) -> bytes:
    """A page whose content, deflated twice, is a few kilobytes here and `size` bytes unpacked."""
    block = b" " * (1 << 20)
    packer = zlib.compressobj(9, wbits=-15)
    first = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    check = 1
    for _ in range(size // len(block)):
        check = zlib.adler32(block, check)
    inner = b"\x78\xda" + first * (size // len(block)) + b"\x03\x00" + check.to_bytes(4, "big")
    content = _stream(b"/Filter [/FlateDecode /FlateDecode]", zlib.compress(inner, 9))
    return _raw_pdf(_CATALOG, _ONE_PAGE, _page(b"/Contents 4 0 R"), content)


def huge_image(side: int = 90_000) -> bytes:
    """A page that shows a bilevel image of `side` by `side` pixels, all white."""
    rows = b"\xff" * (side // 8 + 1) + b"\x00\x10\x01\x00\x10\x01"  # one bit says: as the row above
    image = _stream(
        b"/Type /XObject /Subtype /Image /Width %d /Height %d /BitsPerComponent 1 "
        b"/ColorSpace /DeviceGray /Filter /CCITTFaxDecode "
        b"/DecodeParms << /K -1 /Columns %d /Rows %d >>" % (side, side, side, side),
        rows,
    )
    page = _page(b"/Contents 4 0 R /Resources << /XObject << /Im0 5 0 R >> >>")
    show = _stream(b"", b"q 595 0 0 842 0 0 cm /Im0 Do Q")
    return _raw_pdf(_CATALOG, _ONE_PAGE, page, show, image)


def _picture(size: tuple[int, int], form: str) -> bytes:
    from PIL import Image

    from archived.testing.samples.containers import pack

    return pack([Image.new("1", size, 1)], form, 300)


def _changed(change: Callable[[pikepdf.Pdf], None]) -> bytes:
    import pikepdf

    from archived.testing.samples.containers import save

    with pikepdf.open(io.BytesIO(_tiny("pdf", change.__name__))) as pdf:
        change(pdf)
        return save(pdf)


def _encrypted(user: str, owner: str) -> bytes:
    import pikepdf

    out = io.BytesIO()
    with pikepdf.open(io.BytesIO(_tiny("pdf", "encrypted" + user))) as pdf:
        pdf.save(out, encryption=pikepdf.Encryption(user=user, owner=owner, R=6))
    return out.getvalue()


def _script(pdf: pikepdf.Pdf) -> None:
    from pikepdf import Dictionary, Name, String

    pdf.Root.OpenAction = Dictionary(S=Name.JavaScript, JS=String("app.alert('xin chao');"))


def _form(pdf: pikepdf.Pdf) -> None:
    from pikepdf import Array, Dictionary, Name, String

    field = pdf.make_indirect(
        Dictionary(
            Type=Name.Annot,
            Subtype=Name.Widget,
            FT=Name.Tx,
            T=String("ho_ten"),
            V=String("Nguyễn Kỳ Ẩn"),
            Rect=Array([20, 20, 120, 40]),
            P=pdf.pages[0].obj,
            DA=String("/Helv 10 Tf 0 g"),
        )
    )
    pdf.pages[0].Annots = Array([field])
    pdf.Root.AcroForm = Dictionary(Fields=Array([field]), NeedAppearances=True)


def _attachment(pdf: pikepdf.Pdf) -> None:
    pdf.attachments["phụ lục.csv"] = b"stt,ten\n1,So ho khau\n"


def _portfolio(pdf: pikepdf.Pdf) -> None:
    from pikepdf import Dictionary, Name

    pdf.attachments["một.pdf"] = _tiny("pdf", "portfolio-1")
    pdf.attachments["hai.pdf"] = _tiny("pdf", "portfolio-2")
    pdf.Root.Collection = Dictionary(Type=Name.Collection, View=Name.D)


def _contents() -> dict[str, tuple[str, Callable[[], bytes]]]:
    """What is wrong -> (file name, maker)."""
    return {
        "zero-bytes": ("zero.pdf", lambda: b""),
        "truncated-pdf": ("truncated.pdf", lambda: _half("pdf")),
        "truncated-tiff": ("truncated.tif", lambda: _half("tif-g4")),
        "truncated-jpeg": ("truncated.jpg", lambda: _half("jpg")),
        "truncated-png": ("truncated.png", lambda: _half("png")),
        "jpeg-named-pdf": ("picture.pdf", lambda: _tiny("jpg", "named-pdf")),
        "pdf-named-tif": ("paper.tif", lambda: _tiny("pdf", "named-tif")),
        "text-named-pdf": ("note.pdf", "Đây không phải là tệp PDF.\n".encode),
        "noise-named-jpg": ("noise.jpg", lambda: bytes(range(256)) * 40),
        "user-password": ("locked.pdf", lambda: _encrypted("mở ra", "chủ")),
        "owner-password": ("restricted.pdf", lambda: _encrypted("", "chủ")),
        "one-pixel": ("pixel.png", lambda: _picture((1, 1), "png")),
        "very-wide": ("wide.tif", lambda: _picture((30_000, 1_200), "tif-g4")),
        "zero-pages": ("no-pages.pdf", zero_pages),
        "deep-nesting": ("deep.pdf", deep_nesting),
        "deep-page-tree": ("deep-tree.pdf", deep_page_tree),
        "page-tree-loop": ("loop.pdf", page_tree_loop),
        "flate-bomb": ("bomb.pdf", flate_bomb),
        "huge-image": ("huge.pdf", huge_image),
        "javascript": ("script.pdf", lambda: _changed(_script)),
        "form": ("form.pdf", lambda: _changed(_form)),
        "attachment": ("attachment.pdf", lambda: _changed(_attachment)),
        "portfolio": ("portfolio.pdf", lambda: _changed(_portfolio)),
    }


def _names() -> dict[str, bytes]:
    """What is odd -> a file name as bytes; the file itself is a sound scan."""
    long = ("Quyết định về việc " * 20).encode()[:251].decode(errors="ignore").encode()
    return {
        "name-nfd": unicodedata.normalize("NFD", "Quyết định số 12 - Tỉnh ủy.pdf").encode(),
        "name-invalid-utf8": b"T\xea-n b\x97ng TCVN3 \xff.pdf",
        "name-255-bytes": long + b"x" * (251 - len(long)) + b".pdf",
        "name-newline": b"hai\nd\xc3\xb2ng.pdf",
        "name-leading-dash": b"--force.pdf",
        "name-markup": b"<b>&amp; 'nh\xc3\xa1y' \"k\xc3\xa9p\".pdf",
    }


def write_all(folder: Path) -> dict[str, Path]:
    """Write every one of them below `folder`: what is wrong with it -> path.

    Raises `OSError` where the file system refuses one of the names.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made: dict[str, Path] = {}
    for case, (name, maker) in _contents().items():
        made[case] = folder / name
        made[case].write_bytes(maker())
    for case, raw in _names().items():
        made[case] = folder / os.fsdecode(raw)
        made[case].write_bytes(_tiny("pdf", case))
    return made
