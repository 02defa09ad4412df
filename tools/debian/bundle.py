"""Make one archive that installs archived on a Debian 12 or 13 without a network.

In it: the package, every Debian package it needs down to the C library, and a script that installs
them. Beside it: its checksum, its signature, and the public key.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.debian import clean_root
from tools.debian.build import ROOT, run
from tools.debian.releases import RELEASES, Release, of_this_machine

EXTRA = ("ca-certificates", "fonts-croscore", "systemd", "tesseract-ocr-eng")
"""What is installed with it though it does not depend on it."""
KEY_VARIABLE = "ARCHIVED_BUNDLE_KEY"
PUBLIC = "archived-bundle-key.gpg"


def field(deb: Path, name: str) -> str:
    """One field of a package's control file."""
    command = ["dpkg-deb", "-f", str(deb), name]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def made_at(deb: Path) -> int:
    """Seconds since 1970 that all of a package is dated with: the first member of its archive's."""
    with deb.open("rb") as file:
        return int(file.read(36)[24:36])


_GATHER = """
set -eu
deb=$1; cache=$2; shift 2
mkdir -p "$cache/partial"
: >"$cache/status"
apt() {
    apt-get -o Dir::State::status="$cache/status" -o Dir::Cache::archives="$cache" \\
        -o Debug::NoLocking=1 -o APT::Sandbox::User=root -y --no-install-recommends "$@"
}
apt --print-uris install "$deb" "$@" >"$cache/wanted"
apt --download-only -qq install "$deb" "$@"
"""
"""Everything apt would fetch for a machine that has nothing at all; apt checks all hashes."""


def gather(deb: Path, release: Release, packages: list[str], into: Path) -> None:
    """Fetch what a package and `packages` need of Debian, here or in a root of their release."""
    cache = ROOT / ".cache" / "bundle" / release.suite
    cache.mkdir(parents=True, exist_ok=True)
    script = ["sh", "-c", _GATHER, "gather"]
    if of_this_machine() == release:
        run([*script, str(deb), str(cache), *packages])
    else:
        clean_root.need()
        binds = [
            clean_root.Bind(deb, f"/deb/{deb.name}"),
            clean_root.Bind(cache, "/cache", writable=True),
            *clean_root.fetching_binds(os.environ),
        ]
        with tempfile.TemporaryDirectory(prefix="archived-bundle-", dir="/var/tmp") as scratch:
            root = Path(scratch) / "root"
            clean_root.unpack(clean_root.root(release.suite, (), ROOT / ".cache/roots"), root)
            script[2] = "apt-get -qq update\n" + script[2]
            status = clean_root.run(
                root,
                [*script, f"/deb/{deb.name}", "/cache", *packages],
                binds=binds,
                env=clean_root.fetching(os.environ),
            )
            clean_root.remove(root)
        if status:
            raise SystemExit(f"apt could not fetch what {deb.name} needs in {release.suite}")
    told = (cache / "wanted").read_text()
    for name in re.findall(r"^'[^']+' (\S+\.deb) \d+", told, re.MULTILINE):
        if name != deb.name:
            shutil.copyfile(cache / name, into / name)
    shutil.copyfile(deb, into / deb.name)


def index(debs: Path) -> None:
    """The list by which apt takes a folder for a repository."""
    listed = subprocess.run(
        ["dpkg-scanpackages", "--multiversion", ".", "/dev/null"],
        cwd=debs,
        check=True,
        capture_output=True,
    ).stdout
    (debs / "Packages.gz").write_bytes(gzip.compress(listed, mtime=0))


