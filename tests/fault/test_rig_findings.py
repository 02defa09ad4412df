"""What the fault rig once found, each as small as it can be said: a real house, worked by hand."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from archived.engine.lane_assignment import Queue
from archived.engine.processes import kill_marked
from archived.engine.worker.forkserver_client import MARK
from archived.errors import CatalogError
from archived.ingest.hotfolder import HotFolderIngest, HotFolderSpec
from archived.ingest.scanner import FolderOffline
from archived.ingest.submission import Route
from archived.model.outcome import Ending, Outcome
from archived.storage import atomic
from archived.storage.catalog import Catalog
from archived.testing.invariants import problems
from tests.fault.hand_driven_archive import CONTENT, STAGES, World

pytestmark = pytest.mark.fault


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    (made.hot / "page.pdf").write_bytes(CONTENT)
    yield made
    made.catalog.close()


def fail(monkeypatch: pytest.MonkeyPatch, operation: str, path: Path, times: int = 1) -> None:
    """Let a durable operation on this path end in EIO, so many times."""
    left = [times]

    def fuse(what: str, where: Path) -> None:
        if (what, where) == (operation, path) and left[0]:
            left[0] -= 1
            raise OSError(errno.EIO, "Input/output error", str(where))

    monkeypatch.setattr(atomic, "fuse", fuse)


def in_spool(world: World) -> list[str]:
    return [each.name for each in world.spool.documents.iterdir()]


def test_a_disk_that_fails_after_the_rename_of_an_admission_leaves_nothing_behind(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(monkeypatch, "fsync-folder", world.spool.documents)

    world.sweep()

    assert in_spool(world) == [row.id for row in world.catalog.documents()]
    assert len(in_spool(world)) == 1


def test_what_a_failed_admission_left_is_no_second_document_after_a_restart(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even its removal succeeds; the next try takes the file in, then the daemon starts."""
    left_behind = []

    def fuse(what: str, where: Path) -> None:
        if not left_behind and (what, where) == ("fsync-folder", world.spool.documents):
            left_behind.extend(in_spool(world))
        elif not (left_behind and where.name.startswith(left_behind[0])):
            return
        raise OSError(errno.EIO, "Input/output error", str(where))

    monkeypatch.setattr(atomic, "fuse", fuse)
    world.sweep()
    monkeypatch.setattr(atomic, "fuse", None)
    assert len(in_spool(world)) == 2
    world.work()

    world.restart()

    assert len(world.catalog.documents()) == 1
    assert problems(world.state, world.root / "store") == []


def test_a_document_does_not_wait_for_a_clock_that_was_set_back(world: World) -> None:
    world.sweep()
    (row,) = world.catalog.documents()
    now = world.now()

    assert Queue(world.catalog).next(row.lane, now - timedelta(days=1), 10, ()) == [row]


def test_a_wait_is_kept_while_the_clock_only_wavers(world: World) -> None:
    world.sweep()
    (row,) = world.catalog.documents()
    postponed = Outcome(Ending.POSTPONED, code="server-down", after=timedelta(seconds=30))
    world.end(world.begin(row), postponed)

    assert Queue(world.catalog).next(row.lane, world.now() - timedelta(seconds=5), 10, ()) == []


def test_a_catalog_with_a_damaged_page_anywhere_is_refused_and_left_as_it_is(
    world: World, tmp_path: Path
) -> None:
    world.sweep()
    world.work()
    world.catalog.close()
    file = tmp_path / "state" / "catalog.db"
    content = bytearray(file.read_bytes())
    for page in range(5, len(content) // 4096, 2):
        content[page * 4096 : page * 4096 + 64] = b"?" * 64
    file.write_bytes(content)

    with pytest.raises(CatalogError, match="cannot be read") as refused:
        Catalog.open(file)

    assert f"cp BACKUP/catalog.db {file}" in refused.value.hint
    assert file.read_bytes() == content


def test_an_empty_catalog_beside_sealed_objects_is_refused(world: World, tmp_path: Path) -> None:
    world.sweep()
    world.work()
    world.catalog.close()
    for file in (tmp_path / "state").glob("catalog.db*"):
        file.unlink()
    again = World(tmp_path)

    with pytest.raises(CatalogError, match="there are objects") as refused:
        again.restart()

    assert refused.value.code == "catalog-lost"
    assert again.catalog.ledger_head().sequence == 0
    again.catalog.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_what_lies_where_a_share_was_mounted_withdraws_nothing(world: World) -> None:
    route = Route("scans", "paper", STAGES, 1, "cpu")
    ingest = HotFolderIngest(
        HotFolderSpec("scans", world.hot, route, settle_time=60.0),
        world.catalog,
        world.spool,
        world,
    )
    subprocess.run(["mount", "-t", "tmpfs", "none", world.hot], check=True)
    try:
        (world.hot / "on the share.pdf").write_bytes(CONTENT)
        ingest.sweep()
    finally:
        subprocess.run(["umount", world.hot], check=True)

    assert [path.name for path in world.hot.iterdir()] == ["page.pdf"]  # below the mount
    for _ in range(2):
        with pytest.raises(FolderOffline, match="mount it again"):
            ingest.sweep()
    (arrival,) = world.catalog.arrivals()
    assert (arrival.name, arrival.state, arrival.present) == ("on the share.pdf", "seen", True)


def test_what_a_dead_fork_server_left_is_found_although_proc_cannot_be_read_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, failed = Path.iterdir, []

    def out_of_files(self: Path) -> Iterator[Path]:
        if not failed:
            failed.append(self)
            raise OSError(errno.EMFILE, "Too many open files")
        return real(self)

    left = subprocess.Popen(["sleep", "60"], env={**os.environ, MARK: "of-this-test"})
    while b"of-this-test" not in Path(f"/proc/{left.pid}/environ").read_bytes():
        pass  # it is just becoming that program
    monkeypatch.setattr(Path, "iterdir", out_of_files)

    kill_marked(f"{MARK}=of-this-test", 60)

    assert (failed, left.wait(60)) == ([Path("/proc")], -9)
