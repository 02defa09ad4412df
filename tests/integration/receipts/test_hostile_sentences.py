"""Sentences whose words a stranger chose: in a gap, or as the whole of what came from outside."""

from __future__ import annotations

import time

import pytest

from archived.locale import render, speaking
from archived.message import BESIDE, Message, with_messages

ODD = ("{0.__class__}", "{name}", "%s", "\\1", "{1}", '", "', ": ", "{", "}", "{name!r:>9}")


@pytest.mark.parametrize("odd", ODD)
def test_what_stands_in_a_gap_is_never_a_template(odd):
    told = Message('plug-in "{used}" is enabled', used=odd)
    assert told == f'plug-in "{odd}" is enabled'
    with speaking("vi"):
        assert odd in render(told)
        assert render(told) != told


@pytest.mark.parametrize(
    "parts",
    [
        {"template": "{a:>999999999}", "parameters": {"a": 1}},
        {"template": "{a:{b}}", "parameters": {"a": 1, "b": ">99999999"}},
        {"template": "{a.__class__}", "parameters": {"a": 1}},
        {"template": "{a[0]}", "parameters": {"a": "xy"}},
        {"template": "{}", "parameters": {"a": 1}},
        {"template": "{b}", "parameters": {"a": 1}},
        {"template": "{a", "parameters": {"a": 1}},
        {"template": "{a}" * 1000, "parameters": {"a": "x" * 1000}},
        {"template": "{a}" * 90, "parameters": {"a": "x" * 10_000}},
        {"template": 3, "parameters": {}},
        {"template": "x", "parameters": []},
        {"template": "{a}"},
        {"template": "another text", "parameters": {}},
        [],
        None,
    ],
)
def test_parts_that_are_none_leave_the_text_alone(parts):
    read = with_messages({"why": "the text", BESIDE: {"why": parts}})
    assert read == {"why": "the text"}
    assert type(read["why"]) is str


def test_parts_inside_each_other_without_end_are_not_read():
    parts = {"template": "{a}", "parameters": {"a": "the text"}}
    for _ in range(500):
        parts = {"template": "{a}", "parameters": {"a": parts}}
    assert type(with_messages({"why": "the text", BESIDE: {"why": parts}})["why"]) is str


def test_no_parts_take_long_to_be_read():
    parts = {"template": "{a}" * 99, "parameters": {"a": "x" * 150}}
    for _ in range(8):
        parts = {"template": "{a}" * 99, "parameters": {"a": parts}}
    began = time.process_time()
    with_messages({"why": "the text", BESIDE: {"why": parts}})
    assert time.process_time() - began < 0.05


def test_a_key_of_that_name_in_a_plug_ins_facts_stays():
    for own in ({"a": 1}, {}, [1], "text", None):
        assert with_messages({"why": "text", BESIDE: own}) == {"why": "text", BESIDE: own}
