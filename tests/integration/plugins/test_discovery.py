"""Installed is not enabled, and what cannot be used says why before anything starts."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import pytest

from archived.code_digest import of_package
from archived.errors import PluginError
from archived.plugins import PluginInfo, find, installed


def refused(*enabled, folders=()):
    with pytest.raises(PluginError) as caught:
        find(enabled, folders)
    return caught.value


def test_an_enabled_plugin_gives_its_stages_under_their_names(bench):
    module = bench.install("ink", bench.stage("ink"))

    plugins = find(["ink"])

    assert list(plugins.stages) == ["ink"]
    assert plugins.stages["ink"].version == "1.0"
    [source] = plugins.sources
    assert source == {"name": "ink", "entry_point": module, "sha256": of_package(module)}
    assert plugins.catalogue() == [
        PluginInfo(
            name="ink",
            distribution="archived-ink",
            version="1.0",
            where=module,
            sha256=of_package(module),
            stages=("ink",),
            hooks=("register_stages",),
        )
    ]
    assert plugins.giver("ink").distribution == "archived-ink"
    with pytest.raises(KeyError):
        plugins.giver("oil")


def test_what_is_installed_and_not_enabled_is_never_imported(bench):
    module = bench.install("trap", "raise RuntimeError('imported!')")
    bench.file("snare", "raise RuntimeError('imported!')")

    plugins = find([], [bench.folder])

    assert module not in sys.modules
    assert not plugins.stages
    assert {"trap", "snare"} <= set(plugins.available)
    assert installed([bench.folder])["trap"] == [module]


def test_a_missing_plugin_lists_what_is_there_and_how_to_get_it(bench):
    bench.install("inkjet", bench.stage("ink"))

    error = refused("inkjte", folders=[bench.folder])

    assert error.message.startswith(
        'plug-in "inkjte" is not installed; did you mean "inkjet"? (installed: '
    )
    assert "inkjet" in error.message.partition("(installed: ")[2]
    assert error.hint == (
        "install it where archived lives: archivectl plugins install WHEEL, then "
        f"systemctl restart archived; or put inkjte.py into {bench.folder}"
    )
    assert error.exit_status == os.EX_CONFIG


def test_a_single_file_is_a_plugin(bench):
    file = bench.file("ink-well", bench.stage("ink"))

    plugins = find(["ink-well"], [bench.folder / "absent", bench.folder])

    assert list(plugins.stages) == ["ink"]
    [source] = plugins.sources
    assert (source["name"], source["file"]) == ("ink-well", str(file))
    assert source["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    (info,) = plugins.catalogue()
    assert (info.where, info.distribution, info.version) == (str(file), "", "")
    assert not (bench.folder / "__pycache__").exists()


def test_a_single_file_is_read_again_at_the_next_look(bench):
    bench.file("ink", bench.stage("ink"))
    old = find(["ink"], [bench.folder])
    bench.file("ink", bench.stage("ink").replace("1.0", "1.1"))

    new = find(["ink"], [bench.folder])

    assert (old.stages["ink"].version, new.stages["ink"].version) == ("1.0", "1.1")


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o777])
def test_a_file_that_others_may_write_is_not_run(bench, mode):
    file = bench.file("ink", "raise SystemExit('it ran')")
    file.chmod(mode)

    error = refused("ink", folders=[bench.folder])

    assert error.message == f"{file}: others may write here, so nothing is loaded from it"
    assert error.hint == f"run: chmod go-w {file}"


def test_a_file_in_a_folder_that_others_may_write_is_not_run(bench):
    bench.file("ink", "raise SystemExit('it ran')")
    bench.folder.chmod(0o775)

    error = refused("ink", folders=[bench.folder])

    assert error.message == f"{bench.folder}: others may write here, so nothing is loaded from it"


def test_a_link_into_a_folder_that_others_may_write_is_not_run(bench, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "ink.py").write_text("raise SystemExit('it ran')")
    (elsewhere / "ink.py").chmod(0o644)
    elsewhere.chmod(0o777)
    (bench.folder / "ink.py").symlink_to(elsewhere / "ink.py")

    assert refused("ink", folders=[bench.folder]).message.startswith(f"{elsewhere}: others may")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_file_of_somebody_else_is_not_run(bench, what):
    path = bench.file("ink", "raise SystemExit('it ran')")
    path = path if what == "file" else bench.folder
    os.chown(path, 4711, -1)

    error = refused("ink", folders=[bench.folder])

    assert error.message == (
        f"{path}: belongs to user 4711, neither to root nor to the user of archived"
    )
    assert error.hint == f"run: chown root {path}"


def test_an_import_that_fails_names_the_plugin_and_keeps_the_cause(bench):
    module = bench.install("ink", "import no_such_library_at_all")

    error = refused("ink")

    assert error.message == (
        f'plug-in "ink" ({module}) cannot be imported: '
        "ModuleNotFoundError: No module named 'no_such_library_at_all'"
    )
    assert isinstance(error.__cause__, ModuleNotFoundError)
    assert error.hint == f"try it by itself: python3 -c 'import {module}'"


def test_a_file_that_ends_the_process_on_import_does_not_end_ours(bench):
    bench.file("ink", "raise SystemExit(3)")

    assert "cannot be imported: SystemExit: 3" in refused("ink", folders=[bench.folder]).message
    assert "archived_file_ink" not in sys.modules


def test_the_same_name_twice_is_refused_whoever_has_it(bench):
    bench.install("ink", bench.stage("ink"))
    bench.install("ink", bench.stage("ink"), project="other-ink")
    file = bench.file("ink", bench.stage("ink"))

    message = refused("ink", folders=[bench.folder]).message

    assert message.startswith('plug-in "ink" is there more than once (')
    assert all(part in message for part in ("archived-ink", "other-ink", str(file)))
    assert message.endswith("; remove all but one")


def test_two_plugins_with_one_stage_name_are_refused(bench):
    bench.file("ink", bench.stage("note"))
    bench.file("oil", bench.stage("note"))

    assert refused("ink", "oil", folders=[bench.folder]).message == (
        'plug-ins "ink" and "oil" both give the stage "note"; enable one of them'
    )


def test_every_bad_plugin_is_told_and_the_good_ones_are_loaded(bench):
    bench.file("ink", bench.stage("ink"))
    bench.file("oil", "1 / 0")
    errors: list[PluginError] = []

    plugins = find(["oil", "tar", "ink"], [bench.folder], errors=errors)

    assert [str(e).partition(" ")[2][:5] for e in errors] == ['"oil"', '"tar"']
    assert list(plugins.stages) == ["ink"]
    assert [info.name for info in plugins.catalogue()] == ["ink"]


def test_an_entry_point_names_a_module_as_fork_servers_import_it(bench):
    module = bench.install("ink", bench.stage("ink"), attribute=":Made")

    error = refused("ink")

    assert error.message == (f'plug-in "ink" ({module}:Made): its entry point must name a module')
    assert error.hint == f'its author writes: ink = "{module}"'


def test_finding_plugins_imports_no_heavy_library(bench):
    bench.file("ink", bench.stage("ink"))
    heavy = "{'ocrmypdf', 'pikepdf', 'pyhanko', 'PIL', 'numpy', 'sqlalchemy', 'aiohttp', 'click'}"
    code = (
        "import sys, pathlib; from archived.config import load, sample_config\n"
        "from archived.plugins import find\n"
        f"find(['ink'], [pathlib.Path({str(bench.folder)!r})])\n"
        f"print(sorted({heavy} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
