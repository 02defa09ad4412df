"""What can be set under `[stage.separate]`. Only types and their words; nothing is asked here."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator

from archived.api import StageConfig

Code = Literal["qr", "code128", "code39"]
Patch = Literal["1", "2", "3", "4", "6", "T"]


class SeparateOptions(StageConfig):
    """What separates documents, what becomes of the separators, and what a person must see."""

    codes: tuple[Code, ...] = ("qr", "code128")
    """Kinds of bar code that are read. The sheets of `archivectl cover-sheet` carry both."""
    patches: tuple[Patch, ...] = ("2", "3", "T")
    """Patch codes that separate. 3 and T are each other upside down, so each counts as both."""
    payload: str = ""
    """A regular expression: a bar code of somebody else's separates too where all of its text fits.
    A group named `dossier` gives the dossier's code."""
    separators: Literal["drop", "keep"] = "drop"
    """`drop`: the parts are without separator sheets. `keep`: each begins with its sheet. The
    document as it arrived has them either way."""
    sides: Literal["one", "two", "unknown"] = "one"
    """How many sides of each sheet were scanned. `two`: pages 1 and 2 are one sheet, and the back
    of a separator goes with it. `unknown`: sheets are not counted."""
    every: int = Field(0, ge=0)
    """Also begin a document after so many pages; 0: never."""
    blank_pages: bool = False
    """Blank pages separate, and are dropped as separators are."""
    min_pages: int = Field(1, ge=1)
    """A document with fewer pages is held with its neighbours (`segment-too-short`)."""
    max_pages_each: int = Field(0, ge=0)
    """A document with more pages is held with its neighbours (`segment-too-long`): a separator may
    have been lost. 0: any length is fine."""
    unread: Literal["hold", "note"] = "hold"
    """A page that looks like a separator and could not be read: a person decides, or a note."""
    counts: Literal["hold", "note"] = "hold"
    """Sheets missing, or too many, by the cover sheet's word: a person decides, or a note."""
    signed: Literal["hold", "whole"] = "hold"
    """A signed PDF is never cut. With separators in it: a person decides, or it goes on whole."""
    dry_run: bool = False
    """Only write the plan: nothing is cut, and nothing held but for secrecy."""
    dpi: int = Field(200, ge=100, le=400)
    """Resolution at which pages are looked at; a page in doubt is looked at again at others."""
    max_parts: int = Field(500, ge=2, le=1000)
    """Documents that one may be cut into."""
    max_pages: int = Field(5000, ge=1)
    """Pages that one document may have."""
    max_megapixels: int = Field(250, ge=1, le=2000)
    """Pixels, in millions, that one image may have."""

    @field_validator("payload")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return value
