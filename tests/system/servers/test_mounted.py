"""A hot folder on a network mount: the kernel tells nothing of what others write; it is polled."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.system.servers.appliance import PAUSE, Appliance, Box, scan_of
from tests.system.servers.programs import (
    Upload,
    absent,
    end_group,
    free_port,
    need,
    need_root,
    until,
)
from tests.system.servers.services import USER, serving


@dataclass
class Mounted:
    """`far`: the folder as its server sees it; `appliance`: a daemon that has it mounted."""

    far: Path
    appliance: Appliance
    client: Upload


@pytest.fixture
def mounted(public: Path, tmp_path: Path) -> Iterator[Mounted]:
    """sshfs, with a server of its own; its cache of names would only cost time."""
    need_root()
    program = need("sshfs")
    if not Path("/dev/fuse").exists():
        absent("/dev/fuse")
    own, far = public / "mounted", public / "far"
    (far / "box").mkdir(parents=True)
    (tmp_path / "appliance").mkdir()
    for folder in (far / "box", own):
        folder.mkdir(exist_ok=True)
    (far / "box").chmod(0o777)
    port, here = free_port(), tmp_path / "hot" / "share"
    here.mkdir(parents=True)
    with serving("sftp", own, far, port):
        options = [
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            f"IdentityFile={own}/client",
            "allow_other",
            "ServerAliveInterval=1",
            "ServerAliveCountMax=2",
            "dir_cache=no",
        ]
        argv = [program, "-f", f"{USER}@127.0.0.1:/box", here, "-p", port, "-o", ",".join(options)]
        client = Upload(argv)
        try:
            until(lambda: here.is_mount() or client.ended(), 20, "it is mounted")
            if client.ended():
                absent(f"a FUSE mount ({client.process.communicate()[0]!r})")
            with Appliance(tmp_path / "appliance", tmp_path / "hot", ["share"]) as appliance:
                yield Mounted(far / "box", appliance, client)
        finally:
            end_group(client.process)
            subprocess.run(["umount", "--lazy", str(here)], check=False, capture_output=True)


def test_changes_made_elsewhere_are_found_and_a_lost_mount_takes_nothing_away(
    mounted: Mounted, tmp_path: Path
):
    appliance, far = mounted.appliance, mounted.far
    [folder] = appliance.until(lambda: appliance.status()["daemon"]["hotfolders"], 10, "it runs")
    assert folder["mode"] == "polling"
    whole = {name: scan_of(name) for name in ("plain.tif", "slow.jpg", "moved.pdf")}

    (far / "plain.tif").write_bytes(whole["plain.tif"])
    os.chown(far / "plain.tif", 65534, 65534)
    (tmp_path / "moved.pdf").write_bytes(whole["moved.pdf"])
    os.chown(tmp_path / "moved.pdf", 65534, 65534)
    Upload(["mv", tmp_path / "moved.pdf", far]).done()
    with (far / "slow.jpg").open("wb") as slow:
        slow.write(whole["slow.jpg"][:50_000])
        slow.flush()
        os.chown(far / "slow.jpg", 65534, 65534)
        until(lambda: len(appliance.endings("share")) == 3, 10, "all three are seen")
        Box.stays(lambda: "slow.jpg" not in taken(appliance), PAUSE)
        slow.write(whole["slow.jpg"][50_000:])
    appliance.until(lambda: archived(appliance) == set(whole.values()), 20, "all are archived")
    appliance.until(lambda: not list(far.glob("*.*")), 10, "and their sources are gone")

    waiting = far / "waiting.png"
    content = scan_of("waiting.png")
    waiting.write_bytes(content[:5000])
    until(lambda: len(appliance.endings("share")) == 4, 10, "the unfinished one is seen")
    mounted.client.kill()
    appliance.until(
        lambda: appliance.status()["daemon"]["hotfolders"][0]["offline"], 20, "it is offline"
    )
    states = {e.path: e.ending for e in appliance.endings("share")}
    assert states[b"waiting.png"] in {"seen", "held"}, "nothing was withdrawn"
    appliance.assert_balanced()
    assert [path.name for path in far.glob("*.*")] == ["waiting.png"]


def taken(appliance: Appliance) -> set[str]:
    return {os.fsdecode(e.path) for e in appliance.endings("share") if e.document}


def archived(appliance: Appliance) -> set[bytes]:
    found = [e for e in appliance.endings("share") if e.ending == "archived"]
    return {appliance.original(e.document) for e in found}
