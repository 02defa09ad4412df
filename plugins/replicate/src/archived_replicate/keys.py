"""What may be a key: a relative POSIX path that cannot lead out of a target. Pure text, no disk."""

from __future__ import annotations

_LONGEST_NAME = 255  # bytes, on every file system worth keeping an archive on
_LONGEST_KEY = 4000


def components(key: str) -> tuple[str, ...]:
    """The names a key is made of, outermost first. Raises `ValueError` saying what is wrong.

    A key is checked on the way in and on the way out, so that neither a damaged inventory nor a
    strange file at the target can make us read or write elsewhere.
    """
    names = tuple(key.split("/"))
    if not key or key.startswith("/"):
        raise ValueError(f"{key!r} is not a key: write a relative path")
    if any(name in ("", ".", "..") for name in names):
        raise ValueError(f"{key!r} is not a key: it has an empty, '.' or '..' component")
    if "\0" in key:
        raise ValueError(f"{key!r} is not a key: it has a NUL")
    try:
        longest = max(len(name.encode()) for name in names)
    except UnicodeEncodeError:
        raise ValueError(f"{key!r} is not a key: it is not UTF-8") from None
    if longest > _LONGEST_NAME or len(key.encode()) > _LONGEST_KEY:
        raise ValueError(f"{key[:80]!r}... is not a key: it is too long")
    return names
