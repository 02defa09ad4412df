"""When a copy that a stage reports counts: what must be true of it, and what is read back of it.

A stage that was taken over by a file may report what it likes. So the core looks itself: a fresh
child (`worker.read_back`) reads the inventory and some files, chosen at random, from the target,
and their digests are compared here with the store's.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from archived.engine.protocol import StepDocument
from archived.engine.worker.reply import clean
from archived.message import Message
from archived.model.ids import object_id
from archived.model.outcome import CopyMade, Ending, Outcome
from archived.storage.ocfl.inventory import FILE_NAME
from archived.storage.ocfl.reader import StoredObject, inside
from archived.storage.ocfl.store import Store

SAMPLE_FILES = 2
"""Files of each copy that are read back beside its inventory."""
SAMPLE_BYTES = 64 * 2**20
"""Files larger than that are not chosen; the stage that copied read back all of them."""


@dataclass(frozen=True, slots=True)
class SampledFile:
    """A file that must be at a target, and what it must be."""

    target: str
    key: str
    size: int
    sha512: str

    def asked(self) -> dict[str, Any]:
        """What the child is told: not what it must find."""
        return {"target": self.target, "key": self.key, "size": self.size}


async def prove(
    outcome: Outcome,
    document: StepDocument,
    store: Store,
    targets: Mapping[str, Mapping[str, Any]],
    runner: object,
) -> Outcome:
    """The outcome itself when the copies that it reports count, or what it becomes instead.

    `targets`: those that the stage was given. `runner`: its lane's; not all can read back.
    """
    outcome = check_copies(outcome, document, targets)
    if outcome.ending is not Ending.FINISHED:
        return outcome
    read_back = getattr(runner, "read_back", None)
    if read_back is None:
        return _unread(outcome, "the runner of the stage's lane cannot read back")
    try:
        stored = await asyncio.to_thread(store.read, object_id(document.id))
        asked = await asyncio.to_thread(sample, outcome.copies, stored)
        wanted = {name: targets[name] for name in {file.target for file in asked}}
        found = await read_back(wanted, [file.asked() for file in asked], store.root)
    except Exception as error:  # noqa: BLE001 - a plug-in's runner may raise anything
        return _unread(outcome, Message("{name}: {error}", name=type(error).__name__, error=error))
    return judge_copies(outcome, asked, found)


def check_copies(outcome: Outcome, document: StepDocument, targets: Collection[str]) -> Outcome:
    """The outcome itself, or `bad-output`: copies are of a sealed document's present version, each
    at another of the targets that the stage was given. `targets` is empty for a stage that declares
    none.
    """
    problem = next(filter(None, (_problem(c, document, targets) for c in outcome.copies)), "")
    if len({copy.target for copy in outcome.copies}) != len(outcome.copies):
        problem = Message("it reports two copies at one target")
    if not problem:
        return outcome
    return replace(
        Outcome(Ending.FAILED, "bad-output", usage=outcome.usage),
        message=clean(problem),
        hint=Message("report it to the stage's author"),
    )


def _problem(copy: CopyMade, document: StepDocument, targets: Collection[str]) -> str:
    if not targets:
        return Message(
            "it reports copies, but does not declare that it makes any: Needs(targets=True)"
        )
    if document.sealed is None:
        return Message("it reports copies of a document that is not sealed")
    if copy.target not in targets:
        return Message(
            "it reports a copy at {target!r}, which is no target that it was given",
            target=copy.target,
        )
    if copy.inventory_sha512 != document.sealed.inventory_sha512:
        return Message(
            "its copy at {target!r} is of another version of the document", target=copy.target
        )
    return ""


def sample(copies: Sequence[CopyMade], stored: StoredObject) -> list[SampledFile]:
    """What to read back of each copy. Raises `OSError` and `StoreError` when the store cannot be
    read.
    """
    inventory = SampledFile(
        "", FILE_NAME, (stored.root / FILE_NAME).stat().st_size, stored.inventory_sha512
    )
    found = []
    for copy in copies:
        content = random.sample(
            sorted(stored.inventory.manifest), min(8 * SAMPLE_FILES, len(stored.inventory.manifest))
        )
        files = [
            SampledFile(
                "", path, inside(stored.root, path).lstat().st_size, stored.inventory.manifest[path]
            )
            for path in content
        ]
        small = [file for file in files if file.size <= SAMPLE_BYTES][:SAMPLE_FILES]
        found += [
            replace(file, target=copy.target, key=f"{copy.key}/{file.key}")
            for file in (inventory, *small)
        ]
    return found


def judge_copies(
    outcome: Outcome, asked: Sequence[SampledFile], found: Sequence[Mapping[str, str]] | str
) -> Outcome:
    """The outcome, or what it becomes when a copy is not there, or cannot be read now.

    `found` says why when nothing could be read at all.
    """
    if isinstance(found, str) or len(found) != len(asked):
        return _unread(outcome, found if isinstance(found, str) else "the answer is incomplete")
    for file, told in zip(asked, found, strict=True):
        if told["state"] == "unread":
            return _unread(
                outcome,
                Message(
                    "target {target}: {key}: {why}",
                    target=file.target,
                    key=file.key,
                    why=told["why"],
                ),
            )
    for file, told in zip(asked, found, strict=True):
        if told["sha512"] != file.sha512:
            why = Message("has other bytes") if told["state"] == "read" else Message("is not there")
            return Outcome(
                Ending.FAILED,
                "copy-differs",
                usage=outcome.usage,
                message=clean(
                    Message(
                        "target {target}: {key} was reported, but {why}",
                        target=file.target,
                        key=file.key,
                        why=why,
                    )
                ),
                hint=Message(
                    "suspect the target's disk; if its files are right, report it to the "
                    "author of the stage that makes copies"
                ),
            )
    now = datetime.now(UTC)  # a time to come would keep the copy from being looked at again
    copies = tuple(replace(copy, verified=min(copy.verified, now)) for copy in outcome.copies)
    return replace(outcome, copies=copies)


def _unread(outcome: Outcome, why: str) -> Outcome:
    return Outcome(
        Ending.POSTPONED,
        "copy-unread",
        clean(Message("the copies could not be read back: {why}", why=why)),
        Message("look at the target; the step goes on by itself"),
        after=timedelta(minutes=5),
        usage=outcome.usage,
    )
