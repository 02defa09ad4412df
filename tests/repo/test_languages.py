"""Everything the programs say to people has a translation; what is compiled is what is written."""

from __future__ import annotations

import gettext
import string
from typing import TYPE_CHECKING, Any

import pytest

from archived.locale import FOLDER, LANGUAGES, render, speaking
from archived.message import Message

if TYPE_CHECKING:
    from tests.repo.conftest import Checkout

RUN = "run: .venv/bin/python -m tools.docs.locales, and translate what it names"


@pytest.fixture(scope="module")
def locales(checkout: Checkout) -> Any:
    return checkout.tool("locales")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_translated_and_keeps_its_gaps(locales: Any, language: str) -> None:
    """Of the core and of each bundled plug-in; also the help of commands, and what click says."""
    for domain in locales.domains():
        catalogue = locales.merged(domain, language)
        assert [*locales.problems(catalogue)] == [], f"{domain.name}: {RUN}"
        assert b"#, fuzzy" not in domain.po(language).read_bytes()


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_catalogues_are_up_to_date(locales: Any, language: str) -> None:
    """`tools.docs.locales` would change nothing: neither the text nor the compiled file."""
    for domain in locales.domains():
        catalogue = locales.merged(domain, language)
        assert domain.po(language).read_bytes() == locales.written(catalogue), RUN
        assert domain.mo(language).read_bytes() == locales.compiled(catalogue), RUN


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_standard_library_reads_what_is_compiled(locales: Any, language: str) -> None:
    """Text for text: running needs gettext only."""
    for domain in locales.domains():
        catalogue = gettext.translation(domain.name, domain.folder, [language])
        for entry in filter(lambda each: each.id, locales.read(domain, language)):
            if isinstance(entry.id, tuple):
                one, more = entry.id
                assert catalogue.ngettext(one, more, 2) == entry.string[-1]
            elif entry.context:
                assert catalogue.pgettext(entry.context, entry.id) == entry.string
            else:
                assert catalogue.gettext(entry.id) == entry.string


def test_every_message_is_said_in_both_languages(locales: Any) -> None:
    """With something in each gap, in English and in every language that there is a catalogue of."""
    said = 0
    for domain in locales.domains():
        known = {language: locales.read(domain, language) for language in LANGUAGES}
        for template in locales.templates(domain):
            names = {
                name: name for _, name, _, _ in _fields(template) if (name or "").isidentifier()
            }
            message = Message(template, **{name: _sample(template, name) for name in names})
            for name in names:
                assert f"{{{name}" not in message, template
            for language in LANGUAGES:
                with speaking(language):
                    told = render(message)
                assert told, template
                assert "{" not in told or "{" in message, (template, told)
                letters = [text for text, *_ in _fields(template) if any(map(str.isalpha, text))]
                same = known[language].get(template).string == template
                assert told != message or not letters or same, f"{template!r} is only English"
            said += 1
    assert said > 900, "the messages of the core and its plug-ins were gathered"


def _fields(template: str) -> list[tuple[str, str | None, str | None, str | None]]:
    try:
        return list(string.Formatter().parse(template))
    except ValueError:
        return [(template, None, None, None)]


def _sample(template: str, name: str) -> object:
    """Something that can be written as the gap wants it."""
    spec = next(spec for _, each, spec, _ in _fields(template) if each == name)
    return 7 if spec else "X7"


def test_texts_that_are_put_together_before_they_are_looked_up_are_refused(
    checkout: Checkout, locales: Any
) -> None:
    """`_(f"...")` and `Message(f"...")` could never be found in a catalogue."""
    wrong = [
        f"{source.name}:{line}"
        for source in checkout.everything()
        if source.name.startswith(("src/", "plugins/"))
        for line in locales.put_together(source.text)
    ]
    assert wrong == []
    assert [*locales.put_together('_(f"so many: {n}")')] == [1]
    assert [*locales.put_together('x = Message("so many: " + n)')] == [1]
    assert FOLDER.is_dir()
