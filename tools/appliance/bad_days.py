"""The appliance's bad days: disks go, processes die or hang, somebody mistypes, it is removed.

Every public function is a step; the first line of its docstring is the promise it tries.
"""

from __future__ import annotations

import re
from pathlib import Path

from tools.appliance.box import BOX, ApplianceError, until
from tools.appliance.first_days import DISK, OWN, into_the_inbox
from tools.appliance.world import EXAMPLES, PASSWORD, World

NO_COPY, RELOAD_REFUSED = "ArchivedCopiesLate", "ArchivedReloadRefused"
"""Alerts that the package ships."""
MOUNT_UNIT = r"mnt-second\x2ddisk.mount"
WATCHDOG = "[Service]\nWatchdogSec=20\n"


def metrics(world: World) -> str:
    """A real Prometheus scrapes it under the shipped rules, and nothing fires."""
    box, at = world.box, world.box.root / "etc/prometheus"
    shipped = box.run("cat", f"{EXAMPLES}/prometheus/prometheus.yml")
    (at / "prometheus.yml").write_text(re.sub(r"(_interval:) 15s", r"\1 1s", shipped))
    rules = box.run("cat", f"{EXAMPLES}/prometheus/archived.rules.yml")
    (at / "archived.rules.yml").write_text(_impatient(rules))
    box.run("promtool", "check", "config", "/etc/prometheus/prometheus.yml")
    box.run("systemctl", "restart", "prometheus")
    until(lambda: world.value("archived_ready") == [1.0], 30, "Prometheus has scraped it")
    safe = len([d for d in world.documents() if d["state"] == "safe"])
    until(
        lambda: sum(world.value('archived_documents{state="safe"}')) == safe,
        20,
        f"Prometheus counts {safe} safe documents",
    )
    if world.value("sum(archived_unaccounted_files)") != [0.0]:
        raise ApplianceError("files are unaccounted for")
    until(lambda: not world.firing(), 60, f"no alert fires: {world.firing()}")
    if missing := world.labels("archived_sandbox_active == 0"):
        which = sorted({f"{each['lane']}: {each['protection']}" for each in missing})
        world.cannot.append(f"steps are not confined in every respect: {', '.join(which)}")
    groups = world.prometheus("rules")["groups"]
    return f"{sum(len(group['rules']) for group in groups)} rules"


def _impatient(rules: str) -> str:
    """Two alerts wait for seconds, not hours: how long they wait is tried by promtool's tests."""
    for name in (NO_COPY, RELOAD_REFUSED):
        rules, found = re.subn(
            rf"(- alert: {name}\n(?:.*\n)*?\s+for:) \w+$", r"\1 2s", rules, flags=re.MULTILINE
        )
        if found != 1:
            raise ApplianceError(f"the shipped rules have no alert {name}")
    return rules.replace(
        "archived_oldest_uncopied_document_seconds > 21600",
        "archived_oldest_uncopied_document_seconds > 10",
    )


def disk_lost(world: World) -> str:
    """The disk for copies goes: an alert fires, scans are sealed and wait; back: all is safe."""
    # A copy that is just being written keeps the disk busy, for umount(8) as for everybody.
    until(lambda: not world.box.ask("systemctl", "stop", MOUNT_UNIT)[0], 30, "it is unmounted")
    scans = world.take(2)
    world.send("ftp", *scans)
    names = {scan.name for scan in scans}
    until(
        lambda: (
            {(d["name"], d["state"]) for d in world.documents() if d["name"] in names}
            == {(name, "sealed") for name in names}
        ),
        120,
        "they are sealed",
    )
    world.until_fires(NO_COPY)
    below = list((world.box.root / DISK.lstrip("/")).iterdir())
    if below:
        raise ApplianceError(f"something was written below the missing disk: {below}")
    world.box.run("systemctl", "start", MOUNT_UNIT)
    # The daemon looks at its targets each minute, and tries at once what waited for one.
    world.until_safe(*scans)
    world.until_resolved(NO_COPY)
    return NO_COPY


def killed(world: World) -> str:
    """SIGKILL in the middle of work: systemd starts it again, every document is finished once."""
    scans = world.take(4)
    world.send("sftp", *scans)
    world.until_working()
    before = world.box.show("archived", "MainPID")
    world.box.run("systemctl", "kill", "--signal=KILL", "archived")
    _until_another_life(world, before, 60)
    world.until_safe(*scans)
    return f"{len(scans)} documents"


