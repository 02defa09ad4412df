"""Documents of several originals: each becomes pages, the pages become one, in reading order.

An original is read, never written. What of it cannot stand in a common file is shown as a picture,
and said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pikepdf
from pikepdf import pdfa

from archived.api import Artifact, Document, Message, Refuse
from archived_ocr import (
    errors,
    hidden_layers,
    images,
    inspect_document,
    page_boxes,
    pagetext,
    pdfa_retry,
    trailing_data,
    working_copy,
)
from archived_ocr.page_report import Account
from archived_ocr.pagetext import UNMAPPED, PageText

if TYPE_CHECKING:
    from archived_ocr import OcrOptions

PDF = "application/pdf"
READABLE = frozenset({PDF, *images.FORMATS})
"""Media types, as they were told by the first bytes at admission."""
TWO_PASS = "two-pass"  # noqa: S105 - a way of scanning
_HEADS = {
    b"II*\0": "image/tiff",
    b"MM\0*": "image/tiff",
    b"II+\0": "image/tiff",
    b"MM\0+": "image/tiff",
    b"\xff\xd8\xff": "image/jpeg",
    b"\x89PNG\r\n\x1a\n": "image/png",
}
_IMAGE = PageText("", 0, 0, 1.0, True, 0.0)
_AT_ONCE = 64
"""Files that are open together while pages are joined."""


def kind_of(path: Path) -> str:
    """The media type a file's first bytes speak of. Raises `Refuse`."""
    with path.open("rb") as file:
        head = file.read(1024)
    if not head:
        raise errors.damaged(Message("the file is empty"))
    if b"%PDF-" in head:
        return PDF
    for start, media_type in _HEADS.items():
        if head.startswith(start):
            return media_type
    raise errors.unsupported("its content is neither PDF, TIFF, JPEG nor PNG")


def rules_of(options: OcrOptions, pages_before: int = 0) -> images.Rules:
    """What the stage's options say about images."""
    return images.Rules(
        options.images == "lossless",
        options.image_dpi,
        options.max_pages,
        options.max_megapixels,
        pages_before,
    )


def look(source: Path, options: OcrOptions, pages_before: int = 0) -> inspect_document.Survey:
    """Survey a PDF. Raises `Refuse` for what must not or shall not be worked on."""
    seen = inspect_document.look(source, options.max_pages, options.max_megapixels, pages_before)
    if seen.encrypted and options.owner_password == "refuse":  # noqa: S105 - a choice
        raise Refuse(
            Message("The document's owner restricts its use with a password"),
            code="owner-password",
            hint=Message('Ask the owner for a free copy, or set owner_password = "record".'),
        )
    return seen


def text_on(source: Path, pages: int) -> list[PageText]:
    """The text on every page; both readers must count the same `pages`."""
    on_pages = pagetext.of(source)
    if len(on_pages) != pages:
        raise errors.damaged(f"one reader counts {pages} pages, another {len(on_pages)}")
    return on_pages


def to_be_read(on_pages: Sequence[PageText], options: OcrOptions) -> frozenset[int]:
    """The pages that the engine must read."""
    redo = options.existing_text == "redo"
    return frozenset(
        n
        for n, page in enumerate(on_pages)
        if page.needs_reading(options.overlay_words) or (redo and page.hidden)
    )


def tell_more(source: Path, kind: str, account: Account) -> None:
    """Flag a second file behind the end of the one that is read."""
    if trailing_data.found(source, kind):
        note = Message(
            "Another file lies behind the end of this one, under the same name; only "
            "one of them was read. The original keeps both."
        )
        account.tell("more-behind-end", note)
        account.also_unread.append(note)


def tell_hidden_layers(source: Path, seen: inspect_document.Survey, account: Account) -> None:
    """Flag layers that are switched off, where there is something on them."""
    if seen.layers and (pages := hidden_layers.pages(source)):
        shown = ", ".join(map(str, pages[:20])) + (", ..." if len(pages) > 20 else "")
        note = Message(
            "Page(s) {shown} have layers that are switched off; what stands on them is "
            "not shown and was not read. The original keeps it.",
            shown=shown,
        )
        account.tell("hidden-layers", note)
        account.also_unread.append(note)


def drop_bad_layers(
    pages: Path, on_pages: Sequence[PageText], unread: frozenset[int], account: Account
) -> None:
    """Take out hidden text that is not what its page shows: the page is read anew."""
    bad = frozenset(n for n in unread if on_pages[n].hidden and not on_pages[n].visible)
    if not bad:
        return
    working_copy.drop_hidden_text(pages, bad)
    account.tell(
        "ocr-replaced",
        Message("The hidden text of an earlier OCR was taken out, and the pages were read anew."),
    )


