"""Every client on every server: slow, killed half-way, resumed, and the same name again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.servers.appliance import PAUSE, Box, scan_of
from tests.system.servers.programs import Upload, until
from tests.system.servers.services import Services
from tests.system.servers.ways import RATE, WAYS, Way, smbclient

MakeBox = Callable[[str], Box]
EVERY = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
HALF = 300_000
"""Bytes on the server's disk at which a client is interrupted."""


def send(way: Way, services: Services, local: Path, box: Box, rate: int = 0) -> Upload:
    return Upload(way.send(services, local, f"{box.name}/{local.name}", rate))


@EVERY
def test_a_slow_client_is_waited_for(way: Way, services: Services, box: MakeBox, tmp_path: Path):
    """It says nothing for longer than the settle time, and its files are years old."""
    here = box(way.server)
    whole = scan_of("slow.tif", 1000)
    upload = send(way, services, here.source("slow.tif", whole, tmp_path), here, RATE)
    here.midway(HALF)
    upload.stop()
    here.stays_untaken(PAUSE)
    upload.go_on()
    upload.done()
    here.expect(whole)
    until(lambda: here.left() == [], 20, "the source is taken away")


@EVERY
def test_a_client_killed_half_way_leaves_no_whole_document(
    way: Way, services: Services, box: MakeBox, tmp_path: Path
):
    here = box(way.server)
    whole = scan_of("killed.jpg", 1100)
    upload = send(way, services, here.source("killed.jpg", whole, tmp_path), here, RATE)
    here.midway(HALF)
    upload.kill()
    if way.killed == "nothing":
        here.expect()
        here.stays_untaken(PAUSE)
        return
    path = here.path / "killed.jpg"
    size = [-1]

    def let_go() -> bool:
        size.append(path.stat().st_size if path.exists() else -1)
        return size[-1] == size[-2] > 0

    until(let_go, 10, "the server is done with what it got")
    [ending] = held(here, lambda part: whole.startswith(part) or way.name == "smb-reserved")
    assert ending == "arrived-incomplete"
    until(lambda: here.left() == [], 20, "its source is taken away as well")


def held(box: Box, fits: Callable[[bytes], bool]) -> list[str]:
    """Wait for the one held document of a box and keep its bytes as what is expected."""
    [found] = box.appliance.until(
        lambda: [e for e in box.endings() if e.ending == "held"], 20, f"{box.name} is held"
    )
    part = box.appliance.original(found.document)
    assert fits(part), "held bytes are the very bytes that came"
    box.expect(held=[part])
    return [found.code]


@pytest.mark.parametrize("way", [w for w in WAYS if w.resume], ids=lambda way: way.name)
def test_a_resumed_upload_is_one_document(
    way: Way, services: Services, box: MakeBox, tmp_path: Path
):
    here = box(way.server)
    whole = scan_of("resumed.pdf", 1100)
    local = here.source("resumed.pdf", whole, tmp_path)
    upload = send(way, services, local, here, RATE)
    here.midway(HALF)
    upload.kill()
    here.stays_untaken(PAUSE)
    assert way.resume is not None
    Upload(way.resume(services, local, f"{here.name}/{local.name}", 0)).done()
    here.expect(whole)


@EVERY
def test_the_same_name_again_is_a_new_document(
    way: Way, services: Services, box: MakeBox, tmp_path: Path
):
    """Sent again while the first is still in work, or just after: both are kept."""
    here = box(way.server)
    contents = [scan_of("again.png") for _ in range(2)]
    for number, content in enumerate(contents):
        send(way, services, here.source("again.png", content, tmp_path), here).done()
        here.appliance.until(lambda n=number: len(here.taken()) > n, 10, "it is taken in")
    here.expect(*contents)


@pytest.mark.parametrize(
    "way", [w for w in WAYS if w.name in {"smb", "vsftpd", "sftp"}], ids=lambda way: way.name
)
def test_a_file_repeated_is_a_second_arrival_of_one_document(
    way: Way, services: Services, box: MakeBox, tmp_path: Path
):
    here = box(way.server)
    content = scan_of("first.pdf")
    for number, name in enumerate(("first.pdf", "second.pdf")):
        send(way, services, here.source(name, content, tmp_path), here).done()
        here.appliance.until(lambda n=number: len(here.taken()) > n, 10, "it is taken in")
    first, second = here.taken()
    assert first.document == second.document
    assert (first.code, second.code) == (None, "same-bytes")
    here.judge_repeated(content)


def test_sambas_own_client(services: Services, box: MakeBox, tmp_path: Path):
    here = box("smb")
    contents = [scan_of(name, 900) for name in ("a.tif", "b.jpg")]
    for content, name in zip(contents, ("a.tif", "b.jpg"), strict=True):
        local = here.source(name, content, tmp_path)
        Upload(smbclient(services, local, f"{here.name}/{name}", 0)).done()
    here.expect(*contents)
