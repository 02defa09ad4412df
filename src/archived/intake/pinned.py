"""A file of a hot folder by a path that no link can lead elsewhere while something is done to it.

Whoever may write to a share may put a link in place of a folder at any moment; what is renamed or
removed by us is in the folder that was opened, wherever its name leads by then.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


@contextmanager
def pinned(root: Path, path: bytes) -> Iterator[Path]:
    """A path to the file at `path` below `root`, good until the end of the block.

    Raises `OSError` (ENOENT, or ENOTDIR for a link) when a folder on the way is not there.
    """
    *folders, name = path.split(b"/")
    handle = os.open(root, _FOLDER)
    try:
        for folder in folders:
            above, handle = handle, os.open(folder, _FOLDER | os.O_NOFOLLOW, dir_fd=handle)
            os.close(above)
        yield Path(f"/proc/self/fd/{handle}") / os.fsdecode(name)
    finally:
        os.close(handle)
