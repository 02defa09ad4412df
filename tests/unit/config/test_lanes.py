"""What the configuration says of devices, shares and hours."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from archived.config import load
from archived.daemon import wiring
from archived.errors import ConfigError

GOOD = """
[plugins]
folders = []
[pipeline.paper]
stages = ["seal"]
[hotfolder.scans]
path = "/srv/scans"
pipeline = "paper"
"""


def settings(tmp_path: Path, text: str):
    file = tmp_path / "archived.toml"
    file.write_text(GOOD + text)
    file.chmod(0o600)
    return load(file)


def test_a_folder_without_a_device_is_its_own(tmp_path: Path) -> None:
    it = settings(tmp_path, "")
    spec = wiring.folder(it, it.hotfolders["scans"])
    assert (spec.origin(b"a.pdf"), spec.origin(b"in/a.pdf")) == ("scans", "scans")


def test_devices_by_name_and_by_sub_folder(tmp_path: Path) -> None:
    it = settings(tmp_path, 'device = "đọc"\ndevice_from = "subfolder"\n')
    spec = wiring.folder(it, it.hotfolders["scans"])
    names = [spec.origin(p.encode()) for p in ("a.pdf", "ricoh/a.pdf", "ricoh/in/b.pdf")]
    assert names == ["đọc", "ricoh", "ricoh"]


def test_hours_and_ageing_are_read_as_people_write_them(tmp_path: Path) -> None:
    it = settings(
        tmp_path,
        '[lanes]\nnight = { width = 2, hours = "18:00-6:00" }\n[fairness]\nageing = "10 min"\n',
    )
    assert it.fairness.ageing == timedelta(minutes=10)
    assert list(wiring.hours(it)) == ["night"]
    assert it.effective()["lanes"]["night"]["hours"] == "18:00-06:00"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('device = "a/b"\n', 'hotfolder.scans.device: write a short name without "/"'),
        ('device_from = "file"\n', "hotfolder.scans.device_from: write"),
        ('[lanes]\nn = { width = 1, hours = "night" }\n', "lanes.n.hours: write a window of the"),
        ('[lanes]\nn = { width = 1, hours = "6:00-6:00" }\n', "lanes.n.hours: begins and ends at"),
        ('[fairness]\nageing = "0 s"\n', 'fairness.ageing: must be more than "0 s"'),
        ('ignore = ["!"]\n', "hotfolder.scans.ignore, item 1: write a pattern"),
    ],
)
def test_mistakes_are_said_in_the_words_of_the_file(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as told:
        settings(tmp_path, text)
    assert words in str(told.value) + " ".join(told.value.problems)
