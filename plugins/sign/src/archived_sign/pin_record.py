"""One try of a PIN, on record before it is made.

A token locks itself after a few wrong PINs, and an authority in another city unlocks it. So a PIN
that was refused, or whose fate is not known, is not tried again by a restart, a reload or another
process until a person has removed the record.

The record is a file in a folder that survives restarts. It exists from before the login until the
token has accepted the PIN. It never holds the PIN, nor a digest of it: six digits are soon guessed.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote


class TriedBefore(Exception):
    """A PIN was tried, and the token has not accepted it as far as the record knows."""


class TriedNow(Exception):
    """Another process is trying the PIN at this moment."""


@dataclass(frozen=True)
class PinRecord:
    """The record of one token, by its label, below `folder`."""

    folder: Path
    token: str

    @property
    def path(self) -> Path:
        """The file that a person removes to allow another try."""
        return self.folder / f"pin-{quote(self.token, safe=' ')}.json"

    def standing(self) -> str:
        """What the record says of the last try: `""`, `refused`, `locked` or `unknown`.

        Raises `OSError` when the folder cannot be read.
        """
        try:
            said = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return ""
        except ValueError:
            return "unknown"  # the power failed while it was written: before the try, or after
        outcome = said.get("outcome") if isinstance(said, dict) else None
        return outcome if outcome in {"refused", "locked"} else "unknown"

    @contextmanager
    def attempt(self) -> Iterator[Attempt]:
        """Around one login: on disk before it is made. The block says how it ended.

        Raises `TriedBefore`, `TriedNow`, or `OSError`: then nothing may be tried.
        """
        try:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            self._explain()
            raise TriedBefore(self.standing()) from None
        try:
            yield self._begun(handle)
        finally:
            os.close(handle)

    def _begun(self, handle: int) -> Attempt:
        # Locked for as long as the try takes, also where it ends by a signal: who finds the record
        # can tell a try that goes on from one that was left.
        fcntl.flock(handle, fcntl.LOCK_EX)
        attempt = Attempt(self, handle)
        try:
            attempt.write("unknown")
            _sync(self.folder)
        except OSError:
            self.path.unlink()  # nothing was tried
            raise
        return attempt

    def _explain(self) -> None:
        with suppress(FileNotFoundError):
            handle = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                raise TriedNow(str(self.path)) from None
            finally:
                os.close(handle)


@dataclass(frozen=True)
class Attempt:
    """A login that is on record as begun."""

    record: PinRecord
    handle: int

    def accepted(self) -> None:
        """The token has accepted the PIN: the record goes."""
        self.record.path.unlink()
        _sync(self.record.folder)

    def write(self, outcome: str) -> None:
        """The token has answered: `refused` or `locked`."""
        said: dict[str, Any] = {
            "token": self.record.token,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "outcome": outcome,
        }
        os.ftruncate(self.handle, 0)
        os.pwrite(self.handle, json.dumps(said, ensure_ascii=False).encode() + b"\n", 0)
        os.fsync(self.handle)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
