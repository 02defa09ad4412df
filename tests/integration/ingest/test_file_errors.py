"""Any error about one file holds that file, by its name, and all others are taken in."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from archived.ingest.scanner import FolderOffline
from archived.storage.rows import ArrivalState
from archived.storage.transaction import Transaction
from tests.integration.ingest.hand_driven_folder import Place, paper

ERRNOS = [
    errno.EIO,
    errno.EACCES,
    errno.EOVERFLOW,
    errno.ESTALE,
    errno.EINVAL,
    errno.ENXIO,
    errno.EUCLEAN,
    errno.EILSEQ,
]
ERRORS: dict[str, Callable[[str], Exception]] = {
    **{errno.errorcode[n]: lambda name, n=n: OSError(n, os.strerror(n), name) for n in ERRNOS},  # type: ignore[misc]
    "ValueError": lambda _: ValueError("embedded null byte \ud800"),
    "OverflowError": lambda _: OverflowError("Python int too large to convert to SQLite INTEGER"),
    "UnicodeError": lambda _: UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates"),
    "RecursionError": lambda _: RecursionError("maximum recursion depth exceeded"),
}
ODD = "m-odd.pdf"


class Faulty:
    """Raises in one system call when it is about the odd file."""

    def __init__(self, call: str, error: Callable[[str], Exception], odd: str) -> None:
        self.call, self.error, self.odd, self.hits = call, error, odd.encode(), 0
        self.handles: set[int] = set()

    def is_odd(self, name: Any) -> bool:
        if isinstance(name, int):
            return name in self.handles
        return os.fsencode(name).rpartition(b"/")[2] == self.odd

    def hit(self, call: str, name: Any) -> None:
        if call == self.call and self.is_odd(name):
            self.hits += 1
            # A call on a descriptor knows no name.
            error = self.error("" if isinstance(name, int) else os.fspath(name))
            if isinstance(error, OSError) and isinstance(name, int):
                error = OSError(error.errno, error.strerror)
            raise error


@contextmanager
def faulty(call: str, error: Callable[[str], Exception], odd: str = ODD) -> Iterator[Faulty]:
    it = Faulty(call, error, odd)
    real = {
        n: getattr(os, n)
        for n in ("open", "stat", "lstat", "fstat", "pread", "fdopen", "scandir", "close")
    }

    def opening(name: Any, *rest: Any, **more: Any) -> int:
        it.hit("open", name)
        handle: int = real["open"](name, *rest, **more)
        if it.is_odd(name):
            it.handles.add(handle)
        return handle

    def closing(handle: int) -> None:
        it.handles.discard(handle)
        real["close"](handle)

    def asking(which: str) -> Callable[..., Any]:
        def ask(name: Any, *rest: Any, **more: Any) -> Any:
            it.hit("pread" if which == "pread" else "fstat" if which == "fstat" else "stat", name)
            return real[which](name, *rest, **more)

        return ask

    class Reading:
        def __init__(self, handle: int, mode: str) -> None:
            self.handle, self.file = handle, real["fdopen"](handle, mode)

        def __enter__(self) -> Reading:
            return self

        def __exit__(self, *_: object) -> None:
            it.handles.discard(self.handle)
            self.file.close()

        def read(self, count: int = -1) -> bytes:
            it.hit("read", self.handle)
            return self.file.read(count)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    def opened(handle: int, mode: str = "rb") -> Any:
        return Reading(handle, mode) if handle in it.handles else real["fdopen"](handle, mode)

    class Entry:
        def __init__(self, entry: Any) -> None:
            self.entry, self.name = entry, entry.name

        def stat(self, *, follow_symlinks: bool = True) -> Any:
            it.hit("scan", self.name)
            return self.entry.stat(follow_symlinks=follow_symlinks)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.entry, name)

    class Listing:
        def __init__(self, folder: Any = ".") -> None:
            self.entries = real["scandir"](folder)

        def __enter__(self) -> Listing:
            return self

        def __exit__(self, *_: object) -> None:
            self.entries.close()

        def __iter__(self) -> Listing:
            return self

        def __next__(self) -> Any:
            entry = next(self.entries)
            return Entry(entry) if it.is_odd(entry.name) else entry

        def close(self) -> None:
            self.entries.close()

    with pytest.MonkeyPatch.context() as patch:
        for name, ours in (
            ("open", opening),
            ("close", closing),
            ("fdopen", opened),
            ("scandir", Listing),
        ):
            patch.setattr(os, name, ours)
        for name in ("stat", "lstat", "fstat", "pread"):
            patch.setattr(os, name, asking(name))
        yield it


def arrival(place: Place, name: str = ODD) -> Any:
    [found] = [a for a in place.arrivals() if a.name == name and a.code != "withdrawn"]
    return found


def sweeps(place: Place, count: int = 6) -> None:
    for _ in range(count):
        place.sweep()


@pytest.mark.parametrize("call", ["scan", "open", "fstat", "pread", "stat", "read"])
@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_about_one_file_holds_it_and_stops_no_other(
    place: Place, kind: str, call: str
) -> None:
    for name in ("a.pdf", ODD, "z.pdf"):
        place.drop(name)
    with faulty(call, ERRORS[kind]) as fault:
        sweeps(place)
        assert fault.hits, "the call was never made"
        assert {d.name for d in place.documents()} == {"a.pdf", "z.pdf"}
        held = arrival(place)
        assert (held.state, held.present) == (ArrivalState.HELD, True)
        assert held.code in {"read-error", "unreadable", "intake-failed"}
        assert held.reason
        assert place.balance.held == 1
        assert place.balance.unaccounted == 0
        before = place.catalog.ledger_head()
        sweeps(place)
        assert place.catalog.ledger_head() == before, "the same trouble is recorded once"
    place.new_desk()  # it would wait before it tries again
    place.quiet()
    assert arrival(place).state is ArrivalState.ADMITTED
    assert place.left() == []


@pytest.mark.parametrize("call", ["arrivals_seen", "admit", "arrival_changed"])
@pytest.mark.parametrize("kind", ["OverflowError", "ValueError", "UnicodeError"])
def test_a_file_that_the_catalog_cannot_record_is_held_by_its_name(
    place: Place, monkeypatch: pytest.MonkeyPatch, kind: str, call: str
) -> None:
    """As sqlite3 does with a number or a text that it cannot bind: in the transaction."""
    for name in ("a.pdf", ODD, "z.pdf"):
        place.drop(name)
    real = getattr(Transaction, call)

    def refusing(change: Transaction, subject: Any, *rest: Any, **more: Any) -> Any:
        some = subject if isinstance(subject, list) else [subject]
        odd = any(
            getattr(each, "path", b"") == ODD.encode() and getattr(each, "size", 1) for each in some
        )
        if odd or (call == "arrival_changed" and "mtime_ns" in more and subject == numbers[0]):
            raise ERRORS[kind]("")
        return real(change, subject, *rest, **more)

    numbers = [0]
    if call == "arrival_changed":
        place.sweep()
        numbers[0] = arrival(place).id
    monkeypatch.setattr(Transaction, call, refusing)
    sweeps(place)
    assert {d.name for d in place.documents()} == {"a.pdf", "z.pdf"} | (
        {ODD} if call == "arrivals_seen" else set()
    )
    if call == "arrivals_seen":  # on record by its name, and its numbers when it is taken in
        return
    held = arrival(place)
    assert (held.state, held.code) == (ArrivalState.HELD, "intake-failed")
    assert held.reason is not None
    assert kind.removesuffix("Error") in held.reason
    assert list(place.spool.documents.iterdir()) != []
    monkeypatch.undo()
    place.new_desk()
    place.quiet()
    assert place.left() == []


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOMEM, errno.ENOTCONN, errno.ETIMEDOUT])
def test_an_error_of_the_machine_or_the_connection_holds_no_file(place: Place, number: int) -> None:
    for name in ("a.pdf", ODD):
        place.drop(name)
    with faulty("open", lambda name: OSError(number, os.strerror(number), name)):
        for _ in range(4):
            report = place.sweep()
        assert os.strerror(number) in report.blocked
        assert arrival(place).state is ArrivalState.SEEN
    assert len(place.quiet()) == 2


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EAGAIN, errno.ETXTBSY])
def test_a_file_that_its_server_says_is_in_use_is_waited_for(place: Place, number: int) -> None:
    for name in ("a.pdf", ODD):
        place.drop(name)
    with faulty("open", lambda name: OSError(number, os.strerror(number), name)):
        sweeps(place)
        assert arrival(place).state is ArrivalState.SEEN
        place.configure(deadline="50 ms")
        place.new_desk()
        place.until(lambda _: arrival(place).state is ArrivalState.HELD)
        assert arrival(place).code == "still-open"
    assert {d.name for d in place.quiet()} == {"a.pdf", ODD}


def test_an_error_while_the_folder_itself_fails_is_no_files_fault(place: Place) -> None:
    place.drop("a.pdf")
    place.drop(ODD)
    place.sweep()
    aside = place.root / "aside"

    def gone(name: str) -> Exception:
        place.hot.rename(aside)
        return OSError(errno.EIO, os.strerror(errno.EIO), name)

    with faulty("open", gone), pytest.raises(FolderOffline):
        sweeps(place)
    aside.rename(place.hot)
    assert arrival(place).state is ArrivalState.SEEN
    assert len(place.quiet()) == 2


def test_a_name_that_is_listed_and_never_found_is_on_record_and_held(place: Place) -> None:
    """As an encrypting or translating mount shows names that it cannot look up."""
    place.drop("a.pdf")
    place.drop(ODD)
    with (
        faulty("scan", lambda name: FileNotFoundError(errno.ENOENT, "No such file", name)),
        faulty("stat", lambda name: FileNotFoundError(errno.ENOENT, "No such file", name)),
    ):
        sweeps(place, 3)
        assert [d.name for d in place.documents()] == ["a.pdf"]
        assert (arrival(place).state, arrival(place).code) == (ArrivalState.HELD, "read-error")
    assert {d.name for d in place.quiet()} == {"a.pdf", ODD}


def test_one_odd_page_holds_its_batch_back_and_no_other(tmp_path: Path) -> None:
    place = Place(tmp_path, more='pages = "numbered"\nbatch_settle_time = "1 ms"')
    for name in ("hồ sơ-001.pdf", "m-odd.pdf", "z-001.pdf", "z-002.pdf"):
        place.drop(name)
    with faulty("read", ERRORS["EIO"]):
        sweeps(place, 8)
        assert len(place.documents()) == 2
        assert (arrival(place).state, arrival(place).code) == (ArrivalState.HELD, "read-error")
    place.new_desk()
    place.quiet()
    assert len(place.documents()) == 3
    place.settle_up()


def test_a_ticket_that_cannot_be_read_is_held_and_said(tmp_path: Path) -> None:
    place = Place(tmp_path, more='dossiers = true\nclosed_by = ["ticket"]')
    place.drop("hs1/1.pdf")
    place.drop("hs1/ticket.json", b'{"files": [{"path": "1.pdf"}]}')
    place.drop("hs2/1.pdf", paper("other"))
    with faulty("read", ERRORS["EIO"], "ticket.json"):
        sweeps(place, 6)
        held = {a.name: a.code for a in place.arrivals() if a.state is ArrivalState.HELD}
    assert held == {"hs1/ticket.json": "read-error"}
    place.settle_up()
