"""A broker that is away for a whole minute under load misses nothing. Run by `./run monitoring`."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from tests.system.daemon import test_mqtt as mqtt

pytestmark = pytest.mark.skipif(
    not os.environ.get("ARCHIVED_MONITORING"), reason="takes a minute: ./run monitoring does it"
)

protocol, broker, ear = mqtt.protocol, mqtt.broker, mqtt.ear
AWAY = 60.0


@pytest.mark.timeout(240)
def test_a_broker_killed_for_a_minute_under_load_is_told_everything_in_order(
    box, broker, ear, until
):
    box.start()
    box.drop("first.txt")
    box.sealed("first.txt")
    until(lambda: len(ear.events) >= 3, "heard")
    broker.end(signal.SIGKILL)
    until(lambda: box.metric("archived_mqtt_connected") == {(): 0}, "noticed")
    gone, names = time.monotonic(), []
    while time.monotonic() - gone < AWAY:  # a document at a time: load is until the last is sealed
        names.append(f"{len(names)}.txt")
        box.drop(names[-1])
        box.sealed(names[-1], seconds=60)
        assert box.get("/readyz")[0] == 200, "no broker holds up the work"
    [waiting] = [
        n for (who,), n in box.metric("archived_outbox_lag_events").items() if who == "mqtt"
    ]
    assert waiting >= 3 * len(names)
    broker.start()
    until(lambda: box.metric("archived_mqtt_connected") == {(): 1}, "tried again", 60)
    until(lambda: box.metric("archived_outbox_lag_events")["mqtt",] == 0, "caught up", 60)
    heard = mqtt._all_heard(box, ear, until)
    firsts = list(dict.fromkeys(heard))
    sys.stderr.write(
        f"\n{len(names)} documents and {waiting} events in {AWAY:.0f} s without a broker; heard "
        f"{len(firsts)} events, {len(heard) - len(firsts)} of them again\n"
    )
    assert firsts == sorted(firsts), "in order"
    assert firsts == list(range(firsts[0], firsts[-1] + 1)), "every one"
    assert ear.bad == [], "as the schema says"
    assert ear.status[0] == "online"
    assert ear.status[-1] == "online"
