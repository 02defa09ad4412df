"""Make the PDF that is worked on when the received one must not be: without signatures or locks.

What was visible stays visible, flattened onto the page. What could be validated is taken out
whole: a broken signature makes a genuine deed look forged. The original is never touched.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import img2pdf
import pikepdf
import pypdfium2 as pdfium
from PIL import Image

from archived.api import Message, Refuse
from archived_ocr import dates, document_features, errors
from archived_ocr.images import LARGEST_POINTS, SMALLEST_POINTS
from archived_ocr.inspect_document import Survey
from archived_ocr.raster import MAX_PIXELS

SIGNED_LABEL = "Reading copy without signatures. The signed original is kept unchanged beside it."
JOINED_LABEL = "Reading copy of several originals, which are kept unchanged beside it."
LOCKED_LABEL = "Reading copy without the owner's restrictions. The original is kept unchanged."

_STAMP_DPI = 300
_TREE_KEYS = {
    "/Type",
    "/Parent",
    "/Kids",
    "/Count",
    "/Resources",
    "/MediaBox",
    "/CropBox",
    "/Rotate",
}
_STREAM_KEYS = {
    "/Length",
    "/Filter",
    "/DecodeParms",
    "/F",
    "/FFilter",
    "/FDecodeParms",
    "/DL",
}
_PAGE_KEYS = {
    "/Type",
    "/Parent",
    "/Resources",
    "/MediaBox",
    "/CropBox",
    "/Rotate",
    "/Contents",
    "/UserUnit",
    "/Annots",
    "/Group",
}


def working_copy(source: Path, target: Path, survey: Survey, *, scanned: bool, zone: str) -> None:
    """Write `source` to `target` without encryption and without anything signed.

    `scanned`: every page is a picture, and only the pages and what leads to them are taken over.
    Of other documents everything is kept that says something. `zone`: that of dates without one.
    """
    with pikepdf.open(source) as pdf:
        _drop_broken_metadata(pdf)
        if survey.signed:
            stamps_to_pictures(source, pdf)
        if survey.signed or survey.empty_signature_fields:
            strip_signatures(pdf)
        for name in list(pdf.attachments):
            del pdf.attachments[name]
        _tidy(pdf)
        if scanned and "/OCProperties" not in pdf.Root:  # layers say what is to be seen
            _drop_page_keys(pdf)
            document_features.only_pages_and_features(pdf)
        dates.with_zone(pdf, zone)
        pdf.save(target, encryption=False)


def page_copy(source: Path, target: Path, survey: Survey) -> None:
    """Write the pages of `source` to `target`, and nothing but its pages, without signatures.

    For a document of several originals: whatever else a file holds cannot be joined.
    """
    with pikepdf.open(source) as pdf:
        _drop_broken_metadata(pdf)
        if survey.signed:
            stamps_to_pictures(source, pdf)
        if survey.signed or survey.empty_signature_fields:
            strip_signatures(pdf)
        _tidy(pdf)
        _only_pages(pdf).save(target)


def pictured(source: Path, target: Path) -> None:
    """Write a PDF whose pages are pictures of the pages of `source`, as they look on the screen."""
    document = pdfium.PdfDocument(source)
    try:
        document.init_forms()
        with pikepdf.Pdf.new() as made:
            for index in range(len(document)):
                with pikepdf.open(io.BytesIO(_photographed(document, index))) as page:
                    made.pages.extend(page.pages)
            made.save(target)
    finally:
        document.close()


def _photographed(document: pdfium.PdfDocument, index: int) -> bytes:
    page = document[index]
    width, height = page.get_size()
    if not SMALLEST_POINTS <= min(width, height) <= max(width, height) <= LARGEST_POINTS:
        raise Refuse(
            Message(
                "Page {index} is {width:.2f} x {height:.2f} inches",
                index=index + 1,
                width=width / 72,
                height=height / 72,
            ),
            code="bad-page-size",
            hint=Message("Archive this file as a document of its own, or make its pages anew."),
        )
    bitmap = page.render(
        scale=min(_STAMP_DPI / 72, (MAX_PIXELS / max(1.0, width * height)) ** 0.5),
        may_draw_forms=True,
    )
    image = bitmap.to_pil().convert("RGB").copy()
    bitmap.close()
    page.close()
    red, green, blue = image.split()
    if red.tobytes() == green.tobytes() == blue.tobytes():
        image = red
    data = io.BytesIO()
    image.save(data, "PNG", compress_level=4)
    made: bytes = img2pdf.convert(
        data.getvalue(),
        layout_fun=img2pdf.get_layout_fun((width, height)),
        engine=img2pdf.Engine.pikepdf,
    )
    return made


def drop_hidden_text(path: Path, pages: frozenset[int]) -> None:
    """Take the text out of `pages` of the PDF at `path`, all of whose text is invisible."""
    with pikepdf.open(path, allow_overwriting_input=True) as pdf:
        for index in sorted(pages):
            page = pdf.pages[index]
            kept: list[Any] = []
            inside = False
            for instruction in pikepdf.parse_content_stream(page):
                operator = str(instruction.operator)
                inside = inside or operator == "BT"
                if not inside:
                    kept.append(instruction)
                inside = inside and operator != "ET"
            page.Contents = pdf.make_stream(pikepdf.unparse_content_stream(kept))
            if "/Font" in page.resources:
                # A copy of its own: other pages may share the dictionary and need the fonts.
                own = pikepdf.Dictionary(dict(page.resources.as_dict()))
                del own["/Font"]
                page.obj["/Resources"] = own
        pdf.save(path)


def _drop_page_keys(pdf: pikepdf.Pdf) -> None:
    for page in pdf.pages:
        for key in list(page.obj.keys()):
            if key not in _PAGE_KEYS:
                del page.obj[key]


def _only_pages(pdf: pikepdf.Pdf) -> pikepdf.Pdf:
    """A new PDF with the pages of `pdf` and its title, and nothing scanners leave beside them."""
    fresh = pikepdf.Pdf.new()
    _drop_page_keys(pdf)
    fresh.pages.extend(pdf.pages)
    for key in ("/Title", "/Author", "/Subject", "/Keywords", "/Creator", "/CreationDate"):
        value = pdf.docinfo.get(key)
        if isinstance(value, pikepdf.String):
            fresh.docinfo[key] = str(value)
    return fresh


def _tidy(pdf: pikepdf.Pdf) -> None:
    """Take out keys that say nothing, but would keep the copy from being PDF/A."""
    settings = pdf.Root.get("/ViewerPreferences")
    if isinstance(settings, pikepdf.Dictionary) and "/Type" in settings:
        del settings["/Type"]
    for page in pdf.pages:
        contents = page.obj.get("/Contents")
        for part in contents if isinstance(contents, pikepdf.Array) else [contents]:
            if isinstance(part, pikepdf.Stream):
                for key in part.stream_dict.keys() - _STREAM_KEYS:
                    del part[key]
    for item in pdf.objects:
        if not isinstance(item, pikepdf.Dictionary) or isinstance(item, pikepdf.Stream):
            continue
        kind = item.get("/Type")
        if kind == "/Pages":
            for key in list(item.keys()):
                if key not in _TREE_KEYS:
                    del item[key]
        elif kind == "/FontDescriptor" and "/CIDSet" in item:
            del item["/CIDSet"]  # PDF/A-2 does not ask for it, only that it be complete
        elif item.get("/Subtype") == "/CIDFontType2" and "/CIDToGIDMap" not in item:
            item["/CIDToGIDMap"] = pikepdf.Name.Identity  # what its absence means


def flattened_copy(source: Path, target: Path) -> None:
    """Write `source` to `target` with what its fields show put on the page as content."""
    with pikepdf.open(source) as pdf:
        _drop_broken_metadata(pdf)
        flatten(pdf)
        pdf.save(target, encryption=False)


def stamps_to_pictures(source: Path, pdf: pikepdf.Pdf) -> None:
    """Paint what fields and stamps show onto the pages of `pdf`, as pictures.

    Not as the drawings they are: the fonts of signature stamps are rarely embedded, and a single
    one of them would keep the whole copy from being PDF/A.
    """
    document: pdfium.PdfDocument | None = None
    try:
        for index, page in enumerate(pdf.pages):
            boxes = [box for box in map(_shown_box, _annotations(page)) if box is not None]
            if not boxes:
                continue
            if document is None:
                document = pdfium.PdfDocument(source)
                document.init_forms()
            _paint(pdf, page, document, index, boxes)
    finally:
        if document is not None:
            document.close()


def _is_hidden(annotation: pikepdf.Dictionary) -> bool:
    try:
        return bool(int(annotation.get("/F", 0)) & 0b100010)  # Hidden, NoView
    except (TypeError, ValueError):
        return False  # flags that are no number hide nothing


def _shown_box(annotation: pikepdf.Dictionary) -> tuple[float, float, float, float] | None:
    """The rectangle of an annotation that shows something of its own on the screen."""
    appearance = annotation.get("/AP")
    if str(annotation.get("/Subtype")) in ("/Link", "/Popup") or _is_hidden(annotation):
        return None
    if not isinstance(appearance, pikepdf.Dictionary) or "/N" not in appearance:
        return None
    try:
        x1, y1, x2, y2 = (float(v) for v in annotation["/Rect"])
    except (KeyError, TypeError, ValueError):
        return None
    box = min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)
    return box if box[2] - box[0] >= 1 and box[3] - box[1] >= 1 else None


def _paint(
    pdf: pikepdf.Pdf,
    page: pikepdf.Page,
    document: pdfium.PdfDocument,
    index: int,
    boxes: list[tuple[float, float, float, float]],
) -> None:
    drawn = document[index]
    drawn.set_rotation(0)
    left, bottom, right, top = drawn.get_cropbox()
    scale = min(_STAMP_DPI / 72, (MAX_PIXELS / max(1.0, (right - left) * (top - bottom))) ** 0.5)
    bitmap = drawn.render(scale=scale)
    whole = bitmap.to_pil().convert("RGB").copy()
    bitmap.close()
    drawn.close()
    commands = [b"Q"]
    for x1, y1, x2, y2 in boxes:
        pixels = (
            max(0, math.floor((x1 - left) * scale)),
            max(0, math.floor((top - y2) * scale)),
            min(whole.width, math.ceil((x2 - left) * scale)),
            min(whole.height, math.ceil((top - y1) * scale)),
        )
        if pixels[2] <= pixels[0] or pixels[3] <= pixels[1]:
            continue
        name = page.add_resource(_picture(pdf, whole.crop(pixels)), pikepdf.Name.XObject)
        place = (
            (pixels[2] - pixels[0]) / scale,
            (pixels[3] - pixels[1]) / scale,
            left + pixels[0] / scale,
            top - pixels[3] / scale,
        )
        commands.append(
            b"q %.4f 0 0 %.4f %.4f %.4f cm %s Do Q" % (*place, str(name).encode("ascii"))
        )
    page.contents_add(b"q", prepend=True)
    page.contents_add(b"\n".join(commands))


def _picture(pdf: pikepdf.Pdf, image: Image.Image) -> pikepdf.Stream:
    return pikepdf.Stream(
        pdf,
        image.tobytes(),
        Type=pikepdf.Name.XObject,
        Subtype=pikepdf.Name.Image,
        Width=image.width,
        Height=image.height,
        ColorSpace=pikepdf.Name.DeviceRGB,
        BitsPerComponent=8,
    )


def _drop_broken_metadata(pdf: pikepdf.Pdf) -> None:
    """Metadata that cannot be read would keep the file from being saved."""
    try:
        metadata = pdf.Root.get("/Metadata")
        if metadata is not None:
            metadata.read_bytes()
    except (pikepdf.PdfError, AttributeError, TypeError):
        del pdf.Root["/Metadata"]


def flatten(pdf: pikepdf.Pdf) -> None:
    """Turn the appearances of fields and stamps into page content; links stay links."""
    form = pdf.Root.get("/AcroForm")
    try:
        if isinstance(form, pikepdf.Dictionary) and form.get("/NeedAppearances", False):
            pdf.generate_appearance_streams()
            form.NeedAppearances = False
        _drop_broken_annotations(pdf)
        # "screen" drops what is hidden on the screen, as a reader would.
        pdf.flatten_annotations("screen")
    except OverflowError as error:
        raise errors.damaged("a number in a field or stamp is far too large") from error


def strip_signatures(pdf: pikepdf.Pdf) -> None:
    """Take out every signature value, its fields, permissions and validation data."""
    root = pdf.Root
    for key in ("/AcroForm", "/Perms", "/DSS", "/Extensions", "/Legal"):
        if key in root:
            del root[key]
    for page in pdf.pages:
        # What was shown is on the page by now; links stay links.
        kept = [a for a in _annotations(page) if a.get("/Subtype") == "/Link"]
        if kept:
            page.obj["/Annots"] = pikepdf.Array(kept)
        elif "/Annots" in page.obj:
            del page.obj["/Annots"]
    for item in list(pdf.objects):
        # Whatever still leads to a signature leads to an empty one.
        if isinstance(item, pikepdf.Dictionary) and not isinstance(item, pikepdf.Stream):
            if "/ByteRange" in item and "/Contents" in item:
                for key in list(item.keys()):
                    del item[key]
            elif item.get("/FT") == "/Sig" and "/V" in item:
                del item["/V"]


def _annotations(page: pikepdf.Page) -> Iterator[pikepdf.Dictionary]:
    annotations = page.obj.get("/Annots")
    if isinstance(annotations, pikepdf.Array):
        for item in annotations:
            if isinstance(item, pikepdf.Dictionary):
                yield item


def _drop_broken_annotations(pdf: pikepdf.Pdf) -> None:
    for page in pdf.pages:
        annotations = page.obj.get("/Annots")
        if annotations is None:
            continue
        kept = list(_annotations(page))
        if not isinstance(annotations, pikepdf.Array) or len(kept) != len(annotations):
            page.obj["/Annots"] = pikepdf.Array(kept)
