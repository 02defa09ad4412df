"""Build the Debian package out of tree: `dist/archived_VERSION+debN_amd64.deb`.

One source gives a package for each Debian release: the release's own Python is compiled for and
depended on, so its number is part of the version. The package of another release than this
machine's is built in a clean root of that release. Everything that is downloaded is pinned with
its hash. Two builds of one commit give the same file. Beside it lies its bill of materials.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from tools import install_locked
from tools.debian import clean_root, releases
from tools.debian.releases import RELEASES, Release

ROOT = Path(__file__).resolve().parent.parent.parent
LOCKS = {"wheels": "runtime.txt", "sbom-wheels": "sbom.txt"}
"""Folder in the source tree -> the lock whose wheels lie there; debian/rules needs no network."""
TOOLS = ("debhelper", "dpkg-dev", "fakeroot", "gcc", "libc6-dev", "python3-venv")
"""Debian packages that a clean root needs to build ours."""
CANNOT = 77
"""Exit status when this machine cannot hold a clean root."""
SBOM = "usr/share/doc/archived/archived.cdx.json"


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
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).exists():
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, into / name, follow_symlinks=False)


def own_wheels(source: Path, into: Path) -> None:
    """The wheels of archived and its bundled plug-ins."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch(source))}
    for project in (source, *sorted((source / "plugins").iterdir())):
        if (project / "pyproject.toml").exists():
            run(
                [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(into)],
                cwd=project,
                env=environment,
                stdout=subprocess.DEVNULL,
            )


def pages(source: Path, into: Path) -> None:
    """The documentation as pages, without what only another build of them needs."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html"]
        run(
            [*command, "-c", "docs", "-d", scratch, ".", str(into)],
            cwd=source,
            env={**os.environ, "PYTHONPATH": str(source / "src"), "PYTHONHASHSEED": "0"},
        )
    (into / ".buildinfo").unlink(missing_ok=True)


def epoch(source: Path) -> int:
    """Seconds since 1970 of the newest entry in the changelog: the time of all that is built."""
    told = subprocess.run(
        ["dpkg-parsechangelog", "-l", str(source / "debian/changelog"), "-S", "Timestamp"],
        check=True,
        capture_output=True,
        text=True,
    )
    return int(told.stdout)


def version_of(source: Path) -> str:
    """The version in `pyproject.toml`, which the changelog must name too."""
    version: str = tomllib.loads((source / "pyproject.toml").read_text())["project"]["version"]
    first = (source / "debian/changelog").read_text().splitlines()[0]
    if not first.startswith(f"archived ({version})"):
        raise SystemExit(f"packaging/debian/changelog begins with {first!r}, not {version}")
    return version


def renamed(source: Path, release: Release, suffix: str) -> None:
    """Name the release in the package's version, and a `suffix` for trials of upgrades."""
    changelog = source / "debian/changelog"
    text = changelog.read_text()
    version = rf"(\1+deb{release.number}{suffix}) {release.suite};"
    changelog.write_text(re.sub(r"\(([^)]+)\) \w+;", version, text, count=1))


def build(folder: Path, release: Release, *, commit: str, suffix: str, fast: bool) -> Path:
    """Build in `folder`; returns the package's file. Raises `install_locked.NotInstalled`."""
    source = folder / "archived"
    export(source, commit)
    shutil.copytree(source / "packaging/debian", source / "debian")
    version_of(source)
    renamed(source, release, suffix)
    for name, lock in LOCKS.items():
        downloaded = install_locked.download(
            [sys.executable], source / "requirements" / lock, ROOT / ".cache/deb", release.python
        )
        shutil.copytree(downloaded, source / name, ignore=shutil.ignore_patterns("locked.sum"))
    own_wheels(source, source / "wheels")
    pages(source, source / "html")
    for old in folder.glob("archived_*"):
        old.unlink()
    assembled(source, release, "-Zzstd -z1" if fast else "-Zxz")
    return next(folder.glob("archived_*.deb"))


