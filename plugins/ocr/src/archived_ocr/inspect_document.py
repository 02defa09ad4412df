"""Look at a PDF before anything is done to it: what it is, what stands on it, what is dangerous.

Reads only, and decodes no image. Every limit is checked here, before OCRmyPDF or PDFium may
stumble over it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pikepdf
from ocrmypdf._stream_check import check_streams
from pikepdf.jbig2 import get_decoder

from archived.api import Message, Refuse
from archived_ocr import errors, limits
from archived_ocr.stream_pages import page_of_stream

_DEEP = 40
"""Levels of nested page parts; real files have fewer than ten."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What kind of PDF this is. `pdfa` is the level the file claims, unchecked."""

    pages: int
    encrypted: bool = False
    restrictions: tuple[str, ...] = ()
    signatures: int = 0
    """Signed fields and time stamps; 1 when only a trace (/Perms, /DSS) of them was found."""
    xfa: bool = False
    portfolio: bool = False
    javascript: bool = False
    form_fields: int = 0
    filled_fields: int = 0
    tagged: bool = False
    attachments: int = 0
    pdfa: str = ""
    repaired: bool = False
    """The file's structure was damaged and could be rebuilt."""
    empty_signature_fields: bool = False
    layers: bool = False
    """Some of what is on its pages may be switched off (optional content)."""

    @property
    def signed(self) -> bool:
        """There is something an altered copy would break."""
        return self.signatures > 0

    @property
    def altered(self) -> bool:
        """A copy cannot be the same in law: it lacks the signatures or the restrictions."""
        return self.signed or self.encrypted

    def lost_by_copying(self, *, scanned: bool) -> str:
        """Why no PDF/A is made of this document, in words; empty when one is.

        A signed document is copied all the same: its original is kept beside the copy. So is a
        `scanned` one with attachments: scanners attach what nobody asked for.
        """
        if self.portfolio:
            return "it is a portfolio"
        if self.signed:
            return ""
        for yes, what in (
            (self.xfa, "it holds an XFA form"),
            (self.form_fields, "it is a form"),
            (self.attachments and not scanned, "it has attached files"),
        ):
            if yes:
                return what
        return ""


def look(path: Path, max_pages: int, max_megapixels: int, before: int = 0) -> Survey:
    """Survey the PDF at `path`. Raises `Refuse` for what must not be worked on.

    `before`: pages that the document's other files have.
    """
    with pikepdf.open(path) as pdf:
        root = pdf.Root
        limits.check_pages(len(pdf.pages), max_pages, before)
        _check_streams(pdf, max_megapixels)
        form = root.get("/AcroForm")
        form = form if isinstance(form, pikepdf.Dictionary) else None
        xfa = form is not None and "/XFA" in form
        mark = root.get("/MarkInfo")
        if bool(root.get("/NeedsRendering", False)):
            raise Refuse(
                Message(
                    "The document is a dynamic XFA form: only Adobe Reader can show its content"
                ),
                code="dynamic-xfa",
                hint=Message("Print it to PDF from Adobe Reader and drop in the printed file."),
            )
        fields, filled = _fields(form)
        return Survey(
            pages=len(pdf.pages),
            encrypted=pdf.is_encrypted,
            restrictions=_restrictions(pdf),
            signatures=_signatures(path, pdf),
            empty_signature_fields=any(
                k == "/Sig" and "/V" not in f for f, k in _walk_fields(form)
            ),
            xfa=xfa,
            portfolio="/Collection" in root,
            javascript=_scripted(pdf),
            form_fields=fields,
            filled_fields=filled,
            tagged=isinstance(mark, pikepdf.Dictionary) and bool(mark.get("/Marked", False)),
            attachments=_attachments(pdf),
            pdfa=_claim(pdf),
            repaired=any("damaged" in str(w) for w in pdf.get_warnings()),
            layers="/OCProperties" in root,
        )


def _attachments(pdf: pikepdf.Pdf) -> int:
    """Files inside the PDF: by name, pinned to a page, or behind the trailer.

    LibreOffice keeps the document that a PDF was made from in the trailer's `/AdditionalStreams`.
    """
    inside: set[tuple[int, int]] = set()
    for item in pdf.objects:
        if not isinstance(item, pikepdf.Dictionary) or isinstance(item, pikepdf.Stream):
            continue
        file = item.get("/FS", item) if str(item.get("/Subtype")) == "/FileAttachment" else item
        streams = file.get("/EF") if isinstance(file, pikepdf.Dictionary) else None
        if isinstance(streams, pikepdf.Dictionary):
            inside |= {part.objgen for part in streams.as_dict().values()}
    behind = pdf.trailer.get("/AdditionalStreams")
    hybrid = len(behind) // 2 if isinstance(behind, pikepdf.Array) else 0
    return max(len(pdf.attachments), len(inside)) + hybrid


