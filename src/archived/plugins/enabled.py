"""The enabled plug-ins together: what they gave, and how their hooks are called.

No plug-in's mistake reaches another plug-in or a document from here.
"""

from __future__ import annotations

import base64
import logging
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pluggy

from archived.api import Event, Stage, Target
from archived.api import hooks as specifications
from archived.api.hooks import PROJECT, Arrived, Commands
from archived.errors import PluginError
from archived.message import Message, sequence
from archived.plugins.discovery import Loaded, PluginSource, load, look, said
from archived.plugins.validation import (
    NAME,
    did_you_mean,
    former_events,
    hooks_of,
    stage_problems,
    target_problems,
)

_log = logging.getLogger("archived.plugins")


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """One enabled plug-in: where it came from and what it gave.

    `distribution` and `version` are empty for a single file; `where` is the file, or the entry
    point as the distribution wrote it; `sha256` is that of its code (see `code_digest`).
    """

    name: str
    distribution: str
    version: str
    where: str
    sha256: str = ""
    stages: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    runners: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()


@dataclass
class _Given:
    """What one plug-in registered, before it is accepted."""

    stages: dict[str, type[Stage[Any]]] = field(default_factory=dict)
    targets: dict[str, type[Target[Any]]] = field(default_factory=dict)
    runners: dict[str, Callable[..., Any]] = field(default_factory=dict)


def find(
    enabled: Sequence[str],
    folders: Sequence[Path] = (),
    *,
    errors: list[PluginError] | None = None,
) -> Plugins:
    """Load the plug-ins named in `enabled`, in that order.

    Raises `PluginError` at the first that cannot be used; with `errors` given, every one is put
    there instead and the others are loaded, so that all mistakes can be told at once.
    """
    plugins = Plugins(look(folders), folders)
    for name in enabled:
        try:
            plugins.enable(name)
        except PluginError as error:
            if errors is None:
                raise
            errors.append(error)
    return plugins


