"""What the rest of the program sees of the configuration: frozen, typed, complete.

No dict, no text that means a duration, no value that must be looked up elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from archived.api import Needs, Stage, StageConfig, Target, TargetConfig
from archived.api.options import duration_text, size_text
from archived.config.schema import (
    Archive,
    Control,
    Fairness,
    Intake,
    Lane,
    Log,
    Mqtt,
    Pipeline,
    PluginTable,
    Retry,
    Spool,
    Store,
    Web,
)
from archived.model.scheduling import Hours
from archived.plugins import Plugins


@dataclass(frozen=True, slots=True)
class HotFolderSetting:
    """One hot folder, with what it inherits from [intake] filled in. Sizes are bytes."""

    name: str
    path: Path
    pipeline: str
    enabled: bool
    mode: Literal["auto", "events", "polling"]
    recursive: bool
    secrecy: str
    """"thường", "mật", "tối mật", "tuyệt mật", or empty when none was declared."""
    unread: Literal["hold", "flag"]
    owner: str
    priority: int
    device: str
    """The folder's name when none was given."""
    device_from: Literal["folder", "subfolder"]
    ignore: tuple[str, ...]
    dossiers: bool
    closed_by: tuple[Literal["ticket", "mark", "settled"], ...]
    pages: Literal["files", "numbered"]
    collate: Literal["none", "two-pass"]
    batch_settle_time: timedelta
    back_side_wait: timedelta
    settle_time: timedelta
    rescan: timedelta
    arrival_deadline: timedelta
    max_file_size: int
    expected_within: timedelta | None
    expected_hours: Hours | None
    accept: tuple[str, ...]
    receipts: bool
    receipts_folder: str
    receipts_keep: int


@dataclass(frozen=True, slots=True)
class StageSetting:
    """One stage with its options. `needs` is the class's own with the reserved keys applied."""

    name: str
    cls: type[Stage[Any]]
    options: StageConfig
    options_json: str
    """The options as canonical JSON: what the child process is given."""
    options_digest: str
    """SHA-256 of `options_json`, hex."""
    needs: Needs
    disk_factor: float
    """Times the document's size that one attempt may take of the disk with the spool."""
    version: str
    plugin: str
    distribution: str
    """Empty for a plug-in of a single file."""
    distribution_version: str
    code_sha256: str = ""
    """Of the plug-in's code, hex."""


@dataclass(frozen=True, slots=True)
class TargetSetting:
    """One place for replicas with its options."""

    name: str
    kind: str
    cls: type[Target[Any]]
    options: TargetConfig
    options_json: str
    """The options as canonical JSON, without `kind`."""


@dataclass(frozen=True)
class Settings:
    """The whole configuration. `lanes` holds the default lanes as well."""

    path: Path
    """The main file."""
    files: tuple[str, ...]
    """Every file that was read, as seen from the main file's folder."""
    archive: Archive
    store: Store
    spool: Spool
    intake: Intake
    retry: Retry
    fairness: Fairness
    web: Web
    control: Control
    log: Log
    mqtt: Mqtt | None
    plugin_table: PluginTable
    lanes: Mapping[str, Lane]
    hotfolders: Mapping[str, HotFolderSetting]
    pipelines: Mapping[str, Pipeline]
    stages: Mapping[str, StageSetting]
    """Stages that a pipeline names or that have a table."""
    targets: Mapping[str, TargetSetting]
    warnings: tuple[str, ...] = ()
    """Legal and probably not meant; one sentence each."""
    plugins: Plugins = field(kw_only=True, compare=False, repr=False)
    """The loaded plug-ins behind `stages` and `targets`."""

    @property
    def plugin_sources(self) -> Sequence[Mapping[str, str]]:
        """What a fork server loads: `{"name", "entry_point"}` or `{"name", "file"}` each."""
        return self.plugins.sources

    def effective(self) -> dict[str, Any]:
        """Everything that is in force, defaults included, in the words of the file (JSON)."""
        single = {
            "archive": self.archive,
            "store": self.store,
            "spool": self.spool,
            "intake": self.intake,
            "retry": self.retry,
            "fairness": self.fairness,
            "web": self.web,
            "control": self.control,
            "log": self.log,
            "plugins": self.plugin_table,
            **({"mqtt": self.mqtt} if self.mqtt else {}),
        }
        return {
            **{key: table.model_dump(mode="json") for key, table in single.items()},
            "lanes": {n: lane.model_dump(mode="json") for n, lane in self.lanes.items()},
            "hotfolder": {n: _hotfolder(f) for n, f in self.hotfolders.items()},
            "pipeline": {n: p.model_dump(mode="json") for n, p in self.pipelines.items()},
            "stage": {n: _stage(s) for n, s in self.stages.items()},
            "target": {
                n: {"kind": t.kind, **t.options.model_dump(mode="json")}
                for n, t in self.targets.items()
            },
        }

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what is in force, hex; the same for two spellings of one configuration."""
        return hashlib.sha256(canonical(self.effective()).encode()).hexdigest()


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces, so that equal values have equal digests."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _hotfolder(folder: HotFolderSetting) -> dict[str, Any]:
    return {
        "path": str(folder.path),
        "pipeline": folder.pipeline,
        "enabled": folder.enabled,
        "mode": folder.mode,
        "recursive": folder.recursive,
        "secrecy": folder.secrecy,
        "unread": folder.unread,
        "owner": folder.owner,
        "priority": folder.priority,
        "device": folder.device,
        "device_from": folder.device_from,
        "dossiers": folder.dossiers,
        "closed_by": list(folder.closed_by),
        "pages": folder.pages,
        "collate": folder.collate,
        "batch_settle_time": duration_text(folder.batch_settle_time),
        "back_side_wait": duration_text(folder.back_side_wait),
        "ignore": list(folder.ignore),
        "settle_time": duration_text(folder.settle_time),
        "rescan": duration_text(folder.rescan),
        "arrival_deadline": duration_text(folder.arrival_deadline),
        "max_file_size": size_text(folder.max_file_size),
        "expected_within": (
            None if folder.expected_within is None else duration_text(folder.expected_within)
        ),
        "expected_hours": None if folder.expected_hours is None else str(folder.expected_hours),
        "accept": list(folder.accept),
        "receipts": folder.receipts,
        "receipts_folder": folder.receipts_folder,
        "receipts_keep": size_text(folder.receipts_keep),
    }


def _stage(stage: StageSetting) -> dict[str, Any]:
    return {
        **stage.options.model_dump(mode="json"),
        "timeout": duration_text(stage.needs.timeout),
        "attempts": stage.needs.attempts,
        "lane": stage.needs.lane,
        "memory": size_text(stage.needs.memory_bytes),
        "memory_per_page": size_text(stage.needs.memory_per_page_bytes),
        "max_memory": size_text(stage.needs.max_memory_bytes),
        "max_time": None if (most := stage.needs.max_time) is None else duration_text(most),
        "disk_factor": stage.disk_factor,
    }
