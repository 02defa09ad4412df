"""What the target kind `directory` promises: keys never lead out, bytes are all there or not."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from archived.api import Postpone, check_key
from archived_replicate.directory import DirectoryConfig
from archived_replicate.errors import Problem


def digest(content: bytes) -> str:
    return hashlib.sha512(content).hexdigest()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(b"what is to be kept")
    return path


SHA = digest(b"what is to be kept")


@settings(max_examples=300)
@given(st.text(alphabet=st.sampled_from("ab./\0é\ud800 -"), max_size=12))
def test_a_key_never_leads_anywhere_else(key):
    try:
        names = check_key(key)
    except ValueError:
        return
    assert "/".join(names) == key
    below = os.path.normpath(os.path.join("/target", key))  # noqa: PTH118 - text only
    assert below == f"/target/{key}"


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=20),
        min_size=1,
        max_size=4,
    )
)
def test_every_key_that_is_taken_in_comes_out_again(second, source, names):
    folder = secrets.token_hex(8)  # an earlier example's file could be this one's folder
    key = "/".join([folder, *names])
    try:
        check_key(key)
    except ValueError:
        with pytest.raises(ValueError, match="is not a key"):
            second.put(source, key, SHA)
        return
    second.put(source, key, SHA)
    with second.open(key) as file:
        assert file.read() == source.read_bytes()
    assert list(second.list(folder)) == [key]


@pytest.mark.parametrize("key", ["/a", "a/", "../a", "a/../b", "./a", "a//b", "a\0b", "é" * 128])
@pytest.mark.parametrize("act", ["put", "replace", "open", "list"])
def test_what_is_no_key_is_refused_everywhere(act, key, second, source):
    with pytest.raises(ValueError, match="is not a key"):
        call(second, act, source, key)
    assert not list(second.options.path.iterdir())


@pytest.mark.parametrize("act", ["put", "replace", "open", "list"])
def test_a_link_below_the_target_is_never_followed(act, second, source, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"not ours")
    (second.options.path / "link").symlink_to(outside)

    with pytest.raises(OSError) as refused:
        call(second, act, source, "link/file" if act != "list" else "link")

    assert refused.value.errno in (errno.ELOOP, errno.ENOTDIR)
    assert (outside / "file").read_bytes() == b"not ours"
    assert list(second.list("")) == ["link"]


def test_a_link_in_a_files_place_is_neither_read_nor_written_through(second, source, tmp_path):
    outside = tmp_path / "outside"
    outside.write_bytes(b"not ours")
    (second.options.path / "key").symlink_to(outside)

    for act in ("put", "open"):
        with pytest.raises(OSError) as refused:
            call(second, act, source, "key")
        assert refused.value.errno == errno.ELOOP
    second.replace(source, "key", SHA)

    assert outside.read_bytes() == b"not ours"
    assert not (second.options.path / "key").is_symlink()


def test_a_fifo_in_a_files_place_blocks_nobody(second):
    os.mkfifo(second.options.path / "key")

    with pytest.raises(OSError, match="not a file"):
        second.open("key")


def test_other_bytes_are_only_replaced_on_request(second, source):
    second.put(source, "a/b", SHA)
    second.put(source, "a/b", SHA)
    source.write_bytes(b"others")

    with pytest.raises(FileExistsError):
        second.put(source, "a/b", digest(b"others"))
    assert (second.options.path / "a/b").read_bytes() == b"what is to be kept"
    second.replace(source, "a/b", digest(b"others"))

    assert (second.options.path / "a/b").read_bytes() == b"others"
    assert not list((second.options.path / ".incoming").iterdir())


@pytest.mark.parametrize("act", ["put", "replace"])
def test_a_source_that_is_not_what_it_should_be_leaves_no_trace(act, second, source):
    with pytest.raises(ValueError, match="digest"):
        getattr(second, act)(source, "a", digest(b"something else"))

    assert list(second.list("")) == []
    assert not list((second.options.path / ".incoming").iterdir())


def test_an_absent_key_is_file_not_found_and_an_absent_folder_is_empty(second):
    with pytest.raises(FileNotFoundError):
        second.open("no/such")
    assert list(second.list("no")) == []


def test_an_absent_target_is_the_worlds_fault(second, source):
    second.options.path.rmdir()

    for act in ("put", "replace", "open", "list", "free"):
        with pytest.raises(Postpone) as waiting:
            call(second, act, source, "key")
        assert waiting.value.code == "target-missing"
    assert not second.options.path.exists()
    [problem] = second.check(source.parent)
    assert isinstance(problem, Problem)
    assert problem.code == "target-missing"


def test_half_written_files_of_dead_writers_go_after_a_day(second, source):
    incoming = second.options.path / ".incoming"
    incoming.mkdir()
    for name, age in (("old", 90_000), ("young", 60)):
        (incoming / name).write_bytes(b"half")
        os.utime(incoming / name, (time.time() - age,) * 2)

    second.put(source, "key", SHA)

    assert [path.name for path in incoming.iterdir()] == ["young"]
    with pytest.raises(ValueError, match="target's own"):
        second.open(".incoming/young")
    assert list(second.list("")) == ["key"]


def test_copies_are_read_only_and_closed_to_strangers(second, source):
    second.put(source, "a/b", SHA)

    assert (second.options.path / "a/b").stat().st_mode & 0o777 & ~0o440 == 0
    assert (second.options.path / "a").stat().st_mode & 0o007 == 0


def test_a_name_that_is_not_utf8_is_reported_not_skipped(second):
    (Path(os.fsdecode(bytes(second.options.path) + b"/\xff"))).write_bytes(b"")

    with pytest.raises(OSError) as strange:
        list(second.list(""))
    assert strange.value.errno == errno.EILSEQ


@pytest.fixture
def on_disk():
    """Tests may write in memory, which is another file system than these want."""
    with tempfile.TemporaryDirectory(prefix="archived-") as folder:
        yield Path(folder)


def test_the_systems_own_disk_counts_as_not_mounted(directory, on_disk):
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == on_disk.stat().st_dev:
        pytest.skip("/dev/shm is not another file system here")
    if on_disk.stat().st_dev != Path("/").stat().st_dev:
        pytest.skip("the temporary folder is not on the system's disk here")

    [problem] = directory(on_disk / "second").check(beside=shm)

    assert "not mounted" in problem
    assert problem.code == "target-missing"


def test_a_plain_folder_is_missing_where_a_mount_point_is_required(directory, source, tmp_path):
    plain = directory(tmp_path / "second", require_mount=True, allow_same_filesystem=True)

    with pytest.raises(Postpone, match="not a mount point") as waiting:
        plain.put(source, "key", SHA)

    assert waiting.value.code == "target-missing"
    assert len(list(plain.check(tmp_path))) == 1
    assert not list(plain.options.path.iterdir())


def test_another_file_system_is_fit(directory, on_disk):
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == on_disk.stat().st_dev:
        pytest.skip("/dev/shm is not another file system here")

    assert list(directory(shm).check(beside=on_disk)) == []


def test_a_path_must_be_absolute():
    with pytest.raises(ValidationError, match="absolute"):
        DirectoryConfig.model_validate({"path": "second"})


def call(target, act, source, key):
    if act in ("put", "replace"):
        return getattr(target, act)(source, key, SHA)
    if act == "open":
        return target.open(key)
    return list(target.list(key)) if act == "list" else target.free()
