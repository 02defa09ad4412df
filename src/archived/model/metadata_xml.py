"""The descriptions of a sealed object as XML: PREMIS 3.0 and simple Dublin Core.

Pure: a record in, bytes out; nothing here parses. `premis.xml` uses event types and outcomes of
the Library of Congress, with their URIs. `dc.xml` (in the OAI container) holds what stages
established; what they did not establish is left out, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from lxml import etree

from archived.model.outcome import SUPERSEDED
from archived.model.record import Record, RecordedFile, RecordedStep, fields_of

# What XML 1.0 (production 2, Char) leaves out, and the lone surrogates UTF-8 cannot carry.
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def legal(text: str) -> str:
    """`text` with characters XML cannot carry made visible: `"a\\x00"` becomes `"a\\\\x00"`."""
    return _ILLEGAL.sub(lambda match: ascii(match[0])[1:-1], text)


def add(parent: Any, namespace: str, name: str, text: str = "", **attributes: str) -> Any:
    """Append an element and return it."""
    element = etree.SubElement(parent, f"{{{namespace}}}{name}")
    for key, value in attributes.items():
        element.set(key, legal(value))
    if text:
        element.text = legal(text)
    return element


def new_root(namespace: str, name: str, prefixes: Mapping[str, str]) -> Any:
    """A new document's root element with its namespace prefixes."""
    return etree.Element(f"{{{namespace}}}{name}", nsmap=dict(prefixes))


def to_bytes(element: Any) -> bytes:
    """The whole document, UTF-8, indented, with its declaration."""
    content: bytes = etree.tostring(
        element, xml_declaration=True, encoding="UTF-8", pretty_print=True
    )
    return content


DC = "http://purl.org/dc/elements/1.1/"
OAI_DC = "http://www.openarchives.org/OAI/2.0/oai_dc/"

_BY_MACHINE = "Described by a program from recognised text; record.json says how sure it was."


def dublin_core(record: Record) -> bytes:
    """`dc.xml`. Always has a title (at worst the received name), identifier, date and format."""
    root = new_root(OAI_DC, "dc", {"oai_dc": OAI_DC, "dc": DC})
    for name, value in _elements(record):
        add(root, DC, name, value)
    return to_bytes(root)


def _elements(record: Record) -> Iterator[tuple[str, str]]:
    read = fields_of(record.facts)
    yield "title", _title(read) or record.name
    yield "identifier", record.object
    if reference := _reference(read):
        yield "identifier", reference
    for element, field in (
        ("type", "type_name"),
        ("creator", "organ"),
        ("contributor", "parent_organ"),
        ("contributor", "signer"),
        ("description", "subject"),
        ("coverage", "place"),
    ):
        if field in read:
            yield element, read[field]
    # Without a date of issue the date it was received: dc:date is for some event of its life.
    yield "date", read.get("issued_date") or record.received.date().isoformat()
    if read:
        yield "description", _BY_MACHINE
    for media_type in dict.fromkeys(file.media_type for file in record.files):
        yield "format", media_type
    yield "source", record.name
    # What it is a part of, and has as parts: its dossier, the scan it was cut out of, its pieces.
    for related in (record.dossier, record.master, *record.parts):
        if related:
            yield "relation", related
    if record.secrecy:
        yield "rights", record.secrecy


def _title(read: Mapping[str, str]) -> str:
    reference = _reference(read)
    head = " ".join(
        part for part in (read.get("type_name", ""), reference and f"số {reference}") if part
    )
    return ": ".join(part for part in (head, read.get("subject", "")) if part)


def _reference(read: Mapping[str, str]) -> str:
    """Number and notation as printed, like `12/QĐ-UBND`."""
    if "code" in read:
        return read["code"]
    return "/".join(read[part] for part in ("number", "notation") if part in read)


PREMIS_NS = "http://www.loc.gov/premis/v3"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_VOCABULARY = "http://id.loc.gov/vocabulary/preservation"

EVENT_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "creation": "cre",
        "digital signature generation": "dsg",
        "digital signature validation": "dig",
        "fixity check": "fix",
        "format identification": "for",
        "information package creation": "ipc",
        "ingestion": "ing",
        "message digest calculation": "mes",
        "metadata extraction": "mee",
        "metadata modification": "mem",
        "modification": "mod",
        "normalization": "nor",
        "policy assignment": "poa",
        "replication": "rep",
        "validation": "val",
        "virus check": "vir",
    }
)
"""LoC event type -> its code, the last part of its URI."""

