"""Pin every requirement with its hashes: `requirements/*.txt` from the projects' own pins.

One lock serves every supported Python: the versions are the same for all, and what only one of
them needs carries a marker. Only wheels are pinned, except what nobody offers as a wheel: building
one otherwise installs build tools that nobody pinned. Nothing is written that names a package
index. Run it when a pin changes, then run the tests.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements"
PYTHONS = ("3.11", "3.13")
"""Those of Debian 12 and 13."""
OTHERS = (
    "build",
    "dashboard",
    "judges",
    "ocfl",
    "sbom",
    "servers",
    "pip-debian12",
    "pip-debian13",
)
"""Environments of their own, each from `requirements/NAME.in`."""
SOURCE_ONLY = ("pairtree",)
"""What nobody offers as a wheel; built with the tools that build.txt pins."""
OLDEST = "3.11"
"""The oldest Python that a lock serves; newer ones are served by markers."""


def projects() -> list[Path]:
    """The core's project file and every bundled plug-in's."""
    return [ROOT / "pyproject.toml", *sorted((ROOT / "plugins").glob("*/pyproject.toml"))]


def runtime() -> list[str]:
    """What the core and the bundled plug-ins need to run, each other left out."""
    found = set()
    for path in projects():
        found |= set(tomllib.loads(path.read_text())["project"]["dependencies"])
    return sorted(need for need in found if not need.startswith("archived"))


def testing() -> list[str]:
    """What the public testing kit needs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return list(project["optional-dependencies"]["testing"])


def resolved(needs: list[str], python: str, wanted: Path, *more: str) -> dict[str, str]:
    """Distribution -> its lines of a lock, for one version of Python on Linux."""
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "compile",
        "--quiet",
        "--generate-hashes",
        "--no-header",
        "--no-annotate",
        "--no-emit-index-url",
        "--no-emit-find-links",
        "--no-progress",
        "--python-version",
        python,
        "--python-platform",
        "x86_64-manylinux_2_36",
        "--only-binary",
        ":all:",
        *(f"--no-binary={name}" for name in SOURCE_ONLY),
        "--build-constraints",
        str(REQUIREMENTS / "build.in"),
        *more,
        "-",
        "--output-file",
        str(wanted),
    ]
    subprocess.run(
        command, input="\n".join(needs), text=True, check=True, stdout=subprocess.DEVNULL
    )
    entries = re.split(r"^(?=[A-Za-z0-9])", wanted.read_text(), flags=re.MULTILINE)
    return {entry.partition("==")[0]: entry for entry in entries if "==" in entry}


def merged(locks: dict[str, dict[str, str]]) -> str:
    """One lock of several Pythons' locks; `SystemExit` where their versions differ."""
    lines = []
    for name in sorted(set().union(*locks.values())):
        having = [python for python, lock in locks.items() if name in lock]
        entries = {locks[python][name] for python in having}
        if len(entries) != 1:
            raise SystemExit(f"{name}: other versions for {having}: pin one that fits all")
        entry = entries.pop()
        if len(having) < len(locks):
            marker = " or ".join(f"python_version == '{python}'" for python in having)
            entry = entry.replace(" \\", f" ; {marker} \\", 1)
        lines.append(entry)
    return "".join(lines)


def compile_to(name: str, needs: list[str], *more: str) -> None:
    """Resolve `needs` for every Python and write `requirements/NAME.txt`."""
    target = REQUIREMENTS / f"{name}.txt"
    locks: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        # What is pinned today is preferred, unless --upgrade is given; so is the Python before.
        wanted = Path(folder) / "wanted.txt"
        if target.exists() and "--upgrade" not in more:
            shutil.copyfile(target, wanted)
        for python in PYTHONS:
            locks[python] = resolved(needs, python, wanted, *more)
            more = tuple(word for word in more if word != "--upgrade")
    target.write_text(merged(locks))
    print(f"{target.relative_to(ROOT)}: {len(set().union(*locks.values()))} distributions")


def main() -> None:
    """Write every lock file; `--upgrade` takes the newest versions the pins allow."""
    more = ["--upgrade"] if "--upgrade" in sys.argv[1:] else []
    compile_to("runtime", runtime(), *more)
    extra = (REQUIREMENTS / "dev.in").read_text().splitlines()
    constraint = ["--constraint", str(REQUIREMENTS / "runtime.txt")]
    compile_to("dev", runtime() + testing() + extra, *constraint, *more)
    for name in OTHERS:
        needs = (REQUIREMENTS / f"{name}.in").read_text().splitlines()
        compile_to(name, needs, *more)


if __name__ == "__main__":
    main()
