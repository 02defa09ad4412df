"""The checks of a preflight: the mount, its clock and events, names, and what admission does.

Each check performs on the scanner agent's file the calls that admission makes.
"""

from __future__ import annotations

import errno
import os
import statistics
import time

from archived.ingest.preflight.agent import name_of
from archived.ingest.preflight.report import PREFIX, SOON, Answer, CheckContext
from archived.ingest.watcher import wants_polling
from archived.message import Message


def owner(g: CheckContext) -> Answer:
    """Whose a new file is, and with which rights."""
    g.w.do("create", "owner")
    it, (uid, _) = g.status("owner"), g.w.do("who")
    told = Message(
        "{name_of}, group {gid}, rights {mode}",
        name_of=name_of(it["uid"]),
        gid=it["gid"],
        mode=f"{it['mode'] & 0o7777:04o}",
    )
    if it["uid"] != uid:
        return "yes", Message("{told}: the mount gives files an owner of its own", told=told), ""
    return "yes", told, ""


def read(g: CheckContext) -> Answer:
    """Both in content and in rights."""
    text = "".join(chr(32 + n % 90) for n in range(70_000))
    g.w.do("create", "bytes", text)
    try:
        same = g.d.do("read", "bytes") == text
    except OSError as error:
        return "no", str(error.strerror), g.rights(error)
    return (
        ("yes", Message("70,000 bytes compared"), "")
        if same
        else (
            "no",
            Message("other bytes came back"),
            Message("do not use this mount; look for a faulty server"),
        )
    )


def growth(g: CheckContext) -> Answer:
    """A stale size makes half a file look finished."""
    g.w.do("open", "slow")
    slowest = 0.0
    for count in range(1, 5):
        g.w.do("write", "slow", "a piece\n")
        waited = g.soon(lambda n=count: _size(g, "slow") == 8 * n)  # type: ignore[misc]
        if waited is None:
            g.w.do("close", "slow")
            why = Message(
                "a size {soon} s old was told: a file may look finished that is not",
                soon=f"{SOON:g}",
            )
            return (
                "no",
                why,
                Message("mount it with a short attribute cache (NFS, CIFS: actimeo=1)"),
            )
        slowest = max(slowest, waited)
        time.sleep(0.05)
    g.w.do("close", "slow")
    return (
        "yes",
        Message("4 pieces, each seen after at most {slowest:.0f} ms", slowest=slowest * 1000),
        "",
    )


def _size(g: CheckContext, label: str) -> int:
    it = g.d.do("stat", label)
    return -1 if it is None else int(it["size"])


def overwrite(g: CheckContext) -> Answer:
    """The same size, other bytes: only the times can tell."""
    g.w.do("create", "again", "old bytes")
    before = g.status("again")
    time.sleep(0.05)
    g.w.do("overwrite", "again", "new bytes")
    if g.soon(lambda: g.d.do("stat", "again") != before) is None:
        why = Message("the same size, and a time too coarse to tell")
        return "no", why, Message("let scanners write under a new name each time")
    return "yes", Message("the same size, another time"), ""


def still_open(g: CheckContext) -> Answer:
    """By a lease, as admission asks."""
    g.w.do("open", "lease")
    g.w.do("write", "lease", "%PDF")
    while_open = g.d.do("has_writer", "lease")
    g.w.do("close", "lease")
    after = g.d.do("has_writer", "lease")
    if None in {while_open, after}:
        why = Message(
            "the kernel gives {daemon} no lease on files of {writer}",
            daemon=g.report.daemon,
            writer=g.report.writer,
        )
        todo = Message(
            "rely on the settle time; or, when both write on this machine, give the "
            "service CAP_LEASE (AmbientCapabilities=, CapabilityBoundingSet=)"
        )
        return "not established", why, todo
    if (while_open, after) != (True, False):
        return (
            "no",
            Message("the kernel gave a wrong answer"),
            Message("rely on a longer settle time"),
        )
    if wants_polling(g.mount["type"]):
        return (
            "not established",
            Message("for this machine's writers only: others are not known"),
            "",
        )
    return "yes", Message("a lease was refused while the file was open, and given after"), ""


def fsync(g: CheckContext) -> Answer:
    """What custody rests on."""
    try:
        g.d.do("fsync", "bytes")
    except OSError as error:
        return "no", str(error.strerror), g.rights(error)
    return "yes", Message("fsync of both was not refused"), ""


