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
    "unreadable": Hold("archived may not read the file", "give archived the right to read it"),
    "too-large": Hold(
        "the file is larger than this hot folder accepts", "raise max_file_size, or take it away"
    ),
    "folder-closed": Hold(
        "archived cannot look into this folder",
        "give archived the right to read it, or move its files up",
    ),
}
"""Code -> the hold."""
