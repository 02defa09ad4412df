"""What the share is told, by hand: caught up after any crash, bounded, and never out of place."""

from __future__ import annotations

import errno
import json
import re
import shutil
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from archived.engine.decisions import PersonDecision, release
from archived.ingest.hotfolder_spec import WHY, Waiting
from archived.model.outcome import Ending, Outcome
from archived.observe.receipts import texts
from archived.storage import atomic
from tests.fault.hand_driven_archive import DECK


def status(told) -> str:
    return told.files()["STATUS.txt"].decode("utf-8-sig")


def receipts(told) -> dict[str, dict[str, object]]:
    """Received name -> its receipt."""
    found = [json.loads(c) for n, c in told.files().items() if n.endswith(".json")]
    return {str(one["name"]): one for one in found}


def test_a_receipt_matches_the_bytes_and_the_ledger(told):
    decomposed = "ho\u031b\u0323p đo\u0302\u0300ng.txt".encode()
    told.drop(decomposed, b"\xff\n-x.txt", "a:b?.txt", text="one page")
    told.drop("again.txt", text="one page")
    told.update()
    found = receipts(told)
    assert set(found) == {"hợp đồng.txt", "\\xff\\n-x.txt", "a:b?.txt", "again.txt"}
    for name, it in found.items():
        assert it["sha256"] == sha256(b"one page").hexdigest()
        assert it["size"] == 8
        rows = {r.sequence: r for r in told.catalog.ledger_of(str(it["document"]))}
        entry = rows[it["ledger"]["entry"]]
        assert entry.hash == it["ledger"]["hash"]
        assert json.loads(entry.entry)["facts"]["name"] == name
    assert bytes.fromhex(str(found["hợp đồng.txt"]["name_hex"])) == decomposed
    again = [name for name, it in found.items() if it["same_bytes_as_before"]]
    assert len(again) == 3, "four files, one content: one document"
    told.sweep()
    [sheet] = told.catalog.balance()
    assert (sheet.seen, sheet.unaccounted) == (4, 0), "no answer was taken for a scan"


def test_every_page_of_a_document_of_many_files_has_its_receipt(told):
    told.drop("1.txt")
    [document] = told.catalog.documents()
    [original] = told.catalog.originals(document.id)
    [arrival] = told.catalog.arrivals()
    more = range(2, 121)
    with told.catalog.transaction() as change:
        change.add_artifacts([replace(original, name=f"{n:04}.txt", main=False) for n in more])
        change.arrivals_seen(
            [replace(arrival, path=b"%d.txt" % n, name=f"{n}.txt", present=False) for n in more]
        )
    told.update()
    assert set(receipts(told)) == {f"{n}.txt" for n in (1, *more)}


def test_a_reason_says_what_to_do_quotes_nothing_and_goes_when_released(told):
    told.drop("mật.txt")
    told.refuse_all(message="page 1 says: burn this after reading")
    (told.hot / "empty.pdf").touch()
    told.sweep(deadline=0.0)
    told.update()
    reasons = {n: c.decode() for n, c in told.files().items() if n.startswith("held/")}
    assert len(reasons) == 2
    [text] = [text for name, text in reasons.items() if "mật.txt" in name]
    assert "Tệp có mật khẩu" in text
    assert "Ask for a copy without a password" in text
    assert "burn" not in "".join(reasons.values())
    assert "Bị giữ lại / Held:            2" in status(told)

    for row in told.catalog.documents():
        release(told.catalog, DECK, row.id, PersonDecision("someone", "", told.now()), skip=True)
    told.update()
    assert not [name for name in told.files() if name.startswith("held/")]


def test_the_paper_may_go_back_only_when_the_copies_exist(told, safe_rows):
    told.drop("=a.txt", "b.txt")
    told.update()
    assert safe_rows(told.hot) == []
    told.work()
    told.update()
    rows = safe_rows(told.hot)
    assert {row["Tệp / File"] for row in rows} == {"'=a.txt", "b.txt"}
    assert {row["Số bản sao / Copies"] for row in rows} == {"1"}
    assert "An toàn hôm nay / Safe today: 2" in status(told)
    told.late = timedelta(days=1)
    told.drop("c.txt")
    told.work()
    told.update()
    lists = [name for name in told.files() if name.startswith("safe/")]
    assert len(lists) == 2, "a list for each day"
    assert len(safe_rows(told.hot)) == 3
    assert "An toàn hôm nay / Safe today: 1" in status(told)


