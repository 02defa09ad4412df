"""What only a share does: overwritten in place, left open, named late, and a net that tears."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.system.servers.appliance import DEADLINE, PAUSE, Appliance, Box, scan_of
from tests.system.servers.programs import (
    Upload,
    absent,
    free_port,
    need,
    need_python,
    need_root,
    until,
)
from tests.system.servers.services import PASSWORD, USER, Services, serving
from tests.system.servers.ways import RATE

MakeBox = Callable[[str], Box]
HALF = 300_000


def client(host: str, port: int, local: Path, target: str, *more: object) -> list[object]:
    script = Path(__file__).with_name("smb_client.py")
    return [need_python(), script, host, USER, PASSWORD, local, target, "--port", port, *more]


@pytest.fixture
def send(services: Services) -> Callable[..., Upload]:
    port = services.start("smb")
    return lambda local, target, *more: Upload(client("127.0.0.1", port, local, target, *more))


def test_a_file_overwritten_in_place_is_taken_as_what_it_is_in_the_end(send, box, tmp_path):
    here: Box = box("smb")
    old, new = scan_of("a.tif", 1000), scan_of("a.tif", 1000)
    assert len(old) == len(new), "its size never changes"
    first = here.source("old.tif", old, tmp_path)
    local = here.source("a.tif", new, tmp_path)
    upload = send(local, f"{here.name}/a.tif", "--instead-of", first, "--in-place", "--rate", RATE)
    here.midway(len(old))
    here.stays_untaken(PAUSE)
    upload.done()
    here.expect(new)


def test_a_whole_file_that_is_still_open_is_not_taken(send, box, tmp_path):
    here: Box = box("smb")
    whole = scan_of("open.pdf", 300)
    upload = send(
        here.source("open.pdf", whole, tmp_path),
        f"{here.name}/open.pdf",
        "--leave-open",
        PAUSE + 0.5,
    )
    here.midway(len(whole))
    here.stays_untaken(PAUSE)
    upload.done()
    here.expect(whole)


@pytest.mark.parametrize("early", ["scan.part", ".scan", "~scan.tmp"])
def test_a_name_given_after_the_upload_is_the_documents_name(send, box, tmp_path, early):
    here: Box = box("smb")
    whole = scan_of("named.jpg")
    upload = send(
        here.source("named.jpg", whole, tmp_path),
        f"{here.name}/{early}",
        "--rename-to",
        f"{here.name}/named.jpg",
    )
    upload.done()
    [ending] = here.expect(whole)
    assert ending.path.endswith(b"/named.jpg")


def test_ftp_names_given_after_the_upload(services: Services, box: MakeBox, tmp_path: Path):
    here = box("vsftpd")
    whole = scan_of("named.pdf")
    local = here.source("named.pdf", whole, tmp_path)
    port = services.start("vsftpd")
    # curl has changed into the folder by the time it renames.
    Upload(
        [
            need("curl"),
            "--silent",
            "--show-error",
            "-T",
            local,
            "-Q",
            "-RNFR early.pdf.part",
            "-Q",
            "-RNTO named.pdf",
            f"ftp://127.0.0.1:{port}/{here.name}/early.pdf.part",
        ]
    ).done()
    [ending] = here.expect(whole)
    assert ending.path.endswith(b"/named.pdf")


@dataclass(frozen=True)
class Net:
    """A server's and a scanner's machine, with a cable between them."""

    server: str
    client: str
    address: str

    def at_server(self) -> list[str]:
        return ["ip", "netns", "exec", self.server]

    def at_client(self) -> list[str]:
        return ["ip", "netns", "exec", self.client]

    def lose(self) -> None:
        """Every packet is dropped, both ways; nobody is told."""
        for chain in ("INPUT", "OUTPUT"):
            _run(*self.at_client(), "iptables", "-I", chain, "-j", "DROP")

    def mend(self) -> None:
        """They come through again."""
        _run(*self.at_client(), "iptables", "-F")


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True)


@pytest.fixture(scope="module")
def net() -> Iterator[Net]:
    """Two network namespaces and a veth pair; skipped where the kernel lacks them."""
    need_root()
    need("iptables")
    mark = secrets.token_hex(2)
    made = Net(f"as-{mark}", f"ac-{mark}", "10.213.7.1")
    try:
        for name in (made.server, made.client):
            _run(need("ip"), "netns", "add", name)
        _run(
            "ip",
            "link",
            "add",
            f"vs{mark}",
            "netns",
            made.server,
            "type",
            "veth",
            "peer",
            "name",
            f"vc{mark}",
            "netns",
            made.client,
        )
        for at, device, address in (
            (made.at_server(), f"vs{mark}", "10.213.7.1/30"),
            (made.at_client(), f"vc{mark}", "10.213.7.2/30"),
        ):
            _run(*at, "ip", "link", "set", "lo", "up")
            _run(*at, "ip", "address", "add", address, "dev", device)
            _run(*at, "ip", "link", "set", device, "up")
        _run(*made.at_client(), "iptables", "-L")
    except (subprocess.CalledProcessError, OSError) as error:
        _tear_down(made)
        absent(f"a network namespace with iptables ({error})")
    yield made
    _tear_down(made)


def _tear_down(net: Net) -> None:
    for name in (net.server, net.client):
        subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


@pytest.fixture(scope="module")
def far(net: Net, public: Path, appliance: Appliance) -> Iterator[int]:
    """The port of an smbd at the other end of the cable."""
    port = free_port()
    with serving(
        "lost",
        public / "lost",
        appliance.public / "lost",
        port,
        address=net.address,
        within=net.at_server(),
    ):
        yield port


def far_upload(net: Net, port: int, local: Path, target: str) -> Upload:
    return Upload([*net.at_client(), *client(net.address, port, local, target, "--rate", RATE)])


def test_a_network_that_comes_back_costs_nothing(net: Net, far: int, box: MakeBox, tmp_path: Path):
    here = box("lost")
    whole = scan_of("blip.tif", 1000)
    local = here.source("blip.tif", whole, tmp_path)
    upload = far_upload(net, far, local, f"{here.name}/{local.name}")
    here.midway(HALF)
    net.lose()
    try:
        here.stays_untaken(PAUSE)
    finally:
        net.mend()
    upload.done()
    here.expect(whole)


def test_a_file_whose_network_is_lost_is_on_hold_and_goes_on_when_it_is_back(
    net: Net, far: int, box: MakeBox, tmp_path: Path
):
    """The server still has it open and may yet write to it: nobody takes it away underneath."""
    here = box("lost")
    whole = scan_of("lost.tif", 1000)
    local = here.source("lost.tif", whole, tmp_path)
    upload = far_upload(net, far, local, f"{here.name}/{local.name}")
    here.midway(HALF)
    net.lose()
    try:
        [arrival] = until(here.taken, DEADLINE + 10, "it is held")
        assert (arrival.state, arrival.code) == ("held", "still-open")
        assert here.left() == ["lost.tif"]
        [balance] = [b for b in here.appliance.catalog.balance() if b.hotfolder == "lost"]
        assert (balance.held, balance.unaccounted) == (1, 0)
    finally:
        net.mend()
    upload.done()
    here.expect(whole, seconds=30)


def test_a_connection_that_is_given_up_leaves_an_incomplete_arrival(
    net: Net, far: int, box: MakeBox, tmp_path: Path
):
    """The scanner is gone, and at last the server notices."""
    here = box("lost")
    whole = scan_of("gone.tif", 1000)
    local = here.source("gone.tif", whole, tmp_path)
    upload = far_upload(net, far, local, f"{here.name}/{local.name}")
    here.midway(HALF)
    net.lose()
    try:
        until(here.taken, DEADLINE + 10, "it is held where it is")
        upload.kill()
    finally:
        net.mend()
    [document] = here.appliance.wait(
        lambda: [a.document for a in here.taken() if a.document], "it is taken in as it is", 20
    )
    part = here.appliance.original(document)
    assert whole.startswith(part)
    assert 0 < len(part) < len(whole)
    here.expect(held=[part])
