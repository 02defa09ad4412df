"""The shared libraries inside wheels: each licence is known, and none is the GNU GPL."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tools.debian import libraries as deb_libraries

ROOT = Path(__file__).parents[3]

INSTALLED = Path(sysconfig.get_path("purelib"))
needs_compiler = pytest.mark.skipif(
    shutil.which("cc") is None, reason="a C compiler is not installed: ./run packaging"
)


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """The wheel that carries what is replaced, as it is installed here."""
    for folder in (*INSTALLED.glob("tesserocr*"),):
        shutil.copytree(folder, tmp_path / folder.name)
    return tmp_path


def library(packages: Path, name: str) -> Path:
    return next(file for found, file in deb_libraries.inside_wheels(packages) if found == name)


def test_every_library_of_the_wheels_that_are_installed_has_a_licence_on_the_list():
    runtime = {
        re.sub(r"[-.]+", "_", line.partition("==")[0]).lower()
        for line in (ROOT / "requirements/runtime.txt").read_text().splitlines()
        if "==" in line
    }
    found = 0
    for name, file in deb_libraries.inside_wheels(INSTALLED):
        owner = file.relative_to(INSTALLED).parts[0].removesuffix(".libs").removesuffix("_raw")
        if owner in runtime:
            found += 1
            assert name in {**deb_libraries.LICENCES, **deb_libraries.REPLACED}, file
    assert found > 20


def test_no_licence_on_the_list_is_the_gpl_without_an_exception():
    for name, licence in deb_libraries.LICENCES.items():
        assert not re.search(r"(?<!L)GPL", licence.replace("GPL-3.0-or-later WITH GCC", "")), name


def test_a_library_nobody_has_looked_up_stops_the_build(tmp_path):
    (tmp_path / "new.libs").mkdir()
    (tmp_path / "new.libs/libnew-0123abcd.so.4.2").touch()
    with pytest.raises(SystemExit, match=r"libnew-0123abcd\.so\.4\.2: look up its licence"):
        deb_libraries.licences(tmp_path)


@needs_compiler
def test_what_takes_the_place_of_libjbig_has_all_that_libtiff_asks_for(packages):
    asked = set(re.findall(rb"\0(jbg_\w+)(?=\0)", library(packages, "libtiff").read_bytes()))
    assert len(asked) > 5
    [made] = deb_libraries.replace(packages)
    loaded = ctypes.CDLL(str(made))
    for name in asked:
        assert hasattr(loaded, name.decode()), name
    assert b"jbg_dppriv2int" not in made.read_bytes(), "a table of jbigkit's own"


@needs_compiler
def test_tesseract_reads_with_the_library_in_place_and_the_record_fits(packages, tmp_path):
    [made] = deb_libraries.replace(packages)
    program = """
import sys
sys.path.insert(0, sys.argv[1])
import tesserocr
from PIL import Image, ImageDraw, ImageFont
page = Image.new("L", (900, 200), 255)
ImageDraw.Draw(page).text((40, 40), "ARCHIVED", font=ImageFont.load_default(100), fill=0)
with tesserocr.PyTessBaseAPI(lang="vie", path=sys.argv[2]) as api:
    api.SetImage(page)
    print(tesserocr.__file__, api.GetUTF8Text())
"""
    data = next(Path("/usr/share/tesseract-ocr").glob("*/tessdata"))
    read = subprocess.run(
        [sys.executable, "-c", program, str(packages), str(data)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert str(packages) in read
    assert "ARCHIVED" in read
    record = next(packages.glob("*.dist-info/RECORD")).read_text()
    assert f"{made.relative_to(packages)},sha256=" in record
    assert f",{made.stat().st_size}\n" in record


def test_a_bill_of_materials_does_not_name_what_was_replaced():
    assert deb_libraries.in_bills() == {"jbigkit-libs"}