def test_what_came_before_is_told_whether_its_paper_may_go_back_and_where_it_is_listed(
    told, safe_rows
):
    told.drop("first.txt", text="one page")
    told.drop("second.txt", text="one page")
    told.update()
    waits = receipt_text(told, "second.txt")
    assert "CHƯA được phép cất" in waits
    assert 'under the name "first.txt"' in waits
    told.work()
    told.update()
    told.late = timedelta(days=1)
    told.drop("third.txt", text="one page")
    told.update()
    may = receipt_text(told, "third.txt")
    for text in (waits, may):
        assert "RECEIVED BEFORE" in text
        assert "Đã có với tên / Known as: first.txt" in text
    assert "NOT go back" not in may
    [gone] = (told.hot / "_archived" / "safe").iterdir()
    gone.unlink()
    told.writer = told.new_voice()
    told.drop("fourth.txt", text="one page")
    told.update()
    [row] = safe_rows(told.hot)
    assert gone.exists(), "the list that the receipt names was removed for want of room"
    [listed] = [name for name in told.files() if name.startswith("safe/")]
    assert listed.replace("/", "\\") in may
    assert f"AN TOÀN từ {row['An toàn lúc / Safe at']}" in may
    assert "Bản giấy" in may
    assert "CHƯA" not in may
    assert "NOT go back" not in may


def test_what_came_before_and_is_held_says_so(told):
    told.drop("first.txt", text="one page")
    told.refuse_all()
    told.drop("second.txt", text="one page")
    told.update()
    text = receipt_text(told, "second.txt")
    assert "BỊ GIỮ LẠI" in text
    assert 'under the name "first.txt"' in text
    assert "NOT go back" in text


def receipt_text(told, name: str) -> str:
    [text] = [
        content.decode("utf-8-sig")
        for path, content in told.files().items()
        if path.startswith(f"receipts/{name}_") and path.endswith(".txt")
    ]
    return text


PAPER, NOTE = "Bản giấy / Paper", "Ghi chú / Note"


def test_only_a_page_that_went_through_its_pipeline_says_that_its_paper_may_go_back(
    told, safe_rows
):
    (told.hot / "scan.pdf").write_bytes(b"%PDF-1.7\n" + b"page " * 50 + b"\nstartxref\n9\n%%EOF\n")
    (told.hot / "past.pdf").write_bytes(b"%PDF-1.7\n" + b"past " * 50 + b"\nstartxref\n9\n%%EOF\n")
    told.sweep()
    told.drop("notes.docx", text="no page")
    pages = {"scan.pdf": 1, "past.pdf": None, "notes.docx": None}
    for row in told.catalog.documents():
        facts = {"pages": pages[row.name]} if pages[row.name] else {}
        if row.name == "past.pdf":
            told.end(told.begin(row), Outcome(Ending.REFUSED, "encrypted", "locked", "a hint"))
            release(
                told.catalog,
                DECK,
                row.id,
                PersonDecision("someone", "no password", told.now()),
                skip=True,
            )
        else:
            told.end(told.begin(row), Outcome(Ending.FINISHED, facts=facts))
    told.work()
    told.update()
    rows = {row["Tệp / File"]: row for row in safe_rows(told.hot)}
    assert {name: "may go back" in row[PAPER] for name, row in rows.items()} == {
        "scan.pdf": True,
        "past.pdf": False,
        "notes.docx": False,
    }
    assert rows["scan.pdf"][NOTE] == ""
    assert "released" in rows["past.pdf"][NOTE]
    assert rows["notes.docx"][NOTE] == "không có trang / no pages"


def test_status_names_files_that_wait_and_says_why_once_they_have_waited_a_while(told):
    since = told.now() - timedelta(minutes=5)
    told.intake.arriving = 2
    told.intake.waiting = [
        Waiting("nửa.pdf", since, "unfinished"),
        Waiting("just now.pdf", told.now(), "changes"),
    ]
    told.update()
    said = status(told)
    assert "nửa.pdf" in said
    assert "its end has not come" in said
    assert "just now.pdf" not in said


def test_every_reason_to_wait_is_told_in_both_languages():
    assert texts._WAITS.keys() == WHY.keys()


def test_status_says_what_is_the_matter(told):
    told.update()
    assert "ĐANG LÀM VIỆC / WORKING" in status(told)
    told.intake.paused = "the disk with the spool has no room to spare"
    told.update()
    assert "TẠM DỪNG" in status(told)
    assert "Vì: ổ đĩa của hệ thống gần đầy." in status(told)
    told.intake.offline = "gone"
    told.update()
    assert "MẤT KẾT NỐI / OFFLINE" in status(told)
    told.intake.offline = told.intake.paused = ""
    told.intake.stuck = ["a"]
    (told.hot / "_archived" / "scan.pdf").write_text("a clerk's mistake")
    told.writer = told.new_voice()
    told.update()
    assert "CHÚ Ý: 1 tệp đã được nhận" in status(told)
    assert "CHÚ Ý: 1 tệp lạ" in status(told)
    told.writer.write_stopped()
    assert "ĐÃ DỪNG / STOPPED" in status(told)
    told.update()
    assert "ĐÃ DỪNG / STOPPED" in status(told), "the last word stays the last"


def test_an_offline_folder_gets_nothing_new(told):
    """What is there may be the bare mount point."""
    told.intake.offline = "empty, and not the file system that its files were seen on"
    told.drop("a.txt")
    told.update()
    assert list(told.hot.iterdir()) == []
    told.intake.offline = ""
    told.update()
    assert set(receipts(told)) == {"a.txt"}
    gone = told.root / "gone"
    told.hot.rename(gone)
    with pytest.raises(FileNotFoundError):
        told.update()
    assert not told.hot.exists(), "a hot folder is never made"


