"""Why intake itself holds a file, and what a person can do about it: the complete list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hold:
    """`why` says what is the matter, `hint` what to do."""

    why: str
    hint: str


HOLDS: Mapping[str, Hold] = {
    "arrived-incomplete": Hold(
        "the file never became whole",
        "scan or send it again; archivectl release archives what there is of it",
    ),
    "arrived-empty": Hold(
        "the file has no content", "scan or send it again; look whether the scanner's disk is full"
    ),
    "content-unrecognised": Hold(
        "its name promises a scan, but its content is none",
        "look at the file: scan the paper again, or archivectl release archives it as it is",
    ),
    "still-open": Hold(
        "somebody still has the file open for writing, and nothing comes any more",
        "end the transfer or the connection to the share; it is taken in as soon as it is let go",
    ),
    "source-grew": Hold(
        "its file was written to after it was taken in, so this may be only a part of it",
        "look at the document that arrived after it: refuse this one when that is the whole file, "
        "or archivectl release archives both",
    ),
    "unreadable": Hold("archived may not read the file", "give archived the right to read it"),
    "read-error": Hold(
        "the file system gives an error for this file",
        "look at the disk or the server that it lies on, and bring the file anew; it is tried "
        "again by itself",
    ),
    "intake-failed": Hold(
        "an error came up with this file alone, so it was not taken in",
        "bring it under another name, or anew, and report the error: "
        "journalctl -u archived ACTION=intake-failed",
    ),
    "too-large": Hold(
        "the file is larger than this hot folder accepts", "raise max_file_size, or take it away"
    ),
    "type-not-accepted": Hold(
        "this hot folder does not accept files of this type",
        "take it away, or bring its paper as a scan; `accept` of the hot folder says what comes in",
    ),
    "folder-closed": Hold(
        "archived cannot look into this folder",
        "give archived the right to read it, or move its files up",
    ),
    "ticket-unreadable": Hold(
        "the ticket is not the JSON, CSV or XML it should be",
        "let the scanning software write it anew, as docs/batches.md describes",
    ),
    "ticket-too-large": Hold(
        "the ticket is larger than any ticket may be", "split the dossier into several folders"
    ),
    "ticket-field": Hold(
        "a field of the ticket is not what it should be", "correct the field, and save the ticket"
    ),
    "ticket-path": Hold(
        "the ticket names a file outside its folder or in a way that is not allowed",
        "write plain paths, relative to the ticket's folder",
    ),
    "ticket-secrecy": Hold(
        "the ticket's level of secrecy cannot stand here",
        "bring the dossier to a hot folder of that level, or correct the ticket",
    ),
    "ticket-duplicate": Hold(
        "the ticket and the folder do not name every file once",
        "let each file be listed once, and have a name of its own",
    ),
    "ticket-files-missing": Hold(
        "files that the ticket lists are not there", "bring them, or correct the ticket"
    ),
    "ticket-files-extra": Hold(
        "there are files that the ticket does not list", "take them away, or list them"
    ),
    "ticket-count": Hold(
        "the number of files is not the one that the ticket claims",
        "look for pages that were left out, or correct the ticket",
    ),
    "ticket-size": Hold("files have not the size that the ticket says", "copy or scan them again"),
    "ticket-digest": Hold(
        "files have not the digests that the ticket says", "copy or scan them again"
    ),
    "ticket-several": Hold(
        "the folder has more than one ticket", "leave one, and take the others away"
    ),
    "dossier-open": Hold(
        "nobody has closed the dossier",
        "put the ticket or the mark that closes it into its folder",
    ),
    "sides-unclear": Hold(
        "which file holds the fronts cannot be told: their times do not say which came first",
        "scan the stack again, one pass after the other; release it when the order is right",
    ),
    "other-side-missing": Hold(
        "the sheets were scanned from one side only",
        "scan the whole stack again, both sides; release it when the backs are empty",
    ),
    "pages-missing": Hold(
        "page numbers are left out", "scan the missing pages, or release it when none is missing"
    ),
    "pages-duplicate": Hold(
        "a page number is there more than once", "keep one file of each number"
    ),
    "sides-differ": Hold(
        "there are not as many fronts as backs",
        "scan both sides again: every sheet once from the front and once from the back",
    ),
}
"""Code -> the hold."""
