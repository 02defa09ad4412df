"""The folders that a kept worker is shut into for its whole life, and what is in them for one step.

    work/kept-XXXX/steps/STEP/    the step's own folder, as the stage sees it
    work/kept-XXXX/input/STEP/    its document: links, read-only

What Landlock opens to a process cannot be widened later, and cannot be narrowed for a while. So a
worker is opened these two folders, and each step brings its document into them and takes everything
out again. What has been taken out cannot be opened any more, by whatever path.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from archived.engine.boundary import LEFT
from archived.engine.handover import INPUT, HandedOver, Json, hand_over_kept, open_for_reading
from archived.storage import atomic, tree

_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class KeptFolders:
    """Those of one worker. `account`: the worker's, where it is not the service's own."""

    root: Path
    account: int | None

    @classmethod
    def make(cls, work: Path, account: int | None) -> KeptFolders:
        """New ones, below the folder of all steps. Raises `OSError`."""
        made = cls(work / f"kept-{secrets.token_hex(8)}", account)
        for folder in (made.root, made.steps, made.input):
            folder.mkdir(mode=0o700)
            if account is not None:
                open_for_reading(folder, account)
        return made

    @property
    def steps(self) -> Path:
        """Where the worker may write: below, not in it, where it has an account of its own."""
        return self.root / "steps"

    @property
    def input(self) -> Path:
        """Where the worker may read."""
        return self.root / "input"

    def step(self, step: str) -> Path:
        """The folder of one step, while it runs."""
        return self.steps / Path(step).name

    def bring(self, job: Json) -> HandedOver:
        """What a job needs is brought in; the job as the worker is told of it. Raises `OSError`."""
        folder = self.step(job["step"])
        told = {**job, "folders": {"steps": str(self.steps), "input": str(self.input)}}
        return hand_over_kept(told, self.account, folder, self.input / folder.name)

    def take_out(self, step: str, folder: Path) -> bool:
        """Everything of a step goes into its folder that the worker cannot reach.

        `False`: the worker left something beside the step's own folder; that goes as well.
        Blocking. Raises `OSError`.
        """
        own = self.step(step)
        for source, name in ((own, LEFT), (self.input / own.name, INPUT)):
            with suppress(FileNotFoundError):
                atomic.gather(source, folder / name)
        if not any(self.steps.iterdir()) and not any(self.input.iterdir()):
            return True
        atomic.gather(self.root, folder / f"{LEFT}-all")  # as one, however many names there are
        return False

    def discard(self) -> None:
        """Remove them, when the worker is gone. What cannot be goes at the next start."""
        with suppress(OSError):
            tree.remove(self.root, seconds=_SECONDS)


def identity_of(job: Json) -> str:
    """What must be the same for a worker to do a job: another one could not reach what it names.

    The folder of all steps, the options, the limits, and which file each path in the options leads
    to now: what replaced a file, as a renewed certificate does, is not in the reach of a worker
    that lives already.
    """
    request = job["request"]
    asked = {name: request[name] for name in ("stage", "options", "targets")}
    asked |= {"work": str(Path(job["folder"]).parent), "limits": job["limits"]}
    return repr((asked, [_file(path) for path in _paths((asked["options"], asked["targets"]))]))


def _paths(value: object) -> list[str]:
    if isinstance(value, str):
        return [value] if value.startswith("/") else []
    inner = value.values() if isinstance(value, dict) else value
    if not isinstance(inner, list | tuple | type({}.values())):
        return []
    return [path for each in inner for path in _paths(each)]


def _file(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - text, as in a request
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino
