"""Targets as the documents show them: each works on a disk mounted the way its text says."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from archived.plugins import find

if TYPE_CHECKING:
    from tests.repo.conftest import Checkout

PAGES = (
    "README.vi.md",
    "docs/admin.md",
    "docs/install.md",
    "etc/archived.toml",
    "plugins/replicate/README.md",
)
_BLOCK = re.compile(r"```toml\n(.*?)```|<<END\n(.*?)^END$", re.S | re.M)
_DISK = re.compile(r"^/mnt/[^/]+")


def targets(checkout: Checkout, page: str) -> dict[str, dict[str, Any]]:
    """Every target of a page that lies on a disk of its own."""
    text = checkout.text(page)
    blocks = [text] if page.endswith(".toml") else ["".join(each) for each in _BLOCK.findall(text)]
    found: dict[str, dict[str, Any]] = {}
    for block in blocks:
        if "[target." in block:
            found |= tomllib.loads(block)["target"]
    return {name: each for name, each in found.items() if _DISK.match(each["path"])}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
@pytest.mark.parametrize("page", PAGES)
def test_a_shown_target_takes_copies_when_its_disk_is_mounted_and_only_then(
    checkout: Checkout, page: str, tmp_path: Path
) -> None:
    shown = targets(checkout, page)
    assert shown, "the page shows a target"
    kinds = find(["replicate"], []).targets
    for name, table in shown.items():

        def here(value: Any) -> Any:
            return re.sub("^/mnt/", f"{tmp_path}/", value) if isinstance(value, str) else value

        keys = {key: here(value) for key, value in table.items() if key != "kind"}
        keys["keep_free"] = "1 MiB"  # the disks here are small
        disk = Path(here(_DISK.match(table["path"]).group()))  # type: ignore[union-attr]
        disk.mkdir(exist_ok=True)
        cls = kinds[table["kind"]]
        target = cls(name, cls.config().model_validate(keys))
        assert list(target.check(tmp_path)), f"{name}: the disk is not mounted"
        with ExitStack() as stack:
            subprocess.run(["mount", "-t", "tmpfs", "none", str(disk)], check=True)
            stack.callback(subprocess.run, ["umount", str(disk)], check=True)
            Path(keys["path"]).mkdir(exist_ok=True)
            assert list(target.check(tmp_path)) == [], name
