"""A reload that finds what is no configuration is refused at once, and the next one is a reload."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

LEVEL = '[log]\nlevel = "info"\n'


def refused(box: Any) -> int:
    return len(box.said("reload-refused"))


def test_a_reload_never_waits_for_a_file_and_leaves_the_set_in_force(box: Any) -> None:
    box.start()
    drop_ins = Path(box.folder) / "conf.d"
    drop_ins.mkdir(mode=0o755)
    hostile = drop_ins / "x.toml"
    makers = (
        lambda: os.mkfifo(hostile, 0o600),
        lambda: hostile.symlink_to("/dev/zero"),
        lambda: hostile.write_text("a = " + "[" * 50_000),
        lambda: hostile.write_text("a = " + "9" * 5000),
        lambda: (hostile.touch(), os.truncate(hostile, 1 << 32)),
        lambda: hostile.symlink_to(hostile),
    )
    for number, make in enumerate(makers, start=1):
        make()
        if hostile.is_file():
            hostile.chmod(0o600)
        box.reload()
        assert refused(box) == number
        assert "x.toml" in str(box.said("reload-refused")[-1])
        box.drop(f"{number}.txt")
        box.sealed(f"{number}.txt")
        hostile.unlink()
    del box.tables["log"]
    hostile.write_text(LEVEL)
    hostile.chmod(0o600)
    box.reload()
    assert refused(box) == len(makers)
    assert box.said("reloaded")
