"""Cuts: the pages of a segment become a file of their own, and not a bit of an image changes.

A whole original is copied byte for byte; PDF pages and TIFF pages are moved as they are; images of
several kinds are placed on PDF pages, JPEG bytes unchanged and everything else without loss.
"""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import img2pdf
import pikepdf
from PIL import Image

from archived.api import Message, Refuse
from archived_separate import errors, tiff
from archived_separate.pages import FORMATS, Place, Source, believable

SUFFIXES = {
    "application/pdf": ".pdf",
    "image/tiff": ".tif",
    "image/jpeg": ".jpg",
    "image/png": ".png",
}
_LOSSLESS = {"1", "L", "RGB", "P", "I;16", "I;16B", "CMYK"}


@dataclass(frozen=True, slots=True)
class Cut:
    """A file that was cut. `how`: in words, for the record."""

    path: Path
    media_type: str
    how: str


class Cutter:
    """The open originals of one document."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self._pdfs: dict[int, pikepdf.Pdf] = {}

    def __enter__(self) -> Cutter:
        return self

    def __exit__(self, *_: object) -> None:
        for pdf in self._pdfs.values():
            pdf.close()

    def media_type(self, places: Sequence[Place]) -> str:
        """What kind of file these pages become, as far as can be told before cutting."""
        kinds = {self._sources[place.source].media_type for place in places}
        if len(kinds) == 1 and (kinds == {"image/tiff"} or self._whole(places) is not None):
            return kinds.pop()
        return "application/pdf"

    def cut(self, places: Sequence[Place], new: Callable[[str], Path]) -> Cut:
        """Write the pages to `new(media_type)`."""
        whole = self._whole(places)
        kind = self.media_type(places)
        if whole is not None:
            path = new(kind)
            shutil.copyfile(whole.path, path)
            return Cut(path, kind, "copied byte for byte")
        if kind == "image/tiff":
            path = new(kind)
            try:
                tiff.copy(self._frames(places), path)
            except tiff.NotCopyable as why:
                path.unlink(missing_ok=True)
                how = f"placed on PDF pages without loss ({why})"
                return Cut(self._on_pages(places, new("application/pdf")), "application/pdf", how)
            return Cut(path, kind, "pages moved, image data unchanged")
        images = any(not self._sources[p.source].is_pdf for p in places)
        how = "placed on PDF pages without loss" if images else "pages moved, streams unchanged"
        return Cut(self._on_pages(places, new("application/pdf")), "application/pdf", how)

    def _frames(self, places: Sequence[Place]) -> list[tuple[Path, list[int]]]:
        grouped = groupby(places, key=lambda place: place.source)
        return [(self._sources[n].path, [place.index for place in some]) for n, some in grouped]

    def _whole(self, places: Sequence[Place]) -> Source | None:
        """The original that these pages are all of, if they are."""
        source = self._sources[places[0].source]
        every = [Place(places[0].source, index) for index in source.frames]
        return source if list(places) == every else None

    def _on_pages(self, places: Sequence[Place], target: Path) -> Path:
        with pikepdf.Pdf.new() as part:
            for number, some in groupby(places, key=lambda p: p.source):
                source = self._sources[number]
                if source.is_pdf:
                    pdf = self._pdf(number)
                    part.pages.extend(pdf.pages[place.index] for place in some)
                    _keep_layers(pdf, part)
                else:
                    for place in some:
                        with pikepdf.open(io.BytesIO(_placed(source, place.index))) as page:
                            part.pages.extend(page.pages)
            # Scanners may list every image of the file in one dictionary that all pages share.
            part.remove_unreferenced_resources()
            versions = [pdf.pdf_version for pdf in self._pdfs.values()]
            part.save(
                target,
                min_version=max(versions, default="1.4"),
                compress_streams=False,
                stream_decode_level=pikepdf.StreamDecodeLevel.none,
                object_stream_mode=pikepdf.ObjectStreamMode.generate,
                deterministic_id=True,
            )
        self._check(places, target)
        return target

    def _pdf(self, number: int) -> pikepdf.Pdf:
        if number not in self._pdfs:
            self._pdfs[number] = pikepdf.open(self._sources[number].path)
        return self._pdfs[number]

    def _check(self, places: Sequence[Place], target: Path) -> None:
        """Every page that was moved has the content and images it had."""
        with pikepdf.open(target) as part:
            if len(part.pages) != len(places):
                raise RuntimeError(f"{len(part.pages)} pages were written instead of {len(places)}")
            for page, place in zip(part.pages, places, strict=True):
                if not self._sources[place.source].is_pdf:
                    continue
                before = self._pdf(place.source).pages[place.index]
                if _content(page) != _content(before) or not _images(page) <= _images(before):
                    raise RuntimeError("a page changed while it was moved")


def _keep_layers(pdf: pikepdf.Pdf, part: pikepdf.Pdf) -> None:
    """Which layers of a page are shown stands in the file, not on the page."""
    layers = pdf.Root.get("/OCProperties")
    if isinstance(layers, pikepdf.Dictionary) and "/OCProperties" not in part.Root:
        part.Root.OCProperties = part.copy_foreign(pdf.make_indirect(layers))


def _content(page: pikepdf.Page) -> str:
    contents = page.obj.get("/Contents")
    parts = list(contents) if isinstance(contents, pikepdf.Array) else [contents]
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, pikepdf.Stream):
            digest.update(part.read_raw_bytes())
    return digest.hexdigest()


def _images(page: pikepdf.Page) -> set[str]:
    return {hashlib.sha256(image.read_raw_bytes()).hexdigest() for image in _each_image(page)}


def _each_image(page: pikepdf.Page) -> Iterator[pikepdf.Stream]:
    found = page.resources.get("/XObject") if page.resources is not None else None
    if isinstance(found, pikepdf.Dictionary):
        for item in found.as_dict().values():
            if isinstance(item, pikepdf.Stream) and item.get("/Subtype") == "/Image":
                yield item


def _placed(source: Source, index: int) -> bytes:
    """One image on a PDF page of its size."""
    with (
        errors.while_decoding(),
        source.path.open("rb") as file,
        Image.open(file, formats=[FORMATS[source.media_type]]) as image,
    ):
        image.seek(index)
        across, down = believable(image)
        wide, high = image.width * 72 / across, image.height * 72 / down
        if image.format == "JPEG":
            data = source.path.read_bytes()
        else:
            data = _stored(image)
            with Image.open(io.BytesIO(data)) as again:
                if again.size != image.size:  # a TIFF that lay on its side was set upright
                    wide, high = high, wide
    made = img2pdf.convert(
        data,
        layout_fun=img2pdf.get_layout_fun((wide, high)),
        engine=img2pdf.Engine.pikepdf,
        rotation=img2pdf.Rotation.ifvalid,
    )
    return bytes(made)


def _stored(image: Image.Image) -> bytes:
    image.load()
    if image.mode not in _LOSSLESS or image.has_transparency_data:
        raise Refuse(
            Message(
                "A page's image ({mode}) can be moved to no other file without loss",
                mode=image.mode,
            ),
            code="not-cut",
            hint=Message("Scan with 1, 8, 16 or 24 bits per pixel, or cut the file by hand."),
        )
    data = io.BytesIO()
    if image.mode == "1":
        image.save(data, "TIFF", compression="group4")
    elif image.mode == "CMYK":
        image.save(data, "TIFF", compression="tiff_lzw")
    else:
        image.save(data, "PNG", compress_level=4, icc_profile=image.info.get("icc_profile"))
    return data.getvalue()
