"""Mistakes are told with the line on which their key stands, however the file is written."""

from __future__ import annotations

import tomli
from hypothesis import given, settings
from hypothesis import strategies as st

from archived.config.toml_files import index

ODD = '''\
# a comment with [table] and key = 1

top = 1
[ a . "b c" ]  # spaces and quotes
list = [
  "x = 1",  # not a key
  # [not.a.table]
  "y",
]
text = """
[nor.this]
nor = 'this'
"""
inline = { one = 1, two = { three = 3 } }
dotted.deep.key = 2
"quoted key" = 3
[[many]]
x = 1
[[many]]
x = 2
[many.inner]
y = 3
[late]
'''


def test_every_key_is_found_on_its_own_line():
    assert dict(index(ODD)) == {
        ("top",): 3,
        ("a",): 4,
        ("a", "b c"): 4,
        ("a", "b c", "list"): 5,
        ("a", "b c", "text"): 10,
        ("a", "b c", "inline"): 14,
        ("a", "b c", "inline", "one"): 14,
        ("a", "b c", "inline", "two"): 14,
        ("a", "b c", "inline", "two", "three"): 14,
        ("a", "b c", "dotted"): 15,
        ("a", "b c", "dotted", "deep"): 15,
        ("a", "b c", "dotted", "deep", "key"): 15,
        ("a", "b c", "quoted key"): 16,
        ("many",): 17,
        ("many", 0): 17,
        ("many", 0, "x"): 18,
        ("many", 1): 19,
        ("many", 1, "x"): 20,
        ("many", 1, "inner"): 21,
        ("many", 1, "inner", "y"): 22,
        ("late",): 23,
    }


def test_lines_from_windows_and_odd_separators_in_a_text_are_counted_right():
    assert dict(index('[a]\r\nb = [\r\n1]\r\nc = "\u2028\x85"\r\nd = 1\r\n')) == {
        ("a",): 1,
        ("a", "b"): 2,
        ("a", "c"): 4,
        ("a", "d"): 5,
    }


KEYS = st.text("abcü .-\"'\\[]=#", min_size=1, max_size=6)
VALUES = st.one_of(
    st.integers(0, 9),
    st.text("ab\n\"'\\[]=#{}", max_size=8),
    st.lists(st.text("a[]#=", max_size=4), max_size=3),
)


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def spelled(value: object, split: bool) -> str:
    if isinstance(value, list):
        mark = "\n" if split else " "
        return "[" + mark + f",{mark}".join(quoted(v) for v in value) + mark + "]"
    return quoted(value) if isinstance(value, str) else str(value)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=4), min_size=1, max_size=4),
    st.booleans(),
)
def test_whatever_the_keys_and_values_the_line_found_is_where_the_key_was_written(tables, split):
    text, expected = "", {}
    for table, pairs in tables.items():
        text += f"\n[{quoted(table)}]\n"
        expected[(table,)] = text.count("\n")
        for key, value in pairs.items():
            expected[table, key] = text.count("\n") + 1
            text += f"{quoted(key)} = {spelled(value, split)}\n"

    assert tomli.loads(text) == tables
    assert dict(index(text)) == expected
