"""Reads a wheel and judges it: is it whole, does it fit this machine, does it have what it needs?

Imports nothing that is in it, and writes only where `unpack` is told to.
"""

from __future__ import annotations

import configparser
import hashlib
import shutil
import stat
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path, PurePosixPath
from typing import IO

from installer.records import parse_record_file
from installer.sources import WheelFile
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import sys_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from archived.errors import PluginError
from archived.message import Message
from archived.plugins.discovery import GROUP

LARGEST = 2 * 1024**3
"""Bytes that a wheel may unpack to."""

_INSIDE = ("purelib", "platlib")
"""What of `NAME.data/` belongs among the modules; scripts, headers and other data are left out."""


@dataclass(frozen=True)
class Wheel:
    """One wheel that is whole. `files`: where each goes -> its name in the archive."""

    path: Path
    name: str
    """As in the index: lower-case words joined by hyphens."""
    version: str
    sha256: str
    needs: tuple[Requirement, ...]
    plugins: tuple[str, ...]
    """Names of the plug-ins it gives; empty for a library that another one needs."""
    files: Mapping[str, str]
    left_out: tuple[str, ...]
    """Names of files that are of no use here: console scripts, headers."""

    @property
    def modules(self) -> frozenset[str]:
        """What it can be imported as, and its own notes: the names that lie at the top."""
        return frozenset(
            PurePosixPath(name).parts[0].partition(".")[0]
            for name in self.files
            if ".dist-info/" not in name
        )


def read(path: Path) -> Wheel:
    """Read a wheel and compare every file in it with the hash it is listed with.

    Raises `PluginError`.
    """
    try:
        name, version, _, tags = parse_wheel_filename(path.name)
    except InvalidWheelFilename as error:
        raise PluginError(
            Message("{path}: not a wheel: {error}", path=path, error=error),
            hint=Message("name a file like archived_example-1.0-py3-none-any.whl"),
        ) from None
    if not tags & set(sys_tags()):
        raise PluginError(
            Message(
                "{name} was built for another kind of machine or Python than {cache_tag} here",
                name=path.name,
                cache_tag=sys.implementation.cache_tag,
            ),
            hint=Message("ask for a wheel for this one"),
        )
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            _safe(archive, path)
            source = WheelFile(archive)
            _compare(archive, source, path)
            metadata = HeaderParser().parsestr(source.read_dist_info("METADATA"))
            listed = "entry_points.txt" in source.dist_info_filenames
            points = source.read_dist_info("entry_points.txt") if listed else ""
            files, left_out = _places(archive, source.dist_info_dir)
    except OSError as error:
        raise PluginError(
            Message("{path}: cannot be read: {why}", path=path, why=error.strerror or error)
        ) from None
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        KeyError,
        NotImplementedError,
        ValueError,
        configparser.Error,
    ) as error:
        raise PluginError(
            Message("{name} is damaged: {error}", name=path.name, error=error),
            hint=Message("fetch it again"),
        ) from None
    _fits_python(metadata["Requires-Python"], path)
    return Wheel(
        path=path,
        name=name,
        version=str(version),
        sha256=digest,
        needs=tuple(_needs(metadata.get_all("Requires-Dist", []), path)),
        plugins=tuple(_plugins(points)),
        files=files,
        left_out=left_out,
    )


def missing(wheel: Wheel, there: Mapping[str, str]) -> list[str]:
    """What a wheel needs of distributions (name -> version), as sentences; else empty."""
    wrong: list[str] = []
    for need in wheel.needs:
        if need.marker is not None and not need.marker.evaluate({"extra": ""}):
            continue
        version = there.get(canonicalize_name(need.name))
        if version is None:
            wrong.append(
                Message(
                    "{name} {version} needs {need}, which is not there",
                    name=wheel.name,
                    version=wheel.version,
                    need=need,
                )
            )
        elif not need.specifier.contains(version, prereleases=True):
            wrong.append(
                Message(
                    "{name} {version} needs {need}, and there is {there}",
                    name=wheel.name,
                    version=wheel.version,
                    need=need,
                    there=version,
                )
            )
    return wrong


def unpack(wheel: Wheel, folder: Path) -> None:
    """Write the wheel's files below an empty folder; the caller makes them durable.

    Raises `PluginError` when the wheel is not what `read` judged: it may lie where others write.
    """
    with _as_judged(wheel, folder) as copy, zipfile.ZipFile(copy) as archive:
        for place, name in wheel.files.items():
            target = folder / place
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(name))
            target.chmod(0o644)
    inner = {above for place in wheel.files for above in Path(place).parents}
    for above in inner:
        (folder / above).chmod(0o755)


