"""What docs/operations.md tells people to type does what it says, on a real house."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).resolve().parents[3] / "docs" / "operations.md"


def blocks(title: str) -> list[str]:
    """The shell blocks of a section, in order."""
    text = PAGE.read_text()
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.S | re.M)
    assert found, title
    return re.findall(r"```sh\n(.*?)```", found[1], re.S)


def files(store: Path) -> dict[str, bytes]:
    """Every file of a store's objects, by its path."""
    root = store / "ocfl"
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


class Operator:
    """Somebody who types what the page says; systemctl and the package's paths are this house's."""

    def __init__(self, installation: Any) -> None:
        self.installation = installation
        self.backup = installation.folder / "backup"
        self.backup.mkdir()
        self.programs = installation.folder / "programs"
        self.programs.mkdir()
        names = {
            name: str(Path(sys.executable).with_name(name)) for name in ("archivectl", "archived")
        }
        for name, path in names.items():
            (self.programs / name).symlink_to(path)
        for name in ("chown", "systemctl"):  # the daemon here is ours, and not systemd's
            (self.programs / name).write_text("#!/bin/sh\nexit 0\n")
            (self.programs / name).chmod(0o755)
        (self.programs / "runuser").write_text('#!/bin/sh\nshift 3\nexec "$@"\n')
        (self.programs / "runuser").chmod(0o755)

    def types(self, block: str, **words: str) -> str:
        """Run a block line by line between the stops and starts of the service; its output."""
        for old, new in {
            "/var/lib/archived": f"{self.installation.folder}/state",
            "/srv/archived/store": f"{self.installation.folder}/store",
            "/srv/archived/damaged": f"{self.installation.folder}/damaged",
            "/mnt/second-disk/archived": f"{self.installation.folder}/second",
            "/mnt/larger": f"{self.installation.folder}/larger",
            "/tmp/verify-object.py": f"{self.installation.folder}/verify-object.py",
            "/backup": str(self.backup),
            **words,
        }.items():
            block = block.replace(old, new)
        said = ""
        for part in re.split(r"^(systemctl (?:stop|start) archived)\n", block, flags=re.M):
            if part == "systemctl stop archived":
                assert self.installation.end() == 0
            elif part == "systemctl start archived":
                self.installation.start()
            elif part.strip():
                said += self._shell(part)
        return said

    def _shell(self, script: str) -> str:
        environment = os.environ | {
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "ARCHIVED_CONFIG": str(self.installation.config),
            "LC_ALL": "C.UTF-8",
        }
        ran = subprocess.run(
            ["/bin/bash", "-c", script],
            capture_output=True,
            text=True,
            env=environment,
            timeout=60,
            check=False,
        )
        self.status = ran.returncode
        return ran.stdout + ran.stderr


@pytest.fixture(autouse=True)
def tools() -> None:
    """The page's own tools besides those that every Debian has."""
    for name in ("sqlite3", "rsync"):
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")


@pytest.fixture
def operator(new_house: Any) -> Any:
    """A house with one safe, one held and one waiting document, and its operator."""
    installation = new_house
    installation.start()
    installation.put("letter.txt", b"a letter\n")
    installation.put("poison-1.txt", b"poison 1\n")
    installation.put("slow.txt", b"slow\n", into="late")
    installation.settle(safe=1, held=1, waiting=1)
    yield Operator(installation)
    if installation.running():
        installation.end()


def test_a_restored_catalog_knows_what_was_archived_since(operator: Any):
    installation = operator.installation
    assert operator.types(blocks("Back up")[0]) == ""
    poison = installation.document("poison-1.txt")
    installation.put("after.txt", b"after the backup\n")
    installation.ctl("release", poison, "--note", "for the test")
    installation.settle(safe=3, waiting=1)
    after = installation.document("after.txt")
    installation.put("poison-2.txt", b"poison 2\n")
    installation.settle(safe=3, held=1, waiting=1)
    (restore,) = blocks("Restore the catalog")
    told = operator.types(restore)
    assert "the ledger is whole" in told
    installation.settle(safe=3, held=1, waiting=1)
    assert {installation.document("poison-1.txt"), installation.document("after.txt")} == {
        poison,
        after,
    }
    assert installation.ctl("account").returncode == 0


def test_without_a_backup_the_catalog_is_made_from_the_store(operator: Any):
    installation = operator.installation
    letter = installation.document("letter.txt")
    (restore,) = blocks("Restore the catalog")
    without = "".join(
        line for line in restore.splitlines(keepends=True) if not line.startswith(("cp", "chown"))
    )
    assert "the ledger is whole" in operator.types(without)
    installation.settle(safe=1, held=1, waiting=1)
    assert installation.document("letter.txt") == letter


def test_the_store_is_backed_up_and_a_damaged_object_put_right_from_its_copy(operator: Any):
    installation = operator.installation
    assert operator.types(blocks("Back up")[1]) == ""
    assert files(operator.backup / "store") == files(installation.folder / "store")
    letter = installation.document("letter.txt")
    where = installation.json("show", letter)["object"]
    look, mend = blocks("An object is damaged")
    assert operator.types(look, DOC=letter) == "whole\n"
    (original,) = Path(where["path"]).glob("v1/content/original/*")
    original.chmod(0o644)
    original.write_bytes(b"A letter\n")
    assert "damaged: v1/content/original/" in operator.types(look, DOC=letter)
    operator.types(mend, DOC=letter)
    assert operator.types(look, DOC=letter) == "whole\n"
    assert (installation.folder / "damaged").is_dir()
    installation.put("next.txt", b"the next\n")
    installation.settle(safe=2, held=1, waiting=1)


def test_a_lost_store_comes_back_from_a_target_and_moves_to_a_larger_disk(operator: Any):
    installation = operator.installation
    letter = installation.document("letter.txt")
    (again,) = blocks("The store's disk is lost")
    before = installation.folder / "store"
    operator.types(again.replace("mkdir", f"mv {before} {installation.folder}/broken\nmkdir", 1))
    assert operator.types(blocks("An object is damaged")[0], DOC=letter) == "whole\n"
    (installation.folder / "larger" / "store").mkdir(parents=True)
    move, start = blocks("Move the store")
    assert "the same\n" in operator.types(move)
    text = installation.config.read_text()
    moved = f"{installation.folder}/larger/store"
    installation.toml = text.replace(f"{installation.folder}/store", moved)
    (installation.folder / "store").rename(installation.folder / "old")
    told = operator.types(start)
    assert "is right" in told
    letter = installation.json("show", installation.document("letter.txt"))
    assert letter["object"]["path"].startswith(f"{installation.folder}/larger/store/ocfl/")
    assert operator.types(blocks("An object is damaged")[0], DOC=letter["id"]) == "whole\n"
    installation.put("next.txt", b"the next\n")
    installation.settle(safe=2, held=1, waiting=1)
