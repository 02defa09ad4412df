"""Every line the daemon writes: one event, a stable `action`, the document's id where there is one.

JSON for programs (systemd, files), readable for people at a terminal. Lines of libraries that use
the standard `logging` go the same way.
"""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_CHATTY = ("aiohttp.access", "alembic", "asyncio", "sqlalchemy", "watchdog")


def configure(level: str, form: str, stream: TextIO | None = None) -> None:
    """Set up logging for the process. `form`: `json`, `console`, or `auto` (by terminal)."""
    stream = stream or sys.stdout
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
    last: list[Processor] = (
        [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ]
        if as_json
        else [structlog.dev.ConsoleRenderer(colors=stream.isatty())]
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def _always_an_action(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:  # noqa: ARG001
    event.setdefault("action", "log")
    return event


def _without_nothing(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:  # noqa: ARG001
    return {key: value for key, value in event.items() if value is not None}
