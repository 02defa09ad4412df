"""What the program can say, the texts explain: codes, events, entries, metrics, options, tasks."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from archived.api import EVENTS, Options, SecretRef
from archived.api.hooks import HOOKS
from archived.errors import ArchivedError
from archived.ingest.hold_reasons import HOLDS
from archived.ingest.ignore_rules import RULES
from archived.model import former_names
from archived.model.lifecycle import diagram
from archived.model.outcome import CORE_CODES
from archived.observe.metric_defs import METRICS
from archived.plugins import find
from archived.storage.ledger import KINDS
from archived.testing.readme import documented_codes

if TYPE_CHECKING:
    from tests.repo.conftest import Checkout, Source

CODE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


# Failure codes -----------------------------------------------------------------------------------


def _texts(node: ast.expr) -> Iterator[str]:
    """Every text an expression may come to: constants, and both sides of a condition."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp(body=body, orelse=orelse):
            yield from _texts(body)
            yield from _texts(orelse)
        case ast.BoolOp(values=values):
            for value in values:
                yield from _texts(value)


@functools.cache
def codes_of(source: Source) -> frozenset[str]:
    """Codes written as `code="..."`, `code = "..."`, or as a key of a table called `..._CODES`."""
    found: set[str] = set()
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                if keyword.arg == "code":
                    found |= set(_texts(keyword.value))
            called = node.func.id if isinstance(node.func, ast.Name) else ""
            if called in {"Outcome", "_failed"} and len(node.args) > 1:
                found |= set(_texts(node.args[1]))
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
            if "code" in names:
                found |= set(_texts(node.value))
            if any(n.endswith("_CODES") for n in names) and isinstance(node.value, ast.Dict):
                found |= {t for key in node.value.keys if key is not None for t in _texts(key)}
    return frozenset(code for code in found if CODE.fullmatch(code))


@pytest.fixture(scope="module")
def failures(checkout: Checkout) -> str:
    return checkout.text("docs/failures.md")


@pytest.fixture(scope="module")
def verdicts(checkout: Checkout) -> set[str]:
    """Codes of `archivectl evidence verify`: no document has them, and no clerk reads them."""
    section = checkout.text("docs/archivectl.md").partition("## archivectl evidence verify")[2]
    return in_first_column(section.partition("\n## ")[0])


def in_first_column(text: str) -> set[str]:
    """What stands as `code` in the first column of a table."""
    return set(re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE))


def test_every_code_is_explained(checkout: Checkout, failures: str, verdicts: set[str]) -> None:
    """Codes are read from the source; the page has all of them and no others."""
    codes = {code for source in checkout.everything() for code in codes_of(source)}
    codes |= set(CORE_CODES) | set(HOLDS) | set(RULES)
    todo: list[type[ArchivedError]] = [ArchivedError]
    while todo:
        cls = todo.pop()
        codes.add(cls.code)
        todo += cls.__subclasses__()
    # A plug-in may give its codes through a table or a variable; its README is held complete by
    # the stage contract and below.
    for name in checkout.plugins:
        codes |= documented_codes(checkout.text(f"plugins/{name}/README.md"))
    explained = in_first_column(failures) | verdicts
    assert sorted(codes - explained) == []
    assert sorted(explained - codes) == []


def test_every_former_name_is_told_with_the_one_of_now(checkout: Checkout) -> None:
    section = checkout.text("docs/events.md").partition("## Former names")[2]
    told = set(re.findall(r"\| `([^`]+)` \| `([^`]+)`", section))
    tables = [
        former_names.STATES,
        former_names.ENDINGS,
        former_names.CODES,
        former_names.RULES,
        former_names.KINDS,
        former_names.COMMANDS,
        *former_names.KEYS.values(),
        *former_names.VALUES.values(),
    ]
    assert told == {pair for table in tables for pair in table.items()}
    public = {*KINDS, *EVENTS, *CORE_CODES, *HOLDS}
    assert {
        now for table in (former_names.KINDS, former_names.EVENTS) for now in table.values()
    } <= public


def test_what_the_core_can_say_about_a_step_is_all_there(failures: str) -> None:
    """The table under Steps is exactly `CORE_CODES`."""
    steps = failures.partition("## Steps")[2].partition("\n## ")[0]
    assert in_first_column(steps) == set(CORE_CODES)


def test_codes_given_in_the_core_are_known(
    checkout: Checkout, failures: str, verdicts: set[str]
) -> None:
    """The reading of the source itself: codes known to be there are found."""
    found = {code for source in checkout.core for code in codes_of(source)}
    assert {
        "copies-missing",
        "already-sealed",
        "no-daemon",
        "timed-out",
        "stage-missing",
        "object-unreadable",
    } <= found
    explained = in_first_column(failures) | verdicts
    assert found <= explained