@dataclass
class Part:
    """One original as pages: `pages` is a PDF, the lists have an entry for each of its pages."""

    original: Artifact
    number: int
    pages: Path
    found: list[PageText] = field(default_factory=list)
    shown: list[PageText] = field(default_factory=list)
    unread: frozenset[int] = frozenset()
    signed: bool = False
    locked: bool = False
    lost: bool = False
    """The pages show less than the original holds."""
    pictured: bool = False
    left_out: bool = False
    """It is of a kind that cannot be read, and has no pages here."""
    typed: frozenset[int] = frozenset()
    """Pages that became pictures, and whose text need not be read off them."""

    @property
    def name(self) -> str:
        """How notes and refusals call it."""
        return f"original {self.number} ({self.original.name})"

    def facts(self, same_as: str) -> dict[str, Any]:
        """Where the pages come from."""
        return {
            "name": self.original.name,
            "pages": len(self.found),
            **({"signed": True} if self.signed else {}),
            **({"pictured": True} if self.pictured else {}),
            **({"left_out": True} if self.left_out else {}),
            **({"same_as": same_as} if same_as else {}),
        }


@dataclass(frozen=True)
class Desk:
    """What the work on originals shares."""

    work: Path
    options: OcrOptions
    account: Account

    def prepare(self, originals: Sequence[Artifact]) -> list[Part]:
        """Every original as pages, but those of a kind that has none. Raises `Refuse`, naming the
        one at fault.
        """
        parts: list[Part] = []
        count = 0
        for number, original in enumerate(originals, 1):
            part = Part(original, number, self.work / f"part-{number}.pdf")
            with _named(part), self.account.about(part.name):
                if original.media_type in READABLE:
                    self._prepare(part, count)
                else:
                    self._leave_out(part)
            count += len(part.found)
            parts.append(part)
        return parts

    def _leave_out(self, part: Part) -> None:
        part.left_out = True
        self.account.tell(
            "left-out",
            f"A file of the kind {part.original.media_type} has no pages that can be shown; it is "
            "kept unchanged beside the others, and its text was not read.",
        )

    def _prepare(self, part: Part, before: int) -> None:
        # A name of our own: received paths may hold what libraries in C cannot open.
        source = self.work / f"source-{part.number}"
        source.symlink_to(part.original.path.resolve())
        kind = kind_of(source)
        tell_more(source, kind, self.account)
        if kind == PDF:
            self._pdf(part, source, before)
            return
        placed = images.place(source, kind, part.pages, rules_of(self.options, before))
        for flag, note in zip(placed.flags, placed.notes, strict=True):
            self.account.tell(flag, note)
        part.found = part.shown = [_IMAGE] * len(placed.frames)
        part.unread = frozenset(range(len(placed.frames)))

    def _pdf(self, part: Part, source: Path, before: int) -> None:
        seen = look(source, self.options, before)
        self.account.describe(seen)
        tell_hidden_layers(source, seen, self.account)
        part.signed, part.locked = seen.signed, seen.encrypted
        part.found = part.shown = text_on(source, seen.pages)
        part.unread = to_be_read(part.found, self.options)
        if seen.signed or seen.form_fields:
            flat = self.work / "flat.pdf"
            working_copy.flattened_copy(source, flat)
            part.shown = pagetext.of(flat)
        lost = seen.lost_by_copying(scanned=bool(part.unread))
        part.lost = bool(lost)
        if not lost and not seen.layers:
            working_copy.page_copy(source, part.pages, seen)
            drop_bad_layers(part.pages, part.found, part.unread, self.account)
            page_boxes.trim(part.pages, part.unread)
            pdfa_retry.tidy(part.pages)
            if self._fits(part) or self._fits_without_its_layer(part):
                return
        if self.options.images == "lossless":
            raise Refuse(
                Message(
                    "Its pages can stand beside those of other files as pictures only, "
                    'which images = "lossless" does not allow'
                ),
                code="not-lossless",
                hint=Message('Archive this file as a document of its own, or set images = "keep".'),
            )
        working_copy.pictured(source, part.pages)
        part.pictured = True
        everything = frozenset(range(seen.pages))
        part.typed = frozenset(
            n
            for n in everything - part.unread
            if part.shown[n].text and part.shown[n].unmapped <= UNMAPPED
        )
        part.unread = everything
        self.account.tell(
            "pictured",
            "Its pages are shown as pictures, because "
            f"{lost or 'they cannot be part of a PDF/A as they are'}; it is kept unchanged.",
        )

    def _fits(self, part: Part) -> bool:
        """Whether the pages can be PDF/A as they are: found out before an hour of reading."""
        with pikepdf.open(part.pages) as pdf:
            try:
                pdfa.save(pdf, self.work / "trial.pdf", "2b")
            except pdfa.PdfaError:
                return False
        return True

    def _fits_without_its_layer(self, part: Part) -> bool:
        """The fonts of an earlier OCR are rarely embedded: such pages are read anew."""
        hidden = frozenset(n for n, page in enumerate(part.found) if page.hidden) - part.unread
        if not hidden or any(part.found[n].visible for n in hidden):
            return False
        working_copy.drop_hidden_text(part.pages, hidden)
        if not self._fits(part):
            return False
        part.unread |= hidden
        self.account.tell(
            "ocr-replaced",
            Message(
                "The text layer of an earlier OCR cannot be part of a PDF/A; the pages "
                "were read anew."
            ),
        )
        return True


