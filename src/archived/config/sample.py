"""The sample configuration: written from the models, so that it cannot say anything else than they.

Documentation stands behind `# `; a setting stands behind `#` alone, with its default, and works
when that `#` is taken away.
"""

from __future__ import annotations

import inspect
import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from archived.api import Options, SecretRef, Stage, Target
from archived.api.options import duration_text, size_text
from archived.config.schema import (
    SINGLE,
    HotFolder,
    Lane,
    Mqtt,
    Pipeline,
    Reserved,
    default_disk_factor,
    default_lanes,
)
from archived.model.pipeline import SEAL
from archived.plugins import Plugins

_OPENING = """\
# The configuration of archived.
#
# Lines like "#name = ..." show a setting with its default: take the "#" away to change it. Where a
# setting has no default, or another value is shown, the line above says so.
# Files conf.d/*.toml beside this one are read as well, in the order of their names; a setting
# stands in one file only. Try every change with: archived check
# Durations are written "90 s", "20 min", "2 h", "30 d"; sizes "512 MiB", "2 GB".
# A secret is never written here, only where it is kept: { credential = "NAME" } for a systemd
# credential, or { file = "PATH" } for a file that only the daemon's user may read.
"""

_EXAMPLES: tuple[Any, ...] = (
    {"file": "/etc/archived/secret/NAME"},
    "NAME",
    "1 min",
    "1 GiB",
    False,
    1,
    1.0,
    ["NAME"],
    [1],
    {"NAME": "..."},
)
"""What an option without default may look like; the first that its type accepts is shown."""

_PATHS: tuple[Any, ...] = ("/path/to/it", ["/path/to/it"])

_ORDER = ("archive", "store", "spool", "intake", "plugins")
_REST = ("retry", "fairness", "web", "control", "log")


def sample_config(plugins: Plugins | None = None) -> str:
    """A complete `archived.toml` in which everything is a comment, with the options of `plugins`.

    Loads as it is (all defaults), and also with every setting's `#` taken away.
    """
    given = plugins or Plugins({})
    parts = [_OPENING]
    for key in _ORDER:
        said = _plugins_said(given) if key == "plugins" else {}
        parts.append(_table(key, SINGLE[key], active=True, said=said))
    parts.append(_table("hotfolder.scans", HotFolder))
    stages = _pipeline(given)
    parts.append(_table("pipeline.paper", Pipeline, said={"stages": stages}))
    parts += [_stage(name, cls) for name, cls in given.stages.items()]
    parts += [_target(kind, cls) for kind, cls in given.targets.items()]
    parts.append(_lanes())
    parts += [_table(key, SINGLE[key], active=True) for key in _REST]
    parts.append(_table("mqtt", Mqtt))
    return "\n".join(parts)


def written(value: Any) -> str:
    """A JSON value as TOML on one line."""
    if isinstance(value, Mapping):
        pairs = [f"{_key(k)} = {written(v)}" for k, v in value.items() if v is not None]
        return "{ " + ", ".join(pairs) + " }" if pairs else "{}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(written(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def default_text(option: FieldInfo) -> str | None:
    """The option's default as it is written in the file; `None` when it has none or is not set."""
    if option.is_required():
        return None
    default = option.get_default(call_default_factory=True, validated_data={})
    kind: TypeAdapter[Any] = TypeAdapter(_as_written(option))
    value = kind.dump_python(kind.validate_python(default), mode="json")
    return None if value is None else written(value)


def _as_written(option: FieldInfo) -> Any:
    """The option's type with its validators and serialisers, which pydantic keeps apart."""
    return (
        Annotated[(option.annotation, *option.metadata)] if option.metadata else option.annotation
    )


def _table(
    name: str,
    model: type[BaseModel],
    *,
    active: bool = False,
    said: Mapping[str, Any] | None = None,
    before: Iterable[str] = (),
) -> str:
    """One table; `said` has values to show in place of the defaults, `before` further lines."""
    # An empty table is harmless; one that must have keys would not load.
    lines = [*_comment(_doc(model)), f"[{name}]" if active else f"#[{name}]", *before]
    for key, option in model.model_fields.items():
        lines += ["", *_option(key, option, (said or {}).get(key))]
    return "\n".join(lines) + "\n"


def _option(key: str, option: FieldInfo, said: Any) -> Iterator[str]:
    description = " ".join((option.description or "").split())
    yield from _comment(description + _choices(option) + _instead(option, said))
    if said is not None:
        yield f"#{_key(key)} = {written(said)}"
    elif option.is_required():
        yield f"#{_key(key)} = {written(_example(option))}"
    elif (text := default_text(option)) is not None:
        yield f"#{_key(key)} = {text}"
    elif option.examples:
        yield f"# Not set; for example: {_key(key)} = {written(option.examples[0])}"
    else:
        yield f"# Not set: {_key(key)}"


