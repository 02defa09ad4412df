"""Keep a short note of when a document came in."""

from collections.abc import Callable

from archived.api import Context, Document, Result, Stage, StageConfig, hookimpl


class Options(StageConfig):
    wording: str = "received"
    """The word written before the date."""


class Stamp(Stage[Options]):
    name = "stamp"
    version = "1.0"

    def run(self, document: Document, context: Context[Options]) -> Result:
        note = context.new_file("stamp.txt", media_type="text/plain")
        note.path.write_text(f"{context.options.wording} {document.received:%Y-%m-%d}\n")
        return Result(add=[note])


@hookimpl
def register_stages(register: Callable[[type[Stamp]], None]) -> None:
    register(Stamp)
