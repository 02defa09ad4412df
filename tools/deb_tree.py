"""Lay out the package's Python environment from wheels: nothing in it tells where it was built.

Run by debian/rules with Debian's own Python; needs nothing but `venv`.
"""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
import subprocess
import sys
from email.parser import HeaderParser
from pathlib import Path

PYTHON = "/usr/bin/python3.11"
HOME = "/usr/lib/archived"
"""Where the environment lies on the machine it is installed on."""
LAUNCHERS = {"archived": "archived.cli.archived", "archivectl": "archived.cli.archivectl"}
LOCAL = "/usr/local/lib/archived/plugins"
"""Where the administrator's own plug-ins lie; `archived.cli.extending` puts them there."""


def pip_install(wheels: Path, requirements: Path, target: Path) -> None:
    """Install the pinned wheels, their hashes checked once more, and our own beside them."""
    environment = target.parent / "pip"
    subprocess.run([PYTHON, "-m", "venv", str(environment)], check=True)
    pip = [
        str(environment / "bin/python"), "-m", "pip", "install", "--quiet", "--no-index",
        "--no-deps", "--no-compile", "--no-warn-script-location", "--disable-pip-version-check",
        "--find-links", str(wheels), "--target", str(target),
    ]  # fmt: skip
    subprocess.run([*pip, "--require-hashes", "-r", str(requirements)], check=True)
    own = sorted({re.match(r"archived[a-z_]*", w.name)[0].replace("_", "-")  # type: ignore[index]
                  for w in wheels.glob("archived*.whl")})  # fmt: skip
    subprocess.run([*pip, *own], check=True)
    shutil.rmtree(environment)


def tidied(packages: Path) -> None:
    """Take out scripts, data of other folders, and what pip noted about this build."""
    for name in ("bin", "share", "etc", "include"):
        shutil.rmtree(packages / name, ignore_errors=True)
    for noted in [*packages.glob("*.dist-info/direct_url.json"),
                  *packages.glob("*.dist-info/REQUESTED")]:  # fmt: skip
        noted.unlink()
    for record in packages.glob("*.dist-info/RECORD"):
        rows = [row for row in csv.reader(io.StringIO(record.read_text())) if row]
        kept = [r for r in rows if not r[0].startswith("..") and (packages / r[0]).exists()]
        kept.sort()
        with record.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(kept)
    for path in packages.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(0o644)


def environment(lib: Path) -> None:
    """The interpreter's link, what makes it an environment, and the two programs."""
    (lib / "bin").mkdir(parents=True)
    (lib / "bin/python3").symlink_to(PYTHON)
    (lib / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    for name, module in LAUNCHERS.items():
        script = lib / "bin" / name
        # -I: nothing from the caller's environment or folder is imported.
        script.write_text(f"#!{HOME}/bin/python3 -I\nfrom {module} import main\n\nmain()\n")
        script.chmod(0o755)


def compiled(lib: Path) -> None:
    """Byte code that is taken as it is: none can be written later, and times do not matter."""
    subprocess.run(
        [PYTHON, "-m", "compileall", "-q", "-j", "1", "--invalidation-mode", "unchecked-hash",
         "-s", str(lib), "-p", HOME, str(lib)],
        check=False,  # some distributions ship templates of Python files that do not compile
    )  # fmt: skip


def bundled(packages: Path) -> str:
    """One line for each distribution: name, version, licence."""
    lines = []
    for metadata in packages.glob("*.dist-info/METADATA"):
        said = HeaderParser().parsestr(metadata.read_text("utf-8"))
        classifiers = [c.rpartition(" :: ")[2] for c in said.get_all("Classifier", [])
                       if c.startswith("License ::")]  # fmt: skip
        short = (said.get("License") or "").strip().splitlines()
        licence = said.get("License-Expression") or ", ".join(classifiers) or (short or ["?"])[0]
        lines.append(f"{said['Name']} {said['Version']}: {licence}\n")
    return "".join(sorted(lines, key=str.lower))


def main() -> None:
    """`deb_tree.py WHEELS REQUIREMENTS LIB LIST`."""
    wheels, requirements, lib, listed = (Path(word).absolute() for word in sys.argv[1:])
    packages = lib / "lib/python3.11/site-packages"
    pip_install(wheels, requirements, packages)
    tidied(packages)
    (packages / "archived-local.pth").write_text(
        f'import site; site.addsitedir("{LOCAL}")\n', "utf-8"
    )
    environment(lib)
    compiled(lib)
    listed.parent.mkdir(parents=True, exist_ok=True)
    listed.write_text(bundled(packages), "utf-8")
    at = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    for path in [*lib.rglob("*"), listed]:
        os.utime(path, (at, at), follow_symlinks=False)


if __name__ == "__main__":
    main()
