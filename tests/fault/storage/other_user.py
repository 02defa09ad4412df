"""Somebody who may read less than the service."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def ordinary_user(folder: Path) -> Iterator[None]:
    """As a user of no name who can reach a folder; where the tests are not root's, as they are."""
    as_root = os.geteuid() == 0
    folder.chmod(folder.stat().st_mode | 0o055)
    for above in folder.parents:
        if as_root and above.stat().st_uid == 0 and above != Path("/"):
            above.chmod(above.stat().st_mode | 0o011)
    if as_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if as_root:
            os.seteuid(0)
