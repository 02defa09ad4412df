"""What admission does with a scanner's file, tried on the writer's: watch, read, claim, remove."""

from __future__ import annotations

import time

from archived.intake.probe.deeds import name_of
from archived.intake.probe.ground import SOON, Answer, Ground
from archived.intake.watcher import wants_polling


def owner(g: Ground) -> Answer:
    """Whose a new file is, and with which rights."""
    g.w.do("create", "owner")
    it, (uid, _) = g.status("owner"), g.w.do("who")
    told = f"{name_of(it['uid'])}, group {it['gid']}, rights {it['mode'] & 0o7777:04o}"
    if it["uid"] != uid:
        return "yes", f"{told}: the mount gives files an owner of its own", ""
    return "yes", told, ""


def read(g: Ground) -> Answer:
    """Both in content and in rights."""
    text = "".join(chr(32 + n % 90) for n in range(70_000))
    g.w.do("create", "bytes", text)
    try:
        same = g.d.do("read", "bytes") == text
    except OSError as error:
        return "no", str(error.strerror), g.rights(error)
    return ("yes", "70,000 bytes compared", "") if same else (
        "no", "other bytes came back", "do not use this mount; look for a faulty server",
    )  # fmt: skip


def growth(g: Ground) -> Answer:
    """A stale size makes half a file look finished."""
    g.w.do("open", "slow")
    slowest = 0.0
    for count in range(1, 5):
        g.w.do("write", "slow", "a piece\n")
        waited = g.soon(lambda n=count: _size(g, "slow") == 8 * n)  # type: ignore[misc]
        if waited is None:
            g.w.do("close", "slow")
            why = f"a size {SOON:g} s old was told: a file may look finished that is not"
            return "no", why, "mount it with a short attribute cache (NFS, CIFS: actimeo=1)"
        slowest = max(slowest, waited)
        time.sleep(0.05)
    g.w.do("close", "slow")
    return "yes", f"4 pieces, each seen after at most {slowest * 1000:.0f} ms", ""


def _size(g: Ground, label: str) -> int:
    it = g.d.do("stat", label)
    return -1 if it is None else int(it["size"])


def overwrite(g: Ground) -> Answer:
    """The same size, other bytes: only the times can tell."""
    g.w.do("create", "again", "old bytes")
    before = g.status("again")
    time.sleep(0.05)
    g.w.do("overwrite", "again", "new bytes")
    if g.soon(lambda: g.d.do("stat", "again") != before) is None:
        why = "the same size, and a time too coarse to tell"
        return "no", why, "let scanners write under a new name each time"
    return "yes", "the same size, another time", ""


def still_open(g: Ground) -> Answer:
    """By a lease, as the desk asks."""
    g.w.do("open", "lease")
    g.w.do("write", "lease", "%PDF")
    while_open = g.d.do("has_writer", "lease")
    g.w.do("close", "lease")
    after = g.d.do("has_writer", "lease")
    if None in {while_open, after}:
        why = f"the kernel gives {g.report.daemon} no lease on files of {g.report.writer}"
        todo = (
            "rely on the quiet time; or, when both write on this machine, give the service "
            "CAP_LEASE (AmbientCapabilities=, CapabilityBoundingSet=)"
        )
        return "not established", why, todo
    if (while_open, after) != (True, False):
        return "no", "the kernel gave a wrong answer", "rely on a longer quiet time"
    if wants_polling(g.mount["type"]):
        return "not established", "for this machine's writers only: others are not known", ""
    return "yes", "a lease was refused while the file was open, and given after", ""


def fsync(g: Ground) -> Answer:
    """What custody rests on."""
    try:
        g.d.do("fsync", "bytes")
    except OSError as error:
        return "no", str(error.strerror), g.rights(error)
    return "yes", "fsync of both was not refused", ""


def rename(g: Ground) -> Answer:
    """As scanners end a transfer: NAME.part becomes NAME."""
    g.w.do("create", "scan.part", "whole")
    before = g.status("scan.part")
    g.w.do("rename", "scan.part", "scan.pdf")
    if g.soon(lambda: _moved(g, "scan.part", "scan.pdf")) is None:
        return "no", "the new name does not show, or the old one stays", "use another mount"
    after = g.status("scan.pdf")
    same = all(before[k] == after[k] for k in ("device", "inode", "size", "mtime_ns"))
    if not same:
        why = "device, inode or time changed: the file would be taken for another one"
        return "no", why, "FUSE: mount with use_ino; CIFS: with serverino"
    return "yes", "device, inode, size and time stayed", ""