def rename(g: CheckContext) -> Answer:
    """As scanners end a transfer: NAME.part becomes NAME."""
    g.w.do("create", "scan.part", "whole")
    before = g.status("scan.part")
    g.w.do("rename", "scan.part", "scan.pdf")
    if g.soon(lambda: _moved(g, "scan.part", "scan.pdf")) is None:
        return (
            "no",
            Message("the new name does not show, or the old one stays"),
            Message("use another mount"),
        )
    after = g.status("scan.pdf")
    same = all(before[k] == after[k] for k in ("device", "inode", "size", "mtime_ns"))
    if not same:
        why = Message("device, inode or time changed: the file would be taken for another one")
        return "no", why, Message("FUSE: mount with use_ino; CIFS: with serverino")
    return "yes", Message("device, inode, size and time stayed"), ""


def _moved(g: CheckContext, label: str, other: str) -> bool:
    return g.d.do("stat", label) is None and g.d.do("stat", other) is not None


def claim(g: CheckContext) -> Answer:
    """The first half of a removal."""
    g.w.do("create", "mine", "scanned")
    try:
        g.d.do("claim", "mine", "taken")
    except OSError as error:
        if "yes" not in {g.report.verdict("no-replace"), g.report.verdict("links")}:
            why = Message("neither a rename that replaces nothing nor a hard link is possible")
            return "no", why, Message("use another mount or file system")
        return "no", str(error.strerror), g.rights(error)
    gone = g.w.do("stat", "mine") is None
    return (
        ("yes", Message("renamed, durably"), "")
        if gone
        else (
            "no",
            Message("the old name stayed"),
            Message("use another mount"),
        )
    )


def victim(g: CheckContext) -> Answer:
    """A rename onto a name in use must be refused."""
    g.w.do("create", "source", "source")
    g.w.do("create", "victim", "victim")
    try:
        g.d.do("claim", "source", "victim")
    except FileExistsError:
        kept = g.w.do("read", "victim") == "victim"
        return (
            ("yes", Message("an existing name was refused"), "")
            if kept
            else (
                "no",
                Message("refused, and yet destroyed"),
                Message("do not use this mount"),
            )
        )
    except OSError as error:
        return "not established", f"{error.strerror}", g.rights(error)
    return "no", Message("an existing file was replaced"), Message("do not use this mount")


def remove(g: CheckContext) -> Answer:
    """The second half of a removal."""
    g.w.do("create", "done", "in custody")
    try:
        g.d.do("remove", "done")
    except OSError as error:
        return "no", Message("{why}: sources would be stuck", why=error.strerror), g.rights(error)
    gone = g.w.do("stat", "done") is None and "done" not in g.d.do("names")
    return (
        ("yes", "", "")
        if gone
        else ("no", Message("it is still listed"), Message("use another mount"))
    )


def below(g: CheckContext) -> Answer:
    """A folder that was dropped is its maker's."""
    g.w.do("make_folder", "folder")
    g.w.do("create", "folder/page", "page")
    try:
        g.d.do("remove", "folder/page")
    except OSError as error:
        why = Message(
            "{why}: files in folders that are dropped here would be stuck", why=error.strerror
        )
        return "no", why, g.rights(error)
    return "yes", "", ""


def withdrawn(g: CheckContext) -> Answer:
    """New names are listed, and gone ones are not."""
    g.w.do("create", "gone")
    if g.soon(lambda: "gone" in g.d.do("names")) is None:
        return (
            "no",
            Message("a new file is not listed"),
            Message("mount it with a short folder cache"),
        )
    g.w.do("unlink", "gone")
    waited = g.soon(lambda: "gone" not in g.d.do("names"))
    return (
        ("yes", Message("after {waited:.0f} ms", waited=waited * 1000), "")
        if waited is not None
        else (
            "no",
            Message("it is still listed after {soon} s", soon=f"{SOON:g}"),
            Message("mount it with a short folder cache"),
        )
    )


