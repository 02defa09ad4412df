"""SHA-512 of a stream, read once, in pieces. Asks nothing of the stream but `read`."""

from __future__ import annotations

import hashlib
from typing import BinaryIO

CHUNK = 1 << 20


def digest_stream(file: BinaryIO) -> str:
    """Hex SHA-512 of what is left to read."""
    digest = hashlib.sha512()
    while chunk := file.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()
