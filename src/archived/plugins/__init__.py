"""Find, enable and check plug-ins by name. The only user of pluggy's `PluginManager`.

Installed is not enabled: nothing is imported that `[plugins] enabled` does not name. What a plug-in
gives is checked here, once, so that the rest of the program never meets a malformed stage.
"""

from archived.plugins.discovery import installed, load_file
from archived.plugins.enabled import PluginInfo, Plugins, find
from archived.plugins.validation import did_you_mean, nearest

__all__ = ["PluginInfo", "Plugins", "did_you_mean", "find", "installed", "load_file", "nearest"]
