"""Sizes, names, docstrings, durable calls: what keeps the house readable and the bytes safe."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.repo.conftest import Checkout, Source

FILE_WANTED, FILE_LIMIT = 400, 800
FUNCTION_WANTED, FUNCTION_LIMIT = 40, 80

LONGER = {
    "src/archived/storage/migrations/versions/0001_first.py": "a migration is one list of tables",
}
"""Functions over the limit, and why."""

UNWORDED = re.compile(r"manager|handler|utils?$|helpers?|common|base$", re.IGNORECASE)
"""Words that say nothing about what a thing is for."""

DURABLE = {
    "os.replace",
    "os.rename",
    "os.renames",
    "os.link",
    "os.symlink",
    "os.fsync",
    "os.fdatasync",
    "shutil.move",
}
DURABLE_METHODS = {"rename", "hardlink_to", "symlink_to"}
NOT_DURABLE_BUT_HONEST = {
    "src/archived/engine/sandbox/selftest_acts.py": "tries what must fail, on files of its own",
    "src/archived/testing/samples/catalogue.py": "makes a cache of samples; nothing precious",
    "src/archived/engine/worker/handover.py": "gives a step other names for what it reads",
}
"""Who else may rename, and why."""

WALKS = {
    "shutil.rmtree",
    "shutil.copytree",
    "os.walk",
    "os.fwalk",
    "os.removedirs",
    "tempfile.TemporaryDirectory",
}
WALKING_METHODS = {"rglob", "walk"}
WALKS_ITS_OWN = {
    "src/archived/code_digest.py": "installed program code, which only an administrator writes",
    "src/archived/cli/doctor_checks.py": "doctor's trial files, made and removed by itself",
    "src/archived/engine/sandbox/selftest.py": "doctor's trial folders, without documents",
    "src/archived/storage/tree.py": "it is the one that may",
    "src/archived/testing/readme.py": "a plug-in's own sources, in its author's hands",
    "src/archived/testing/samples/catalogue.py": "samples that it has just made",
    "src/archived/testing/stage_contract.py": "an object that the kit has just sealed",
}
"""Who else may walk a tree by the standard library's means, and why."""


def _length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def test_files_and_functions_stay_small(
    checkout: Checkout, capsys: pytest.CaptureFixture[str]
) -> None:
    """Over the limits fails; over what is wanted is printed."""
    told, wrong = [], []
    for source in checkout.everything():
        if source.lines > FILE_WANTED:
            told.append(f"  {source.lines:4} lines  {source.name}")
        if source.lines > FILE_LIMIT:
            wrong.append(source.name)
        for function in source.functions():
            if _length(function) > FUNCTION_WANTED:
                told.append(f"  {_length(function):4} lines  {source.name}: {function.name}()")
            if _length(function) > FUNCTION_LIMIT and source.name not in LONGER:
                wrong.append(f"{source.name}: {function.name}()")
    with capsys.disabled():
        numbers = {"archived": len(checkout.core)}
        numbers |= {name: len(sources) for name, sources in checkout.plugins.items()}
        modules = ", ".join(f"{name} {number}" for name, number in numbers.items())
        print(f"\nmodules: {modules}; larger than wanted ({FILE_WANTED} and {FUNCTION_WANTED}):")
        print("\n".join(told) or "  none")
    assert not wrong
    assert {name for name in LONGER if not (checkout.root / name).is_file()} == set()


def test_names_say_what_a_thing_is_for(checkout: Checkout) -> None:
    """No module or class is called by a word that fits anything."""
    for source in checkout.everything():
        assert not UNWORDED.search(source.path.stem), source.name
        for node in source.classes():
            assert not UNWORDED.search(node.name), f"{source.name}: {node.name}"


def test_every_module_opens_with_its_law(checkout: Checkout) -> None:
    """Also a package's, and also a migration."""
    bare = [
        s.name for s in checkout.everything() if not ast.get_docstring(s.tree) and s.text.strip()
    ]
    assert not bare


