"""Who is let in at the control socket where the unit hides the processes of other users."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

NOBODY = 65534
SERVER = """
    import os, socket, sys
    from archived.observe.control import is_ours
    server = socket.socket(socket.AF_UNIX)
    server.bind(sys.argv[1])
    server.listen()
    print("listens", flush=True)
    for who in ("person", "child"):
        if who == "child" and os.fork() == 0:
            line = socket.socket(socket.AF_UNIX)
            line.connect(sys.argv[1])
            line.recv(1)
            os._exit(0)
        line, _ = server.accept()
        print(who, is_ours(line), flush=True)
        line.close()
"""
PERSON = """
    import socket, sys
    line = socket.socket(socket.AF_UNIX)
    line.connect(sys.argv[1])
    line.recv(1)
"""
AROUND = """
    import subprocess, sys
    server, person, path = sys.argv[1:]
    subprocess.run(["mount", "-t", "proc", "-o", "hidepid=2", "proc", "/proc"], check=True)
    nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", sys.executable]
    daemon = subprocess.Popen([*nobody, server, path], stdout=subprocess.PIPE, text=True)
    assert daemon.stdout.readline() == "listens\\n"
    # Its parent is this process: of another user, so that the daemon cannot see it.
    subprocess.run([*nobody, person, path], check=True, timeout=30)
    print(daemon.communicate(timeout=30)[0])
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts /proc anew, which needs root")
def test_the_daemons_own_user_is_let_in_and_its_children_are_not(tmp_path: Path) -> None:
    """As `runuser -u archived -- archivectl status` beside a service with `ProtectProc=`."""
    open_to_all = Path("/tmp") / f"peers-{os.getpid()}"
    open_to_all.mkdir(mode=0o755)
    os.chown(open_to_all, NOBODY, NOBODY)
    try:
        scripts = {"server": SERVER, "person": PERSON, "around": AROUND}
        for name, text in scripts.items():
            (open_to_all / f"{name}.py").write_text(textwrap.dedent(text))
        words = [str(open_to_all / name) for name in ("server.py", "person.py", "socket")]
        done = subprocess.run(
            [
                "unshare",
                "--mount",
                "--propagation",
                "private",
                sys.executable,
                open_to_all / "around.py",
                *words,
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=90,
        )
    finally:
        subprocess.run(["rm", "-r", open_to_all], check=True)
    if "mount" in done.stderr and "hidepid" in done.stderr:
        pytest.skip(f"/proc cannot be mounted anew here: {done.stderr.strip()[-200:]}")
    assert done.stdout.split("\n")[:2] == ["person False", "child True"], done.stderr
