"""What a message is: the English text, which keeps what it was made of."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from archived.errors import ArchivedError, ConfigError
from archived.message import Message, sequence, with_messages, with_parts

CAUSE = Message("{count} files in {folder}", count=3, folder="a {b}")
WHOLE = Message("{place}: {why}", place=Path("/x"), why=CAUSE)


def test_a_message_is_its_english_text():
    assert WHOLE == "/x: 3 files in a {b}"
    assert json.dumps({"why": WHOLE}) == '{"why": "/x: 3 files in a {b}"}'
    assert {WHOLE: 1}["/x: 3 files in a {b}"] == 1
    assert Message("write { width = 2 }") == "write { width = 2 }", (
        "without parameters as it stands"
    )


def test_an_error_is_a_parameter_by_what_it_says():
    error = ArchivedError(CAUSE, code="x")
    assert Message("it failed: {error}", error=error).parameters["error"] is CAUSE
    assert (
        Message("it failed: {error}", error=ValueError("no {number}")) == "it failed: no {number}"
    )
    assert Message("{error}", error=OSError(2, "No such file or directory")).parameters == {
        "error": "[Errno 2] No such file or directory"
    }


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_keeps_the_parts(way):
    made = way(WHOLE)
    assert (made, made.template, made.parameters) == (WHOLE, WHOLE.template, WHOLE.parameters)
    assert made.parameters["why"].parameters == {"count": 3, "folder": "a {b}"}


def test_a_dataclass_as_a_table_keeps_the_parts():
    @dataclass
    class Finding:
        why: str

    assert asdict(Finding(WHOLE))["why"].parameters == WHOLE.parameters


def test_json_carries_the_parts_beside_the_text_and_gives_them_back():
    answer = {"a": [{"why": WHOLE, "n": 1}], "problems": ["plain", CAUSE], "must": Message("must")}
    told = json.loads(json.dumps(with_parts(answer)))
    assert told["a"][0]["why"] == str(WHOLE)
    assert told["messages"] == {"problems": [None, CAUSE.as_json()]}
    read = with_messages(told)
    assert read == answer
    assert read["a"][0]["why"].parameters["why"].template == "{count} files in {folder}"
    assert read["problems"][1].parameters == {"count": 3, "folder": "a {b}"}


def test_several_sentences_are_one():
    several = sequence([CAUSE, "must be set"], "\n")
    assert several == "3 files in a {b}\nmust be set"
    assert isinstance(several, Message)
    assert several.parameters["p0"] is CAUSE
    assert sequence([CAUSE], "; ") is CAUSE
    assert sequence([], "; ") == ""
    assert ConfigError([CAUSE, "must be set"]).message == several


def test_an_error_as_json_has_code_and_parameters_beside_its_text():
    told = ArchivedError(CAUSE, hint=Message("look"), code="some-code").as_json()
    assert told == {
        "code": "some-code",
        "message": "3 files in a {b}",
        "parameters": {"count": 3, "folder": "a {b}"},
        "hint": "look",
        "messages": {"message": CAUSE.as_json()},
    }
