"""Making the access copy: OCRmyPDF with our engine, PDF/A judged, and what follows a failure."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import ocrmypdf
import pikepdf
from ocrmypdf.exceptions import ExitCode, PdfaConversionFailedError
from pikepdf import pdfa

from archived.api import Context, Message
from archived_ocr import errors, image_equality, inspect_document, page_errors, pdfa_retry, plugin
from archived_ocr.job import Job
from archived_ocr.page_report import Account
from archived_ocr.reading import Reader

if TYPE_CHECKING:
    from archived_ocr import OcrOptions

_NEVER = 1_000_000
"""Megabytes. From here a file would be linearised: qpdf's hint streams may end in what PDF/A takes
for the end of a line, and a signature appended later undoes it anyway."""
_USABLE = (ExitCode.ok, ExitCode.pdfa_conversion_failed)


@dataclass
class Conversion:
    """One document on its way into `main`. `label`: what the copy says of itself."""

    context: Context[OcrOptions]
    work: Path
    account: Account
    main: Path
    label: str
    job: Job | None = None

    @property
    def options(self) -> OcrOptions:
        """The stage's options."""
        return self.context.options

    def make(self, source: Path, unread: frozenset[int], *, settle: bool) -> bool:
        """Make the PDF/A; `settle`: or else a copy with a text layer, where pages were read.

        `False` when neither was made: the original stays the document.
        """
        with self._job(unread) as job:
            try:
                code = self._ocrmypdf(source, unread, self.main, "pdfa-2")
            except PdfaConversionFailedError as error:
                if errors.of_machine(error) or isinstance(error.__cause__, MemoryError):
                    raise error.__cause__ or error from error  # this says nothing of the document
                code = ExitCode.pdfa_conversion_failed
                self.context.log.info("no PDF/A: %s", " ".join(str(error).split())[:1000])
            except Exception as error:
                # OCRmyPDF stumbles in many ways over a broken file; a sound one is not to blame.
                if errors.of_machine(error) or errors.blamed(error):
                    raise
                if broken := inspect_document.broken(source):
                    raise errors.damaged(broken) from error
                raise
            missing = unread - set(job.readings)
            if missing:
                pages = ", ".join(str(n + 1) for n in sorted(missing)[:20])
                raise RuntimeError(f"page(s) {pages} were to be read and were not")
            self._looked(job)
            if code == ExitCode.pdfa_conversion_failed:
                return self._tried_again(source, unread, settle=settle)
        if code == ExitCode.invalid_output_pdf:
            if lost := inspect_document.undecodable(source):
                raise errors.damaged(lost)
            if inspect_document.broken(source):
                return False  # what was odd in the original is odd in the copy
        if code != ExitCode.ok:
            raise RuntimeError(f"OCRmyPDF ended with {code!r}")
        self._check(source)
        self.account.pdfa_why = ""
        return True

    def _tried_again(self, source: Path, unread: frozenset[int], *, settle: bool) -> bool:
        """What the judge did not pass: once more without harmless keys, then without PDF/A."""
        plain = source
        if unread:  # what was read is not read twice
            plain = self.work / "plain.pdf"
            if self._ocrmypdf(source, unread, plain, "pdf") not in _USABLE:
                return False
        verdict = pdfa_retry.save(plain, self.main)
        self.account.pdfa_why, self.account.pdfa_checked = verdict.why, verdict.checked
        if not verdict.why:
            self._check(source)
            return True
        if not unread or not settle:
            return False
        shutil.move(plain, self.main)
        pdfa_retry.unclaim(self.main)
        self._check(source, pdfa_made=False)
        self.account.tell(
            "no-pdfa" if verdict.checked else "pdfa-unchecked",
            Message(
                "The copy has a text layer and is no PDF/A. {why_no_pdfa}",
                why_no_pdfa=self.account.why_no_pdfa(),
            ),
        )
        return True

    def only_read(self, source: Path, unread: frozenset[int]) -> Job:
        """Get the text of `unread` and make no document."""
        with self._job(unread) as job:
            for page in sorted(unread):
                with plugin.on_page(page):
                    job.image(source, page)
                    if self.options.turn_pages:
                        job.facing(page)
                    job.read(page)
            self._looked(job)
        return job

    def _looked(self, job: Job) -> None:
        self.account.read(job)
        self.job = job

    @contextmanager
    def _job(self, unread: frozenset[int]) -> Iterator[Job]:
        done = 0

        def told(page: int) -> None:
            self.context.progress(0.05 + 0.85 * done / max(1, len(unread)), page + 1)

        def tell(page: int) -> None:
            nonlocal done
            done += 1
            told(page)

        @contextmanager
        def on_page(page: int) -> Iterator[None]:
            told(page)
            with page_errors.on_page(page):
                yield

        job = Job(
            reader=Reader(self.options.languages, self.options.tessdata),
            dpi=float(self.options.ocr_dpi),
            printed=self.account.printed,
            done=tell,
        )
        plugin.job, plugin.on_page = job, on_page
        try:
            yield job
        finally:
            plugin.job, plugin.on_page = None, page_errors.on_page
            job.close()

    def _ocrmypdf(self, source: Path, unread: frozenset[int], target: Path, kind: str) -> ExitCode:
        try:
            return self._run_ocrmypdf(source, unread, target, kind)
        except pikepdf.HifiPrintImageNotTranscodableError:
            # Its last check, of the finished file, cannot unpack pictures in a spot colour.
            if not target.is_file() or inspect_document.broken(target):
                raise
            return ExitCode.ok

    def _run_ocrmypdf(
        self, source: Path, unread: frozenset[int], target: Path, kind: str
    ) -> ExitCode:
        # "redo" reads a page whatever little text is on it, and hides that text from the engine.
        return ocrmypdf.ocr(
            source,
            target,
            language=self.options.languages.split("+"),
            output_type=kind,
            pdfa_backend="internal",
            mode="redo" if unread else "skip",
            pages=_ranges(unread) if unread else None,
            rotate_pages=self.options.turn_pages and bool(unread),
            tagged_pdf_mode="ignore",
            # Signatures are gone by now; what is left are flags about empty fields.
            invalidate_digital_signatures=True,
            optimize=0,
            fast_web_view=_NEVER,
            jobs=1,
            use_threads=True,
            progress_bar=False,
            subject=self.label or None,
            max_image_mpixels=self.options.max_megapixels,
            plugins=["archived_ocr.plugin"],
        )

    def _check(self, source: Path, *, pdfa_made: bool = True) -> None:
        made = self.main
        report = pdfa.validate_written(made, "2b") if pdfa_made else None
        if report is not None and not report.passed:
            raise RuntimeError(f"the finished file is not PDF/A-2b: {report.summary()[:500]}")
        with pikepdf.open(made) as pdf:
            count = len(pdf.pages)
        if count != self.account.pages:
            raise RuntimeError(f"{self.account.pages} pages went in and {count} came out")
        image_equality.check(source, made)
        if inspect_document.signatures_in(made):
            raise RuntimeError("the finished file still carries a signature of the original")


def _ranges(pages: frozenset[int]) -> str:
    return ",".join(str(n + 1) for n in sorted(pages))
