"""The power goes before every durable call of an admission and a removal; nothing is lost or twice.

Real files and a child that really dies (`power.cut`). A commit of the catalog counts as a durable
call here, so that the instant between "in the spool" and "on record" is among them.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import event

from archived.errors import ArchivedError
from archived.model.lifecycle import State
from archived.storage import atomic
from tests.fault.storage.power import cut
from tests.integration.ingest.hand_driven_folder import Place, paper

pytestmark = pytest.mark.fault


def live(root: Path, name: str = "one") -> None:
    """A start after whatever happened, and sweeps until all is quiet."""
    place = opened(root, name)
    place.recover()
    place.quiet()
    place.catalog.close()


def opened(root: Path, name: str = "one") -> Place:
    place = Place(root, deadline="20 ms", more=SETTINGS.get(name, ""))

    @event.listens_for(place.catalog._engine, "before_cursor_execute")
    def _commit(_connection, _cursor, statement, *_):
        if statement == "COMMIT":
            atomic.step("commit", place.catalog.path)

    return place


def one(place: Place) -> None:
    place.drop("sub/a.pdf", paper("a"))


def again(place: Place) -> None:
    """The second of two equal files; the first is in custody."""
    place.drop("a.pdf", paper("a"))
    place.quiet()
    place.drop("b.pdf", paper("a"))


def cut_short(place: Place) -> None:
    """One that will be held, and its neighbour."""
    place.drop("half.pdf", paper("half")[:150])
    place.drop("a.pdf", paper("a"))


def dossier(place: Place) -> None:
    """A ticket that makes two documents of three files."""
    for each in ("a", "b", "c"):
        place.drop(f"HS/{each}.pdf", paper(each))
    files = [
        {"path": "a.pdf", "document": "d"},
        {"path": "b.pdf", "document": "d"},
        {"path": "c.pdf"},
    ]
    place.drop("HS/ticket.json", json.dumps({"files": files}).encode())


PREPARED: dict[str, tuple[Callable[[Place], None], list[bytes], int]] = {
    "one": (one, [paper("a")], 1),
    "again": (again, [paper("a")], 2),
    "held": (cut_short, sorted([paper("a"), paper("half")[:150]]), 2),
    "dossier": (dossier, [paper("a"), paper("c")], 4),
}
"""Name -> (what lies in the hot folder, the documents there must be, the files seen)."""


SETTINGS = {"dossier": 'dossiers = true\nclosed_by = ["ticket"]'}
"""Name -> what else stands in the hot folder's table."""


def prepare(root: Path, name: str) -> Place:
    root.mkdir()
    place = Place(root, deadline="20 ms", more=SETTINGS.get(name, ""))
    PREPARED[name][0](place)
    place.sweep()  # on record, not yet taken in
    place.catalog.close()
    return place


def copy(template: Place, root: Path) -> None:
    shutil.copytree(template.root, root)
    config = root / "archived.toml"
    config.write_text(config.read_text().replace(str(template.root), str(root)))


def in_order(root: Path, name: str, dropped: object) -> None:
    place = Place(root, deadline="20 ms", more=SETTINGS.get(name, ""))
    _, contents, seen = PREPARED[name]
    documents = place.documents()
    assert sorted(place.custody(d) for d in documents) == contents
    assert place.left() == []
    assert place.balance.seen == seen
    assert all(d.state is State.HELD for d in documents if d.name == "half.pdf")
    for document in documents:
        entries = [entry.kind for entry in place.catalog.ledger_of(document.id)]
        assert entries.count("document-admitted") + entries.count("recovered") == 1, entries
    if name == "dossier":
        assert [len(place.originals(d)) for d in documents] == [2, 1], "both or none, each whole"
        assert place.services.find_bytes(documents[0].id, "metadata/ticket.json") is not None
    place.dropped = dropped
    place.settle_up()


