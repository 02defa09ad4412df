"""Whose turn it is: shares, priorities, ageing; and that nothing starves, whatever comes."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from archived.model import scheduling
from archived.model.scheduling import FairQueue, WaitingLine

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
AGEING = timedelta(minutes=30)
MINUTE = timedelta(minutes=1)


class Lane:
    """Documents that wait, served one a minute."""

    def __init__(self) -> None:
        self.turns, self.now = FairQueue(), NOON
        self.waiting: dict[tuple[str, int, int], deque[datetime]] = defaultdict(deque)

    def come(self, device: str, priority: int = 0, position: int = 0, count: int = 1) -> None:
        self.waiting[device, priority, position].extend([self.now] * count)

    def start(self) -> tuple[str, int, int]:
        lines = [WaitingLine(*key, due[0]) for key, due in self.waiting.items() if due]
        line = self.turns.next(lines, self.now, AGEING)
        assert line is not None
        self.turns.served(line)
        key = (line.device, line.priority, line.position)
        assert self.waiting[key].popleft() == line.since
        self.now += MINUTE
        return key

    def starts(self, count: int) -> str:
        return "".join(self.start()[0] for _ in range(count))


def test_devices_take_turns_however_much_one_of_them_brings() -> None:
    lane = Lane()
    lane.come("A", count=100)
    assert lane.starts(3) == "AAA"

    lane.come("B", count=3)
    lane.come("C")

    assert sorted(lane.starts(3)) == ["A", "B", "C"]
    assert Counter(lane.starts(4)) == {"A": 2, "B": 2}
    assert lane.starts(3) == "AAA"


def test_a_device_that_comes_back_does_not_pass_twice() -> None:
    lane = Lane()
    lane.come("A", count=100)
    started = ""
    for _ in range(10):
        lane.come("B")
        started += lane.starts(2)

    assert Counter(started) == {"A": 10, "B": 10}


def test_higher_priority_goes_first_until_something_has_waited_too_long() -> None:
    lane = Lane()
    lane.come("slow", priority=0)
    lane.come("urgent", priority=5, count=100)

    started = [lane.start()[0] for _ in range(40)]

    assert started.index("slow") == 31, "the first minute in which it waited longer than that"


def test_what_is_nearest_to_its_end_goes_first_and_passes_nobody_for_ever() -> None:
    lane = Lane()
    lane.come("A", position=0, count=3)
    started = []
    for _ in range(60):
        lane.come("A", position=2)
        started.append(lane.start()[2])

    assert set(started[:30]) == {2}
    assert started.count(0) == 3


def test_every_fourth_start_goes_to_what_has_waited_longest() -> None:
    lane = Lane()
    lane.come("A", position=0, count=3)
    started = []
    for _ in range(44):
        lane.come("A", position=2)
        started.append(lane.start()[2])

    assert [number for number, position in enumerate(started) if position == 0] == [31, 35, 39]


def test_what_has_waited_just_as_long_as_ageing_is_not_old_yet() -> None:
    old, new = WaitingLine("A", 0, 0, NOON), WaitingLine("A", 0, 1, NOON + MINUTE)
    turns = FairQueue()
    for _ in range(3):
        turns.served(new)

    assert turns.next([old, new], NOON + AGEING, AGEING) == new
    assert turns.next([old, new], NOON + AGEING + MINUTE, AGEING) == old


def test_many_devices_that_never_come_again_are_forgotten(monkeypatch) -> None:
    monkeypatch.setattr(scheduling, "_MOST", 10)
    lane = Lane()
    lane.come("A", count=1000)
    for number in range(100):
        lane.come(f"once-{number}")
        lane.start()
    waiting = sum(bool(due) for due in lane.waiting.values())
    assert len(lane.turns._served) <= 10 + waiting
    assert "A" in {lane.start()[0] for _ in range(60)}


coming = st.lists(
    st.tuples(st.sampled_from("ABCD"), st.integers(0, 2), st.integers(0, 2)), max_size=3
)


@settings(max_examples=60, deadline=None)
@given(st.lists(coming, min_size=1, max_size=60))
def test_nothing_starves(minutes) -> None:
    """One document of a fifth device, of the least priority, whatever the others bring."""
    lane = Lane()
    lane.come("E", priority=-1)
    for number in range(200):
        for what in minutes[number % len(minutes)]:
            lane.come(*what)
        if lane.start()[0] == "E":
            break

    # Once it is old, at most every other device and priority is served before it.
    assert lane.now - NOON <= AGEING + (4 * 3 + 2) * MINUTE
