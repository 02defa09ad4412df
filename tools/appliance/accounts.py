"""Accounts in the appliance: a step owns nothing; an upgrade from one where it had the service's.

Every public function is a step; the first line of its docstring is the promise it tries.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tools.appliance import packages
from tools.appliance.bad_days import MOUNT_UNIT
from tools.appliance.box import ApplianceError, until
from tools.appliance.first_days import DISK
from tools.appliance.world import World

DYNAMIC = range(61184, 65520)
"""The user ids of systemd's dynamic users."""
PRYING = '''"""Tries what a step that was taken over by a file would."""
import os, resource, socket, time
from pathlib import Path
from archived.api import *

PLACES = """PLACES_HERE""".split()


def tried(what, call, possible):
    try:
        call()
    except OSError:
        return
    possible.append(what)


class Prying(Stage[StageConfig]):
    name = "prying"
    version = "1"
    needs = Needs(lane="prying")

    def run(self, document, context):
        possible = []
        for text in PLACES:
            path = Path(text)
            tried(f"list {text}", lambda: os.listdir(path), possible)
            tried(f"read {text}", path.read_bytes, possible)
            tried(f"make in {text}", (path / "x").touch, possible)
            tried(f"write {text}", lambda: path.open("ab").close(), possible)
            tried(f"chmod {text}", lambda: os.chmod(path, 0o777), possible)
            tried(f"chown {text}", lambda: os.chown(path, os.getuid(), -1), possible)
            tried(f"utime {text}", lambda: os.utime(path), possible)
            tried(f"connect {text}", lambda: socket.socket(socket.AF_UNIX).connect(text), possible)
        main = document.main.path
        tried("write the document", lambda: main.open("ab").close(), possible)
        tried("chmod the document", lambda: os.chmod(main, 0o666), possible)
        pid = SERVICE_PID
        tried("signal the service", lambda: os.kill(pid, 0), possible)
        tried("limit the service", lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE), possible)
        tried("see the service", lambda: os.listdir(f"/proc/{pid}"), possible)
        time.sleep(10)
        return Result(facts={"possible": possible, "uid": os.getuid(), "groups": os.getgroups(),
                             "text": len(main.read_bytes())})


@hookimpl
def register_stages(register):
    register(Prying)
'''
PLACES = (
    "/var/lib/archived",
    "/var/lib/archived/catalog.db",
    "/var/lib/archived/spool",
    "/var/lib/archived/work",
    "/srv/archived/store",
    "/srv/archived/store/ocfl",
    "/srv/archived/hot/inbox",
    "/etc/archived/secret",
    "/etc/archived/secret/signing.p12",
    "/run/credentials/archived.service/signing-key",
    "/run/archived/control.sock",
    "/run/archived-worker/socket",
    DISK,
)


def owns_nothing(world: World) -> str:
    """A step owns nothing: its account is its own, and what a prying stage tries is refused."""
    box = world.box
    main = box.show("archived", "MainPID")
    file = box.root / "etc/archived/plugins/prying.py"
    file.write_text(PRYING.replace("PLACES_HERE", "\n".join(PLACES)).replace("SERVICE_PID", main))
    file.chmod(0o644)
    stages = '"classify", "sign", "seal", "replicate"]'
    world.edit(
        (f'stages = ["ocr", {stages}', f'stages = ["ocr", "prying", {stages}'),
        (
            'enabled = ["ocr", "classify", "sign", "replicate"]',
            'enabled = ["ocr", "classify", "sign", "replicate", "prying"]',
        ),
    )
    (box.root / "etc/archived/conf.d/prying.toml").write_text("[lanes]\nprying = 1\n")
    box.run("archivectl", "reload")
    if box.show("archived", "MainPID") != main:
        raise ApplianceError("it was started again")
    scans = world.take(1)
    world.send("smb", *scans)
    until(lambda: _running(world, "prying"), 60, "the prying step runs")
    seen = _accounts_of_steps(world)
    [document] = world.until_safe(*scans)
    told = world.ask("show", document["id"])["facts"]["prying"]
    if told["possible"] or told["uid"] not in DYNAMIC or set(told["groups"]) - {told["uid"]}:
        raise ApplianceError(f"a step could: {told}")
    _judge_owners(world)
    world.edit(
        (f'stages = ["ocr", "prying", {stages}', f'stages = ["ocr", {stages}'),
        (
            'enabled = ["ocr", "classify", "sign", "replicate", "prying"]',
            'enabled = ["ocr", "classify", "sign", "replicate"]',
        ),
    )
    (box.root / "etc/archived/conf.d/prying.toml").unlink()
    box.run("archivectl", "reload")
    _judge_doctor(world)
    return f"{len(seen)} accounts; {8 * len(PLACES) + 5} attempts"


def _judge_doctor(world: World) -> None:
    """What `archived doctor` says to root of a machine that works: nothing is to be seen to."""

    def said() -> list[str]:
        _, text = world.box.ask("archived", "--json", "doctor")
        found = json.loads(text[text.index("{") :])
        return (
            []
            if found["fit"]
            else [str(f) for f in found["findings"] if f["needed"] and f["verdict"] != "yes"]
        )

    until(lambda: not said(), 60, f"doctor is content: {said()}", pause=5)


def _running(world: World, stage: str) -> bool:
    return any(each["stage"] == stage for each in world.ask("status")["daemon"]["running"])


