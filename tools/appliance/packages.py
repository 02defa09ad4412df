"""What is installed in the box: a Debian base, kept from run to run, and two package versions.

The previous version is made from the current one: older source where the history has it, with an
older number. Nothing here boots or judges anything.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tools.appliance.box import ApplianceError, NotHere, tool
from tools.debian.releases import Release

SYSTEM = (
    "adduser",
    "apt-utils",
    "ca-certificates",
    "dbus",
    "e2fsprogs",
    "iproute2",
    "procps",
    "python3",
    "systemd-sysv",
)
"""A small server, as its administrator finds it."""
SERVERS = ("mosquitto", "openssh-server", "prometheus", "samba", "samba-common-bin", "vsftpd")
"""What the shipped examples are for."""
MIGRATIONS = "src/archived/storage/migrations/versions"


def dependencies(package: Path) -> list[str]:
    """The names of what a package depends on and recommends; of alternatives the first."""
    fields = tool("dpkg-deb", "--field", package, "Depends", "Recommends")
    wanted = re.sub(r"^\w+:", "", fields, flags=re.MULTILINE).replace("\n", ",").split(",")
    names = (re.split(r"[\s(|:]", each.strip())[0] for each in wanted)
    return sorted({name for name in names if name})


def base(release: Release, package: Path, cache: Path) -> Path:
    """A tar of Debian with the servers and all that the package needs, but without it.

    Raises `NotHere`.
    """
    wanted = sorted({*SYSTEM, *SERVERS, *dependencies(package)})
    digest = hashlib.sha256(" ".join(wanted).encode()).hexdigest()[:16]
    made = cache / f"base-{release.suite}-{digest}.tar"
    if not made.exists():
        cache.mkdir(parents=True, exist_ok=True)
        for old in cache.glob(f"base-{release.suite}-*.tar"):
            old.unlink()
        unfinished = made.with_name(f"unfinished-{release.suite}.tar")
        try:
            tool(
                "mmdebstrap",
                "--quiet",
                "--variant=minbase",
                f"--include={','.join(wanted)}",
                release.suite,
                unfinished,
                within=1200,
            )
        except ApplianceError as error:
            raise NotHere(f"a Debian to install it on cannot be made: {error}") from error
        unfinished.rename(made)
    return made


def unpack(base_tar: Path, root: Path) -> None:
    """The machine's files, fresh."""
    root.mkdir(parents=True)
    tool("tar", "--extract", f"--file={base_tar}", f"--directory={root}", within=300)
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n192.0.2.1 archive\n")
    (root / "etc/hostname").write_text("archive\n")
    (root / "var/log/journal").mkdir(exist_ok=True)  # a journal that outlives a reboot


def previous(package: Path, repository: Path, folder: Path) -> tuple[Path, str, bool]:
    """A package that `package` is an upgrade of; what it holds, in words; if its catalog differs.

    Where the history is there, it holds the program as it was before the catalog's format last
    changed; else the same program under an older number.
    """
    tree = folder / "previous"
    tool("dpkg-deb", "--raw-extract", package, tree)
    held = "the same program under an older number"
    older = _before_last_migration(repository)
    if older and (missing := _not_there(repository, older)):
        held += f" ({older[:12]} has no {missing}, which the units start)"
        older = ""
    if older:
        _put_source(repository, older, tree)
        held = f"the program of {older[:12]}, before the catalog's format last changed"
    control = tree / "DEBIAN/control"
    text = control.read_text()
    control.write_text(re.sub(r"^Version: (.*)$", r"Version: \1~previous", text, flags=re.M))
    made = folder / "archived_previous.deb"
    tool("dpkg-deb", "-Znone", "--root-owner-group", "--build", tree, made, within=300)
    shutil.rmtree(tree)
    return made, held, bool(older)


def version(package: Path) -> str:
    """The package's version."""
    return tool("dpkg-deb", "--field", package, "Version").strip()


def _before_last_migration(repository: Path) -> str:
    """The commit before the newest migration came, where one came after the first."""
    done = subprocess.run(
        ["git", "-C", str(repository), "log", "--diff-filter=A", "--format=%H", "--", MIGRATIONS],
        capture_output=True,
        text=True,
        check=False,
    )
    added = done.stdout.split()
    if done.returncode or len(added) < 2:
        return ""
    parent = subprocess.run(
        ["git", "-C", str(repository), "rev-parse", "--verify", "--quiet", f"{added[0]}^"],
        capture_output=True,
        text=True,
        check=False,
    )
    return parent.stdout.strip()


def _not_there(repository: Path, commit: str) -> str:
    """The first module that the units of today start and `commit` does not have; else `""`.

    Only the program is taken from the history: the units, the wrappers and what the trials write
    into the configuration are those of today.
    """
    for unit in sorted((repository / "systemd").glob("*.service")):
        for module in re.findall(r" -m (archived[\w.]*)", unit.read_text()):
            path = f"src/{module.replace('.', '/')}"
            found = [
                subprocess.run(
                    ["git", "-C", str(repository), "cat-file", "-e", f"{commit}:{each}"],
                    capture_output=True,
                    check=False,
                ).returncode
                for each in (f"{path}.py", path)
            ]
            if all(found):
                return str(module)
    return ""


def _put_source(repository: Path, commit: str, tree: Path) -> None:
    """Replace the program in an unpacked package by that of a commit."""
    [site] = tree.glob("usr/lib/archived/lib/python3*/site-packages")
    plugins = [
        path
        for path in site.iterdir()
        if path.name.startswith("archived_")
        and path.is_dir()
        and not path.name.endswith(".dist-info")
    ]
    for target in (site / "archived", *plugins):
        name = target.name
        source = (
            "src/archived"
            if name == "archived"
            else (f"plugins/{name.removeprefix('archived_')}/src/{name}")
        )
        archive = subprocess.run(
            ["git", "-C", str(repository), "archive", commit, source],
            capture_output=True,
            check=False,
        )
        if archive.returncode:
            continue  # a plug-in that was not there yet
        shutil.rmtree(target)
        strip = str(source.count("/"))
        subprocess.run(
            ["tar", "--extract", f"--directory={site}", f"--strip-components={strip}"],
            input=archive.stdout,
            check=True,
        )
        subprocess.run(
            [
                sys.executable,
                "-m",
                "compileall",
                "-q",
                "--invalidation-mode",
                "unchecked-hash",
                str(target),
            ],
            check=True,
        )
