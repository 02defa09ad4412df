"""Plants a fault in a module that is imported already: the code of its functions is replaced.

What is executed when the module is imported (constants, default arguments, decorators, the bodies
of classes) cannot be replaced so: `Planted.of` says `None`, and the module has to be imported anew.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import CodeType, FunctionType, ModuleType
from typing import Any

_FUNCTION = 0x1
"""The flag CO_OPTIMIZED: code of a function, not of a module or class."""
_TOUCHED = "__touched__"


@dataclass(frozen=True, slots=True)
class Planted:
    """The functions of a module that a fault changes: their new code by qualified name."""

    codes: Mapping[str, CodeType]

    @classmethod
    def of(cls, text: str, changed: str) -> Planted | None:
        """What differs between a module's text and that of a mutant; `None`: not only functions."""
        before = compile(ast.unparse(ast.parse(text)), "module", "exec")
        after = compile(changed, "module", "exec")
        if _shape(before, into_functions=False) != _shape(after, into_functions=False):
            return None
        old, new = list(_functions_of(before)), list(_functions_of(after))
        names = Counter(code.co_qualname for code in new)
        differing = {
            b.co_qualname: b
            for a, b in zip(old, new, strict=True)
            if _shape(a, into_functions=True) != _shape(b, into_functions=True)
        }
        if not differing or any("<" in name or names[name] > 1 for name in differing):
            return None  # a lambda, or a property with a setter: the name does not say which one
        return cls(differing)

    def into(self, module: ModuleType) -> bool:
        """Replace the code in an imported module; whether every function was found."""
        found = set()
        for function in _functions(module):
            code = self.codes.get(function.__code__.co_qualname)
            if code is not None and code.co_freevars == function.__code__.co_freevars:
                function.__code__ = code
                found.add(code.co_qualname)
        return found == set(self.codes)


def watch(module: ModuleType, text: str) -> set[str]:
    """Have every function of an imported module note its qualified name when it is called."""
    tree = ast.parse(text)
    for name, function in _definitions(tree):
        note = ast.parse(f"{_TOUCHED}.add({name!r})").body[0]
        at = 1 if ast.get_docstring(function, clean=False) is not None else 0
        function.body.insert(at, ast.copy_location(note, function.body[0]))
    code = compile(ast.fix_missing_locations(tree), str(module.__file__), "exec")
    names = Counter(each.co_qualname for each in _functions_of(code))
    codes = {each.co_qualname: each for each in _functions_of(code) if names[each.co_qualname] == 1}
    touched: set[str] = set()
    vars(module)[_TOUCHED] = touched
    Planted(codes).into(module)
    return touched


def _definitions(
    node: ast.AST, prefix: str = ""
) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield from _definitions(child, f"{prefix}{child.name}.")
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + child.name, child


def _functions_of(code: CodeType) -> Iterator[CodeType]:
    """The functions of a module and of its classes, not those inside functions."""
    for const in code.co_consts:
        if isinstance(const, CodeType):
            if const.co_flags & _FUNCTION:
                yield const
            else:
                yield from _functions_of(const)


def _shape(code: CodeType, *, into_functions: bool) -> tuple[Any, ...]:
    """All that a code does, without its lines. Of functions inside: only their names, unless
    `into_functions`.
    """
    consts = tuple(_const(each, into_functions=into_functions) for each in code.co_consts)
    return (
        code.co_name,
        code.co_code,
        code.co_names,
        code.co_varnames,
        code.co_freevars,
        code.co_cellvars,
        code.co_flags,
        consts,
        code.co_exceptiontable,
    )


def _const(const: object, *, into_functions: bool) -> object:
    if not isinstance(const, CodeType):
        return (type(const), repr(const))
    if const.co_flags & _FUNCTION and not into_functions:
        return (const.co_name, const.co_freevars)
    return _shape(const, into_functions=into_functions)


def _functions(module: ModuleType) -> Iterator[FunctionType]:
    """Every function that a module defines, also behind decorators that keep `__wrapped__`."""
    waiting: list[Any] = list(vars(module).values())
    seen: set[int] = set()
    while waiting:
        it = waiting.pop()
        if id(it) in seen:
            continue
        seen.add(id(it))
        if isinstance(it, staticmethod | classmethod):
            waiting.append(it.__func__)
        elif isinstance(it, property):
            waiting += [it.fget, it.fset, it.fdel]
        elif isinstance(it, cached_property):
            waiting.append(it.func)
        elif isinstance(it, type):
            if it.__module__ == module.__name__:
                waiting += vars(it).values()
        else:
            if isinstance(it, FunctionType) and it.__code__.co_filename == module.__file__:
                yield it
            if isinstance(getattr(it, "__wrapped__", None), FunctionType):
                waiting.append(it.__wrapped__)
