"""The stage `replicate`: which targets, in which order, and what is reported about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

from pydantic import Field, field_validator

from archived.api import (
    Context,
    Copy,
    Document,
    Failure,
    Message,
    Needs,
    Postpone,
    Result,
    Stage,
    StageConfig,
    Target,
)
from archived_replicate.copying import STORAGE_ROOT, Found, copy_object, demand_fit
from archived_replicate.source_object import read_object, read_storage_root, reading


class ReplicateConfig(StageConfig):
    """Options of the stage."""

    to: tuple[str, ...] = Field(min_length=1, examples=[["second"]])
    """Names of the targets (`[target.NAME]`) that get a copy of every object. At least one."""

    @field_validator("to")
    @classmethod
    def _once(cls, to: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(to)) != len(to):
            raise ValueError("name each target once")
        return to


class Replicate(Stage[ReplicateConfig]):
    """Copies the sealed object to every target, and reads it back."""

    name = "replicate"
    version = "1.0"
    needs = Needs(
        timeout=timedelta(hours=2), attempts=5, lane="network", network=True, targets=True
    )

    def run(self, document: Document, context: Context[ReplicateConfig]) -> Result:
        """One verified copy per target, or the first thing to wait for.

        A target that cannot be reached does not keep the others from their copy; theirs is found
        complete, and only read back, when the step is tried again.
        """
        if document.sealed is None:
            raise ValueError("replicate needs a sealed object: put it after seal in the pipeline")
        targets = [_target(context, name) for name in context.options.to]
        with reading(document.sealed):
            sealed, root = read_object(document.sealed), read_storage_root(document.sealed)
        key = f"{STORAGE_ROOT}/{document.sealed.key}"

        ahead, done = max(1, 2 * sealed.size * len(targets)), 0

        def progressed(size: int) -> None:
            nonlocal done
            done += size
            context.progress(done / ahead)

        made: list[tuple[Copy, Found]] = []
        waiting: list[Postpone] = []
        for target in targets:
            try:
                demand_fit(target, document.sealed.root)
                made.append(copy_object(target, key, sealed, root, context.folder, progressed))
            except Postpone as reason:
                waiting.append(reason)
        if waiting:
            raise waiting[0]
        notes = [note for _, found in made for note in found.notes]
        notes += [
            Message(
                "{name} is in the store's object but not in its inventory; it was not copied",
                name=name,
            )
            for name in sealed.strangers
        ]
        return Result(
            copies=[copy for copy, _ in made],
            facts={
                "copies": {copy.target: _facts(copy, found) for copy, found in made},
                "free": _free(targets),
            },
            notes=notes,
        )


def _target(context: Context[ReplicateConfig], name: str) -> Target[Any]:
    try:
        return context.target(name)
    except LookupError as error:
        raise Postpone(
            Message("replicate: {args}", args=error.args[0]),
            code="target-unknown",
            hint=Message(
                "Add [target.{name}] to the configuration, or correct [stage.replicate] to.",
                name=name,
            ),
            after="10 min",
        ) from error


def _free(targets: Iterable[Target[Any]]) -> Mapping[str, int]:
    """Target -> bytes that may still be written there; those that cannot tell are left out."""
    found = {}
    for target in targets:
        with suppress(Failure, OSError):
            if (free := target.free()) is not None:
                found[target.name] = free
    return found


def _facts(copy: Copy, found: Found) -> Mapping[str, Any]:
    return {
        "key": copy.key,
        "files": copy.files,
        "size": copy.size,
        "written": found.written,
        "already": found.already,
        "updated": found.updated,
        "quarantined": list(found.quarantined),
    }
