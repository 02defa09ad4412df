"""Every line the daemon writes: one event, a stable `action`, the document's id where there is one.

Fields for the journal, JSON for other programs and files, readable for people at a terminal. Lines
of libraries that use the standard `logging` go the same way.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from archived.observe import journal

_CHATTY = ("aiohttp.access", "alembic", "asyncio", "sqlalchemy", "watchdog")


def configure(level: str, form: str, stream: TextIO | None = None) -> None:
    """Set up logging for the process. `form`: `json`, `console`, or `auto`: fields where the
    stream leads to the journal, else by whether it is a terminal.
    """
    _open_standard_descriptors()
    stream = stream or sys.stdout
    to_journal = form == "auto" and journal.listening(stream)
    as_json = form == "json" or (form == "auto" and not stream.isatty())
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(allow=["document", "stage", "action"]),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _always_an_action,
        _without_nothing,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    last: list[Processor] = [structlog.dev.ConsoleRenderer(colors=stream.isatty())]
    if as_json:
        written = structlog.processors.JSONRenderer(ensure_ascii=False)
        last = [structlog.processors.format_exc_info, written]
    handler: logging.Handler = journal.Journal() if to_journal else _Lines(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    # What libraries warn of (watchdog does, of folders made while it looks) is a line like others.
    logging.captureWarnings(True)
    root = logging.getLogger()
    before, root.handlers[:] = root.handlers[:], [handler]
    for old in before:
        if isinstance(old, journal.Journal):
            old.close()
    root.setLevel(level.upper())
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def _open_standard_descriptors() -> None:
    """A process started without them would give their numbers to the next files it opens."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - to stay


def let_go() -> None:
    """At the end: what could not be written is dropped, so that a reader of our lines who went
    away does not turn an orderly stop into a failure.
    """
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Lines(logging.StreamHandler[TextIO]):
    """Lines that cannot be written are lost, quietly: logging must never stop the work."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        if not isinstance(sys.exc_info()[1], (OSError, ValueError)):
            super().handleError(record)


def _always_an_action(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:  # noqa: ARG001
    event.setdefault("action", "log")
    return event


def _without_nothing(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:  # noqa: ARG001
    return {key: value for key, value in event.items() if value is not None}
