"""The stage `erratic`: refuses to play without leave, aims, strikes."""

from __future__ import annotations

from collections.abc import Iterable

from archived.api import Context, Document, Message, Postpone, Result, Stage
from archived_erratic.aim import spared_because
from archived_erratic.injections import strike
from archived_erratic.options import ErraticConfig

_LEAVE = "set i_know_what_this_does = true in [stage.erratic], or take erratic out of the pipeline"


class Erratic(Stage[ErraticConfig]):
    """Misbehaves on request."""

    name = "erratic"
    version = "1.0"
    writes = ("counter_folder",)

    def check(self, options: ErraticConfig) -> Iterable[str]:
        """A drill nobody confirmed, or one that cannot count."""
        if not options.i_know_what_this_does:
            yield f"erratic makes documents fail on purpose and was not confirmed: {_LEAVE}"
        if options.counter_folder is not None and not options.counter_folder.is_dir():
            yield f"erratic: {options.counter_folder} is not a folder; create it"

    def run(self, document: Document, context: Context[ErraticConfig]) -> Result:
        """Leaves the document alone, or does what `fault` says."""
        if not context.options.i_know_what_this_does:
            # The configuration's fault, not the document's: it goes on once that is put right.
            raise Postpone(
                "The stage erratic is in this pipeline, but was not confirmed.",
                code="drill-not-confirmed",
                hint=f"Please {_LEAVE}.",
                after="10 min",
            )
        if reason := spared_because(document, context.options):
            return Result(notes=[Message("Left alone: {reason}.", reason=reason)])
        return strike(context)
