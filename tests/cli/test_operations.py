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

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operations.md"


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

    def __init__(self, house: Any) -> None:
        self.house = house
        self.backup = house.folder / "backup"
        self.backup.mkdir()
        self.programs = house.folder / "programs"
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
            "/var/lib/archived": f"{self.house.folder}/state",
            "/srv/archived/store": f"{self.house.folder}/store",
            "/srv/archived/damaged": f"{self.house.folder}/damaged",
            "/mnt/second-disk/archived": f"{self.house.folder}/second",
            "/mnt/larger": f"{self.house.folder}/larger",
            "/tmp/verify-object.py": f"{self.house.folder}/verify-object.py",
            "/backup": str(self.backup),
            **words,
        }.items():
            block = block.replace(old, new)
        said = ""
        for part in re.split(r"^(systemctl (?:stop|start) archived)\n", block, flags=re.M):
            if part == "systemctl stop archived":
                assert self.house.stop() == 0
            elif part == "systemctl start archived":
                self.house.start()
            elif part.strip():
                said += self._shell(part)
        return said

    def _shell(self, script: str) -> str:
        environment = os.environ | {
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "ARCHIVED_CONFIG": str(self.house.config), "LC_ALL": "C.UTF-8",
        }  # fmt: skip
        ran = subprocess.run(
            ["/bin/bash", "-c", script], capture_output=True, text=True, env=environment,
            timeout=60, check=False,
        )  # fmt: skip
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
    house = new_house
    house.start()
    house.drop("letter.txt", b"a letter\n")
    house.drop("poison-1.txt", b"poison 1\n")
    house.drop("slow.txt", b"slow\n", into="late")
    house.settle(safe=1, held=1, waiting=1)
    yield Operator(house)
    if house.daemon.poll() is None:
        house.stop()


def test_a_restored_catalog_knows_what_was_archived_since(operator: Any):
    house = operator.house
    assert operator.types(blocks("Back up")[0]) == ""
    poison = house.document("poison-1.txt")
    house.drop("after.txt", b"after the backup\n")
    house.ctl("release", poison, "--note", "for the test")
    house.settle(safe=3, waiting=1)
    after = house.document("after.txt")
    house.drop("poison-2.txt", b"poison 2\n")
    house.settle(safe=3, held=1, waiting=1)
    (restore,) = blocks("Restore the catalog")
    told = operator.types(restore)
    assert "the ledger is whole" in told
    house.settle(safe=3, held=1, waiting=1)
    assert {house.document("poison-1.txt"), house.document("after.txt")} == {poison, after}
    assert house.ctl("account").returncode == 0


def test_without_a_backup_the_catalog_is_made_from_the_store(operator: Any):
    house = operator.house
    letter = house.document("letter.txt")
    (restore,) = blocks("Restore the catalog")
    without = "".join(
        line for line in restore.splitlines(keepends=True) if not line.startswith(("cp", "chown"))
    )
    assert "the ledger is whole" in operator.types(without)
    house.settle(safe=1, held=1, waiting=1)
    assert house.document("letter.txt") == letter


def test_the_store_is_backed_up_and_a_damaged_object_put_right_from_its_copy(operator: Any):
    house = operator.house
    assert operator.types(blocks("Back up")[1]) == ""
    assert files(operator.backup / "store") == files(house.folder / "store")
    letter = house.document("letter.txt")
    where = house.json("show", letter)["object"]
    look, mend = blocks("An object is damaged")
    assert operator.types(look, DOC=letter) == "whole\n"
    (original,) = Path(where["path"]).glob("v1/content/original/*")
    original.chmod(0o644)
    original.write_bytes(b"A letter\n")
    assert "damaged: v1/content/original/" in operator.types(look, DOC=letter)
    operator.types(mend, DOC=letter)
    assert operator.types(look, DOC=letter) == "whole\n"
    assert (house.folder / "damaged").is_dir()
    house.drop("next.txt", b"the next\n")
    house.settle(safe=2, held=1, waiting=1)


def test_a_lost_store_comes_back_from_a_target_and_moves_to_a_larger_disk(operator: Any):
    house = operator.house
    letter = house.document("letter.txt")
    (again,) = blocks("The store's disk is lost")
    before = house.folder / "store"
    operator.types(again.replace("mkdir", f"mv {before} {house.folder}/broken\nmkdir", 1))
    assert operator.types(blocks("An object is damaged")[0], DOC=letter) == "whole\n"
    (house.folder / "larger" / "store").mkdir(parents=True)
    move, start = blocks("Move the store")
    assert "the same\n" in operator.types(move)
    text = house.config.read_text()
    house.config.write_text(text.replace(f"{house.folder}/store", f"{house.folder}/larger/store"))
    (house.folder / "store").rename(house.folder / "old")
    told = operator.types(start)
    assert "is right" in told
    letter = house.json("show", house.document("letter.txt"))
    assert letter["object"]["path"].startswith(f"{house.folder}/larger/store/ocfl/")
    assert operator.types(blocks("An object is damaged")[0], DOC=letter["id"]) == "whole\n"
    house.drop("next.txt", b"the next\n")
    house.settle(safe=2, held=1, waiting=1)
