"""A secret that was replaced by something else: nobody waits for it or looks around in it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from archived.api import SecretRef
from archived.api.options import SECRET_LIMIT, handed_over
from archived.engine.worker.handover import hand_over_kept


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_bytes(b"the key\n")
    path.chmod(0o600)
    return path


def replace(path: Path, by: str) -> None:
    """Something else under the secret's name, whose permissions are as they should be."""
    path.unlink()
    match by:
        case "pipe":
            os.mkfifo(path, 0o600)
        case "folder":
            path.mkdir(0o700)
        case "device":
            path.symlink_to("/dev/null")
        case "giant":
            path.touch(0o600)
            os.truncate(path, 2**40)
        case "endless":
            path.symlink_to("/dev/zero")


KINDS = ("pipe", "folder", "device", "giant", "endless")


@pytest.mark.parametrize("by", KINDS)
def test_what_replaces_a_secret_and_is_none_is_an_error_at_once(secret: Path, by: str) -> None:
    """The daemon reads the broker's password between two events: there is no time to wait."""
    replace(secret, by)
    found: list[BaseException] = []

    def read() -> None:
        try:
            SecretRef(file=secret).read_text()
        except OSError as error:
            found.append(error)

    reading = threading.Thread(target=read, daemon=True)
    reading.start()
    reading.join(10)
    assert not reading.is_alive()
    assert len(found) == 1


def test_a_secret_of_the_largest_size_is_read_and_through_a_link(secret: Path) -> None:
    secret.write_bytes(b"x" * SECRET_LIMIT)
    link = secret.with_name("link")
    link.symlink_to(secret)
    assert len(SecretRef(file=link).read()) == SECRET_LIMIT
    with secret.open("ab") as file:
        file.write(b"x")
    with pytest.raises(OSError, match="at most"):
        SecretRef(file=secret).read()


def test_a_secret_that_was_given_open_is_read_however_often(secret: Path) -> None:
    handle = os.open(secret, os.O_RDONLY)
    handed_over({str(secret): handle})
    try:
        secret.unlink()
        assert [SecretRef(file=secret).read() for _ in range(3)] == [b"the key\n"] * 3
    finally:
        handed_over({})
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(handle)


@pytest.mark.parametrize("by", ["pipe", "folder", "device"])
def test_a_step_is_given_open_nothing_but_files(secret: Path, tmp_path: Path, by: str) -> None:
    """A descriptor of a folder would be one to look around from."""
    options = {"key": {"file": str(secret), "credential": None}}
    document = {"artifacts": [], "sealed": None}
    job = {"step": "s", "request": {"options": options, "document": document}}
    handed = hand_over_kept(job, None, tmp_path / "1", tmp_path / "given-1")
    assert len(handed.descriptors) == 1
    handed.close()
    replace(secret, by)
    before = len(list(Path("/proc/self/fd").iterdir()))
    handed = hand_over_kept(job, None, tmp_path / "2", tmp_path / "given-2")
    assert (handed.job["secrets"], handed.descriptors) == ([], [])
    assert len(list(Path("/proc/self/fd").iterdir())) == before
