"""Finds plug-ins' stages and targets inside a fork server.

The daemon has its own way to enable and check plug-ins; by the time a source comes here it was
approved. No pluggy here: a hook's implementation is a plain function and is called as one.
"""

from __future__ import annotations

import base64
import importlib
import linecache
import sys
import zlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from archived.api import Stage, Target
from archived.code_digest import of_bytes, of_package
from archived.errors import PluginError
from archived.message import Message

Source = Mapping[str, Any]
"""Where one plug-in is: `name`, and `entry_point` (a module) or `file` (a path).

`sha256` is that of its code when it was checked: other code is refused. `code`, by zlib and base64,
is the checked code of a single file, which then is not read again.

`classes`, names of stage and target classes in that module, registers them without a hook: for
tests, which have no distribution.
"""


@dataclass(frozen=True, slots=True)
class Registry:
    """Name -> stage class, kind -> target class."""

    stages: dict[str, type[Stage[Any]]] = field(default_factory=dict)
    targets: dict[str, type[Target[Any]]] = field(default_factory=dict)

    def add_stage(self, stage: type[Stage[Any]]) -> None:
        """What `register_stages` is given. The same class again is fine."""
        _add(self.stages, stage.name, stage, "stage")

    def add_target(self, target: type[Target[Any]]) -> None:
        """What `register_targets` is given. The same class again is fine."""
        _add(self.targets, target.kind, target, "target")


def load_plugins(sources: Iterable[Source]) -> Registry:
    """Import every source and ask it for its stages and targets.

    Raises `PluginError` naming the plug-in: it cannot be imported, or gives a name twice.
    """
    registry = Registry()
    for source in sources:
        try:
            module = _module(source)
            _ask(module, source, registry)
        except PluginError:
            raise
        except Exception as error:
            raise PluginError(
                Message(
                    "plug-in {name!r} cannot be loaded: {kind}: {error}",
                    name=source.get("name"),
                    kind=type(error).__name__,
                    error=error,
                ),
                hint=Message("its author, or the packages it needs, are at fault"),
            ) from error
    return registry


def preload(registry: Registry, only: Collection[str] | None = None) -> None:
    """Import the modules that stages (`None`: all) want loaded, once and for every child.

    Raises `PluginError` naming the stage.
    """
    for name, stage in registry.stages.items():
        if only is not None and name not in only:
            continue
        for module in stage.preload:
            try:
                importlib.import_module(module)
            except Exception as error:
                raise PluginError(
                    Message(
                        "stage {stage!r} needs the module {module!r}, which cannot be "
                        "loaded: {kind}: {error}",
                        stage=stage.name,
                        module=module,
                        kind=type(error).__name__,
                        error=error,
                    )
                ) from error


def _module(source: Source) -> ModuleType:
    if "entry_point" in source:
        module_name = str(source["entry_point"]).partition(":")[0]
        if source.get("sha256") not in {None, of_package(module_name)}:
            raise _changed(source)
        return importlib.import_module(module_name)
    path = Path(source["file"])
    code = _code(source, path)
    name = f"archived_file_{source.get('name') or path.stem}".replace("-", "_")
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # dataclasses and pydantic look their module up by name
    # What a traceback shows is the code that runs, also where a step may not read the file.
    text = code.decode("utf-8", "replace")
    linecache.cache[str(path)] = (len(code), None, text.splitlines(keepends=True), str(path))
    try:
        # Compiled from its bytes: cached byte code could have been written by somebody else.
        exec(compile(code, path, "exec"), module.__dict__)  # noqa: S102 - enabled by the operator
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _code(source: Source, path: Path) -> bytes:
    if "code" in source:
        code = zlib.decompress(base64.b64decode(source["code"]))
    else:
        code = path.read_bytes()
    if source.get("sha256") not in {None, of_bytes(code)}:
        raise _changed(source)
    return code


def _changed(source: Source) -> PluginError:
    return PluginError(
        Message(
            "plug-in {name!r} was changed after it was checked; its new code does not run",
            name=source.get("name"),
        ),
        hint="when the change is yours, let the daemon check it: systemctl restart archived",
    )


def _ask(module: ModuleType, source: Source, registry: Registry) -> None:
    for hook, add in (
        ("register_stages", registry.add_stage),
        ("register_targets", registry.add_target),
    ):
        if callable(answer := getattr(module, hook, None)):
            answer(add)
    for name in source.get("classes", ()):
        found: Any = module
        for part in str(name).split("."):
            found = getattr(found, part)
        if issubclass(found, Stage):
            registry.add_stage(found)
        else:
            registry.add_target(found)


def _add(known: dict[str, Any], name: str, new: type, noun: str) -> None:
    if known.setdefault(name, new) is not new:
        raise PluginError(
            Message("two plug-ins give a {noun} called {name!r}", noun=noun, name=name)
        )
