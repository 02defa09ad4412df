"""How long a whole file waits beyond the settle time before it is in custody."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from tests.system.servers.appliance import QUIET, Appliance, Box, scan_of
from tests.system.servers.programs import until

FILES = 120


def test_a_whole_file_is_taken_in_soon_after_the_quiet_time(
    appliance: Appliance, box: Callable[[str], Box], record_property
):
    """From the moment its writer let go until its source is gone, which is after its admission.

    As scanners write: eight a second at most, and never more than three that wait, else a busy
    machine's throughput would be measured and not how long one file waits.
    """
    here = box("local")
    names = [f"{number:04}.tif" for number in range(FILES)]
    complete: dict[str, float] = {}
    waited: dict[str, float] = {}

    def look() -> None:
        now = time.monotonic()
        for name in complete.keys() - waited.keys():
            if not (here.path / name).exists():
                waited[name] = now - complete[name] - QUIET

    contents = [scan_of(name, 100) for name in names]
    for name, content in zip(names, contents, strict=True):
        (here.path / name).write_bytes(content)
        complete[name] = time.monotonic()
        next_one = time.monotonic() + 0.12
        while time.monotonic() < next_one or len(complete) - len(waited) >= 3:
            look()
            time.sleep(0.005)
            assert time.monotonic() < next_one + 60, "nothing is taken in any more"
    until(lambda: look() or len(waited) == FILES, 30, "all are taken in")
    here.expect(*contents, seconds=60)
    times = sorted(waited.values())
    median, p95 = statistics.median(times), times[int(0.95 * FILES) - 1]
    record_property("median", median)
    print(
        f"complete to admitted, beyond {QUIET} s of quiet, {FILES} files: "
        f"median {median:.3f} s, p95 {p95:.3f} s, longest {times[-1]:.3f} s"
    )
    assert times[0] > -0.05, "before the settle time was over"
    assert p95 < 3, f"median {median:.3f} s, p95 {p95:.3f} s"
