"""What the mount is, what its clock and its events are worth, and whether there is room."""

from __future__ import annotations

import errno
import statistics

from archived.intake.probe.ground import Answer, Ground
from archived.intake.watcher import wants_polling

_VOLATILE = frozenset({"tmpfs", "ramfs", "devtmpfs", "overlay"})
_USED_UP = {
    errno.ENOSPC: "fs.inotify.max_user_watches",
    errno.EMFILE: "fs.inotify.max_user_instances",
}
_ROOM = 256 << 20
_INODES = 10_000


def there(g: Ground) -> Answer:
    """Found and listed."""
    try:
        count = g.d.do("entries")
    except OSError as error:
        todo = "make the folder, or mount the share" if error.errno == errno.ENOENT else (
            f"give {g.report.daemon} the right to read and enter it and those above it"
        )  # fmt: skip
        return "no", str(error.strerror), todo
    return "yes", f"{count} entries", ""


def user(g: Ground) -> Answer:
    """Root may do everything: what it may says nothing about anybody else."""
    if g.d.do("who")[0] == 0:
        why = "root may do everything; the rights of the daemon's user were not tried"
        return "not established", why, "name the daemon's user: --daemon-user archived"
    return "yes", g.report.daemon, ""


def mounted(g: Ground) -> Answer:
    """What kind of file system, where and how."""
    g.facts["mount"] = mount = g.d.do("mount")
    kind = mount["type"]
    told = f"{kind} on {mount['point']} ({mount['options']})"
    if kind in _VOLATILE:
        todo = "put the folder on a disk: a scan may be the only copy"
        return "no", f"{told}: what lies there is gone when the power is", todo
    if wants_polling(kind):
        return "not established", f"{told}: only its server can say", ""
    return "yes", told, ""


def writable(g: Ground) -> Answer:
    """For the one who scans."""
    try:
        g.w.do("create", "first")
        g.w.do("unlink", "first")
    except OSError as error:
        todo = "mount it for writing" if error.errno == errno.EROFS else (
            f"give {g.report.writer} the right to write there"
        )  # fmt: skip
        return "no", str(error.strerror), todo
    return "yes", "a file was made and removed", ""


def mtime(g: Ground) -> Answer:
    """How fine, by setting an odd one."""
    g.w.do("create", "time")
    odd = 1_700_000_001_123_456_789
    g.w.do("set_time", "time", odd)
    kept = g.status("time")["mtime_ns"]
    steps = (1, 100, 1000, 1_000_000, 10_000_000, 1_000_000_000, 2_000_000_000)
    step = next((s for s in steps if abs(odd - kept) < s), None)
    if step is None:
        why = "a time that a client set is not kept"
        return "no", why, ""
    g.facts["mtime_resolution"] = step / 1e9
    if step >= 1_000_000_000:
        why = f"steps of {step // 1_000_000_000} s: what changes within one looks unchanged"
        return "no", why, "keep the quiet time well above it"
    return "yes", f"steps of {step} ns, as they are kept", ""


def clock(g: Ground) -> Answer:
    """The file server's beside ours."""
    before, theirs, after = g.w.do("touch_now", "clock")
    step = max(1.0, g.facts["mtime_resolution"] or 0.0)
    skew = theirs - after if theirs > after else min(0.0, theirs - before)
    g.facts["clock_skew"] = round(skew, 3)
    if abs(skew) > step:
        why = f"{skew:+.1f} s: times on record would be wrong (the quiet time uses our clock)"
        return "no", why, "run NTP on the file server and here"
    return "yes", f"{skew:+.3f} s", ""


def events(g: Ground) -> Answer:
    """Which of watchdog's come, and how soon."""
    try:
        g.d.do("listen")
    except OSError as error:
        setting = _USED_UP.get(error.errno or 0)
        if setting is None:
            return "no", str(error.strerror), "the folder is polled"
        why = f"{g.report.daemon} has used up its {setting}"
        return "not established", why, f"raise {setting}, or see which programs use them"
    begun = {
        ("created", "told"): g.w.do("open", "told"),
        ("modified", "told"): g.w.do("write", "told", "text"),
        ("closed", "told"): g.w.do("close", "told"),
        ("moved", "told-2"): g.w.do("rename", "told", "told-2"),
        ("deleted", "told-2"): g.w.do("unlink", "told-2"),
    }
    heard: dict[tuple[str, str], float] = {}

    def all_heard() -> bool:
        for kind, label, at in g.d.do("heard"):
            heard.setdefault((kind, label), at)
        return set(begun) <= set(heard)

    g.soon(all_heard)
    return _judge_events(g, begun, heard)


def _judge_events(
    g: Ground, begun: dict[tuple[str, str], float], heard: dict[tuple[str, str], float]
) -> Answer:
    g.facts["events"] = [kind for kind, label in begun if (kind, label) in heard]
    missing = [kind for kind, label in begun if (kind, label) not in heard]
    if missing:
        return "no", f"not heard: {', '.join(missing)}", "the folder is polled"
    delay = statistics.median(max(0.0, heard[key] - at) for key, at in begun.items())
    g.facts["event_delay"] = round(delay, 4)
    why = f"{', '.join(g.facts['events'])}; after {delay * 1000:.0f} ms"
    if wants_polling(g.mount["type"]):
        why = f"only of this machine's: {why}; what others write goes unannounced"
        return "not established", why, "the folder is polled"
    return "yes", why, ""


def room(g: Ground) -> Answer:
    """In bytes and in inodes."""
    free, inodes, all_inodes = g.d.do("space")
    g.facts["free_bytes"], g.facts["free_inodes"] = free, inodes if all_inodes else None
    counted = f"{inodes} inodes free" if all_inodes else "inodes are not counted there"
    why = f"{free / (1 << 30):.1f} GiB free, {counted}"
    if free < _ROOM or (all_inodes and inodes < _INODES):
        return "no", f"{why}: scanners will soon be refused", "make room"
    return "yes", why, ""
