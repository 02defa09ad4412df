"""Folders that cannot be removed now: set aside, told about, and tried again; they stop nothing.

What a step leaves may be immutable, owned by somebody else, larger than can be removed in the time
there is, or lie on a disk that fails. None of that may keep a step from being recorded or the
daemon from starting. Such a folder gets a name in a folder of its own on the same file system,
where no work meets it; everything in it may be lost.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from archived.storage import atomic

CODE = "not-cleared"
SECONDS = 30.0
"""How long one folder is removed before it is set aside: a step's slot in its lane waits."""

Tell = Callable[[str, str], None]
"""Called as `tell(name, why)` when a folder could not be removed."""


class Uncleared:
    """The folder for what could not be removed; it is made when it is needed."""

    def __init__(self, folder: Path, tell: Tell = lambda *_: None) -> None:
        self.folder = folder
        self.tell = tell
        self._stays: set[Path] = set()
        """What could not even be renamed; known since the start."""

    def clear(self, tree: Path, *, seconds: float = SECONDS) -> bool:
        """Remove a folder and all below it, or set it aside: whether it was removed.

        Its name is free afterwards, unless even a rename failed. Never raises `OSError`.
        """
        try:
            atomic.remove_tree(tree, seconds=seconds)
        except OSError as error:
            why = error.strerror or str(error)
            self._set_aside(tree)
            self.tell(tree.name, why)
            return False
        self._stays.discard(tree)
        return True

    def _set_aside(self, tree: Path) -> None:
        name = f"{tree.name[:200]}.{secrets.token_hex(4)}"
        for there in (self.folder / name, tree.with_name(f"{atomic.SCRATCH_PREFIX}{name}")):
            try:
                atomic.make_folder(there.parent, mode=0o750)
                atomic.gather(tree, there)
                atomic.fsync_folder(there.parent)
            except OSError:
                continue
            if there.parent != self.folder:
                self._stays.add(there)
            return
        self._stays.add(tree)

    def clear_all(self, trees: Iterable[Path], *, seconds: float = SECONDS) -> list[str]:
        """Remove many, as far as the time allows; the names of all of them."""
        give_up = time.monotonic() + seconds
        names = []
        for tree in trees:
            names.append(tree.name)
            self.clear(tree, seconds=max(0.0, give_up - time.monotonic()))
        return names

    def try_again(self, *, seconds: float = SECONDS) -> list[str]:
        """Remove what was set aside, as far as it can be by now; names of what is gone."""
        give_up = time.monotonic() + seconds
        gone = []
        for tree in self._there():
            if time.monotonic() > give_up:
                break
            try:
                atomic.remove_tree(tree, seconds=give_up - time.monotonic())
            except OSError:
                continue
            self._stays.discard(tree)
            gone.append(tree.name)
        return gone

    def names(self) -> list[str]:
        """What is there still, wherever it lies."""
        return [tree.name for tree in self._there()]

    def _there(self) -> list[Path]:
        try:
            aside = [self.folder / name for name in sorted(os.listdir(self.folder))]  # noqa: PTH208 - as fast as can be, for each look at the figures
        except OSError:
            aside = []
        self._stays = {tree for tree in self._stays if os.path.lexists(tree)}
        return [*aside, *sorted(self._stays)]
