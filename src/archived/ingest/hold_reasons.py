"""Why ingest itself holds a file or a batch, and what a person can do: the complete list.

`BatchProblem` is one of these as a value: the code, the detail, the hint. Whether it holds a batch
is decided by the caller.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from archived.message import Message, sequence


@dataclass(frozen=True, slots=True)
class Hold:
    """`why` says what is the matter, `hint` what to do."""

    why: str
    hint: str


HOLDS: Mapping[str, Hold] = {
    "arrived-incomplete": Hold(
        Message("the file never became whole"),
        Message("scan or send it again; archivectl release archives what there is of it"),
    ),
    "arrived-empty": Hold(
        Message("the file has no content"),
        Message("scan or send it again; look whether the scanner's disk is full"),
    ),
    "content-unrecognised": Hold(
        Message("its name promises a scan, but its content is none"),
        Message(
            "look at the file: scan the paper again, or archivectl release archives it as it is"
        ),
    ),
    "still-open": Hold(
        Message("somebody still has the file open for writing, and nothing comes any more"),
        Message(
            "end the transfer or the connection to the share; it is taken in as soon as it "
            "is let go"
        ),
    ),
    "source-grew": Hold(
        Message("its file was written to after it was taken in, so this may be only a part of it"),
        "look at the document that arrived after it: reject this one when that is the whole file, "
        "or archivectl release archives both",
    ),
    "unreadable": Hold(
        Message("archived may not read the file"), Message("give archived the right to read it")
    ),
    "read-error": Hold(
        Message("the file system gives an error for this file"),
        Message(
            "look at the disk or the server that it lies on, and bring the file anew; it "
            "is tried again by itself"
        ),
    ),
    "intake-failed": Hold(
        Message("an error came up with this file alone, so it was not taken in"),
        Message(
            "bring it under another name, or anew, and report the error: journalctl -u "
            "archived ACTION=intake-failed"
        ),
    ),
    "too-large": Hold(
        Message("the file is larger than this hot folder accepts"),
        Message("raise max_file_size, or take it away"),
    ),
    "type-not-accepted": Hold(
        Message("this hot folder does not accept files of this type"),
        Message(
            "take it away, or bring its paper as a scan; `accept` of the hot folder says "
            "what comes in"
        ),
    ),
    "folder-closed": Hold(
        Message("archived cannot look into this folder"),
        Message("give archived the right to read it, or move its files up"),
    ),
    "ticket-unreadable": Hold(
        Message("the ticket is not the JSON, CSV or XML it should be"),
        Message("let the scanning software write it anew, as docs/batches.md describes"),
    ),
    "ticket-too-large": Hold(
        Message("the ticket is larger than any ticket may be"),
        Message("split the dossier into several folders"),
    ),
    "ticket-field": Hold(
        Message("a field of the ticket is not what it should be"),
        Message("correct the field, and save the ticket"),
    ),
    "ticket-path": Hold(
        Message("the ticket names a file outside its folder or in a way that is not allowed"),
        Message("write plain paths, relative to the ticket's folder"),
    ),
    "ticket-secrecy": Hold(
        Message("the ticket's level of secrecy cannot stand here"),
        Message("bring the dossier to a hot folder of that level, or correct the ticket"),
    ),
    "ticket-duplicate": Hold(
        Message("the ticket and the folder do not name every file once"),
        Message("let each file be listed once, and have a name of its own"),
    ),
    "ticket-files-missing": Hold(
        Message("files that the ticket lists are not there"),
        Message("bring them, or correct the ticket"),
    ),
    "ticket-files-extra": Hold(
        Message("there are files that the ticket does not list"),
        Message("take them away, or list them"),
    ),
    "ticket-count": Hold(
        Message("the number of files is not the one that the ticket claims"),
        Message("look for pages that were left out, or correct the ticket"),
    ),
    "ticket-size": Hold(
        Message("files have not the size that the ticket says"), Message("copy or scan them again")
    ),
    "ticket-digest": Hold(
        Message("files have not the digests that the ticket says"),
        Message("copy or scan them again"),
    ),
    "ticket-several": Hold(
        Message("the folder has more than one ticket"),
        Message("leave one, and take the others away"),
    ),
    "dossier-open": Hold(
        Message("nobody has closed the dossier"),
        Message("put the ticket or the mark that closes it into its folder"),
    ),
    "page-order-ambiguous": Hold(
        Message(
            "which file holds the fronts cannot be told: their times do not say which came first"
        ),
        Message(
            "scan the stack again, one pass after the other; release it when the order is right"
        ),
    ),
    "back-sides-missing": Hold(
        Message("the sheets were scanned from one side only"),
        Message("scan the whole stack again, both sides; release it when the backs are empty"),
    ),
    "pages-missing": Hold(
        Message("page numbers are left out"),
        Message("scan the missing pages, or release it when none is missing"),
    ),
    "pages-duplicate": Hold(
        Message("a page number is there more than once"), Message("keep one file of each number")
    ),
    "sides-differ": Hold(
        Message("there are not as many fronts as backs"),
        Message("scan both sides again: every sheet once from the front and once from the back"),
    ),
}
"""Code -> the hold."""

_NAMED = 5
"""Names that one reason quotes; the rest is counted."""


@dataclass(frozen=True, slots=True)
class BatchProblem:
    """One thing that is wrong. `reason` is the detail; `sentence` says all of it."""

    code: str
    reason: str

    @property
    def hint(self) -> str:
        """What a person can do about it."""
        return HOLDS[self.code].hint

    @property
    def sentence(self) -> str:
        """What is the matter, in which place, and what to do."""
        return Message(
            "{why}: {reason}; {hint}", why=HOLDS[self.code].why, reason=self.reason, hint=self.hint
        )


def named(names: Iterable[str]) -> str:
    """The first few of many names, and how many more there are."""
    every = list(names)
    more = len(every) - _NAMED
    if more <= 0:
        return sequence(every, ", ")
    return Message("{named} and {more} more", named=sequence(every[:_NAMED], ", "), more=more)
