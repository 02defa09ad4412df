"""From settings to what each part needs to know of them, and no more.

Pure, but for `environment` and `workers`.
"""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta
from pathlib import Path

from archived.config import HotFolderSetting, Settings, StageSetting
from archived.engine.specs import PipelineSpec, Specs, StageSpec, TargetSpec
from archived.engine.worker.forkserver_client import Account
from archived.engine.worker.handover import secrets_of
from archived.ingest.batches import BatchRules
from archived.ingest.hotfolder import HotFolderSpec
from archived.ingest.submission import Route
from archived.model.retry import RetryLimits
from archived.model.review import SECRECY_OPEN
from archived.model.scheduling import ALWAYS, ZonedHours
from archived.observe.receipts import ReceiptSpec


def specs(settings: Settings) -> Specs:
    """Every stage and target as the engine sees it."""
    limits = RetryLimits(
        first_wait=settings.retry.first_wait, longest_wait=settings.retry.longest_wait
    )
    return Specs(
        stages={name: _stage(stage, limits) for name, stage in settings.stages.items()},
        targets={
            name: TargetSpec(name, target.kind, json.loads(target.options_json))
            for name, target in settings.targets.items()
        },
        pipelines={
            name: PipelineSpec(tuple(each.stages), each.copies)
            for name, each in settings.pipelines.items()
        },
        limits=limits,
        flagged={
            name: SECRECY_OPEN
            for name, folder in settings.hotfolders.items()
            if folder.unread == "flag"
        },
    )


def _stage(stage: StageSetting, limits: RetryLimits) -> StageSpec:
    return StageSpec(
        name=stage.name,
        version=stage.version,
        distribution=stage.distribution or stage.plugin,
        options=json.loads(stage.options_json),
        options_digest=stage.options_digest,
        accepts=tuple(stage.cls.accepts),
        lane=stage.needs.lane,
        timeout=stage.needs.timeout,
        memory=stage.needs.memory_bytes,
        max_time=stage.needs.max_time,
        memory_per_page=stage.needs.memory_per_page_bytes,
        max_memory=stage.needs.max_memory_bytes,
        network=stage.needs.network,
        targets=stage.needs.targets,
        system_calls=stage.needs.system_calls,
        kept=stage.needs.worker == "kept",
        limits=RetryLimits(stage.needs.attempts, limits.first_wait, limits.longest_wait),
        any_original=stage.cls.any_original,
        signs=stage.cls.signs,
        upgrades=stage.cls.upgrades,
        disk_factor=stage.disk_factor,
        code={stage.distribution or stage.plugin: f"sha256:{stage.code_sha256}"},
    )


_ZONES = ("/usr/share/zoneinfo", "/usr/lib/zoneinfo")


def lanes(settings: Settings) -> dict[str, int]:
    """Lane -> width, for the lanes that a configured stage uses."""
    used = {stage.needs.lane for stage in settings.stages.values()}
    return {name: lane.width for name, lane in settings.lanes.items() if name in used}


def hours(settings: Settings) -> dict[str, ZonedHours]:
    """When the lanes work that do not always."""
    zone = settings.archive.timezone
    return {
        name: ZonedHours(lane.hours, zone)
        for name, lane in settings.lanes.items()
        if lane.hours is not None
    }


def expected_hours(settings: Settings) -> dict[str, ZonedHours]:
    """When files are expected in each hot folder."""
    zone = settings.archive.timezone
    return {
        name: ZonedHours(folder.expected_hours or ALWAYS, zone)
        for name, folder in settings.hotfolders.items()
    }


def environment(settings: Settings) -> dict[str, str]:
    """What the steps' processes are given: the archive's own zone as local time.

    A time without a zone, such as scanners write into a PDF, is read as local time by the
    libraries; a server's own zone is often UTC. Where the system does not know the zone's name its
    offset of today is given (POSIX), for the C library takes an unknown name for UTC.
    """
    zone = settings.archive.timezone
    known = any((Path(folder) / zone.key).is_file() for folder in _ZONES if zone.key)
    if known:
        return {"TZ": zone.key}
    offset = datetime.now(zone).utcoffset() or timedelta()
    minutes = round(offset.total_seconds() / 60)
    hours, rest = divmod(abs(minutes), 60)
    name = f"{'-' if minutes < 0 else '+'}{hours:02}{rest:02}"
    # POSIX counts westwards.
    return {"TZ": f"<{name}>{'' if minutes < 0 else '-'}{hours}:{rest:02}"}


WORKERS = "ARCHIVED_WORKERS"
"""Environment variable of the unit: the folder of the sockets behind which steps have accounts of
their own. Absent or empty in plain mode."""


def workers(lane: str) -> Path | None:
    """Where a lane's fork servers in accounts of their own are had: at its own socket, which an
    administrator may have added, else at the one for all lanes.
    """
    folder = os.environ.get(WORKERS, "")
    if not folder:
        return None
    own = Path(folder, f"socket-{lane}")
    return own if own.exists() else Path(folder, "socket")


def accounts(settings: Settings) -> dict[str, Account]:
    """The stages that do not share their lane's account, where steps have accounts of their own.

    What makes copies or writes to folders that its options name works on files of the service's
    account, and has that. What is given a secret, or keeps its worker, has an account that no other
    stage's steps have.
    """
    found: dict[str, Account] = {}
    for name, stage in settings.stages.items():
        options = json.loads(stage.options_json)
        if stage.needs.targets or any(options.get(option) for option in stage.cls.writes):
            found[name] = "service"
        elif stage.needs.worker == "kept" or any(secrets_of(options)):
            found[name] = "own"
    return found


def route(settings: Settings, setting: HotFolderSetting, pipeline: str) -> Route:
    """What becomes of a file from a hot folder that goes through `pipeline`."""
    plan = settings.pipelines[pipeline]
    return Route(
        hotfolder=setting.name,
        pipeline=pipeline,
        stages=tuple(plan.stages),
        copies=plan.copies,
        lane=specs(settings).lane_of(plan.stages[0]),
        priority=setting.priority,
        secrecy=setting.secrecy,
        owner=setting.owner,
    )


def folder(settings: Settings, setting: HotFolderSetting) -> HotFolderSpec:
    """One hot folder as ingest is given it."""
    return HotFolderSpec(
        name=setting.name,
        path=setting.path,
        route=route(settings, setting, setting.pipeline),
        settle_time=setting.settle_time.total_seconds(),
        rescan=setting.rescan.total_seconds(),
        deadline=setting.arrival_deadline.total_seconds(),
        max_size=setting.max_file_size,
        accept=setting.accept,
        mode=setting.mode,
        recursive=setting.recursive,
        ignore=setting.ignore,
        own=os.fsencode(setting.receipts_folder),
        device=setting.device,
        device_per_subfolder=setting.device_from == "subfolder",
        batches=BatchRules(
            dossiers=setting.dossiers,
            closed_by=frozenset(setting.closed_by),
            numbered=setting.pages == "numbered",
            two_pass=setting.collate == "two-pass",
            settle_time=setting.batch_settle_time.total_seconds(),
            deadline=setting.arrival_deadline.total_seconds(),
            back_side_wait=setting.back_side_wait.total_seconds(),
            depth=2 if setting.device_from == "subfolder" else 1,
            secrecy=setting.secrecy,
        ),
    )


def shares(settings: Settings) -> list[ReceiptSpec]:
    """The hot folders whose share is answered on."""
    return [
        ReceiptSpec(f.name, f.path, f.receipts_folder, f.receipts_keep, settings.archive.timezone)
        for f in settings.hotfolders.values()
        if f.enabled and f.receipts
    ]