def _cut_before(told, calls: int) -> bool:
    """Speak, with the power cut after so many durable calls; whether it was cut."""
    left = calls

    def fuse(operation: str, path: Path) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise PowerCut

    atomic.fuse = fuse
    told.writer = told.new_voice()
    try:
        told.update()
    except PowerCut:
        return True
    finally:
        atomic.fuse = None
    return False


class PowerCut(BaseException):
    """Nobody cleans up after it."""


def shape(told) -> dict[str, bytes]:
    """The answers but for the clock in STATUS.txt."""
    files = told.files()
    files["STATUS.txt"] = re.sub(rb"As of:.*", b"", files["STATUS.txt"])
    return files


def test_cut_at_every_durable_call_the_answers_catch_up_exactly(told):
    told.drop("a.txt")
    told.work()
    told.drop("c.txt")
    row = next(r for r in told.catalog.documents() if r.name == "c.txt")
    told.end(told.begin(row), Outcome(Ending.REFUSED, "encrypted", "no", ""))
    told.update()
    whole, calls = shape(told), 0
    assert [name.split("/")[0] for name in whole].count("receipts") == 4
    while True:
        _forget(told)
        if not _cut_before(told, calls):
            break
        calls += 1
        told.writer = told.new_voice()
        told.update()
        assert shape(told) == whole, f"cut before call {calls}"
    assert calls > 30, "the fuse does not see what it should"


def _forget(told) -> None:
    """As if nothing had been answered yet."""
    shutil.rmtree(told.hot / "_archived")
    with told.catalog.transaction() as change:
        change.outbox_read("share scans", 0)


def test_the_answers_stay_within_their_size_and_the_newest_stay(told_little):
    told = told_little
    for number in range(20):
        told.drop(f"{number:02}.txt")
    other = told.hot / "_archived" / "receipts" / "somebody.txt"
    told.update()
    other.write_text("not ours")
    told.drop("last.txt")
    told.writer = told.new_voice()
    told.update()
    files = told.files()
    ours = [name for name in files if name.startswith("receipts/") and "somebody" not in name]
    assert 8 < len(ours) <= 16
    assert sum(-(-len(files[name]) // 4096) * 4096 for name in ours) <= 64 << 10
    assert "last.txt" in receipts(told)
    assert "00.txt" not in receipts(told)
    assert other.exists(), "what is not ours is not removed"


def test_links_are_never_followed(told):
    victim = told.root / "victim"
    victim.mkdir()
    (told.hot / "_archived").symlink_to(victim)
    told.drop("a.txt")
    with pytest.raises(OSError, match=r"directory|link"):
        told.update()
    (told.hot / "_archived").unlink()
    (told.hot / "_archived").mkdir()
    (told.hot / "_archived" / "receipts").symlink_to(victim)
    with pytest.raises(OSError, match=r"directory|link"):
        told.update()
    assert list(victim.iterdir()) == []
    (told.hot / "_archived" / "receipts").unlink()
    target = told.root / "precious"
    target.write_text("precious")
    (told.hot / "_archived" / "STATUS.txt").symlink_to(target)
    told.update()
    assert target.read_text() == "precious"
    assert set(receipts(told)) == {"a.txt"}, "nothing was passed over while it could not be told"


def test_a_folder_in_the_way_of_one_answer_stops_no_other(told):
    told.update()
    (told.hot / "_archived" / "STATUS.txt").unlink()
    (told.hot / "_archived" / "STATUS.txt").mkdir()
    told.drop("a.txt")
    told.update()
    assert set(receipts(told)) == {"a.txt"}


def test_a_full_share_is_told_later(told):
    told.drop("a.txt")

    def fuse(operation: str, path: Path) -> None:
        if operation == "write" and "/proc/self/fd/" in str(path):
            raise OSError(errno.ENOSPC, "No space left on device")

    atomic.fuse = fuse
    with pytest.raises(OSError, match="No space"):
        told.update()
    atomic.fuse = None
    told.update()
    assert set(receipts(told)) == {"a.txt"}


def test_a_share_that_cannot_sync_folders_is_told_all_the_same(told):
    told.drop("a.txt")

    def fuse(operation: str, path: Path) -> None:
        if operation == "fsync-folder" and "/proc/self/fd/" in str(path):
            raise OSError(errno.EINVAL, "Invalid argument")

    atomic.fuse = fuse
    told.update()
    atomic.fuse = None
    assert set(receipts(told)) == {"a.txt"}
    assert "WORKING" in status(told)


def test_who_may_not_look_into_the_hot_folder_may_not_read_the_answers(told):
    told.hot.chmod(0o770)
    told.drop("a.txt")
    told.update()
    for path in (told.hot / "_archived").rglob("*"):
        assert path.stat().st_mode & 0o007 == 0, path
    assert (told.hot / "_archived").stat().st_mode & 0o070 == 0o050
