"""The promises of a kind of target as tests: subclass `TargetContract`, give it `make_target`."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from archived.api import Target
from archived.testing.stage_contract import _undocumented

_KIND = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
BAD_KEYS = ("", "/etc/x", "..", "../x", "a/../../x", "a/../b", "./a", "a/./b", "a//b", "a/", "a\0b")
_BIG = 8 * 2**20
_WRITERS, _PUTS = 4, 25
_SHORTEST = 0.0001
"""Seconds below which a put cannot be cut: it is done before it can be seen to have begun."""


class TargetContract:
    """Override `make_target`. Name the subclass `Test...`."""

    def make_target(self, tmp_path: Path) -> Target[Any]:
        """A target at an empty place. Called again with the same folder: the same place."""
        raise NotImplementedError

    @pytest.fixture
    def target(self, tmp_path: Path) -> Target[Any]:
        """The target under test, at an empty place."""
        return self.make_target(tmp_path)

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        """A folder for files to be put."""
        folder = tmp_path / "source-files"
        folder.mkdir(exist_ok=True)
        return folder

    def test_what_was_put_is_read_back(self, target: Target[Any], source: Path) -> None:
        """Byte for byte, in nested folders, also when empty."""
        for key, content in (("a/b/c.txt", b"abc"), ("a/empty", b""), ("top", b"\0\xff" * 70000)):
            _put(target, source, key, content)
            assert _read(target, key) == content
        assert sorted(target.list("")) == ["a/b/c.txt", "a/empty", "top"]

    def test_the_source_is_left_as_it_was(self, target: Target[Any], source: Path) -> None:
        """Copied, never moved."""
        path, digest = _file(source, b"kept")
        before = path.stat()
        target.put(path, "k", digest)
        after = path.stat()
        assert path.read_bytes() == b"kept"
        assert (before.st_mtime_ns, before.st_ino, 1) == (
            after.st_mtime_ns,
            after.st_ino,
            after.st_nlink,
        )

    def test_another_session_sees_what_was_put(
        self, target: Target[Any], source: Path, tmp_path: Path
    ) -> None:
        """Nothing stays behind in a cache of the object that wrote."""
        _put(target, source, "x/y", b"there")
        assert _read(self.make_target(tmp_path), "x/y") == b"there"

    def test_the_same_bytes_again_are_fine(self, target: Target[Any], source: Path) -> None:
        """So that a step can be run again."""
        _put(target, source, "x", b"same")
        _put(target, source, "x", b"same")
        assert _read(target, "x") == b"same"

    def test_different_bytes_are_refused(self, target: Target[Any], source: Path) -> None:
        """What is kept stays."""
        _put(target, source, "x", b"first")
        with pytest.raises(FileExistsError):
            _put(target, source, "x", b"other")
        assert _read(target, "x") == b"first"

    def test_replace_puts_new_bytes_in_place_of_old(
        self, target: Target[Any], source: Path
    ) -> None:
        """The one way to change what a key holds, for repair and for inventories."""
        _put(target, source, "x", b"first")
        path, digest = _file(source, b"second")
        target.replace(path, "x", digest)
        assert _read(target, "x") == b"second"
        assert list(target.list("")) == ["x"]

    def test_an_absent_key_is_said_to_be_absent(self, target: Target[Any]) -> None:
        """Not an empty file, not another error."""
        with pytest.raises(FileNotFoundError):
            target.open("no/such/key")

    def test_a_list_is_of_a_folder_not_of_a_prefix_of_names(
        self, target: Target[Any], source: Path
    ) -> None:
        """`ab/x` does not lie below `a`; below what is absent lies nothing."""
        for key in ("a/x", "a/deep/y", "ab/x"):
            _put(target, source, key, key.encode())
        assert sorted(target.list("a")) == ["a/deep/y", "a/x"]
        assert list(target.list("none")) == []

    @pytest.mark.parametrize("key", BAD_KEYS)
    def test_keys_that_could_lead_elsewhere_are_refused(
        self, target: Target[Any], source: Path, key: str
    ) -> None:
        """Keys are relative, without `.`, `..` or empty components."""
        path, digest = _file(source, b"evil")
        with pytest.raises((ValueError, PermissionError, OSError)):
            target.put(path, key, digest)
        with pytest.raises((ValueError, PermissionError, OSError)):
            target.open(key)
        assert list(target.list("")) == []

    def test_the_same_bytes_may_be_put_at_several_keys_at_the_same_time(
        self, target: Target[Any], source: Path, tmp_path: Path
    ) -> None:
        """Every object has some files that others have too, and steps run side by side."""
        path, digest = _file(source, b"in every object" * 4096)
        keys = [[f"{writer}/{n}" for n in range(_PUTS)] for writer in range(_WRITERS)]
        children = [self._put_all(tmp_path, path, each, digest) for each in keys]
        ends = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        assert ends == [0] * _WRITERS, "a put failed beside another of the same bytes"
        assert sorted(target.list("")) == sorted(key for each in keys for key in each)

    def _put_all(self, tmp_path: Path, source: Path, keys: list[str], digest: str) -> int:
        """A process that puts the file at every key; its number."""
        child = os.fork()
        if child == 0:
            try:
                mine = self.make_target(tmp_path)
                for key in keys:
                    mine.put(source, key, digest)
                os._exit(0)
            except BaseException:  # noqa: BLE001 - this process has nobody else to tell
                traceback.print_exc()
            finally:
                os._exit(1)
        return child

    def test_a_put_killed_half_way_leaves_nothing_visible(
        self, target: Target[Any], source: Path, tmp_path: Path
    ) -> None:
        """All of the file or nothing of it; afterwards the same put succeeds."""
        path, digest = _file(source, os.urandom(_BIG))
        began = time.monotonic()
        target.put(path, "whole", digest)
        whole = time.monotonic() - began
        for part in (0.1, 0.3, 0.5, 0.7, 0.9):
            key = f"cut-{part}"
            while not self._put_and_die(tmp_path, path, key, digest, whole * part):
                whole /= 2  # this one was quicker: the machine was busy when it was measured
                key += "-again"
            seen = self.make_target(tmp_path)
            for listed in seen.list(""):
                with seen.open(listed) as file:
                    assert hashlib.sha512(b"".join(_chunks(file))).hexdigest() == digest, listed
            seen.put(path, key, digest)
            assert key in list(seen.list(""))

    def _put_and_die(
        self, tmp_path: Path, source: Path, key: str, digest: str, after: float
    ) -> bool:
        """Whether it was killed before its end; true as well once there is no time left to cut."""
        ready, say_ready = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                mine = self.make_target(tmp_path)
                os.write(say_ready, b".")
                mine.put(source, key, digest)
            finally:
                os._exit(0)
        os.close(say_ready)
        os.read(ready, 1)
        os.close(ready)
        _wait_for_end(child, after)
        os.kill(child, signal.SIGKILL)
        killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
        return killed or after < _SHORTEST

    def test_free_is_a_number_of_bytes_or_unknown(self, target: Target[Any]) -> None:
        """Never a guess."""
        free = target.free()
        assert free is None or (isinstance(free, int) and free >= 0)

    def test_its_check_speaks_in_sentences(self, target: Target[Any], tmp_path: Path) -> None:
        """Which problems there are depends on the place; that they are text does not."""
        assert all(isinstance(said, str) and said.strip() for said in target.check(tmp_path))

    def test_it_is_well_formed(self, target: Target[Any]) -> None:
        """Kind, version, and every option documented."""
        assert _KIND.fullmatch(target.kind)
        assert isinstance(target.version, str) and target.version.strip()
        assert not [*_undocumented(target.config())]


def _wait_for_end(child: int, seconds: float) -> None:
    """Until the child has ended, but no longer than `seconds`. It stays to be waited for."""
    import select

    watch = os.pidfd_open(child)
    try:
        select.select([watch], [], [], seconds)
    finally:
        os.close(watch)


def _file(folder: Path, content: bytes) -> tuple[Path, str]:
    digest = hashlib.sha512(content).hexdigest()
    path = folder / digest[:16]
    path.write_bytes(content)
    return path, digest


def _put(target: Target[Any], folder: Path, key: str, content: bytes) -> None:
    path, digest = _file(folder, content)
    target.put(path, key, digest)


def _read(target: Target[Any], key: str) -> bytes:
    with target.open(key) as file:
        return b"".join(_chunks(file))


def _chunks(file: Any) -> Iterator[bytes]:
    while chunk := file.read(2**16):
        yield chunk
