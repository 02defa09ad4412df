"""Actions of a PDF (ISO 32000-2, 12.6): what an access copy may do when it is opened or clicked.

What is not on the list is removed and told. A link to another machine must not survive: Windows
sends the reader's credentials to the server of a UNC path as soon as it is followed.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pikepdf

_INSIDE = {"/GoTo", "/GoToDp", "/Named", "/Thread"}
"""They lead to another place in the same file; `/Thread` only without a file."""
_NAMED = {"/NextPage", "/PrevPage", "/FirstPage", "/LastPage"}
_OTHERS = {
    "/GoToR",
    "/GoToE",
    "/Launch",
    "/URI",
    "/Sound",
    "/Movie",
    "/Hide",
    "/SubmitForm",
    "/ResetForm",
    "/ImportData",
    "/JavaScript",
    "/SetOCGState",
    "/Rendition",
    "/Trans",
    "/GoTo3DView",
    "/RichMediaExecute",
}
_ADDRESS = re.compile(r"(https?://[^/\\]|mailto:)", re.IGNORECASE)
"""What an address may begin with. Others start programs, or reach into the network by file name."""
_SERVER = re.compile(r"([\\/]{2}|[\\/]\?\?[\\/]|[a-z][a-z0-9+.-]+:)", re.IGNORECASE)
"""A file name that leads to a server, or a URL."""
_DRIVE = re.compile(r"[a-z][:|]", re.IGNORECASE)
_TRIGGERS = ("/A", "/PA", "/NA", "/OpenAction", "/Next")
_NOWHERE = {
    "/GoToR",
    "/GoToE",
    "/Launch",
    "/URI",
    "/SubmitForm",
    "/ImportData",
    "/JavaScript",
    "/RichMediaExecute",
}
"""Removed under whatever key they stand: these words mean nothing but an action."""
_PLAYED = {"/RichMedia", "/Movie", "/Sound", "/Screen", "/3D"}
_FILES = ("/F", "/UF", "/DOS", "/Mac", "/Unix")


@dataclass(slots=True)
class _Cleaner:
    """Goes through every object of one file, without recursion."""

    found: Counter[str] = field(default_factory=Counter)

    def clean(self, pdf: pikepdf.Pdf) -> None:
        for holder in _holders(pdf):
            if isinstance(holder, pikepdf.Array):
                self._array(holder)
            else:
                self._dictionary(holder)
        # Only now: what an action is told by may be the file that it names.
        for holder in _holders(pdf):
            if isinstance(holder, pikepdf.Dictionary) and not _not_kept(holder, sure=False):
                self._files(holder)

    def _dictionary(self, it: Any) -> None:
        if (more := _as_dictionary(it.get("/AA"))) is not None:
            for trigger in more.keys():  # noqa: SIM118 - no mapping of Python's
                self.found[_name(more.get(trigger), "/AA")] += 1
            del it["/AA"]
        for key in list(it.keys()):
            why = _not_kept(it[key], sure=key in {"/OpenAction", "/PA", "/NA"})
            if why and (key in _TRIGGERS or why in _NOWHERE):
                self._drop(it, key, why)
        if _as_dictionary(it.get("/JavaScript")) is not None:  # in /Names of the catalog
            self._drop(it, "/JavaScript", "/JavaScript")
        if isinstance(it.get("/XFA"), (pikepdf.Array, pikepdf.Stream, pikepdf.String)):
            self._drop(it, "/XFA", "/XFA")
        for key in ("/Base", "/URL"):
            address = it.get(key)
            if isinstance(address, pikepdf.String) and not _ADDRESS.match(str(address)):
                self._drop(it, key, "/URI")

    def _files(self, it: Any) -> None:
        embedded = _embeds(it)
        for key in _FILES:
            value = it.get(key)
            if not isinstance(value, pikepdf.String):
                continue
            name = _seen(str(value))
            if _SERVER.match(name) is None and (embedded or _DRIVE.match(name) is None):
                continue
            if embedded:  # this is but its name, and PDF/A wants one
                it[key] = pikepdf.String(re.split(r"[\\/:|]", str(value))[-1] or "file")
                self.found["file elsewhere"] += 1
            else:
                self._drop(it, key, "file elsewhere")

    def _array(self, it: Any) -> None:
        """Annotations that play something are taken out of a page's list; so are actions out of a
        chain."""
        for index in reversed(range(len(it))):
            each = _as_dictionary(it[index])
            if each is None:
                continue
            kind = str(each.get("/Subtype", ""))
            played = kind in _PLAYED and "/Rect" in each
            why = kind if played else _not_kept(each, sure=False)
            if why:
                del it[index]
                self.found[why] += 1

    def _drop(self, it: Any, key: str, why: str) -> None:
        del it[key]
        self.found[why] += 1


def _as_dictionary(it: Any) -> Any:
    """A dictionary, or that of a stream: there are readers that take one for the other."""
    if isinstance(it, pikepdf.Stream):
        return it.stream_dict
    return it if isinstance(it, pikepdf.Dictionary) else None


def _embeds(it: Any) -> bool:
    files = _as_dictionary(it.get("/EF"))
    return files is not None and any(
        isinstance(files.get(key), pikepdf.Stream) for key in list(files.keys())
    )


def _seen(name: str) -> str:
    """A file name without marks that are not seen (byte order, direction, NUL)."""
    return "".join(c for c in name if not unicodedata.category(c).startswith("C")).lstrip()


def _holders(pdf: pikepdf.Pdf) -> Iterator[Any]:
    """Every dictionary (of a stream, too) and array of a file, each before what it holds."""
    for item in [pdf.trailer, *pdf.objects]:
        todo: list[Any] = [item]
        while todo:
            holder = todo.pop()
            if isinstance(holder, pikepdf.Stream):
                holder = holder.stream_dict
            if isinstance(holder, pikepdf.Dictionary):
                yield holder
                todo += _direct(holder)
            elif isinstance(holder, pikepdf.Array):
                yield holder
                todo += [each for each in _items(holder) if _is_direct(each)]


def remove_from(path: Path) -> dict[str, int]:
    """Remove what is not on the list from the PDF at `path`: kind of action -> how many.

    The file is written anew only where something was removed.
    """
    with pikepdf.open(path, allow_overwriting_input=True) as pdf:
        cleaner = _Cleaner()
        cleaner.clean(pdf)
        if cleaner.found:
            pdf.save(path, encryption=False)
    return _counted(cleaner)


def copy_without(source: Path, target: Path) -> dict[str, int]:
    """Write `source` without them to `target`, if it holds any; returns what was removed."""
    with pikepdf.open(source) as pdf:
        cleaner = _Cleaner()
        cleaner.clean(pdf)
        if cleaner.found:
            pdf.save(target, encryption=False)
    return _counted(cleaner)


def of(path: Path) -> dict[str, int]:
    """What would be removed. The file is only read."""
    with pikepdf.open(path) as pdf:
        cleaner = _Cleaner()
        cleaner.clean(pdf)
    return _counted(cleaner)


def in_words(removed: dict[str, int]) -> str:
    """`2 Launch, 1 SubmitForm`."""
    return ", ".join(f"{count} {kind}" for kind, count in removed.items())


def _counted(cleaner: _Cleaner) -> dict[str, int]:
    return {kind.lstrip("/"): count for kind, count in sorted(cleaner.found.items())}


def _not_kept(it: Any, *, sure: bool) -> str:
    """The kind of an action that may not be kept; empty for another, and for what is no action.

    `sure`: it stands where nothing but an action or a destination may stand. Elsewhere the same
    keys are used for other things: attributes of structure, the next item of an outline.
    """
    it = _as_dictionary(it)
    if it is None:
        return ""
    kind = str(it.get("/S", ""))
    known = kind in _INSIDE | _OTHERS or str(it.get("/Type", "")) == "/Action"
    if not known and not (sure and kind):
        return ""
    if kind == "/Named" and str(it.get("/N", "")) in _NAMED:
        return ""
    if kind == "/URI" and _ADDRESS.match(str(it.get("/URI", ""))):
        return ""
    if kind in _INSIDE - {"/Named"} and "/F" not in it:
        return ""
    return kind or "action"


def _name(it: Any, otherwise: str) -> str:
    it = _as_dictionary(it)
    return str(it.get("/S", otherwise)) if it is not None else otherwise


def _direct(it: Any) -> Iterator[Any]:
    for key in list(it.keys()):
        value = it.get(key)
        if _is_direct(value):
            yield value


def _items(array: Any) -> Iterator[Any]:
    for index in range(len(array)):
        yield array[index]


def _is_direct(value: Any) -> bool:
    """A container written inside another one: indirect ones come by themselves."""
    return isinstance(value, (pikepdf.Dictionary, pikepdf.Array)) and not value.is_indirect
