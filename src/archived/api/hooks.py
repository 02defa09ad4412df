"""The six hooks. They are synchronous and cheap; work happens in `Stage.run`, elsewhere.

Each docstring answers: when is it called, in which process, what may it return, what happens when
it raises. An implementation may name fewer arguments than the hook has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import pluggy

from archived.api.events import Event
from archived.api.stage import Stage
from archived.api.target import Target

PROJECT = "archived"

F = TypeVar("F", bound=Callable[..., Any])

_spec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function as a hook's implementation."""


class Arrived(Protocol):
    """What `choose_pipeline` may look at: facts about a file, never its content."""

    @property
    def hotfolder(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def media_type(self) -> str: ...
    @property
    def size(self) -> int: ...


class Commands(Protocol):
    """What `register_commands` is given: click's `Group` fits."""

    def add_command(self, cmd: Any, name: str | None = None) -> None: ...


@_spec
def register_stages(register: Callable[[type[Stage[Any]]], None]) -> None:
    """Give stage classes to the core by calling `register(StageClass)`.

    When: at start, at reload, and in every lane's fork server. Process: daemon, command line, and
    fork server. Returns nothing. Raises: the plug-in is refused and the start stops.
    """


@_spec
def register_targets(register: Callable[[type[Target[Any]]], None]) -> None:
    """Give kinds of places for replicas by calling `register(TargetClass)`.

    When, where and what if it raises: as `register_stages`.
    """


@_spec
def register_runners(register: Callable[[str, Callable[..., Any]], None]) -> None:
    """Give ways to run a step by calling `register(name, factory)`.

    `factory(lane, width, sources)` returns an object with the local runner's methods (`start`,
    `run`, `stop`, `read_back`); `sources` names the enabled plug-ins, as `{"name", "entry_point" or
    "file", "sha256"}`, for a file with its checked `"code"`; `archived.engine.plugin_loader`
    loads them. Chosen by `[lanes.NAME] runner = "name"`; the local fork server is called `local`.
    What a runner is given and returns is `archived.engine.protocol.StepRequest` and
    `archived.model.outcome.Outcome`: the one place where a plug-in needs more than `archived.api`.

    When: at start and reload. Process: daemon. Raises: the start stops.
    """


@_spec
def register_commands(cli: Commands) -> None:
    """Add a sub-command to `archivectl` by calling `cli.add_command(command)` (click).

    When: on every `archivectl` call that can read the configuration. Process: command line only.
    Raises: the command line warns, names the plug-in, and goes on without it.
    """


@_spec(firstresult=True)
def choose_pipeline(document: Arrived, pipelines: Sequence[str]) -> str | None:
    """Name the pipeline for a new document, or return `None`: no opinion.

    When: at admission, before the document is on record; the first answer that is not `None`
    wins, and without one the hot folder's own pipeline is used. Process: daemon (keep it quick).
    A name that is not in `pipelines`, or an exception, holds nobody up: the hot folder's pipeline
    is used and the mistake is logged and counted.
    """


@_spec
def on_event(event: Event) -> None:
    """Observe what happened, after it was committed.

    When: at least once per event, in order. Process: daemon (be quick). Returns nothing. Raises:
    logged and counted; neither the document nor other observers notice.
    """


HOOKS: Mapping[str, Any] = {
    hook.__name__: hook
    for hook in (
        register_stages,
        register_targets,
        register_runners,
        register_commands,
        choose_pipeline,
        on_event,
    )
}
"""Name -> specification of every hook there is."""
