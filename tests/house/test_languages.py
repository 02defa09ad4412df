"""Everything the programs say to people has a translation; what is compiled is what is written."""

from __future__ import annotations

import gettext
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from archived.locale import FOLDER, LANGUAGES, own_words, pattern_of

if TYPE_CHECKING:
    from conftest import House

RUN = "run: .venv/bin/python tools/locales.py, and translate what it names"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_translated_and_keeps_its_gaps(house: House, language: str) -> None:
    """Also the help of commands, and what click itself says; nothing is marked as doubtful."""
    locales = house.tool("locales")
    assert list(locales.problems(locales.merged(language).values())) == [], RUN
    assert "#, fuzzy" not in (FOLDER / f"{language}.po").read_text("utf-8")


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_catalogues_are_up_to_date(house: House, language: str) -> None:
    """`python tools/locales.py` would change nothing: neither the text nor the compiled file."""
    locales = house.tool("locales")
    entries = locales.merged(language)
    assert locales.po(language).read_text("utf-8") == locales.written(entries, language), RUN
    assert locales.mo(language).read_bytes() == locales.compiled(entries, language), RUN


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_standard_library_reads_what_is_compiled(house: House, language: str) -> None:
    """Text for text; so the file is a true .mo, and no text is lost in it."""
    locales = house.tool("locales")
    catalogue = gettext.translation("archived", FOLDER, [language])
    for entry in filter(lambda e: any(e.said), locales.read(locales.po(language)).values()):
        if entry.plural:
            assert catalogue.ngettext(entry.text, entry.plural, 2) == entry.said[0]
        elif entry.context:
            assert catalogue.pgettext(entry.context, entry.text) == entry.said[0]
        else:
            assert catalogue.gettext(entry.text) == entry.said[0]


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_shape_of_a_heard_sentence_fits_anything(house: House, language: str) -> None:
    """Each has words of its own, and none is another's twin."""
    locales = house.tool("locales")
    shapes = [
        e.text for e in locales.read(locales.po(language)).values() if e.context == locales.HEARD
    ]
    patterns = Counter(pattern_of(shape).pattern for shape in shapes if "{1}" in shape)
    assert [shape for shape in shapes if "{1}" in shape and len(own_words(shape)) < 6] == []
    assert [pattern for pattern, count in patterns.items() if count > 1] == []


def test_texts_that_are_put_together_before_they_are_looked_up_are_refused(house: House) -> None:
    """`_(f"...")` could never be found in a catalogue."""
    locales = house.tool("locales")
    wrong = FOLDER / "__init__.py"  # any file: it is only read
    assert [*locales._marked(wrong)] != []
    with pytest.raises(SystemExit, match="takes a constant"):
        [*locales._in_text('_(f"so many: {n}")', "somewhere.py")]