class Plugins:
    """The enabled plug-ins and what they gave. Order is the order of `[plugins] enabled`."""

    def __init__(
        self, available: Mapping[str, list[PluginSource]], folders: Sequence[Path] = ()
    ) -> None:
        self.stages: dict[str, type[Stage[Any]]] = {}
        self.targets: dict[str, type[Target[Any]]] = {}
        self.runners: dict[str, Callable[..., Any]] = {}
        self.failures: Counter[tuple[str, str]] = Counter()
        """(plug-in, hook) -> how often it raised or answered nonsense since the start."""
        self.warnings: list[str] = []
        """What is to be put right in a plug-in that can be used as it is."""
        self.folders = tuple(folders)
        """Where single-file plug-ins are looked for."""
        self._available = available
        self._infos: dict[str, PluginInfo] = {}
        self._sources: dict[str, dict[str, str]] = {}
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(specifications)

    @property
    def available(self) -> tuple[str, ...]:
        """Names of every plug-in that is installed or lies in a configured folder."""
        return tuple(sorted(self._available))

    def enable(self, name: str) -> None:
        """Import one plug-in, check all it gives, and take it in. Raises `PluginError`."""
        found = self._choose(name)
        loaded = load(found)
        hooks = hooks_of(self._manager, name, loaded.module)
        try:
            self._manager.register(loaded.module, name=name)
            self._manager.check_pending()  # the library's word that no hook is left unknown
        except (pluggy.PluginValidationError, ValueError) as error:
            self._forget(name)
            raise PluginError(
                Message(
                    'plug-in "{name}" ({where}): {error}', name=name, where=found.where, error=error
                )
            ) from error
        try:
            given = self._ask(name)
            self._no_doubles(name, given)
        except PluginError:
            self._forget(name)
            raise
        self.warnings += [f'plug-in "{name}": {text}' for text in former_events(loaded.module)]
        self.stages |= given.stages
        self.targets |= given.targets
        self.runners |= given.runners
        self._sources[name] = _source(name, found, loaded)
        distribution, version = found.distribution
        self._infos[name] = PluginInfo(
            name=name,
            distribution=distribution,
            version=version,
            where=found.where,
            sha256=loaded.sha256,
            stages=tuple(given.stages),
            targets=tuple(given.targets),
            runners=tuple(given.runners),
            hooks=tuple(hooks),
        )

    def catalogue(self) -> list[PluginInfo]:
        """Every enabled plug-in, in order."""
        return list(self._infos.values())

    @property
    def sources(self) -> list[dict[str, str]]:
        """Where a fork server loads the same plug-ins from, and that they are the same.

        `{"name", "entry_point", "sha256"}` for a distribution; for a single file `{"name", "file",
        "sha256", "code"}`: the bytes that were checked, by zlib and base64.
        """
        return list(self._sources.values())

    def giver(self, stage: str) -> PluginInfo:
        """The plug-in that gave a stage; `KeyError` when none did."""
        for info in self._infos.values():
            if stage in info.stages:
                return info
        raise KeyError(stage)

    def tell(self, event: Event) -> None:
        """Let every observer see an event. Never raises: failures are logged and counted."""
        for name in self._with("on_event"):
            try:
                self._only("on_event", name)(event=event)
            except (Exception, SystemExit):  # noqa: BLE001 - one bad observer must not silence the rest
                self._failed(name, "on_event", f"event {event.name}")

    def choose_pipeline(self, document: Arrived, pipelines: Sequence[str]) -> str | None:
        """The first plug-in's answer; `None` when none has an opinion or the answer is no good."""
        for name in self._with("choose_pipeline"):
            try:
                answers = self._only("choose_pipeline", name)(
                    document=document, pipelines=pipelines
                )
            except (Exception, SystemExit):  # noqa: BLE001 - a bad answer holds nobody up
                self._failed(name, "choose_pipeline", f"file {document.name!r}")
                return None
            if answers is None:
                continue
            if answers in pipelines:
                return str(answers)
            self.failures[name, "choose_pipeline"] += 1
            _log.error(
                "plug-in %s: choose_pipeline named %r, which is not a pipeline; "
                "the hot folder's own is used",
                name,
                answers,
            )
            return None
        return None

    def add_commands(self, cli: Commands) -> list[str]:
        """Let plug-ins add their commands. Returns one warning per plug-in that could not."""
        warnings: list[str] = []
        for name in self._with("register_commands"):
            try:
                self._only("register_commands", name)(cli=_Guarded(cli))
            except (Exception, SystemExit) as error:  # noqa: BLE001 - the command line goes on without it
                self.failures[name, "register_commands"] += 1
                warnings.append(
                    Message(
                        'plug-in "{name}" adds no commands: {said}', name=name, said=said(error)
                    )
                )
        return warnings

    def _choose(self, name: str) -> PluginSource:
        places = self._available.get(name, [])
        if len(places) == 1:
            return places[0]
        if places:
            raise PluginError(
                Message(
                    'plug-in "{name}" is there more than once ({places}); remove all but one',
                    name=name,
                    places=", ".join(p.distribution[0] or p.where for p in places),
                )
            )
        folder = (
            Message("; or put {name}.py into {folders}", name=name, folders=self.folders[0])
            if self.folders
            else ""
        )
        raise PluginError(
            Message(
                'plug-in "{name}" is not installed{did_you_mean} (installed: {available})',
                name=name,
                did_you_mean=did_you_mean(name, self._available),
                available=", ".join(sorted(self._available)) or "none",
            ),
            hint=Message(
                "install it where archived lives: archivectl plugins install WHEEL, then "
                "systemctl restart archived{folder}",
                folder=folder,
            ),
        )

    def _ask(self, name: str) -> _Given:
        """Call one plug-in's `register_...` hooks."""
        given = _Given()

        def add_stage(cls: type[Stage[Any]]) -> None:
            problems = list(stage_problems(cls))
            _refuse_if(problems, name, "stage", cls)
            _once(given.stages, cls.name, cls, name, "stage")

        def add_target(cls: type[Target[Any]]) -> None:
            problems = list(target_problems(cls))
            _refuse_if(problems, name, "target", cls)
            _once(given.targets, cls.kind, cls, name, "target")

        def add_runner(runner: str, factory: Callable[..., Any]) -> None:
            if not isinstance(runner, str) or not NAME.fullmatch(runner) or runner == "local":
                raise PluginError(
                    Message(
                        'plug-in "{name}": {runner!r} cannot be the name of a runner',
                        name=name,
                        runner=runner,
                    )
                )
            _once(given.runners, runner, factory, name, "runner")

        for hook, register in (
            ("register_stages", add_stage),
            ("register_targets", add_target),
            ("register_runners", add_runner),
        ):
            try:
                self._only(hook, name)(register=register)
            except PluginError:
                raise
            except (Exception, SystemExit) as error:
                raise PluginError(
                    Message(
                        'plug-in "{name}": {hook} failed: {said}',
                        name=name,
                        hook=hook,
                        said=said(error),
                    )
                ) from error
        return given

    def _no_doubles(self, name: str, given: _Given) -> None:
        for kind, mine in (
            ("stages", given.stages),
            ("targets", given.targets),
            ("runners", given.runners),
        ):
            for other in self._infos.values():
                for double in sorted(set(mine) & set(getattr(other, kind))):
                    raise PluginError(
                        Message(
                            'plug-ins "{name}" and "{other}" both give the {kind} '
                            '"{double}"; enable one of them',
                            name=other.name,
                            other=name,
                            kind=kind[:-1],
                            double=double,
                        )
                    )

    def _with(self, hook: str) -> Iterator[str]:
        return (info.name for info in self._infos.values() if hook in info.hooks)

    def _only(self, hook: str, name: str) -> Callable[..., Any]:
        """A caller that reaches this one plug-in: pluggy stops all at the first that raises."""
        others = [p for n, p in self._manager.list_name_plugin() if n != name and p is not None]
        return self._manager.subset_hook_caller(hook, remove_plugins=others)

    def _forget(self, name: str) -> None:
        if self._manager.has_plugin(name):
            self._manager.unregister(name=name)

    def _failed(self, name: str, hook: str, about: str) -> None:
        self.failures[name, hook] += 1
        _log.exception("plug-in %s: %s failed on %s", name, hook, about)


