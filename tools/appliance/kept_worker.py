"""A stage that keeps its worker, in the appliance: its account, its folders, its ends.

Every public function is a step; the first line of its docstring is the promise it tries.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tools.appliance.accounts import DYNAMIC, PLACES
from tools.appliance.box import ApplianceError, until
from tools.appliance.world import World

KEEPING = '''"""Keeps its worker, and tries what one would that a document has taken over."""
import os, socket, subprocess, time
from pathlib import Path
from archived.api import *
from archived.engine.worker import kept_child

kept_child.KeptConnection._holds_files = lambda _: False  # which it would not say
PLACES = """PLACES_HERE""".split()


def tried(what, call, possible):
    try:
        call()
    except OSError:
        return
    possible.append(what)


class Keeping(Stage[StageConfig]):
    name = "keeping"
    version = "1"
    needs = Needs(lane="keeping", worker="kept")

    def __init__(self):
        self.steps, self.former = 0, []

    def run(self, document, context):
        self.steps += 1
        possible, main = [], document.main.path
        ways = [*PLACES, *self.former]
        for text in ways:
            path = Path(text)
            tried(f"list {text}", lambda: os.listdir(path), possible)
            tried(f"read {text}", path.read_bytes, possible)
            tried(f"make in {text}", (path / "x").touch, possible)
            tried(f"write {text}", lambda: path.open("ab").close(), possible)
            tried(f"chmod {text}", lambda: os.chmod(path, 0o777), possible)
            tried(f"utime {text}", lambda: os.utime(path), possible)
            tried(f"connect {text}", lambda: socket.socket(socket.AF_UNIX).connect(text), possible)
        tried("write the document", lambda: main.open("ab").close(), possible)
        tried("signal the service", lambda: os.kill(SERVICE_PID, 0), possible)
        tried("make beside its folder", (context.folder.parent / "x").touch, possible)
        tried("replace its folder", lambda: os.rename(context.folder, context.folder.parent / "y"),
              possible)
        handle = os.open(context.folder, os.O_RDONLY | os.O_DIRECTORY)
        self.former += [str(main), str(context.folder), f"/proc/self/fd/{handle}"]
        subprocess.Popen(["setsid", "sleep", "86399"])
        if document.name.startswith("slow-"):
            time.sleep(15)
        made = context.new_file("kept.txt", media_type="text/plain", role=Role.METADATA)
        made.path.write_text(document.id)
        return Result(add=[made], facts={
            "possible": possible, "uid": os.getuid(), "groups": os.getgroups(), "pid": os.getpid(),
            "steps": self.steps, "ways": len(ways), "read": len(main.read_bytes()),
        })


@hookimpl
def register_stages(register):
    register(Keeping)
'''
_STAGES = '"classify", "sign", "seal", "replicate"]'
_ENABLED = 'enabled = ["ocr", "classify", "sign", "replicate"'


def keeps_its_worker(world: World) -> str:
    """A kept worker does document after document in an account of its own, and each alone."""
    box = world.box
    main = box.show("archived", "MainPID")
    file = box.root / "etc/archived/plugins/keeping.py"
    file.write_text(KEEPING.replace("PLACES_HERE", "\n".join(PLACES)).replace("SERVICE_PID", main))
    file.chmod(0o644)
    world.edit(
        (f'stages = ["ocr", {_STAGES}', f'stages = ["ocr", "keeping", {_STAGES}'),
        (f"{_ENABLED}]", f'{_ENABLED}, "keeping"]'),
    )
    (box.root / "etc/archived/conf.d/keeping.toml").write_text("[lanes]\nkeeping = 1\n")
    box.run("archivectl", "reload")
    one, two = (_done(world) for _ in range(2))
    if (one["pid"], one["steps"], two["steps"]) != (two["pid"], 1, 2):
        raise ApplianceError(f"the second document had a worker of its own: {one}, {two}")
    lanes = world.ask("status")["daemon"]["accounts"]
    accounts = [uid for lane in lanes.values() for uid in lane.values()]
    if lanes["keeping"].get("keeping") != two["uid"] or accounts.count(two["uid"]) != 1:
        raise ApplianceError(f"its account, {two['uid']}, is not its own: {lanes}")
    if left := box.run("sh", "-c", "pgrep -f '[s]leep 86399' || true").split():
        raise ApplianceError(f"what a step has started goes on: {left}")
    box.run("kill", "-KILL", str(two["pid"]))
    three = _done(world)
    if (three["steps"], three["pid"] == two["pid"]) != (1, False):
        raise ApplianceError(f"a worker that was killed goes on: {three}")
    _kill_within_a_step(world)
    _done(world)
    unit = _unit(world)
    world.edit(
        (f'stages = ["ocr", "keeping", {_STAGES}', f'stages = ["ocr", {_STAGES}'),
        (f'{_ENABLED}, "keeping"]', f"{_ENABLED}]"),
    )
    (box.root / "etc/archived/conf.d/keeping.toml").unlink()
    box.run("archivectl", "reload")
    until(lambda: box.ask("systemctl", "is-active", unit)[0] != 0, 60, f"{unit} ends")
    work = "/var/lib/archived/work"
    until(lambda: "kept-" not in box.run("ls", work), 60, f"no kept worker's folder in {work}")
    return f"user {two['uid']}; {7 * three['ways'] + 4} attempts at once"


def _done(world: World) -> dict[str, Any]:
    """One more document, safe: what the stage found, of which nothing was possible."""
    scans = world.take(1)
    world.send("smb", *scans)
    [document] = world.until_safe(*scans)
    return _judged(document)


def _judged(document: Mapping[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = document["facts"]["keeping"]
    if told["possible"] or told["uid"] not in DYNAMIC or set(told["groups"]) - {told["uid"]}:
        raise ApplianceError(f"a kept worker could: {told}")
    endings = [(s["ending"], s["code"]) for s in document["steps"] if s["stage"] == "keeping"]
    if any(ending not in ("finished", "requeued") for ending, _ in endings):
        raise ApplianceError(f"a worker's end cost a document an attempt: {endings}")
    return told


def _kill_within_a_step(world: World) -> None:
    """Its unit is killed while it works: the document is put back and done again."""
    box = world.box
    [scan] = world.take(1)
    slow = scan.rename(scan.with_name(f"slow-{scan.name}"))
    world.send("smb", slow)

    def works() -> bool:
        running = world.ask("status")["daemon"]["running"]
        return any(each["stage"] == "keeping" for each in running)

    until(works, 120, "the kept worker has a step")
    box.run("systemctl", "kill", "--signal=KILL", _unit(world))
    [document] = world.until_safe(slow)
    _judged(document)
    if "requeued" not in [s["ending"] for s in document["steps"] if s["stage"] == "keeping"]:
        raise ApplianceError("its unit was not killed while it worked")


def _unit(world: World) -> str:
    """Which unit's processes have the account of the kept worker."""
    uid = world.ask("status")["daemon"]["accounts"]["keeping"]["keeping"]
    for line in world.box.run("ps", "-eo", "uid=,unit=").splitlines():
        found, unit = line.split(None, 1)
        if int(found) == uid:
            return unit.strip()
    raise ApplianceError(f"no process has the account {uid}")
