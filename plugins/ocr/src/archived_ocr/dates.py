"""Dates in a PDF's description that say no time zone: scanners write the clock on their wall."""

from __future__ import annotations

import re

import pikepdf

_WITHOUT_ZONE = re.compile(r"^D:(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?$")
_DEFAULTS = ("", "01", "01", "00", "00", "00")
KEYS = ("/CreationDate", "/ModDate")


def with_zone(pdf: pikepdf.Pdf, zone: str) -> list[str]:
    """Give dates without a zone that of the archive (`+07:00`), and name their keys.

    Left as they are they would be taken for dates in the zone of whichever machine reads them.
    """
    changed = []
    for key in KEYS:
        found = _WITHOUT_ZONE.match(str(pdf.docinfo.get(key, "")))
        if found is None:
            continue
        parts = [part or usual for part, usual in zip(found.groups(), _DEFAULTS, strict=True)]
        hours, minutes = zone[1:].split(":")
        pdf.docinfo[key] = f"D:{''.join(parts)}{zone[0]}{hours}'{minutes}'"
        changed.append(key)
    return changed
