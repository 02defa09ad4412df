"""Judges, from outside, the files a stage says it made: they are what it says, or none is taken."""

from __future__ import annotations

import codecs
import math
import stat
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any

from archived.api import Role
from archived.engine.protocol import LEFT, TEMPORARY
from archived.engine.worker.handover import INPUT
from archived.engine.worker.stage_result import clean
from archived.message import Message
from archived.model.outcome import Ending, Made, Outcome
from archived.model.record import DUBLIN_CORE, PREMIS, RECORD
from archived.model.review import PICTURE_LIMIT
from archived.storage import atomic

_ROLES = frozenset(str(role) for role in Role) - {Role.ORIGINAL}
_IMAGES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"II*\0", "image/tiff"),
    (0, b"MM\0*", "image/tiff"),
    (0, b"II+\0", "image/tiff"),
    (0, b"MM\0+", "image/tiff"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", "image/jp2"),
    (8, b"WEBP", "image/webp"),
    (0, b"BM", "image/bmp"),
)
"""Offset, bytes there, media type."""
_ALSO = {"image/jpx": "image/jp2", "image/jpm": "image/jp2", "image/x-ms-bmp": "image/bmp"}
_SPACE = b" \t\r\n"
_PICTURE = "image/png"
NOT_UPGRADED_AGAIN = timedelta(hours=1)
"""After this an upgrade that brought nothing is tried again."""
_LONGEST = 240
"""Bytes of a name; the spool writes a number and the role before it, and a name has 255."""


def sniff(path: Path) -> str | None:
    """The media type of a PDF or image by its first bytes, or `None`: not established."""
    with path.open("rb") as file:
        head = file.read(1024)
    if b"%PDF-" in head:
        return "application/pdf"
    return next((t for at, magic, t in _IMAGES if head[at : at + len(magic)] == magic), None)


def check_output(outcome: Outcome, folder: Path) -> Outcome:
    """The outcome itself, or `failed` with code `bad-output` naming the first file that is wrong.

    `folder` is the step's, after every process of the step has ended. Reads the head of each
    file, and the whole of those that claim to be text or JSON.
    """
    seen: set[tuple[str, str]] = set()
    paths: set[str] = set()
    files = [(made, False) for made in outcome.made]
    files += [(part.file, True) for part in outcome.parts]
    for made, is_part in files:
        problem = _problem(made, folder, is_part=is_part)
        if not problem and not is_part and (made.role, made.name) in seen:
            problem = "two files have this role and name"
        if not problem and made.path in paths:
            problem = "it was returned twice"
        if problem:
            return _bad(outcome, made.path, problem)
        seen.add((made.role, made.name))
        paths.add(made.path)
    return _check_pictures(outcome, folder)


def taken_from_worker(outcome: Outcome, folder: Path) -> Outcome:
    """The same for a step of a kept worker, which lives on: what it left is in `folder`/`LEFT`.

    The worker may still have these files open. So each is judged, copied into `folder`, and the
    copy is judged again: that one nobody else can change. Raises `OSError` when it cannot be made.
    """
    left = folder / LEFT
    if left.is_symlink() or not left.is_dir():
        return _bad(outcome, "its folder", "it is not the one that the step was given")
    outcome = check_output(outcome, left)
    if outcome.ending is not Ending.FINISHED:
        return outcome
    for made in (*outcome.made, *(part.file for part in outcome.parts)):
        copy = folder / made.path
        copy.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as opened:
            try:
                source = opened.enter_context(atomic.open_beneath(left, made.path))
            except OSError as error:
                return _bad(
                    outcome,
                    made.path,
                    Message("it was changed meanwhile: {why}", why=error.strerror),
                )
            atomic.copy_file(source, copy)
    return check_output(outcome, folder)


def _bad(outcome: Outcome, what: str, problem: str) -> Outcome:
    return replace(
        Outcome(Ending.FAILED, "bad-output", usage=outcome.usage),
        message=clean(Message("{what}: {problem}", what=what, problem=problem)),
        hint=Message("report it to the stage's author"),
    )


def _check_pictures(outcome: Outcome, folder: Path) -> Outcome:
    """What a person must look at is shown by files of this very step, or by none."""
    shown = {
        made.name: folder / made.path
        for made in outcome.made
        if (made.role, made.media_type) == (Role.METADATA, _PICTURE)
    }
    named = {region.picture for review in outcome.reviews for region in review.regions} - {""}
    problem = ""
    large = sorted(
        name for name in named & shown.keys() if shown[name].lstat().st_size > PICTURE_LIMIT
    )
    if large:
        problem = f"the picture {large[0]!r} takes more than {PICTURE_LIMIT} bytes"
    if missing := sorted(named - shown.keys()):
        problem = f"a region is shown by {missing[0]!r}, which is no picture among its metadata"
    if outcome.reviews and outcome.parts:
        problem = "it cut the document into parts and asks for a review of the whole"
    if outcome.reviews and outcome.ending is not Ending.FINISHED:
        problem = "it asks for a review and did not finish"
    if not problem:
        return outcome
    return replace(
        Outcome(Ending.FAILED, "bad-output", usage=outcome.usage),
        message=clean(problem),
        hint=Message("report it to the stage's author"),
    )


