"""The description of a document as simple Dublin Core (`dc.xml`, in the OAI container).

Pure: a record in, bytes out. Values come from what stages established (`model.description`);
what they did not is left out, never guessed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from archived.model import description, xmltext
from archived.model.manifest import Record

DC = "http://purl.org/dc/elements/1.1/"
OAI_DC = "http://www.openarchives.org/OAI/2.0/oai_dc/"

_BY_MACHINE = "Described by a program from recognised text; record.json says how sure it was."


def dublin_core(record: Record) -> bytes:
    """`dc.xml`. Always has a title (at worst the received name), identifier, date and format."""
    root = xmltext.root(OAI_DC, "dc", {"oai_dc": OAI_DC, "dc": DC})
    for name, value in _elements(record):
        xmltext.add(root, DC, name, value)
    return xmltext.to_bytes(root)


def _elements(record: Record) -> Iterator[tuple[str, str]]:
    read = description.fields(record.facts)
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
