"""A machine with an archive on it is upgraded in place from one Debian release to the next."""

from __future__ import annotations

import os

from tools.appliance import packages
from tools.appliance.box import ApplianceError
from tools.appliance.world import World
from tools.debian import clean_root

_KEEP = "-o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold"
_UPGRADE = """
set -eu
sed -i 's/{before}/{after}/g' /etc/apt/sources.list
apt-get -qq update
apt-get -qq -y {keep} upgrade --without-new-pkgs
apt-get -qq -y {keep} full-upgrade
"""


def release_upgraded(world: World) -> str:
    """Debian's next release is installed over this one, and the archive starts as it was."""
    world.send("smb", *world.take(4))
    world.until_working()
    before = {d["id"] for d in world.documents()}
    world.box.off()
    script = _UPGRADE.format(before=world.before, after=world.release, keep=_KEEP)
    said = world.folder.parent / "apt.txt"
    with said.open("w") as output:
        status = clean_root.run(
            world.box.root,
            ["sh", "-c", script],
            output=output,
            within=1500,
            binds=clean_root.fetching_binds(os.environ),
            env={**clean_root.fetching(os.environ), "DEBIAN_FRONTEND": "noninteractive"},
        )
    if status:
        raise ApplianceError(f"apt's full-upgrade ended with {status}; it said {said}")
    world.box.on()
    installed = world.box.run("dpkg-query", "-W", "-f", "${Version}", "archived")
    world.until_ready(120)
    if not before <= {d["id"] for d in world.documents()}:
        raise ApplianceError("documents of before are not there any more")
    return f"{len(before)} documents; still {installed}, with the Python of before"


def package_changed(world: World) -> str:
    """The package for the new release replaces the old one; all that was sent becomes safe."""
    world.install(world.package)
    world.until_ready()
    wanted = packages.version(world.package)
    got = world.box.run("dpkg-query", "-W", "-f", "${Version}", "archived")
    if got != wanted:
        raise ApplianceError(f"{got} is installed, not {wanted}")
    world.send("smb", *world.take(2))
    everything = world.until_safe_all()
    world.box.run("archivectl", "ledger", "verify", within=120)
    return f"{got}: {everything} documents safe, the ledger is whole"


def old_python_removed(world: World) -> str:
    """The old release's Python is removed, and the archive starts without it."""
    world.box.run("apt-get", "-qq", "-y", "autoremove", "--purge", within=300)
    left = world.box.run("sh", "-c", "ls /usr/bin/python3.*")
    world.box.run("systemctl", "restart", "archived", within=120)
    world.until_ready()
    world.send("smb", *world.take(1))
    return f"{' '.join(left.split())}; {world.until_safe_all()} documents safe"
