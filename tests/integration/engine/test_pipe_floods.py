"""A step that writes without end, in pieces of any size, takes little of the daemon's time."""

from __future__ import annotations

import asyncio
import os
import threading
import time

import pytest

from archived.engine.worker.pipes import Pipes

SECONDS = 0.6
PER_SECOND = 700
"""Reads of one pipe: one in 2 ms, and some."""


def writing(fd: int, piece: bytes, until: float) -> None:
    while time.monotonic() < until:
        os.write(fd, piece)


@pytest.mark.parametrize("which", ["answer", "output"])
@pytest.mark.parametrize("size", [1, 100, 1 << 16])
async def test_a_pipe_that_is_written_to_all_the_time_is_read_at_a_fixed_pace(
    which: str, size: int
) -> None:
    pipes = Pipes({"kind": "run"}, lambda _: None, lambda: None)
    reads = 0
    for fd, take in pipes._ours.items():

        def counted(chunk: bytes, take=take) -> None:
            nonlocal reads
            reads += 1
            take(chunk)

        pipes._ours[fd] = counted
    theirs = pipes.theirs[1 if which == "answer" else 2]
    os.set_blocking(theirs, True)
    began = time.monotonic()
    ends = began + SECONDS
    writer = threading.Thread(target=writing, args=(theirs, b" " * size, ends))
    writer.start()
    slow = 0.0
    while writer.is_alive():
        before = time.monotonic()
        await asyncio.sleep(0.01)
        slow = max(slow, time.monotonic() - before - 0.01)
    writer.join()
    took = time.monotonic() - began
    pipes.close()
    assert 0 < reads < took * PER_SECOND
    assert slow < SECONDS, "others are served meanwhile"


async def test_an_answer_in_one_piece_is_read_at_once() -> None:
    pipes = Pipes({"kind": "run"}, lambda _: None, lambda: None)
    os.write(pipes.theirs[2], b"a word")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert pipes.log == "a word"
    pipes.close()
