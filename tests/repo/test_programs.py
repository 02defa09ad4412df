"""Every external program that anything bundled may start is on the list, and the list is used."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from archived.engine.programs import package_of, programs, wanted
from archived.plugins import find

if TYPE_CHECKING:
    from tests.repo.conftest import Checkout

_OF_SYSTEM = re.compile(
    r"(os|posix)\.(exec(l|le|lp|lpe|v|ve|vp|vpe)|spawn\w+|posix_spawnp?|system|popen|startfile)"
)
_OF_LOOP = re.compile(r".*\.(create_subprocess_(exec|shell)|subprocess_(exec|shell))")
_MODULES = {"subprocess", "_posixsubprocess", "pty", "webbrowser", "pexpect"}
"""To import one of these, by whatever path, is to be able to start a process."""
_ASK_OTHERS = re.compile(r"(ctypes\.)?util\.find_library|uuid\.(uuid1|getnode)|platform\.processor")
"""What of the standard library starts programs to answer a question."""
_WORTH_READING = re.compile(
    r"subprocess|\bpty\b|webbrowser|pexpect|(os|posix)\.(exec|spawn|posix_spawn|system|popen|start)"
    r"|from (os|posix) import|ctypes\.util|find_library|uuid1|getnode|\.processor"
)
"""Taking all of a hundred thousand lines apart takes most of a minute."""


def starts_in(tree: ast.AST) -> set[str]:
    """What in a module can start a process, as written there. Multiprocessing is no program."""
    found = set()
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module or ''}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute):
            dotted = ast.unparse(node)
            kinds = (_OF_SYSTEM, _OF_LOOP, _ASK_OTHERS)
            found |= {dotted for kind in kinds if kind.fullmatch(dotted)}
        for name in names:
            parts = set(name.split("."))
            known = any(kind.fullmatch(name) for kind in (_OF_SYSTEM, _OF_LOOP, _ASK_OTHERS))
            if parts & _MODULES or known or name == "ctypes.util":
                found.add(name)
    return found


def _module(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _pinned(checkout: Checkout) -> Iterator[tuple[str, str]]:
    for line in checkout.text("requirements/runtime.txt").splitlines():
        if named := re.match(r"([\w.-]+)==([\w.]+)", line):
            yield named[1], named[2]


def _starters(checkout: Checkout) -> dict[str, set[str]]:
    """Module -> what in it can start a process: ours, and those of every pinned distribution."""
    found = {}
    for source in checkout.everything():
        found[_module(source.name.partition("src/")[2])] = starts_in(source.tree)
    for name, version in _pinned(checkout):
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            pytest.fail(f"{name} is pinned and not installed: ./run dev")
        assert distribution.version == version, f"{name} {distribution.version}: ./run dev"
        for file in distribution.files or ():
            path = Path(str(distribution.locate_file(file)))
            if path.suffix == ".py" and path.exists():
                text = path.read_text("utf-8", errors="replace")
                if _WORTH_READING.search(text):
                    found[_module(str(file))] = starts_in(ast.parse(text))
    for unit in (checkout.root / "systemd").glob("*.service"):
        found[f"systemd/{unit.name}"] = {
            line
            for line in unit.read_text().splitlines()
            if line.startswith("Exec") and not re.search(r"=\+?/usr/bin/archive", line)
        }
    return {module: starts for module, starts in found.items() if starts}


@pytest.fixture(scope="module")
def starters(checkout: Checkout) -> dict[str, set[str]]:
    return _starters(checkout)


def test_whatever_can_start_a_process_is_on_the_list(starters: dict[str, set[str]]) -> None:
    """An upgrade that starts something new ends here: name it, or say why it is never started."""
    listed = [pattern for each in programs() for pattern in each.modules]
    new = {
        module: sorted(starts)
        for module, starts in starters.items()
        if not any(fnmatchcase(module, pattern) for pattern in listed)
    }
    assert new == {}, "add them to src/archived/engine/programs.toml"


GONE_SINCE = {"numpy.distutils.*": (3, 12)}
"""Installed under older Pythons only, that of Debian 12 among them."""


def test_the_list_names_nobody_who_starts_nothing(starters: dict[str, set[str]]) -> None:
    """What an upgrade has given up goes from the list."""
    stale = [
        pattern
        for each in programs()
        for pattern in each.modules
        if not any(fnmatchcase(module, pattern) for module in starters)
        and sys.version_info < GONE_SINCE.get(pattern, (99,))
    ]
    assert stale == []


@pytest.mark.parametrize(
    "source",
    [
        "import subprocess",
        "from subprocess import PIPE",
        "from ocrmypdf.subprocess import run",
        "import os\nos.system('x')",
        "import os\nos.execvp('x', ['x'])",
        "from os import posix_spawn",
        "import asyncio\nasyncio.create_subprocess_exec('x')",
        "from asyncio import create_subprocess_shell",
        "loop.subprocess_exec(f, 'x')",
        "from ctypes.util import find_library",
        "import webbrowser",
    ],
)
def test_every_way_to_start_a_process_is_seen(source: str) -> None:
    """The reading of the source itself can fail."""
    assert starts_in(ast.parse(source))


def test_what_starts_none_is_let_be() -> None:
    """Words alone are no start."""
    source = "import os, multiprocessing\nos.path.join('system')\nmodel.execute()\nos.fork()"
    assert not starts_in(ast.parse(source))


def test_each_entry_says_what_it_must() -> None:
    """Who, when, and for what may be started: its package, and what is lost."""
    for each in programs():
        assert each.names, each
        assert each.modules, each
        assert each.why.endswith("."), each
        assert each.need in {"required", "optional", "never"}
        if each.need == "never":
            assert not (each.package or each.stages or each.without), each
        else:
            assert each.without, each
            assert each.package or each.names == ("python3",), each
            assert len(each.names) == 1, each
    names = [name for each in programs() for name in each.names if name != "*"]
    assert sorted(names) == sorted(set(names)), "a program has one entry"


def test_stages_declare_the_programs_that_are_listed_for_them(checkout: Checkout) -> None:
    """`Needs.programs` of each bundled stage is what the list has for it, no less and no more."""
    found = find(sorted(checkout.plugins))
    listed: dict[str, set[str]] = {}
    for each in programs():
        for stage in each.stages:
            listed.setdefault(stage, set()).add(each.name)
    declared = {
        name: set(cls.needs.programs) for name, cls in found.stages.items() if cls.needs.programs
    }
    assert declared == listed
    assert {each.name for each in wanted([])} == {"python3", "bash"}
    assert package_of("/usr/bin/jbig2dec") == "jbig2dec"


def test_run_and_the_debian_package_install_what_is_required(checkout: Checkout) -> None:
    """Both read the list; neither names such a package itself."""
    required = [each.package for each in programs() if each.need == "required" and each.package]
    script = checkout.text("run")
    setting = script[script.index("PROGRAMS=") : script.index("APT_SERVERS=")]
    told = subprocess.run(
        ["sh", "-c", f"{setting}\necho $APT_RUN"],
        cwd=checkout.root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(required) <= set(told.stdout.split())
    assert not {package for package in required if package in setting}
    control = checkout.text("packaging/debian/control")
    assert "${programs:Depends}" in control.partition("Depends: libc6")[2].partition("\nRec")[0]
    assert "${programs:Suggests}" in control.partition("\nSuggests:")[2].partition("\nDesc")[0]
    told_to_debian = "override_dh_gencontrol:\n\t/usr/bin/python3 tools/debian/programs.py >> "
    rules = checkout.text("packaging/debian/rules")
    assert told_to_debian in rules
    assert rules.count("override_dh_gencontrol:") == 1, "make takes the last one"
    printed = subprocess.run(
        ["python3", "tools/debian/programs.py"],
        cwd=checkout.root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stdout.splitlines()[0] == f"programs:Depends={', '.join(sorted(required))}"
