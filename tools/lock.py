"""Pin every requirement with its hashes: `requirements/*.txt` from the projects' own pins.

Nothing is written that names a package index. Run it when a pin changes, then run the tests.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements"


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


def compile_to(name: str, needs: list[str], *more: str) -> None:
    """Resolve `needs` and write `requirements/NAME.txt`."""
    target = REQUIREMENTS / f"{name}.txt"
    command = [
        sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--generate-hashes", "--no-header",
        "--no-annotate", "--no-emit-index-url", "--no-emit-find-links", "--python", sys.executable,
        *more, "-", "--output-file", str(target),
    ]  # fmt: skip
    subprocess.run(command, input="\n".join(needs), text=True, check=True)
    print(f"{target.relative_to(ROOT)}: {len(target.read_text().splitlines())} lines")


def main() -> None:
    """Write every lock file; `--upgrade` takes the newest versions the pins allow."""
    more = ["--upgrade"] if "--upgrade" in sys.argv[1:] else []
    compile_to("runtime", runtime(), *more)
    extra = (REQUIREMENTS / "dev.in").read_text().splitlines()
    constraint = ["--constraint", str(REQUIREMENTS / "runtime.txt")]
    compile_to("dev", runtime() + testing() + extra, *constraint, *more)
    for name in ("ocfl", "servers", "dashboard"):  # environments of their own
        needs = (REQUIREMENTS / f"{name}.in").read_text().splitlines()
        compile_to(name, needs, *more)


if __name__ == "__main__":
    main()