class Joined:
    """The pages of all parts in reading order, counted through from 0."""

    def __init__(self, parts: Sequence[Part], collation: str) -> None:
        self.parts = parts
        self.order = _in_order(parts, collation)

    @property
    def found(self) -> list[PageText]:
        """The text on each page, before reading."""
        return [part.found[n] for part, n in self.order]

    @property
    def shown(self) -> list[PageText]:
        """The same with what stamps and fields show."""
        return [part.shown[n] for part, n in self.order]

    @property
    def unread(self) -> frozenset[int]:
        """The pages that the engine must read."""
        return frozenset(at for at, (part, n) in enumerate(self.order) if n in part.unread)

    @property
    def own(self) -> frozenset[int]:
        """The pages that are pictures, but whose own text is known."""
        return frozenset(at for at, (part, n) in enumerate(self.order) if n in part.typed)

    @property
    def label(self) -> str | None:
        """What the common file says about itself."""
        if any(part.signed for part in self.parts):
            return working_copy.SIGNED_LABEL
        if any(part.locked for part in self.parts):
            return working_copy.LOCKED_LABEL
        return working_copy.JOINED_LABEL if any(p.lost or p.pictured for p in self.parts) else None

    def write(self, target: Path) -> None:
        """Write one PDF with all pages; those of the parts take up no room any more."""
        _join([(part.pages, n) for part, n in self.order], target)


def facts_of(document: Document, parts: Sequence[Part]) -> Mapping[str, Any]:
    """Where the pages of a document of several originals come from."""
    first: dict[str, str] = {}
    told = []
    for part in parts:
        name, digest = part.original.name, part.original.sha512
        told.append(part.facts(first.get(digest, "")))
        if digest:
            first.setdefault(digest, name)
    return {
        "originals": told,
        **({"collation": document.collation} if document.collation else {}),
    }


def _in_order(parts: Sequence[Part], collation: str) -> list[tuple[Part, int]]:
    one_after_the_other = [(part, n) for part in parts for n in range(len(part.found))]
    if not collation:
        return one_after_the_other
    if collation != TWO_PASS:
        raise RuntimeError(f'"{collation}" is no way of collating that this version knows')
    counts = [len(part.found) for part in parts]
    if len(counts) != 2 or counts[0] != counts[1]:
        sides = " and ".join(map(str, counts[:10]))
        raise Refuse(
            Message(
                "Fronts and backs were scanned in two passes, and the files have {sides} page(s)",
                sides=sides,
            ),
            code="sides-differ",
            hint=Message(
                "Scan both sides again, every sheet once from the front and once from the back."
            ),
        )
    half = counts[0]
    fronts, backs = one_after_the_other[:half], one_after_the_other[half:]
    return [page for sheet in zip(fronts, reversed(backs), strict=True) for page in sheet]


def _join(pages: Sequence[tuple[Path, int]], target: Path) -> None:
    files = list(dict.fromkeys(path for path, _ in pages))
    if len(files) > _AT_ONCE:  # so many files are never collated: each has its pages in a row
        joined: list[tuple[Path, int]] = []
        for start in range(0, len(files), _AT_ONCE):
            some = set(files[start : start + _AT_ONCE])
            batch = target.with_name(f"{target.stem}-{start}.pdf")
            chosen = [page for page in pages if page[0] in some]
            _join(chosen, batch)
            joined += [(batch, n) for n in range(len(chosen))]
        _join(joined, target)
        return
    with ExitStack() as opened, pikepdf.Pdf.new() as made:
        # Mapped files would count against the memory this process may have.
        sources = {
            path: opened.enter_context(pikepdf.open(path, access_mode=pikepdf.AccessMode.stream))
            for path in files
        }
        for path, n in pages:
            made.pages.append(sources[path].pages[n])
        made.save(target)
    for path in files:
        path.unlink()


@contextmanager
def _named(part: Part) -> Iterator[None]:
    """A refusal says which of several files it means."""
    try:
        yield
    except Exception as error:
        refusal = errors.blamed(error)
        if not isinstance(refusal, Refuse):
            raise
        raise Refuse(
            Message("{name}: {message}", name=part.name, message=refusal.message),
            code=refusal.code,
            hint=refusal.hint,
        ) from error
