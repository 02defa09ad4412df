"""What is said about a document afterwards: text, facts, flags, notes. Writes nothing itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from archived.api import Message
from archived_ocr import document_features, unread_content
from archived_ocr.inspect_document import Survey
from archived_ocr.job import Job
from archived_ocr.page_content import Box
from archived_ocr.pagetext import UNMAPPED, PageText, plain, words

OVERLAY = 40
"""Printed words on a page that was read, from which the page is called both."""


class Account:
    """Gathers, page by page, what was found and done. Pages count from 0 inside, from 1 outside."""

    def __init__(self) -> None:
        self.pages = 0
        self.reading_copy = False
        self.flags: list[str] = []
        self.pdfa_why = ""
        """What keeps the copy from being PDF/A; empty when it is."""
        self.pdfa_checked = True
        self.also_unread: list[str] = []
        """What nobody read and no page shows, in sentences."""
        self._found: list[PageText] = []
        self._shown: list[PageText] = []
        self._text: list[str] = []
        self._words: list[int] = []
        self._confidence: list[float | None] = []
        self._how: list[str] = []
        self._extra: dict[str, Any] = {}
        self._own: frozenset[int] = frozenset()
        self._about = ""
        self._told: dict[tuple[str, str], list[str]] = {}

    @contextmanager
    def about(self, original: str) -> Iterator[None]:
        """What is told meanwhile is told of one original among several."""
        self._about = original
        try:
            yield
        finally:
            self._about = ""

    def begin(self, pages: int) -> None:
        """The document has this many pages; nothing is known of them yet."""
        self.pages = pages
        self._text = [""] * pages
        self._words = [0] * pages
        self._confidence = [None] * pages
        self._how = ["none"] * pages

    def tell(self, flag: str, note: str) -> None:
        """Flag something unusual and say it in a sentence, once."""
        of = self._told.setdefault((flag, note), [])
        if self._about not in of[-1:]:
            of.append(self._about)
        if flag not in self.flags:
            self.flags.append(flag)

    @property
    def notes(self) -> list[str]:
        """What was told, in order; what is true of many originals is said once."""
        said: list[str] = []
        once = set()
        for (flag, note), originals in self._told.items():
            if originals[0]:
                said.append(Message("{list}: {note}", list=_list(originals), note=note))
            elif flag not in once:
                said.append(note)
            once.add(flag)
        return said

    def add(self, **facts: Any) -> None:
        """Facts that are known from elsewhere."""
        self._extra.update(facts)

    def why_no_pdfa(self) -> str:
        """Why it is no PDF/A, in a sentence."""
        if not self.pdfa_why:
            return Message("Something would be lost by that.")
        if self.pdfa_checked:
            return Message("What stands in the way: {pdfa_why}.", pdfa_why=self.pdfa_why)
        return Message(
            "It could not be checked whether it is PDF/A: {pdfa_why}.", pdfa_why=self.pdfa_why
        )

    def compare(self, source: Path, made: Path) -> None:
        """Say by name what the original holds beside its pages and the copy has not."""
        before, after = document_features.of(source), document_features.of(made)
        if lost := before.lost(after):
            self.tell(
                "features-dropped",
                Message("The copy lacks {lost} of the original.", lost=", ".join(lost)),
            )
        if len(after.notes) < len(before.notes):
            gone = list(before.notes)
            for note in after.notes:
                if note in gone:
                    gone.remove(note)
            self._extra["notes_dropped"] = [note for note in gone if note][:50]
            self.tell(
                "notes-dropped",
                Message(
                    "The copy lacks {count} note(s) or stamp(s) that the original has; "
                    "their texts stand in the facts.",
                    count=len(before.notes) - len(after.notes),
                ),
            )

    def describe(self, seen: Survey) -> None:
        """Flag what kind of PDF this is."""
        if seen.signed:
            self.tell(
                "signed-original",
                Message(
                    "The document carries {signatures} digital signature(s). They were not "
                    "validated here; the signed original is kept unchanged.",
                    signatures=seen.signatures,
                ),
            )
            self._extra["signatures"] = self._extra.get("signatures", 0) + seen.signatures
        if seen.encrypted:
            barred = ", ".join(seen.restrictions) or "nothing"
            self.tell(
                "owner-password",
                Message(
                    "The owner protects the document with a password and forbids: {barred}.",
                    barred=barred,
                ),
            )
            earlier = self._extra.get("restrictions", [])
            self._extra["restrictions"] = sorted({*earlier, *seen.restrictions})
        for yes, flag, note in (
            (seen.xfa, "xfa", Message("The document holds an XFA form.")),
            (
                seen.portfolio,
                "portfolio",
                Message(
                    "The document is a portfolio of other files, which were not looked at; "
                    "drop them in one by one."
                ),
            ),
            (seen.javascript, "javascript", Message("The document holds JavaScript.")),
            (
                seen.filled_fields,
                "filled-form",
                Message(
                    "The document is a form with {filled_fields} filled field(s).",
                    filled_fields=seen.filled_fields,
                ),
            ),
            (
                seen.form_fields and not seen.filled_fields,
                "empty-form",
                Message("The document is a form without any filled field."),
            ),
            (
                seen.attachments,
                "attachments",
                Message(
                    "The document has {attachments} attached file(s), which were not looked at.",
                    attachments=seen.attachments,
                ),
            ),
            (seen.tagged, "tagged", "The document describes its own structure (tagged PDF)."),
            (
                seen.repaired,
                "repaired",
                Message(
                    "The document's structure was damaged and was rebuilt; compare it with "
                    "the original."
                ),
            ),
        ):
            if yes:
                self.tell(flag, note)

    def found(
        self,
        on_pages: Sequence[PageText],
        shown: Sequence[PageText],
        unread: frozenset[int],
        own: frozenset[int] = frozenset(),
    ) -> None:
        """The text that is on the pages, before the engine reads the `unread` ones.

        `shown`: the same with what stamps and fields show, which is not page content. `own`: pages
        that became pictures, and are read for the text layer only: their own text is theirs.
        """
        self._found = list(on_pages)
        self._shown = list(shown)
        self._own = own
        for n, page in enumerate(on_pages):
            if n in unread - own:
                continue
            self._text[n] = shown[n].text
            self._words[n] = words(shown[n].text)
            if page.hidden and page.layer_fits:
                self._how[n] = "ocr"
            elif page.visible:
                self._how[n] = "born-digital"
        if any(p.hidden for p in on_pages):
            self.tell(
                "prior-ocr", Message("The document came with the text layer of an earlier OCR.")
            )
        odd = [n + 1 for n, p in enumerate(on_pages) if p.unmapped > UNMAPPED or p.senseless]
        if odd:
            self.tell(
                "unmapped-text",
                f"The text on page(s) {_list(odd)} does not say which letters it shows; what "
                "the pages show was read instead.",
            )
        old = sorted({p.encoding for p in on_pages} - {"", "unknown"})
        if old:
            pages = [n + 1 for n, p in enumerate(on_pages) if p.encoding in old]
            self._extra["converted_from"] = {str(n): on_pages[n - 1].encoding for n in pages[:500]}
            self.tell(
                "legacy-encoding",
                Message(
                    "The text on page(s) {list} is written in {upper}, a code of before "
                    "Unicode; it was converted for searching. The PDF keeps its own.",
                    list=_list(pages),
                    upper=" and ".join(old).upper(),
                ),
            )

    @property
    def printed(self) -> dict[int, tuple[Box, ...]]:
        """Page -> where text stands that can be seen and is known without reading."""
        return {
            n: page.printed
            for n, page in enumerate(self._found)
            if page.printed
            and not page.senseless
            and page.unmapped <= UNMAPPED
            and n not in self._own
        }

    def read(self, job: Job) -> None:
        """What the engine read; printed text that it was not shown or misread is added."""
        blank, silent = [], []
        for n, reading in sorted(job.readings.items()):
            if n in self._own:
                continue
            text = plain(reading.text)
            over = self._printed(n, text)
            self._text[n] = f"{text}\n\n{over}".strip("\n") if over else text
            self._words[n] = len(reading.words) + words(over)
            confidence = reading.confidence
            self._confidence[n] = None if confidence is None else round(confidence, 1)
            kinds = {"ocr"} if reading.words else set()
            if over and (not kinds or words(self._shown[n].own) >= OVERLAY):
                kinds |= {"born-digital"}
            self._how[n] = "+".join(sorted(kinds)) or "none"
            if not over and unread_content.blank(job.inks, n):
                blank.append(n + 1)
            elif not reading.words and not over:
                silent.append(n + 1)
        self._extra["blank_pages"] = blank
        if silent:
            self.tell(
                "page-without-text",
                Message(
                    "There is something on page(s) {list}, but no words could be read.",
                    list=_list(silent),
                ),
            )
        if pages := [n for n in unread_content.pages_of(job) if n - 1 not in self._own]:
            self.tell(
                unread_content.CODE,
                Message(
                    "Not everything on page(s) {list} was read; what was not stands in the "
                    "facts with its place.",
                    list=_list(pages),
                ),
            )
        turned = job.turned
        if turned:
            self._extra["turned_pages"] = {str(n + 1): turned[n] for n in sorted(turned)}
            self.tell(
                "turned-pages",
                Message(
                    "Page(s) {list} were not upright in the scan.",
                    list=_list(n + 1 for n in sorted(turned)),
                ),
            )

    def _printed(self, page: int, read: str) -> str:
        """The lines of text printed or stamped on a scan that are not in what was `read`."""
        if not self._shown:
            return ""
        found = self._found[page]
        if found.senseless or found.unmapped > UNMAPPED:
            return ""
        have = " ".join(read.split())
        shown = self._shown[page]
        lines = (shown.own or ("" if shown.hidden else shown.text)).split("\n")
        return "\n".join(n for n in lines if n.strip() and " ".join(n.split()) not in have)

    def text(self) -> str:
        """The sidecar: one text per page, in order, separated by form feeds."""
        return "\f".join(self._text)

    def facts(self, languages: str, *, made: bool) -> dict[str, Any]:
        """The stage's facts. `made`: a PDF/A was delivered."""
        sure = [(c, w) for c, w in zip(self._confidence, self._words, strict=True) if c is not None]
        weight = sum(w for _, w in sure)
        kinds = {kind for how in self._how for kind in how.split("+")} - {"none"}
        return {
            "pages": self.pages,
            "languages": languages,
            "confidence": self._confidence,
            "mean_confidence": round(sum(c * w for c, w in sure) / weight, 1) if weight else None,
            "words": self._words,
            "text": "none" if not kinds else kinds.pop() if len(kinds) == 1 else "mixed",
            "reading_copy": self.reading_copy,
            "flags": self.flags,
            "pdfa": "2b" if made and not self.pdfa_why else None,
            **({"pdfa_why": self.pdfa_why} if self.pdfa_why else {}),
            **self._extra,
        }


def _list(things: Any) -> str:
    numbers = list(things)
    shown = ", ".join(str(n) for n in numbers[:20])
    return shown if len(numbers) <= 20 else f"{shown} and {len(numbers) - 20} more"
