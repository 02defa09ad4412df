"""Whatever numbers `stat` gives for a file, it is recorded, compared and taken in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archived.ingest import scanner as scanning
from archived.ingest import source_file as opening
from archived.observe.api import QueryApi
from archived.storage.rows import ArrivalState
from tests.integration.ingest.hand_driven_folder import Place

UNSIGNED_64 = st.integers(0, 2**64 - 1) | st.sampled_from([2**63 - 1, 2**63, 2**64 - 1])
# From 1601 (FILETIME zero), over times before 1970, to 30828-09-14 (the last FILETIME).
SECONDS = st.integers(-11_644_473_600, 910_692_730_085) | st.sampled_from(
    [-11_644_473_600, -1, 0, 2**31, 9_223_372_036, 9_223_372_037, 910_692_730_085]
)
TIMES = st.builds(lambda s, n: s * 10**9 + n, SECONDS, st.integers(0, 999_999_999))


class Told:
    """What `stat` says of a file on some other file system: our numbers, the file's own size."""

    def __init__(self, real: os.stat_result, **numbers: int) -> None:
        self._real, self._numbers = real, numbers

    def __getattr__(self, name: str) -> Any:
        return self._numbers.get(name, getattr(self._real, name))


@contextmanager
def told_by_stat(hot: Path, numbers: dict[bytes, dict[str, int]]) -> Iterator[None]:
    """Let every way of asking about files of `hot` give these numbers. The calls are real.

    A file is known by its real inode: by whatever name or descriptor it is asked for.
    """
    lstat, scandir, stat, fstat = Path.lstat, os.scandir, os.stat, os.fstat
    inodes = {lstat(hot / os.fsdecode(name)).st_ino: name for name in numbers}

    def ours(real: os.stat_result) -> Any:
        known = numbers.get(inodes.get(real.st_ino, b""))
        return Told(real, **known) if known else real

    class Entry:
        def __init__(self, entry: os.DirEntry[str]) -> None:
            self._entry, self.name = entry, entry.name

        def __getattr__(self, name: str) -> Any:
            return getattr(self._entry, name)

        def stat(self, *, follow_symlinks: bool = True) -> Any:
            return ours(self._entry.stat(follow_symlinks=follow_symlinks))

    @contextmanager
    def listing(folder: Any) -> Iterator[Any]:
        with scandir(folder) as entries:
            yield (Entry(entry) for entry in entries)

    with pytest.MonkeyPatch.context() as patch:
        asked = {"stat": lambda *a, **k: ours(stat(*a, **k)), "fstat": lambda fd: ours(fstat(fd))}
        patch.setattr(scanning, "os", SimpleNamespace(**{**vars(os), **asked, "scandir": listing}))
        patch.setattr(opening, "os", SimpleNamespace(**{**vars(os), **asked}))
        patch.setattr(Path, "lstat", lambda path: ours(lstat(path)))
        yield


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    odd=st.fixed_dictionaries(
        {
            "st_dev": UNSIGNED_64,
            "st_ino": UNSIGNED_64,
            "st_mtime_ns": TIMES,
            "st_ctime_ns": TIMES,
            "st_nlink": UNSIGNED_64,
        }
    ),
    later=TIMES,
)
def test_a_file_with_any_numbers_is_taken_in_beside_the_others(
    tmp_path_factory: pytest.TempPathFactory, odd: dict[str, int], later: int
) -> None:
    place = Place(tmp_path_factory.mktemp("numbers"))
    for name in ("a.pdf", "odd.pdf", "z.pdf"):
        place.drop(name)
    told = {b"odd.pdf": {**odd, "st_mtime_ns": later}}
    with told_by_stat(place.hot, told):
        place.sweep()  # seen with one time, and then with another
        told[b"odd.pdf"].update(odd)
        documents = place.quiet()
    assert {d.name for d in documents} == {"a.pdf", "odd.pdf", "z.pdf"}
    [arrival] = [a for a in place.arrivals() if a.name == "odd.pdf"]
    assert arrival.state is ArrivalState.ADMITTED
    assert (arrival.device, arrival.inode) == (odd["st_dev"], odd["st_ino"])
    assert arrival.mtime_ns == odd["st_mtime_ns"]
    QueryApi(place.catalog, place.root / "store").answer("show", {"document": arrival.document})
    place.settle_up()


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(size=UNSIGNED_64, mtime=TIMES, inode=UNSIGNED_64, device=UNSIGNED_64)
def test_a_file_of_any_size_is_on_record_and_held_when_it_is_too_large(
    tmp_path_factory: pytest.TempPathFactory, size: int, mtime: int, inode: int, device: int
) -> None:
    place = Place(tmp_path_factory.mktemp("sizes"))
    place.drop("odd.pdf")
    place.drop("other.pdf")
    size = max(size, 2 << 20)
    numbers = {"st_size": size, "st_mtime_ns": mtime, "st_ino": inode, "st_dev": device}
    with told_by_stat(place.hot, {b"odd.pdf": numbers}):
        place.quiet()
        known = {a.name: (a.state, a.code, a.size) for a in place.arrivals()}
        place.new_desk()  # a restart reads the same numbers from the catalog
        place.quiet()
    assert known["odd.pdf"] == (ArrivalState.HELD, "too-large", size)
    assert known["other.pdf"][0] is ArrivalState.ADMITTED
    assert len(place.arrivals()) == 2
    held = QueryApi(place.catalog, place.root / "store").answer("account", {})["held_files"]
    assert [each["size"] for each in held] == [size]
    place.settle_up()


@pytest.mark.parametrize("seconds", [910_692_730_085, -11_644_473_600, 9_223_372_037, -1, 4e9])
def test_a_time_that_lies_far_away_stops_nobody(place: Place, seconds: int) -> None:
    """Kept as tmpfs keeps it: the file system of the tests may not go so far."""
    if not Path("/dev/shm").is_dir():
        pytest.skip("no tmpfs, which keeps such times")
    import tempfile

    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        place.hot.rmdir()
        place.hot.symlink_to(memory)
        for name in ("a.pdf", "odd.pdf", "zz.pdf"):
            place.drop(name)
        place.sweep()
        os.utime(place.hot / "odd.pdf", (int(seconds), int(seconds)))
        kept = (place.hot / "odd.pdf").stat().st_mtime_ns
        assert {d.name for d in place.quiet()} == {"a.pdf", "odd.pdf", "zz.pdf"}
        assert {a.mtime_ns for a in place.arrivals() if a.name == "odd.pdf"} == {kept}
        assert kept == int(seconds) * 10**9
        place.settle_up()
        place.settle_up = lambda: None  # type: ignore[method-assign]  # judged while it was there