def hung(world: World) -> str:
    """A daemon that hangs is ended and started again by systemd's watchdog."""
    quicker = world.box.root / "etc/systemd/system/archived.service.d/quick-watchdog.conf"
    quicker.write_text(WATCHDOG)
    world.box.shell("systemctl daemon-reload; systemctl restart archived")
    world.until_ready()
    before = world.box.show("archived", "MainPID")
    world.box.run("systemctl", "kill", "--signal=STOP", "--kill-who=main", "archived")
    _until_another_life(world, before, 90)
    log = world.box.run("journalctl", "--boot", "--unit=archived", "--output=cat")
    if "Watchdog timeout" not in log:
        raise ApplianceError("it was started again, but not by the watchdog")
    quicker.unlink()
    world.box.shell("systemctl daemon-reload; systemctl restart archived")
    world.until_ready()
    scans = world.take(1)
    world.send("smb", *scans)
    world.until_safe(*scans)
    return "watchdog shortened to 20 s"


def _until_another_life(world: World, before: str, seconds: float) -> None:
    def another() -> bool:
        now = world.box.show("archived", "MainPID")
        return now not in {"0", before} and world.box.show("archived", "ActiveState") == "active"

    until(another, seconds, "systemd started it again")
    world.until_ready()


def rebooted(world: World) -> str:
    """The machine restarts in the middle of work: everything comes back by itself and goes on."""
    scans = world.take(4)
    world.send("smb", *scans)
    world.until_working()
    world.box.reboot()
    until(lambda: world.box.show("archived", "ActiveState") == "active", 120, "it is started")
    world.until_ready(120)
    world.until_safe(*scans)
    more = world.take(1)
    world.send("sftp", *more)
    world.until_safe(*more)
    if world.status_topic()[-1] != "online":
        until(lambda: world.status_topic()[-1] == "online", 30, "the broker says it is online")
    return f"{len(scans) + 1} documents"


def mistyped(world: World) -> str:
    """A mistake in the file: the reload is refused, an alert says so, the old one stays."""
    world.edit(('timezone = "Asia/Ho_Chi_Minh"', 'timezome = "Asia/Ho_Chi_Minh"'))
    before = world.box.show("archived", "MainPID")
    status, _ = world.box.ask("systemctl", "reload", "archived")
    if not status:
        raise ApplianceError("the reload of a file with a mistake ended with 0")
    world.until_fires(RELOAD_REFUSED)
    scans = world.take(1)
    world.send("ftp", *scans)
    world.until_safe(*scans)
    if world.box.show("archived", "MainPID") != before:
        raise ApplianceError("it was started again")
    log = world.box.run("journalctl", "--boot", "--unit=archived", "--output=cat")
    if "timezome" not in log:
        raise ApplianceError("the journal does not name the mistake")
    world.edit(('timezome = "Asia/Ho_Chi_Minh"', 'timezone = "Asia/Ho_Chi_Minh"'))
    world.box.run("systemctl", "reload", "archived")
    world.until_resolved(RELOAD_REFUSED)
    return RELOAD_REFUSED


def own_plugin(world: World) -> str:
    """An administrator's own plug-in, one file, works after a reload: the README's own example."""
    readme = (world.repository / "README.md").read_text()
    [text] = re.findall(
        r"```python\n# /tmp/trial/plugins/daystamp\.py\n(.*?)```", readme, re.DOTALL
    )
    file = world.box.root / "etc/archived/plugins/daystamp.py"
    file.write_text(text)
    file.chmod(0o644)
    world.edit(
        (
            'stages = ["ocr", "classify", "sign", "seal", "replicate"]',
            'stages = ["ocr", "classify", "daystamp", "sign", "seal", "replicate"]',
        ),
        (
            'enabled = ["ocr", "classify", "sign", "replicate"]',
            'enabled = ["ocr", "classify", "sign", "replicate", "daystamp"]',
        ),
    )
    world.box.run("archivectl", "reload")
    scans = world.take(1)
    world.send("smb", *scans)
    [document] = world.until_safe(*scans)
    path = Path(document["object"]["path"]) / "v1/content/metadata/stamp.txt"
    note = world.box.run("cat", str(path))
    if not note.startswith("received 20"):
        raise ApplianceError(f"the note says {note!r}")
    return "daystamp"


