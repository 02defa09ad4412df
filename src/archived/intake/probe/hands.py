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

from archived.intake.file_errors import sentence
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
        self._asked = 0
        """Number of the last deed: an answer to an earlier one, which nobody waited for, is passed
        over. Else every later answer would be taken for its neighbour's."""
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
            self._asked += 1
            self._line.send_bytes(json.dumps([self._asked, deed, *arguments]).encode())
        except OSError as error:
            raise NoAnswer from error

    def result(self, patience: float = PATIENCE) -> Any:
        """What the last deed came to. Raises its `OSError`, or `NoAnswer`.

        Any other error of a deed is an `OSError` as well, with its text and the number 0.
        """
        answer: dict[str, Any] = {}
        until = time.monotonic() + patience
        while answer.get("of") != self._asked:
            try:
                answered = self._alive and self._line.poll(max(0.0, until - time.monotonic()))
                answer = json.loads(self._line.recv_bytes()) if answered else {}
            except (EOFError, OSError) as error:
                self._alive = False
                raise NoAnswer from error
            if not answer:
                self._alive = False
                raise NoAnswer
        if "errno" in answer:
            raise OSError(answer["errno"], answer["why"])
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
            number, deed, *arguments = json.loads(line.recv_bytes())
        except (EOFError, OSError):
            return
        try:
            answer = json.dumps({"of": number, "result": getattr(deeds, deed)(*arguments)})
        except OSError as error:
            code = error.errno or 0
            why = os.strerror(code) if code else sentence(error)
            answer = json.dumps({"of": number, "errno": code, "why": why})
        except Exception as error:  # noqa: BLE001 - an odd file system must not end the trial
            answer = json.dumps({"of": number, "errno": 0, "why": sentence(error)})
        line.send_bytes(answer.encode())
