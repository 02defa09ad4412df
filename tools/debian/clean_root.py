"""Clean Debian roots: make one as a tar, unpack it, run a command in it.

A command in a root sees that Debian, its own processes and what is bound into it; network, devices
and kernel are those of this machine, with all rights that root has here. Nothing boots: the first
process only waits for the command and for orphans, as `init` does. When the command ends, or its
caller does, every process in the root ends too, and its mounts go with them.

Needs root, util-linux and mmdebstrap.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tools.debian.releases import RELEASES

SUITES = {release.suite: f"Debian {release.number}" for release in RELEASES.values()}
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROGRAMS = ("unshare", "setpriv", "pivot_root", "mount", "tar")
OLD = 30 * 24 * 3600
"""Seconds after which a root is made afresh, so that it has Debian's updates."""
AUTHORITIES = Path("/usr/local/share/ca-certificates")
"""Where an administrator of Debian puts certificate authorities of his own."""
_FETCHING = re.compile(
    r"^(?:(?:https?|ftp|all|no)_proxy|PIP_.*|SSL_CERT_.*|REQUESTS_CA_BUNDLE)$", re.IGNORECASE
)
_NOT_FETCHING = frozenset({"PIP_CACHE_DIR", "PIP_LOG", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT"})
_APT = re.compile(r"^Acquire::(?:https?::Proxy\S*|Check-Valid-Until|Check-Date) .+;$", re.M)

_ENTER = r"""
set -eu
root=$1; shift
mount --bind "$root" "$root"
cd "$root"
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t tmpfs -o mode=755 tmpfs run
mkdir -p -m 1777 run/lock
while [ "$1" != -- ]; do
    options=$1; source=$2; target=$root/$3; shift 3
    if [ -d "$source" ]; then
        mkdir -p "$target"
    else
        mkdir -p "$(dirname "$target")"
        [ -e "$target" ] || : >"$target"
    fi
    mount --bind "$source" "$target"
    [ "$options" = rw ] || mount -o remount,bind,ro "$target"
done
shift
mkdir -p .outside
pivot_root . .outside
cd /
umount -l .outside
rmdir .outside
folder=$1; shift
# The first process of a machine waits for every orphan; this shell does, while the command runs.
exec /bin/sh -c 'cd "$0" && "$@"; exit $?' "$folder" "$@"
"""


class NotHere(Exception):
    """This machine cannot make a root or run a command in one; the sentence says why."""


@dataclass(frozen=True)
class Bind:
    """A file or folder of this machine that is seen in a root; `target` is a path in the root."""

    source: Path
    target: str
    writable: bool = False

    def words(self) -> list[str]:
        """The three arguments that `_ENTER` takes for it."""
        return ["rw" if self.writable else "ro", str(self.source), self.target.lstrip("/")]


def need() -> None:
    """Raises `NotHere` unless a root can be made and entered."""
    need_to_enter()
    if shutil.which("mmdebstrap", path=PATH) is None:
        raise NotHere("mmdebstrap is not installed")


def need_to_enter() -> None:
    """Raises `NotHere` unless a command can be run in a root that is there."""
    if os.geteuid() != 0:
        raise NotHere("a clean Debian root needs root: run it with sudo")
    for program in PROGRAMS:
        if shutil.which(program, path=PATH) is None:
            raise NotHere(f"{program} is not installed (Debian: util-linux, tar)")
    tried = subprocess.run(
        [
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--ipc",
            "--uts",
            "mount",
            "-t",
            "tmpfs",
            "none",
            "/mnt",
        ],
        capture_output=True,
        text=True,
        check=False,
        env=_environment({}),
    )
    if tried.returncode:
        raise NotHere(f"namespaces with mounts of their own are forbidden: {tried.stderr.strip()}")


def apt_options(dumped: str) -> list[str]:
    """How this machine's apt reaches its mirrors, from `apt-config dump`: proxies and clocks."""
    return [line.rstrip(";") + ";" for line in _APT.findall(dumped)]


def fetching(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that say how registries are reached: proxies, authorities, pip's own."""
    return {
        name: value
        for name, value in environment.items()
        if _FETCHING.match(name) and name not in _NOT_FETCHING
    }


def fetching_binds(environment: Mapping[str, str]) -> list[Bind]:
    """What `fetching` variables name, and pip's configuration: seen at the same path."""
    named = {Path("/etc/pip.conf")}
    for value in fetching(environment).values():
        named |= {Path(word) for word in value.split() if word.startswith("/")}
    # A root has Debian's own authorities at this path, and ours are added to them.
    outside = (path for path in named if not path.is_relative_to("/etc/ssl/certs"))
    return [Bind(path, str(path)) for path in sorted(outside) if path.exists()]


def key(suite: str, packages: Sequence[str], options: Sequence[str]) -> str:
    """The name of the tar of a root: two roots of the same make have the same one."""
    text = "\n".join([suite, *sorted(packages), "", *options])
    return f"{suite}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.tar"


def root(suite: str, packages: Sequence[str], cache: Path) -> Path:
    """The tar of a minimal Debian of `suite` with `packages`; kept in `cache`.

    Raises `NotHere` when it cannot be made, as where no mirror answers.
    """
    dumped = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False)
    options = apt_options(dumped.stdout)
    authorities = sorted(AUTHORITIES.glob("**/*.crt"))
    trust = authorities or any("/etc/ssl/certs" in each for each in fetching(os.environ).values())
    wanted = sorted({*packages, *(["ca-certificates"] if trust else [])})
    made = cache / key(suite, wanted, [*options, *(each.read_text() for each in authorities)])
    cache.mkdir(parents=True, exist_ok=True)
    for kept in cache.glob("*-" + "[0-9a-f]" * 16 + ".tar*"):
        if time.time() - kept.stat().st_mtime > OLD:
            kept.unlink()
    if made.exists():
        return made
    unfinished = made.with_name(f"{made.name}.{os.getpid()}.tar")
    command = ["mmdebstrap", "--quiet", "--variant=minbase", "--format=tar"]
    if wanted:
        command.append(f"--include={','.join(wanted)}")
    command += [f"--aptopt={each}" for each in options]
    if authorities:
        command += [f"--customize-hook=copy-in {each} {AUTHORITIES}" for each in authorities]
        command.append('--customize-hook=chroot "$1" update-ca-certificates')
    try:
        done = subprocess.run(
            [*command, suite, str(unfinished)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=1800,
            env=_environment(fetching(os.environ)),
        )
        if done.returncode:
            last = done.stderr.strip().splitlines()[-3:]
            raise NotHere(f"a root of {SUITES.get(suite, suite)} cannot be made: {' '.join(last)}")
        unfinished.rename(made)
    except subprocess.TimeoutExpired as error:
        raise NotHere(f"a root of {suite} was not made within 30 minutes") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return made


def unpack(tar: Path, folder: Path) -> None:
    """The files of a root, in a new `folder`; the resolver and the hosts are this machine's."""
    folder.mkdir(parents=True)
    subprocess.run(
        ["tar", "--extract", "--numeric-owner", f"--file={tar}", f"--directory={folder}"],
        check=True,
    )
    hosts = folder / "etc/hosts"
    if not hosts.exists():
        hosts.write_text("127.0.0.1 localhost\n::1 localhost\n")
    resolver = folder / "etc/resolv.conf"
    resolver.unlink(missing_ok=True)
    shutil.copyfile("/etc/resolv.conf", resolver)


def remove(folder: Path) -> None:
    """Remove an unpacked root. No mount is below it: those lived with the command."""
    subprocess.run(["rm", "-rf", "--one-file-system", str(folder)], check=True)


def run(
    root: Path,
    argv: Sequence[str],
    *,
    binds: Sequence[Bind] = (),
    env: Mapping[str, str] | None = None,
    folder: str = "/",
    output: IO[str] | int | None = None,
    within: float | None = None,
) -> int:
    """Run a command in an unpacked root, in `folder` there; its exit status.

    `env` is all the command gets besides PATH, HOME and LANG. What it prints goes to `output`, else
    to where this process prints. Raises `subprocess.TimeoutExpired` after `within` seconds; then as
    always nothing of it is left running.
    """
    words = [word for bind in binds for word in bind.words()]
    command = [
        "setpriv",
        "--pdeathsig",
        "KILL",
        "unshare",
        "--mount",
        "--pid",
        "--ipc",
        "--uts",
        "--kill-child",
        "--propagation",
        "private",
        "/bin/sh",
        "-c",
        _ENTER,
        "enter",
        str(root.resolve()),
        *words,
        "--",
        folder,
        *argv,
    ]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        start_new_session=True,
        stderr=subprocess.STDOUT if output is not None else None,
        env=_environment(env or {}),
    )
    try:
        return process.wait(within)
    finally:
        if process.poll() is None:
            process.kill()  # unshare takes the first process in the root with it, and that all
            process.wait()


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    return {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", **more}
