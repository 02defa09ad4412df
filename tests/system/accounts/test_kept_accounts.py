"""A kept worker in an account of its own: one process, and the account alone holds as well.

As root, like test_accounts.py. Where a test says so Landlock is switched off.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from archived.api import Artifact, Role
from archived.engine.protocol import StepDocument, StepLimits, StepRequest
from tests.system.accounts.service_machine import FIRST, Machine, Manager, Service, machine

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="user ids are root's to give")

PLUGIN = """
import os, tempfile, time
from pathlib import Path
from archived.api import *
from archived.engine.worker import kept_child

kept_child.KeptConnection._holds_files = lambda _: False  # as one that was taken over


class Options(StageConfig):
    key: SecretRef | None = None


def tried(call):
    try:
        call()
    except OSError as error:
        return error.strerror
    return "DONE"


class Kept(Stage[Options]):
    name = "kept"
    version = "1"
    needs = Needs(worker="kept")

    def __init__(self):
        self.steps, self.seen, self.held = 0, [], []

    def run(self, document, context):
        self.steps += 1
        facts = {"uid": os.getuid(), "pid": os.getpid(), "steps": self.steps}
        done = getattr(self, document.given["do"])(document, context, document.given) or {}
        self.seen.append((document.main.path, context.folder))
        return done if isinstance(done, Result) else Result(facts={**facts, **done})

    def look(self, document, context, given):
        if context.options.key is not None:
            return {"key": context.options.key.read_text()}
        return {"text": document.main.path.read_text()}

    def make_closed(self, document, context, given):
        handle, name = tempfile.mkstemp(dir=context.folder, suffix=".txt")
        os.write(handle, b"made closed")
        os.close(handle)
        made = context.new_file("b.txt", media_type="text/plain", role=Role.TEXT)
        os.rename(name, made.path)
        tempfile.mkdtemp(dir=context.folder)
        return Result(replace_main=made)

    def shut(self, document, context, given):
        inner = context.folder / "one" / "two"
        inner.mkdir(parents=True)
        (inner / "left").write_text("of the step")
        for path in (inner / "left", inner, inner.parent):
            path.chmod(0)

    def keep(self, document, context, given):
        (context.folder / "mine").write_text("secret")
        self.held.append(os.open(context.folder, os.O_RDONLY | os.O_DIRECTORY))

    def former(self, document, context, given):
        main, folder = self.seen[-1]
        work = Path(given["work"])
        return {"found": {
            "document": tried(main.read_bytes),
            "folder": tried(lambda: os.listdir(folder)),
            "where it is now": tried(lambda: (work / folder.name / ".left/mine").read_bytes()),
            "its document now": tried(lambda: os.listdir(work / folder.name / ".input")),
            "its folder now": tried(lambda: os.listdir(work / folder.name)),
            "beside its folder": tried(lambda: (context.folder.parent / "note").touch()),
            "beside its document": tried(lambda: (document.main.path.parent / "n").touch()),
            "a folder for the next": tried(lambda: (context.folder.parent / "next").mkdir()),
            "write the document": tried(lambda: document.main.path.open("ab")),
            "mode of the document": tried(lambda: document.main.path.chmod(0o666)),
            "remove the document": tried(document.main.path.unlink),
            "the spool": tried(lambda: Path(given["spooled"]).read_bytes()),
        }}

    def hang(self, document, context, given):
        (context.folder / "pid").write_text(str(os.getpid()))
        time.sleep(1000)


@hookimpl
def register_stages(register):
    register(Kept)
