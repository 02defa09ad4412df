"""The Debian releases that a package is built for, and their Pythons."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Release:
    """One Debian release."""

    suite: str
    """ "bookworm"."""
    number: str
    """ "12", as VERSION_ID in os-release(5) and as in our packages' versions ("+deb12")."""
    python: str
    """ "3.11", of /usr/bin/python3; a package works with this one alone."""


RELEASES = {
    release.suite: release
    for release in (Release("bookworm", "12", "3.11"), Release("trixie", "13", "3.13"))
}


def of_this_machine() -> Release | None:
    """The release this machine runs; `None` for another system."""
    fields = dict(
        line.split("=", 1)
        for line in Path("/etc/os-release").read_text("utf-8").splitlines()
        if "=" in line
    )
    return RELEASES.get(fields.get("VERSION_CODENAME", "").strip('"'))
