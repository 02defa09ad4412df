"""Which files one step may reach, worked out from its job before any of the stage's code runs.

The rule: its own folder; the bytes of its own document; the paths and secrets its options name;
programs, libraries and fonts; nothing else. Looks at the disk, changes nothing.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

from archived.api.options import all_named, is_path
from archived.engine.plugin_loader import Registry
from archived.engine.sandbox.landlock import Access, Rule
from archived.model.access import NAMED_BY_ENVIRONMENT, NETWORK_SETTINGS, SETTINGS, SOFTWARE

Json = Mapping[str, Any]

_SETTINGS = tuple(
    entry.name
    for entry in sorted(Path("/etc").glob("*"))
    if any(fnmatch(entry.name, each) for each in SETTINGS)
) + tuple(each for each in SETTINGS if "/" in each)
_KERNEL = (
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/version",
    "/proc/filesystems",
    "/proc/sys/kernel",
    "/proc/sys/vm",
    "/sys/devices/system/cpu",
)
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """What one step may do with files, beyond what every step may.

    `folder` is its own. `code`: the plug-ins. `reads`: its document and secrets. `named`: what
    the options name, which may be programs. `writes`: targets' folders and what the stage
    declares. `lists`: names only.
    """

    folder: str
    code: Sequence[str] = ()
    reads: Sequence[str] = ()
    named: Sequence[str] = ()
    writes: Sequence[str] = ()
    lists: Sequence[str] = ()
    services: bool = False
    """Whether the options name a local socket, or something that is not there and may be one."""
    too_wide: Sequence[str] = ()
    """Paths that the options name but that hold other documents as well: not opened."""

    def rules(self, *, network: bool, devices: bool = False) -> Iterator[Rule]:
        """Every path with what may be done below it. `devices`: what is written to may be one."""
        written = Access.CHANGE | Access.IOCTL_DEV if devices else Access.CHANGE
        yield self.folder, Access.CHANGE
        for paths, access in (
            (self.code, Access.RUN),
            (self.reads, Access.READ),
            (self.named, Access.RUN),
            (self.writes, written),
            (self.lists, Access.LIST),
        ):
            yield from ((path, access) for path in paths)
        yield from machine(self.folder, network=network)

    def complaints(self) -> list[str]:
        """One sentence for each path that was not opened."""
        return [
            f"{path} is not opened to the stage, because the spool or the store lies in it; "
            "name a folder that holds nothing else"
            for path in self.too_wide
        ]


def of_run(registry: Registry, request: Json) -> AccessPolicy:
    """The reach of one attempt; `request` as `Request.to_json` writes it.

    Raises `KeyError`, `TypeError` or `ValueError` for a request of another shape.
    """
    document = request["document"]
    sealed = document["sealed"]
    own = [str(artifact["path"]) for artifact in document["artifacts"]]
    if sealed is None:
        return _reach(registry, request, own, [], own)
    own.append(sealed["root"])
    root = _storage_root(sealed)
    if not request["targets"]:
        return _reach(registry, request, own, [], [*own, root])
    # A copy is complete with the files of the storage root.
    return _reach(registry, request, [*own, *_root_files(root)], [root], [*own, root])


def of_kept(registry: Registry, request: Json, folders: Json) -> AccessPolicy:
    """The reach of all attempts of a kept worker, which cannot be widened later: its folders, and
    what the options of the first attempt name. Raises as `of_run` does.
    """
    within = {**request, "folder": folders["steps"]}
    return _reach(registry, within, [folders["input"]], [], [folders["input"]])


def of_check(registry: Registry, job: Json) -> AccessPolicy:
    """The reach of `Stage.check` and `Target.check`. Raises as `of_run` does."""
    return _reach(registry, job, [], [], [job["beside"]])


def machine(folder: str, *, network: bool) -> Iterator[Rule]:
    """What every step may use: programs, libraries, plug-ins' code, fonts, a few devices."""
    inside = tuple(f"{one}/" for one in {folder, os.path.realpath(folder)})
    for path in _code():
        if not any(one.startswith(path.rstrip("/") + "/") for one in inside):
            yield path, Access.RUN  # a path of imports that holds the spool is none of ours
    for name in _SETTINGS + (NETWORK_SETTINGS if network else ()):
        yield f"/etc/{name}", Access.READ
    for path in (*_KERNEL, *filter(None, map(os.environ.get, NAMED_BY_ENVIRONMENT))):
        yield path, Access.READ
    for path in _DEVICES:
        yield path, Access.USE


def _code() -> list[str]:
    """Where code comes from: the system, the interpreter, the path of imports."""
    places = [*SOFTWARE, sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix]
    return list(dict.fromkeys([*places, *filter(None, sys.path)]))


def _code_of(registry: Registry) -> list[str]:
    """Where the plug-ins themselves lie, also those that are single files."""
    places: list[str] = []
    for cls in (*registry.stages.values(), *registry.targets.values()):
        top = sys.modules.get(cls.__module__.partition(".")[0])
        known = {} if top is None else vars(top)
        places += known.get("__path__") or filter(None, [known.get("__file__")])
    return places


def _reach(
    registry: Registry, job: Json, reads: list[str], lists: list[str], kept: list[str]
) -> AccessPolicy:
    """`kept` holds documents: an option that names a folder around it opens nothing."""
    own, reads = len(reads), list(reads)
    named: list[str] = []
    writes: list[str] = []
    if job["stage"] is not None:
        stage = registry.stages[job["stage"]]
        declared = stage.writes
        writes += filter(is_path, (job["options"].get(name) for name in declared))
        for one in all_named(stage.config(), job["options"]):
            (reads if one.secret else named).append(one.path)
    for target in job["targets"].values():
        kind = registry.targets[target["kind"]]
        for one in all_named(kind.config(), target["options"]):
            folder = not one.secret and os.path.isdir(one.path)  # noqa: PTH112 - text, as all here
            (writes if folder else reads).append(one.path)
    wide = [path for path in (*named, *writes) if _holds(path, [job["folder"], *kept])]
    return AccessPolicy(
        folder=job["folder"],
        code=_code_of(registry),
        reads=reads,
        named=[path for path in named if path not in wide],
        writes=[path for path in writes if path not in wide],
        lists=lists,
        services=any(map(_may_be_socket, (*reads[own:], *named, *writes))),
        too_wide=wide,
    )


def _may_be_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)  # noqa: PTH116 - text, as all here
    except OSError:
        return True


def _holds(path: str, kept: Iterable[str]) -> bool:
    """Whether one of `kept` is `path` or lies in it."""
    real = os.path.realpath(path).rstrip("/") + "/"
    return any((os.path.realpath(one) + "/").startswith(real) for one in kept)


def _storage_root(sealed: Json) -> str:
    root, key = PurePosixPath(sealed["root"]), PurePosixPath(sealed["key"])
    if root.parts[-len(key.parts) :] != key.parts:
        raise ValueError(f"the object's folder {root} does not end in its key {key}")
    return str(root.parents[len(key.parts) - 1])


def _root_files(root: str) -> list[str]:
    """The plain files of a storage root, and its extensions: no object."""
    try:
        with os.scandir(root) as entries:
            files = [entry.path for entry in entries if entry.is_file(follow_symlinks=False)]
    except OSError:
        return []
    return [*files, f"{root}/extensions"]
