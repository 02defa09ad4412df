"""What may happen to a file of an object."""

from __future__ import annotations

import shutil
from pathlib import Path


def damage(path: Path) -> None:
    path.chmod(0o644)
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])


def lose(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def stray(path: Path) -> None:
    path.write_text("x")


def rewrite(path: Path, content: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(content)
