"""What is known about one sealed document, as `record.json`: enough to rebuild the catalog.

Pure: values in, bytes out, and back. The file is canonical (the same record gives the same bytes):
UTF-8, sorted keys, one space of indent, a final newline, times in RFC 3339, bytes as hex.

Facts are what stages found out. A stage describes a document by putting `fields` into its facts:
field name -> `{"value": ...}`, `None` when it could not be established. Later stages win. `pages`
is a number that any stage may give.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from datetime import datetime
from types import MappingProxyType, NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from archived.model import former_names
from archived.model.ids import readable
from archived.model.review import Review

FORMAT = 1
"""The number in `format`. It grows when a reader of today would misread the file of tomorrow;
new keys alone do not make it grow: readers ignore keys they do not know.
"""

RECORD, PREMIS, DUBLIN_CORE = "metadata/record.json", "metadata/premis.xml", "metadata/dc.xml"
"""Where the three descriptions lie in every object. They cannot name their own digests."""

_D = TypeVar("_D")


@dataclass(frozen=True, slots=True)
class ArrivedFile:
    """One original as it stood in the hot folder: its path below it, exact bytes, and times."""

    path: bytes
    logical: str
    """Its path in the object, like `original/0001.tif`."""
    size: int
    mtime_ns: int
    first_seen: datetime
    grew: bool = False
    """More was written to it after it was taken in, and a person let the document go on: these
    bytes may be only a beginning. What is noticed after the seal is in the ledger alone."""

    @property
    def name(self) -> str:
        """The path for people (NFC, controls made visible)."""
        return readable(self.path)


@dataclass(frozen=True, slots=True)
class RecordedFile:
    """One bitstream in the object. `step`: id of the step that made it; `None` for originals."""

    role: str
    name: str
    media_type: str
    size: int
    sha512: str
    sha256: str
    step: str | None = None
    main: bool = False

    @property
    def logical(self) -> str:
        """Its path in the object."""
        return f"{self.role}/{self.name}"


@dataclass(frozen=True, slots=True)
class RecordedStep:
    """One attempt of one stage. `ending`: as `model.outcome.Ending`, or `skipped`; `superseded`
    for one that finished and that a person had done again.
    """

    id: str
    position: int
    stage: str
    attempt: int
    version: str
    distribution: str
    options_digest: str
    started: datetime
    ended: datetime | None = None
    ending: str = ""
    code: str = ""
    message: str = ""
    tools: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    notes: tuple[str, ...] = ()
    reviews: tuple[Review, ...] = ()
    """What it asked a person to look at."""


@dataclass(frozen=True, slots=True)
class RecordedDecision:
    """What a person decided about the document: `what` is a word like `released`. `reviews`: what
    they were shown of it, `step`: by the step that asked.
    """

    at: datetime
    who: str
    what: str
    note: str = ""
    reviews: tuple[Review, ...] = ()
    step: str = ""


@dataclass(frozen=True, slots=True)
class LedgerPosition:
    """The document's last entry in the ledger before it was sealed: number and hash (hex)."""

    sequence: int
    hash: str


@dataclass(frozen=True, slots=True)
class Record:
    """Everything about one document at the moment it is sealed. `facts`: stage -> its facts."""

    document: str
    object: str
    """The OCFL object's id."""
    hotfolder: str
    path: bytes
    """The received path below the hot folder, exact bytes; of a group, its folder or ticket."""
    pipeline: str
    stages: tuple[str, ...]
    media_type: str
    secrecy: str
    received: datetime
    sealed: datetime
    archived: str
    """This program's version."""
    arrived: tuple[ArrivedFile, ...]
    files: tuple[RecordedFile, ...]
    steps: tuple[RecordedStep, ...]
    facts: Mapping[str, Mapping[str, Any]]
    ledger: LedgerPosition
    decisions: tuple[RecordedDecision, ...] = ()
    dossier: str = ""
    """Code of the dossier it belongs to."""
    given: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """What a ticket said about it, as received: claims, not findings."""
    collation: str = ""
    """How its originals are read; `two-pass`: fronts in order, then backs in reverse."""
    owner: str = ""
    """Whose papers these are, as declared for the hot folder."""
    label: str = ""
    """What it is called, where that is not its received name; a part's name, say."""
    device: str = ""
    """The device it came from, by the hot folder's `device`."""
    copies: int = 0
    """Verified copies that were promised at its arrival; 0: not said."""
    master: str = ""
    """The object it was cut out of, by id."""
    parts: tuple[str, ...] = ()
    """The objects it was cut into, by id, in order."""

    @property
    def name(self) -> str:
        """The received name for people (NFC, controls made visible)."""
        return readable(self.path)

    @property
    def originals(self) -> tuple[RecordedFile, ...]:
        """What was received."""
        return tuple(file for file in self.files if file.role == "original")


