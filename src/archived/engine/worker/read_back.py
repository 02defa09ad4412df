"""Some files of copies, read from their targets and hashed. The child's side.

Runs in a process of its own, which has run no stage and read no document before: so that "there is
a copy" is the core's finding, and not only what a stage said.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from archived.api import Postpone, Target
from archived.engine.worker.protocol import clean

_CHUNK = 2**20


def digests_of(
    targets: Mapping[str, Target[Any]], files: Sequence[Mapping[str, Any]], beside: Path
) -> list[dict[str, str]]:
    """For each of `files` (`target`, `key`, `size`): its `sha512`, or `why` there is none.

    `state` is "read", "absent" or "unread": only the last may be better later. `beside` is the
    store.
    """
    unfit = {name: _unfit(target, beside) for name, target in targets.items()}
    return [
        _digest(targets[file["target"]], file["key"], file["size"])
        if not unfit[file["target"]] else _told("unread", unfit[file["target"]])
        for file in files
    ]  # fmt: skip


def _unfit(target: Target[Any], beside: Path) -> str:
    """Why nothing at this place is a copy now: its disk is not mounted, say."""
    try:
        return next(iter(target.check(beside)), "")
    except Postpone as wait:
        return wait.message
    except OSError as error:
        return str(error)


def _digest(target: Target[Any], key: str, size: int) -> dict[str, str]:
    digest, left = hashlib.sha512(), size + 1  # one more than there may be
    try:
        with target.open(key) as file:
            while left > 0 and (chunk := file.read(min(_CHUNK, left))):
                digest.update(chunk)
                left -= len(chunk)
    except FileNotFoundError:
        return _told("absent", "it is not there")
    except Postpone as wait:
        return _told("unread", wait.message)
    except OSError as error:
        return _told("unread", str(error))
    return {"state": "read", "sha512": digest.hexdigest(), "why": ""}


def _told(state: str, why: str) -> dict[str, str]:
    return {"state": state, "sha512": "", "why": clean(str(why))}
