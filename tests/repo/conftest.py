"""What the house tests look at: the sources as parsed trees, and the texts."""

from __future__ import annotations

import ast
import importlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, eq=False)
class Source:
    """One Python file of the program. `name` is its path below the repository."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def lines(self) -> int:
        return self.text.count("\n")

    def functions(self) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
        return [
            node
            for node in ast.walk(self.tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]

    def classes(self) -> list[ast.ClassDef]:
        return [node for node in ast.walk(self.tree) if isinstance(node, ast.ClassDef)]

    def imports(self) -> set[str]:
        """Dotted names of everything imported, `from a import b` as `a.b`."""
        found: set[str] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.name}: write imports in full"
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
        return found


class Checkout:
    """The repository."""

    root = ROOT

    @cached_property
    def core(self) -> list[Source]:
        """Every module of `archived`."""
        return _sources(ROOT / "src" / "archived")

    @cached_property
    def plugins(self) -> dict[str, list[Source]]:
        """Every bundled plug-in's modules, by the plug-in's name."""
        folders = sorted(p for p in (ROOT / "plugins").iterdir() if (p / "src").is_dir())
        return {folder.name: _sources(folder / "src") for folder in folders}

    @cached_property
    def tests(self) -> str:
        """All test files, joined."""
        files = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "plugins").glob("*/tests/*.py")]
        return "\n".join(path.read_text() for path in files)

    def everything(self) -> list[Source]:
        """Core and plug-ins."""
        return [*self.core, *(s for sources in self.plugins.values() for s in sources)]

    def text(self, name: str) -> str:
        """A file's text; fails, naming it, when it is not there."""
        path = ROOT / name
        assert path.is_file(), f"{name} is missing"
        return path.read_text()

    def tool(self, name: str) -> ModuleType:
        """A script of `tools/docs/` as a module."""
        return importlib.import_module(f"tools.docs.{name}")


def _sources(folder: Path) -> list[Source]:
    found = []
    for path in sorted(folder.rglob("*.py")):
        text = path.read_text()
        found.append(Source(path, text, ast.parse(text, filename=str(path))))
    assert found, folder
    return found


@pytest.fixture(scope="session")
def checkout() -> Checkout:
    """The repository, read once."""
    return Checkout()
