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

from archived.api.options import duration_text
from archived.api.paths import all_named
from archived.config.files import Source
from archived.config.settings import HotFolderSetting, Settings
from archived.model import access, plan
from archived.model.plan import SEAL
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
                f'unknown pipeline "{folder.pipeline}"{did_you_mean(folder.pipeline, known)} '
                f"(pipelines: {', '.join(sorted(known)) or 'none'})",
            )
        if folder.arrival_deadline <= folder.quiet:
            source.mistake(
                ("hotfolder", name, "arrival_deadline"),
                f'"{duration_text(folder.arrival_deadline)}" is not longer than quiet '
                f'("{duration_text(folder.quiet)}"): every file would be held as incomplete',
            )
        _batches_can_close(source, name, folder)
    if not any(folder.enabled for folder in settings.hotfolders.values()):
        source.warnings.append("no hot folder is enabled: nothing will arrive")


def _batches_can_close(source: Source, name: str, folder: HotFolderSetting) -> None:
    if folder.dossiers and not folder.recursive:
        source.mistake(
            ("hotfolder", name, "dossiers"),
            "dossiers are folders below this one, and recursive = false leaves those alone",
        )
    if folder.dossiers and folder.collate != "none":
        source.mistake(
            ("hotfolder", name, "collate"),
            f'"{folder.collate}" cannot stand beside dossiers = true: which side a file of a '
            "dossier holds cannot be told; use a hot folder of its own",
        )
    if folder.dossiers and not folder.closed_by:
        source.mistake(("hotfolder", name, "closed_by"), "names nothing: no dossier would be whole")
    gathers = folder.dossiers or folder.pages != "files"
    used = {"batch_quiet": gathers, "other_side": folder.collate != "none"}
    for key in (key for key, is_used in used.items() if is_used):
        wait = getattr(folder, key)
        if wait < folder.quiet:
            source.mistake(
                ("hotfolder", name, key),
                f'"{duration_text(wait)}" is shorter than quiet ("{duration_text(folder.quiet)}")',
            )


def _folders_do_not_collide(source: Source, settings: Settings) -> None:
    core = {"store.path": settings.store.path, "archive.state": settings.archive.state}
    for name, folder in settings.hotfolders.items():
        for key, path in core.items():
            if text := _relation(folder.path, path):
                source.mistake(("hotfolder", name, "path"), f"{text} {key} ({path})")
    for (one, first), (two, second) in itertools.combinations(settings.hotfolders.items(), 2):
        if text := _relation(second.path, first.path):
            source.mistake(
                ("hotfolder", two, "path"), f"{text} hotfolder.{one}.path ({first.path})"
            )
    archive, store = settings.archive, settings.store.path
    if text := _relation(archive.state, store, outside=False):
        source.mistake(("archive", "state"), f"{text} store.path ({store})")
        return
    for inner in (archive.spool, archive.work):
        if text := _relation(store, inner):
            source.mistake(("store", "path"), f"{text} {inner}, which belongs to archive.state")


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
                    keys, f"{path} lies inside {place}, where every step may read; documents must "
                    "not lie beside software: use a folder below /srv or /var/lib"
                )  # fmt: skip
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
                        table, f"its option names {named}, which is opened to it, and documents "
                        f"lie there ({path}): name a folder that holds nothing else"
                    )  # fmt: skip
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
        return "is the same folder as"
    if here.is_relative_to(there):
        return "lies inside"
    return "lies around" if outside and there.is_relative_to(here) else ""


def _stages_fit(source: Source, settings: Settings) -> None:
    for name, stage in settings.stages.items():
        lane, lanes = stage.needs.lane, settings.lanes
        if lane not in lanes:
            source.mistake(
                ("stage", name, "lane"),
                f'unknown lane "{lane}"{did_you_mean(lane, lanes)} '
                f"(lanes: {', '.join(sorted(lanes))})",
            )
        if not any(name in pipeline.stages for pipeline in settings.pipelines.values()):
            source.warn(("stage", name), "no pipeline uses this stage")
        beside = [n for n, s in settings.stages.items() if s.needs.lane == lane and n != name]
        if stage.needs.worker == "kept" and lane in lanes and (beside or lanes[lane].width > 1):
            source.warn(
                ("stage", name, "lane"),
                f'one process does its steps, and those that wait take places of the lane "{lane}" '
                "from others: give it a lane of its own, 1 wide",
            )


def _lanes_have_runners(source: Source, settings: Settings) -> None:
    known = {"local": None, **settings.plugins.runners}
    for name, lane in settings.lanes.items():
        if lane.runner not in known:
            source.mistake(
                ("lanes", name, "runner"),
                f'unknown runner "{lane.runner}"{did_you_mean(lane.runner, known)} '
                f"(runners: {', '.join(sorted(known))})",
            )


def _copies_are_made(source: Source, settings: Settings) -> None:
    for name, pipeline in settings.pipelines.items():
        keys = ("pipeline", name, "stages")
        copying = [s for s in pipeline.stages if _makes_copies(settings, s)]
        for text in plan.problems(pipeline.stages):
            source.mistake(keys, text)
        for stage in copying:
            if SEAL in pipeline.stages[pipeline.stages.index(stage) :]:
                source.mistake(
                    keys, f'"{stage}" copies the sealed object and must stand after "{SEAL}"'
                )
        known = all(s in settings.stages or s == SEAL for s in pipeline.stages)
        if not copying and known:
            source.warn(keys, "no stage makes copies: documents are sealed and never safe")
        if copying and pipeline.copies > len(_written_targets(source)):
            source.mistake(
                ("pipeline", name, "copies"),
                f"{pipeline.copies} copies can never be made: "
                f"there are {len(_written_targets(source))} targets",
            )
    used = {p for folder in settings.hotfolders.values() for p in [folder.pipeline]}
    for name in settings.pipelines:
        if name not in used:
            source.warn(("pipeline", name), "no hot folder uses this pipeline")


def _targets_are_written_to(source: Source, settings: Settings) -> None:
    copying = any(
        _makes_copies(settings, stage)
        for pipeline in settings.pipelines.values()
        for stage in pipeline.stages
    )
    for name in settings.targets:
        if not copying:
            source.warn(("target", name), "no pipeline has a stage that makes copies")


def _passwords_are_not_sent_in_the_open(source: Source, settings: Settings) -> None:
    mqtt = settings.mqtt
    if mqtt and mqtt.password and not mqtt.tls and mqtt.host not in ("localhost", "127.0.0.1"):
        source.warn(("mqtt", "password"), "is sent in the open to another machine; set tls = true")


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