def assembled(source: Path, release: Release, packing: str) -> None:
    """Run dpkg-buildpackage: here, or in a clean root of a release that this machine does not run.

    Raises `clean_root.NotHere` when such a root cannot be made or entered.
    """
    # -d: Build-Depends imply a C++ compiler; what is used is in TOOLS.
    command = ["dpkg-buildpackage", "-us", "-uc", "-b", "-d", "-rfakeroot"]
    environment = {"ARCHIVED_DEB_PACKING": packing}
    if releases.of_this_machine() == release:
        run(command, cwd=source, env={**os.environ, **environment})
        return
    clean_root.need()
    tar = clean_root.root(release.suite, TOOLS, ROOT / ".cache/roots")
    with tempfile.TemporaryDirectory(prefix="archived-deb-", dir="/var/tmp") as scratch:
        root = Path(scratch) / "root"
        clean_root.unpack(tar, root)
        try:
            status = clean_root.run(
                root,
                command,
                env=environment,
                folder="/build/archived",
                binds=[clean_root.Bind(source.parent, "/build", writable=True)],
            )
        finally:
            clean_root.remove(root)
    if status:
        raise SystemExit(f"dpkg-buildpackage ended with {status} in a root of {release.suite}")


def built_again(folder: Path, release: Release, *, commit: str, suffix: str, fast: bool) -> Path:
    """A second build that must be the same: another folder, time zone, umask and process number."""
    before = os.umask(0o027)
    os.environ["TZ"] = "Asia/Ho_Chi_Minh"
    try:
        return build(folder, release, commit=commit, suffix=suffix, fast=fast)
    finally:
        os.umask(before)
        del os.environ["TZ"]


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> None:
    """Build, and put the result into dist/."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--commit", default="HEAD", help="what is built (HEAD)")
    parser.add_argument(
        "--worktree",
        dest="commit",
        action="store_const",
        const="",
        help="build the files as they lie here",
    )
    parser.add_argument(
        "--fast", action="store_true", help="packed quickly and less tightly, for trials"
    )
    parser.add_argument(
        "--suffix",
        default="",
        metavar="TEXT",
        help='added to the version, such as "+2", to try an upgrade',
    )
    parser.add_argument(
        "--into",
        type=Path,
        default=ROOT / "dist",
        metavar="FOLDER",
        help="where the package goes (dist)",
    )
    parser.add_argument(
        "--build",
        type=Path,
        default=ROOT / "build" / "deb",
        metavar="FOLDER",
        help="where it is built (build/deb)",
    )
    parser.add_argument(
        "--twice",
        action="store_true",
        help="build it again elsewhere; fail unless both are one file",
    )
    here = releases.of_this_machine()
    parser.add_argument(
        "--release",
        choices=RELEASES,
        default=here and here.suite,
        help="Debian release it is for (this machine's)",
    )
    given = parser.parse_args()
    if not given.release:
        raise SystemExit(f"this machine runs no known release: give --release {'|'.join(RELEASES)}")
    release = RELEASES[given.release]
    how = {"commit": given.commit, "suffix": given.suffix, "fast": given.fast}
    try:
        made = build(given.build.absolute() / release.suite, release, **how)
        if given.twice:
            again = built_again(given.build.absolute() / "again" / release.suite, release, **how)
            if sha256(again) != sha256(made):
                raise SystemExit(f"two builds of one commit differ: compare {made} and {again}")
            print(f"built twice, the same file: {sha256(made)}")
    except install_locked.NotInstalled as failure:
        raise SystemExit(f"{failure.detail}\nthe package was not built: {failure}") from None
    except clean_root.NotHere as why:
        print(f"a package for {release.suite} cannot be built on this machine: {why}")
        sys.exit(CANNOT)
    given.into.mkdir(parents=True, exist_ok=True)
    target = given.into / made.name
    shutil.copy2(made, target)
    materials = target.with_suffix(".cdx.json")
    shutil.copyfile(made.parent / "archived/debian/archived" / SBOM, materials)
    print(f"{target}  {target.stat().st_size:,} bytes\nsha256 {sha256(target)}\n{materials}")


if __name__ == "__main__":
    main()
