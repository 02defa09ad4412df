"""From files to `Settings`: read, check the core's tables, load plug-ins, check theirs.

Every step notes its mistakes and goes on, so that one run tells them all.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

from pydantic import TypeAdapter, ValidationError

from archived import plugins as plugin_discovery
from archived.api import Options, Stage
from archived.config import validate
from archived.config.errors import note, note_bare_sizes
from archived.config.schema import (
    SINGLE,
    TABLES,
    Archive,
    Control,
    Fairness,
    HotFolder,
    Intake,
    Lane,
    LaneTable,
    Log,
    Mqtt,
    Pipeline,
    PluginTable,
    Reserved,
    Retry,
    Spool,
    Store,
    Web,
    default_disk_factor,
    default_lanes,
    name_problem,
)
from archived.config.settings import (
    HotFolderSetting,
    Settings,
    StageSetting,
    TargetSetting,
    canonical,
)
from archived.config.toml_files import Source, read
from archived.errors import PluginError
from archived.message import Message, sequence
from archived.model.pipeline import SEAL
from archived.plugins import Plugins, did_you_mean

RESERVED = tuple(Reserved.model_fields)
M = TypeVar("M", bound=Options)
LANE: TypeAdapter[Lane] = TypeAdapter(LaneTable)


class FindPlugins(Protocol):
    """How plug-ins are found: `archived.plugins.find`, or another for a test bench."""

    def __call__(
        self, enabled: tuple[str, ...], folders: tuple[Path, ...], *, errors: list[PluginError]
    ) -> Plugins: ...


def load(path: Path, *, find_plugins: FindPlugins = plugin_discovery.find) -> Settings:
    """Read `path` and `conf.d/*.toml` beside it, load the enabled plug-ins, check everything.

    Raises `ConfigError` with every mistake, each on one line that begins with file and line.
    Changes nothing: a reload that fails leaves the settings in force as they are.
    """
    source = read(path)
    for key in source.tables:
        if key not in TABLES:
            source.mistake(
                (key,),
                Message("unknown table{did_you_mean}", did_you_mean=did_you_mean(key, TABLES)),
            )
    table = _single(source)
    lanes = _lanes(source)
    pipelines = _named(source, "pipeline", Pipeline)
    folders = _named(source, "hotfolder", HotFolder)
    plugins, whole = _plugins(source, table(PluginTable), find_plugins)
    enabled = table(PluginTable).enabled
    stages = _stages(source, pipelines, plugins, enabled, whole)
    targets = _targets(source, plugins, whole)
    settings = Settings(
        path=source.path,
        files=tuple(file.name for file in source.files),
        archive=table(Archive),
        store=table(Store),
        spool=table(Spool),
        intake=table(Intake),
        retry=table(Retry),
        fairness=table(Fairness),
        web=table(Web),
        control=table(Control),
        log=table(Log),
        mqtt=_table(source, ("mqtt",), Mqtt) if "mqtt" in source.tables else None,
        plugin_table=table(PluginTable),
        lanes=MappingProxyType(lanes),
        hotfolders=MappingProxyType(_inherited(folders, table(Intake))),
        pipelines=MappingProxyType(pipelines),
        stages=MappingProxyType(stages),
        targets=MappingProxyType(targets),
        plugins=plugins,
    )
    validate.note(source, settings)
    source.stop_if_wrong()
    return dataclasses.replace(settings, warnings=tuple(source.warnings))


def _single(source: Source) -> Callable[[type[M]], M]:
    """A look-up of the tables that are there once.

    One that has mistakes is looked up as its defaults, so that the checks after it can run.
    """
    found: dict[type[Options], Options] = {}
    for key, model in SINGLE.items():
        found[model] = _table(source, (key,), model) or model()

    def look_up(model: type[M]) -> M:
        table = found[model]
        assert isinstance(table, model)  # noqa: S101 - the dict was filled three lines up
        return table

    return look_up


def _table(
    source: Source, keys: tuple[str, ...], model: type[M], also: tuple[str, ...] = ()
) -> M | None:
    """The table at `keys`; `also` are keys in it that somebody else reads.

    One with mistakes comes back without its wrong keys where that is possible, so that what is
    right in it is still looked at; nobody but the checks will see it.
    """
    there, raw = source.value(keys)
    if there and not isinstance(raw, dict):
        source.mistake(keys, Message("write a table"))
        return None
    mine = {key: value for key, value in (raw or {}).items() if key not in also}
    note_bare_sizes(source, mine, model, keys)
    try:
        return model.model_validate(mine)
    except ValidationError as error:
        note(source, error, model, keys, also)
        wrong = {mistake["loc"][0] for mistake in error.errors() if mistake["loc"]}
    try:
        return model.model_validate({k: v for k, v in mine.items() if k not in wrong})
    except ValidationError:
        return None


def _entries(source: Source, kind: str) -> dict[str, Any]:
    """The tables below `[kind.NAME]`, those with an impossible name noted and left out."""
    raw = source.tables.get(kind, {})
    if not isinstance(raw, dict):
        source.mistake((kind,), Message("write a table for each: [{kind}.NAME]", kind=kind))
        return {}
    entries = {}
    for name, value in raw.items():
        if kind != "lanes" and not isinstance(value, dict):
            source.mistake(
                (kind, name), Message("write a table for each: [{kind}.NAME]", kind=kind)
            )
        elif problem := name_problem(name):
            source.mistake((kind, name), problem)
        else:
            entries[name] = value
    return entries


def _named(source: Source, kind: str, model: type[M]) -> dict[str, M]:
    found = {name: _table(source, (kind, name), model) for name in _entries(source, kind)}
    return {name: table for name, table in found.items() if table is not None}


def _lanes(source: Source) -> dict[str, Lane]:
    lanes = default_lanes()
    for name, value in _entries(source, "lanes").items():
        try:
            lanes[name] = LANE.validate_python(value)
        except ValidationError as error:
            note(source, error, Lane, ("lanes", name))
            lanes[name] = Lane(width=1)  # it is there, so nobody else should complain
    return lanes


def _inherited(folders: Mapping[str, HotFolder], intake: Intake) -> dict[str, HotFolderSetting]:
    return {
        name: HotFolderSetting(
            name=name,
            path=folder.path,
            pipeline=folder.pipeline,
            enabled=folder.enabled,
            mode=folder.mode,
            recursive=folder.recursive,
            secrecy=folder.secrecy,
            unread=folder.unread,
            owner=folder.owner,
            priority=folder.priority,
            device=folder.device or name,
            device_from=folder.device_from,
            dossiers=folder.dossiers,
            closed_by=folder.closed_by,
            pages=folder.pages,
            collate=folder.collate,
            batch_settle_time=folder.batch_settle_time,
            back_side_wait=folder.back_side_wait,
            ignore=folder.ignore,
            settle_time=folder.settle_time or intake.settle_time,
            rescan=folder.rescan or intake.rescan,
            arrival_deadline=folder.arrival_deadline or intake.arrival_deadline,
            max_file_size=folder.max_file_size or intake.max_file_size,
            expected_within=folder.expected_within,
            expected_hours=folder.expected_hours,
            accept=folder.accept or intake.accept,
            receipts=folder.receipts,
            receipts_folder=folder.receipts_folder,
            receipts_keep=folder.receipts_keep,
        )
        for name, folder in folders.items()
    }


def _plugins(source: Source, table: PluginTable, find_plugins: FindPlugins) -> tuple[Plugins, bool]:
    """The plug-ins, and whether all that were named could be loaded."""
    errors: list[PluginError] = []
    found = find_plugins(table.enabled, table.folders, errors=errors)
    for error in errors:
        said = sequence([error.message, error.hint] if error.hint else [error.message], "; ")
        source.mistake(("plugins", "enabled"), said)
    for text in found.warnings:
        source.warn(("plugins", "enabled"), text)
    return found, "plugins" not in source.wrong


def _stages(
    source: Source,
    pipelines: Mapping[str, Pipeline],
    plugins: Plugins,
    enabled: tuple[str, ...],
    whole: bool,
) -> dict[str, StageSetting]:
    tables = source.tables.get("stage", {})
    if not isinstance(tables, dict):
        source.mistake(("stage",), Message("write a table for each: [stage.NAME]"))
        tables = {}
    wanted: dict[str, tuple[str, ...]] = {name: ("stage", name) for name in tables}
    for pipeline, table in pipelines.items():
        for stage in table.stages:
            wanted.setdefault(stage, ("pipeline", pipeline, "stages"))
    found = {}
    for name, keys in wanted.items():
        if name == SEAL:
            if keys[0] == "stage":
                source.mistake(
                    keys, Message('"{seal}" is the core\'s own step and has no options', seal=SEAL)
                )
        elif cls := plugins.stages.get(name):
            setting = _stage(source, name, cls, plugins)
            if setting is not None:
                found[name] = setting
        elif text := _unknown_stage(name, plugins, enabled, whole):
            source.mistake(keys, text)
    return found


def _unknown_stage(
    name: str, plugins: Plugins, enabled: tuple[str, ...], whole: bool
) -> str | None:
    """Why there is no such stage; `None` when a plug-in that could not be loaded may have it."""
    near = did_you_mean(name, [*plugins.stages, SEAL])
    if not whole and (name in enabled or not near):
        return None
    if name in plugins.available and name not in enabled:
        return Message(
            'stage "{name}" is given by the plug-in "{name}", which is installed and '
            'not enabled; add "{name}" to plugins.enabled',
            name=name,
        )
    known = ", ".join(sorted(plugins.stages)) or "none"
    return Message(
        'no enabled plug-in gives a stage "{name}"{near} (stages: {known})',
        name=name,
        near=near,
        known=known,
    )


def _stage(
    source: Source, name: str, cls: type[Stage[Any]], plugins: Plugins
) -> StageSetting | None:
    keys = ("stage", name)
    model = cls.config()
    options = _table(source, keys, model, also=RESERVED)
    if options is None:
        return None
    _, raw = source.value(keys)
    reserved = _table(source, keys, Reserved, also=tuple(set(raw or ()) - set(RESERVED)))
    if reserved is None:
        return None
    text = _as_json(source, keys, options)
    set_here = {k: v for k in RESERVED if (v := getattr(reserved, k)) is not None}
    factor = set_here.pop("disk_factor", None)
    needs = dataclasses.replace(cls.needs_for(options), **set_here)
    giver = plugins.giver(name)
    return StageSetting(
        name=name,
        cls=cls,
        options=options,
        options_json=text,
        options_digest=hashlib.sha256(text.encode()).hexdigest(),
        needs=needs,
        disk_factor=default_disk_factor(needs) if factor is None else float(factor),
        version=cls.version,
        plugin=giver.name,
        distribution=giver.distribution,
        distribution_version=giver.version,
        code_sha256=giver.sha256,
    )


def _targets(source: Source, plugins: Plugins, whole: bool) -> dict[str, TargetSetting]:
    found = {}
    for name, raw in _entries(source, "target").items():
        keys = ("target", name)
        kind = raw.get("kind")
        known = ", ".join(sorted(plugins.targets)) or "none; enable a plug-in that has one"
        cls = plugins.targets.get(kind) if isinstance(kind, str) else None
        if cls is None:
            near = did_you_mean(kind, plugins.targets) if isinstance(kind, str) else ""
            if "kind" not in raw:
                source.mistake(
                    (*keys, "kind"), Message("must be set (kinds: {known})", known=known)
                )
            elif whole or near:
                source.mistake(
                    (*keys, "kind"),
                    Message(
                        'unknown kind "{kind}"{near} (kinds: {known})',
                        kind=kind,
                        near=near,
                        known=known,
                    ),
                )
            continue
        options = _table(source, keys, cls.config(), also=("kind",))
        if options is not None:
            text = _as_json(source, keys, options)
            found[name] = TargetSetting(
                name=name, kind=cls.kind, cls=cls, options=options, options_json=text
            )
    return found


def _as_json(source: Source, keys: tuple[str, ...], options: Options) -> str:
    """The options as canonical JSON, proven to be read back as the same options by a child."""
    text = canonical(options.model_dump(mode="json"))
    try:
        same = type(options).model_validate_json(text) == options
    except ValidationError:
        same = False
    if not same:
        source.mistake(
            keys, Message("these options change when they are written as JSON and read again")
        )
    return text
