"""What the Debian package and the bundle are made from fits the program."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

from archived.cli.local_plugins import FOLDER
from archived.config import load
from tools.debian import bundle
from tools.debian import releases as debian_releases
from tools.debian import tree as deb_tree

ROOT = Path(__file__).parents[3]
DEBIAN = ROOT / "packaging" / "debian"


def test_the_package_has_the_programs_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (DEBIAN / "changelog").read_text().startswith(f"archived ({version}) ")


def test_the_package_looks_for_local_plug_ins_where_they_are_installed():
    assert str(FOLDER) == deb_tree.LOCAL


def test_the_shipped_configuration_loads_and_only_lacks_copies(tmp_path):
    text = (DEBIAN / "archived.toml").read_text()
    for place in ("/srv/archived", "/var/lib/archived"):
        text = text.replace(place, f"{tmp_path}{place}")
    config = tmp_path / "archived.toml"
    config.write_text(text)
    (tmp_path / "srv/archived/hot/inbox").mkdir(parents=True)
    settings = load(config)
    assert list(settings.hotfolders) == ["inbox"]
    assert "sign" not in settings.pipelines["paper"].stages, "no key is used that nobody chose"


def test_the_folders_and_groups_are_those_the_unit_and_the_configuration_name():
    folders = re.findall(r"^d (\S+)", (DEBIAN / "archived.tmpfiles").read_text(), re.M)
    config = tomllib.loads((DEBIAN / "archived.toml").read_text())
    assert {config["store"]["path"], config["hotfolder"]["inbox"]["path"]} <= set(folders)
    users = (DEBIAN / "archived.sysusers").read_text()
    assert f"g {config['control']['group']} " in users
    assert f"m archived      {config['control']['group']}" in users
    assert "\nUser=archived\n" in (ROOT / "systemd/archived.service").read_text()


@pytest.mark.parametrize(
    "script", [*DEBIAN.glob("*.post*"), ROOT / "packaging/bundle/install.sh"], ids=lambda p: p.name
)
def test_the_shell_scripts_are_shell(script):
    subprocess.run(["sh", "-n", script], check=True, timeout=60)


def test_nothing_removes_the_archive():
    script = (DEBIAN / "archived.postrm").read_text()
    assert not re.search(r"\brm\b(?!dir)", re.sub(r"#.*|echo .*", "", script))


def test_a_purge_sets_own_files_aside_and_may_be_run_again(tmp_path):
    script = (DEBIAN / "archived.postrm").read_text()
    for place in ("/etc/archived", "/srv/archived", "/var/lib/archived"):
        script = script.replace(place, f"{tmp_path}{place}")
    own, page, catalog = (
        tmp_path / "etc/archived/conf.d/own.toml",
        tmp_path / "srv/archived/store/ocfl/page",
        tmp_path / "var/lib/archived/catalog.db",
    )
    for said in ("first", "second"):
        for file in (own, page, catalog):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(said)
        (tmp_path / "srv/archived/hot/inbox").mkdir(parents=True)
        done = subprocess.run(
            ["sh", "-c", script, "postrm", "purge"],
            check=True,
            capture_output=True,
            text=True,
            timeout=10,
        )
        assert f"{own}.dpkg-bak" in done.stderr
        assert (page.read_text(), catalog.read_text()) == (said, said)
        assert not (tmp_path / "srv/archived/hot").exists()
    kept = sorted(file.read_text() for file in own.parent.iterdir())
    assert (kept, own.exists()) == (["first", "second"], False)


def test_an_environment_tells_nothing_of_the_machine_that_built_it(tmp_path):
    tree = deb_tree
    info = tmp_path / "example-1.0.dist-info"
    info.mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/example").write_text("#!/build/machine/python\n")
    (tmp_path / "example.py").write_text("")
    (info / "direct_url.json").write_text('{"url": "file:///build/machine"}')
    (info / "RECORD").write_text(
        "../../bin/example,sha256=x,9\nexample.py,sha256=y,0\n"
        "example-1.0.dist-info/direct_url.json,sha256=z,9\nexample-1.0.dist-info/RECORD,,\n"
    )
    tree.tidied(tmp_path)
    assert (info / "RECORD").read_text() == (
        "example-1.0.dist-info/RECORD,,\nexample.py,sha256=y,0\n"
    )
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["RECORD", "example.py"]


def materials(folder, *licenses):
    """A bill of materials of archived and one library with these licences."""
    library = {"name": "a-library", "version": "1.0", "licenses": list(licenses)}
    own = {"name": "archived", "version": "0.1.0", "licenses": [{"license": {"id": "Apache-2.0"}}]}
    file = folder / "archived.cdx.json"
    file.write_text(json.dumps({"metadata": {"component": own}, "components": [library]}))
    return file


@pytest.mark.parametrize(
    ("licenses", "said"),
    [
        ([{"license": {"id": "MIT"}}], "MIT"),
        ([{"expression": "MIT OR Apache-2.0"}], "MIT OR Apache-2.0"),
        ([{"license": {"name": "License :: OSI Approved :: BSD License"}}], "BSD License"),
        (
            [
                {"license": {"id": "MPL-2.0"}},
                {"license": {"name": "License :: OSI Approved :: MPL"}},
            ],
            "MPL-2.0",
        ),
        ([{"license": {"id": "LGPL-3.0-only"}}], "LGPL-3.0-only"),
    ],
)
def test_licences_are_listed_from_the_bill_of_materials(licenses, said, tmp_path):
    listed = deb_tree.licences(materials(tmp_path, *licenses))
    assert listed == f"a-library 1.0: {said}\narchived 0.1.0: Apache-2.0\n"


@pytest.mark.parametrize(
    "licenses", [[], [{"license": {"id": "GPL-3.0-only"}}], [{"expression": "MIT AND AGPL-3.0"}]]
)
def test_a_library_whose_licence_may_not_be_bundled_stops_the_build(licenses, tmp_path):
    with pytest.raises(SystemExit, match="a-library: its licence may not be bundled"):
        deb_tree.licences(materials(tmp_path, *licenses))


def test_a_bill_of_materials_gains_what_wheels_carry_and_free_text_says(tmp_path):
    file = materials(tmp_path)
    for name, more in (("archived-0.1.0", ""), ("a_library-1.0", "License: Apache License 2.0\n")):
        info = tmp_path / f"packages/{name}.dist-info"
        info.mkdir(parents=True)
        title, _, version = name.replace("_", "-").rpartition("-")
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {title}\nVersion: {version}\n{more}"
        )
    inside = tmp_path / "packages/a_library-1.0.dist-info/sboms/auditwheel.cdx.json"
    inside.parent.mkdir()
    inside.write_text(
        json.dumps({"components": [{"name": "libz", "version": "1", "bom-ref": "x"}]})
    )
    deb_tree.completed(file, tmp_path / "packages")
    [library] = json.loads(file.read_text())["components"]
    assert library["licenses"] == [{"license": {"name": "Apache License 2.0"}}]
    assert library["components"] == [{"name": "libz", "version": "1"}]


def test_the_package_of_the_next_debian_is_the_newer_one():
    """A machine that is upgraded in place takes it for an upgrade; so is any later version."""
    releases = debian_releases.RELEASES
    versions = [f"0.1.0+deb{release.number}" for release in releases.values()]
    versions = [versions[0], f"{versions[0]}+2", *versions[1:], f"0.1.1+deb{12}"]
    for older, newer in pairwise(versions):
        subprocess.run(["dpkg", "--compare-versions", older, "lt", newer], check=True)


def test_two_bundles_of_the_same_files_are_the_same(tmp_path):
    made = []
    for number in ("one", "two"):
        folder = tmp_path / number / "archived-bundle"
        (folder / "debs").mkdir(parents=True)
        (folder / "debs/a.deb").write_bytes(b"package")
        (folder / "install.sh").write_text("#!/bin/sh\n")
        (folder / "install.sh").chmod(0o755)
        bundle.checksums(folder)
        bundle.packed(folder, tmp_path / f"{number}.tar", 1_700_000_000)
        made.append((tmp_path / f"{number}.tar").read_bytes())
    assert made[0] == made[1]
    subprocess.run(
        ["sha256sum", "--quiet", "--strict", "-c", "SHA256SUMS"], cwd=folder, check=True, timeout=60
    )


def test_a_bundle_is_not_signed_by_a_key_nobody_chose():
    with (
        pytest.raises(SystemExit, match="which key signs it"),
        bundle.keyring(None, throwaway=False),
    ):
        pass
