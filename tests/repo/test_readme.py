"""A stranger who follows README.md to the letter succeeds: its blocks are taken out and followed.

Four things differ from what a stranger does: `/tmp/trial` is another folder, the environment is
one on top of this one, the daemon gets a port of its own (another one may be running here), and a
file settles at once, to save time.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import venv
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from archived.testing.ports import free_port

if TYPE_CHECKING:
    from tests.repo.conftest import Checkout

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_PLACE = "/tmp/trial"
PROGRAMS = Path(sys.executable).parent


class Trial:
    """A stranger's folder, and the environment their commands run in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        programs = folder / "venv" / "bin"
        venv.create(folder / "venv", symlinks=True)
        self.packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder / "venv")}))
        # What is installed here is seen there; what is installed there stays there.
        below = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
        (self.packages / "below.pth").write_text(below)
        for name in ("archived", "archivectl", "pytest"):
            script = (PROGRAMS / name).read_text().partition("\n")[2]
            (programs / name).write_text(f"#!{programs}/python\n{script}")
            (programs / name).chmod(0o755)
        self.environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}

    def here(self, text: str) -> str:
        return text.replace(_PLACE, str(self.folder))

    def write(self, body: str) -> Path:
        """Put a block whose first line names its file where it says."""
        path = Path(self.here(body.partition("\n")[0].removeprefix("# ")))
        path.parent.mkdir(parents=True, exist_ok=True)
        text = self.here(body)
        if path.name == "archived.toml":
            text += (
                f'\n[web]\nlisten = "127.0.0.1:{free_port()}"\n[intake]\nsettle_time = "200 ms"\n'
            )
        path.write_text(text)
        return path

    def run(self, line: str) -> str:
        """Run one command line of a block; its output."""
        ran = subprocess.run(
            shlex.split(self.here(line)),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=200,
            cwd=self.folder,
            check=False,
        )
        assert ran.returncode == 0, f"{line}\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout


def blocks(checkout: Checkout, heading: str) -> list[tuple[str, str]]:
    """(language, text) of every block below a heading of README.md."""
    section = checkout.text("README.md").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return _BLOCK.findall(section)


def commands(body: str) -> list[str]:
    return [line for line in body.splitlines() if line and not line.startswith("#")]


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    # A unix socket's path may have 107 bytes; pytest's folders are long.
    folder = Path("/tmp") / f"trial-{os.getpid()}-{time.monotonic_ns() % 10**6}"
    folder.mkdir(mode=0o755)
    try:
        yield Trial(folder)
    finally:
        for path in folder.rglob("*"):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)
        shutil.rmtree(folder)


def archive_one(trial: Trial, run: str) -> Path:
    """Start the daemon as the README says, drop a file, wait for its object, stop the daemon."""
    (trial.folder / "scans").mkdir(exist_ok=True)
    log = trial.folder / "daemon.log"
    with log.open("wb") as out:
        daemon = subprocess.Popen(
            shlex.split(trial.here(run)),
            env=trial.environment,
            stdout=out,
            stderr=out,
            cwd=trial.folder,
        )
    try:
        page = f"%PDF-1.7\na letter, {time.time_ns()}\nstartxref\n9\n%%EOF\n"
        (trial.folder / "scans" / "letter.pdf").write_text(page)
        ends = time.monotonic() + 150
        while True:
            found = list(trial.folder.glob("store/ocfl/*/*/*/*/v1/content/metadata/stamp.txt"))
            if found:
                return found[0]
            assert daemon.poll() is None, log.read_text()
            assert time.monotonic() < ends, log.read_text()
            time.sleep(0.1)
    finally:
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(timeout=150) == 0, log.read_text()


def test_the_first_configuration_is_fit(checkout: Checkout, trial: Trial) -> None:
    """Written down and checked, as it stands."""
    (_, config), (_, lines), *_ = blocks(checkout, "First configuration")
    trial.write(config)
    make, check, run = commands(lines)
    trial.run(make)
    trial.run(check)
    assert run == f"archived run --config {_PLACE}/archived.toml"


@pytest.mark.timeout(400)
def test_the_first_plugin_works_as_a_file_and_as_a_package(
    checkout: Checkout, trial: Trial
) -> None:
    """Checked, shown in the sample configuration, tested, run by a real daemon, and installed."""
    (_, code), (_, config), (_, lines), (_, test), (_, pytest_line), (_, project), (_, install) = (
        blocks(checkout, "First plug-in")
    )
    plugin = trial.write(code)
    trial.write(config)
    check, sample, run = commands(lines)
    trial.run(check)
    shown = trial.run(sample)
    assert "[stage.daystamp]" in shown
    assert "# The word written before the date." in shown
    trial.write(test)
    assert "1 passed" in trial.run(f"{pytest_line.strip()} -p no:cacheprovider")
    note = archive_one(trial, run)
    assert re.fullmatch(r"in \d{4}-\d\d-\d\d\n", note.read_text())
    assert "letter.pdf" in trial.run(f"archivectl --config {_PLACE}/archived.toml documents")

    trial.write(project)
    for line in commands(install):
        trial.run(line)
    assert not plugin.exists()
    assert list(trial.packages.glob("archived_daystamp-1.0.dist-info"))


def test_every_file_the_texts_point_to_is_there(checkout: Checkout) -> None:
    """Links between the texts, and their headings, lead somewhere."""
    texts = [checkout.root / n for n in ("README.md", "README.vi.md", "DESIGN.md", "CHANGELOG.md")]
    texts += [
        *(checkout.root / "docs").glob("*.md"),
        *(checkout.root / "plugins").glob("*/README.md"),
    ]
    broken = []
    for page in texts:
        prose = _BLOCK.sub("", page.read_text())
        for link in re.findall(r"\]\(([^)\s]+)\)", prose):
            name, _, anchor = link.partition("#")
            if "://" in name:
                continue
            target = (page.parent / name).resolve() if name else page
            known = (
                {slug(h) for h in headings(target.read_text())} if target.suffix == ".md" else set()
            )
            if not target.exists() or (anchor and anchor not in known):
                broken.append(f"{page.name}: {link}")
    assert not broken


def headings(text: str) -> list[str]:
    return re.findall(r"^#+ +(.+)$", _BLOCK.sub("", text), re.MULTILINE)


def slug(heading: str) -> str:
    """A heading's anchor, as the usual viewers make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
