"""A file of the configuration that is none, or is made to exhaust its reader, is told and no more.

A reload is refused then, and the set in force stays as it was: it must never wait for a file.
"""

from __future__ import annotations

import os
import resource
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from archived.config.toml_files import LARGEST, read
from archived.errors import ConfigError, PluginError
from archived.plugins.discovery import load_file


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as line:
        line.bind(str(path))


def text(content: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(content)


def a_gigabyte(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 30)


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a pipe": (os.mkfifo, "not a file|cannot be read"),
    "a socket": (a_socket, "cannot be read"),
    "a folder": (Path.mkdir, "cannot be read"),
    "a device without end": (lambda p: p.symlink_to("/dev/zero"), "cannot be read"),
    "a gigabyte": (a_gigabyte, "cannot be read"),
    "a list in a list in a list": (text("a = " + "[" * 50_000), "nested"),
    "a table in a table in a table": (text("a = " + "{a = " * 5000), "nested"),
    "a key of twenty thousand parts": (text(".".join(["a"] * 20_000) + " = 1\n"), "parts"),
    "a number of five thousand digits": (text("a = " + "9" * 5000), "digits"),
    "a link to itself": (lambda p: p.symlink_to(p), "cannot be read"),
}


def within(seconds: float, what: Callable[[], object]) -> BaseException | None:
    """What it raised; it must have ended by then."""
    raised: list[BaseException | None] = []

    def run() -> None:
        try:
            what()
        except BaseException as error:
            raised.append(error)
        else:
            raised.append(None)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert raised, "it is still reading"
    return raised[0]


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("name", ["archived.toml", "conf.d/x.toml"])
def test_it_is_a_mistake_in_that_file(tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / "conf.d").mkdir(mode=0o755)
    if name != "archived.toml":
        (tmp_path / "archived.toml").touch(0o600)
    make, why = HOSTILE[kind]
    make(tmp_path / name)
    (tmp_path / name).chmod(0o644) if (tmp_path / name).is_file() else None
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    error = within(20, lambda: read(tmp_path / "archived.toml"))
    assert isinstance(error, ConfigError)
    assert name in str(error)
    assert any(each in str(error) for each in why.split("|"))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 64 << 10, "kilobytes"


def test_a_file_that_grows_while_it_is_read_ends_at_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its size is asked for once; what is written behind that is not read for ever."""
    file = tmp_path / "archived.toml"
    file.write_text("# short\n")
    file.chmod(0o600)
    asked = os.fstat

    def grown(handle: int) -> os.stat_result:
        status = asked(handle)
        os.truncate(file, 1 << 30)
        return status

    monkeypatch.setattr(os, "fstat", grown)
    error = within(20, lambda: read(file))
    monkeypatch.undo()
    assert isinstance(error, ConfigError)  # NUL is no TOML
    assert LARGEST < 1 << 30


@pytest.mark.parametrize("kind", ["a pipe", "a device without end", "a folder"])
def test_a_plug_in_that_is_no_file_is_told_and_not_waited_for(tmp_path: Path, kind: str) -> None:
    tmp_path.chmod(0o755)
    HOSTILE[kind][0](tmp_path / "late.py")
    error = within(20, lambda: load_file("late", tmp_path / "late.py"))
    assert isinstance(error, (PluginError, OSError))
