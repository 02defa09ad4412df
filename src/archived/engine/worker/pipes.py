"""A step's two pipes at the daemon's end: what it answers, and what it prints.

They lead from the step's process straight to the daemon, so that nothing a step says passes through
the process that the next one is forked from. Reads are paced: a step that talks without end fills
its pipe and waits, and takes little of the daemon's time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

from archived.engine.protocol import LOG_LIMIT
from archived.engine.worker.reply import Reply, printable

_log = logging.getLogger("archived.engine")

_CHUNK = 2**16
_PAUSE = 0.002
"""Seconds between two reads of one pipe that is full, or written to all the time."""
_HEAD, _TAIL = LOG_LIMIT // 4, LOG_LIMIT * 3 // 4


class Pipes:
    """Opens them, reads them in the running loop, and gives the job its descriptors.

    `on_progress` is told each new fraction, `on_malformed` once, when the reply cannot become a
    result any more. `confinement`: see `Reply`. Close it always.
    """

    def __init__(
        self,
        job: Mapping[str, Any],
        on_progress: Callable[[float], None],
        on_malformed: Callable[[], None],
        confinement: Mapping[str, str] | None = None,
    ) -> None:
        self.reply = Reply(job["kind"], confinement=confinement)
        self.theirs: tuple[int, ...] = ()
        """For the step: what it reads its job from, where it answers, where it prints."""
        self._on_progress = on_progress
        self._on_malformed = on_malformed
        self._head = b""
        self._tail = b""
        self._dropped = False
        self._read_at: dict[int, float] = {}
        self._ours: dict[int, Callable[[bytes], None]] = {}
        self._loop = asyncio.get_running_loop()
        opened: list[int] = []
        try:
            opened.append(_in_memory(json.dumps(job).encode()))
            for take in (self._heard, self._printed):
                ours, theirs = os.pipe()
                self._ours[ours] = take
                opened.append(theirs)
                os.set_blocking(ours, False)
        except OSError:
            self.theirs = tuple(opened)
            self.close()
            raise
        self.theirs = tuple(opened)
        for fd in self._ours:
            self._loop.add_reader(fd, self._readable, fd)

    @property
    def log(self) -> str:
        """What the step printed: the first quarter and the end of what is kept."""
        between = b"\n[...]\n" if self._dropped else b""
        return printable((self._head + between + self._tail).decode(errors="replace"))

    def given(self) -> None:
        """The step has its ends, so ours of them go: else a pipe never says that it ended."""
        for fd in self.theirs:
            os.close(fd)
        self.theirs = ()

    def drain(self) -> None:
        """Read what is left, when every process of the step is gone."""
        for fd in tuple(self._ours):
            for _ in range(64):  # what cannot be killed must not keep us here
                if not self._read(fd):
                    break

    def close(self) -> None:
        """Read no more."""
        self.given()
        for fd in tuple(self._ours):
            self._end(fd)

    def _readable(self, fd: int) -> None:
        try:
            full = self._read(fd) == _CHUNK
            now = self._loop.time()
            # One byte at a time, a step would else wake us for each. The read after a pause counts
            # as well, or every second one would come at once.
            full = full or now - self._read_at.get(fd, 0.0) < 2 * _PAUSE
            self._read_at[fd] = now
        except Exception:  # noqa: BLE001 - ours, not the step's: it must not be called for ever
            _log.exception("a step cannot be listened to", extra={"action": "step-unheard"})
            self.reply.problem = self.reply.problem or "the stage could not be listened to"
            self._end(fd)
            self._on_malformed()
            return
        if full and fd in self._ours:
            self._loop.remove_reader(fd)
            self._loop.call_later(_PAUSE, self._again, fd)

    def _again(self, fd: int) -> None:
        if fd in self._ours:
            self._loop.add_reader(fd, self._readable, fd)

    def _read(self, fd: int) -> int:
        """Take some of what was said; how many bytes there were."""
        take = self._ours.get(fd)
        if take is None:
            return 0
        try:
            chunk = os.read(fd, _CHUNK)
        except BlockingIOError:
            return 0
        if chunk:
            take(chunk)
        else:
            self._end(fd)
        return len(chunk)

    def _heard(self, chunk: bytes) -> None:
        before, fraction = self.reply.problem, self.reply.fraction
        self.reply.feed(chunk)
        if self.reply.problem and not before:
            self._on_malformed()
        elif self.reply.fraction != fraction:
            self._on_progress(self.reply.fraction)

    def _printed(self, chunk: bytes) -> None:
        room = _HEAD - len(self._head)
        self._head += chunk[:room]
        tail = self._tail + chunk[room:]
        self._dropped = self._dropped or len(tail) > _TAIL
        self._tail = tail[-_TAIL:]

    def _end(self, fd: int) -> None:
        if self._ours.pop(fd, None) is not None:
            self._loop.remove_reader(fd)
            with contextlib.suppress(OSError):
                os.close(fd)


def _in_memory(data: bytes) -> int:
    """A descriptor to read the data from."""
    fd = os.memfd_create("job", os.MFD_CLOEXEC)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.lseek(fd, 0, os.SEEK_SET)
    except BaseException:
        os.close(fd)
        raise
    return fd
