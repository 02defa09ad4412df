"""Documents and waiting files by what a person types: an id, a part of one, or a file's name.

A name is what lay in the hot folder, with or without the folders above it. Reads the catalog only.
"""

from __future__ import annotations

import shlex
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from archived.errors import NoSuchDocument
from archived.locale import _, language, render
from archived.message import Message
from archived.observe.explain import Explanation, HistoryEntry
from archived.observe.receipts.reasons import reason_in_words, words_for
from archived.storage.catalog import Catalog
from archived.storage.name_queries import documents_named, files_named
from archived.storage.rows import Arrival, ArrivalState

_HEX = frozenset("0123456789abcdef-")


class OnlyAFile(NoSuchDocument):
    """What was named lies in a hot folder and is no document: `file` is its arrival."""

    code = NoSuchDocument.code

    def __init__(self, file: Arrival) -> None:
        super().__init__(
            Message(
                'the file "{name}" lies in the hot folder {hotfolder} and is no document',
                name=file.name,
                hotfolder=file.hotfolder,
            ),
            hint=f"archivectl explain {shlex.quote(file.name)}",
        )
        self.file = file


def resolve(catalog: Catalog, typed: str) -> str:
    """The full id for what a person typed. Raises `NoSuchDocument`, also when several fit."""
    wanted = unicodedata.normalize("NFC", typed.strip())
    ids = (
        catalog.documents_like(wanted.lower()) if wanted and _HEX.issuperset(wanted.lower()) else []
    )
    if wanted.lower() in ids:
        return wanted.lower()
    if len(ids) == 1:
        return ids[0]
    named = documents_named(catalog, wanted) if wanted else []
    if len(named) == 1:
        return named[0]
    if named:
        raise NoSuchDocument(
            Message(
                '{count} documents have the name "{wanted}": {named}',
                count=len(named),
                wanted=wanted,
                named=", ".join(named),
            ),
            hint=Message("name one by its id; archivectl documents --name tells them apart"),
        )
    if ids:
        raise NoSuchDocument(
            Message(
                "{count} documents fit {typed!r}: {ids}",
                count=len(ids),
                typed=typed,
                ids=", ".join(ids),
            ),
            hint=Message("type more of the id"),
        )
    files = files_named(catalog, wanted) if wanted else []
    if files:
        raise OnlyAFile(files[0])
    raise NoSuchDocument(
        Message(
            "no document has the name {typed!r}, and no id begins or ends with it", typed=typed
        ),
        hint=Message(
            "archivectl documents --name PART lists those with a name like that; "
            "archivectl search finds words"
        ),
    )


def state_of(file: Arrival) -> str:
    """How a file stands, in a word of the answers."""
    return "arriving" if file.state is ArrivalState.SEEN else str(file.state)


def file_shown(file: Arrival) -> dict[str, Any]:
    """What is known of a file that became no document."""
    return {
        "id": None,
        "name": file.name,
        "state": state_of(file),
        "hotfolder": file.hotfolder,
        "path": file.path.hex(),
        "size": file.size,
        "first_seen": file.first_seen,
        "code": file.code,
        "reason": file.reason,
    }


def file_explained(file: Arrival, folders: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """As a document is explained; `folders` is how the running daemon's hot folders stand."""
    seen = _('The file "{name}" was seen in the hot folder {folder}.')
    story = [HistoryEntry(file.first_seen, seen.format(name=file.name, folder=file.hotfolder))]
    why = f"{reason_in_words(file.reason or '', file.code)} [{file.code}]."
    paper = _("Keep the paper: it is not archived yet.")
    match file.state:
        case ArrivalState.HELD:
            told = _("It lies in the hot folder, was not taken in, and waits for a person: {why}")
            words = words_for(file.code)
            now, following = told.format(why=why), words.vi_do if language() else words.en_do
            story += (
                [HistoryEntry(file.ended, _("It was held: {why}").format(why=why))]
                if file.ended
                else []
            )
        case ArrivalState.IGNORED:
            told = _("It lies in the hot folder and is left alone under a rule: {why}")
            now = told.format(why=why)
            following = _("Nothing, unless it should be archived: then look at the rule.")
            paper = _("Nothing of it is archived.")
        case _:
            now, following = _arriving(file, folders)
    body = asdict(Explanation(story, now, following, [], paper))
    return {"document": None, "name": file.name, "state": state_of(file), **body}


def _arriving(file: Arrival, folders: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Where a file that is only seen stands, and what to do."""
    folder = next((each for each in folders if each["name"] == file.hotfolder), None)
    why = folder and (folder["offline"] or folder["paused"] or folder["failing"])
    if why:
        told = _("It lies in the hot folder and was not taken in yet; the hot folder: {why}.")
        return told.format(why=reason_in_words(why, None)), _("See to the hot folder first.")
    if folder is None:
        told = _("It lies in the hot folder and was not taken in yet; the daemon does not run.")
        return told, _("Start the daemon; the file is taken in then.")
    waits = next((each for each in folder.get("waiting", ()) if each["name"] == file.name), None)
    if waits is not None:
        told = _("It lies in the hot folder and was not taken in yet: {why}.")
        return (
            told.format(why=render(waits["why"])),
            _("Nothing: it is taken in as soon as that is over; archivectl status names it, too."),
        )
    return (
        _("It lies in the hot folder and is not whole yet, or somebody still writes to it."),
        _("Nothing: it is taken in once it is whole and nothing has changed for a while."),
    )