def checksums(folder: Path) -> None:
    """SHA256SUMS of every file below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n"
        for path in files
    ]
    (folder / "SHA256SUMS").write_text("".join(lines))


def packed(folder: Path, target: Path, at: int) -> None:
    """A tar archive that tells nothing of when, where and by whom it was made."""

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = "root"
        member.mtime = at
        member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
        return member

    with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as archive:
        for path in [folder, *sorted(folder.rglob("*"))]:
            archive.add(path, path.relative_to(folder.parent), recursive=False, filter=plain)


@contextmanager
def keyring(key: str | None, *, throwaway: bool) -> Iterator[tuple[dict[str, str], str]]:
    """The environment for gpg, and the fingerprint of the key that signs."""
    if throwaway:
        with tempfile.TemporaryDirectory(prefix="archived-key-") as home:
            environment = {**os.environ, "GNUPGHOME": home}
            run(
                [
                    "gpg",
                    "--batch",
                    "--quiet",
                    "--passphrase",
                    "",
                    "--quick-generate-key",
                    "archived THROW-AWAY bundle key",
                    "ed25519",
                    "sign",
                    "30d",
                ],
                env=environment,
            )
            yield environment, fingerprint("THROW-AWAY", environment)
            run(["gpgconf", "--kill", "all"], env=environment)
    elif key:
        yield dict(os.environ), fingerprint(key, dict(os.environ))
    else:
        raise SystemExit(
            f"which key signs it? Give --key FINGERPRINT (or {KEY_VARIABLE}) of a secret key in "
            "your GnuPG keyring, or --throwaway-key to try it out"
        )


def fingerprint(key: str, environment: dict[str, str]) -> str:
    """The whole fingerprint of one secret key."""
    told = subprocess.run(
        ["gpg", "--batch", "--with-colons", "--list-secret-keys", key],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
    ).stdout
    found = re.findall(r"^sec:.*\n(?:.*\n)*?fpr:+([0-9A-F]{40}):", told, re.MULTILINE)
    if len(found) != 1:
        raise SystemExit(f"{key!r} names {len(found)} secret keys in the keyring; name one")
    return str(found[0])


def sign(archive: Path, key: str, environment: dict[str, str]) -> None:
    """A signature beside the archive, and the public key that proves it."""
    for path in (archive.with_name(f"{archive.name}.gpg"), archive.with_name(PUBLIC)):
        path.unlink(missing_ok=True)
    gpg = ["gpg", "--batch", "--quiet", "--local-user", f"{key}!", "--output"]
    run([*gpg, f"{archive}.gpg", "--detach-sign", str(archive)], env=environment)
    run([*gpg, str(archive.with_name(PUBLIC)), "--export", key], env=environment)
    run(
        [
            "gpgv",
            "--quiet",
            "--keyring",
            str(archive.with_name(PUBLIC)),
            f"{archive}.gpg",
            str(archive),
        ],
        env=environment,
    )


def make(deb: Path, release: Release, packages: list[str], key: str, into: Path) -> Path:
    """The archive, unsigned; its README names the key."""
    version = field(deb, "Version")
    name = f"archived-bundle_{version}_{field(deb, 'Architecture')}"
    folder = ROOT / "build" / "bundle" / name
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "debs").mkdir(parents=True)
    gather(deb, release, packages, folder / "debs")
    index(folder / "debs")
    marks = {"@VERSION@": version, "@NAME@": name, "@FINGERPRINT@": key, "@NUMBER@": release.number}
    for file in ("README.txt", "install.sh"):
        text = (ROOT / "packaging/bundle" / file).read_text()
        for mark, word in marks.items():
            text = text.replace(mark, word)
        (folder / file).write_text(text)
    (folder / "install.sh").chmod(0o755)
    (folder / "packages.txt").write_text("".join(f"{package}\n" for package in EXTRA))
    checksums(folder)
    into.mkdir(parents=True, exist_ok=True)
    packed(folder, into / f"{name}.tar", made_at(deb))
    return into / f"{name}.tar"


def packaged(release: Release) -> Path:
    """The newest package for a release in dist/, which is built when there is none."""
    wanted = f"archived_*+deb{release.number}*.deb"
    if not any((ROOT / "dist").glob(wanted)):
        run([sys.executable, "-m", "tools.debian.build", "--release", release.suite], cwd=ROOT)
    return max((ROOT / "dist").glob(wanted), key=lambda path: path.stat().st_mtime)


def main() -> None:
    """Make, sum and sign it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--deb", type=Path, help="the package (else the one in dist/)")
    parser.add_argument(
        "--with",
        dest="more",
        action="append",
        default=[],
        metavar="PACKAGE",
        help="put this Debian package in as well, such as samba",
    )
    parser.add_argument(
        "--key",
        default=os.environ.get(KEY_VARIABLE),
        metavar="FINGERPRINT",
        help=f"GnuPG key that signs (or {KEY_VARIABLE})",
    )
    parser.add_argument("--throwaway-key", action="store_true", help="a key made for this bundle")
    parser.add_argument("--into", type=Path, default=ROOT / "dist", metavar="FOLDER")
    here = of_this_machine()
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
    deb = given.deb or packaged(release)
    with keyring(given.key, throwaway=given.throwaway_key) as (environment, key):
        made = make(deb.absolute(), release, [*EXTRA, *given.more], key, given.into.absolute())
        sign(made, key, environment)
    digest = hashlib.sha256(made.read_bytes()).hexdigest()
    made.with_name(f"{made.name}.sha256").write_text(f"{digest}  {made.name}\n")
    print(f"{made}  {made.stat().st_size:,} bytes\nsha256 {digest}\nsigned by {key}")


if __name__ == "__main__":
    main()
