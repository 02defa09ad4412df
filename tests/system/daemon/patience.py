"""A daemon that gives running steps less time to end than the usual twenty seconds."""

from __future__ import annotations

import sys

from archived.testing.daemon import Daemon


def be_impatient(daemon: Daemon, seconds: float) -> None:
    """Before it is started."""
    code = (
        f"import archived.daemon.daemon as d; d.GRACE = {seconds}\n"
        "from archived.cli.archived import main; main()"
    )
    daemon.executable = [sys.executable, "-c", code]
