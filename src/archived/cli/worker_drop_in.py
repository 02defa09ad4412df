"""What the unit of the steps must be told, out of what the unit of the service was told.

    systemctl show archived.service | python -m archived.cli.worker_drop_in

prints a drop-in for `archived-worker@.service`, or nothing when none is needed. The package runs it
once, when it replaces one whose steps had the service's own account: what an administrator opened
to the service for the sake of its steps stays open to them. A program of its own, no command: the
package's scripts run it before anything is configured anew.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

_LOCAL = frozenset({"127.0.0.0/8", "::1/128"})
_STATE = Path("/var/lib/archived")


def drop_in(shown: Mapping[str, Iterable[str]], state: Path) -> str:
    """The drop-in's text. `shown`: property -> its values, as systemd tells them."""
    lines = [f"IPAddressAllow={each}" for each in _of(shown, "IPAddressAllow") - _LOCAL]
    lines += [f"SupplementaryGroups={each}" for each in _of(shown, "SupplementaryGroups")]
    if shown.get("MemoryDenyWriteExecute") == ["no"]:
        lines.append("MemoryDenyWriteExecute=no")
    if shown.get("PrivateDevices") == ["no"]:
        lines += ["PrivateDevices=no", "DevicePolicy=closed"]
        lines += [f"DeviceAllow={each}" for each in shown.get("DeviceAllow", [])]
    if state != _STATE:
        lines += [
            f"TemporaryFileSystem={state}:ro,mode=0755",
            f"BindPaths=-{state}/work",
            f"Environment=ARCHIVED_WORK={state}/work",
        ]
    if not lines:
        return ""
    about = (
        "# Written by the upgrade that gave steps accounts of their own, from what the unit of\n"
        "# the service was told. Yours from now on: see /usr/share/doc/archived/examples/systemd.\n"
    )
    return about + "\n[Service]\n" + "".join(f"{line}\n" for line in sorted(lines))


def _of(shown: Mapping[str, Iterable[str]], name: str) -> set[str]:
    return {word for value in shown.get(name, ()) for word in value.split()}


def _state() -> Path:
    """Where the configuration keeps the service's state; its usual place when it has mistakes."""
    from archived.cli import client
    from archived.errors import ArchivedError

    try:
        return client.find(client.chosen(None)).state
    except ArchivedError:
        return _STATE


def main() -> None:
    """Read what systemd shows, print what is needed."""
    shown: dict[str, list[str]] = {}
    for line in sys.stdin:
        name, _, value = line.rstrip("\n").partition("=")
        shown.setdefault(name, []).append(value)
    sys.stdout.write(drop_in(shown, _state()))


if __name__ == "__main__":
    main()
