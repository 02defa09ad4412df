"""Has one step of the plug-in `taken_over` run, and prints what came of it: JSON.

A program of its own, so that it can be an ordinary user's. The argument is what is asked, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from archived.api import Artifact, Role
from archived.engine.protocol import StepDocument, StepLimits, StepRequest
from archived.engine.worker.runner import LocalRunner

asked = json.loads(sys.argv[1])


def request(place, step, do, limits=None, name="a", **options):
    now = datetime.now(UTC)
    original = Artifact(place / "given", name, "text/plain", Role.ORIGINAL, "ab" * 64, 1)
    folder = place / "work" / step
    folder.mkdir(parents=True)
    return StepRequest(
        step,
        asked.get("stage", "taken"),
        {"do": do, **options},
        StepDocument("doc-" + step, now, "scans", name, (original,)),
        folder,
        now + timedelta(seconds=90),
        limits=limits or StepLimits(),
    )


def state(pid, place):
    files = {}
    for path in [*sorted((place / "other").iterdir()), place / "given"]:
        status = path.stat()
        files[path.name] = [oct(status.st_mode), status.st_uid, status.st_mtime, os.listxattr(path)]
    limits = [resource.prlimit(pid, kind) for kind in (0, 1, 7, 9)]
    runs = [
        os.sched_getscheduler(pid),
        sorted(os.sched_getaffinity(pid)),
        os.getpriority(os.PRIO_PROCESS, pid),
    ]
    return [files, limits, runs]


async def main(place):
    (place / "given").write_text("as received")
    (place / "other").mkdir()
    for name in ("key", "catalog"):
        (place / "other" / name).write_text("of the service")
        (place / "other" / name).chmod(0o600)
        os.setxattr(place / "other" / name, "user.kept", b"1")
    bystander = subprocess.Popen(["sleep", "300"], start_new_session=True)  # noqa: ASYNC220
    runner = LocalRunner(
        "cpu", 3, [{"name": "taken", "file": str(Path(__file__).with_name("taken_over.py"))}]
    )
    await runner.start()
    before = state(bystander.pid, place)
    try:
        if asked["do"] == "remembered":
            words = [["NGUYEN", "VANAN"], ["FACTOF", "ANOTHER"]]
            said = {"words": [["".join(w), ""] for w in words], "folder": str(place / "other")}
            first = runner.run(request(place, "first", "say", name="NAMEOF" + "ANOTHER", **said))
            running = asyncio.create_task(first)
            while not (place / "work/first/said").exists():  # noqa: ASYNC110 - another process's
                await asyncio.sleep(0.01)
            marks = {"words": [*words, ["NAMEOF", "ANOTHER"]]}
            facts = [(await runner.run(request(place, "second", "remembered", **marks))).facts]
            (place / "other" / "enough").touch()
            await running
            facts.append((await runner.run(request(place, "third", "remembered", **marks))).facts)
            own = {"words": [["OWN", "WORD"]], "folder": "OWN" + "WORD"}
            facts.append((await runner.run(request(place, "own", "remembered", **own))).facts)
            print(json.dumps(facts))
            return
        limits = StepLimits(**asked.get("limits", {}))
        done = await runner.run(
            request(
                place,
                "step",
                asked["do"],
                limits,
                pid=bystander.pid,
                folder=str(place / "other"),
                given=str(place / "given"),
            ),
            on_log=lambda text: print(text, file=sys.stderr),
        )
        alive = bystander.poll() is None
        same = alive and state(bystander.pid, place) == before
        print(
            json.dumps(
                [
                    str(done.ending),
                    done.message,
                    done.facts,
                    list(done.notes),
                    same,
                    dict(runner.confinement),
                ]
            )
        )
    finally:
        bystander.kill()
        bystander.wait()
        await runner.stop()


with tempfile.TemporaryDirectory(prefix="archived-contained-", dir="/tmp") as place:
    asyncio.run(main(Path(place).resolve()))
