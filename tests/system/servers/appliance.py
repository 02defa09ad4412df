"""The real daemon with a hot folder per server, and the judge of what became of every file."""

from __future__ import annotations

import io
import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from PIL import Image

from archived.storage.artifacts import bytes_of
from archived.storage.ocfl.store import Store
from archived.storage.rows import Arrival, ArrivalState
from archived.storage.spool import Spool
from tests.system.bad_input.running import Ending, Running
from tests.system.servers.programs import until

QUIET = 0.3
DEADLINE = 2.5
PAUSE = 1.0
"""How long a slow client says nothing: longer than the settle time, shorter than the deadline."""
BEFORE = 978_307_200
"""An old file time: the first second of 2001."""
FOLDERS = (
    "smb",
    "vsftpd",
    "proftpd",
    "hidden",
    "sftp",
    "apache",
    "wsgidav",
    "rsync",
    "scanner",
    "local",
    "lost",
)
FORMATS = {".pdf": "PDF", ".tif": "TIFF", ".jpg": "JPEG", ".png": "PNG"}

CONFIG = """
[plugins]
enabled = ["stamp"]
[pipeline.light]
stages = ["stamp", "seal"]
"""
HOTFOLDER = """
[hotfolder.{name}]
path = "{path}"
pipeline = "light"
settle_time = "{quiet:.0f} ms"
arrival_deadline = "{deadline:.0f} ms"
"""


def scan_of(name: str, size: int = 400) -> bytes:
    """A real file of the format its name says, different every time; some `size`² bytes."""
    noise = Image.frombytes("L", (size, size), random.randbytes(size * size))
    made = io.BytesIO()
    noise.save(made, FORMATS[Path(name).suffix], quality=95)
    return made.getvalue()


class Appliance(Running):
    """One daemon for many tests; every test has a `box`: a folder of its own in a hot folder."""

    def __init__(self, root: Path, hot: Path, folders: Iterable[str] = FOLDERS) -> None:
        self.public = hot
        toml = CONFIG
        for name in folders:
            (hot / name).mkdir(exist_ok=True)
            toml += HOTFOLDER.format(
                name=name, path=hot / name, quiet=QUIET * 1000, deadline=DEADLINE * 1000
            )
        super().__init__(root, toml)
        self.custody = Spool(root / "state"), Store(root / "store")
        self._boxes: list[Box] = []

    def box(self, folder: str, name: str) -> Box:
        """A new folder to drop into, open to every user a server may write as."""
        made = Box(self, folder, f"{name}-{len(self._boxes)}")
        self._boxes.append(made)
        return made

    def judge_again(self) -> None:
        """What was true at the end of each test is true at the end of all."""
        for box in self._boxes:
            box.judge()
        self.assert_balanced()

    def endings(self, hotfolder: str) -> list[Ending]:
        """As `Running.endings`; the light pipeline makes no copies, so sealed is its end."""
        return [
            replace(e, ending="archived") if e.ending == "sealed" else e
            for e in super().endings(hotfolder)
        ]

    def original(self, document: str) -> bytes:
        """The bytes in custody."""
        path = bytes_of(*self.custody, self.catalog, document)
        assert path is not None, f"no original of {document}"
        return path.read_bytes()


