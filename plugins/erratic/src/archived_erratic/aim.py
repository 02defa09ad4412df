"""Which documents are struck, and how often. Knows nothing of what then happens to them."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import random
from pathlib import Path

from archived.api import Document
from archived_erratic.options import ErraticConfig


def spared_because(document: Document, options: ErraticConfig) -> str:
    """Why the document is left alone; empty when it is to be struck.

    Counts a strike before it falls, so that one which kills the process counts as well.
    """
    if options.fault == "none":
        return 'fault = "none"'
    if not fnmatch.fnmatchcase(document.name, options.only):
        return f"its name does not match {options.only!r}"
    # Not a secret, only a repeatable choice.
    if random.Random(f"{options.seed}:{document.id}").random() >= options.probability:  # noqa: S311
        return f"seed {options.seed} does not choose it"
    if options.first_attempts is not None and options.counter_folder is not None:
        before = _count_one_more(options.counter_folder, document.id, options.first_attempts)
        if before >= options.first_attempts:
            return f"it was struck {before} times already"
    return ""


def _count_one_more(folder: Path, document: str, most: int) -> int:
    """Strikes so far; one more is on disk when this returns, unless `most` is reached."""
    # An id becomes a file name only through a digest: nothing in it can lead elsewhere.
    name = hashlib.sha256(document.encode()).hexdigest()[:32]
    file = os.open(folder / f"{name}.strikes", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    try:
        before = os.fstat(file).st_size
        if before < most:
            os.write(file, b"x")
            os.fsync(file)
    finally:
        os.close(file)
    return before
