"""TOML becomes frozen objects here, once, at the door. Behind it nobody sees a dict from a file.

May know every table and every plug-in's options; never what the daemon does with them.
"""

from archived.config.kinds import Address
from archived.config.loading import FindPlugins, load
from archived.config.reload import changes, needing_restart, reload
from archived.config.sample import sample_config
from archived.config.settings import HotFolderSetting, Settings, StageSetting, TargetSetting
from archived.config.tables import Lane, Mqtt, Pipeline, Retry

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