def _instead(option: FieldInfo, said: Any) -> str:
    """That what is shown is not the default, where it is not."""
    if option.is_required():
        return " Required; for example:"
    default = default_text(option)
    if said is None or default is None or default == written(said):
        return ""
    return f" Default: {default}. With what is shown here:"


def _stage(name: str, cls: type[Stage[Any]]) -> str:
    needs = cls.needs
    own = {
        "timeout": duration_text(needs.timeout),
        "max_time": None if needs.max_time is None else duration_text(needs.max_time),
        "attempts": needs.attempts,
        "lane": needs.lane,
        "memory": size_text(needs.memory_bytes),
        "memory_per_page": size_text(n) if (n := needs.memory_per_page_bytes) else None,
        "max_memory": size_text(needs.max_memory_bytes) if needs.max_memory else None,
        "disk_factor": default_disk_factor(needs),
    }
    before = []
    for key, value in own.items():
        before += ["", *_option(key, Reserved.model_fields[key], value)]
    opening = "\n".join(_comment(_doc(cls) or f"The stage {name}.")) + "\n"
    return opening + _undocumented(_table(f"stage.{name}", cls.config(), before=before))


def _target(kind: str, cls: type[Target[Any]]) -> str:
    opening = "\n".join(_comment(_doc(cls) or f"A place for copies of kind {kind}.")) + "\n"
    before = ["", "# What sort of place it is.", f'#kind = "{kind}"']
    return opening + _undocumented(_table(f"target.{kind}", cls.config(), before=before))


def _undocumented(table: str) -> str:
    """The table without the line about its options type: the stage's own stands there."""
    return table[table.index("#[") :]


def _lanes() -> str:
    lines = [*_comment(_doc(Lane)), "# The default is one step for each core, and a few that wait."]
    lines += ["[lanes]", *(f"#{name} = {lane.width}" for name, lane in default_lanes().items())]
    lines += ['# With another runner: gpu = { width = 1, runner = "local" }']
    return "\n".join(lines) + "\n"


def _plugins_said(plugins: Plugins) -> dict[str, Any]:
    names = [info.name for info in plugins.catalogue()]
    folders = [str(folder) for folder in plugins.folders]
    return {**({"enabled": names} if names else {}), **({"folders": folders} if folders else {})}


def _pipeline(plugins: Plugins) -> list[str]:
    shaping = [name for name, cls in plugins.stages.items() if not cls.needs.targets]
    copying = [name for name, cls in plugins.stages.items() if cls.needs.targets]
    return [*shaping, SEAL, *(copying if plugins.targets else ())]


def _example(option: FieldInfo) -> Any:
    """A value that the option's type allows, for an option that has no default."""
    if option.examples:
        return option.examples[0]
    kind = option.annotation
    if isinstance(kind, type) and issubclass(kind, Options) and kind is not SecretRef:
        required = {k: o for k, o in kind.model_fields.items() if o.is_required()}
        return {k: _example(o) for k, o in required.items()}
    choices = get_args(kind) if get_origin(kind) is Literal else ()
    adapter: TypeAdapter[Any] = TypeAdapter(_as_written(option))
    # Nearly anything passes as a path, so paths have examples of their own.
    examples = (*_PATHS, *_EXAMPLES) if "Path" in repr(kind) else _EXAMPLES
    for value in (*choices, *examples):
        try:
            adapter.validate_python(value)
        except ValidationError:
            continue
        return value
    return "..."


def _choices(option: FieldInfo) -> str:
    if get_origin(option.annotation) is not Literal:
        return ""
    choices = [written(choice) for choice in get_args(option.annotation) if choice != ""]
    if all(choice in (option.description or "") for choice in choices):
        return ""
    return f" One of: {', '.join(choices)}."


def _doc(cls: type) -> str:
    """The first paragraph of the class's own documentation."""
    text = inspect.cleandoc(cls.__dict__.get("__doc__") or "")
    return " ".join(text.split("\n\n")[0].split())


def _comment(text: str) -> list[str]:
    return [
        f"# {line}"
        for line in textwrap.wrap(text, 97, break_long_words=False, break_on_hyphens=False)
    ]


def _key(key: str) -> str:
    return (
        key if key.replace("-", "").replace("_", "").isalnum() and key.isascii() else written(key)
    )