def atomic(g: CheckContext) -> Answer:
    """Replaced over and over by one, looked at by the other."""
    g.w.do("create", "target", "whole" * 100)
    g.w.begin("replace_often", "target", 0.4)
    g.d.begin("look_often", "target", 0.4)
    looks, missing, torn = g.d.result()
    times = g.w.result()
    why = Message(
        "{looks} looks during {times} replacements: missing {missing}, not whole {torn}",
        looks=looks,
        times=times,
        missing=missing,
        torn=torn,
    )
    if not looks or not times:
        return "not established", why, ""
    return (
        ("yes", why, "")
        if not missing + torn
        else (
            "no",
            Message("{why}: a file may be on record twice", why=why),
            Message("let scanners use new names"),
        )
    )


def no_replace(g: CheckContext) -> Answer:
    """The system call that claims rest on."""
    g.w.do("create", "plain")
    try:
        g.w.do("rename_no_replace", "plain", "renamed")
    except OSError as error:
        return "no", Message("{why}: a hard link is used instead", why=error.strerror), ""
    return "yes", "", ""


def links(g: CheckContext) -> Answer:
    """What they rest on without it."""
    g.w.do("create", "one")
    try:
        g.w.do("link", "one", "two")
    except OSError as error:
        return "no", str(error.strerror), ""
    return "yes", "", ""


_VOLATILE = frozenset({"tmpfs", "ramfs", "devtmpfs", "overlay"})
_USED_UP = {
    errno.ENOSPC: "fs.inotify.max_user_watches",
    errno.EMFILE: "fs.inotify.max_user_instances",
}
_ROOM = 256 << 20
_INODES = 10_000


def there(g: CheckContext) -> Answer:
    """Found and listed."""
    try:
        count = g.d.do("entries")
    except OSError as error:
        todo = (
            Message("make the folder, or mount the share")
            if error.errno == errno.ENOENT
            else (
                Message(
                    "give {daemon} the right to read and enter it and those above it",
                    daemon=g.report.daemon,
                )
            )
        )
        return "no", str(error.strerror), todo
    return "yes", Message("1 entry") if count == 1 else Message("{count} entries", count=count), ""


def user(g: CheckContext) -> Answer:
    """Root may do everything: what it may says nothing about anybody else."""
    if g.d.do("who")[0] == 0:
        why = Message("root may do everything; the rights of the daemon's user were not tried")
        return "not established", why, Message("name the daemon's user: --daemon-user archived")
    return "yes", g.report.daemon, ""


def mounted(g: CheckContext) -> Answer:
    """What kind of file system, where and how."""
    g.facts["mount"] = mount = g.d.do("mount")
    kind = mount["type"]
    told = f"{kind} on {mount['point']} ({mount['options']})"
    if kind in _VOLATILE:
        todo = Message("put the folder on a disk: a scan may be the only copy")
        return "no", Message("{told}: what lies there is gone when the power is", told=told), todo
    if wants_polling(kind):
        return "not established", Message("{told}: only its server can say", told=told), ""
    return "yes", told, ""


def writable(g: CheckContext) -> Answer:
    """For the one who scans."""
    try:
        g.w.do("create", "first")
        g.w.do("unlink", "first")
    except OSError as error:
        todo = (
            Message("mount it for writing")
            if error.errno == errno.EROFS
            else (Message("give {writer} the right to write there", writer=g.report.writer))
        )
        return "no", str(error.strerror), todo
    return "yes", Message("a file was made and removed"), ""


def mtime(g: CheckContext) -> Answer:
    """How fine, by setting an odd one."""
    g.w.do("create", "time")
    odd = 1_700_000_001_123_456_789
    g.w.do("set_time", "time", odd)
    kept = g.status("time")["mtime_ns"]
    steps = (1, 100, 1000, 1_000_000, 10_000_000, 1_000_000_000, 2_000_000_000)
    step = next((s for s in steps if abs(odd - kept) < s), None)
    if step is None:
        why = Message("a time that a client set is not kept")
        return "no", why, ""
    g.facts["mtime_resolution"] = step / 1e9
    if step >= 1_000_000_000:
        why = Message(
            "steps of {step} s: what changes within one looks unchanged", step=step // 1_000_000_000
        )
        return "no", why, Message("keep the settle time well above it")
    return "yes", Message("steps of {step} ns, as they are kept", step=step), ""