def _check_streams(pdf: pikepdf.Pdf, max_megapixels: int) -> None:
    unpacked = 0
    coded = False
    for item in pdf.objects:
        if not isinstance(item, pikepdf.Stream):
            continue
        coded = coded or _is_jbig2(item)
        if item.get("/Subtype") == "/Image":
            width, height = _number(item, "/Width"), _number(item, "/Height")
            limits.check_pixels(width, height, max_megapixels, "A page")
        elif item.get("/Subtype") == "/Form":
            unpacked += _unpacked(item)
    if coded:
        # Now, and not where an image happens to be unpacked: without the decoder some documents
        # would go through with images that nobody looked at. Raises `pikepdf.DependencyError`.
        get_decoder().check_available()
    for page in pdf.pages:
        contents = page.obj.get("/Contents")
        parts = contents if isinstance(contents, pikepdf.Array) else [contents]
        for part in parts:
            if isinstance(part, pikepdf.Stream):
                unpacked += _unpacked(part)
        if unpacked > limits.CONTENT_BYTES:
            raise errors.bomb("its page descriptions unpack to more than 1 GiB")
    _check_nesting(pdf)


def _is_jbig2(stream: pikepdf.Stream) -> bool:
    filters = stream.get("/Filter")
    names = list(filters) if isinstance(filters, pikepdf.Array) else [filters]
    return "/JBIG2Decode" in map(str, names)


def _unpacked(stream: pikepdf.Stream) -> int:
    # A stream that is only broken is no bomb: readers show what is left of it.
    try:
        return len(stream.read_bytes())
    except pikepdf.PdfError as error:
        refusal = errors.blamed(error)
        if isinstance(refusal, Refuse) and refusal.code == "decompression-bomb":
            raise refusal from error
        return 0


def _check_nesting(pdf: pikepdf.Pdf) -> None:
    def below(resources: Any, level: int, above: frozenset[tuple[int, int]]) -> None:
        if level > _DEEP:
            raise errors.bomb("its page parts are nested too deeply")
        if not isinstance(resources, pikepdf.Dictionary):
            return
        parts = resources.get("/XObject")
        if not isinstance(parts, pikepdf.Dictionary):
            return
        for part in parts.as_dict().values():
            if isinstance(part, pikepdf.Stream) and part.get("/Subtype") == "/Form":
                if part.objgen in above or part.objgen in seen:
                    continue
                seen.add(part.objgen)
                below(part.get("/Resources"), level + 1, above | {part.objgen})

    seen: set[tuple[int, int]] = set()
    for number, page in enumerate(pdf.pages, 1):
        resources = page.obj.get("/Resources")
        below(resources, 0, frozenset())
        if isinstance(resources, pikepdf.Dictionary) and not isinstance(
            resources.get("/XObject", pikepdf.Dictionary()), pikepdf.Dictionary
        ):
            raise errors.damaged(f"the table of the pictures on page {number} is no table")


def _number(item: pikepdf.Object, key: str) -> int:
    try:
        return max(0, int(item.get(key, 0)))
    except (TypeError, ValueError):
        return 0


def _restrictions(pdf: pikepdf.Pdf) -> tuple[str, ...]:
    if not pdf.is_encrypted:
        return ()
    allowed = pdf.allow._asdict()
    return tuple(sorted(name.replace("_", "-") for name, yes in allowed.items() if not yes))


def _walk_fields(form: pikepdf.Dictionary | None) -> Iterator[tuple[pikepdf.Object, str]]:
    """Every field with its kind, /FT being inherited."""
    if form is None:
        return
    roots = form.get("/Fields")
    todo = [(f, "") for f in roots] if isinstance(roots, pikepdf.Array) else []
    seen: set[tuple[int, int]] = set()
    while todo:
        item, kind = todo.pop()
        if not isinstance(item, pikepdf.Dictionary):
            continue
        if item.objgen != (0, 0):
            if item.objgen in seen:
                continue
            seen.add(item.objgen)
        kind = str(item.get("/FT", kind))
        yield item, kind
        kids = item.get("/Kids")
        if isinstance(kids, pikepdf.Array):
            todo.extend((k, kind) for k in kids)


