"""The order of work on one document: look, copy, read, check, tell.

Decides what becomes of each kind of document; how a thing is done stands in the other modules.
Runs in a child process that does one document and ends.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from archived.api import Artifact, Context, Document, Message, Refuse, Result, Role
from archived_ocr import (
    errors,
    image_equality,
    images,
    inspect_document,
    limits,
    page_boxes,
    page_errors,
    pagetext,
    pdf_actions,
    pdfa_retry,
    plugin,
    unread_content,
    working_copy,
)
from archived_ocr.conversion import Conversion
from archived_ocr.job import Job
from archived_ocr.merge_originals import (
    PDF,
    Desk,
    Joined,
    drop_bad_layers,
    facts_of,
    kind_of,
    look,
    rules_of,
    tell_hidden_layers,
    tell_more,
    text_on,
    to_be_read,
)
from archived_ocr.page_report import Account

if TYPE_CHECKING:
    from archived_ocr import OcrOptions

_CHATTY = ("pdfminer", "fontTools", "fpdf", "img2pdf", "PIL", "pikepdf", "ocrmypdf", "pyhanko")


def run(document: Document, context: Context[OcrOptions]) -> Result:
    """Read `document` and return what was made. Raises `Refuse` for the document's faults."""
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)
    with (
        _workplace(context.folder) as work,
        limits.in_force(context.options.max_megapixels),
        _blame(),
    ):
        return _Work(document, context, work).result()


@contextmanager
def _workplace(folder: Path) -> Iterator[Path]:
    """A folder for everything temporary, OCRmyPDF's included, gone afterwards."""
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    before, tempfile.tempdir = tempfile.tempdir, str(work)
    try:
        yield work
    finally:
        tempfile.tempdir = before
        shutil.rmtree(work, ignore_errors=True)


@contextmanager
def _blame() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        fault = errors.of_machine(error)
        if fault is not None and fault is not error:
            raise OSError(fault.errno, fault.strerror, fault.filename) from error
        refusal = errors.blamed(error)
        named = None if refusal is None else page_errors.with_page(refusal, error)
        if named is None or named is error:
            raise
        raise named from error


