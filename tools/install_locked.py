"""Install exactly what a lock file pins, with pip: the five environments, the package's tree.

A lock (`requirements/*.txt`, written by tools/lock.py) is complete, so nothing is resolved: pip
gets `--no-deps --require-hashes`, and `pip check` then proves that nothing is missing. A resolver
must not be asked: that of pip 23.0.1 (Debian 12) takes the newest release of a distribution that
another one names with an extra, although the lock pins it without the extra.

Needs Python 3.11 or newer and its `venv`, nothing else. An interrupted call leaves an environment
without its mark, and the next call makes it afresh.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

QUIET = ("--quiet", "--disable-pip-version-check")
LOCKED = ("--no-deps", "--require-hashes", "--no-build-isolation")
"""A source package is built with the tools of a lock that was installed before, or not at all."""
MARK = "locked.sum"
"""Written last into an environment; holds what it was made from."""
SECONDS = "30"
"""How long pip waits for a registry to go on with an answer, unless PIP_DEFAULT_TIMEOUT says."""
NOTHING = 8 * 1024 * 1024
"""Free bytes below which a failure is taken for a full disk's."""

CAUSES = (
    (
        r"No space left on device|Errno 28|Disk quota exceeded",
        "disk-full",
        "the disk that holds {folder} or the temporary folder is full: make room",
    ),
    (
        r"DO NOT MATCH THE HASHES|IncompleteRead|Connection broken|BadZipFile|has an invalid wheel"
        r"|not enough bytes were received"
        r"|not a valid zip|IncompleteDownload|Wheel .* is invalid",
        "file-differs",
        "the registry or a cache on the way gave a file that is cut off or is not the one that "
        "{lock} pins: try again later or from another network. Nothing of that file was used",
    ),
    (
        r"NewConnectionError|NameResolutionError|Temporary failure in name resolution"
        r"|Name or service not known|ConnectTimeout|ReadTimeout|timed out|Network is unreachable"
        r"|Connection refused|ConnectionResetError|ProxyError|SSLError|CERTIFICATE_VERIFY_FAILED"
        r"|RemoteDisconnected|50[0-9] (?:Server )?Error|from versions: none",
        "no-registry",
        "no package registry answered, or none that has this: connect this machine to a network, "
        "or name a mirror in pip's own configuration. On a closed network install the bundle "
        "(docs/install.md)",
    ),
    (
        r"No matching distribution found|Could not find a version",
        "not-offered",
        "the registry does not offer a file that {lock} pins for this machine's Python and "
        "processor: use Debian 12 or 13 on amd64, or a registry that has it",
    ),
    (
        r"Permission denied|Errno 13|Read-only file system|Errno 30",
        "not-writable",
        "{folder} cannot be written by this user: run as the user who owns the checkout",
    ),
)
"""What pip says, the code of it, and the sentence for the person."""


class NotInstalled(Exception):
    """What was asked for could not be installed; the text says why and what next."""

    def __init__(self, code: str, sentence: str, detail: str = "") -> None:
        super().__init__(f"{sentence} [{code}]")
        self.code, self.detail = code, detail


def explained(said: str, *, lock: str, folder: Path) -> NotInstalled:
    """The cause of pip's failure, from what it printed."""
    detail = "\n".join(f"  pip: {line}" for line in said.strip().splitlines()[-6:])
    for pattern, code, sentence in CAUSES:
        if re.search(pattern, said) or (code == "disk-full" and _is_full(folder)):
            return NotInstalled(code, sentence.format(lock=lock, folder=folder), detail)
    return NotInstalled("pip-failed", f"pip could not install {lock}", detail)


def _is_full(folder: Path) -> bool:
    """Whether hardly anything is free now: ensurepip, for one, does not tell why it failed."""
    there = next(each for each in (folder, *folder.parents) if each.exists())
    places = (there, Path(tempfile.gettempdir()))
    return any(shutil.disk_usage(place).free < NOTHING for place in places)


def _pip(python: Sequence[str | Path], *words: str | Path, lock: str, folder: Path) -> None:
    """Run pip; after a failure once more past its cache, which may hold a damaged file."""
    environment = {"PIP_DEFAULT_TIMEOUT": SECONDS, **os.environ, "PIP_NO_INPUT": "1"}
    for attempt in (1, 2):
        again = ["--no-cache-dir"] if attempt == 2 else []
        done = subprocess.run(
            [*map(str, python), "-m", "pip", *map(str, words), *again],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env=environment,
            check=False,
        )
        if done.returncode == 0:
            return
        failure = explained(done.stdout + done.stderr, lock=lock, folder=folder)
        if attempt == 2 or failure.code in {"disk-full", "not-writable"}:
            raise failure


def install(
    python: Sequence[str | Path], lock: Path, *, folder: Path, words: Sequence[str | Path] = ()
) -> None:
    """Install what `lock` pins with the pip of `python`; `words` are more words for pip."""
    _pip(python, "install", *QUIET, *LOCKED, *words, "-r", lock, lock=lock.name, folder=folder)


