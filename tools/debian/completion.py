"""Write the shells' completion files into the package, asking the programs that it holds.

Run by debian/rules.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tools.debian.tree import PYTHON, packages_of

PLACES = {
    "bash": "bash-completion/completions/{0}",
    "zsh": "zsh/vendor-completions/_{0}",
    "fish": "fish/vendor_completions.d/{0}.fish",
}
_ASK = """
import importlib, sys
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
from archived.cli.completion import script
cli = importlib.import_module("archived.cli." + sys.argv[2]).cli
print(script(cli, sys.argv[2], sys.argv[3]))
"""


def main() -> None:
    """`deb_shell.py LIB SHARE`."""
    lib, share = (Path(word) for word in sys.argv[1:])
    packages = packages_of(lib)
    for program in ("archived", "archivectl"):
        for shell, place in PLACES.items():
            asked = subprocess.run(
                [PYTHON, "-I", "-c", _ASK, str(packages), program, shell],
                check=True,
                capture_output=True,
                text=True,
            )
            file = share / place.format(program)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(asked.stdout)


if __name__ == "__main__":
    main()
