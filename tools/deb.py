"""Build the Debian package out of tree: `dist/archived_VERSION_amd64.deb`.

Everything that is downloaded is pinned with its hash. Two builds of one commit give the same file.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = "/usr/bin/python3.11"
"""The interpreter the package depends on; the build uses no other."""


def run(command: list[str], **named: object) -> None:
    """Run a command; its failure is ours."""
    subprocess.run(command, check=True, **named)  # type: ignore[call-overload]


def export(into: Path, commit: str) -> None:
    """Put a commit's sources, or without one the files as they lie here, into a fresh folder."""
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    if commit:
        sources = subprocess.run(
            ["git", "archive", commit], cwd=ROOT, check=True, capture_output=True
        ).stdout
        run(["tar", "x", "-C", str(into)], input=sources)
        return
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).exists():
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, into / name, follow_symlinks=False)


def wheels(requirements: Path) -> Path:
    """The pinned wheels, downloaded once for each list; pip checks every hash."""
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()[:16]
    folder = ROOT / ".cache" / "deb" / f"wheels-{digest}"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        run([
            sys.executable, "-m", "pip", "download", "-qq", "--require-hashes", "--no-deps",
            "--only-binary", ":all:", "--implementation", "cp", "--python-version", "3.11",
            *(f"--platform=manylinux_2_{n}_x86_64" for n in range(36, 16, -1)),
            "--platform=manylinux2014_x86_64", "-r", str(requirements), "-d", str(folder),
        ])  # fmt: skip
        (folder / "complete").touch()
    return folder


def own_wheels(source: Path, into: Path) -> None:
    """The wheels of archived and its bundled plug-ins."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch(source))}
    for project in (source, *sorted((source / "plugins").iterdir())):
        if (project / "pyproject.toml").exists():
            run(
                [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(into)],
                cwd=project, env=environment, stdout=subprocess.DEVNULL,
            )  # fmt: skip


def epoch(source: Path) -> int:
    """Seconds since 1970 of the newest entry in the changelog: the time of all that is built."""
    told = subprocess.run(
        ["dpkg-parsechangelog", "-l", str(source / "debian/changelog"), "-S", "Timestamp"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return int(told.stdout)


def version_of(source: Path) -> str:
    """The version in `pyproject.toml`, which the changelog must name too."""
    version: str = tomllib.loads((source / "pyproject.toml").read_text())["project"]["version"]
    first = (source / "debian/changelog").read_text().splitlines()[0]
    if not first.startswith(f"archived ({version})"):
        raise SystemExit(f"packaging/debian/changelog begins with {first!r}, not {version}")
    return version


def renamed(source: Path, suffix: str) -> None:
    """Give the package a version of its own, for trials of upgrades."""
    changelog = source / "debian/changelog"
    text = changelog.read_text()
    changelog.write_text(re.sub(r"\(([^)]+)\)", rf"(\1{suffix})", text, count=1))


def build(folder: Path, *, commit: str, suffix: str, fast: bool) -> Path:
    """Build in `folder`; returns the package's file."""
    source = folder / "archived"
    export(source, commit)
    shutil.copytree(source / "packaging/debian", source / "debian")
    version_of(source)
    if suffix:
        renamed(source, suffix)
    (source / "wheels").mkdir()
    for wheel in wheels(source / "requirements/runtime.txt").glob("*.whl"):
        shutil.copy2(wheel, source / "wheels")
    own_wheels(source, source / "wheels")
    for old in folder.glob("archived_*"):
        old.unlink()
    packing = "-Zzstd -z1" if fast else "-Zxz"
    run(
        ["dpkg-buildpackage", "-us", "-uc", "-b", "-rfakeroot"],
        cwd=source, env={**os.environ, "ARCHIVED_DEB_PACKING": packing},
    )  # fmt: skip
    return next(folder.glob("archived_*.deb"))


def main() -> None:
    """Build, and put the result into dist/."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--commit", default="HEAD", help="what is built (HEAD)")
    parser.add_argument("--worktree", dest="commit", action="store_const", const="",
                        help="build the files as they lie here")  # fmt: skip
    parser.add_argument("--fast", action="store_true",
                        help="packed quickly and less tightly, for trials")  # fmt: skip
    parser.add_argument("--suffix", default="", metavar="TEXT",
                        help='added to the version, such as "+2", to try an upgrade')  # fmt: skip
    parser.add_argument("--into", type=Path, default=ROOT / "dist", metavar="FOLDER",
                        help="where the package goes (dist)")  # fmt: skip
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "deb", metavar="FOLDER",
                        help="where it is built (build/deb)")  # fmt: skip
    given = parser.parse_args()
    made = build(given.build.absolute(), commit=given.commit, suffix=given.suffix,
                 fast=given.fast)  # fmt: skip
    given.into.mkdir(parents=True, exist_ok=True)
    target = given.into / made.name
    shutil.copy2(made, target)
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    print(f"{target}  {target.stat().st_size:,} bytes\nsha256 {digest}")


if __name__ == "__main__":
    main()
