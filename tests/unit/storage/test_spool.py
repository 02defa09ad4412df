"""The spool keeps what was received and what was made, whole or not at all."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from archived.errors import SpoolError
from archived.model.outcome import Made
from archived.storage import atomic
from archived.storage.spool import IncomingFile, Spool

DOCUMENT, STEP = "document-1", "step-1"


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    spool = Spool(tmp_path / "state")
    spool.create()
    return spool


def incoming(folder: Path, name: str, content: bytes, path: str) -> IncomingFile:
    (folder / name).write_bytes(content)
    return IncomingFile(folder / name, path, {"name": name})


def three_files(folder: Path) -> list[IncomingFile]:
    return [
        incoming(folder, "b.tif", b"second name, first page", "original/0001.tif"),
        incoming(folder, "a.tif", b"first name, second page", "original/0002.tif"),
        incoming(folder, "ticket", b"{}", "metadata/ticket.json"),
    ]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_its_folders_are_the_services_own_and_where_the_next_version_looks_for_them(
    spool: Spool, tmp_path: Path
) -> None:
    assert names(tmp_path / "state") == ["spool", "work"]
    assert names(tmp_path / "state" / "spool") == ["documents", "incoming"]
    assert spool.uncleared.folder == tmp_path / "state" / "uncleared"
    for folder in (spool.incoming, spool.documents, spool.work):
        assert mode(folder) == 0o750
    spool.create()  # again, with all of them there


def test_what_is_taken_in_lies_there_bit_exact_and_read_only_and_explains_itself(
    spool: Spool, tmp_path: Path
) -> None:
    kept = spool.take_in(DOCUMENT, three_files(tmp_path), {"origin": "máy 1"})
    assert [file.path for file in kept] == [
        "original/0001.tif",
        "original/0002.tif",
        "metadata/ticket.json",
    ]
    folder = spool.folder(DOCUMENT)
    for file in kept:
        found = atomic.digest(folder / file.path)
        assert (found.size, found.sha256, found.sha512) == (file.size, file.sha256, file.sha512)
        assert mode(folder / file.path) == 0o440
    facts = json.loads((folder / "arrival.json").read_text())
    assert facts == spool.arrival(DOCUMENT)
    assert (facts["document"], facts["origin"]) == (DOCUMENT, "máy 1")
    assert [file["name"] for file in facts["files"]] == ["b.tif", "a.tif", "ticket"]
    for told, file in zip(facts["files"], kept, strict=True):
        assert told["file"] == file.path
        assert (told["size"], told["sha256"], told["sha512"]) == (
            file.size,
            file.sha256,
            file.sha512,
        )
    assert (folder / "arrival.json").read_bytes().isascii(), "readable with any tool"
    assert names(spool.incoming) == []
    assert (tmp_path / "b.tif").exists(), "the sources are only read"
    assert list(spool.held_documents()) == [DOCUMENT]


@pytest.mark.parametrize("how", ["check", "source"])
def test_what_goes_wrong_while_it_is_taken_in_leaves_nothing(
    spool: Spool, tmp_path: Path, how: str
) -> None:
    files = three_files(tmp_path)

    def refuse() -> None:
        raise ValueError("it changed")

    if how == "source":
        (tmp_path / "ticket").unlink()
    with pytest.raises((ValueError, OSError)):
        spool.take_in(DOCUMENT, files, {}, refuse if how == "check" else lambda: None)
    assert names(spool.incoming) == names(spool.documents) == []


def test_a_document_whose_name_is_not_durable_is_let_go_again(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(operation: str, path: Path) -> None:
        if (operation, path) == ("fsync-folder", spool.documents) and names(spool.documents):
            raise OSError(errno.EIO, "the disk fails")

    monkeypatch.setattr(atomic, "fuse", fails)
    with pytest.raises(OSError, match="the disk fails"):
        spool.take_in(DOCUMENT, three_files(tmp_path), {})
    assert not spool.folder(DOCUMENT).exists()


def test_a_document_is_taken_in_once(spool: Spool, tmp_path: Path) -> None:
    files = three_files(tmp_path)
    kept = spool.take_in(DOCUMENT, files, {})
    with pytest.raises(FileExistsError):
        spool.take_in(DOCUMENT, files, {})
    assert atomic.digest(spool.folder(DOCUMENT) / kept[0].path).sha512 == kept[0].sha512
    assert names(spool.incoming) == []


@pytest.mark.parametrize("text", ["", "{", "nothing"])
def test_an_arrival_that_cannot_be_read_is_said(spool: Spool, text: str) -> None:
    spool.folder(DOCUMENT).mkdir()
    if text != "nothing":
        (spool.folder(DOCUMENT) / "arrival.json").write_text(text)
    with pytest.raises(SpoolError):
        spool.arrival(DOCUMENT)


def made_in(work: Path) -> list[Made]:
    (work / "out").mkdir()
    (work / "out" / "a.txt").write_text("text")
    (work / "page.pdf").write_text("pdf")
    return [
        Made("page.pdf", "document.pdf", "application/pdf", "access"),
        Made("out/a.txt", "document.txt", "text/plain", "text"),
    ]


def test_what_a_step_made_is_kept_in_its_order_read_only_and_twice_is_once(
    spool: Spool, tmp_path: Path
) -> None:
    spool.take_in(DOCUMENT, three_files(tmp_path), {})
    work = spool.start_work(STEP)
    made = made_in(work)
    kept = spool.keep(DOCUMENT, STEP, work, made)
    assert [file.path for file in kept] == [
        f"made/{STEP}/000-access-document.pdf",
        f"made/{STEP}/001-text-document.txt",
    ]
    for file, content in zip(kept, ("pdf", "text"), strict=True):
        path = spool.folder(DOCUMENT) / file.path
        assert path.read_text() == content
        assert mode(path) == 0o440
        found = atomic.digest(path)
        assert (found.size, found.sha256, found.sha512) == (file.size, file.sha256, file.sha512)
    assert names(spool.incoming) == []
    spool.end_work(STEP)
    assert names(spool.work) == []
    assert spool.keep(DOCUMENT, STEP, work, made) == kept, "after a crash, with nothing to take"


def test_what_a_crash_left_of_a_keeping_is_not_kept(spool: Spool, tmp_path: Path) -> None:
    spool.take_in(DOCUMENT, three_files(tmp_path), {})
    (spool.incoming / STEP).mkdir()
    (spool.incoming / STEP / "half").touch()
    work = spool.start_work(STEP)
    spool.keep(DOCUMENT, STEP, work, made_in(work))
    assert not list(spool.folder(DOCUMENT).rglob("half"))


def test_a_step_that_made_nothing_has_no_folder(spool: Spool, tmp_path: Path) -> None:
    spool.take_in(DOCUMENT, three_files(tmp_path), {})
    assert spool.keep(DOCUMENT, STEP, tmp_path, []) == []
    assert not (spool.folder(DOCUMENT) / "made").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_what_another_account_owns_is_copied_so_that_it_cannot_change_it_later(
    spool: Spool, tmp_path: Path
) -> None:
    spool.take_in(DOCUMENT, three_files(tmp_path), {})
    work = spool.start_work(STEP)
    made = made_in(work)
    os.chown(work / "page.pdf", 65534, 65534)
    with (work / "page.pdf").open("r+") as still_open:
        theirs, ours = spool.keep(DOCUMENT, STEP, work, made)
        still_open.write("changed")
    folder = spool.folder(DOCUMENT)
    assert (folder / theirs.path).read_text() == "pdf"
    assert (folder / theirs.path).stat().st_uid == 0
    assert mode(folder / theirs.path) == 0o440
    assert (work / "page.pdf").exists(), "copied"
    assert not (work / "out/a.txt").exists(), "moved: it is ours"
    assert (folder / ours.path).read_text() == "text"


def test_an_attempt_starts_with_an_empty_folder_of_its_own(spool: Spool) -> None:
    left = spool.start_work(STEP)
    (left / "left").touch()
    folder = spool.start_work(STEP)
    assert folder == left == spool.work / STEP
    assert names(folder) == []
    assert mode(folder) == 0o700


def test_nothing_is_written_below_a_disk_that_is_not_mounted_any_more(
    spool: Spool, tmp_path: Path
) -> None:
    spool.take_in(DOCUMENT, three_files(tmp_path), {})
    work = spool.start_work(STEP)
    made = made_in(work)
    spool.documents.rename(tmp_path / "away")
    spool.documents.mkdir()
    with pytest.raises(OSError) as taking:
        spool.take_in("document-2", three_files(tmp_path), {})
    with pytest.raises(OSError) as keeping:
        spool.keep(DOCUMENT, STEP, work, made)
    assert taking.value.errno == keeping.value.errno == errno.ESTALE
    assert names(spool.documents) == names(spool.incoming) == []


def test_a_document_that_is_let_go_loses_its_name_first(spool: Spool, tmp_path: Path) -> None:
    spool.take_in(DOCUMENT, three_files(tmp_path), {})
    (spool.incoming / f"{DOCUMENT}.dropped" / "left").mkdir(parents=True)
    seen: list[tuple[str, bool]] = []

    def watch(operation: str, _path: Path) -> None:
        seen.append((operation, spool.folder(DOCUMENT).exists()))

    atomic.fuse = watch
    try:
        spool.drop(DOCUMENT)
    finally:
        atomic.fuse = None
    assert names(spool.documents) == names(spool.incoming) == []
    after = [operation for operation, there in seen if not there]
    assert after[:2] == ["fsync-folder", "remove-tree"], "durably, before a byte of it goes"
    spool.drop(DOCUMENT)  # and there may be none


def test_a_start_clears_what_nothing_mentions_and_no_document(spool: Spool, tmp_path: Path) -> None:
    spool.take_in(DOCUMENT, three_files(tmp_path), {})
    (spool.incoming / "half").mkdir()
    spool.start_work(STEP)
    (spool.documents / "stray").touch()
    assert spool.clear_unfinished() == ["half", STEP]
    assert names(spool.incoming) == names(spool.work) == []
    assert list(spool.held_documents()) == [DOCUMENT]
    spool.arrival(DOCUMENT)