def check_sealed(outcome: Outcome) -> Outcome:
    """The same for a step behind the seal, where a document gets no more files and nothing that a
    person sees in it can hold it back any more.
    """
    extra = outcome.made or outcome.parts or outcome.reviews
    if outcome.ending is not Ending.FINISHED or not extra:
        return outcome
    return replace(
        Outcome(Ending.FAILED, "bad-output", usage=outcome.usage),
        message="it asks for a review of a document that is sealed already"
        if outcome.reviews
        else "it made files of a document that is sealed already",
        hint='let this stage stand before "seal"',
    )


def check_upgrade(outcome: Outcome, before: Mapping[str, Any]) -> Outcome:
    """The same for a step that upgrades a sealed document; `before`: its facts until now.

    It brings files and facts and nothing else. One that leaves everything as it was waits: the
    stage would otherwise be asked again at once.
    """
    if outcome.ending is not Ending.FINISHED:
        return outcome
    if outcome.parts or outcome.reviews or outcome.copies:
        return replace(
            Outcome(Ending.FAILED, "bad-output", usage=outcome.usage),
            message=Message("an upgrade returned parts, reviews or copies"),
            hint=Message("report it to the stage's author"),
        )
    if not outcome.made and outcome.facts.get("pending") == before.get("pending"):
        return Outcome(
            Ending.POSTPONED,
            "not-upgraded",
            Message("the stage could not improve the document now"),
            Message("nothing; it is tried again"),
            after=NOT_UPGRADED_AGAIN,
            usage=outcome.usage,
        )
    return outcome


def _problem(made: Made, folder: Path, *, is_part: bool) -> str:
    if is_part != (made.role == Role.ORIGINAL):
        return (
            "the file of a part comes from Context.new_part"
            if is_part
            else "only admission makes originals"
        )
    if not is_part and made.role not in _ROLES:
        return f"there is no role {made.role!r}"
    if not _plain(made.name):
        return f"{made.name!r} is not a plain file name"
    if f"{made.role}/{made.name}" in (RECORD, PREMIS, DUBLIN_CORE):
        return f"{made.name!r} is the core's own description of the document"
    relative = PurePosixPath(made.path)
    if relative.is_absolute() or not relative.parts or ".." in relative.parts:
        return "it lies outside the step's folder"
    first = relative.parts[0]
    if first in (TEMPORARY, INPUT) or first.startswith(LEFT):
        return "it lies in the temporary folder, or in that of what the step was given"
    try:
        return _by_folder(folder, relative.parts) or _by_content(folder / relative, made.media_type)
    except FileNotFoundError:
        return "it does not exist"
    except OSError as error:
        return Message("it cannot be read: {why}", why=error.strerror)


def _plain(name: str) -> bool:
    odd = any(char < " " or char in "/\x7f" for char in name)
    return bool(name) and not odd and not name.startswith(".") and _bytes_of(name) <= _LONGEST


def _bytes_of(text: str) -> float:
    """How long it is; infinite when it has halves of characters and is no text."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return math.inf


def _by_folder(folder: Path, parts: tuple[str, ...]) -> str:
    """What is wrong with the way to the file and its kind; nothing on the way may be a link."""
    path = folder
    for part in parts[:-1]:
        path /= part
        if not stat.S_ISDIR(path.lstat().st_mode):
            return f"{part!r} on the way to it is not a folder"
    found = (path / parts[-1]).lstat()
    if stat.S_ISLNK(found.st_mode):
        return "it is a symbolic link"
    if not stat.S_ISREG(found.st_mode):
        return "it is not a regular file"
    if found.st_nlink != 1:
        return f"it has {found.st_nlink} hard links"
    return ""


def _by_content(path: Path, media_type: str) -> str:
    main, slash, sub = media_type.partition("/")
    if (
        not (main and slash and sub and media_type.isascii())
        or media_type != media_type.lower()
        or " " in media_type
    ):
        return f"{media_type!r} is not a media type"
    if media_type in _ALSO or media_type in {known for _, _, known in _IMAGES}:
        found = sniff(path)
        return "" if found == _ALSO.get(media_type, media_type) else _differs(media_type, found)
    if media_type == "application/pdf":
        found = sniff(path)
        return "" if found == media_type else _differs(media_type, found)
    if media_type == "text/plain":
        return _is_text(path)
    if media_type == "application/json":
        return _starts(path, b'{["-0123456789tfn', media_type) or _is_text(path)
    if media_type in ("application/xml", "text/xml") or sub.endswith("+xml"):
        return _starts(path, b"<", media_type)
    return ""


def _differs(says: str, found: str | None) -> str:
    return f"it says {says} but begins like {found or 'something else'}"


def _starts(path: Path, with_one_of: bytes, media_type: str) -> str:
    with path.open("rb") as file:
        head = file.read(1024)
    if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return ""
    first = head.removeprefix(codecs.BOM_UTF8).lstrip(_SPACE)[:1]
    return "" if first and first in with_one_of else _differs(media_type, None)


def _is_text(path: Path) -> str:
    decode = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb", buffering=0) as file:
        try:
            while chunk := file.read(2**20):
                if b"\0" in chunk:
                    return "it says text but holds zero bytes"
                decode.decode(chunk)
            decode.decode(b"", final=True)
        except UnicodeDecodeError as error:
            return f"it says text but is not UTF-8: {error.reason}"
    return ""
