"""Text and elements for the XML we write. Writing only: nothing here parses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lxml import etree

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


def root(namespace: str, name: str, prefixes: Mapping[str, str]) -> Any:
    """A new document's root element with its namespace prefixes."""
    return etree.Element(f"{{{namespace}}}{name}", nsmap=dict(prefixes))


def to_bytes(element: Any) -> bytes:
    """The whole document, UTF-8, indented, with its declaration."""
    content: bytes = etree.tostring(
        element, xml_declaration=True, encoding="UTF-8", pretty_print=True
    )
    return content