def _moved(g: Ground, label: str, other: str) -> bool:
    return g.d.do("stat", label) is None and g.d.do("stat", other) is not None


def claim(g: Ground) -> Answer:
    """The first half of a removal."""
    g.w.do("create", "mine", "scanned")
    try:
        g.d.do("claim", "mine", "taken")
    except OSError as error:
        if "yes" not in {g.report.verdict("no-replace"), g.report.verdict("links")}:
            why = "neither a rename that replaces nothing nor a hard link is possible"
            return "no", why, "use another mount or file system"
        return "no", str(error.strerror), g.rights(error)
    gone = g.w.do("stat", "mine") is None
    return ("yes", "renamed, durably", "") if gone else (
        "no", "the old name stayed", "use another mount",
    )  # fmt: skip


def victim(g: Ground) -> Answer:
    """A rename onto a name in use must be refused."""
    g.w.do("create", "source", "source")
    g.w.do("create", "victim", "victim")
    try:
        g.d.do("claim", "source", "victim")
    except FileExistsError:
        kept = g.w.do("read", "victim") == "victim"
        return ("yes", "an existing name was refused", "") if kept else (
            "no", "refused, and yet destroyed", "do not use this mount",
        )  # fmt: skip
    except OSError as error:
        return "not established", f"{error.strerror}", g.rights(error)
    return "no", "an existing file was replaced", "do not use this mount"


def remove(g: Ground) -> Answer:
    """The second half of a removal."""
    g.w.do("create", "done", "in custody")
    try:
        g.d.do("remove", "done")
    except OSError as error:
        return "no", f"{error.strerror}: sources would be stuck", g.rights(error)
    gone = g.w.do("stat", "done") is None and "done" not in g.d.do("names")
    return ("yes", "", "") if gone else ("no", "it is still listed", "use another mount")


def below(g: Ground) -> Answer:
    """A folder that was dropped is its maker's."""
    g.w.do("make_folder", "folder")
    g.w.do("create", "folder/page", "page")
    try:
        g.d.do("remove", "folder/page")
    except OSError as error:
        why = f"{error.strerror}: files in folders that are dropped here would be stuck"
        return "no", why, g.rights(error)
    return "yes", "", ""


def withdrawn(g: Ground) -> Answer:
    """New names are listed, and gone ones are not."""
    g.w.do("create", "gone")
    if g.soon(lambda: "gone" in g.d.do("names")) is None:
        return "no", "a new file is not listed", "mount it with a short folder cache"
    g.w.do("unlink", "gone")
    waited = g.soon(lambda: "gone" not in g.d.do("names"))
    return ("yes", f"after {waited * 1000:.0f} ms", "") if waited is not None else (
        "no", f"it is still listed after {SOON:g} s", "mount it with a short folder cache",
    )  # fmt: skip


def atomic(g: Ground) -> Answer:
    """Replaced over and over by one, looked at by the other."""
    g.w.do("create", "target", "whole" * 100)
    g.w.begin("replace_often", "target", 0.4)
    g.d.begin("look_often", "target", 0.4)
    looks, missing, torn = g.d.result()
    times = g.w.result()
    why = f"{looks} looks during {times} replacements: missing {missing}, not whole {torn}"
    if not looks or not times:
        return "not established", why, ""
    return ("yes", why, "") if not missing + torn else (
        "no", f"{why}: a file may be on record twice", "let scanners use new names",
    )  # fmt: skip


def no_replace(g: Ground) -> Answer:
    """The system call that claims rest on."""
    g.w.do("create", "plain")
    try:
        g.w.do("rename_no_replace", "plain", "renamed")
    except OSError as error:
        return "no", f"{error.strerror}: a hard link is used instead", ""
    return "yes", "", ""


def links(g: Ground) -> Answer:
    """What they rest on without it."""
    g.w.do("create", "one")
    try:
        g.w.do("link", "one", "two")
    except OSError as error:
        return "no", str(error.strerror), ""
    return "yes", "", ""
