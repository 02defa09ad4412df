"""Durations and sizes survive being written by us and read back: children get them that way."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archived.api import parse_duration, parse_size
from archived.api.options import duration_text, size_text


@given(st.integers(0, 10**9), st.sampled_from(["s", "min", "h", "d", "w"]))
def test_a_duration_of_whole_units_reads_back_as_written(amount, unit):
    if amount > 10**5:
        unit = "s"
    duration = parse_duration(f"{amount} {unit}")

    assert parse_duration(duration_text(duration)) == duration


@given(st.integers(0, 999_999))
def test_a_duration_in_milliseconds_reads_back_as_written(amount):
    duration = timedelta(milliseconds=amount)

    assert parse_duration(duration_text(duration)) == duration


@given(st.integers(0, 2**53))
def test_a_size_reads_back_as_written(size):
    assert parse_size(size_text(size)) == size


@pytest.mark.parametrize("text", ["", "5", "5 minutes", "-5 s", "1e3 s", "5 S", "s", "1,5 h"])
def test_a_duration_nobody_can_be_sure_about_is_refused(text):
    with pytest.raises(ValueError, match='write a duration like "90 s", "20 min" or "2 h"'):
        parse_duration(text)