def test_everything_public_in_the_api_is_documented() -> None:
    """Every class, function, method and hook that a plug-in's author can meet."""
    api = importlib.import_module("archived.api")
    hooks = importlib.import_module("archived.api.hooks")
    undocumented = []
    for name in [*api.__all__]:
        thing = getattr(api, name)
        if inspect.isclass(thing) and thing.__module__.startswith("archived.api"):
            undocumented += [f"{name}.{m}" for m in _bare_methods(thing)]
        if (inspect.isclass(thing) or inspect.isfunction(thing)) and not inspect.getdoc(thing):
            undocumented.append(name)
    undocumented += [name for name, hook in hooks.HOOKS.items() if not inspect.getdoc(hook)]
    assert not undocumented


def _bare_methods(cls: type) -> list[str]:
    own = [(n, m) for n, m in vars(cls).items() if not n.startswith("_")]
    bare = []
    for name, method in own:
        function = (
            method.fget if isinstance(method, property) else getattr(method, "__func__", method)
        )
        if inspect.isfunction(function) and not inspect.getdoc(function):
            bare.append(name)
    return bare


def test_every_hook_says_when_where_and_what_if_it_raises() -> None:
    """The four questions of a hook's documentation."""
    hooks = importlib.import_module("archived.api.hooks").HOOKS
    assert len(hooks) == 6
    for name, hook in hooks.items():
        text = inspect.getdoc(hook) or ""
        if "As `register_stages`" in text or "as `register_stages`" in text:
            continue
        assert "When:" in text, name
        assert "Process:" in text, name
        assert "Raises:" in text or "an exception" in text, name


def _durable_calls(source: Source) -> list[str]:
    found = []
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        of = node.func.value
        called = f"{of.id}.{node.func.attr}" if isinstance(of, ast.Name) else node.func.attr
        one_argument = len(node.args) == 1 and not node.keywords
        # `text.replace(a, b)` has two arguments, `dataclasses.replace` keywords; a path's has one.
        renames = node.func.attr in DURABLE_METHODS or (
            node.func.attr == "replace" and one_argument
        )
        if called in DURABLE or renames:
            found.append(f"{source.name}:{node.lineno}: {called}")
    return found


def test_only_one_module_makes_names_durable(checkout: Checkout) -> None:
    """`storage.atomic` alone renames, links and syncs; everything else asks it."""
    elsewhere = [
        call
        for source in checkout.core
        if source.name != "src/archived/storage/atomic.py"
        and source.name not in NOT_DURABLE_BUT_HONEST
        for call in _durable_calls(source)
    ]
    assert not elsewhere
    (atomic,) = (s for s in checkout.core if s.name == "src/archived/storage/atomic.py")
    assert len(_durable_calls(atomic)) >= 5, "the test does not see what it should"


def test_every_error_has_a_code_and_a_status() -> None:
    """What a person can meet has a stable code, lower-case words joined by hyphens."""
    errors = importlib.import_module("archived.errors")
    importlib.import_module("archived.cli.errors")
    todo, seen = [errors.ArchivedError], set()
    while todo:
        cls = todo.pop()
        seen.add(cls)
        assert "code" in vars(cls), f"{cls.__name__} has no code of its own"
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", cls.code), cls.__name__
        assert 0 < cls.exit_status < 128, cls.__name__
        todo += cls.__subclasses__()
    assert len(seen) > 8


def _walks(source: Source) -> list[str]:
    found = []
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Attribute):
            continue
        of = node.value.id if isinstance(node.value, ast.Name) else ""
        if f"{of}.{node.attr}" in WALKS or (
            node.attr in WALKING_METHODS and of not in {"tree", "ast"}
        ):
            found.append(f"{source.name}:{node.lineno}: {of}.{node.attr}")
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            patterns = [str(arg.value) for arg in node.args if isinstance(arg, ast.Constant)]
            if node.func.attr in {"glob", "iglob"} and any("**" in each for each in patterns):
                found.append(f"{source.name}:{node.lineno}: a pattern that descends")
    return found


def test_only_one_module_walks_trees(checkout: Checkout) -> None:
    """A tree that a child or a stranger made may be too deep, too long or too large for anything
    else than `storage.tree`.
    """
    found = [walk for source in checkout.core for walk in _walks(source)]
    assert [walk for walk in found if walk.partition(":")[0] not in WALKS_ITS_OWN] == []
    assert {walk.partition(":")[0] for walk in found} >= set(WALKS_ITS_OWN) - {
        "src/archived/storage/tree.py"
    }, "an exception that nobody needs"
