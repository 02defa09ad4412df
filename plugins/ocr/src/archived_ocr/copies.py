"""Make the PDF that is worked on when the received one must not be: without signatures or locks.

What was visible stays visible, flattened onto the page. What could be validated is taken out
whole: a broken signature makes a genuine deed look forged. The original is never touched.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pikepdf

from archived_ocr.survey import Survey

SIGNED_LABEL = "Reading copy without signatures. The signed original is kept unchanged beside it."
LOCKED_LABEL = "Reading copy without the owner's restrictions. The original is kept unchanged."


def working_copy(source: Path, target: Path, survey: Survey) -> None:
    """Write `source` to `target` without encryption and without anything signed.

    Forms of unsigned documents are left as they are.
    """
    with pikepdf.open(source) as pdf:
        if survey.signed:
            flatten(pdf)
        if survey.signed or survey.empty_signature_fields:
            strip_signatures(pdf)
        pdf.save(target, encryption=False)


def flattened_copy(source: Path, target: Path) -> None:
    """Write `source` to `target` with what its fields show put on the page as content."""
    with pikepdf.open(source) as pdf:
        flatten(pdf)
        pdf.save(target, encryption=False)


def flatten(pdf: pikepdf.Pdf) -> None:
    """Turn the appearances of fields and stamps into page content; links stay links."""
    form = pdf.Root.get("/AcroForm")
    if isinstance(form, pikepdf.Dictionary) and form.get("/NeedAppearances", False):
        pdf.generate_appearance_streams()
        form.NeedAppearances = False
    _drop_broken_annotations(pdf)
    # "screen" drops what is hidden on the screen, as a reader would.
    pdf.flatten_annotations("screen")


def strip_signatures(pdf: pikepdf.Pdf) -> None:
    """Take out every signature value, its fields, permissions and validation data."""
    root = pdf.Root
    for key in ("/AcroForm", "/Perms", "/DSS", "/Extensions", "/Legal"):
        if key in root:
            del root[key]
    for page in pdf.pages:
        kept = [a for a in _annotations(page) if a.get("/Subtype") != "/Widget"]
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
