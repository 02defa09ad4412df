"""Write a folder of sample scans: `python -m archived.testing.samples FOLDER`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from archived.errors import ArchivedError
from archived.testing import samples


def main() -> int:
    """Parse the command line, write the files, name each on standard output."""
    parser = argparse.ArgumentParser(prog="python -m archived.testing.samples", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=12, help="how many documents (12)")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other papers (1)")
    parser.add_argument("--pages", type=int, help="pages per document (a mix)")
    parser.add_argument("--nasty", action="store_true", help="write bad input instead")
    options = parser.parse_args()
    try:
        if options.nasty:
            paths = list(samples.nasty(options.folder).values())
        else:
            made = samples.make(
                options.folder, seed=options.seed, count=options.count, pages=options.pages
            )
            paths = [sample.path for sample in made]
    except ArchivedError as error:
        sys.stderr.write(f"{error.message}\n{error.hint}\n")
        return error.exit_status
    for path in paths:
        sys.stdout.buffer.write(bytes(path) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
