"""The folder where the administrator's own plug-in distributions lie, beside archived's own.

Each is unpacked into a folder of its own; one line in NAME.pth puts it on the path of every process
of archived that starts from then on. A package's upgrade touches none of this.
"""

from __future__ import annotations

import compileall
import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from archived.errors import PluginError
from archived.message import Message, sequence, with_messages
from archived.plugins.wheel import Wheel, missing, unpack
from archived.storage import atomic

FOLDER = Path("/usr/local/lib/archived/plugins")
"""Where the Debian package's environment looks (a `.pth` file in it says so)."""

_TRIAL = """
import json, sys
folders, names = json.loads(sys.argv[1])
sys.path += folders
from archived.errors import ArchivedError
from archived.plugins import find
from dataclasses import asdict
try:
    print(json.dumps([asdict(each) for each in find(names).catalogue()]))
except ArchivedError as error:
    print(json.dumps(error.as_json()))
"""
_TRIAL_SECONDS = 60
_NOBODY = 65534


@dataclass(frozen=True)
class LocalPlugin:
    """One distribution in the folder."""

    name: str
    version: str
    folder: Path
    plugins: tuple[str, ...]


class LocalPlugins:
    """The folder, as it stands."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder

    def there(self) -> dict[str, LocalPlugin]:
        """Name -> what is in the folder and on the path."""
        found: dict[str, LocalPlugin] = {}
        for line in sorted(self.folder.glob("*.pth")):
            folder = self.folder / line.read_text("utf-8").strip()
            for dist in importlib.metadata.distributions(path=[str(folder)]):
                name = canonicalize_name(dist.name)
                points = dist.entry_points.select(group="archived")
                plugins = tuple(sorted(point.name for point in points))
                found[name] = LocalPlugin(name, dist.version, folder, plugins)
        return found

    def put(self, wheels: Sequence[Wheel]) -> list[dict[str, Any]]:
        """Unpack, try and publish; returns what the plug-ins gave, as `PluginInfo` has it.

        Nothing is on the path before every one of them was tried. Raises `PluginError`.
        """
        before = self.there()
        _nothing_missing(wheels, before, self.folder)
        _nothing_shadowed(wheels, before)
        atomic.make_folder(self.folder)
        _no_strangers(self.folder)
        staged = [self._staged(wheel) for wheel in wheels]
        try:
            given = _tried(wheels, [*staged, *_others(before, wheels)])
        except BaseException:
            for folder in staged:
                atomic.remove_tree(folder)
            raise
        for wheel, folder in zip(wheels, staged, strict=True):
            self._publish(wheel, folder)
        try:
            self._is_looked_at(wheels)
        except PluginError:
            self._put_back(wheels, before)
            raise
        self._sweep(before)
        return given

    def remove(self, name: str) -> LocalPlugin:
        """Take a distribution off the path, then away. Raises `PluginError`."""
        there = self.there()
        wanted = canonicalize_name(name)
        found = there.get(wanted) or next((x for x in there.values() if name in x.plugins), None)
        if found is None:
            raise PluginError(
                Message(
                    '"{name}" is not in {folder} (there: {there})',
                    name=name,
                    folder=self.folder,
                    there=", ".join(there) or "none",
                )
            )
        leaning = [
            other
            for other in there.values()
            if other is not found and found.name in _needed_by(other)
        ]
        if leaning:
            raise PluginError(
                Message(
                    "{name} needs {needed}; remove that first",
                    name=leaning[0].name,
                    needed=found.name,
                )
            )
        atomic.remove_file(self._line(found.name))
        atomic.remove_tree(found.folder)
        return found

    def _line(self, name: str) -> Path:
        return self.folder / f"{name}.pth"

    def _folder(self, wheel: Wheel) -> Path:
        # The digest: the same version built again must not be written over what runs.
        return self.folder / f"{wheel.name}-{wheel.version}-{wheel.sha256[:12]}"

    def _staged(self, wheel: Wheel) -> Path:
        folder = self.folder / f".unfinished-{wheel.name}"
        atomic.remove_tree(folder)
        folder.mkdir(mode=0o755)
        try:
            unpack(wheel, folder)
        except BaseException:
            atomic.remove_tree(folder)
            raise
        # Byte code by content: the service may not write any, and times do not matter.
        compileall.compile_dir(
            folder,
            quiet=2,
            stripdir=folder,
            prependdir=self._folder(wheel),
            legacy=False,
            invalidation_mode=_by_content(),
        )
        return folder

    def _publish(self, wheel: Wheel, staged: Path) -> None:
        final = self._folder(wheel)
        if final.is_dir():
            atomic.remove_tree(staged)  # the very same wheel
        else:
            atomic.publish_folder(staged, final)
        atomic.write_file(self._line(wheel.name), f"{final.name}\n".encode(), mode=0o644)

    def _is_looked_at(self, wheels: Sequence[Wheel]) -> None:
        """A fresh process finds them without being told where they are."""
        ask = (
            "import json, importlib.metadata as m; "
            "print(json.dumps([d.name for d in m.distributions()]))"
        )
        known = {canonicalize_name(name) for name in _ask(ask, ())}
        if any(wheel.name not in known for wheel in wheels):
            raise PluginError(
                Message(
                    "{prefix} does not look for plug-ins in {folder}",
                    prefix=sys.prefix,
                    folder=self.folder,
                ),
                hint=Message(
                    "this archived is not Debian's package: install the wheel into its own "
                    "environment with pip"
                ),
            )

    def _put_back(self, wheels: Sequence[Wheel], before: Mapping[str, LocalPlugin]) -> None:
        for wheel in wheels:
            old = before.get(wheel.name)
            if old is None:
                atomic.remove_file(self._line(wheel.name))
            else:
                atomic.write_file(self._line(wheel.name), f"{old.folder.name}\n".encode())
            if old is None or old.folder != self._folder(wheel):
                atomic.remove_tree(self._folder(wheel))

    def _sweep(self, before: Mapping[str, LocalPlugin]) -> None:
        """Remove what no line names; not what was in use just now: a daemon may still import it."""
        kept = {each.folder for each in (*before.values(), *self.there().values())}
        for folder in self.folder.iterdir():
            if folder.is_dir() and folder not in kept:
                atomic.remove_tree(folder)


def _by_content() -> Any:
    import py_compile

    return py_compile.PycInvalidationMode.CHECKED_HASH


def _others(before: Mapping[str, LocalPlugin], wheels: Iterable[Wheel]) -> list[Path]:
    new = {wheel.name for wheel in wheels}
    return [each.folder for name, each in before.items() if name not in new]


def _own(local: Path) -> dict[str, str]:
    """Name -> version of what came with archived itself."""
    ask = (
        "import json, sys, importlib.metadata as m; print(json.dumps("
        "{d.name: d.version for d in m.distributions() if not str(d.locate_file(''))"
        ".startswith(sys.argv[1])}))"
    )
    found = _ask(ask, (str(local),))
    return {canonicalize_name(name): version for name, version in found.items()}


def _nothing_missing(
    wheels: Sequence[Wheel], before: Mapping[str, LocalPlugin], local: Path
) -> None:
    own = _own(local)
    for wheel in wheels:
        if wheel.name in own and wheel.name not in before:
            raise PluginError(
                Message(
                    "{name} {own} is part of archived itself", name=wheel.name, own=own[wheel.name]
                ),
                hint=Message("it comes with archived's own upgrades and is not replaced"),
            )
    there = {name: each.version for name, each in before.items()}
    there |= own | {wheel.name: wheel.version for wheel in wheels}
    wrong = [sentence for wheel in wheels for sentence in missing(wheel, there)]
    if wrong:
        raise PluginError(
            sequence(wrong, "\n"),
            hint=Message("give the wheels it needs as well, in the same command"),
        )


def _nothing_shadowed(wheels: Sequence[Wheel], before: Mapping[str, LocalPlugin]) -> None:
    """What is imported must be what was installed: no module has the name of another."""
    taken = dict.fromkeys(sys.stdlib_module_names, "Python")
    for dist in importlib.metadata.distributions():
        name = canonicalize_name(dist.name)
        for file in dist.files or ():
            if name not in before and ".dist-info" not in file.parts[0]:
                taken.setdefault(file.parts[0].partition(".")[0], name)
    for each in before.values():
        taken |= {
            path.name.partition(".")[0]: each.name
            for path in each.folder.iterdir()
            if not path.name.endswith(".dist-info")
        }
    for wheel in wheels:
        for module in sorted(wheel.modules):
            owner = taken.setdefault(module, wheel.name)
            if owner != wheel.name:
                raise PluginError(
                    Message(
                        "{name}: its module {module} is there from {owner}",
                        name=wheel.path.name,
                        module=module,
                        owner=owner,
                    )
                )


def _no_strangers(folder: Path) -> None:
    status = folder.stat()
    if status.st_mode & 0o022 or status.st_uid not in (0, os.geteuid()):
        raise PluginError(
            Message("{folder}: others may write here, so nothing is loaded from it", folder=folder),
            hint=Message("run: chown root {folder}; chmod go-w {folder}", folder=folder),
        )


def _needed_by(other: LocalPlugin) -> set[str]:
    from packaging.requirements import Requirement

    found = importlib.metadata.distributions(path=[str(other.folder)])
    return {canonicalize_name(Requirement(line).name) for d in found for line in d.requires or ()}


def _tried(wheels: Sequence[Wheel], folders: Sequence[Path]) -> list[dict[str, Any]]:
    """What the plug-ins give when they are loaded in a process of their own, not as root."""
    names = [name for wheel in wheels for name in wheel.plugins]
    if not names:
        raise PluginError(
            Message(
                "{wheels}: gives no plug-in", wheels=", ".join(wheel.path.name for wheel in wheels)
            ),
            hint=Message("its author names one under [project.entry-points.archived]"),
        )
    told = _ask(_TRIAL, (json.dumps([[str(f) for f in folders], names]),))
    if isinstance(told, dict):
        wrong = with_messages(told)
        raise PluginError(wrong["message"], hint=wrong["hint"])
    given: list[dict[str, Any]] = told
    return given


def _ask(code: str, arguments: Sequence[str]) -> Any:
    """JSON from a fresh process of the interpreter that archived runs with."""
    root: dict[str, Any] = {}
    if os.geteuid() == 0:
        root = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
    try:
        asked = subprocess.run(
            [sys.executable, "-I", "-B", "-c", code, *arguments],
            check=True,
            capture_output=True,
            text=True,
            timeout=_TRIAL_SECONDS,
            cwd="/",
            env={"LC_ALL": "C.UTF-8"},
            **root,
        )
        return json.loads(asked.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        said = getattr(error, "stderr", "") or str(error)
        last = ""
        with suppress(IndexError):
            last = said.strip().splitlines()[-1]
        raise PluginError(Message("the trial of the plug-in broke: {last}", last=last)) from error
