"""Find, enable and check plug-ins by name. The only user of pluggy's `PluginManager`.

Installed is not enabled: nothing is imported that `[plugins] enabled` does not name. What a plug-in
gives is checked here, once, so that nobody behind this door meets a malformed stage.
"""

from __future__ import annotations

import difflib
import importlib.metadata
import logging
import os
import re
import stat
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy
from pydantic import BaseModel

from archived.api import API_VERSION, Event, Needs, Stage, Target
from archived.api import hooks as specifications
from archived.api.hooks import HOOKS, PROJECT, Arrived, Commands
from archived.errors import PluginError

GROUP = "archived"
"""The entry-point group a distribution announces its plug-in in."""

FILE_MODULE = "archived_file_"
"""What the module of a single-file plug-in is called: this, then the plug-in's name."""

RESERVED = ("timeout", "attempts", "lane", "memory")
"""Keys of a `[stage.NAME]` table that the core understands; no options type may use them."""

_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
_TYPE = re.compile(r"(\*/\*|[a-z0-9][a-z0-9.+-]*/(\*|[a-z0-9][a-z0-9.+-]*))")
_log = logging.getLogger("archived.plugins")


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """One enabled plug-in: where it came from and what it gave.

    `distribution` and `version` are empty for a single file; `where` is the file, or the entry
    point as the distribution wrote it.
    """

    name: str
    distribution: str
    version: str
    where: str
    stages: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    runners: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Found:
    """Where one plug-in can be loaded from: an entry point or a file."""

    name: str
    entry_point: importlib.metadata.EntryPoint | None = None
    file: Path | None = None

    @property
    def where(self) -> str:
        return self.entry_point.value if self.entry_point else str(self.file)

    @property
    def distribution(self) -> tuple[str, str]:
        dist = self.entry_point.dist if self.entry_point else None
        return (dist.name, dist.version) if dist else ("", "")


