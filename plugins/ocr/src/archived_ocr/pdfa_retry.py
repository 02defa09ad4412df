"""A second try for PDF/A, where the first ended in "not checked": that is not "cannot".

Keys that say nothing of a page are taken out, layers that are all visible are merged, and the rest
is told by its reason. Knows pikepdf's judge; works on copies only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pikepdf
from pikepdf import pdfa

from archived_ocr import notes

HARMLESS = {
    "/DocChecksum",
    "/PieceInfo",
    "/LastModified",
    "/Trans",
    "/Dur",
    "/Thumb",
    "/SpiderInfo",
    "/Private",
    "/AdditionalStreams",
    "/PTEX.Fullbanner",
    "/PTEX.FileName",
    "/PTEX.InfoDict",
    "/PTEX.PageNumber",
    "/PZ",
    "/SeparationInfo",
    "/ID_",
    "/Tabs",
    "/PresSteps",
    "/B",
    "/Producer_",
}
"""Keys that change nothing of what a page shows or says."""
_IN_PICTURES = {"/OPI", "/Alternates", "/Metadata", "/PS"}
"""Keys of pictures and forms that point to what is shown instead elsewhere, or describe them."""
_INTENTS = {"/RelativeColorimetric", "/AbsoluteColorimetric", "/Perceptual", "/Saturation"}
_NO_SPACE = "image has no /ColorSpace"
"""Said of a JPEG 2000 picture too, which has its own (ISO 32000-1, 7.4.9)."""
_TRAILER = {"/Root", "/Info", "/ID", "/Size", "/Prev", "/Encrypt", "/XRefStm"}
_UNKNOWN = re.compile(r"unrecognized key\(s\) (.+?) are not checked")
_OBJECT = re.compile(r"obj (\d+) (\d+)")
_NEWEST = "1.7"
"""The newest version that a PDF/A-2 may be of; what is in it is judged all the same."""
_TRIES = 4
_GOES = {"/GoTo"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """`why`: what keeps the file from being PDF/A-2b, empty when it is. `checked`: it is certain;
    otherwise the judge did not know."""

    why: str = ""
    checked: bool = True


def tidy(path: Path) -> bool:
    """Take out of the PDF at `path` what says nothing; whether layers were merged."""
    with pikepdf.open(path, allow_overwriting_input=True) as pdf:
        merged = _merge_layers(pdf)
        changed = notes.complete(pdf) | _tidy_pictures(pdf) | merged
        for key in list(pdf.trailer.keys()):
            if key not in _TRAILER:
                del pdf.trailer[key]
                changed = True
        if _opens_a_place(pdf.Root.get("/OpenAction")):
            del pdf.Root["/OpenAction"]
            changed = True
        if "/Version" in pdf.Root:  # PDF/A-2 is PDF 1.7 or less; the header says so
            del pdf.Root["/Version"]
            changed = True
        for item in [pdf.Root, *(page.obj for page in pdf.pages)]:
            for key in HARMLESS & set(item.keys()):
                del item[key]
                changed = True
        newer = pdf.pdf_version > _NEWEST
        if changed or newer:
            pdf.save(path, force_version=_NEWEST if newer else "")
    return merged


def _tidy_pictures(pdf: pikepdf.Pdf) -> bool:
    changed = False
    for item in pdf.objects:
        if not isinstance(item, pikepdf.Stream):
            continue
        if str(item.get("/Subtype")) not in ("/Image", "/Form"):
            continue
        drop = [key for key in _IN_PICTURES if key in item]
        # An intent that no reader knows is that of the page (ISO 32000-1, 8.6.5.8).
        if "/Intent" in item and str(item.get("/Intent")) not in _INTENTS:
            drop.append("/Intent")
        for key in drop:
            del item[key]
        changed = changed or bool(drop)
    return changed


def save(source: Path, target: Path) -> Verdict:
    """Write `source` to `target` as PDF/A-2b, or say why not and write nothing."""
    gone: set[str] = set()
    for _ in range(_TRIES):
        with pikepdf.open(source) as pdf:
            for item in pdf.objects:
                own = item.stream_dict if isinstance(item, pikepdf.Stream) else item
                if gone and isinstance(own, pikepdf.Dictionary):
                    for key in gone & set(own.keys()):
                        del own[key]
            try:
                pdfa.save(pdf, target, "2b")
            except pdfa.PdfaError as error:
                more = _harmless(error.report) - gone
                if not more:
                    return _verdict(error.report)
                gone |= more
            else:
                return Verdict()
    return Verdict("its structure is not known to the judge", checked=False)


def unclaim(path: Path) -> None:
    """Take from the PDF at `path` the claim to be PDF/A: it was the original's, not the copy's."""
    with pikepdf.open(path, allow_overwriting_input=True) as pdf:
        if "/Metadata" not in pdf.Root:
            return
        with pdf.open_metadata(set_pikepdf_as_editor=False, update_docinfo=False) as metadata:
            for key in ("part", "conformance", "rev", "amd"):
                if f"pdfaid:{key}" in metadata:
                    del metadata[f"pdfaid:{key}"]
        pdf.save(path)


def _harmless(report: pdfa.Report) -> set[str]:
    """The keys that are all that the report is about; empty when there is more."""
    keys: set[str] = set()
    for finding in report.findings:
        named = _UNKNOWN.search(finding.message)
        if named is None:
            continue
        keys |= {k.strip() for k in named[1].split(",")} & HARMLESS
    return keys


def _verdict(report: pdfa.Report) -> Verdict:
    said = list(dict.fromkeys(_OBJECT.sub("a part", f.message) for f in report.findings))
    known = report.verdict == "fail"
    if any("JPEG 2000" in message for message in said) and _NO_SPACE in said:
        said.remove(_NO_SPACE)
        failed = {f.message for f in report.findings if f.kind == "violation"}
        known = bool(failed - {_NO_SPACE})
    return Verdict("; ".join(said[:4])[:400], checked=known)


def _opens_a_place(action: Any) -> bool:
    if isinstance(action, pikepdf.Array):
        return True
    return (
        isinstance(action, pikepdf.Dictionary)
        and str(action.get("/S")) in _GOES
        and "/Next" not in action
    )


def _merge_layers(pdf: pikepdf.Pdf) -> bool:
    """Make layers that are all to be seen ordinary content; others are left as they are."""
    layers = pdf.Root.get("/OCProperties")
    if not isinstance(layers, pikepdf.Dictionary) or not _all_visible(layers):
        return False
    for holder in _content_holders(pdf):
        _without_layer_marks(pdf, holder)
    for item in pdf.objects:
        own = item.stream_dict if isinstance(item, pikepdf.Stream) else item
        if not isinstance(own, pikepdf.Dictionary):
            continue
        if "/OC" in own:
            del own["/OC"]
        _without_layer_names(own.get("/Resources"))
    del pdf.Root["/OCProperties"]
    return True


def _without_layer_names(resources: Any) -> None:
    named = resources.get("/Properties") if isinstance(resources, pikepdf.Dictionary) else None
    if not isinstance(named, pikepdf.Dictionary):
        return
    for key, value in list(named.items()):
        if isinstance(value, pikepdf.Dictionary) and str(value.get("/Type")) in ("/OCG", "/OCMD"):
            del named[key]
    if not named.keys():
        del resources["/Properties"]


def _all_visible(layers: pikepdf.Dictionary) -> bool:
    usual = layers.get("/D")
    if not isinstance(usual, pikepdf.Dictionary):
        return False
    off = usual.get("/OFF")
    if isinstance(off, pikepdf.Array) and len(off):
        return False
    # /AS switches layers by what is done with the page: seen here, and not when printed.
    automatic = usual.get("/AS")
    if isinstance(automatic, pikepdf.Array) and len(automatic):
        return False
    return str(usual.get("/BaseState", "/ON")) == "/ON"


def _content_holders(pdf: pikepdf.Pdf) -> Iterator[pikepdf.Page | pikepdf.Stream]:
    yield from pdf.pages
    for item in pdf.objects:
        if isinstance(item, pikepdf.Stream) and item.get("/Subtype") == "/Form":
            yield item


def _without_layer_marks(pdf: pikepdf.Pdf, holder: pikepdf.Page | pikepdf.Stream) -> None:
    kept: list[Any] = []
    found = False
    for instruction in pikepdf.parse_content_stream(holder):
        operands = list(instruction.operands)
        if str(instruction.operator) == "BDC" and operands and str(operands[0]) == "/OC":
            kept.append(([pikepdf.Name.Span], pikepdf.Operator("BMC")))
            found = True
        else:
            kept.append(instruction)
    if not found:
        return
    data = pikepdf.unparse_content_stream(kept)
    if isinstance(holder, pikepdf.Page):
        holder.Contents = pdf.make_stream(data)
    else:
        holder.write(data)
