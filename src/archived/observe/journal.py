"""The journal's own protocol: each line of the log as fields, so that `journalctl DOCUMENT=ID`
finds them. Knows bytes and one socket; what is said is decided in `logs`.

See systemd's "Native Journal Protocol": `NAME=value` lines, values of several lines with their
length, a datagram that is too large as a sealed memory file.
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