def _accounts_of_steps(world: World) -> set[int]:
    """Who runs fork servers and steps now, by `ps`. Raises `ApplianceError`."""
    said = world.box.run("ps", "-eo", "uid=,unit=,args=")
    own = int(world.box.run("id", "-u", "archived"))
    lines = [
        line.split(None, 2) for line in said.splitlines() if "engine.worker.forkserver" in line
    ]
    ours = {int(uid) for uid, unit, _ in lines if unit.startswith("archived-worker@")}
    if not ours or not ours <= set(DYNAMIC):
        raise ApplianceError(f"steps have these accounts: {said}")
    others = [line for line in lines if int(line[0]) not in ours]
    if any(int(uid) != own or unit != "archived.service" for uid, unit, _ in others):
        raise ApplianceError(f"fork servers are where they should not be: {others}")
    lanes = world.ask("status")["daemon"]["accounts"]
    if not {uid for lane in lanes.values() for uid in lane.values()} <= ours:
        raise ApplianceError(f"archivectl status says {lanes}, ps says {ours}")
    if "sign" not in lanes["cpu"] or lanes["cpu"]["sign"] == lanes["cpu"][""]:
        raise ApplianceError(f"the stage that signs has no account of its own: {lanes}")
    return ours


def _judge_owners(world: World) -> None:
    """Whatever a step made belongs to the service by now: state, store and copies."""

    def of_others() -> str:
        return world.box.run(
            "find",
            "/var/lib/archived",
            "/srv/archived/store",
            f"{DISK}/ocfl",
            "-not",
            "-user",
            "archived",
            "-printf",
            "%u %p\\n",
            may_fail=True,
        )

    until(lambda: not of_others().strip(), 30, f"all belongs to the service: {of_others()[:600]}")


def upgrade(world: World) -> str:
    """An upgrade with documents in every state loses nothing: the catalog is brought up to date."""
    box = world.box
    rejected, held = _two_held(world)
    world.ask("reject", rejected, "--note", "for the test")
    until(lambda: not box.ask("systemctl", "stop", MOUNT_UNIT)[0], 30, "it is unmounted")
    waiting = world.take(1)
    world.send("ftp", *waiting)
    until(lambda: _state(world, waiting[0].name) == "sealed", 120, "one is sealed without a copy")
    scans = world.take(4)
    world.send("smb", *scans)
    world.until_working()
    before = {d["id"]: d["state"] for d in world.documents()}
    world.install(world.package)
    world.until_ready()
    after = {d["id"]: d["state"] for d in world.documents()}
    if not before.keys() <= after.keys():
        raise ApplianceError("documents of the older version are not there any more")
    if (after[rejected], after[held]) != ("rejected", "held"):
        raise ApplianceError(f"they were rejected and held: {after[rejected]}, {after[held]}")
    wanted = packages.version(world.package)
    got = box.run("dpkg-query", "-W", "-f", "${Version}", "archived")
    if got != wanted:
        raise ApplianceError(f"{got} is installed, not {wanted}")
    kept = sorted((box.root / "var/lib/archived").glob("catalog.db.shape-*"))
    if world.changed and not kept:
        raise ApplianceError("the catalog was changed and no copy of the older one is kept")
    box.run("systemctl", "start", MOUNT_UNIT)
    box.run("archivectl", "retry", held)
    for document in world.documents():
        if document["code"] == "target-missing":
            box.run("archivectl", "retry", document["id"])
    everything = [Path(name) for name in world.sent]
    world.until_safe(*everything)
    until(lambda: _by_id(world, held)["state"] == "held", 60, "the damaged one is held again")
    _accounts_of_steps(world)
    _judge_owners(world)
    copies = ", ".join(path.name for path in kept) or "no change of the catalog"
    states = ", ".join(sorted(set(before.values())))
    return f"to {wanted}; {states}; {len(everything)} documents safe; {copies}"


def _two_held(world: World) -> tuple[str, str]:
    """Two papers that no reader can open: each is held."""
    names = ("damaged-1.pdf", "damaged-2.pdf")
    for name in names:
        file = world.folder / name
        file.write_bytes(b"%PDF-1.7\n" + name.encode() + b"\n" * 5000 + b"startxref\n0\n%%EOF\n")
        world.smb(f'put "{file}" "{name}"')

    def both() -> list[str]:
        found = [d["id"] for d in world.documents() if d["name"] in names and d["state"] == "held"]
        return found if len(found) == 2 else []

    one, other = until(both, 120, "both are held")
    return one, other


def _state(world: World, name: str) -> str:
    return next((d["state"] for d in world.documents() if d["name"] == name), "")


def _by_id(world: World, document: str) -> dict[str, Any]:
    return next(d for d in world.documents() if d["id"] == document)


def crashed(world: World) -> str:
    """SIGKILL of the steps' own unit in the middle of work costs nothing but time."""
    scans = world.take(2)
    world.send("sftp", *scans)
    world.until_working()
    units = re.findall(
        r"archived-worker@\S+\.service",
        world.box.run("systemctl", "list-units", "--plain", "--no-legend", "archived-worker@*"),
    )
    for unit in units:
        world.box.ask("systemctl", "kill", "--signal=KILL", unit)
    world.until_safe(*scans)
    _judge_owners(world)
    return f"{len(units)} units"
