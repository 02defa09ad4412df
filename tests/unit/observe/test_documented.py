"""What the pages in docs/ say is what the program does."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from archived.api import EVENTS
from archived.model.outcome import Ending
from archived.observe.metric_defs import COUNTERS, HISTOGRAMS, METRICS, table

ROOT = Path(__file__).parents[3]
UNITS = ("_seconds", "_bytes")


def test_the_table_of_metrics_is_the_one_that_is_printed():
    assert table() in (ROOT / "docs" / "metrics.md").read_text(), (
        "put into docs/metrics.md: python -m archived.observe.metric_defs"
    )


def test_metrics_are_named_by_the_conventions():
    for name, (text, labels) in METRICS.items():
        assert re.fullmatch(r"archived_[a-z]+(_[a-z0-9]+)*", name), name
        assert not name.endswith(("_total", "_count", "_sum", "_bucket")), name
        assert not re.search(r"_(ms|milliseconds|minutes|hours|kb|mb)$", name), name
        assert text.endswith("."), f"{name}: a sentence"
        assert all(re.fullmatch(r"[a-z_]+", label) for label in labels), name
        assert not {"document", "file", "path"} & set(labels), f"{name}: labels are bounded"
        if "second" in text.lower() and name not in HISTOGRAMS | COUNTERS:
            assert name.endswith(UNITS) or "sweep" in name, name
    assert set(METRICS) >= HISTOGRAMS | COUNTERS


def test_every_event_stands_on_the_page_in_the_same_words():
    page = (ROOT / "docs" / "events.md").read_text().split("## MQTT")[0]
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (.+) \|$", page, re.MULTILINE))
    assert rows == dict(EVENTS)


def test_every_action_in_the_source_stands_on_the_page_and_no_other():
    page = (ROOT / "docs" / "events.md").read_text().split("## Log lines")[1]
    documented = set(re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE)) - {"action"}
    used = {"log"} | {f"step-{ending}" for ending in Ending}
    for file in (ROOT / "src" / "archived").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and _is_log(node):
                for keyword in node.keywords:
                    used |= _actions(keyword)
    # `_pause` in the hot folder's task names its action like the event it announces.
    used |= {"intake-paused", "intake-resumed"}
    assert documented == used


def _is_log(call: ast.Call) -> bool:
    function = call.func
    if isinstance(function, ast.Name):
        return function.id == "say"
    return isinstance(function, ast.Attribute) and ast.unparse(function.value) == "_log"


def _actions(keyword: ast.keyword) -> set[str]:
    if keyword.arg == "action" and isinstance(keyword.value, ast.Constant):
        return {keyword.value.value}
    if keyword.arg == "extra" and isinstance(keyword.value, ast.Dict):
        return {
            str(ast.literal_eval(value))
            for key, value in zip(keyword.value.keys, keyword.value.values, strict=True)
            if isinstance(key, ast.Constant) and key.value == "action"
        }
    return set()
