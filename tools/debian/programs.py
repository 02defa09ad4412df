"""Print the substitution variables for debian/control: the packages of the programs it may start.

Needs nothing but Python: debian/rules runs it. `programs:Depends` has what is required,
`programs:Suggests` what is optional; of packages that every Debian system has (Essential), none.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

LIST = Path(__file__).resolve().parent.parent.parent / "src/archived/engine/programs.toml"
FIELDS = {"Depends": "required", "Suggests": "optional"}


def packages(need: str) -> list[str]:
    """The packages of the programs with this `need`."""
    listed = tomllib.loads(LIST.read_text("utf-8"))["program"]
    return sorted({p["package"] for p in listed if p["need"] == need and p.get("package")})


def essential(package: str) -> bool:
    """Whether every Debian system has it; such a package must not be depended on by name."""
    told = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Essential}", package],
        capture_output=True,
        text=True,
        check=False,
    )
    return told.stdout == "yes"


def main() -> None:
    """One line for each field."""
    for field, need in FIELDS.items():
        named = ", ".join(p for p in packages(need) if not essential(p))
        sys.stdout.write(f"programs:{field}={named}\n")


if __name__ == "__main__":
    main()