@dataclass
class _Given:
    """What one plug-in registered, before it is accepted."""

    stages: dict[str, type[Stage[Any]]] = field(default_factory=dict)
    targets: dict[str, type[Target[Any]]] = field(default_factory=dict)
    runners: dict[str, Callable[..., Any]] = field(default_factory=dict)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean "..."?` when one of `known` is close to `word`, else nothing."""
    near = difflib.get_close_matches(word, sorted(known), n=1)
    return f'; did you mean "{near[0]}"?' if near else ""


def installed(folders: Sequence[Path] = ()) -> Mapping[str, Sequence[str]]:
    """Name -> where it is, for every plug-in that could be enabled. Imports none of them."""
    return {name: [f.where for f in found] for name, found in sorted(_look(folders).items())}


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
    plugins = Plugins(_look(folders), folders)
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

    def __init__(self, available: Mapping[str, list[_Found]], folders: Sequence[Path] = ()) -> None:
        self.stages: dict[str, type[Stage[Any]]] = {}
        self.targets: dict[str, type[Target[Any]]] = {}
        self.runners: dict[str, Callable[..., Any]] = {}
        self.failures: Counter[tuple[str, str]] = Counter()
        """(plug-in, hook) -> how often it raised or answered nonsense since the start."""
        self._available = available
        self._folders = folders
        self._infos: dict[str, PluginInfo] = {}
        self._found: dict[str, _Found] = {}
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(specifications)

    @property
    def available(self) -> tuple[str, ...]:
        """Names of every plug-in that is installed or lies in a configured folder."""
        return tuple(sorted(self._available))

    def enable(self, name: str) -> None:
        """Import one plug-in, check all it gives, and take it in. Raises `PluginError`."""
        found = self._choose(name)
        module = _load(found)
        hooks = _hooks_of(self._manager, name, module)
        try:
            self._manager.register(module, name=name)
            self._manager.check_pending()  # the library's word that no hook is left unknown
        except (pluggy.PluginValidationError, ValueError) as error:
            self._forget(name)
            raise PluginError(f'plug-in "{name}" ({found.where}): {error}') from error
        try:
            given = self._ask(name)
            self._no_doubles(name, given)
        except PluginError:
            self._forget(name)
            raise
        self.stages |= given.stages
        self.targets |= given.targets
        self.runners |= given.runners
        self._found[name] = found
        distribution, version = found.distribution
        self._infos[name] = PluginInfo(
            name=name,
            distribution=distribution,
            version=version,
            where=found.where,
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
        """Where a fork server loads the same plug-ins from.

        `{"name", "entry_point"}` for a distribution, `{"name", "file"}` for a single file.
        """
        return [
            {"name": name, "entry_point" if found.entry_point else "file": found.where}
            for name, found in self._found.items()
        ]

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
            except Exception:  # noqa: BLE001 - one bad observer must not silence the rest
                self._failed(name, "on_event", f"event {event.name}")

    def choose_pipeline(self, document: Arrived, pipelines: Sequence[str]) -> str | None:
        """The first plug-in's answer; `None` when none has an opinion or the answer is no good."""
        for name in self._with("choose_pipeline"):
            try:
                answers = self._only("choose_pipeline", name)(
                    document=document, pipelines=pipelines
                )
            except Exception:  # noqa: BLE001 - a bad answer holds nobody up
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
        warnings = []
        for name in self._with("register_commands"):
            try:
                self._only("register_commands", name)(cli=_Guarded(cli))
            except Exception as error:  # noqa: BLE001 - the command line goes on without it
                self.failures[name, "register_commands"] += 1
                warnings.append(f'plug-in "{name}" adds no commands: {_said(error)}')
        return warnings

    def _choose(self, name: str) -> _Found:
        places = self._available.get(name, [])
        if len(places) == 1:
            return places[0]
        if places:
            raise PluginError(
                f'plug-in "{name}" is there more than once '
                f"({', '.join(p.distribution[0] or p.where for p in places)}); remove all but one"
            )
        folder = f", or put {name}.py into {self._folders[0]}" if self._folders else ""
        raise PluginError(
            f'plug-in "{name}" is not installed{did_you_mean(name, self._available)} '
            f"(installed: {', '.join(sorted(self._available)) or 'none'})",
            hint=f"install it where archived lives: pip install archived-{name}{folder}",
        )

    def _ask(self, name: str) -> _Given:
        """Call one plug-in's `register_...` hooks."""
        given = _Given()

        def add_stage(cls: type[Stage[Any]]) -> None:
            problems = list(_stage_problems(cls))
            _refuse_if(problems, name, "stage", cls)
            _once(given.stages, cls.name, cls, name, "stage")

        def add_target(cls: type[Target[Any]]) -> None:
            problems = list(_target_problems(cls))
            _refuse_if(problems, name, "target", cls)
            _once(given.targets, cls.kind, cls, name, "target")

        def add_runner(runner: str, factory: Callable[..., Any]) -> None:
            if not isinstance(runner, str) or not _NAME.fullmatch(runner) or runner == "local":
                raise PluginError(f'plug-in "{name}": {runner!r} cannot be the name of a runner')
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
            except Exception as error:
                raise PluginError(f'plug-in "{name}": {hook} failed: {_said(error)}') from error
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
                        f'plug-ins "{other.name}" and "{name}" both give the {kind[:-1]} '
                        f'"{double}"; enable one of them'
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


def _look(folders: Sequence[Path]) -> dict[str, list[_Found]]:
    found: dict[str, list[_Found]] = {}
    for entry_point in importlib.metadata.entry_points(group=GROUP):
        found.setdefault(entry_point.name, []).append(_Found(entry_point.name, entry_point))
    for folder in folders:
        # A folder that is not there holds nothing; one that cannot be read is told about.
        for file in sorted(folder.glob("*.py")) if folder.is_dir() else ():
            if _NAME.fullmatch(file.stem):
                found.setdefault(file.stem, []).append(_Found(file.stem, file=file))
    return found


def _load(found: _Found) -> Any:
    try:
        if found.entry_point:
            return found.entry_point.load()
        return load_file(found.name, Path(found.where))
    except PluginError:
        raise
    except (Exception, SystemExit) as error:
        raise PluginError(
            f'plug-in "{found.name}" ({found.where}) cannot be imported: {_said(error)}',
            hint=f"try it by itself: python3 -c 'import {found.where.partition(':')[0]}'"
            if found.entry_point
            else "correct the file, or take its name out of [plugins] enabled",
        ) from error


def load_file(name: str, file: Path) -> ModuleType:
    """Import a single-file plug-in as `archived_file_NAME`. Raises `PluginError` if it is unsafe.

    The bytes that were checked are the bytes that run: no second look-up by name, and no cached
    byte code, which somebody else might have written.
    """
    with file.open("rb") as opened:
        _only_ours(file, os.fstat(opened.fileno()))
        for folder in {file.parent, file.resolve().parent}:
            _only_ours(folder, folder.stat())
        source = opened.read()
    module = ModuleType(f"{FILE_MODULE}{name}")
    module.__file__ = str(file)
    before = sys.modules.get(module.__name__)
    sys.modules[module.__name__] = module
    try:
        exec(compile(source, file, "exec"), module.__dict__)  # noqa: S102 - enabled by the operator
    except BaseException:
        # A reload that fails must leave the old plug-in as it was.
        sys.modules.pop(module.__name__)
        if before is not None:
            sys.modules[module.__name__] = before
        raise
    return module


def _only_ours(path: Path, status: os.stat_result) -> None:
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PluginError(
            f"{path}: others may write here, so nothing is loaded from it",
            hint=f"run: chmod go-w {path}",
        )
    if status.st_uid not in (0, os.geteuid()):
        raise PluginError(
            f"{path}: belongs to user {status.st_uid}, neither to root nor to the user of archived",
            hint=f"run: chown root {path}",
        )


def _hooks_of(manager: pluggy.PluginManager, name: str, module: Any) -> list[str]:
    """Names of the hooks a plug-in implements. Raises `PluginError` for one that does not exist."""
    marked = {}
    for attribute in dir(module):
        options = manager.parse_hookimpl_opts(module, attribute)
        if options is not None:
            marked[options.get("specname") or attribute] = options
    for hook, options in marked.items():
        if hook not in HOOKS and not options.get("optionalhook"):
            raise PluginError(
                f'plug-in "{name}": there is no hook "{hook}"{did_you_mean(hook, HOOKS)} '
                f"(hooks: {', '.join(HOOKS)})"
            )
    bare = sorted(h for h in HOOKS if h not in marked and callable(getattr(module, h, None)))
    if bare:
        raise PluginError(f'plug-in "{name}": mark {bare[0]} with @hookimpl, else nobody calls it')
    if not marked:
        raise PluginError(f'plug-in "{name}": has no hooks (hooks: {", ".join(HOOKS)})')
    return [hook for hook in HOOKS if hook in marked]


def _once(into: dict[str, Any], key: str, value: Any, name: str, kind: str) -> None:
    if key in into:
        raise PluginError(f'plug-in "{name}" gives the {kind} "{key}" twice')
    into[key] = value


def _refuse_if(problems: list[str], name: str, kind: str, cls: object) -> None:
    if problems:
        called = getattr(cls, "__name__", repr(cls))
        raise PluginError(f'plug-in "{name}", {kind} {called}: {"; ".join(problems)}')


def _stage_problems(cls: type[Stage[Any]]) -> Iterator[str]:
    if not (isinstance(cls, type) and issubclass(cls, Stage)):
        yield "register takes a class derived from archived.api.Stage"
        return
    if not isinstance(cls.api, int) or cls.api > API_VERSION:
        yield (
            f"was written for version {cls.api} of the plug-in API, and this archived has version "
            f"{API_VERSION}; use a newer archived or an older plug-in"
        )
        return
    yield from _name_problems(cls, "name")
    if getattr(cls, "name", "") == "seal":
        yield '"seal" is the core\'s own step; choose another name'
    if cls.run is Stage.run:
        yield "define run(self, document, context)"
    elif cls.__abstractmethods__:
        yield f"define {', '.join(sorted(cls.__abstractmethods__))}"
    if isinstance(cls.accepts, str) or not cls.accepts:
        yield 'write accepts as a tuple, like ("image/*", "application/pdf")'
    else:
        for pattern in cls.accepts:
            if not isinstance(pattern, str) or not _TYPE.fullmatch(pattern):
                yield f'accepts: {pattern!r} is not a media type like "image/tiff" or "image/*"'
    yield from _needs_problems(cls.needs)
    yield from _options_problems(cls.config(), RESERVED)


def _needs_problems(needs: object) -> Iterator[str]:
    if not isinstance(needs, Needs):
        yield "write needs as archived.api.Needs(...)"
        return
    try:
        enough = needs.memory_bytes > 0
    except ValueError as error:
        yield f"needs.memory: {error}"
    else:
        if not enough or needs.attempts < 1 or needs.timeout.total_seconds() <= 0:
            yield "needs: memory, attempts and timeout must be more than nothing"


def _target_problems(cls: type[Target[Any]]) -> Iterator[str]:
    if not (isinstance(cls, type) and issubclass(cls, Target)):
        yield "register takes a class derived from archived.api.Target"
        return
    yield from _name_problems(cls, "kind")
    if cls.__abstractmethods__:
        yield f"define {', '.join(sorted(cls.__abstractmethods__))}"
    yield from _options_problems(cls.config(), ("kind",))


def _name_problems(cls: type, attribute: str) -> Iterator[str]:
    name = getattr(cls, attribute, None)
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > 60:
        yield f"{attribute} {name!r}: write lower-case words joined by hyphens"
    version = getattr(cls, "version", None)
    if not isinstance(version, str) or not version.strip():
        yield f"version {version!r}: write a text that is not empty"


def _options_problems(model: type[BaseModel], reserved: Iterable[str]) -> Iterator[str]:
    for key, option in model.model_fields.items():
        if key in reserved:
            yield f'option "{key}" is the core\'s own; choose another name'
        if not (option.description or "").strip():
            yield f'option "{key}" has no documentation; write a string under it'


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