def reported(world: World) -> str:
    """A head of office reads the day's report on a share, also while the service is stopped."""
    box = world.box
    if box.show("archived-report.timer", "ActiveState") != "active":
        raise ApplianceError("the report's timer does not run")
    text = _report(world)
    if "every file that ever came is accounted for" not in text or "second-disk" not in text:
        raise ApplianceError(f"the report does not say how things stand: {text}")
    try:
        _on_share(world, "scan-reading", "ls")
    except ApplianceError:
        pass  # refused, as it must be
    else:
        raise ApplianceError("a scanner's login may read the reports")
    box.run("systemctl", "stop", "archived", within=120)
    text = _report(world)
    if "THE SERVICE DOES NOT RUN" not in text or "accounted for" not in text:
        raise ApplianceError(f"the report does not say that the service is stopped: {text}")
    box.run("systemctl", "start", "archived", within=120)
    world.until_ready()
    return f"{len(text.splitlines())} lines"


def _report(world: World) -> str:
    """A fresh report, by its unit; the text as the share gives it."""
    world.box.run("systemctl", "start", "archived-report.service")
    [name] = re.findall(r"\d{4}-\d\d-\d\d\.txt", _on_share(world, "head-of-office", "ls"))
    here = world.folder / "report"
    _on_share(world, "head-of-office", f'get "{name}" "{here}"')
    return here.read_text("utf-8-sig")


def _on_share(world: World, user: str, command: str) -> str:
    return world.box.outside(
        "smbclient",
        f"//{BOX}/reports",
        "-U",
        f"{user}%{PASSWORD}",
        "-s",
        "/dev/null",
        "-c",
        command,
    )


def removed(world: World) -> str:
    """Removed, it stops and leaves configuration, catalog, store and copies as they are."""
    kept, world.documents_on_record = _kept(world), len(world.documents())
    world.box.run("apt-get", "remove", "--yes", "--quiet", "archived", within=180)
    if world.box.show("archived", "ActiveState") == "active":
        raise ApplianceError("it still runs")
    if _kept(world) != kept:
        raise ApplianceError("files of the archive are gone or changed")
    until(lambda: world.status_topic()[-1] == "offline", 30, "the broker says it is offline")
    for name in ("etc/archived/archived.toml", "var/lib/archived/catalog.db"):
        if not (world.box.root / name).exists():
            raise ApplianceError(f"/{name} is gone")
    return f"{kept.count(chr(10)) + 1} files of store and copies"


def purged(world: World) -> str:
    """Purged, its configuration is gone, the archive is not, own files are set aside."""
    kept = _kept(world)
    world.box.run("apt-get", "purge", "--yes", "--quiet", "archived", within=180)
    if _kept(world) != kept:
        raise ApplianceError("files of the archive are gone or changed")
    configuration = world.box.root / "etc/archived"
    if left := sorted(path.name for path in configuration.rglob("*.toml")):
        raise ApplianceError(f"these are still there: {left}")
    if (configuration / "conf.d/own.toml.dpkg-bak").read_text() != OWN:
        raise ApplianceError("the administrator's own file is not kept as it was")
    if not (world.box.root / "var/lib/archived/catalog.db").exists():
        raise ApplianceError("the catalog with its ledger is gone")
    return f"{kept.count(chr(10)) + 1} files of store and copies"


def _kept(world: World) -> str:
    """Every file of the store, and of the copies where their disk is mounted: size and time."""
    told = world.box.run(
        "find",
        "/srv/archived/store/ocfl",
        f"{DISK}/",
        "-type",
        "f",
        "-printf",
        "%p %s %T@\\n",
        may_fail=True,
    )
    return "\n".join(sorted(told.splitlines()))


def installed_again(world: World) -> str:
    """After a purge the package installs as on the first day, beside the archive that stayed."""
    kept, counted = _kept(world), world.documents_on_record
    world.install(world.package)
    world.until_ready()
    if _kept(world) != kept:
        raise ApplianceError("the older archive was changed")
    if (found := len(world.documents())) != counted:
        raise ApplianceError(f"of {counted} documents it knows {found}")
    into_the_inbox(world)
    return f"{counted} documents, and one more"
