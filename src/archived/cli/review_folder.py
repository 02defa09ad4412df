"""The folder between `archivectl review` and `archivectl release --reviewed`.

It is for its owner alone: what is in it was not released yet, and what it says lets documents go
on. So it is made new, written and read only while nobody else could have put anything there.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import click

from archived.locale import _

SHOWN = "shown.json"
"""What was shown: what a decision about it must name."""
FORMAT = 1
_KEYS = ("document", "name", "dossier", "code", "shown")
_LARGEST = 64 * 2**20
_WAY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class ReviewFolder:
    """A new folder that is being filled."""

    def __init__(self, path: Path, file: int) -> None:
        self.path = path
        self._file = file
        self._pictures = 0

    @classmethod
    def new(cls, output: Path) -> Self:
        """Make it, or take one of ours that is empty. Raises `click.ClickException`."""
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            made = not os.path.lexists(output)
            if made:
                output.mkdir(mode=0o700)
            file = _open(output)
            os.fchmod(file, 0o700)
            if not made and os.listdir(file):  # noqa: PTH208 - of what was opened, not of a name
                raise click.UsageError(
                    _("{folder} is not empty; name a new folder").format(folder=output)
                )
        except OSError as error:
            raise _unwritable(output, error) from None
        return cls(output.absolute(), file)

    def picture(self, fetch: Callable[[Callable[[bytes], object]], object]) -> tuple[str, str]:
        """Write what `fetch` returns, piece by piece; the file's name, the bytes' SHA-512."""
        name = f"{self._pictures + 1:05}.png"
        digest = hashlib.sha512()
        with self._create(name) as out:

            def take(piece: bytes) -> None:
                digest.update(piece)
                try:
                    out.write(piece)
                    out.flush()
                except OSError as error:
                    raise _unwritable(self.path / name, error) from None

            try:
                fetch(take)
            except BaseException:
                os.unlink(name, dir_fd=self._file)
                raise
        self._pictures += 1
        return name, digest.hexdigest()

    def drop(self, names: Iterable[str]) -> None:
        """Take pictures away again."""
        for name in names:
            os.unlink(name, dir_fd=self._file)

    def write(self, name: str, text: str) -> None:
        """A text of its own. Raises `click.ClickException`."""
        try:
            with self._create(name) as out:
                out.write(text.encode(errors="backslashreplace"))
        except OSError as error:
            raise _unwritable(self.path / name, error) from None

    def write_shown(self, found: Iterable[Mapping[str, Any]]) -> None:
        """Say what was shown of each document that waits for it. The last that is written."""
        documents = [
            {
                **{key: each["document"][key] for key in ("name", "dossier", "code")},
                "document": each["document"]["id"],
                "shown": each["shown"],
            }
            for each in found
            if each["holds"]
        ]
        told = {"format": FORMAT, "documents": documents}
        self.write(SHOWN, json.dumps(told, ensure_ascii=False, indent=1))

    def _create(self, name: str) -> Any:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return os.fdopen(os.open(name, flags, 0o600, dir_fd=self._file), "wb")
        except OSError as error:
            raise _unwritable(self.path / name, error) from None


def read_shown(folder: Path) -> list[dict[str, str]]:
    """What `archivectl review` wrote into the folder. Raises `click.UsageError` for anything else,
    and for a folder that somebody else may have written.
    """
    try:
        way = _open(folder)
        try:
            file = os.open(SHOWN, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=way)
            with os.fdopen(file, "rb") as content:
                if not stat.S_ISREG(os.fstat(file).st_mode):
                    raise ValueError("no file")
                _be_ours(folder / SHOWN, file)
                told = json.loads(content.read(_LARGEST))
        finally:
            os.close(way)
        read = _entries(told)
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        none = _("{folder} holds nothing that archivectl review wrote")
        raise click.UsageError(none.format(folder=folder)) from None
    return read


def _entries(told: Mapping[str, Any]) -> list[dict[str, str]]:
    if told["format"] != FORMAT:
        raise ValueError("of another format")
    return [_entry(each) for each in told["documents"]]


def _entry(each: Mapping[str, Any]) -> dict[str, str]:
    entry = {key: each[key] if each[key] is not None else "" for key in _KEYS}
    if not all(isinstance(value, str) for value in entry.values()) or not entry["document"]:
        raise ValueError("no document")
    return entry


def _open(folder: Path) -> int:
    """The folder itself, no link to one, and ours. Raises `OSError`, `click.UsageError`."""
    file = os.open(folder, _WAY)
    try:
        _be_ours(folder, file)
    except BaseException:
        os.close(file)
        raise
    return file


def _be_ours(path: Path, file: int) -> None:
    """Raises `click.UsageError` when somebody else owns it or may write there."""
    found = os.fstat(file)
    own = {os.geteuid()}
    if os.geteuid() == 0:
        own |= {int(uid) for uid in [os.environ.get("SUDO_UID", "")] if uid.isdecimal()}
    if found.st_uid not in own or found.st_mode & 0o022:
        raise click.UsageError(
            _(
                "{path} belongs to somebody else, or others may write there; let archivectl "
                "review make a new folder"
            ).format(path=path)
        )


def _unwritable(path: Path, error: OSError) -> click.ClickException:
    why = _("{file} cannot be written: {why}").format(file=path, why=error.strerror)
    return click.ClickException(why)
