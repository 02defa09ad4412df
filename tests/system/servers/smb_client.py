"""An SMB client that misbehaves on request. Run with .venv-servers; imported by nobody.

Writes LOCAL to //HOST/scans/REMOTE at RATE bytes a second, 16 KiB at a time.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import smbclient

CHUNK = 16384


def main() -> None:
    """One upload."""
    asked = argparse.ArgumentParser()
    for name in ("host", "user", "password", "local", "remote"):
        asked.add_argument(name)
    asked.add_argument("--port", type=int, default=445)
    asked.add_argument("--rate", type=int, default=0)
    asked.add_argument(
        "--reserve", action="store_true", help="set the size first, as Explorer does"
    )
    asked.add_argument("--resume", action="store_true", help="go on where the file ends")
    asked.add_argument("--in-place", action="store_true", help="open what is there, keep its size")
    asked.add_argument("--keep-times", action="store_true", help="set the source's time at the end")
    asked.add_argument("--rename-to", default="", help="the final name, given after the upload")
    asked.add_argument("--leave-open", type=float, default=0, help="seconds until it is closed")
    asked.add_argument("--instead-of", default="", help="a file that is put there just before")
    want = asked.parse_args()
    smbclient.ClientConfig(username=want.user, password=want.password)
    share = rf"\\{want.host}\scans" + "\\"
    port = {"port": want.port}
    content = Path(want.local).read_bytes()
    mode = "ab" if want.resume else "r+b" if want.in_place else "wb"
    remote = share + want.remote.replace("/", "\\")
    if want.instead_of:
        with smbclient.open_file(remote, mode="wb", **port) as file:
            file.write(Path(want.instead_of).read_bytes())
    with smbclient.open_file(remote, mode=mode, buffering=0, **port) as file:
        if want.reserve:
            file.truncate(len(content))
        start = file.tell() if want.resume else 0
        for place in range(start, len(content), CHUNK):
            file.write(content[place : place + CHUNK])
            if want.rate:
                time.sleep(CHUNK / want.rate)
        time.sleep(want.leave_open)
    if want.keep_times:
        status = os.stat(want.local)  # noqa: PTH116
        smbclient.utime(remote, ns=(status.st_atime_ns, status.st_mtime_ns), **port)
    if want.rename_to:
        smbclient.rename(remote, share + want.rename_to.replace("/", "\\"), **port)


if __name__ == "__main__":
    main()