"""


@pytest.fixture
def place():
    with machine() as made:
        (made.root / "plugin.py").write_text(PLUGIN)
        yield made


def sources(place: Machine) -> list[dict[str, str]]:
    return [{"name": "kept", "file": str(place.root / "plugin.py")}]


def request(place: Machine, do: str, *, seconds: float = 60, options: dict | None = None, **given):
    place.steps += 1
    original = Artifact(place.original, "0001.txt", "text/plain", Role.ORIGINAL, "ab" * 64, 11)
    spec = StepDocument(
        f"d-{place.steps}",
        datetime.now(UTC),
        "scans",
        "T.txt",
        (original,),
        given={"do": do, **given},
    )
    return StepRequest(
        step=f"step-{place.steps}",
        stage="kept",
        options=options or {},
        document=spec,
        folder=place.latest,
        deadline=datetime.now(UTC) + timedelta(seconds=seconds),
        limits=StepLimits(),
        kept=True,
    ).to_json()


def service(place: Machine) -> Service:
    return Service(place, sources(place), accounts={"kept": "own"}, preload=["kept"])


def test_it_has_an_account_of_its_own_and_does_many_steps(place):
    with Manager(place.workers), service(place) as one:
        found = [one.run(request(place, "look")) for _ in range(5)]
    assert [each["ending"] for each in found] == ["finished"] * 5, found
    facts = [each["facts"] for each in found]
    assert {each["uid"] for each in facts} == {FIRST}
    assert len({each["pid"] for each in facts}) == 1
    assert {each["text"] for each in facts} == {"as received"}


def test_the_account_alone_keeps_it_from_former_documents(place):
    """With Landlock off: permissions, not rules, refuse."""
    with Manager(place.workers, landlock=False), service(place) as one:
        before = one.run(request(place, "keep"))
        assert before["ending"] == "finished", before
        done = one.run(request(place, "former", work=str(place.work), spooled=str(place.original)))
    assert done["ending"] == "finished", done
    assert done["facts"]["pid"] == before["facts"]["pid"]
    found = done["facts"]["found"]
    assert len(found) == 12
    assert "DONE" not in found.values(), found
    assert place.original.read_text() == "as received"
    assert stat.S_IMODE(place.original.stat().st_mode) & 0o222 == 0


def test_what_it_made_closed_comes_back_and_what_it_shut_can_be_removed(place):
    with Manager(place.workers), service(place) as one:
        made = one.run(request(place, "make_closed"))
        folder = place.latest
        assert (made["ending"], made["made"]) == ("finished", ["text/b.txt"]), made
        copy = folder / "text" / "b.txt"
        assert copy.read_text() == "made closed"
        assert copy.stat().st_uid == place.catalog.stat().st_uid, "nothing kept is the account's"
        shut = one.run(request(place, "shut"))
        assert shut["ending"] == "finished", shut
        assert not _closed_to_the_service(place.latest)
        assert not _closed_to_the_service(folder)
        assert one.run(request(place, "look"))["facts"]["steps"] == 3


def test_its_secrets_are_given_open_with_each_step(place):
    key = {"key": {"credential": None, "file": str(place.secret)}}
    with Manager(place.workers, landlock=False), service(place) as one:
        first = one.run(request(place, "look", options=key))
        place.secret.write_text("the key, renewed")
        second = one.run(request(place, "look", options=key))
    assert (first["facts"]["key"], second["facts"]["key"]) == ("the key", "the key, renewed")
    assert first["facts"]["pid"] == second["facts"]["pid"]


def test_at_its_deadline_it_is_killed_though_the_service_cannot(place):
    with Manager(place.workers), service(place) as one:
        one.run(request(place, "look"))
        done = one.run(request(place, "hang", seconds=2))
        assert (done["ending"], done["code"]) == ("failed", "timed-out"), done
        pid = int((place.latest / ".left" / "pid").read_text())
        assert not Path(f"/proc/{pid}").exists()
        assert one.run(request(place, "look"))["facts"]["steps"] == 1


def _closed_to_the_service(folder: Path) -> bool:
    """Whether the service's user cannot remove it."""
    code = "import shutil, sys; shutil.rmtree(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        user="daemon",
        check=False,
        group="daemon",
        extra_groups=[],
        capture_output=True,
    )
    return done.returncode != 0