def clock(g: CheckContext) -> Answer:
    """The file server's beside ours."""
    before, theirs, after = g.w.do("touch_now", "clock")
    step = max(1.0, g.facts["mtime_resolution"] or 0.0)
    skew = theirs - after if theirs > after else min(0.0, theirs - before)
    g.facts["clock_skew"] = round(skew, 3)
    if abs(skew) > step:
        why = Message(
            "{skew} s: times on record would be wrong (the settle time uses our clock)",
            skew=f"{skew:+.1f}",
        )
        return "no", why, Message("run NTP on the file server and here")
    return "yes", f"{skew:+.3f} s", ""


def events(g: CheckContext) -> Answer:
    """Which of watchdog's come, and how soon."""
    try:
        g.d.do("listen")
    except OSError as error:
        setting = _USED_UP.get(error.errno or 0)
        if setting is None:
            return "no", str(error.strerror), Message("the folder is polled")
        why = Message("{daemon} has used up its {setting}", daemon=g.report.daemon, setting=setting)
        return (
            "not established",
            why,
            Message("raise {setting}, or see which programs use them", setting=setting),
        )
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
    g: CheckContext, begun: dict[tuple[str, str], float], heard: dict[tuple[str, str], float]
) -> Answer:
    g.facts["events"] = [kind for kind, label in begun if (kind, label) in heard]
    missing = [kind for kind, label in begun if (kind, label) not in heard]
    if missing:
        return (
            "no",
            Message("not heard: {missing}", missing=", ".join(missing)),
            Message("the folder is polled"),
        )
    delay = statistics.median(max(0.0, heard[key] - at) for key, at in begun.items())
    g.facts["event_delay"] = round(delay, 4)
    why = Message(
        "{events}; after {delay:.0f} ms", events=", ".join(g.facts["events"]), delay=delay * 1000
    )
    if wants_polling(g.mount["type"]):
        why = Message("only of this machine's: {why}; what others write goes unannounced", why=why)
        return "not established", why, Message("the folder is polled")
    return "yes", why, ""


def room(g: CheckContext) -> Answer:
    """In bytes and in inodes."""
    free, inodes, all_inodes = g.d.do("space")
    g.facts["free_bytes"], g.facts["free_inodes"] = free, inodes if all_inodes else None
    counted = (
        Message("{inodes} inodes free", inodes=inodes)
        if all_inodes
        else Message("inodes are not counted there")
    )
    why = Message("{free:.1f} GiB free, {counted}", free=free / (1 << 30), counted=counted)
    if free < _ROOM or (all_inodes and inodes < _INODES):
        return "no", Message("{why}: scanners will soon be refused", why=why), Message("make room")
    return "yes", why, ""


def _named(g: CheckContext, label: str, otherwise: str) -> Answer:
    try:
        g.w.do("create", label)
    except OSError as error:
        return "no", Message("{why}: {otherwise}", why=error.strerror, otherwise=otherwise), ""
    names = g.d.do("names")
    return (
        ("yes", "", "")
        if label in names
        else ("no", Message("another name came back: {otherwise}", otherwise=otherwise), "")
    )


def nfd(g: CheckContext) -> Answer:
    """Decomposed accents, as macOS sends them."""
    told = _named(
        g, "Nghi\u0323\u0302 quye\u0302\u0301t", Message("the name on record is the folder's")
    )
    if told[0] != "yes":
        return told
    one = g.d.do("stat", "Ngh\u1ecb quy\u1ebft") is None  # the same, composed
    other = (
        Message("two spellings of a name are two files")
        if one
        else Message("two spellings are one file")
    )
    return "yes", other, ""


def longest(g: CheckContext) -> Answer:
    """As long as Linux allows."""
    room = 255 - len(PREFIX) - 9
    return _named(g, "n" * room, Message("longer names are lost before they arrive"))


def newline(g: CheckContext) -> Answer:
    """A byte that breaks lists of names."""
    return _named(g, "two\nlines", Message("such names cannot arrive"))


def not_utf8(g: CheckContext) -> Answer:
    """Bytes that are no text."""
    return _named(g, os.fsdecode(b"Ngh\xde quy\xd5t"), Message("such names cannot arrive"))


def case(g: CheckContext) -> Answer:
    """Or one name, as on Windows."""
    g.w.do("create", "Page.PDF", "upper")
    if g.d.do("stat", "page.pdf") is not None:
        why = Message("Scan.pdf overwrites scan.PDF if both come before it is taken in")
        return "no", why, Message("let scanners number their files")
    return "yes", "", ""