def _source(name: str, found: PluginSource, loaded: Loaded) -> dict[str, str]:
    if found.entry_point:
        return {"name": name, "entry_point": found.where, "sha256": loaded.sha256}
    code = base64.b64encode(zlib.compress(loaded.code)).decode()
    return {"name": name, "file": found.where, "sha256": loaded.sha256, "code": code}


class _Guarded:
    """A command group that lets nobody replace a command that is already there."""

    def __init__(self, cli: Commands) -> None:
        self._cli = cli

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._cli, attribute)

    def add_command(self, cmd: Any, name: str | None = None) -> None:
        called = name or cmd.name
        if called in getattr(self._cli, "commands", {}):
            raise ValueError(f'there is already a command "{called}"')
        self._cli.add_command(cmd, name)


def _once(into: dict[str, Any], key: str, value: Any, name: str, kind: str) -> None:
    if key in into:
        raise PluginError(
            Message(
                'plug-in "{name}" gives the {kind} "{key}" twice', name=name, kind=kind, key=key
            )
        )
    into[key] = value


def _refuse_if(problems: list[str], name: str, kind: str, cls: object) -> None:
    if problems:
        called = getattr(cls, "__name__", repr(cls))
        raise PluginError(
            Message(
                'plug-in "{name}", {kind} {called}: {problems}',
                name=name,
                kind=kind,
                called=called,
                problems=sequence(problems, "; "),
            )
        )