class _Work:
    """One document on its way through the stage."""

    def __init__(self, document: Document, context: Context[OcrOptions], work: Path) -> None:
        self.document = document
        self.context = context
        self.options = context.options
        self.work = work
        # A name of our own: received paths may hold what libraries in C cannot open.
        self.source = work / "source"
        self.source.symlink_to(document.main.path.resolve())
        self.account = Account()
        self.label: str | None = None
        self.job: Job | None = None
        self.main = context.new_file("document.pdf", media_type=PDF, role=Role.ACCESS)

    def result(self) -> Result:
        delivered = self._from_several() if self._several else self._from_one()
        if not delivered:
            self.main.path.unlink(missing_ok=True)
        text = self.context.new_file("document.txt", media_type="text/plain", role=Role.TEXT)
        text.path.write_text(self.account.text(), encoding="utf-8")
        reviews, pictures = unread_content.reviews(
            self.job, self._picture, self.account.also_unread, delivered=delivered
        )
        if self.job is not None:
            self.account.add(**unread_content.facts(self.job, delivered=delivered))
        self.context.progress(1.0)
        return Result(
            replace_main=self.main if delivered else None,
            add=[text, *pictures],
            facts=self.account.facts(self.options.languages, made=delivered),
            tools=_tools(),
            notes=self.account.notes,
            reviews=reviews,
        )

    def _picture(self, name: str) -> Artifact:
        return self.context.new_file(name, media_type="image/png")

    @property
    def _several(self) -> bool:
        """Whether the document is made of its originals: nobody has put them together yet."""
        document = self.document
        together = len(document.originals) > 1 or bool(document.collation)
        return together and document.main in document.originals

    def _from_one(self) -> bool:
        kind = kind_of(self.source)
        tell_more(self.source, kind, self.account)
        if kind != PDF:
            return self._from_image(kind)
        self._judge_actions()
        return self._from_pdf() or self._without_actions()

    def _from_several(self) -> bool:
        originals = self.document.originals
        parts = Desk(self.work, self.options, self.account).prepare(originals)
        joined = Joined([part for part in parts if not part.left_out], self.document.collation)
        left_out = len(joined.parts) < len(parts)
        facts = facts_of(self.document, parts)
        self.account.add(**facts)
        for part, told in zip(parts, facts["originals"], strict=True):
            if "same_as" in told and not part.left_out:
                with self.account.about(part.name):
                    self.account.tell(
                        "repeated-original",
                        f"The same bytes as {told['same_as']}; both were made pages.",
                    )
        pages = self.work / "pages.pdf"
        joined.write(pages)
        self._tell_removed(pdf_actions.remove_from(pages))
        self._begin(len(joined.order), left_out=left_out)
        self.account.found(joined.found, joined.shown, joined.unread, joined.own)
        self.label = joined.label or (working_copy.JOINED_LABEL if left_out else None)
        made = self._make(pages, joined.unread)
        self.account.reading_copy = made and self.label is not None
        return made or self._stays()

    def _judge_actions(self) -> None:
        """Tell what the copy will not do. Raises `Refuse` where a person shall decide first."""
        found = pdf_actions.of(self.source)
        self._tell_removed(found)
        asked = self.options.actions == "hold" and not self.document.answers.get("active-content")
        if found and asked:
            raise Refuse(
                Message(
                    "The document does something when it is opened or clicked: {in_words}",
                    in_words=pdf_actions.in_words(found),
                ),
                code="active-content",
                hint="Look at it on a machine without a network. archivectl retry DOC --note WHY "
                "goes on with a copy that lacks these actions; the original is kept unchanged.",
            )

    def _without_actions(self) -> bool:
        """The original would be what people open: give them a copy that does nothing by itself."""
        if not pdf_actions.copy_without(self.source, self.main.path):
            return False
        image_equality.check(self.source, self.main.path)
        self.account.pdfa_why = self.account.pdfa_why or "it would lose what the original does"
        self.account.reading_copy = True
        return True

    def _tell_removed(self, removed: dict[str, int]) -> None:
        if removed:
            self.account.tell(
                "actions-removed",
                "The copy lacks what the original does when it is opened or clicked: "
                f"{pdf_actions.in_words(removed)}. The original is kept unchanged.",
            )

    def _begin(self, pages: int, *, left_out: bool = False) -> None:
        """The pages are counted: do they agree with what a ticket claims?

        `left_out`: some originals have no pages that could be counted.
        """
        self.account.begin(pages)
        self.context.pages(pages)
        self.context.progress(0.05)
        claimed = self.document.given.get("pages")
        cut_out = any("part" in facts for facts in self.document.facts.values())
        if not isinstance(claimed, int) or claimed == pages or cut_out:
            return  # nobody claims anything of a part of a document
        told = Message(
            "The ticket says that there are {claimed} pages, and there are {pages}",
            claimed=claimed,
            pages=pages,
        )
        if left_out and pages < claimed:
            self.account.tell("pages-differ", f"{told}, those of files left out not counted.")
            return
        answer = self.document.answers.get("pages-differ", "")
        if self.options.claimed_pages == "hold" and not answer:
            raise Refuse(
                told,
                code="pages-differ",
                hint=Message(
                    "Look for pages that were left out or fed together, and scan again. "
                    "When the paper is complete, archivectl retry DOC --note WHY goes on."
                ),
            )
        looked = f'; who looked at the paper says: "{answer}"' if answer else "."
        self.account.tell("pages-differ", f"{told}{looked}")

    def _from_image(self, kind: str) -> bool:
        pages = self.work / "pages.pdf"
        placed = images.place(self.source, kind, pages, rules_of(self.options))
        self._begin(len(placed.frames))
        for flag, note in zip(placed.flags, placed.notes, strict=True):
            self.account.tell(flag, note)
        return self._make(pages, frozenset(range(len(placed.frames)))) or self._stays()

    def _from_pdf(self) -> bool:
        seen = look(self.source, self.options)
        self._begin(seen.pages)
        self.account.describe(seen)
        tell_hidden_layers(self.source, seen, self.account)
        on_pages = text_on(self.source, seen.pages)
        unread = to_be_read(on_pages, self.options)
        shown = on_pages
        if seen.signed or seen.form_fields:
            flat = self.work / "flat.pdf"
            working_copy.flattened_copy(self.source, flat)
            shown = pagetext.of(flat)
        self.account.found(on_pages, shown, unread)
        lost = seen.lost_by_copying(scanned=bool(unread))
        if lost or (seen.pdfa and not unread and not seen.altered):
            return self._keep(seen, unread, lost)
        source = self.work / "copy.pdf"
        self._copy(source, seen, scanned=len(unread) == seen.pages)
        drop_bad_layers(source, on_pages, unread, self.account)
        page_boxes.trim(source, unread)
        self.label = working_copy.SIGNED_LABEL if seen.signed else None
        if seen.encrypted and not seen.signed:
            self.label = working_copy.LOCKED_LABEL
        earlier = frozenset(n for n, page in enumerate(on_pages) if page.hidden) - unread
        made = self._make(source, unread, settle=not earlier)
        if not made and earlier:
            # The fonts of such a layer are rarely embedded, which PDF/A asks for.
            self.account.tell(
                "ocr-replaced",
                Message(
                    "The text layer of an earlier OCR cannot be part of a PDF/A; the pages "
                    "were read anew."
                ),
            )
            self._copy(source, seen, scanned=len(unread | earlier) == seen.pages)
            hidden_only = frozenset(n for n in earlier if not on_pages[n].visible)
            working_copy.drop_hidden_text(source, hidden_only)
            made = self._make(source, unread | earlier)
        self.account.reading_copy = made and seen.altered
        if made:
            self.account.compare(self.source, self.main.path)
        return made or self._stays()

    def _copy(self, target: Path, seen: inspect_document.Survey, *, scanned: bool) -> None:
        """The copy that is worked on, without what keeps it from PDF/A and says nothing."""
        zone = self.options.date_zone
        working_copy.working_copy(self.source, target, seen, scanned=scanned, zone=zone)
        pdf_actions.remove_from(target)
        if pdfa_retry.tidy(target):
            self.account.tell(
                "layers-merged",
                Message(
                    "The document has layers that are all visible; the copy shows them as one."
                ),
            )

    def _stays(self) -> bool:
        self.account.tell(
            "no-pdfa",
            Message(
                "No PDF/A was made; the original stays the document and its text was kept. "
                "{why_no_pdfa}",
                why_no_pdfa=self.account.why_no_pdfa(),
            ),
        )
        return False

    def _keep(self, seen: inspect_document.Survey, unread: frozenset[int], lost: str) -> bool:
        """Leave the document as it came, and only get its text."""
        if lost:
            self.account.tell(
                "no-pdfa",
                Message(
                    "No PDF/A was made, because it would lose what the original does: "
                    "{lost}. The original stays the document.",
                    lost=lost,
                ),
            )
        else:
            self.account.tell(
                "already-pdfa",
                Message(
                    "The document says that it is PDF/A-{pdfa} and has text; it was left "
                    "as it is. The claim was not checked.",
                    pdfa=seen.pdfa,
                ),
            )
        self.job = self._conversion.only_read(self.source, unread)
        return False

    @property
    def _conversion(self) -> Conversion:
        return Conversion(self.context, self.work, self.account, self.main.path, self.label or "")

    def _make(self, source: Path, unread: frozenset[int], *, settle: bool = True) -> bool:
        """Whether a document was delivered: PDF/A, or a copy with a text layer."""
        made = self._conversion
        delivered = made.make(source, unread, settle=settle)
        self.job = made.job or self.job
        return delivered


def _tools() -> dict[str, str]:
    from importlib.metadata import version

    names = ("ocrmypdf", "tesserocr", "pikepdf", "pypdfium2", "pyhanko")
    return {"tesseract": plugin.Engine.version()} | {name: version(name) for name in names}