def to_json(record: Record) -> bytes:
    """`record.json`. Beside every received path stands its readable form, for people only."""
    value = {"format": FORMAT, **_plain(record)}
    value["name"] = record.name
    for plain, arrived in zip(value["arrived"], record.arrived, strict=True):
        plain["name"] = arrived.name
    text = json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True, allow_nan=False)
    # A lone surrogate cannot be UTF-8; its escape is the one that JSON has too.
    return text.encode("utf-8", "backslashreplace") + b"\n"


def from_json(content: bytes) -> Record:
    """Read `record.json` back. Raises `ValueError` saying what is wrong and where."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"record.json: not readable: {error}") from error
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        found = value.get("format") if isinstance(value, dict) else None
        raise ValueError(f"record.json: format {found!r}; this program reads format {FORMAT}")
    return _present(_read(Record, value, "record.json"))


def _present(record: Record) -> Record:
    """Under present names, whenever it was sealed."""
    steps = tuple(
        replace(
            step,
            ending=former_names.ENDINGS.get(step.ending, step.ending),
            code=former_names.CODES.get(step.code, step.code),
        )
        for step in record.steps
    )
    return replace(record, steps=steps)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("a recorded time needs a time zone")
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value


def _read(kind: type[_D], value: Any, where: str) -> _D:
    if not isinstance(value, dict):
        raise ValueError(f"{where}: not a table")  # noqa: TRY004 - the file's fault, not a caller's
    known = get_type_hints(kind)
    arguments = {
        name: _of_kind(known[name], value[name], f"{where}: {name}")
        for name in known
        if name in value
    }
    try:
        return kind(**arguments)
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from error


def _of_kind(kind: Any, value: Any, where: str) -> Any:
    if isinstance(kind, UnionType):
        kinds = get_args(kind)
        if value is None and NoneType in kinds:
            return None
        return _of_kind(kinds[0], value, where)
    origin = get_origin(kind)
    if origin is tuple and isinstance(value, list):
        return tuple(
            _of_kind(get_args(kind)[0], each, f"{where}[{number}]")
            for number, each in enumerate(value)
        )
    if origin is Mapping and isinstance(value, dict):
        return {key: _of_kind(get_args(kind)[1], each, where) for key, each in value.items()}
    if is_dataclass(kind) and isinstance(kind, type):
        return _read(kind, value, where)
    try:
        if kind is datetime:
            return datetime.fromisoformat(value)
        if kind is bytes:
            return bytes.fromhex(value)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: {error}") from error
    if kind is float and type(value) in (int, float):
        return float(value)
    if kind is Any or (type(value) is kind and kind in (str, int, bool)):
        return value
    raise ValueError(f"{where}: {value!r} is not what belongs here")


def fields_of(facts: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Field name -> established value, from stage -> facts."""
    found: dict[str, str] = {}
    for of_stage in facts.values():
        described = of_stage.get("fields")
        if not isinstance(described, Mapping):
            continue
        for name, each in described.items():
            value = each.get("value") if isinstance(each, Mapping) else None
            if isinstance(value, str) and value:
                found[str(name)] = value
    return found


def claims(given: Mapping[str, Any]) -> str:
    """Every text a ticket gives about a document, in one line to find it by."""
    found = []
    for value in given.values():
        found.append(claims(value) if isinstance(value, Mapping) else str(value))
    return " ".join(found)


def findable(facts: Mapping[str, Mapping[str, Any]], dossier: str, given: Mapping[str, Any]) -> str:
    """What is known of a document beside its name and its text, in one line to find it by."""
    return " ".join((*fields_of(facts).values(), dossier, claims(given)))


def pages_of(facts: Mapping[str, Mapping[str, Any]]) -> int | None:
    """The number of pages, as the last stage that counted them said."""
    counted = [
        f["pages"]
        for f in facts.values()
        if isinstance(f.get("pages"), int) and not isinstance(f["pages"], bool)
    ]
    return counted[-1] if counted else None