def _fields(form: pikepdf.Dictionary | None) -> tuple[int, int]:
    fields = filled = 0
    for item, kind in _walk_fields(form):
        if kind in ("", "/Sig"):
            continue
        fields += 1
        value = item.get("/V")
        if value is not None and str(value) not in ("", "/Off"):
            filled += 1
    return fields, filled


def _signatures(path: Path, pdf: pikepdf.Pdf) -> int:
    """Signatures by three witnesses: the form's fields, every object there is, and pyHanko.

    No single one is enough: a flag may be missing, a field may be orphaned, a file may be too
    broken for a strict reader.
    """
    form = pdf.Root.get("/AcroForm")
    form = form if isinstance(form, pikepdf.Dictionary) else None
    in_fields = sum(1 for f, kind in _walk_fields(form) if kind == "/Sig" and "/V" in f)
    anywhere = sum(
        1
        for item in pdf.objects
        if isinstance(item, pikepdf.Dictionary)
        and not isinstance(item, pikepdf.Stream)
        and "/ByteRange" in item
        and "/Contents" in item
    )
    trace = 1 if "/Perms" in pdf.Root or "/DSS" in pdf.Root else 0
    return max(in_fields, anywhere, trace, _by_pyhanko(path))


def signatures_in(path: Path) -> int:
    """How many signatures, or traces of one, the PDF at `path` carries."""
    with pikepdf.open(path) as pdf:
        return _signatures(path, pdf)


def broken(path: Path) -> str:
    """The first thing that is structurally wrong with the PDF at `path`; empty when it is sound."""
    try:
        with pikepdf.open(path) as pdf:
            problems = pdf.check_pdf_syntax()
    except pikepdf.PdfError as error:
        problems = [str(error)]
    return problems[0].split("\n")[0][:300] if problems else ""


def undecodable(path: Path) -> str:
    """The first stream of the PDF at `path` that cannot be unpacked whole; empty when all can."""
    with pikepdf.open(path) as pdf:
        try:
            problems = check_streams(pdf)
        except pikepdf.HifiPrintImageNotTranscodableError:
            return ""  # a picture in a spot colour, which nothing here can unpack
        if not problems:
            return ""
        # The number it has is that in our copy.
        named = re.match(r"ERROR: stream (\d+) (\d+) R", problems[0])
        page = page_of_stream(pdf, int(named[1]), int(named[2])) if named else None
    part = "a part of it" if page is None else f"a part of page {page}"
    return re.sub(r"^ERROR: stream \d+ \d+ R", part, problems[0])[:300]


def _by_pyhanko(path: Path) -> int:
    from pyhanko.pdf_utils.reader import PdfFileReader

    try:
        with path.open("rb") as file:
            return len(PdfFileReader(file, strict=False).embedded_signatures)
    except Exception:  # noqa: BLE001 - one of three witnesses; it has no error type of its own
        return 0


def _scripted(pdf: pikepdf.Pdf) -> bool:
    names = pdf.Root.get("/Names")
    if isinstance(names, pikepdf.Dictionary) and "/JavaScript" in names:
        return True
    return any(_is_script(item, 3) for item in pdf.objects)


def _is_script(item: Any, levels: int) -> bool:
    """Whether an object, or one written inside it, is a JavaScript action."""
    if isinstance(item, pikepdf.Array):
        inside: list[Any] = list(item)
    elif isinstance(item, pikepdf.Dictionary | pikepdf.Stream):
        if item.get("/S") == "/JavaScript":
            return True
        own = item.stream_dict if isinstance(item, pikepdf.Stream) else item
        # By value: a key of a damaged file need not be a name that can be asked for.
        inside = list(own.as_dict().values())
    else:
        return False
    written = [
        part
        for part in inside
        if isinstance(part, pikepdf.Dictionary | pikepdf.Array) and part.objgen == (0, 0)
    ]
    return levels > 0 and any(_is_script(part, levels - 1) for part in written)


def _claim(pdf: pikepdf.Pdf) -> str:
    try:
        # Only read: leaving a `with` block would write the metadata anew.
        metadata = pdf.open_metadata(set_pikepdf_as_editor=False, update_docinfo=False)
        part = str(metadata.get("pdfaid:part", "")).strip()
        level = str(metadata.get("pdfaid:conformance", "")).strip().lower()
    except Exception:  # noqa: BLE001 - metadata is free text; what cannot be read claims nothing
        return ""
    return f"{part}{level}" if part in ("1", "2", "3", "4") else ""
