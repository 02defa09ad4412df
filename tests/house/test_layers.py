"""The arrows of the plan point down only, and the daemon stays light."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import House

BELOW = {"api", "model", "errors"}
ALLOWED = {
    "api": set(),
    "errors": set(),
    "code_digest": set(),
    "locale": set(),
    "model": {"errors"},
    "storage": BELOW,
    "intake": BELOW | {"storage"},
    "engine": BELOW | {"storage", "code_digest"},
    "observe": BELOW | {"storage", "locale"},
    "plugins": BELOW | {"code_digest"},
    "config": BELOW | {"plugins"},
}
"""Part of the house -> the parts it may import. What is missing here may import anything below it,
and nobody may import it: see `TOP`."""

TOP = {"cli", "daemon", "testing"}

HEAVY = (
    "PIL", "asn1crypto", "cryptography", "fitz", "fontTools", "fpdf", "img2pdf", "numpy",
    "ocrmypdf", "pikepdf", "pyhanko", "pypdfium2", "tesserocr", "zxingcpp",
)  # fmt: skip
"""Libraries that parse documents or sign: they belong into children."""


def _parts(name: str) -> str:
    """`src/archived/storage/atomic.py` -> `storage`."""
    return name.split("/")[2].removesuffix(".py")


def test_every_arrow_points_down(house: House) -> None:
    """A part imports itself, what the table allows, and the package's version; nothing else."""
    wrong = []
    for source in house.core:
        part = _parts(source.name)
        if part == "__init__" or part in TOP:
            continue
        own = {n.split(".")[1] for n in source.imports() if n.startswith("archived.")}
        extra = own - {part, "AGENT", "__version__"} - ALLOWED[part]
        wrong += [f"{source.name} imports archived.{other}" for other in sorted(extra)]
    assert not wrong


def test_every_part_has_its_place_in_the_table(house: House) -> None:
    """A new package must be given its arrows."""
    parts = {_parts(source.name) for source in house.core} - {"__init__"}
    assert parts == set(ALLOWED) | TOP


def test_nobody_imports_the_top(house: House) -> None:
    """`cli`, `daemon` and `testing` compose; `cli` may start the daemon, and that is all."""
    for source in house.core:
        part = _parts(source.name)
        above = {n.split(".")[1] for n in source.imports() if n.startswith("archived.")} & TOP
        assert above <= {part} | ({"daemon"} if part == "cli" else set()), source.name


def test_the_decisions_do_no_input_or_output(house: House) -> None:
    """`model` imports neither clock, disk, socket nor event loop."""
    outside = {"os", "io", "pathlib", "socket", "asyncio", "time", "subprocess", "sqlite3",
               "sqlalchemy", "shutil", "tempfile", "random", "secrets", "threading"}  # fmt: skip
    for source in house.core:
        if _parts(source.name) == "model":
            used = {name.split(".")[0] for name in source.imports()}
            assert not used & outside, source.name
            assert "datetime.now" not in source.text, source.name
            assert "open(" not in source.text, source.name


def test_plugins_use_the_strangers_door(house: House) -> None:
    """A bundled plug-in imports `archived.api` and nothing else of archived."""
    for sources in house.plugins.values():
        for source in sources:
            ours = {n for n in source.imports() if n.split(".")[0] == "archived"}
            assert all(n.startswith("archived.api") for n in ours), (source.name, ours)


def test_the_daemon_loads_no_library_that_parses_documents(house: House) -> None:
    """In a fresh interpreter, with the bundled plug-ins enabled as the daemon enables them."""
    code = f"""
import sys
import archived.daemon
from archived.plugins import find
find({sorted(house.plugins)!r})
print(*[name for name in {HEAVY!r} if name in sys.modules])
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []
