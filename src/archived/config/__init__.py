"""TOML becomes frozen objects here, once. No other package sees a dict from a file.

May know every table and every plug-in's options; never what the daemon does with them.
"""

from archived.config.loading import FindPlugins, load
from archived.config.reload import changes, needing_restart, reload
from archived.config.sample import sample_config
from archived.config.schema import Lane, Mqtt, Pipeline, Retry
from archived.config.settings import HotFolderSetting, Settings, StageSetting, TargetSetting
from archived.config.types import Address

__all__ = [
    "Address",
    "FindPlugins",
    "HotFolderSetting",
    "Lane",
    "Mqtt",
    "Pipeline",
    "Retry",
    "Settings",
    "StageSetting",
    "TargetSetting",
    "changes",
    "load",
    "needing_restart",
    "reload",
    "sample_config",
]
