"""A catalog that is gone is never quietly begun anew."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any


def test_a_lost_catalog_is_refused_and_no_empty_one_is_put_in_its_place(
    box: Any, until: Callable[..., Any]
) -> None:
    box.start()
    box.drop("page.txt")
    box.sealed("page.txt")
    assert box.end(signal.SIGTERM) == 0
    state = box.folder / "state"
    kept = {path.name: path.read_bytes() for path in state.glob("catalog.db*")}
    for name in kept:
        (state / name).unlink()
    before = sorted(path.name for path in state.iterdir())

    box.start(ready=False)
    assert box.process is not None
    assert box.process.wait(60) == 1
    log = box.log.read_text()
    assert "there is no catalog, but there are objects in" in log
    assert "Restore the catalog from a backup" in log
    assert sorted(path.name for path in state.iterdir()) == before, "nothing was made"

    for name, content in kept.items():
        (state / name).write_bytes(content)
    box.start()
    assert box.states() == {"page.txt": "sealed"}