@pytest.mark.parametrize("name", PREPARED)
def test_the_power_may_go_at_any_call_of_an_admission(tmp_path: Path, name: str):
    template = prepare(tmp_path / "template", name)
    # A dossier's calls are those of one file several times over; every other one will do.
    for calls in itertools.count(step=2 if name == "dossier" else 1):
        root = tmp_path / "root"
        copy(template, root)
        went = cut(lambda root=root: live(root, name), calls)
        live(root, name)
        in_order(root, name, template.dropped.copy())
        shutil.rmtree(root)
        if not went:
            break
    assert calls > 15, "an admission and a removal are that many durable calls"


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC], ids=errno.errorcode.get)
@pytest.mark.parametrize("name", PREPARED)
def test_a_disk_may_fail_once_at_any_call_of_an_admission(
    tmp_path: Path, name: str, number: int, monkeypatch: pytest.MonkeyPatch
):
    """The same daemon goes on; what it does then is done once."""
    template = prepare(tmp_path / "template", name)
    # One error number has the even calls, the other the odd ones.
    for calls in itertools.count(start=number % 2, step=4 if name == "dossier" else 2):
        root = tmp_path / "root"
        copy(template, root)
        left = [calls]

        def fuse(_: str, path: Path, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] == -1:
                raise OSError(number, os.strerror(number), str(path))

        place = opened(root, name)
        monkeypatch.setattr(atomic, "fuse", fuse)
        try:
            place.quiet()
        except (OSError, ArchivedError):  # a sweep that broke off; the next one comes
            place.quiet()
        monkeypatch.setattr(atomic, "fuse", None)
        place.recover()
        place.catalog.close()
        in_order(root, name, template.dropped.copy())
        shutil.rmtree(root)
        if left[0] >= 0:
            break
    assert calls > 15


@pytest.mark.parametrize("first", [6, 9, 11, 12, 14])
def test_the_power_may_go_again_while_that_is_put_right(tmp_path: Path, first: int):
    template = prepare(tmp_path / "template", "one")
    assert cut(lambda: live(template.root), first)
    for calls in itertools.count():
        root = tmp_path / "root"
        copy(template, root)
        went = cut(lambda root=root: live(root), calls)
        live(root)
        in_order(root, "one", template.dropped.copy())
        shutil.rmtree(root)
        if not went:
            break


@pytest.mark.parametrize("calls", range(4, 14))
def test_a_file_that_changes_while_the_power_goes_is_archived_whole_and_once(
    tmp_path: Path, calls: int
):
    """Half-read bytes never get a name in the spool, so that recovery cannot adopt them."""
    root = tmp_path / "root"
    root.mkdir()
    place = Place(root)
    path = place.drop("busy.pdf", paper("before"))
    place.destroyed(path)
    place.sweep()
    place.catalog.close()

    def change_and_die() -> None:
        switch = atomic.fuse

        def fuse(operation: str, file: Path) -> None:
            if operation == "write" and path.stat().st_size == len(paper("before")):
                path.write_bytes(paper("afterwards, and longer"))
            switch(operation, file)

        atomic.fuse = fuse
        opened(root).quiet()

    assert cut(change_and_die, calls)
    place = Place(root)
    place.recover()
    [document] = place.quiet()
    assert place.custody(document) == paper("afterwards, and longer")
    place.settle_up()


def test_one_that_was_held_and_is_another_by_the_restart_is_adopted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Its arrival is on record as present: a second one under the same name would be refused."""
    place = Place(tmp_path, deadline="20 ms")
    path = place.drop("a.pdf", paper("a")[:150])
    with path.open("ab"):
        place.until(lambda _: [a.code for a in place.arrivals()] == ["still-open"])

    class PowerCut(BaseException):
        pass

    def fuse(operation: str, file: Path) -> None:
        if operation == "commit" and list(place.spool.documents.iterdir()):
            raise PowerCut

    monkeypatch.setattr(atomic, "fuse", fuse)
    with pytest.raises(PowerCut):
        place.until(lambda _: False)
    monkeypatch.setattr(atomic, "fuse", None)
    place.drop("a.pdf", paper("scanned again"))

    assert len(place.recover().adopted) == 1
    place.new_desk()
    documents = place.quiet()

    assert [place.custody(each) for each in documents] == [paper("a")[:150], paper("scanned again")]
    assert place.balance.seen == 2
    place.settle_up()


def test_a_spool_folder_that_lost_its_bytes_is_never_adopted(tmp_path: Path):
    """A removal cut short leaves a note without its file: that is no document."""
    place = Place(tmp_path)
    path = place.drop("a.pdf")
    [document] = place.quiet()
    folder = place.spool.folder(document.id)
    place.catalog.close()
    for file in (tmp_path / "state").glob("catalog.db*"):
        file.unlink()
    original = folder / "original" / "0001.pdf"
    content = original.read_bytes()
    original.unlink()
    place = Place(tmp_path)
    assert place.recover().unexplained == [document.id]
    assert place.documents() == []
    original.write_bytes(content[:50])
    assert place.recover().unexplained == [document.id]
    original.write_bytes(content)
    assert place.recover().adopted == [document.id]
    assert not path.exists()
    original.chmod(0o440)
    place.settle_up()
