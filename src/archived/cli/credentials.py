"""Whether the running service has the secrets that lie on the disk now.

systemd copies credentials once, when the service starts: a file that is put in another's place
later is read by nobody until a restart. The unit says which file is behind which credential; only
who may look at that file, as a rule root, can tell.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archived.message import Message

UNIT = "archived.service"
FOLDERS = (
    Path("/etc/systemd/system"),
    Path("/run/systemd/system"),
    Path("/usr/local/lib/systemd/system"),
    Path("/usr/lib/systemd/system"),
    Path("/lib/systemd/system"),
)
"""Where units are looked for, see systemd.unit(5); what stands in the first hides the others."""
GIVEN = Path("/run/credentials")
"""Where systemd puts the credentials of each service, in a folder of its name."""
_LINE = re.compile(r"^LoadCredential(?P<encrypted>Encrypted)?\s*=\s*(?P<value>.*?)\s*$", re.M)


@dataclass(frozen=True, slots=True)
class Source:
    """What the unit says of one credential."""

    name: str
    path: Path
    encrypted: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """One credential whose file was looked at. `verdict`: "yes" when the service has what the file
    holds, "no" when a restart is needed, "not established" when this person may not look.
    """

    name: str
    path: str
    verdict: str
    why: str = ""


def sources(folders: Sequence[Path] = FOLDERS, unit: str = UNIT) -> list[Source]:
    """The files behind the service's credentials, by its unit and drop-ins."""
    found: dict[str, Source] = {}
    for file in _files(folders, unit):
        try:
            text = re.sub(r"\\\n", " ", file.read_text("utf-8", "replace"))
        except OSError:
            continue
        for line in _LINE.finditer(text):
            name, _, path = line["value"].partition(":")
            if not line["value"]:
                found.clear()  # an empty value takes back what stood before it
            elif path.startswith("/"):
                found[name] = Source(name, Path(path), bool(line["encrypted"]))
    return list(found.values())


def _files(folders: Sequence[Path], unit: str) -> Iterator[Path]:
    """The unit's file, then its drop-ins in the order of their names."""
    yield from [file for folder in folders if (file := folder / unit).is_file()][:1]
    drop_ins: dict[str, Path] = {}
    for folder in folders:
        for file in folder.glob(f"{unit}.d/*.conf"):
            drop_ins.setdefault(file.name, file)
    yield from (drop_ins[name] for name in sorted(drop_ins))


def compare(
    live: Mapping[str, Any], known: Iterable[Source], within: Path = GIVEN
) -> list[Finding]:
    """What is on the disk beside what the running service has; `live` is its own answer.

    Root asks as a rule, and the service is not root: nothing is read but what systemd put `within`.
    """
    given: Mapping[str, Any] | None = live.get("credentials")
    if not given:
        return []
    folder = Path(given["folder"])
    if folder.parent != within or not folder.name.endswith(".service"):
        return []
    return [
        _compared(folder, given["since"], source)
        for source in known
        if source.name in given["names"]
    ]


def _compared(folder: Path, since: float, source: Source) -> Finding:
    def found(verdict: str, why: str = "") -> Finding:
        return Finding(source.name, str(source.path), verdict, why)

    try:
        status = source.path.stat()
        changed = max(status.st_mtime, status.st_ctime)
        if changed <= since:
            return found("yes")
        if source.encrypted:
            return found("no", Message("the file was changed after the service started"))
        same = source.path.read_bytes() == (folder / source.name).read_bytes()
    except FileNotFoundError as error:
        return found("no", Message("{filename} is not there", filename=error.filename))
    except OSError as error:
        return found(
            "not established",
            Message(
                "{filename}: {why}", filename=error.filename, why=os.strerror(error.errno or 0)
            ),
        )
    return found("yes") if same else found("no", Message("the file holds something else by now"))
