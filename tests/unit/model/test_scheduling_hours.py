"""A lane's hours, on the clock of the archive."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archived.model.scheduling import Hours, ZonedHours

HANOI = ZoneInfo("Asia/Ho_Chi_Minh")
NIGHT = ZonedHours(Hours.parse("18:00-06:00"), HANOI)


def hanoi(hour: int, minute: int = 0, day: int = 1) -> datetime:
    return datetime(2026, 3, day, hour, minute, tzinfo=HANOI).astimezone(UTC)


@pytest.mark.parametrize(
    ("hour", "minute", "is_open"),
    [(17, 59, False), (18, 0, True), (0, 0, True), (5, 59, True), (6, 0, False), (12, 0, False)],
)
def test_a_window_over_midnight(hour: int, minute: int, is_open: bool) -> None:
    assert NIGHT.works_at(hanoi(hour, minute)) is is_open


def test_a_window_within_a_day() -> None:
    noon = ZonedHours(Hours.parse("9:30-17:00"), HANOI)
    assert [noon.works_at(hanoi(h, m)) for h, m in ((9, 29), (9, 30), (16, 59), (17, 0))] == [
        False,
        True,
        True,
        False,
    ]


def test_it_says_when_it_opens() -> None:
    assert NIGHT.opens(hanoi(12)) == hanoi(18)
    assert NIGHT.opens(hanoi(18)) == hanoi(18, day=2)


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("Mon-Fri 7:30-17:00", {0, 1, 2, 3, 4}),
        ("sat,sun 7:30-17:00", {5, 6}),
        ("Fri-Mon,Wed 7:30-17:00", {4, 5, 6, 0, 2}),
        ("7:30-17:00", set(range(7))),
        ("Mon–Wed 7:30-17:00", {0, 1, 2}),
    ],
)
def test_days_are_named_as_systemd_does(text: str, days: set[int]) -> None:
    hours = Hours.parse(text)
    assert hours.days == days
    assert Hours.parse(str(hours)) == hours


def test_a_night_belongs_to_the_day_on_which_it_begins() -> None:
    friday = ZonedHours(Hours.parse("Fri 18:00-06:00"), HANOI)  # 2026-03-06 is one
    assert friday.works_at(hanoi(18, day=6))
    assert friday.works_at(hanoi(5, day=7))
    assert not friday.works_at(hanoi(5, day=6))
    assert not friday.works_at(hanoi(18, day=7))
    assert friday.opens(hanoi(12, day=7)) == hanoi(18, day=13)


@given(
    st.integers(0, 14 * 24 * 60),
    st.integers(0, 9 * 24 * 60),
    st.sampled_from(["Mon-Fri 07:30-17:00", "Sat 22:00-03:00", "00:00-23:59", "Sun,Wed 9:00-9:10"]),
)
def test_the_time_it_was_open_is_the_minutes_in_which_it_works(begin, minutes, text) -> None:
    hours = ZonedHours(Hours.parse(text), HANOI)
    since = hanoi(0) + timedelta(minutes=begin)
    until = since + timedelta(minutes=minutes)
    worked = sum(hours.works_at(since + timedelta(minutes=n)) for n in range(minutes))
    assert hours.open_between(since, until) == timedelta(minutes=worked)


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31)),  # noqa: DTZ001 - as hypothesis asks
    st.times(),
    st.times(),
    st.sampled_from(["Asia/Ho_Chi_Minh", "Europe/Berlin", "UTC"]),
)
def test_it_is_open_soon_after_it_says_so(at, start, end, zone) -> None:
    start, end = (t.replace(second=0, microsecond=0) for t in (start, end))
    if start == end:
        return
    lane = ZonedHours(Hours(start, end), ZoneInfo(zone))
    now = at.replace(tzinfo=UTC)
    opens = lane.opens(now)
    assert timedelta(0) < opens - now <= timedelta(days=1, hours=1)
    # A clock that is put on may pass over a short window; it then opens on the next day.
    assert lane.works_at(opens) or ZoneInfo(zone).utcoffset(opens.replace(tzinfo=None)) != ZoneInfo(
        zone
    ).utcoffset(now.replace(tzinfo=None))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "18-6",
        "18:00",
        "25:00-06:00",
        "18:00-18:00",
        "6:0-7:00",
        "Mon- 6:00-7:00",
        "Day 6:00-7:00",
    ],
)
def test_what_is_no_window_is_said(text: str) -> None:
    with pytest.raises(ValueError, match=r"window of the day|same time"):
        Hours.parse(text)
    assert str(Hours.parse(" 6:30 – 18:00")) == "06:30-18:00"
