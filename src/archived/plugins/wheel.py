"""Reads a wheel and judges it: is it whole, does it fit this machine, does it have what it needs?

Imports nothing that is in it, and writes only where `unpack` is told to.
"""

from __future__ import annotations

import base64
import configparser
import csv
import hashlib
import io
import stat
import sys
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path, PurePosixPath

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import sys_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from archived.errors import PluginError
from archived.plugins.sources import GROUP

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
        return frozenset(PurePosixPath(name).parts[0].partition(".")[0] for name in self.files
                         if ".dist-info/" not in name)  # fmt: skip


def read(path: Path) -> Wheel:
    """Read a wheel and compare every file in it with the hash it is listed with.

    Raises `PluginError`.
    """
    try:
        name, version, _, tags = parse_wheel_filename(path.name)
    except InvalidWheelFilename as error:
        raise PluginError(
            f"{path}: not a wheel: {error}",
            hint="name a file like archived_example-1.0-py3-none-any.whl",
        ) from None
    if not tags & set(sys_tags()):
        raise PluginError(
            f"{path.name} was built for another kind of machine or Python than "
            f"{sys.implementation.cache_tag} here",
            hint="ask for a wheel for this one",
        )
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        with zipfile.ZipFile(path) as archive:
            _safe(archive, path)
            info = _dist_info(archive, path)
            _compare(archive, info, path)
            metadata = HeaderParser().parsestr(_text(archive, f"{info}/METADATA"))
            listed = f"{info}/entry_points.txt"
            points = _text(archive, listed) if listed in archive.namelist() else ""
            files, left_out = _places(archive, info)
    except OSError as error:
        raise PluginError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        ValueError,
        configparser.Error,
    ) as error:
        raise PluginError(f"{path.name} is damaged: {error}", hint="fetch it again") from None
    _fits_python(metadata["Requires-Python"], path)
    return Wheel(
        path=path, name=name, version=str(version), sha256=digest,
        needs=tuple(_needs(metadata.get_all("Requires-Dist", []), path)),
        plugins=tuple(_plugins(points)),
        files=files, left_out=left_out,
    )  # fmt: skip


def missing(wheel: Wheel, there: Mapping[str, str]) -> list[str]:
    """What a wheel needs of distributions (name -> version), as sentences; else empty."""
    wrong = []
    for need in wheel.needs:
        if need.marker is not None and not need.marker.evaluate({"extra": ""}):
            continue
        version = there.get(canonicalize_name(need.name))
        if version is None:
            wrong.append(f"{wheel.name} {wheel.version} needs {need}, which is not there")
        elif not need.specifier.contains(version, prereleases=True):
            wrong.append(f"{wheel.name} {wheel.version} needs {need}, and there is {version}")
    return wrong


def unpack(wheel: Wheel, folder: Path) -> None:
    """Write the wheel's files below an empty folder; the caller makes them durable."""
    with zipfile.ZipFile(wheel.path) as archive:
        for place, name in wheel.files.items():
            target = folder / place
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(name))
            target.chmod(0o644)
    inner = {above for place in wheel.files for above in Path(place).parents}
    for above in inner:
        (folder / above).chmod(0o755)


def _safe(archive: zipfile.ZipFile, path: Path) -> None:
    """Every name stays below the folder it is unpacked into, and nothing is a link."""
    size = 0
    for member in archive.infolist():
        size += member.file_size
        parts = member.filename.removesuffix("/").split("/")
        kind = stat.S_IFMT(member.external_attr >> 16)
        if {"", ".", ".."} & set(parts) or "\\" in member.filename or "\0" in member.filename:
            raise PluginError(f"{path.name}: {member.filename!r} points out of the wheel")
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise PluginError(f"{path.name}: {member.filename!r} is neither file nor folder")
    if size > LARGEST:
        raise PluginError(f"{path.name} unpacks to {size:,} bytes; at most {LARGEST:,} are allowed")


def _dist_info(archive: zipfile.ZipFile, path: Path) -> str:
    found = {name.partition("/")[0] for name in archive.namelist()}
    folders = sorted(name for name in found if name.endswith(".dist-info"))
    if len(folders) != 1 or f"{folders[0]}/METADATA" not in archive.namelist():
        raise PluginError(f"{path.name}: is no wheel: one .dist-info with METADATA is needed")
    return folders[0]


def _compare(archive: zipfile.ZipFile, info: str, path: Path) -> None:
    """Every file is listed in RECORD with the hash it has, and everything listed is there."""
    listing = f"{info}/RECORD"
    if listing not in archive.namelist():
        raise PluginError(f"{path.name}: has no RECORD, so nothing in it can be checked")
    unsigned = {listing, f"{listing}.jws", f"{listing}.p7s"}
    listed = {row[0]: row[1] for row in csv.reader(io.StringIO(_text(archive, listing)))
              if len(row) >= 2}  # fmt: skip
    names = {name for name in archive.namelist() if not name.endswith("/")}
    if strangers := sorted(names - listed.keys() - unsigned):
        raise PluginError(f"{path.name}: {strangers[0]} is in it and not in its RECORD")
    if absent := sorted(listed.keys() - names):
        raise PluginError(f"{path.name}: {absent[0]} is in its RECORD and not in it")
    for name in sorted(names - unsigned):
        kind, _, wanted = listed[name].partition("=")
        if kind not in {"sha256", "sha384", "sha512"}:
            raise PluginError(f"{path.name}: {name} is listed without a hash that can be trusted")
        found = hashlib.new(kind, archive.read(name)).digest()
        if base64.urlsafe_b64encode(found).rstrip(b"=") != wanted.rstrip("=").encode():
            raise PluginError(
                f"{path.name}: {name} is not what its RECORD says", hint="fetch the wheel again"
            )


def _text(archive: zipfile.ZipFile, name: str) -> str:
    return archive.read(name).decode("utf-8")


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
            raise PluginError(f"{path.name}: needs {line!r}, which says nothing: {error}") from None


def _fits_python(wanted: str | None, path: Path) -> None:
    here = ".".join(map(str, sys.version_info[:3]))
    try:
        fits = SpecifierSet(wanted or "").contains(here)
    except InvalidSpecifier:
        fits = False
    if not fits:
        raise PluginError(f"{path.name} is for Python {wanted}, and this is {here}")
