"""A second set of settings beside the one in force: what changed, and what a reload cannot change.

The old set stays in force until the new one is whole; nothing here touches it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from archived.config.loading import FindPlugins, load
from archived.config.settings import Settings, canonical
from archived.config.toml_files import Keys, spelled
from archived.errors import ConfigError
from archived.message import Message
from archived.plugins import find

NEEDS_RESTART: tuple[Keys, ...] = (
    ("archive", "state"),
    ("store", "path"),
    ("web", "listen"),
    ("web", "certificate"),
    ("web", "key"),
    ("control", "socket"),
    ("control", "group"),
)
"""Keys that stay as they were when the daemon started."""

DIGITS = 12
"""Of a digest, for people."""


@dataclass(frozen=True, slots=True)
class RefusedConfiguration:
    """`since` is `None` while the configuration that was read last is the one in force."""

    since: datetime | None = None
    """When a reload refused it for the first time; later ones do not move it."""
    why: str = ""

    def again(self, why: str, now: datetime) -> RefusedConfiguration:
        """A reload refused it, for this reason."""
        return RefusedConfiguration(self.since or now, why)


_NAMED = ("hotfolder", "pipeline", "stage", "target", "lanes")


def reload(old: Settings, *, find_plugins: FindPlugins = find) -> Settings:
    """Load the same files again.

    Raises `ConfigError` when they have mistakes, or change what only a restart can change.
    """
    new = load(old.path, find_plugins=find_plugins)
    if problems := needing_restart(old, new):
        raise ConfigError(problems, hint=Message("undo it, or run: systemctl restart archived"))
    return new


def needing_restart(old: Settings, new: Settings) -> list[str]:
    """What differs and cannot change while the daemon runs; one sentence each."""
    before, after = old.effective(), new.effective()
    problems: list[str] = [
        Message(
            "{key}: cannot change from {before} to {after} while the daemon runs",
            key=spelled(keys),
            before=_shown(_get(before, keys)),
            after=_shown(_get(after, keys)),
        )
        for keys in NEEDS_RESTART
        if _get(before, keys) != _get(after, keys)
    ]
    installed = {info.name: info for info in old.plugins.catalogue()}
    for info in new.plugins.catalogue():
        was = installed.get(info.name)
        if was and was.version != info.version:
            # The daemon has the old code in memory and its children would import the new one.
            problems.append(
                Message(
                    'plugins.enabled: plug-in "{name}" was upgraded from {before} to {after} '
                    "under the running daemon",
                    name=info.name,
                    before=was.version,
                    after=info.version,
                )
            )
        elif was and info.distribution and was.sha256 != info.sha256:
            problems.append(
                Message(
                    'plugins.enabled: the code of plug-in "{name}" was changed under the '
                    "running daemon",
                    name=info.name,
                )
            )
    return problems


def changes(old: Settings, new: Settings) -> list[str]:
    """What is different, defaults included; one sentence for each key, in the file's words."""
    found = list(_changes(old.effective(), new.effective(), ()))
    for name, stage in new.stages.items():
        was = old.stages.get(name)
        if was and was.version != stage.version:
            found.append(
                Message(
                    "stage {name} was version {before} and is now {after}",
                    name=name,
                    before=was.version,
                    after=stage.version,
                )
            )
    return [*found, *_code_changes(old, new)]


def _code_changes(old: Settings, new: Settings) -> Iterator[str]:
    """Which single-file plug-ins have other code than before: steps run that from now on."""
    before = {info.name: info.sha256 for info in old.plugins.catalogue()}
    for info in new.plugins.catalogue():
        was = before.get(info.name, info.sha256)
        if was != info.sha256:
            yield (
                Message(
                    'the code of plug-in "{name}" was {was} and is now {sha256} (SHA-256)',
                    name=info.name,
                    was=was[:DIGITS],
                    sha256=info.sha256[:DIGITS],
                )
            )


def _changes(old: Mapping[str, Any], new: Mapping[str, Any], at: Keys) -> Iterator[str]:
    for key in dict.fromkeys([*old, *new]):
        keys = (*at, key)
        whole = (len(keys) == 2 and keys[0] in _NAMED) or keys == ("mqtt",)
        if whole and key not in old:
            yield Message("{spelled} was added", spelled=spelled(keys))
        elif whole and key not in new:
            yield Message("{spelled} was removed", spelled=spelled(keys))
        elif isinstance(old.get(key), dict) and isinstance(new.get(key), dict):
            yield from _changes(old[key], new[key], keys)
        elif old.get(key) != new.get(key):
            yield Message(
                "{key} was {before} and is now {after}",
                key=spelled(keys),
                before=_shown(old.get(key)),
                after=_shown(new.get(key)),
            )


def _get(tree: Mapping[str, Any], keys: Keys) -> Any:
    value: Any = tree
    for key in keys:
        value = value[key]
    return value


def _shown(value: Any) -> str:
    return Message("not set") if value is None else canonical(value)
