"""Which faults are planted in a module: small changes of its syntax tree, each a mutant.

A mutant is named by where it is and what it changes, not by a line, so that its name outlives
edits elsewhere in the file.
"""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

NEGATE, DROP_NOT, COMPARE, JUNCTION = "negate", "drop-not", "comparison", "and-or"
DROP_CALL, DROP_DURABLE, DROP_RAISE, CONSTANT = (
    "drop-call",
    "drop-durable",
    "drop-raise",
    "constant",
)
OPERATORS = (NEGATE, DROP_NOT, COMPARE, JUNCTION, DROP_CALL, DROP_DURABLE, DROP_RAISE, CONSTANT)

_OTHER: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_DURABLE = (
    "fsync",
    "write_file",
    "copy_durably",
    "move_file",
    "publish_folder",
    "make_folder",
    "remove_file",
    "_rename",
    "gather",
)
_LOGGERS = frozenset({"_log", "log", "logger", "say"})
_PASSED_OVER = frozenset({"strict", "hint", "comment", "title"})
"""Keyword arguments whose constants are texts for people, or guards that never act."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One planted fault. `change` is the old and the new text of the expression or statement."""

    module: str
    function: str
    operator: str
    change: str
    nth: int
    """Which one of those with the same place and change, from 1."""
    line: int
    source: str
    """The whole module with the fault in it."""

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What names it beside the tests."""
        return (self.module, self.function, self.change, self.nth)


def mutants(module: str, text: str, *, sources: bool = True) -> list[Mutant]:
    """Every fault that can be planted in a module, in the order of its lines. Without `sources`
    only their names, which takes a fraction of the time.
    """
    tree = ast.parse(text)
    seen: Counter[tuple[str, str]] = Counter()
    found = []
    for path, node, function in list(_walk(tree)):
        for operator, before, new in _changes(node, path):
            after = "pass" if isinstance(new, ast.Pass) else ast.unparse(new)
            change = f"{ast.unparse(before)} -> {after}"
            seen[function, change] += 1
            source = _with(tree, path, new) if sources else ""
            found.append(
                Mutant(
                    module, function, operator, change, seen[function, change], node.lineno, source
                )
            )
    return sorted(found, key=lambda mutant: mutant.line)


Path = tuple[tuple[str, int | None], ...]


def _walk(tree: ast.Module) -> Iterator[tuple[Path, ast.stmt | ast.expr, str]]:
    """Every node that may change, with the way to it and the function that it is in."""

    def into(node: ast.AST, path: Path, function: str) -> Iterator[tuple[Path, ast.AST, str]]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            function = f"{function}.{node.name}".lstrip(".")
        for name, value in ast.iter_fields(node):
            if name in {"decorator_list", "annotation", "returns", "bases", "type_params"}:
                continue
            inner = value if isinstance(value, list) else [value]
            for index, child in enumerate(inner):
                if not isinstance(child, ast.AST) or _is_text_for_people(node, child):
                    continue
                way = (*path, (name, index if isinstance(value, list) else None))
                yield way, child, function
                yield from into(child, way, function)

    for path, node, function in into(tree, (), ""):
        if isinstance(node, ast.stmt | ast.expr):
            yield path, node, function


def _is_text_for_people(parent: ast.AST, node: ast.AST) -> bool:
    if isinstance(node, ast.keyword) and node.arg in _PASSED_OVER:
        return True
    if isinstance(node, ast.JoinedStr | ast.Assert):
        return True
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True  # a docstring
    if isinstance(parent, ast.ClassDef) and _is_enumeration(parent):
        return isinstance(node, ast.Assign)  # a word for each: renamed everywhere, it is the same
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return True
    return isinstance(node, ast.Expr) and _called(node).partition(".")[0] in _LOGGERS


def _is_enumeration(node: ast.ClassDef) -> bool:
    return any(ast.unparse(base).endswith("Enum") for base in node.bases)


def _called(node: ast.Expr) -> str:
    return ast.unparse(node.value.func) if isinstance(node.value, ast.Call) else ""


def _changes(
    node: ast.stmt | ast.expr, path: Path
) -> Iterator[tuple[str, ast.stmt | ast.expr, ast.stmt | ast.expr]]:
    """(operator, the old text, the new node in place of `node`)."""
    if (
        _tests(path)
        and isinstance(node, ast.expr)
        and not isinstance(node, ast.UnaryOp | ast.Compare)
    ):
        yield NEGATE, node, ast.UnaryOp(ast.Not(), node)
    match node:
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield DROP_NOT, node, operand
        case ast.Compare():
            for index, operator in enumerate(node.ops):
                new = copy.deepcopy(node)
                new.ops[index] = _OTHER[type(operator)]()
                yield COMPARE, node, new
                if isinstance(operator, ast.Lt | ast.LtE | ast.Gt | ast.GtE) and _tests(path):
                    yield NEGATE, node, ast.UnaryOp(ast.Not(), node)
        case ast.BoolOp():
            other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            yield JUNCTION, node, ast.BoolOp(other, node.values)
        case ast.Expr(value=ast.Call() | ast.Await()):
            durable = any(_called(node).rpartition(".")[2].startswith(each) for each in _DURABLE)
            yield DROP_DURABLE if durable else DROP_CALL, node, ast.Pass()
        case ast.Raise() if node.exc is not None:
            yield DROP_RAISE, node, ast.Pass()
        case ast.Constant(value=value):
            new_value = _other_value(value)
            if new_value is not None:
                yield CONSTANT, node, ast.Constant(new_value)


def _tests(path: Path) -> bool:
    return path[-1][0] in {"test", "ifs"}


def _other_value(value: object) -> int | float | str | None:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value + 1.0
    if isinstance(value, str) and value and " " not in value:
        return f"{value}-mutant"
    return None  # a sentence, bytes, an ellipsis


def _with(tree: ast.Module, path: Path, new: ast.AST) -> str:
    changed = copy.deepcopy(tree)
    node: ast.AST = changed
    for name, index in path[:-1]:
        node = getattr(node, name) if index is None else getattr(node, name)[index]
    name, index = path[-1]
    if index is None:
        setattr(node, name, new)
    else:
        getattr(node, name)[index] = new
    return ast.unparse(ast.fix_missing_locations(changed))
