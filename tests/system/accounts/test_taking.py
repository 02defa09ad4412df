"""What an account made is copied out of its hands before it counts."""

from __future__ import annotations

import os

import pytest

from archived.model.outcome import Made
from archived.storage import atomic
from archived.storage.spool import ORIGINAL_MODE, Spool
from tests.system.accounts.service_machine import FIRST


@pytest.fixture
def spool(tmp_path) -> Spool:
    made = Spool(tmp_path)
    made.create()
    (made.documents / "doc").mkdir()
    return made


MADE = Made(role="text", path="text/a.txt", name="a.txt", media_type="text/plain")


def _work(spool: Spool):
    work = spool.start_work("step")
    (work / "text").mkdir()
    file = work / MADE.path
    file.write_text("as it was judged")
    return work, file


@pytest.mark.skipif(os.geteuid() != 0, reason="user ids are root's to give")
def test_a_file_that_another_account_owns_is_copied(spool):
    work, file = _work(spool)
    os.chown(file, FIRST, FIRST)
    with file.open("ab") as still_open:
        [kept] = spool.keep("doc", "step", work, [MADE])
        still_open.write(b", and changed afterwards")
    there = spool.folder("doc") / kept.path
    status = there.stat()
    assert there.read_text() == "as it was judged"
    assert (status.st_uid, status.st_mode & 0o777) == (os.geteuid(), ORIGINAL_MODE)
    assert [spool.keep("doc", "step", work, [MADE])] == [[kept]], "again is the same"


def test_a_file_of_the_services_own_account_is_moved(spool):
    work, file = _work(spool)
    before = file.stat().st_ino
    [kept] = spool.keep("doc", "step", work, [MADE])
    assert (spool.folder("doc") / kept.path).stat().st_ino == before


def test_nothing_is_taken_by_way_of_a_link(spool, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/a.txt").write_text("of the service")
    for link in ("text", "text/a.txt"):
        work = spool.start_work("step")
        if link != "text":
            (work / "text").mkdir()
        (work / link).symlink_to(tmp_path / "outside" / link.removeprefix("text").strip("/"))
        with pytest.raises(OSError, match=r"text/a\.txt"):
            spool.keep("doc", "step", work, [MADE])
    assert (tmp_path / "outside/a.txt").exists()


@pytest.mark.parametrize("path", ["../a.txt", "/etc/hostname", "text/../../a", ""])
def test_a_path_that_leads_out_is_none(spool, path):
    work, _ = _work(spool)
    with pytest.raises(OSError), atomic.open_beneath(work, path):
        pass
