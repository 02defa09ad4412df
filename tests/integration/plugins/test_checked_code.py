"""What was checked is what runs, also in a fork server that is started later."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from archived.code_digest import of_package
from archived.engine.plugin_loader import load_plugins
from archived.engine.worker.forkserver_client import LaneSetup
from archived.engine.worker.runner import LocalRunner
from archived.errors import PluginError
from archived.plugins import find

OTHERS = "\nfrom pathlib import Path\nPath(__file__).with_name('ran').touch()\n"


async def test_a_file_that_was_changed_after_the_check_runs_as_it_was(bench, tmp_path: Path):
    file = bench.file("ink", bench.stage("ink"))
    sources = find(["ink"], [bench.folder]).sources
    file.write_text(bench.stage("ink").replace("1.0", "6.6") + OTHERS)
    file.chmod(0o666)

    runner = LocalRunner("cpu", 1, json.loads(json.dumps(sources)), LaneSetup(scratch=tmp_path))
    try:
        await runner.start()
        assert load_plugins(sources).stages["ink"].version == "1.0"
    finally:
        await runner.stop()
    assert not file.with_name("ran").exists()


def test_a_file_that_is_gone_runs_as_it_was(bench):
    file = bench.file("ink", bench.stage("ink"))
    sources = find(["ink"], [bench.folder]).sources
    file.unlink()
    assert list(load_plugins(sources).stages) == ["ink"]


def test_code_that_is_not_of_its_digest_is_refused(bench):
    bench.file("ink", bench.stage("ink"))
    [source] = find(["ink"], [bench.folder]).sources
    with pytest.raises(PluginError, match="was changed after it was checked"):
        load_plugins([{**source, "sha256": "0" * 64}])


async def test_a_distribution_that_was_changed_after_the_check_does_not_run(bench, tmp_path: Path):
    module = bench.install("ink", bench.stage("ink"))
    sources = find(["ink"]).sources
    code = bench.site / f"{module}.py"
    code.write_text(code.read_text() + OTHERS)

    environment = {"PYTHONPATH": str(bench.site)}
    runner = LocalRunner("cpu", 1, sources, LaneSetup(scratch=tmp_path, environment=environment))
    try:
        with pytest.raises(PluginError, match="was changed after it was checked"):
            await runner.start()
    finally:
        await runner.stop()
    assert not (bench.site / "ran").exists()


def test_the_digest_of_a_package_is_of_all_its_files_and_imports_nothing(bench):
    package = bench.site / "made_for_a_digest"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported!')")
    (package / "inner" / "data.toml").write_text("a = 1")
    first = of_package("made_for_a_digest.inner.module")
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "x.pyc").write_bytes(b"cached")
    assert of_package("made_for_a_digest") == first
    (package / "inner" / "data.toml").write_text("a = 2")
    second = of_package("made_for_a_digest")
    (package / "inner" / "data.toml").rename(package / "inner" / "date.toml")
    assert len({first, second, of_package("made_for_a_digest")}) == 3
    with pytest.raises(ImportError):
        of_package("made_for_nobody")


def test_a_single_file_has_a_limit(bench):
    bench.file("ink", bench.stage("ink") + "#" * (256 * 1024))
    with pytest.raises(PluginError, match="256 KiB") as told:
        find(["ink"], [bench.folder])
    assert "make a wheel" in told.value.hint
