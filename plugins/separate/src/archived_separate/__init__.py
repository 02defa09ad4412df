"""The `separate` stage as the daemon sees it: name, options and needs. The work is elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from archived.api import Context, Document, Needs, Result, Stage, hookimpl
from archived_separate.options import SeparateOptions

__all__ = ["Separate", "SeparateOptions", "register_stages"]


class Separate(Stage[SeparateOptions]):
    """Cuts a scan with separator sheets between its documents into them, after a plan."""

    name = "separate"
    version = "0.1.0"
    accepts = ("application/pdf", "image/tiff", "image/jpeg", "image/png")
    needs = Needs(timeout=timedelta(minutes=30), attempts=2, lane="cpu", memory="2 GiB")
    preload = ("archived_separate.run",)

    def check(self, options: SeparateOptions) -> Iterable[str]:
        """Options that leave nothing to look for."""
        if not (options.codes or options.patches or options.blank_pages or options.every):
            yield (
                "nothing separates: name some of codes or patches, or set blank_pages or every, "
                "or take the stage out of the pipeline"
            )

    def run(self, document: Document, context: Context[SeparateOptions]) -> Result:
        """Plan, then cut what needs no person."""
        from archived_separate.run import separate

        return separate(document, context)


@hookimpl
def register_stages(register: Callable[[type[Stage[Any]]], None]) -> None:
    """Give `separate` to the core."""
    register(Separate)
