"""The preservation metadata of one sealed object as PREMIS 3.0 (`premis.xml`).

Pure: a record in, bytes out. Event types and outcomes are the Library of Congress's terms, with
their URIs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from archived.model import xmltext
from archived.model.manifest import Record, RecordedFile, RecordedStep
from archived.model.outcome import SUPERSEDED

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
    root = xmltext.root(PREMIS_NS, "premis", {"premis": PREMIS_NS, "xsi": _XSI})
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
    return xmltext.to_bytes(root)


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
        received, "ingestion", record.received,
        f"taken from the hot folder {record.hotfolder}; pipeline {record.pipeline}",
        fine, "", us, ((record.object, "outcome"), *originals),
    )  # fmt: skip
    yield _Event(
        f"{record.object}/digests", "message digest calculation", record.received,
        "SHA-512 and SHA-256, while the bytes were copied out of the hot folder",
        fine, "", us, originals,
    )  # fmt: skip
    for step in record.steps:
        yield _step_event(record, step, stage_events)
    for number, decision in enumerate(record.decisions, 1):
        looked_at = sum(len(review.regions) for review in decision.reviews)
        shown = f"; {looked_at} regions were shown" if decision.reviews else ""
        yield _Event(
            f"{record.object}/decision/{number}", "policy assignment", decision.at,
            f"a person decided: {decision.what}{shown}", fine, decision.note,
            (_agent_id(decision.who, ""),), ((record.object, "source"),),
        )  # fmt: skip
    yield _Event(
        f"{record.object}/sealed", "information package creation", record.sealed,
        f"OCFL 1.1 object; ledger entry {record.ledger.sequence}, {record.ledger.hash}",
        fine, "", us, ((record.object, "outcome"),),
    )  # fmt: skip


def _step_event(record: Record, step: RecordedStep, stage_events: Mapping[str, str]) -> _Event:
    made = tuple((_file_id(record, f), "outcome") for f in record.files if f.step == step.id)
    kind = stage_events.get(step.stage) or ("creation" if made else "metadata extraction")
    until = f"until {step.ended.isoformat()}" if step.ended else "end not on record"
    asked = [f"a person must look: {r.code}, {r.message}" for r in step.reviews]
    said = (step.ending, step.code, step.message, *step.notes, *asked)
    return _Event(
        step.id, kind, step.started,
        f"stage {step.stage}, attempt {step.attempt}, {until}; options {step.options_digest}",
        _OUTCOMES.get(step.ending, _FAILURE), "; ".join(part for part in said if part),
        tuple(_agent_id(*pair) for pair in (_software(step), *step.tools.items())),
        made or ((record.object, "source"),),
    )  # fmt: skip


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
    return xmltext.add(parent, PREMIS_NS, name, text, **attributes)
