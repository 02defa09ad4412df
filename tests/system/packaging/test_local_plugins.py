"""`archivectl plugins install`: what is whole, fits and loads gets in; else nothing changes."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import shutil
import zipfile

import pytest

from archived.errors import PluginError
from archived.plugins import wheel as wheels


def changed(path, folder, change, *, honest=False):
    """A copy of a wheel with other content; with `honest`, its RECORD fits again."""
    copy = folder / path.name
    with zipfile.ZipFile(path) as old:
        content = {name: old.read(name) for name in old.namelist()}
    change(content)
    if honest:
        record = next(name for name in content if name.endswith("/RECORD"))
        out = io.StringIO()
        for name, each in content.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(each).digest()).rstrip(b"=").decode()
            told = ["", ""] if name == record else [f"sha256={digest}", len(each)]
            csv.writer(out, lineterminator="\n").writerow([name, *told])
        content[record] = out.getvalue().encode()
    with zipfile.ZipFile(copy, "w") as new:
        for name, each in content.items():
            new.writestr(name, each)
    return copy


def test_an_installed_plug_in_is_found_by_every_process_from_then_on(place, wheel):
    done = place.ctl("install", wheel(), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["installed"][0]["name"] == "archived-daynote"
    assert told["plugins"][0]["stages"] == ["daynote"]
    assert place.loads("daynote") == "1.0"
    cached = list(place.shelf.glob("archived-daynote-1.0-*/__pycache__/*.pyc"))
    assert cached, "the service may not write byte code"


def test_a_newer_version_replaces_the_older_one_and_what_ran_stays_until_the_next(place, wheel):
    for version in ("1.0", "1.1", "1.2"):
        done = place.ctl("install", wheel(version=version))
        assert done.returncode == 0, done.stderr
        assert place.loads("daynote") == version
    kept = sorted(path.name.split("-")[2] for path in place.shelf.glob("archived-daynote-*"))
    assert kept == ["1.1", "1.2"]


def test_a_plug_in_for_a_newer_api_is_refused_and_leaves_nothing(place, wheel):
    done = place.ctl("install", wheel(api=99))
    assert done.returncode == 78
    assert "version 99 of the plug-in API" in done.stderr
    assert list(place.shelf.iterdir()) == []


def test_a_wheel_with_one_changed_byte_is_refused(place, wheel, tmp_path):
    def spoil(content):
        content["archived_daynote.py"] += b"# one more line\n"

    done = place.ctl("install", changed(wheel(), tmp_path, spoil))
    assert done.returncode == 78
    assert "is not what its RECORD says" in done.stderr
    assert "archived_daynote.py" in done.stderr
    assert not place.shelf.exists()


def test_a_file_that_is_listed_and_not_there_is_refused(place, wheel, tmp_path):
    def less(content):
        del content["archived_daynote.py"]

    done = place.ctl("install", changed(wheel(), tmp_path, less))
    assert done.returncode == 78
    assert "archived_daynote.py is in its RECORD and not in it" in done.stderr


def test_a_file_that_is_listed_with_a_broken_hash_function_is_refused(place, wheel, tmp_path):
    def weaken(content):
        record = next(name for name in content if name.endswith("/RECORD"))
        rows = [row.split(",") for row in content[record].decode().splitlines()]
        md5 = base64.urlsafe_b64encode(hashlib.md5(content["archived_daynote.py"]).digest())
        for row in rows:
            if row[0] == "archived_daynote.py":
                row[1] = f"md5={md5.decode().rstrip('=')}"
        content[record] = "".join(",".join(row) + "\n" for row in rows).encode()

    done = place.ctl("install", changed(wheel(), tmp_path, weaken))
    assert done.returncode == 78
    assert "archived_daynote.py is listed without a hash that can be trusted" in done.stderr


@pytest.mark.parametrize("name", ["../outside.py", "/etc/outside.py", "a/../../outside.py"])
def test_a_wheel_that_points_out_of_itself_is_refused(place, wheel, tmp_path, name):
    def stray(content):
        content[name] = b"pass\n"

    done = place.ctl("install", changed(wheel(), tmp_path, stray, honest=True))
    assert done.returncode == 78
    assert "points out of the wheel" in done.stderr


def test_a_file_that_record_does_not_list_is_refused(place, wheel, tmp_path):
    def more(content):
        content["extra.py"] = b"pass\n"

    done = place.ctl("install", changed(wheel(), tmp_path, more))
    assert (done.returncode, "is not what its RECORD says" in done.stderr) == (78, True)
    assert "extra.py" in done.stderr


def test_a_wheel_that_is_cut_short_is_refused(place, wheel, tmp_path):
    short = tmp_path / wheel().name
    short.write_bytes(wheel().read_bytes()[:-100])
    done = place.ctl("install", short)
    assert (done.returncode, "is damaged" in done.stderr) == (78, True)


def test_a_wheel_for_another_machine_is_refused(place, wheel, tmp_path):
    other = tmp_path / "archived_daynote-1.0-cp39-cp39-win_amd64.whl"
    shutil.copy(wheel(), other)
    done = place.ctl("install", other)
    assert (done.returncode, "another kind of machine" in done.stderr) == (78, True)


def test_what_a_plug_in_needs_must_be_there_or_be_given_with_it(place, wheel):
    leaning = wheel("daily", needs='["archived ~= 0.1", "archived-daynote >= 1.0"]')
    done = place.ctl("install", leaning)
    assert done.returncode == 78
    assert "needs archived-daynote>=1.0, which is not there" in done.stderr
    done = place.ctl("install", leaning, wheel())
    assert done.returncode == 0, done.stderr
    assert (place.loads("daily"), place.loads("daynote")) == ("1.0", "1.0")
    done = place.ctl("remove", "archived-daynote")
    assert (done.returncode, "archived-daily needs" in done.stderr) == (78, True)


def test_a_plug_in_for_a_later_archived_is_refused(place, wheel):
    done = place.ctl("install", wheel(needs='["archived >= 99"]'))
    assert (done.returncode, "needs archived>=99, and there is 0." in done.stderr) == (78, True)


def test_a_module_that_something_else_brought_is_not_hidden(place, wheel):
    done = place.ctl("install", wheel(module="structlog"))
    assert (done.returncode, "structlog is there from structlog" in done.stderr) == (78, True)


def test_what_is_part_of_archived_is_not_replaced(place, wheel):
    done = place.ctl("install", wheel("stamp", version="9.0"))
    assert (done.returncode, "is part of archived itself" in done.stderr) == (78, True)


def test_a_list_of_hashes_is_held_to(place, wheel, tmp_path):
    path = wheel()
    listed = tmp_path / "SHA256SUMS"
    listed.write_text(f"{'0' * 64}  {path.name}\n")
    done = place.ctl("install", path, "--sha256", listed)
    assert (done.returncode, "is not the file that" in done.stderr) == (78, True)
    listed.write_text(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")
    assert place.ctl("install", path, "--sha256", listed).returncode == 0


def test_one_that_is_enabled_is_not_removed(place, wheel):
    config = place.folder / "archived.toml"
    config.write_text('[plugins]\nenabled = ["daynote"]\n')
    assert place.ctl("install", wheel()).returncode == 0
    done = place.ctl("remove", "archived-daynote")
    assert (done.returncode, "is enabled" in done.stderr) == (78, True)
    config.write_text("")
    done = place.ctl("remove", "daynote")
    assert done.returncode == 0, done.stderr
    assert (place.loads("daynote"), list(place.shelf.iterdir())) == ("", [])


def test_an_environment_that_looks_elsewhere_is_told_and_left_as_it_was(place, wheel):
    other = place.folder / "elsewhere"
    done = place.ctl("install", wheel(), "--into", other, into=False)
    assert (done.returncode, "does not look for plug-ins in" in done.stderr) == (78, True)
    assert list(other.iterdir()) == []


@pytest.mark.parametrize("how", ["another file in its place", "written over", "a file taken out"])
def test_a_wheel_that_is_changed_after_it_was_judged_is_not_unpacked(wheel, tmp_path, how):
    """It may lie where others write: what is judged and what is unpacked are the same bytes."""
    given = tmp_path / wheel().name
    shutil.copy(wheel(), given)
    judged = wheels.read(given)

    def change(content):
        module = next(name for name in content if name.endswith(".py"))
        if how == "a file taken out":
            del content[module]
        else:
            content[module] += b"\nimport os\n"

    (tmp_path / "other").mkdir()
    other = changed(given, tmp_path / "other", change, honest=True)
    if how == "written over":
        given.write_bytes(other.read_bytes())
    else:
        other.replace(given)
    (tmp_path / "shelf").mkdir()
    with pytest.raises(PluginError, match="was changed while the wheel was installed"):
        wheels.unpack(judged, tmp_path / "shelf")
    assert not [p for p in (tmp_path / "shelf").rglob("*.py") if b"import os" in p.read_bytes()]
