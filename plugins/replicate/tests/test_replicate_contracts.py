"""The contracts every stage and every kind of target keeps, kept by these."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from archived.testing import StageContract, TargetContract
from archived_replicate import Replicate


class TestReplicate(StageContract):
    stage = Replicate
    options: ClassVar = {"to": ["second"]}
    reads_content = False  # only digests of it

    @pytest.fixture(scope="class")
    @classmethod
    def surroundings(cls, tmp_path_factory, make_store, document, versions):
        root = tmp_path_factory.mktemp("replicate")
        main = replace(document.main, path=root / "0001.tif", size=4)
        main.path.write_bytes(b"II*\0")
        sealed = make_store(root / "store").add(versions[0])
        (root / "second").mkdir()
        given = replace(document, main=main, artifacts=(main,), sealed=sealed)
        second = {"kind": "directory", "path": root / "second", "allow_same_filesystem": True}
        return root, given, cls.options, {"second": second}


class TestDirectory(TargetContract):
    @pytest.fixture(autouse=True)
    def _place(self, directory, memory_disk):
        self.directory, self.place = directory, memory_disk / "target"

    def make_target(self, tmp_path: Path):
        return self.directory(self.place, allow_same_filesystem=True)
