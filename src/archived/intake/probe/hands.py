"""Two users at one folder: processes that write, look, rename and remove there as somebody else.

Whoever asks never touches the folder: a mount that hangs costs one hand, not the program. A hand
knows no checks, only deeds; when it is let go, or its owner dies, it removes what is left.
"""

from __future__ import annotations

import json
import os
import pwd
import signal
import time
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

from archived.intake.probe.deeds import Deeds, clear

PATIENCE = 20.0
"""Seconds a deed may take; a mount that answers later than that is no place for scans."""

_UMASK = 0o022
"""What servers and login sessions create files with, unless told otherwise."""


class NoAnswer(Exception):
    """The hand hangs in a call to the kernel, or is gone."""


class Hand:
    """A child process that acts in `folder` as `user`; its files' names begin with `prefix`."""

    def __init__(self, folder: Path, prefix: str, user: pwd.struct_passwd | None) -> None:
        self._line, theirs = Pipe()
        self._alive = True
        self._pid = os.fork()
        if self._pid == 0:
            self._line.close()
            _live(theirs, folder, prefix, user)
        theirs.close()

    def begin(self, deed: str, *arguments: Any) -> None:
        """Start a deed; `result` waits for it."""
        if not self._alive:
            raise NoAnswer
        try:
            self._line.send_bytes(json.dumps([deed, *arguments]).encode())
        except OSError as error:
            raise NoAnswer from error

    def result(self, patience: float = PATIENCE) -> Any:
        """What the deed came to. Raises its `OSError`, or `NoAnswer`."""
        try:
            answered = self._alive and self._line.poll(patience)
            answer = json.loads(self._line.recv_bytes()) if answered else None
        except (EOFError, OSError) as error:
            self._alive = False
            raise NoAnswer from error
        if answer is None:
            self._alive = False
            raise NoAnswer
        if "errno" in answer:
            raise OSError(answer["errno"], os.strerror(answer["errno"]))
        return answer["result"]

    def do(self, deed: str, *arguments: Any) -> Any:
        """One deed from its beginning to its end."""
        self.begin(deed, *arguments)
        return self.result()

    def let_go(self, patience: float = 5.0) -> None:
        """It removes what is left of its files and ends; one that hangs is killed."""
        self._line.close()
        until = time.monotonic() + patience
        while os.waitpid(self._pid, os.WNOHANG)[0] == 0:
            if time.monotonic() > until:
                os.kill(self._pid, signal.SIGKILL)
                return  # it may hang in the kernel until the mount answers: nobody waits for that
            time.sleep(0.01)


def _live(
    line: Connection, folder: Path, prefix: str, user: pwd.struct_passwd | None
) -> None:  # fmt: skip
    """The child's whole life. Never returns."""
    try:
        # Ctrl-C reaches the whole group: our owner decides, and we clean up when it lets go.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGIO):
            signal.signal(number, signal.SIG_IGN)
        # A line to another hand kept open here would keep that hand from seeing its end.
        os.closerange(3, line.fileno())
        os.closerange(line.fileno() + 1, 1024)
        if user is not None:
            os.initgroups(user.pw_name, user.pw_gid)
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)
            os.umask(_UMASK)
        _serve(line, Deeds(folder, prefix))
    except (KeyboardInterrupt, SystemExit):
        pass  # a signal that came before we ignored it
    except BaseException:  # noqa: BLE001 - the owner hears nothing more: somebody must say why
        traceback.print_exc()
    finally:
        with suppress(BaseException):
            clear(folder, prefix)
        os._exit(0)


def _serve(line: Connection, deeds: Deeds) -> None:
    while True:
        try:
            deed, *arguments = json.loads(line.recv_bytes())
        except (EOFError, OSError):
            return
        try:
            answer = {"result": getattr(deeds, deed)(*arguments)}
        except OSError as error:
            answer = {"errno": error.errno or 0}
        line.send_bytes(json.dumps(answer).encode())
