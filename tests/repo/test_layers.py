"""What the layers keep apart beyond imports (pyproject.toml has those): the daemon stays light."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.repo.conftest import Checkout

HEAVY = (
    "PIL",
    "asn1crypto",
    "cryptography",
    "fitz",
    "fontTools",
    "fpdf",
    "img2pdf",
    "numpy",
    "ocrmypdf",
    "pikepdf",
    "pyhanko",
    "pypdfium2",
    "tesserocr",
    "zxingcpp",
)
"""Libraries that parse documents or sign: they belong into children."""


def test_the_decisions_read_no_clock_and_no_file(checkout: Checkout) -> None:
    """`model` is given the time; what it may import is in pyproject.toml."""
    decisions = [s for s in checkout.core if s.name.startswith("src/archived/model/")]
    assert decisions
    for source in decisions:
        assert "datetime.now" not in source.text, source.name
        assert "open(" not in source.text, source.name


def test_plugins_use_the_strangers_door(checkout: Checkout) -> None:
    """A bundled plug-in imports `archived.api` and nothing else of archived."""
    for sources in checkout.plugins.values():
        for source in sources:
            ours = {n for n in source.imports() if n.split(".")[0] == "archived"}
            assert all(n.startswith("archived.api") for n in ours), (source.name, ours)


def test_the_daemon_loads_no_library_that_parses_documents(checkout: Checkout) -> None:
    """In a fresh interpreter, with the bundled plug-ins enabled as the daemon enables them."""
    code = f"""
import sys
import archived.daemon
from archived.plugins import find
find({sorted(checkout.plugins)!r})
print(*[name for name in {HEAVY!r} if name in sys.modules])
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []


def test_the_daemon_loads_nothing_that_forks(checkout: Checkout) -> None:
    """It has threads; what is forked is forked by a fork server, which has one, or by a command."""
    code = """
import sys
import archived.daemon.daemon
print(*[m.__file__ for n, m in list(sys.modules.items()) if n.partition(".")[0] == "archived"])
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(ran.stdout.split())
    assert any(name.endswith("engine/scheduler.py") for name in loaded)
    forking = [
        s.name for s in checkout.core if re.search(r"\bos\.fork|\bpreexec_fn|forkpty", s.text)
    ]
    assert "src/archived/engine/worker/forkserver.py" in forking
    assert [name for name in forking if any(path.endswith(name) for path in loaded)] == []