STAGE_EVENTS: Mapping[str, str] = MappingProxyType(
    {
        "separate": "modification",
        "ocr": "normalization",
        "classify": "metadata extraction",
        "malware": "virus check",
        "sign": "digital signature generation",
        "replicate": "replication",
        "stamp": "creation",
    }
)
"""Stage name -> event type. Another stage's is `creation` when it made files, else
`metadata extraction`.
"""

_OUTCOMES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "finished": ("success", "suc"),
        SUPERSEDED: ("warning", "war"),
        "skipped": ("warning", "war"),
        "postponed": ("warning", "war"),
    }
)
_FAILURE = ("fail", "fai")


@dataclass(frozen=True, slots=True)
class _Event:
    id: str
    kind: str
    at: datetime
    detail: str
    outcome: tuple[str, str]
    note: str
    agents: tuple[str, ...]
    objects: tuple[tuple[str, str], ...]
    """Object ids with their role in the event: `source` or `outcome`."""


def premis(record: Record, *, stage_events: Mapping[str, str] = STAGE_EVENTS) -> bytes:
    """`premis.xml`: the document as an intellectual entity, its files, what happened to it, and
    who or what did it.
    """
    root = new_root(PREMIS_NS, "premis", {"premis": PREMIS_NS, "xsi": _XSI})
    root.set("version", "3.0")
    events = list(_events(record, stage_events))
    _entity(root, record, events)
    for file in record.files:
        _file(root, record, file, events)
    for event in events:
        _event(root, event)
    for name, version, kind in _agents(record):
        agent = _add(root, "agent")
        _identifier(agent, "agentIdentifier", _agent_id(name, version))
        _add(agent, "agentName", name)
        _add(agent, "agentType", kind)
        if version:
            _add(agent, "agentVersion", version)
    return to_bytes(root)


def _entity(root: Any, record: Record, events: Iterable[_Event]) -> None:
    entity = _add(root, "object")
    entity.set(f"{{{_XSI}}}type", "premis:intellectualEntity")
    _identifier(entity, "objectIdentifier", record.object)
    _add(entity, "originalName", record.name)
    if record.master:
        _relationship(entity, "derivation", "has source", [record.master])
    _relationship(entity, "derivation", "is source of", list(record.parts))
    _links(entity, record.object, events)


def _file(root: Any, record: Record, file: RecordedFile, events: Iterable[_Event]) -> None:
    element = _add(root, "object")
    element.set(f"{{{_XSI}}}type", "premis:file")
    own_id = _file_id(record, file)
    _identifier(element, "objectIdentifier", own_id)
    characteristics = _add(element, "objectCharacteristics")
    _add(characteristics, "compositionLevel", "0")
    for algorithm, digest in (("SHA-512", file.sha512), ("SHA-256", file.sha256)):
        fixity = _add(characteristics, "fixity")
        _add(fixity, "messageDigestAlgorithm", algorithm)
        _add(fixity, "messageDigest", digest)
        _add(fixity, "messageDigestOriginator", _agent_id("archived", record.archived))
    _add(characteristics, "size", str(file.size))
    designation = _add(_add(characteristics, "format"), "formatDesignation")
    _add(designation, "formatName", file.media_type)
    made_by = next((step for step in record.steps if step.id == file.step), None)
    if made_by is not None:
        application = _add(characteristics, "creatingApplication")
        _add(application, "creatingApplicationName", made_by.distribution or made_by.stage)
        _add(application, "creatingApplicationVersion", made_by.version)
    for arrived in record.arrived:
        if arrived.logical == file.logical:
            _add(element, "originalName", arrived.name)
            break
    location = _add(_add(element, "storage"), "contentLocation")
    _add(location, "contentLocationType", "OCFL logical path")
    _add(location, "contentLocationValue", file.logical)
    if file.step is not None:
        originals = [_file_id(record, original) for original in record.originals]
        _relationship(element, "derivation", "has source", originals, made_by)
    _relationship(element, "structural", "is part of", [record.object])
    _links(element, own_id, events)


def _relationship(
    parent: Any, kind: str, sub: str, objects: list[str], step: RecordedStep | None = None
) -> None:
    if not objects:
        return
    relationship = _add(parent, "relationship")
    _add(relationship, "relationshipType", kind)
    _add(relationship, "relationshipSubType", sub)
    for related in objects:
        _identifier(relationship, "relatedObjectIdentifier", related)
    if step is not None:
        _identifier(relationship, "relatedEventIdentifier", step.id)


def _events(record: Record, stage_events: Mapping[str, str]) -> Iterator[_Event]:
    us = (_agent_id("archived", record.archived),)
    fine = _OUTCOMES["finished"]
    originals = tuple((_file_id(record, file), "outcome") for file in record.originals)
    received = f"{record.object}/received"
    yield _Event(
        received,
        "ingestion",
        record.received,
        f"taken from the hot folder {record.hotfolder}; pipeline {record.pipeline}",
        fine,
        "",
        us,
        ((record.object, "outcome"), *originals),
    )
    yield _Event(
        f"{record.object}/digests",
        "message digest calculation",
        record.received,
        "SHA-512 and SHA-256, while the bytes were copied out of the hot folder",
        fine,
        "",
        us,
        originals,
    )
    for step in record.steps:
        yield _step_event(record, step, stage_events)
    for number, decision in enumerate(record.decisions, 1):
        looked_at = sum(len(review.regions) for review in decision.reviews)
        shown = f"; {looked_at} regions were shown" if decision.reviews else ""
        yield _Event(
            f"{record.object}/decision/{number}",
            "policy assignment",
            decision.at,
            f"a person decided: {decision.what}{shown}",
            fine,
            decision.note,
            (_agent_id(decision.who, ""),),
            ((record.object, "source"),),
        )
    yield _Event(
        f"{record.object}/sealed",
        "information package creation",
        record.sealed,
        f"OCFL 1.1 object; ledger entry {record.ledger.sequence}, {record.ledger.hash}",
        fine,
        "",
        us,
        ((record.object, "outcome"),),
    )


def _step_event(record: Record, step: RecordedStep, stage_events: Mapping[str, str]) -> _Event:
    made = tuple((_file_id(record, f), "outcome") for f in record.files if f.step == step.id)
    kind = stage_events.get(step.stage) or ("creation" if made else "metadata extraction")
    until = f"until {step.ended.isoformat()}" if step.ended else "end not on record"
    asked = [f"a person must look: {r.code}, {r.message}" for r in step.reviews]
    said = (step.ending, step.code, step.message, *step.notes, *asked)
    return _Event(
        step.id,
        kind,
        step.started,
        f"stage {step.stage}, attempt {step.attempt}, {until}; options {step.options_digest}",
        _OUTCOMES.get(step.ending, _FAILURE),
        "; ".join(part for part in said if part),
        tuple(_agent_id(*pair) for pair in (_software(step), *step.tools.items())),
        made or ((record.object, "source"),),
    )


def _event(root: Any, event: _Event) -> None:
    element = _add(root, "event")
    _identifier(element, "eventIdentifier", event.id)
    _term(element, "eventType", event.kind, "eventType", EVENT_TYPES[event.kind])
    _add(element, "eventDateTime", event.at.isoformat())
    _add(_add(element, "eventDetailInformation"), "eventDetail", event.detail)
    information = _add(element, "eventOutcomeInformation")
    _term(information, "eventOutcome", event.outcome[0], "eventOutcome", event.outcome[1])
    if event.note:
        _add(_add(information, "eventOutcomeDetail"), "eventOutcomeDetailNote", event.note)
    for agent in event.agents:
        _identifier(element, "linkingAgentIdentifier", agent)
    for related, role in event.objects:
        link = _identifier(element, "linkingObjectIdentifier", related)
        _add(link, "linkingObjectRole", role)


def _agents(record: Record) -> list[tuple[str, str, str]]:
    """Name, version and kind of everyone an event or a digest names, once each."""
    found = [("archived", record.archived, "software")]
    for step in record.steps:
        pairs = (_software(step), *step.tools.items())
        found += [(name, version, "software") for name, version in pairs]
    found += [(decision.who, "", "person") for decision in record.decisions]
    return list(dict.fromkeys(found))


def _software(step: RecordedStep) -> tuple[str, str]:
    return step.distribution or step.stage, step.version


def _agent_id(name: str, version: str) -> str:
    return f"{name} {version}".strip()


def _file_id(record: Record, file: RecordedFile) -> str:
    return f"{record.object}/{file.logical}"


def _links(parent: Any, own_id: str, events: Iterable[_Event]) -> None:
    for event in events:
        if any(related == own_id for related, _ in event.objects):
            _identifier(parent, "linkingEventIdentifier", event.id)


def _identifier(parent: Any, name: str, value: str) -> Any:
    element = _add(parent, name)
    _add(element, f"{name}Type", "URN" if value.startswith("urn:") else "local")
    _add(element, f"{name}Value", value)
    return element


def _term(parent: Any, name: str, term: str, vocabulary: str, code: str) -> None:
    base = f"{_VOCABULARY}/{vocabulary}"
    _add(parent, name, term, authority=vocabulary, authorityURI=base, valueURI=f"{base}/{code}")


def _add(parent: Any, name: str, text: str = "", **attributes: str) -> Any:
    return add(parent, PREMIS_NS, name, text, **attributes)
