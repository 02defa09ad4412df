"""Documents and waiting files by what a person types: an id, a part of one, or a file's name.

A name is what lay in the hot folder, with or without the folders above it. Reads the catalog only.
"""

from __future__ import annotations

import shlex
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import ColumnElement, select

from archived.errors import NoSuchDocument
from archived.locale import _, heard, language
from archived.observe.explain import Story, Told
from archived.observe.share.words import reason_in_words, words_for
from archived.storage import schema as t
from archived.storage.catalog import Catalog
from archived.storage.records import Arrival, ArrivalState

_HEX = frozenset("0123456789abcdef-")
_MOST = 10
"""Documents or files of one name that are told of."""


class OnlyAFile(NoSuchDocument):
    """What was named lies in a hot folder and is no document: `file` is its arrival."""

    code = NoSuchDocument.code

    def __init__(self, file: Arrival) -> None:
        super().__init__(
            f'the file "{file.name}" lies in the hot folder {file.hotfolder} and is no document',
            hint=f"archivectl explain {shlex.quote(file.name)}",
        )
        self.file = file


def resolve(catalog: Catalog, typed: str) -> str:
    """The full id for what a person typed. Raises `NoSuchDocument`, also when several fit."""
    wanted = unicodedata.normalize("NFC", typed.strip())
    ids = catalog.documents_like(wanted.lower()) if wanted and _HEX.issuperset(wanted.lower()) \
        else []  # fmt: skip
    if wanted.lower() in ids:
        return wanted.lower()
    if len(ids) == 1:
        return ids[0]
    named = _documents_named(catalog, wanted) if wanted else []
    if len(named) == 1:
        return named[0]
    if named:
        raise NoSuchDocument(
            f'{len(named)} documents have the name "{wanted}": {", ".join(named)}',
            hint="name one by its id; archivectl documents --name tells them apart",
        )
    if ids:
        raise NoSuchDocument(
            f"{len(ids)} documents fit {typed!r}: {', '.join(ids)}", hint="type more of the id"
        )
    files = files_named(catalog, wanted) if wanted else []
    if files:
        raise OnlyAFile(files[0])
    raise NoSuchDocument(
        f"no document has the name {typed!r}, and no id begins or ends with it",
        hint="archivectl documents --name PART lists those with a name like that; "
        "archivectl search finds words",
    )


def _named(column: ColumnElement[str], name: str) -> ColumnElement[bool]:
    return (column == name) | column.endswith(f"/{name}", autoescape=True)


def _documents_named(catalog: Catalog, name: str) -> Sequence[str]:
    """Ids of documents with a name, also of what joined them; the newest."""
    d, a = t.document.c, t.arrival.c
    joined = select(a.document).where(a.document.is_not(None), _named(a.name, name))
    found = (
        select(d.id)
        .where(_named(d.name, name) | d.id.in_(joined))
        .order_by(d.id.desc())
        .limit(_MOST)
    )
    with catalog.reading() as connection:
        return list(connection.execute(found).scalars())


def files_named(catalog: Catalog, name: str, *, part: bool = False) -> list[Arrival]:
    """Files that lie in a hot folder and became no document: of that name, or with that `part`."""
    a = t.arrival.c
    fits = a.name.contains(name, autoescape=True) if part else _named(a.name, name)
    found = (
        select(t.arrival)
        .where(a.document.is_(None), a.present, a.state != ArrivalState.ADMITTED, fits)
        .order_by(a.id.desc())
        .limit(_MOST)
    )
    with catalog.reading() as connection:
        return [
            Arrival(**(dict(row._mapping) | {"state": ArrivalState(row.state)}))
            for row in connection.execute(found)
        ]


def state_of(file: Arrival) -> str:
    """How a file stands, in a word of the answers."""
    return "arriving" if file.state is ArrivalState.SEEN else str(file.state)


def file_shown(file: Arrival) -> dict[str, Any]:
    """What is known of a file that became no document."""
    return {
        "id": None, "name": file.name, "state": state_of(file), "hotfolder": file.hotfolder,
        "path": file.path.hex(), "size": file.size, "first_seen": file.first_seen,
        "code": file.code, "reason": file.reason,
    }  # fmt: skip


def file_explained(file: Arrival, folders: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """As a document is explained; `folders` is how the running daemon's hot folders stand."""
    seen = _('The file "{name}" was seen in the hot folder {folder}.')
    story = [Told(file.first_seen, seen.format(name=file.name, folder=file.hotfolder))]
    why = f"{reason_in_words(file.reason or '', file.code)} [{file.code}]."
    paper = _("Keep the paper: it is not archived yet.")
    match file.state:
        case ArrivalState.HELD:
            told = _("It lies in the hot folder, was not taken in, and waits for a person: {why}")
            words = words_for(file.code)
            now, following = told.format(why=why), words.vi_do if language() else words.en_do
            story += (
                [Told(file.ended, _("It was held: {why}").format(why=why))] if file.ended else []
            )
        case ArrivalState.IGNORED:
            told = _("It lies in the hot folder and is left alone under a rule: {why}")
            now = told.format(why=why)
            following = _("Nothing, unless it should be archived: then look at the rule.")
            paper = _("Nothing of it is archived.")
        case _:
            now, following = _arriving(file, folders)
    body = asdict(Story(story, now, following, [], paper))
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
            told.format(why=heard(waits["why"])),
            _("Nothing: it is taken in as soon as that is over; archivectl status names it, too."),
        )
    return (
        _("It lies in the hot folder and is not whole yet, or somebody still writes to it."),
        _("Nothing: it is taken in once it is whole and nothing has changed for a while."),
    )
