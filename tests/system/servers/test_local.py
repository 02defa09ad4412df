"""Files put into a hot folder without a network: copied, moved, linked, scanned, overwritten."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.servers.appliance import PAUSE, QUIET, Appliance, Box, scan_of
from tests.system.servers.programs import Upload, absent, need, until

MakeBox = Callable[[str], Box]


def test_copied_with_old_times_moved_and_linked(box: MakeBox, tmp_path: Path):
    here = box("local")
    contents = {name: scan_of(name) for name in ("cp.tif", "cp-p.pdf", "mv.jpg", "ln.png", "x.pdf")}
    near = here.path.parent.parent / f"{here.name}-outside"  # the hot folder's own file system
    near.mkdir()
    try:
        sources = {name: here.source(name, data, near) for name, data in contents.items()}
        other = Path(shutil.copy2(sources["x.pdf"], "/dev/shm" if _is_other() else tmp_path))
        for argv in (
            ["cp", sources["cp.tif"], here.path],
            ["cp", "--preserve", sources["cp-p.pdf"], here.path],
            ["mv", sources["mv.jpg"], here.path],
            ["ln", sources["ln.png"], here.path],
            ["mv", other, here.path],
        ):
            subprocess.run(argv, check=True)
        here.expect(*contents.values())
        until(lambda: here.left() == [], 20, "the last source is taken away")
        assert sources["ln.png"].read_bytes() == contents["ln.png"], "the other link is not ours"
    finally:
        shutil.rmtree(near)


def _is_other() -> bool:
    return Path("/dev/shm").is_dir() and os.access("/dev/shm", os.W_OK)


def test_a_folder_moved_in_whole(box: MakeBox):
    """Its files make no event of their own."""
    here = box("local")
    outside = here.path.parent.parent / f"{here.name}-folder"
    contents = []
    for number in range(12):
        name = f"scan{number:04}.tif"
        contents.append(scan_of(name, 60))
        folder = outside / "hồ sơ 1" / f"quyển {number % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(contents[-1])
    outside.rename(here.path / "moved")
    here.expect(*contents)


def test_a_slow_copy_and_a_killed_one(box: MakeBox, tmp_path: Path):
    """dd writes as slowly as it is fed."""
    here = box("local")
    slow, killed = scan_of("slow.pdf", 500), scan_of("killed.pdf", 500)
    parts = []
    for name, whole in (("slow.pdf", slow), ("killed.pdf", killed)):
        with subprocess.Popen(
            ["dd", f"of={here.path / name}", "status=none", "bs=4096"], stdin=subprocess.PIPE
        ) as dd:
            assert dd.stdin is not None
            dd.stdin.write(whole[:100_000])
            dd.stdin.flush()
            here.stays_untaken(PAUSE, already=len(parts) + (name == "killed.pdf"))
            if name == "killed.pdf":
                dd.kill()
                dd.wait()
                parts.append((here.path / name).read_bytes())
            else:
                dd.stdin.write(whole[100_000:])
        until(lambda n=name: here.taken() or n == "killed.pdf", 10, "the slow one is taken in")
    assert 0 < len(parts[0]) < len(killed)
    here.expect(slow, held=parts)


OVERWRITES = 14


def _rewrite(path: Path, how: str, versions: list[bytes]) -> None:
    """Overwrite a file again and again, at moments around the end of the settle time."""
    chance = random.Random(path.name)
    for version in versions:
        if how == "replaced":
            early = path.with_name(f".{path.name}")
            early.write_bytes(version)
            early.rename(path)
        else:
            flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if how == "truncated" else 0)
            handle = os.open(path, flags)
            for place in range(0, len(version), 50_000):
                os.write(handle, version[place : place + 50_000])
            os.close(handle)
        time.sleep(chance.uniform(0.5 * QUIET, 3 * QUIET))


@pytest.mark.parametrize("how", ["in place", "truncated", "replaced"])
def test_a_file_overwritten_at_any_moment_is_never_a_mixture(box: MakeBox, how: str):
    """Every version that was taken is a whole one, and the last one always is."""
    here = box("local")
    names = [f"scan{number}.tif" for number in range(8)]
    versions = {name: [scan_of(name, 300) for _ in range(OVERWRITES)] for name in names}
    threads = [
        threading.Thread(target=_rewrite, args=(here.path / name, how, versions[name]))
        for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until(lambda: not [n for n in here.left() if not n.startswith(".")], 30, "all are taken in")
    taken = [here.appliance.original(a.document or "") for a in here.taken()]
    whole = {version for each in versions.values() for version in each}
    assert set(taken) <= whole, "a mixture of two versions was taken in"
    for name in names:
        assert versions[name][-1] in taken, f"the last version of {name} is missing"
    assert len(taken) > len(names), "some were overwritten after they were taken"
    here.expect(*taken)


@pytest.mark.parametrize("form", ["png", "tiff", "jpeg"])
def test_scanimage_with_a_feeder_of_ten_sheets(
    box: MakeBox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
):
    """Each page is written under a temporary name; afterwards the scanner says: out of paper."""
    here = box("scanner")
    program = need("scanimage")
    (tmp_path / "dll.conf").write_text("test\n")
    monkeypatch.setenv("SANE_CONFIG_DIR", str(tmp_path))
    listed = subprocess.run([program, "-L"], capture_output=True, text=True, check=False).stdout
    if "test:0" not in listed:
        absent("the test backend of SANE")
    argv = [
        program,
        "-d",
        "test:0",
        "--mode",
        "Gray",
        "--test-picture",
        "Color pattern",
        "--source",
        "Automatic Document Feeder",
        f"--format={form}",
        f"--batch={here.path}/p%02d.{form}",
    ]
    before = time.monotonic()
    Upload(argv).process.wait(60)
    assert time.monotonic() - before < 60
    documents = here.appliance.wait(
        lambda: len(found := [a for a in here.taken() if a.document]) == 10 and found,
        "10 pages",
        20,
    )
    # The backend draws the same picture each time: one document may have many arrivals.
    kept = {a.document for a in documents}
    for document in kept:
        here.appliance.wait(
            lambda d=document: here.appliance.catalog.document(d).object_key, "it is sealed", 20
        )
    assert {a.code for a in documents} <= {None, "same-bytes"}
    until(lambda: here.left() == [], 20, "the last source is taken away")
    here.judge_arrivals(10)


def test_files_in_new_folders_within_folders(box: MakeBox):
    """A folder may be filled before anybody watches it."""
    here = box("local")
    contents = []
    for number in range(10):
        folder = here.path / f"{number}" / "a" / "b"
        folder.mkdir(parents=True)
        contents.append(scan_of("x.jpg", 50))
        (folder / "x.jpg").write_bytes(contents[-1])
    here.expect(*contents)


def test_the_daemon_uses_events_here(appliance: Appliance):
    folders = appliance.wait(lambda: appliance.status()["daemon"]["hotfolders"], "it runs", 10)
    assert {each["name"]: each["mode"] for each in folders}["local"] == "events"
