"""The stage `classify`: reads what kind of record a document is, and trips on secrecy marks.

This module stays light: the daemon imports it. Everything that reads text is imported in `run`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

from archived.api import (
    Context,
    Document,
    Message,
    Needs,
    Refuse,
    Result,
    Role,
    Stage,
    StageConfig,
    hookimpl,
)

__all__ = ["Classify", "Options", "register_stages"]

SIDECAR = "document.txt"


class Options(StageConfig):
    """How `[stage.classify]` is written."""

    profiles: tuple[str, ...] = ("state-decree-30", "state-normative", "party")
    """Names of the layouts that are tried; of equals the first wins."""
    profile_folder: Path | None = None
    """A folder with your own profile files (`*.toml`), beside those that come with the plug-in."""


class Classify(Stage[Options]):
    """Reads the text sidecar; makes facts and no files."""

    name: ClassVar[str] = "classify"
    version: ClassVar[str] = "0.1.0"
    needs: ClassVar[Needs] = Needs(memory="512 MiB", attempts=2)
    preload: ClassVar[tuple[str, ...]] = ("archived_classify.extraction",)

    def check(self, options: Options) -> Iterable[str]:
        """Every mistake in every profile file, one sentence each."""
        from archived_classify.profile import ProfileMistakes, load

        try:
            load(options.profiles, options.profile_folder)
        except ProfileMistakes as mistakes:
            yield from mistakes.sentences

    def run(self, document: Document, context: Context[Options]) -> Result:
        """Facts `profile`, `fields` and, where a secrecy mark was found, `tripwire`.

        Raises `Refuse` with code `secrecy-above-declared`.
        """
        from archived_classify.extraction import classify
        from archived_classify.marks import rank_of_declared
        from archived_classify.profile import load

        texts = [a for a in document.of_role(Role.TEXT) if a.name == SIDECAR]
        if not texts:
            return Result(
                notes=(
                    Message(
                        "not established: there is no text ({sidecar}); put ocr before classify",
                        sidecar=SIDECAR,
                    ),
                )
            )
        # A stray byte must not stop a document: it becomes U+FFFD and matches nothing.
        text = texts[-1].path.read_bytes().decode("utf-8", errors="replace")
        profiles = load(context.options.profiles, context.options.profile_folder)
        reading = classify(text, profiles)
        facts: dict[str, Any] = {"profile": reading.profile, "fields": reading.fields()}
        mark = reading.secrecy
        if mark is not None:
            facts["tripwire"] = {"secrecy": mark.value, "declared": document.secrecy}
            if mark.rank > rank_of_declared(document.secrecy, profiles):
                raise Refuse(
                    Message(
                        "the mark {value!r} stands on page {page}; the hot folder is "
                        "declared {secrecy!r}",
                        value=mark.value,
                        page=mark.evidence.page,
                        secrecy=document.secrecy or "thường",
                    ),
                    code="secrecy-above-declared",
                    hint=Message(
                        "take the paper out of this hot folder and scan it into one "
                        "declared for its level; if the mark was misread, release the "
                        "document"
                    ),
                )
        return Result(facts=facts, notes=reading.notes)


@hookimpl
def register_stages(register: Callable[[type[Stage[Any]]], None]) -> None:
    """Give `Classify` to the core."""
    register(Classify)
