"""What the C library says about error numbers that people are told of: `OSError.strerror`.

They reach people as parameters of a message. `N_` marks them for the catalogues.
"""

from __future__ import annotations


def N_(text: str) -> str:  # noqa: N802 - gettext's own name for it
    """Mark a text for extraction; it is translated where it is shown."""
    return text


ERRNO_TEXTS = frozenset(
    {
        N_("Bad file descriptor"),
        N_("Cannot allocate memory"),
        N_("Connection refused"),
        N_("Connection reset by peer"),
        N_("Connection timed out"),
        N_("Device or resource busy"),
        N_("Directory not empty"),
        N_("Disk quota exceeded"),
        N_("File exists"),
        N_("File name too long"),
        N_("File too large"),
        N_("Function not implemented"),
        N_("Host is down"),
        N_("Input/output error"),
        N_("Invalid argument"),
        N_("Invalid cross-device link"),
        N_("Is a directory"),
        N_("No route to host"),
        N_("No space left on device"),
        N_("No such device"),
        N_("No such file or directory"),
        N_("Not a directory"),
        N_("Network is unreachable"),
        N_("Operation not permitted"),
        N_("Operation not supported"),
        N_("Permission denied"),
        N_("Read-only file system"),
        N_("Resource temporarily unavailable"),
        N_("Stale file handle"),
        N_("Structure needs cleaning"),
        N_("Too many levels of symbolic links"),
        N_("Too many open files"),
        N_("Too many open files in system"),
        N_("Transport endpoint is not connected"),
    }
)