@contextmanager
def _as_judged(wheel: Wheel, folder: Path) -> Iterator[IO[bytes]]:
    """The bytes that `read` judged, in a file without a name that nobody else can write."""
    with tempfile.TemporaryFile(dir=folder) as copy:
        with wheel.path.open("rb") as file:
            shutil.copyfileobj(file, copy)
        copy.seek(0)
        if hashlib.file_digest(copy, "sha256").hexdigest() != wheel.sha256:
            raise PluginError(
                Message("{name} was changed while the wheel was installed", name=wheel.path.name),
                hint=Message(
                    "copy the wheel to a folder where nobody else may write, and install it from "
                    "there"
                ),
            )
        yield copy


def _safe(archive: zipfile.ZipFile, path: Path) -> None:
    """Every name stays below the folder it is unpacked into, and nothing is a link."""
    size = 0
    for member in archive.infolist():
        size += member.file_size
        parts = member.filename.removesuffix("/").split("/")
        kind = stat.S_IFMT(member.external_attr >> 16)
        if {"", ".", ".."} & set(parts) or "\\" in member.filename or "\0" in member.filename:
            raise PluginError(
                Message(
                    "{name}: {filename!r} points out of the wheel",
                    name=path.name,
                    filename=member.filename,
                )
            )
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise PluginError(
                Message(
                    "{name}: {filename!r} is neither file nor folder",
                    name=path.name,
                    filename=member.filename,
                )
            )
    if size > LARGEST:
        raise PluginError(
            Message(
                "{name} unpacks to {size:,} bytes; at most {largest:,} are allowed",
                name=path.name,
                size=size,
                largest=LARGEST,
            )
        )


def _compare(archive: zipfile.ZipFile, source: WheelFile, path: Path) -> None:
    """Every file is listed in RECORD with the size and the hash it has (PyPA, "Recording installed
    projects"); beyond what `installer` compares: what is listed is there, by a hash to be trusted.
    """
    try:
        source.validate_record()
    except WheelFile.validation_error as error:
        raise PluginError(
            Message(
                "{name}: is not what its RECORD says: {why}",
                name=path.name,
                why="; ".join(getattr(error, "issues", None) or [str(error)]),
            ),
            hint=Message("fetch the wheel again"),
        ) from None
    rows = parse_record_file(source.read_dist_info("RECORD").splitlines())
    listed = {name: hashed for name, hashed, _ in rows}
    if absent := sorted(listed.keys() - set(archive.namelist())):
        raise PluginError(
            Message(
                "{name}: {absent} is in its RECORD and not in it", name=path.name, absent=absent[0]
            )
        )
    for name, hashed in sorted(listed.items()):
        if hashed and hashed.partition("=")[0] not in {"sha256", "sha384", "sha512"}:
            raise PluginError(
                Message(
                    "{name}: {file} is listed without a hash that can be trusted",
                    name=path.name,
                    file=name,
                )
            )


def _places(archive: zipfile.ZipFile, info: str) -> tuple[dict[str, str], tuple[str, ...]]:
    data = info.removesuffix(".dist-info") + ".data"
    files, left_out = {}, []
    for name in archive.namelist():
        first, _, rest = name.partition("/")
        kind, _, inner = rest.partition("/")
        if name.endswith("/"):
            continue
        if first != data:
            files[name] = name
        elif kind in _INSIDE:
            files[inner] = name
        else:
            left_out.append(rest)
    return files, tuple(sorted(left_out))


def _plugins(text: str) -> Iterable[str]:
    """Names in our group of `entry_points.txt`."""
    points = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=False)
    points.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their case
    points.read_string(text)
    return sorted(points[GROUP]) if points.has_section(GROUP) else ()


def _needs(lines: Iterable[str], path: Path) -> Iterable[Requirement]:
    for line in lines:
        try:
            yield Requirement(line)
        except InvalidRequirement as error:
            raise PluginError(
                Message(
                    "{name}: needs {line!r}, which says nothing: {error}",
                    name=path.name,
                    line=line,
                    error=error,
                )
            ) from None


def _fits_python(wanted: str | None, path: Path) -> None:
    here = ".".join(map(str, sys.version_info[:3]))
    try:
        fits = SpecifierSet(wanted or "").contains(here)
    except InvalidSpecifier:
        fits = False
    if not fits:
        raise PluginError(
            Message(
                "{name} is for Python {wanted}, and this is {here}",
                name=path.name,
                wanted=wanted,
                here=here,
            )
        )
