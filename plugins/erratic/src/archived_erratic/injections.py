"""The misbehaviours themselves, one function each; every one of them is bounded.

Real ones: a real signal, real memory, real bytes on the disk, real processes.
"""

from __future__ import annotations

import os
import signal
import struct
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

from archived.api import Artifact, Context, Message, Postpone, Refuse, Region, Result, Review, Role
from archived_erratic.options import ErraticConfig

_BLOCK = 1 << 24


def strike(context: Context[ErraticConfig]) -> Result:
    """Do what `fault` says. Returns only for faults that end in a result."""
    return _FAULTS[context.options.fault](context)


def _slow(context: Context[ErraticConfig]) -> Result:
    _hold_on(context)
    return Result(notes=["Took its time, on request."])


def _fail(_: Context[ErraticConfig]) -> Result:
    raise RuntimeError("failed on request")


def _crash(_: Context[ErraticConfig]) -> Result:
    os.kill(os.getpid(), signal.SIGSEGV)
    raise AssertionError("outlived a segmentation fault")


def _vanish(_: Context[ErraticConfig]) -> Result:
    os._exit(3)


def _hang(_: Context[ErraticConfig]) -> Result:
    # Politeness would end it too early: only SIGKILL does.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        signal.pause()


def _eat_memory(context: Context[ErraticConfig]) -> Result:
    # Filled, not only reserved: untouched pages cost nothing.
    eaten = [b"\xaa" * _BLOCK for _ in range(context.options.amount // _BLOCK)]
    _hold_on(context)
    return Result(notes=[f"Held {len(eaten) * _BLOCK} bytes of memory, and nothing stopped it."])


def _fill_disk(context: Context[ErraticConfig]) -> Result:
    written = 0
    with (context.folder / "ballast").open("wb", buffering=0) as file:
        while written < context.options.amount:
            written += file.write(os.urandom(min(_BLOCK, context.options.amount - written)))
        os.fsync(file.fileno())
        _hold_on(context)
    (context.folder / "ballast").unlink()
    return Result(notes=[f"Held {written} bytes of disk, and nothing stopped it."])


def _leave_children(context: Context[ErraticConfig]) -> Result:
    born = []
    for _ in range(context.options.children):
        child = os.fork()
        if child == 0:
            _linger(context.options)
        born.append(child)
    return Result(facts={"children": born}, notes=[f"Left {len(born)} processes behind."])


def _linger(options: ErraticConfig) -> NoReturn:
    """The life of a child left behind: deaf to SIGTERM, holding what it inherited, then gone."""
    if options.leave_group:
        os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, max(0.001, options.duration.total_seconds()))
    while True:
        signal.pause()


def _postpone(_: Context[ErraticConfig]) -> Result:
    raise Postpone(
        "Waits for nothing, on request.",
        code="erratic-postponed",
        hint='Set fault = "none" in [stage.erratic].',
        after="1 s",
    )


def _refuse(_: Context[ErraticConfig]) -> Result:
    raise Refuse(
        Message("Refused on request."),
        code="erratic-refused",
        hint=Message('Set fault = "none" in [stage.erratic], then release the document.'),
    )


def _review(context: Context[ErraticConfig]) -> Result:
    count = context.options.regions
    pictures = [_picture(context, number) for number in range(1, count + 1)]
    regions = [
        Region(
            number,
            (0.5, 0.75, 0.9, 0.95),
            kind="erratic-marks",
            share=1 / count,
            picture=picture.name,
        )
        for number, picture in enumerate(pictures, start=1)
    ]
    note = context.new_file("erratic.txt", media_type="text/plain", role=Role.TEXT)
    note.path.write_text("Found on request.\n")
    return Result(
        add=[note, *pictures],
        facts={"looked_at": len(regions)},
        reviews=[
            Review(
                context.options.review_code,
                f"{count} places were marked, on request.",
                "Look at the pictures; they are grey squares.",
                regions,
            )
        ],
    )


def _picture(context: Context[ErraticConfig], number: int) -> Artifact:
    """A grey square with a darker one in it, 64 pixels wide; each number has another grey."""
    file = context.new_file(f"erratic-{number:04}.png", media_type="image/png")
    light, dark = 200 - number % 50, 90
    rows = [
        bytes([0]) + bytes(dark if 16 <= x < 48 and 16 <= y < 48 else light for x in range(64))
        for y in range(64)
    ]
    header = struct.pack(">IIBBBBB", 64, 64, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b""))
    file.path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )
    )
    return file


def _hold_on(context: Context[ErraticConfig]) -> None:
    seconds = context.options.duration.total_seconds()
    began = time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        context.progress(passed / seconds)
        time.sleep(min(seconds - passed, 0.5))
    context.progress(1.0)


# -- output that is not what it says it is -----------------------------------------------------


def _wrong_output(context: Context[ErraticConfig]) -> Result:
    return _OUTPUTS[context.options.output](context)


def _outside_folder(_: Context[ErraticConfig]) -> Result:
    # A file that is certainly there, certainly not ours, and harmless to look at.
    outside = Path("/etc/passwd")
    return Result(add=[Artifact(path=outside, name="outside.txt", media_type="text/plain")])


def _missing_file(context: Context[ErraticConfig]) -> Result:
    return Result(add=[context.new_file("missing.txt", media_type="text/plain")])


def _symlink(context: Context[ErraticConfig]) -> Result:
    link = context.new_file("link.txt", media_type="text/plain")
    link.path.symlink_to("/etc/passwd")
    return Result(add=[link])


def _wrong_media_type(context: Context[ErraticConfig]) -> Result:
    file = context.new_file("not-a.pdf", media_type="application/pdf", role=Role.ACCESS)
    file.path.write_bytes(b"\x7fELF, and certainly not a PDF\n")
    return Result(replace_main=file)


def _original(context: Context[ErraticConfig]) -> Result:
    file = context.new_file("0001.tif", media_type="image/tiff", role=Role.ORIGINAL)
    file.path.write_bytes(b"II*\0 forged")
    return Result(add=[file])


def _facts_not_json(_: Context[ErraticConfig]) -> Result:
    return Result(facts={"not": {"a", "set", "in", "JSON"}})


_FAULTS: Mapping[str, Callable[[Context[ErraticConfig]], Result]] = {
    "slow": _slow,
    "fail": _fail,
    "crash": _crash,
    "vanish": _vanish,
    "hang": _hang,
    "eat-memory": _eat_memory,
    "fill-disk": _fill_disk,
    "leave-children": _leave_children,
    "wrong-output": _wrong_output,
    "postpone": _postpone,
    "refuse": _refuse,
    "review": _review,
}
_OUTPUTS: Mapping[str, Callable[[Context[ErraticConfig]], Result]] = {
    "outside-folder": _outside_folder,
    "missing-file": _missing_file,
    "symlink": _symlink,
    "wrong-media-type": _wrong_media_type,
    "original": _original,
    "facts-not-json": _facts_not_json,
}
