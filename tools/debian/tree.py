"""Lay out the package's Python environment from wheels: nothing in it tells where it was built.

Run by debian/rules with Debian's own Python; needs nothing but `venv`. Writes beside it a bill of
materials (CycloneDX 1.6, by cyclonedx-bom) and, from that, the list of licences.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from tools import install_locked
from tools.debian import libraries as deb_libraries

VERSION = ".".join(map(str, sys.version_info[:2]))
PYTHON = f"/usr/bin/python{VERSION}"
"""The interpreter the package depends on; the build uses no other."""
HOME = "/usr/lib/archived"
"""Where the environment lies on the machine it is installed on."""
LAUNCHERS = {"archived": "archived.cli.archived", "archivectl": "archived.cli.archivectl"}
LOCAL = "/usr/local/lib/archived/plugins"
"""Where the administrator's own plug-ins lie; `archived.cli.plugins` puts them there."""


def pip_install(pip: Path, wheels: Path, locks: Path, target: Path) -> None:
    """Install the pinned wheels, their hashes checked once more, and our own beside them."""
    words: list[str | Path] = [
        "--no-index",
        "--no-compile",
        "--no-warn-script-location",
        "--find-links",
        wheels,
        "--target",
        target,
    ]
    install_locked.install([pip], locks / "runtime.txt", folder=target, words=words)
    own = sorted(
        {
            re.match(r"archived[a-z_]*", w.name)[0].replace("_", "-")  # type: ignore[index]
            for w in wheels.glob("archived*.whl")
        }
    )
    subprocess.run(
        [pip, "-m", "pip", "install", *install_locked.QUIET, "--no-deps", *map(str, words), *own],
        check=True,
    )


def tidied(packages: Path) -> None:
    """Take out scripts, data of other folders, and what pip noted about this build."""
    for name in ("bin", "share", "etc", "include"):
        shutil.rmtree(packages / name, ignore_errors=True)
    for noted in [
        *packages.glob("*.dist-info/direct_url.json"),
        *packages.glob("*.dist-info/REQUESTED"),
    ]:
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
        [
            PYTHON,
            "-m",
            "compileall",
            "-q",
            "-j",
            "1",
            "--invalidation-mode",
            "unchecked-hash",
            "-s",
            str(lib),
            "-p",
            HOME,
            str(lib),
        ],
        check=False,  # some distributions ship templates of Python files that do not compile
    )


def bill_of_materials(lib: Path, source: Path, into: Path) -> None:
    """Write what the environment holds as CycloneDX JSON, and compare it with what lies there."""
    scratch = source / "sbom-environment"
    subprocess.run([PYTHON, "-m", "venv", str(scratch)], check=True)
    install_locked.install(
        [scratch / "bin/python"],
        source / "requirements/sbom.txt",
        folder=scratch,
        words=["--no-index", "--find-links", source / "sbom-wheels"],
    )
    subprocess.run(
        [
            str(scratch / "bin/cyclonedx-py"),
            "environment",
            "--sv",
            "1.6",
            "--output-reproducible",
            "--pyproject",
            str(source / "pyproject.toml"),
            "-o",
            str(into),
            str(lib / "bin/python3"),
        ],
        check=True,
    )
    shutil.rmtree(scratch)
    completed(into, packages_of(lib))
    told = {(part["name"], part["version"]) for part in components(into)}
    here = {(each.name, each.version) for each in distributions(path=[str(packages_of(lib))])}
    if told != here:
        raise SystemExit(f"the bill of materials differs from what is there: {told ^ here}")


def completed(materials: Path, packages: Path) -> None:
    """Add what cyclonedx-bom leaves out: licences stated in free text, libraries inside wheels.

    The libraries come from the wheels' own bills (PEP 770) and become parts of the component, but
    for those that were replaced.
    """
    told = json.loads(materials.read_text("utf-8"))
    installed = {each.name: each for each in distributions(path=[str(packages)])}
    for part in [told["metadata"]["component"], *told["components"]]:
        stated = str(installed[part["name"]].metadata.json.get("license", "")).strip()
        if not part.get("licenses") and stated:
            part["licenses"] = [{"license": {"name": stated.splitlines()[0]}}]
        notes = packages.glob(f"{re.sub('[-.]+', '_', part['name'])}-*.dist-info/sboms/*.json")
        bills = [json.loads(note.read_text("utf-8")) for note in sorted(notes)]
        inside = [
            each
            for bill in bills
            for each in bill.get("components", [])
            if each["name"] not in deb_libraries.in_bills()
        ]
        for each in inside:  # their references mean nothing here, and may not be unique
            each.pop("bom-ref", None)
        if inside:
            part["components"] = inside
    materials.write_text(json.dumps(told, indent=2, sort_keys=True, ensure_ascii=False), "utf-8")


def components(materials: Path) -> list[dict[str, Any]]:
    """Every distribution that a bill of materials names, ours included."""
    told = json.loads(materials.read_text("utf-8"))
    found = {part["name"]: part for part in [told["metadata"]["component"], *told["components"]]}
    return [found[name] for name in sorted(found, key=str.lower)]


def licences(materials: Path) -> str:
    """One line for each distribution: name, version, licence as its author states it.

    `SystemExit` for a licence that may not be in the process, and for none.
    """
    lines = []
    for part in components(materials):
        stated = [
            each.get("expression") or each["license"].get("id") or each["license"]["name"]
            for each in part.get("licenses", [])
        ]
        # A classifier says again, and less exactly, what an identifier has said.
        exact = [each for each in stated if " :: " not in each] or stated
        named = ", ".join(each.rpartition(" :: ")[2] for each in exact)
        if not named or re.search(r"(?<!L)GPL", named):
            raise SystemExit(f"{part['name']}: its licence may not be bundled: {named or 'none'}")
        lines.append(f"{part['name']} {part['version']}: {named}\n")
    return "".join(lines)


def packages_of(lib: Path) -> Path:
    """Where the distributions lie."""
    return lib / f"lib/python{VERSION}/site-packages"


def main() -> None:
    """`deb_tree.py LIB DOC`: lay out the environment below LIB, the lists below DOC."""
    lib, doc = (Path(word).absolute() for word in sys.argv[1:])
    source = Path(__file__).resolve().parent.parent.parent
    packages = packages_of(lib)
    pip = source / "pip-environment"
    subprocess.run([PYTHON, "-m", "venv", str(pip)], check=True)
    pip_install(pip / "bin/python", source / "wheels", source / "requirements", packages)
    deb_libraries.replace(packages)
    tidied(packages)
    environment(lib)
    install_locked.check(
        [pip / "bin/python", "-m", "pip", "--python", lib / "bin/python3"], "runtime.txt"
    )
    shutil.rmtree(pip)
    doc.mkdir(parents=True, exist_ok=True)
    bill_of_materials(lib, source, doc / "archived.cdx.json")
    listed = [
        licences(doc / "archived.cdx.json"),
        "\nLibraries inside them:\n",
        *deb_libraries.licences(packages),
    ]
    (doc / "bundled.txt").write_text("".join(listed), "utf-8")
    (packages / "archived-local.pth").write_text(
        f'import site; site.addsitedir("{LOCAL}")\n', "utf-8"
    )
    compiled(lib)
    at = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    for path in [*lib.rglob("*"), *doc.iterdir()]:
        os.utime(path, (at, at), follow_symlinks=False)


if __name__ == "__main__":
    main()
