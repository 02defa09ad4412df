"""Log lines: one event, a stable `action`, the document's id where there is one.

To the journal by its native protocol, so that `journalctl DOCUMENT=ID` finds them: `NAME=value`
lines, values of several lines with their length, a datagram that is too large as a sealed memory
file. As JSON to files and other programs, as text to a terminal. Lines of libraries that use the
standard `logging` go the same way.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import re
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

SOCKET = Path("/run/systemd/journal/socket")
_PRIORITY = {"critical": "2", "error": "3", "warning": "4", "info": "6", "debug": "7"}
"""See syslog(3)."""
_ELSEWHERE = {"event", "level", "timestamp", "exception", "action"}
"""What a reader has in other ways, or below the sentence."""
_BUFFER = 8 << 20
_PATIENCE = 0.5
"""Seconds that a journal which does not read may hold us up; then the line is lost."""


def listening(stream: TextIO, at: Path = SOCKET) -> bool:
    """Whether `stream` leads to the journal, as it says in `JOURNAL_STREAM` (systemd.exec(5))."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        ours = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(ours.st_dev), str(ours.st_ino)) and at.is_socket()


def entry(fields: Mapping[str, Any]) -> bytes:
    """One line of the log, as `structlog` has it, as the journal wants it."""
    told = {
        "MESSAGE": _sentence(fields),
        "PRIORITY": _PRIORITY.get(str(fields.get("level")), "6"),
        "SYSLOG_IDENTIFIER": "archived",
    }
    for name, value in fields.items():
        if name not in {"event", "level", "timestamp"}:
            told.setdefault(_name(name), str(value))
    return b"".join(_field(name, value) for name, value in told.items() if name)


def _sentence(fields: Mapping[str, Any]) -> str:
    more = " ".join(f"{k}={_word(v)}" for k, v in fields.items() if k not in _ELSEWHERE)
    exception = f"\n{fields['exception']}" if fields.get("exception") else ""
    return f"{fields.get('event', '')} {more}".rstrip() + exception


def _word(value: Any) -> str:
    text = str(value)
    return repr(text) if not text or re.search(r"\s", text) else text


def _name(name: str) -> str:
    return re.sub(r"[^A-Z0-9_]", "_", name.upper()).lstrip("_0123456789")[:64]


def _field(name: str, value: str) -> bytes:
    data = value.encode(errors="backslashreplace")
    if b"\n" not in data:
        return b"%s=%s\n" % (name.encode(), data)
    return b"%s\n%s%s\n" % (name.encode(), len(data).to_bytes(8, "little"), data)


class Journal(logging.Handler):
    """Gives the journal the fields of each line; its formatter makes JSON, as for a file.

    A line that cannot be given is lost.
    """

    def __init__(self, at: Path = SOCKET) -> None:
        super().__init__()
        self._at = str(at)
        self._line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        self._line.settimeout(_PATIENCE)

    def emit(self, record: logging.LogRecord) -> None:
        """Send it, by way of a memory file when it is too large for a datagram."""
        try:
            data = entry(json.loads(self.format(record)))
            try:
                self._line.sendto(data, self._at)
            except OSError as error:
                if error.errno not in {errno.EMSGSIZE, errno.ENOBUFS}:
                    raise
                self._send_as_file(data)
        except Exception:  # noqa: BLE001 - as every handler of the standard library
            self.handleError(record)

    def close(self) -> None:
        """Let go of the socket."""
        self._line.close()
        super().close()

    def _send_as_file(self, data: bytes) -> None:
        file = os.memfd_create("archived-log", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.write(file, data)
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
            fcntl.fcntl(file, fcntl.F_ADD_SEALS, seals)
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, file.to_bytes(4, sys.byteorder))
            self._line.sendmsg([], [rights], 0, self._at)
        finally:
            os.close(file)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        """Logging must never stop the work; a mistake of ours is shown all the same."""
        if not isinstance(sys.exc_info()[1], (OSError, ValueError)):
            super().handleError(record)


_CHATTY = ("aiohttp.access", "alembic", "asyncio", "sqlalchemy", "watchdog")


def configure(level: str, form: str, stream: TextIO | None = None) -> None:
    """Set up logging for the process. `form`: `json`, `console`, or `auto`: fields where the
    stream leads to the journal, else by whether it is a terminal.
    """
    _open_standard_descriptors()
    stream = stream or sys.stdout
    to_journal = form == "auto" and listening(stream)
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
    handler: logging.Handler = Journal() if to_journal else _Lines(stream)
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
        if isinstance(old, Journal):
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
