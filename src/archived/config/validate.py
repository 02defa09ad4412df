"""What only shows when tables are looked at together: names that lead nowhere, paths that collide.

Notes mistakes and warnings; decides nothing.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel

from archived.api.options import all_named, duration_text
from archived.config.settings import HotFolderSetting, Settings
from archived.config.toml_files import Source
from archived.message import Message
from archived.model import access
from archived.model.pipeline import SEAL, problems
from archived.plugins import did_you_mean


def note(source: Source, settings: Settings) -> None:
    """Note everything that does not fit together in `settings`."""
    for check in _CHECKS:
        check(source, settings)


def _hotfolders_can_work(source: Source, settings: Settings) -> None:
    written = source.tables.get("pipeline", {})
    known: Sequence[str] = list(written) if isinstance(written, dict) else []
    for name, folder in settings.hotfolders.items():
        if folder.pipeline not in known:
            source.mistake(
                ("hotfolder", name, "pipeline"),
                Message(
                    'unknown pipeline "{pipeline}"{did_you_mean} (pipelines: {known})',
                    pipeline=folder.pipeline,
                    did_you_mean=did_you_mean(folder.pipeline, known),
                    known=", ".join(sorted(known)) or "none",
                ),
            )
        if folder.arrival_deadline <= folder.settle_time:
            source.mistake(
                ("hotfolder", name, "arrival_deadline"),
                Message(
                    '"{given}" is not longer than settle_time '
                    '("{settle_time}"): every file would be held as incomplete',
                    given=duration_text(folder.arrival_deadline),
                    settle_time=duration_text(folder.settle_time),
                ),
            )
        _batches_can_close(source, name, folder)
    if not any(folder.enabled for folder in settings.hotfolders.values()):
        source.warnings.append(Message("no hot folder is enabled: nothing will arrive"))


def _batches_can_close(source: Source, name: str, folder: HotFolderSetting) -> None:
    if folder.dossiers and not folder.recursive:
        source.mistake(
            ("hotfolder", name, "dossiers"),
            Message(
                "dossiers are folders below this one, and recursive = false leaves those alone"
            ),
        )
    if folder.dossiers and folder.collate != "none":
        source.mistake(
            ("hotfolder", name, "collate"),
            Message(
                '"{collate}" cannot stand beside dossiers = true: which side a file of a '
                "dossier holds cannot be told; use a hot folder of its own",
                collate=folder.collate,
            ),
        )
    if folder.dossiers and not folder.closed_by:
        source.mistake(
            ("hotfolder", name, "closed_by"), Message("names nothing: no dossier would be whole")
        )
    gathers = folder.dossiers or folder.pages != "files"
    used = {"batch_settle_time": gathers, "back_side_wait": folder.collate != "none"}
    for key in (key for key, is_used in used.items() if is_used):
        wait = getattr(folder, key)
        if wait < folder.settle_time:
            source.mistake(
                ("hotfolder", name, key),
                Message(
                    '"{given}" is shorter than settle_time ("{settle_time}")',
                    given=duration_text(wait),
                    settle_time=duration_text(folder.settle_time),
                ),
            )


def _folders_do_not_collide(source: Source, settings: Settings) -> None:
    core = {"store.path": settings.store.path, "archive.state": settings.archive.state}
    for name, folder in settings.hotfolders.items():
        for key, path in core.items():
            if text := _relation(folder.path, path):
                source.mistake(
                    ("hotfolder", name, "path"),
                    Message("{text} {key} ({path})", text=text, key=key, path=path),
                )
    for (one, first), (two, second) in itertools.combinations(settings.hotfolders.items(), 2):
        if text := _relation(second.path, first.path):
            source.mistake(
                ("hotfolder", two, "path"),
                Message(
                    "{text} hotfolder.{one}.path ({path})", text=text, one=one, path=first.path
                ),
            )
    archive, store = settings.archive, settings.store.path
    if text := _relation(archive.state, store, outside=False):
        source.mistake(
            ("archive", "state"), Message("{text} store.path ({store})", text=text, store=store)
        )
        return
    for inner in (archive.spool, archive.work):
        if text := _relation(store, inner):
            source.mistake(
                ("store", "path"),
                Message("{text} {inner}, which belongs to archive.state", text=text, inner=inner),
            )


def _steps_cannot_read_them(source: Source, settings: Settings) -> None:
    """No folder of documents lies where every step, or one stage, may read."""
    kept: dict[tuple[str, ...], Path] = {
        ("store", "path"): settings.store.path,
        ("archive", "state"): settings.archive.state,
        **{("hotfolder", n, "path"): each.path for n, each in settings.hotfolders.items()},
    }
    for keys, path in kept.items():
        for place in map(Path, _open_to_all()):
            if _relation(path, place, outside=False):
                source.mistake(
                    keys,
                    Message(
                        "{path} lies inside {place}, where every step may read; documents "
                        "must not lie beside software: use a folder below /srv or /var/lib",
                        path=path,
                        place=place,
                    ),
                )
                break
    inner = settings.archive.spool, settings.archive.work
    documents = [*inner, *(path for keys, path in kept.items() if keys[0] != "archive")]
    tables: list[tuple[tuple[str, str], type[BaseModel], str]] = [
        *((("stage", n), type(s.options), s.options_json) for n, s in settings.stages.items()),
        *((("target", n), type(t.options), t.options_json) for n, t in settings.targets.items()),
    ]
    for table, kind, options in tables:
        for named in (Path(n.path) for n in all_named(kind, json.loads(options)) if not n.secret):
            for path in documents:
                if _relation(named, path):
                    source.mistake(
                        table,
                        Message(
                            "its option names {named}, which is opened to it, and "
                            "documents lie there ({path}): name a folder that holds "
                            "nothing else",
                            named=named,
                            path=path,
                        ),
                    )
                    break


def _open_to_all() -> list[str]:
    """Folders that every step may read.

    As a fork server sees them: its path of imports has nothing of this process's environment or
    working folder.
    """
    callers = set(os.environ.get("PYTHONPATH", "").split(os.pathsep))
    callers |= set() if sys.flags.safe_path else set(sys.path[:1])
    interpreter = sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix
    imports = [path for path in sys.path if path and path not in callers]
    settings = (
        str(path)
        for name in (*access.SETTINGS, *access.NETWORK_SETTINGS)
        for path in Path("/etc").glob(name)
    )
    named = filter(None, map(os.environ.get, access.NAMED_BY_ENVIRONMENT))
    return [*access.SOFTWARE, *interpreter, *imports, *settings, *named]


def _relation(path: Path, other: Path, *, outside: bool = True) -> str:
    """How `path` collides with `other`, links followed: same, inside, around, or not at all."""
    here, there = path.resolve(), other.resolve()
    if here == there:
        return Message("is the same folder as")
    if here.is_relative_to(there):
        return Message("lies inside")
    return Message("lies around") if outside and there.is_relative_to(here) else ""


def _stages_fit(source: Source, settings: Settings) -> None:
    for name, stage in settings.stages.items():
        lane, lanes = stage.needs.lane, settings.lanes
        if lane not in lanes:
            source.mistake(
                ("stage", name, "lane"),
                Message(
                    'unknown lane "{lane}"{did_you_mean} (lanes: {lanes})',
                    lane=lane,
                    did_you_mean=did_you_mean(lane, lanes),
                    lanes=", ".join(sorted(lanes)),
                ),
            )
        if not any(name in pipeline.stages for pipeline in settings.pipelines.values()):
            source.warn(("stage", name), Message("no pipeline uses this stage"))
        beside = [n for n, s in settings.stages.items() if s.needs.lane == lane and n != name]
        if stage.needs.worker == "kept" and lane in lanes and (beside or lanes[lane].width > 1):
            source.warn(
                ("stage", name, "lane"),
                Message(
                    "one process does its steps, and those that wait take places of the "
                    'lane "{lane}" from others: give it a lane of its own, 1 wide',
                    lane=lane,
                ),
            )


def _lanes_have_runners(source: Source, settings: Settings) -> None:
    known = {"local": None, **settings.plugins.runners}
    for name, lane in settings.lanes.items():
        if lane.runner not in known:
            source.mistake(
                ("lanes", name, "runner"),
                Message(
                    'unknown runner "{runner}"{did_you_mean} (runners: {known})',
                    runner=lane.runner,
                    did_you_mean=did_you_mean(lane.runner, known),
                    known=", ".join(sorted(known)),
                ),
            )


def _copies_are_made(source: Source, settings: Settings) -> None:
    for name, pipeline in settings.pipelines.items():
        keys = ("pipeline", name, "stages")
        copying = [s for s in pipeline.stages if _makes_copies(settings, s)]
        for text in problems(pipeline.stages):
            source.mistake(keys, text)
        for stage in copying:
            if SEAL in pipeline.stages[pipeline.stages.index(stage) :]:
                source.mistake(
                    keys,
                    Message(
                        '"{stage}" copies the sealed object and must stand after "{seal}"',
                        stage=stage,
                        seal=SEAL,
                    ),
                )
        known = all(s in settings.stages or s == SEAL for s in pipeline.stages)
        if not copying and known:
            source.warn(keys, Message("no stage makes copies: documents are sealed and never safe"))
        if copying and pipeline.copies > len(_written_targets(source)):
            source.mistake(
                ("pipeline", name, "copies"),
                Message(
                    "{copies} copies can never be made: there are {count} targets",
                    copies=pipeline.copies,
                    count=len(_written_targets(source)),
                ),
            )
    used = {p for folder in settings.hotfolders.values() for p in [folder.pipeline]}
    for name in settings.pipelines:
        if name not in used:
            source.warn(("pipeline", name), Message("no hot folder uses this pipeline"))


def _targets_are_written_to(source: Source, settings: Settings) -> None:
    copying = any(
        _makes_copies(settings, stage)
        for pipeline in settings.pipelines.values()
        for stage in pipeline.stages
    )
    for name in settings.targets:
        if not copying:
            source.warn(("target", name), Message("no pipeline has a stage that makes copies"))


def _passwords_are_not_sent_in_the_open(source: Source, settings: Settings) -> None:
    mqtt = settings.mqtt
    if mqtt and mqtt.password and not mqtt.tls and mqtt.host not in ("localhost", "127.0.0.1"):
        source.warn(
            ("mqtt", "password"), Message("is sent in the open to another machine; set tls = true")
        )


def _makes_copies(settings: Settings, stage: str) -> bool:
    return stage in settings.stages and settings.stages[stage].needs.targets


def _written_targets(source: Source) -> Mapping[str, object]:
    targets = source.tables.get("target", {})
    return targets if isinstance(targets, dict) else {}


_CHECKS: Sequence[Callable[[Source, Settings], None]] = (
    _hotfolders_can_work,
    _folders_do_not_collide,
    _steps_cannot_read_them,
    _stages_fit,
    _lanes_have_runners,
    _copies_are_made,
    _targets_are_written_to,
    _passwords_are_not_sent_in_the_open,
)
