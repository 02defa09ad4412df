"""What the daemon writes about its work, whoever wrote it."""

from __future__ import annotations

import json
import subprocess
import sys


def test_what_a_library_warns_of_is_a_line_like_any_other():
    program = (
        "import warnings\n"
        "from archived.observe import logs\n"
        "logs.configure('info', 'json')\n"
        "warnings.warn('a folder was made while it was looked at', RuntimeWarning)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    (line,) = done.stdout.splitlines()
    assert "a folder was made" in json.loads(line)["event"]
    assert done.stderr == ""