def test_every_code_of_a_plugin_stands_in_its_readme(checkout: Checkout) -> None:
    """Under Failures; and none that its source does not know."""
    for name, sources in checkout.plugins.items():
        readme = documented_codes(checkout.text(f"plugins/{name}/README.md"))
        assert {c for s in sources for c in codes_of(s)} <= readme, name
        written = {
            node.value
            for source in sources
            for node in ast.walk(source.tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        assert readme <= written, name


# Generated parts ---------------------------------------------------------------------------------


def test_generated_parts_are_up_to_date(checkout: Checkout) -> None:
    """`python -m tools.docs.texts` would change nothing."""
    texts = checkout.tool("texts")
    for name in texts.FILES:
        text = checkout.text(name)
        assert text == texts.renewed(text), f"run: .venv/bin/python -m tools.docs.texts ({name})"
    parts = {
        p for name in texts.FILES for p in re.findall(r"generated: ([a-z-]+)", checkout.text(name))
    }
    assert parts == set(texts.PARTS)


def test_the_state_diagram_is_drawn_from_the_table(checkout: Checkout) -> None:
    """Not by hand."""
    assert f"```mermaid\n{diagram()}\n```" in checkout.text("DESIGN.md")


def test_the_picture_is_the_one_its_script_draws(checkout: Checkout) -> None:
    """Byte for byte."""
    assert checkout.text("docs/flow.svg") == checkout.tool("diagram").picture()


# Hooks, options ----------------------------------------------------------------------------------


def test_every_hook_is_documented_and_tested(checkout: Checkout) -> None:
    """A section with an example in docs/plugins.md; a test that bears the hook's name."""
    sections = checkout.text("docs/plugins.md").split("\n### ")[1:]
    by_name = {section.partition("\n")[0]: section for section in sections}
    for hook in HOOKS:
        assert f"@hookimpl\ndef {hook}(" in by_name[hook], hook
        assert re.search(rf"def test_\w*{hook}\w*\(", checkout.tests), (
            f"no test is named after {hook}"
        )


def options_of(model: type[Options]) -> Iterator[str]:
    for key, option in model.model_fields.items():
        yield key
        for part in (option.annotation, *getattr(option.annotation, "__args__", ())):
            if isinstance(part, type) and issubclass(part, Options) and part is not SecretRef:
                yield from options_of(part)


def test_every_option_of_a_bundled_plugin_stands_in_its_readme(checkout: Checkout) -> None:
    """In the table under Configuration."""
    plugins = find(sorted(checkout.plugins))
    for info in plugins.catalogue():
        text = checkout.text(f"plugins/{info.name}/README.md")
        text = text.split("## Configuration")[1].split("\n## ")[0]
        cells = re.findall(r"^\| (`[^|]+`) \|", text, re.MULTILINE)
        named = {word for cell in cells for word in re.findall(r"`([^`]+)`", cell)}
        models = [plugins.stages[s].config() for s in info.stages]
        models += [plugins.targets[t].config() for t in info.targets]
        missing = {key for model in models for key in options_of(model)} - named
        assert not missing, info.name


# Events, entries, metrics ------------------------------------------------------------------------


def constants(sources: list[Source], *, but: str) -> set[str]:
    """Every text constant outside one module, tables of words apart."""
    return {
        node.value
        for source in sources
        if source.name != but
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def test_every_event_is_explained_and_announced(checkout: Checkout) -> None:
    """docs/events.md has them all; each stands somewhere in the code that makes it happen."""
    page = checkout.text("docs/events.md")
    assert [name for name in EVENTS if f"`{name}`" not in page] == []
    makers = [s for s in checkout.core if "/observe/" not in s.name and "/cli/" not in s.name]
    said = constants(makers, but="src/archived/api/events.py")
    assert sorted(set(EVENTS) - said) == []


KINDS_TO_COME: dict[str, str] = {}
"""Kind -> why nobody records it yet."""


def test_every_kind_of_ledger_entry_is_used(checkout: Checkout) -> None:
    """A kind that nobody records promises something that does not happen; known ones are named."""
    makers = [s for s in checkout.core if "/observe/" not in s.name and "/cli/" not in s.name]
    said = constants(makers, but="src/archived/storage/ledger.py")
    assert set(KINDS) - said == set(KINDS_TO_COME)


def test_every_metric_is_explained(checkout: Checkout) -> None:
    """docs/metrics.md names each, and names none that is not there."""
    page = checkout.text("docs/metrics.md")
    assert [name for name in METRICS if name not in page] == []
    known = set(METRICS) | {
        f"{n}_{s}" for n in METRICS for s in ("total", "bucket", "sum", "count")
    }
    named = set(re.findall(r"`(archived_[a-z_]+)[`{]", page))
    assert sorted(named - known) == []


def test_the_readme_names_every_bundled_plugin(checkout: Checkout) -> None:
    """With a link to its own README."""
    text = checkout.text("README.md")
    assert [name for name in checkout.plugins if f"(plugins/{name}/README.md)" not in text] == []


def test_the_readme_lists_the_tasks_of_run(checkout: Checkout) -> None:
    """The same tasks, in the same words."""
    script = dict(re.findall(r"^#: +(\w+) +(.+)$", checkout.text("run"), re.MULTILINE))
    table = dict(
        re.findall(r"^\| `\./run (\w+)` \| (.+) \|$", checkout.text("README.md"), re.MULTILINE)
    )
    assert {k: v.replace("`", "") for k, v in table.items()} == script
    assert set(re.findall(r"^(\w+)\)$", checkout.text("run"), re.MULTILINE)) == set(script)
