"""What the rig drops into hot folders, and its memory of it."""

from __future__ import annotations

import hashlib
import os
import random
from pathlib import Path


class Load:
    """What is dropped: small PDFs of many sizes, some in folders, some with the same bytes."""

    def __init__(self, dice: random.Random, hot: Path, *, durable: bool = False) -> None:
        self._dice, self._hot, self._durable = dice, hot, durable
        self._recent: list[bytes] = []
        self.expected: set[str] = set()
        """SHA-256 of everything dropped."""
        self.files = 0

    def drop(self, count: int) -> None:
        """Write `count` more files as a scanner would."""
        for _ in range(count):
            if self._recent and self._dice.random() < 0.05:
                content = self._dice.choice(self._recent)
            else:
                content = self.content()
                self._recent = [*self._recent[-4:], content]
            self.put(content, self._name("pdf"))

    def put(self, content: bytes, name: str, *, expected: bool = True) -> None:
        """Write one file; one that is not `expected` becomes no original."""
        path = self._hot / name
        path.parent.mkdir(exist_ok=True)
        with path.open("wb") as file:
            file.write(content)
            file.flush()
            if self._durable:
                os.fsync(file.fileno())
        if self._durable:
            for folder in (path.parent, self._hot):
                handle = os.open(folder, os.O_RDONLY)
                os.fsync(handle)
                os.close(handle)
        if expected:
            self.expected.add(hashlib.sha256(content).hexdigest())
        self.files += 1

    def _name(self, extension: str) -> str:
        folder = self._dice.choice(["", "", "", "hồ sơ 12/", "b/"])
        return f"{folder}trang {self.files:05d}.{extension}"

    def content(self) -> bytes:
        """A file that is whole by its structure, unlike any other."""
        size = self._dice.choice([100, 3_000, 20_000, 150_000])
        return b"%PDF-1.4\n%" + self._dice.randbytes(size) + b"\nstartxref\n0\n%%EOF\n"
