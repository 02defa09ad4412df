"""Samples with fixed names, made once per user and machine, and shared by test processes.

The cache is keyed by everything the bytes depend on, so it never needs emptying by hand; a sample
appears in it whole or not at all.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from archived.testing.samples import fonts
from archived.testing.samples.bake import Recipe, bake

CATALOGUE: dict[str, Recipe] = {
    "decision-g4.tif": Recipe("decision", "tif-g4", ("bilevel",), pages=2),
    "decision-colour.pdf": Recipe("decision", "pdf", ("colour",), pages=2),
    "notice-gray.jpg": Recipe("notice", "jpg", ("gray",)),
    "dispatch-colour.pdf": Recipe("dispatch", "pdf", ("colour",)),
    "dispatch-urgent.pdf": Recipe("dispatch", "pdf", ("gray",), urgency="Hỏa tốc"),
    "proposal-g4.pdf": Recipe("proposal", "pdf", ("bilevel",), pages=2),
    "directive-colour.jpg": Recipe("directive", "jpg", ("colour",), urgency="Khẩn"),
    "plan-multipage.pdf": Recipe("plan", "pdf", ("colour", "gray", "bilevel"), pages=5),
    "minutes-lzw.tif": Recipe("minutes", "tif-lzw", ("gray",), pages=2, dpi=200, clean=True),
    "report-jpeg.tif": Recipe("report", "tif-jpeg", ("gray",), pages=2),
    "resolution-g4.tif": Recipe("resolution", "tif-g4", ("bilevel",)),
    "guidance-gray.pdf": Recipe("guidance", "pdf", ("gray",), pages=3),
    "party-resolution.png": Recipe("party-resolution", "png", ("colour",), dpi=200, clean=True),
    "party-decision.pdf": Recipe("party-decision", "pdf", ("colour",), pages=2),
    "party-dispatch.tif": Recipe("party-dispatch", "tif-g4", ("bilevel",)),
    "party-directive.jpg": Recipe("party-directive", "jpg", ("gray",), urgency="Thượng khẩn"),
    "upside-down.pdf": Recipe("notice", "pdf", ("gray",), turned=180),
    "sideways.jpg": Recipe("proposal", "jpg", ("gray",), turned=90),
    "blank.tif": Recipe("blank", "tif-g4", ("bilevel",)),
    "born-digital.pdf": Recipe("report", "born", pages=3),
    "secret.pdf": Recipe("report", "pdf", ("colour",), secrecy="Mật"),
    "top-secret.tif": Recipe("plan", "tif-g4", ("bilevel",), secrecy="Tối mật"),
    "utmost-secret.jpg": Recipe("dispatch", "jpg", ("gray",), secrecy="Tuyệt mật"),
    "party-secret.pdf": Recipe("party-notice", "pdf", ("gray",), secrecy="Mật", urgency="Khẩn"),
    "tiny.pdf": Recipe("tiny", "pdf", ("gray",), dpi=150),
    "tiny.tif": Recipe("tiny", "tif-g4", ("bilevel",), dpi=200),
    "tiny.jpg": Recipe("tiny", "jpg", ("gray",), dpi=150),
}
"""Name -> recipe. Names are an interface of the testing kit."""

_LIBRARIES = ("fonttools", "fpdf2", "numpy", "pikepdf", "pillow")


@functools.cache
def generator_version() -> str:
    """A short digest of everything a sample's bytes depend on."""
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    for name in _LIBRARIES:
        try:
            digest.update(f"{name}={importlib.metadata.version(name)};".encode())
        except importlib.metadata.PackageNotFoundError:
            digest.update(f"{name}=absent;".encode())
    for path in fonts.family().files.values():
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def cache_folder() -> Path:
    """`$ARCHIVED_SAMPLES_CACHE`, else below the user's cache, else below the temporary folder."""
    if given := os.environ.get("ARCHIVED_SAMPLES_CACHE"):
        return Path(given)
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given) / "archived" / "samples"
    try:
        home = Path.home()
    except RuntimeError:
        home = Path("/nonexistent")
    if home.is_dir() and os.access(home, os.W_OK):
        return home / ".cache" / "archived" / "samples"
    return Path(tempfile.gettempdir()) / f"archived-samples-{os.getuid()}"


def sample(name: str) -> Path:
    """The named sample's path in the cache, made on first use. Copy it; never change it.

    Raises `KeyError`, listing the names there are, for an unknown one.
    """
    folder = _cached(name)
    return folder / name


def truth(name: str) -> dict[str, Any]:
    """What is true of the named sample: its fields and the text of each page."""
    found: dict[str, Any] = json.loads((_cached(name) / "truth.json").read_text())
    return found


def _cached(name: str) -> Path:
    if name not in CATALOGUE:
        raise KeyError(f"no sample {name!r}; there are: {', '.join(CATALOGUE)}")
    home = cache_folder() / generator_version()
    folder = home / name.replace(".", "-")
    if folder.is_dir():
        return folder
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    data, facts = bake(CATALOGUE[name], f"catalogue:{name}")
    with tempfile.TemporaryDirectory(prefix=".making-", dir=home) as making:
        fresh = Path(making) / "sample"
        fresh.mkdir()
        (fresh / name).write_bytes(data)
        (fresh / name).chmod(0o444)
        (fresh / "truth.json").write_text(json.dumps({"file": name, **facts}, ensure_ascii=False))
        try:
            fresh.rename(folder)
        except OSError:
            # Another process was quicker: it made the same bytes.
            if not folder.is_dir():
                raise
    return folder