def download(python: Sequence[str | Path], lock: Path, into: Path, version: str) -> Path:
    """The wheels of a lock for Python `version` ("3.13") on amd64, once; returns their folder."""
    folder = into / f"wheels-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}-cp{version}"
    if not (folder / MARK).exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        platforms = [f"--platform=manylinux_2_{n}_x86_64" for n in range(36, 16, -1)]
        _pip(
            python,
            "download",
            *QUIET,
            *LOCKED,
            "--implementation",
            "cp",
            "--python-version",
            version,
            *platforms,
            "--platform=manylinux2014_x86_64",
            "-r",
            lock,
            "-d",
            folder,
            lock=lock.name,
            folder=folder,
        )
        (folder / MARK).touch()
    return folder


def check(pip: Sequence[str | Path], lock: str) -> None:
    """Every requirement of what `pip` sees installed is installed too, else `NotInstalled`."""
    done = subprocess.run(
        [*map(str, pip), "--disable-pip-version-check", "check"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        detail = "\n".join(f"  pip: {line}" for line in done.stdout.strip().splitlines()[:10])
        raise NotInstalled(
            "lock-incomplete",
            f"{lock} does not pin all that is needed (a fault of this project): run ./run lock",
            detail,
        )


def _origin(locks: Sequence[Path], projects: Sequence[Path]) -> str:
    """What an environment is made from: the locks, the projects' files, and the interpreter."""
    parts = [path.read_bytes() for path in (*locks, *(p / "pyproject.toml" for p in projects))]
    digest = hashlib.sha256(b"\0".join(parts)).hexdigest()
    return f"{digest} {Path(sys.executable).resolve()} {sys.version.split()[0]}\n"


def _cleared(folder: Path) -> None:
    """Remove an environment that is not what is wanted; anything else is left and named."""
    if not folder.exists() and not folder.is_symlink():
        return
    ours = not folder.is_symlink() and folder.is_dir()
    if not ours or not (
        (folder / "pyvenv.cfg").exists() or not any(folder.iterdir()) or (folder / "bin").is_dir()
    ):
        raise NotInstalled("not-an-environment", f"{folder} is no Python environment: move it away")
    said = _version_of(folder)
    mine = ".".join(map(str, sys.version_info[:2]))
    why = f"it is of Python {said}" if said and said != mine else "it is not up to date or whole"
    print(f"{folder} is made afresh: {why}", file=sys.stderr)
    shutil.rmtree(folder)


def _version_of(folder: Path) -> str:
    """ "3.11" of an environment, from its own note; empty when it has none."""
    try:
        text = (folder / "pyvenv.cfg").read_text(errors="replace")
    except OSError:
        return ""
    found = re.search(r"^version(?:_info)?\s*=\s*(\d+\.\d+)", text, re.MULTILINE)
    return found[1] if found else ""


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two calls for one environment: the second waits for the first."""
    place = folder.parent / ".cache" / f"{folder.name.lstrip('.')}.lock"
    place.parent.mkdir(exist_ok=True)
    with place.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def environment(folder: Path, locks: Sequence[Path], projects: Sequence[Path] = ()) -> None:
    """Make the environment at `folder` from `locks`, in their order, with `projects` editable.

    Does nothing when it is there and was made from the same. Raises `NotInstalled`.
    """
    try:
        with _alone(folder):
            wanted = _origin(locks, projects)
            mark = folder / MARK
            if mark.exists() and mark.read_text() == wanted:
                return
            _cleared(folder)
            _make(folder, locks, projects)
            mark.write_text(wanted)
    except OSError as error:
        raise explained(str(error), lock=locks[-1].name, folder=folder) from error


def _make(folder: Path, locks: Sequence[Path], projects: Sequence[Path]) -> None:
    print(f"making {folder} from {', '.join(map(str, locks))}", file=sys.stderr)
    made = subprocess.run(
        [str(Path(sys.executable).resolve()), "-m", "venv", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        raise explained(made.stdout + made.stderr, lock="venv", folder=folder)
    python = [folder / "bin" / "python"]
    for lock in locks:
        install(python, lock, folder=folder)
    if projects:
        editable = [word for project in projects for word in ("-e", str(project))]
        _pip(
            python,
            "install",
            *QUIET,
            "--no-deps",
            "--no-build-isolation",
            *editable,
            lock="the project itself",
            folder=folder,
        )
    check([*python, "-m", "pip"], locks[-1].name)


def main(argv: Sequence[str] | None = None) -> int:
    """Make one environment; a failure is a sentence and status 75."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("folder", type=Path, help="the environment")
    options.add_argument("lock", type=Path, nargs="+", help="lock files, in this order (*.txt)")
    options.add_argument(
        "--wheels",
        action="store_true",
        help="make no environment: only download the wheels into FOLDER, once",
    )
    options.add_argument(
        "--projects",
        type=Path,
        nargs="*",
        default=[],
        metavar="FOLDER",
        help="folders of projects that are installed editable",
    )
    given = options.parse_args(argv)
    try:
        if given.wheels:
            for lock in given.lock:
                download(
                    [sys.executable], lock, given.folder, ".".join(map(str, sys.version_info[:2]))
                )
        else:
            environment(given.folder, given.lock, given.projects)
    except NotInstalled as failure:
        if failure.detail:
            print(failure.detail, file=sys.stderr)
        print(
            f"{given.folder} could not be made: {failure}. Then run the same command again.",
            file=sys.stderr,
        )
        return 75
    except KeyboardInterrupt:
        print(f"\n{given.folder} is unfinished; the next call makes it afresh.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