class Box:
    """What is expected of the files of one test, and whether it came true."""

    def __init__(self, appliance: Appliance, folder: str, name: str) -> None:
        self.appliance, self.folder, self.name = appliance, folder, name
        self.path = appliance.public / folder / name
        self.path.mkdir()
        self.path.chmod(0o777)
        self._whole: Counter[bytes] = Counter()
        self._held: Counter[bytes] = Counter()
        self._expected = self._repeated = False

    def source(self, name: str, content: bytes, folder: Path) -> Path:
        """A file on the scanner's own disk, years old."""
        path = folder / name
        path.write_bytes(content)
        os.utime(path, (BEFORE, BEFORE))
        return path

    def endings(self) -> list[Ending]:
        """Of this box's files, oldest first."""
        mine = os.fsencode(self.name) + b"/"
        return [e for e in self.appliance.endings(self.folder) if e.path.startswith(mine)]

    def taken(self) -> list[Arrival]:
        """Those that intake has acted on."""
        mine = os.fsencode(self.name) + b"/"
        acted = [ArrivalState.ADMITTED, ArrivalState.HELD]
        arrivals = self.appliance.catalog.arrivals(states=acted, limit=10_000)
        return [a for a in arrivals if a.hotfolder == self.folder and a.path.startswith(mine)]

    def midway(self, size: int, seconds: float = 15) -> Path:
        """Wait until a file, whatever its name, has `size` bytes on the server's disk."""
        return until(lambda: self._reached(size), seconds, f"{size} bytes in {self.path}")

    def _reached(self, size: int) -> Path | None:
        for path in self.path.rglob("*"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            if path.is_file() and min(status.st_size, status.st_blocks * 512) >= size:
                return path
        return None

    def stays_untaken(self, seconds: float, already: int = 0) -> None:
        """For so long, nothing (more) is taken in from here."""
        self.stays(lambda: len(self.taken()) == already, seconds)

    @staticmethod
    def stays(condition: Callable[[], bool], seconds: float) -> None:
        """A condition holds for so long."""
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            assert condition(), "taken before it was whole"
            time.sleep(0.05)

    def expect(
        self, *archived: bytes, held: Iterable[bytes] = (), seconds: float = 20
    ) -> list[Ending]:
        """Wait for exactly these to be archived, and these to be held as incomplete."""
        self._whole, self._held, self._expected = Counter(archived), Counter(held), True
        wanted = self._whole.total() + self._held.total()

        def ended() -> list[Ending]:
            found = [e for e in self.endings() if e.ending != "ignored"]
            return (
                found if len(found) >= wanted and all(e.final and e.document for e in found) else []
            )

        if wanted:
            self.appliance.wait(ended, f"{wanted} files of {self.name} have ended", seconds)
        self.judge()
        return [e for e in self.endings() if e.ending != "ignored"]

    def judge(self) -> None:
        """Archived are the very bytes, once each; held is what stayed unfinished; nothing else."""
        if self._repeated:
            return
        assert self._expected, f"{self.name} never said what it expects"
        found = [e for e in self.endings() if e.ending != "ignored"]
        whole = Counter(
            self.appliance.original(e.document) for e in found if e.ending == "archived"
        )
        held = Counter(self.appliance.original(e.document) for e in found if e.ending == "held")
        sizes = [(e.path, e.ending, e.code, e.reason) for e in self.endings()]
        assert whole == self._whole, sizes
        assert held == self._held, sizes
        assert {e.code for e in found if e.ending == "held"} <= {"arrived-incomplete"}, sizes
        documents = [e.document for e in found]
        assert len(documents) == len(set(documents)), "one document for every file"
        assert self.appliance.catalog.balance()
        assert all(b.unaccounted == 0 for b in self.appliance.catalog.balance())

    def judge_repeated(self, content: bytes) -> None:
        """Several arrivals, one document with these bytes."""
        [document] = {a.document for a in self.taken()}
        row = self.appliance.wait(
            lambda: self.appliance.catalog.document(document).object_key, "it is sealed", 20
        )
        assert row
        assert self.appliance.original(document) == content
        self._repeated = True

    def judge_arrivals(self, number: int) -> None:
        """So many files were taken in, and what there is of them is archived."""
        found = [e for e in self.endings() if e.ending != "ignored"]
        assert [e.ending for e in found] == ["archived"] * number
        self._repeated = True

    def left(self) -> list[str]:
        """What still lies in the box."""
        return sorted(str(p.relative_to(self.path)) for p in self.path.rglob("*") if p.is_file())

    def clear(self) -> None:
        """Take the box away, as a clerk would tidy up."""
        shutil.rmtree(self.path)
