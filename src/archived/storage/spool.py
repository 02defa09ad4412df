"""Where bytes live between the hot folder and the store: durable, one folder per document.

    spool/incoming/    being written; of no account until renamed; cleared at start
    spool/documents/ID/arrival.json          what arrived, so that the folder explains itself
    spool/documents/ID/original/0001.tif     bit-exact, read-only; one or several
    spool/documents/ID/metadata/ticket.json  bit-exact, read-only: what came with them
    spool/documents/ID/made/STEP/...         what finished steps made, read-only
    work/STEP/                               a running step's private folder
    work/kept-X/                             the folders of a kept worker; of no account
    uncleared/                               what cannot be removed now; of no account

All of it is on one file system, so that a rename publishes and nothing is copied twice.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from archived.errors import SpoolError
from archived.message import Message
from archived.model.outcome import Made
from archived.storage import atomic
from archived.storage.rows import SpoolFile
from archived.storage.uncleared import Uncleared

ORIGINAL_MODE = 0o440


@dataclass(frozen=True, slots=True)
class IncomingFile:
    """A file to be taken in: where it is, and its path in the document's folder (`role/name`).

    A stranger's file is opened by whoever knows what it must be, when its turn comes. `note` is
    kept with it in arrival.json.
    """

    source: Path | Callable[[], AbstractContextManager[atomic.OpenFile]]
    path: str
    note: Mapping[str, Any] = field(default_factory=dict)


class Spool:
    """The spool below one state folder."""

    def __init__(self, state: Path) -> None:
        self.incoming = state / "spool" / "incoming"
        self.documents = state / "spool" / "documents"
        self.work = state / "work"
        self.uncleared = Uncleared(state / "uncleared")
        self._here: tuple[int, int] | None = None
        """Which folder `documents` was when the spool was made or found."""

    def create(self) -> None:
        """Make the folders; those that exist are left alone."""
        for folder in (self.incoming, self.documents, self.work):
            atomic.make_folder(folder, mode=0o750)
        self._here = _which(self.documents)

    def _ask_whether_still_here(self) -> None:
        """Bytes written below a mount that is gone would lie hidden when it is back."""
        if self._here is not None and _which(self.documents) != self._here:
            raise OSError(
                errno.ESTALE,
                "not the state folder that archived was started with; is its disk mounted?",
                str(self.documents),
            )

    def folder(self, document: str) -> Path:
        """A document's folder."""
        return self.documents / document

    def take_in(
        self,
        document: str,
        files: Sequence[IncomingFile],
        note: Mapping[str, Any],
        check: Callable[[], None] = lambda: None,
    ) -> list[SpoolFile]:
        """Copy received files into a new document folder; durable when this returns.

        In the order of `files`. `check` is called between reading and publishing; what it raises,
        or `OSError`, leaves nothing behind. The sources are only read. A crash leaves the whole
        folder or something in `incoming/`.
        """
        self._ask_whether_still_here()
        staged = self.incoming / document
        staged.mkdir()
        try:
            kept = [_copied(staged, file) for file in files]
            check()
            facts = dict(note) | {
                "document": document,
                "files": [
                    {
                        **file.note,
                        "file": k.path,
                        "size": k.size,
                        "sha256": k.sha256,
                        "sha512": k.sha512,
                    }
                    for file, k in zip(files, kept, strict=True)
                ],
            }
            (staged / "arrival.json").write_text(json.dumps(facts, indent=1, ensure_ascii=True))
            atomic.publish_folder(staged, self.folder(document))
        except Exception:
            if staged.exists():
                self.uncleared.clear(staged)
            else:  # it has its name, but not durably: the caller will never mention it
                self.drop(document)
            raise
        return kept

    def arrival(self, document: str) -> Mapping[str, Any]:
        """What arrived, from the folder itself. Raises `SpoolError` when it cannot be read."""
        path = self.folder(document) / "arrival.json"
        try:
            facts: Mapping[str, Any] = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise SpoolError(
                Message("{path}: cannot be read ({error})", path=path, error=error)
            ) from error
        return facts

    def keep(self, document: str, step: str, work: Path, made: Sequence[Made]) -> list[SpoolFile]:
        """Take what a step made out of its working folder; durable when this returns.

        In the order of `made`. Doing it again for the same step (after a crash) gives the same.
        """
        if not made:
            return []
        self._ask_whether_still_here()
        final = self.folder(document) / "made" / step
        if not final.exists():
            staged = self.incoming / step
            self.uncleared.clear(staged)
            staged.mkdir()
            for index, file in enumerate(made):
                inside = staged / _kept_name(index, file)
                _take(work, file.path, inside)
            atomic.publish_folder(staged, final)
        kept = []
        for index, file in enumerate(made):
            name = _kept_name(index, file)
            size_and_digests = atomic.digest(final / name)
            kept.append(
                SpoolFile(
                    f"made/{step}/{name}",
                    size_and_digests.size,
                    size_and_digests.sha256,
                    size_and_digests.sha512,
                )
            )
        return kept

    def start_work(self, step: str) -> Path:
        """An empty private folder for one attempt."""
        folder = self.work / step
        self.uncleared.clear(folder)
        folder.mkdir(mode=0o700)
        return folder

    def end_work(self, step: str) -> None:
        """Drop an attempt's private folder and whatever is in it, or set it aside."""
        self.uncleared.clear(self.work / step)

    def drop(self, document: str) -> None:
        """Let go of a document's bytes: only when its sealed object is durable.

        The folder loses its name first, so that a crash leaves all of it or something in
        `incoming/`, never a part that looks like a document.
        """
        if not self.folder(document).exists():
            return
        aside = self.incoming / f"{document}.dropped"
        self.uncleared.clear(aside)
        atomic.gather(self.folder(document), aside)
        atomic.fsync_folder(self.documents)
        self.uncleared.clear(aside)

    def clear_unfinished(self) -> list[str]:
        """At start: drop half-written arrivals and the folders of steps that are no more.

        What cannot be removed, or not in the time that a start may take, is set aside.
        """
        left = [
            entry for folder in (self.incoming, self.work) for entry in sorted(folder.iterdir())
        ]
        return self.uncleared.clear_all(left)

    def held_documents(self) -> Iterator[str]:
        """The documents that have a folder."""
        for entry in sorted(self.documents.iterdir()):
            if entry.is_dir():
                yield entry.name


def _which(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino


def _copied(staged: Path, file: IncomingFile) -> SpoolFile:
    inside = staged / file.path
    inside.parent.mkdir(exist_ok=True)
    with nullcontext(file.source) if isinstance(file.source, Path) else file.source() as source:
        copied = atomic.copy_file(source, inside, mode=ORIGINAL_MODE)
    return SpoolFile(file.path, copied.size, copied.sha256, copied.sha512)


def _take(work: Path, made: str, inside: Path) -> None:
    """Take a file that a step made. One that another account owns is copied: whatever that account
    still has open, or may do to what it owns, is not what is kept.
    """
    with atomic.open_beneath(work, made) as source:
        if os.fstat(source.file.fileno()).st_uid != os.geteuid():
            atomic.copy_file(source, inside, mode=ORIGINAL_MODE)
            return
    atomic.gather(work / made, inside)
    inside.chmod(ORIGINAL_MODE)


def _kept_name(index: int, made: Made) -> str:
    return f"{index:03}-{made.role}-{made.name}"
