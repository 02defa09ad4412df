"""Steps in accounts of their own: what the account alone holds, and that the work is the same.

As root: the service, its steps and each fork server have user ids of their own. Where a test says
so Landlock is switched off in the steps, so that what holds is the account.
"""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from archived.api import Artifact, Role
from archived.engine.protocol import StepDocument, StepLimits, StepRequest
from archived.engine.worker.handover import closed_to_us, hand_over, secrets_of, without_secrets
from tests.system.accounts.service_machine import FIRST, Machine, Manager, Service, machine

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="user ids are root's to give")

PLUGIN = """
import os, resource, signal, socket, tempfile, time
from pathlib import Path
from archived.api import *


class Options(StageConfig):
    do: str = "look"
    paths: tuple[str, ...] = ()
    pid: int = 0
    key: SecretRef | None = None
    export: Path | None = None


def tried(call):
    try:
        call()
    except OSError as error:
        return error.strerror
    return "DONE"


class Look(Stage[Options]):
    name = "look"
    version = "1"
    writes = ("export",)

    def run(self, document, context):
        return getattr(self, context.options.do.replace("-", "_"))(document, context)

    def look(self, document, context):
        note = context.new_file("a.txt", media_type="text/plain", role=Role.TEXT)
        note.path.write_text(document.main.path.read_text())
        mode = os.stat(document.main.path)
        return Result(replace_main=note, facts={
            "uid": os.getuid(), "groups": os.getgroups(), "text": document.main.path.read_text(),
            "path": str(document.main.path), "inode": mode.st_ino,
            "environment": sorted(os.environ),
        })

    def attack(self, document, context):
        found = {}
        for text in context.options.paths:
            path = Path(text)
            found[text] = {
                "list": tried(lambda: os.listdir(path)),
                "read": tried(path.read_bytes),
                "make": tried((path / "x").touch),
                "write": tried(lambda: path.open("ab").close()),
                "mode": tried(lambda: os.chmod(path, 0o777)),
                "owner": tried(lambda: os.chown(path, os.getuid(), -1)),
                "times": tried(lambda: os.utime(path)),
                "attribute": tried(lambda: os.setxattr(path, "user.x", b"1")),
                "remove": tried(lambda: path.rename(path.with_name("moved"))),
                "connect": tried(lambda: socket.socket(socket.AF_UNIX).connect(text)),
            }
        main = document.main.path
        found["main"] = {
            "write": tried(lambda: main.open("ab").close()),
            "mode": tried(lambda: os.chmod(main, 0o666)),
        }
        pid = context.options.pid
        found["service"] = {
            "signal": tried(lambda: os.kill(pid, 0)),
            "limits": tried(lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE, (9, 9))),
            "memory": tried(lambda: open(f"/proc/{pid}/mem", "rb").close()),
            "environment": tried(lambda: open(f"/proc/{pid}/environ", "rb").read()),
        }
        return Result(facts={"found": found})

    def secret(self, document, context):
        return Result(facts={
            "uid": os.getuid(), "key": context.options.key.read_text(),
            "again": context.options.key.read_text(),
            "itself": tried(context.options.key.path().read_bytes),
        })

    def uid(self, document, context):
        return Result(facts={"uid": os.getuid(), "pid": os.getpid()})

    def closed(self, document, context):
        handle, name = tempfile.mkstemp(dir=context.folder, suffix=".txt")
        os.write(handle, b"made closed")
        os.close(handle)
        made = context.new_file("b.txt", media_type="text/plain", role=Role.TEXT)
        os.rename(name, made.path)
        private = tempfile.mkdtemp(dir=context.folder)
        Path(private, "left").write_text("of the step")
        return Result(replace_main=made)

    def shut(self, document, context):
        inner = context.folder / "one" / "two"
        inner.mkdir(parents=True)
        (inner / "left").write_text("of the step")
        for path in (inner / "left", inner, inner.parent):
            os.removexattr(path, "system.posix_acl_access")
            path.chmod(0)
        os._exit(3)

    def give_input(self, document, context):
        inside = document.main.path.relative_to(context.folder)
        return Result(add=[Artifact(document.main.path, "a.txt", "text/plain", Role.TEXT)])

    def hang(self, document, context):
        Path(tempfile.mkdtemp(dir=context.folder), "left").write_text("of the step")
        (context.folder / "pid").write_text(str(os.getpid()))
        time.sleep(1000)

    def wait(self, document, context):
        until = time.monotonic() + 60
        while not Path(context.options.paths[0]).exists() and time.monotonic() < until:
            time.sleep(0.01)
        return self.uid(document, context)


class Sign(Look):
    name = "sign"
    version = "1"


class Export(Look):
    name = "export"
    version = "1"

    def look(self, document, context):
        (context.options.export / "copy.txt").write_text(document.main.path.read_text())
        return Result(facts={"uid": os.getuid()})


@hookimpl
def register_stages(register):
    register(Look), register(Sign), register(Export)
"""


@pytest.fixture
def place():
    with machine() as made:
        (made.root / "plugin.py").write_text(PLUGIN)
        yield made


def _sources(place: Machine) -> list[dict[str, str]]:
    return [{"name": "look", "file": str(place.root / "plugin.py")}]


def _request(place: Machine, do: str, *, stage: str = "look", seconds: float = 60, **options):
    place.steps += 1
    original = Artifact(place.original, "0001.txt", "text/plain", Role.ORIGINAL, "ab" * 64, 11)
    spec = StepDocument(f"d-{place.steps}", datetime.now(UTC), "scans", "T.txt", (original,))
    return StepRequest(
        step=f"step-{place.steps}",
        stage=stage,
        options={"do": do, **options},
        document=spec,
        folder=place.latest,
        deadline=datetime.now(UTC) + timedelta(seconds=seconds),
        limits=StepLimits(),
    ).to_json()


def test_a_step_has_an_account_of_its_own_and_does_its_work(place):
    with Manager(place.workers), Service(place, _sources(place)) as service:
        done = service.run(_request(place, "look"))
    assert service.started == {"": FIRST}
    assert (done["ending"], done["made"]) == ("finished", ["text/a.txt"]), done
    facts = done["facts"]
    assert (facts["uid"], facts["groups"], facts["text"]) == (FIRST, [], "as received")
    assert facts["inode"] == place.original.stat().st_ino, "a link: not one byte was copied"
    assert Path(facts["path"]).name == "0001.txt"
    assert not {"NOTIFY_SOCKET", "LISTEN_FDS", "PYTHONDEBUG"} & set(facts["environment"])


def test_the_account_alone_holds_what_the_service_owns(place):
    """With Landlock off: permissions, not rules, refuse."""
    with (
        Manager(place.workers, landlock=False),
        Service(place, _sources(place)) as one,
        Service(place, _sources(place), lane="other") as two,
    ):
        two.ask(_request(place, "wait", paths=[str(place.root / "go")]))
        beside = place.latest
        _until((beside / ".tmp").exists, "the other lane's step runs")
        paths = [
            place.catalog,
            place.state,
            place.store,
            place.sealed,
            place.secret,
            place.control,
            place.original,
            place.spool,
            place.workers,
            beside,
            beside / ".input",
            beside / ".tmp",
        ]
        done = one.run(_request(place, "attack", paths=list(map(str, paths)), pid=one.process.pid))
        (place.root / "go").touch()
        assert two.answer()["facts"]["uid"] == FIRST + 1
    found = done["facts"]["found"]
    possible = {
        (about, what)
        for about, each in found.items()
        for what, how in each.items()
        if how == "DONE"
    }
    assert possible == set(), possible
    assert {"Permission denied", "Operation not permitted"} >= {
        how for what, how in found["service"].items()
    }
    assert stat.S_IMODE(place.secret.stat().st_mode) == 0o600


def test_what_the_account_is_refused_its_owner_is_not(place):
    """Else the test above would pass whatever holds."""
    code = (
        "import os, socket, sys; c, k, s, w = sys.argv[1:]; open(c, 'ab'); open(k).read();"
        "os.chmod(k, 0o640); os.chmod(k, 0o600); socket.socket(1).connect(s); os.listdir(w)"
    )
    paths = [place.catalog, place.secret, place.control, place.store]
    subprocess.run(
        [sys.executable, "-c", code, *paths],
        user="daemon",
        group="daemon",
        extra_groups=[],
        check=True,
    )


def test_an_account_that_is_the_services_is_none(place, capfd):
    """A unit that was given `User=archived`, say: nothing runs, and the sentence says why."""
    with (
        Manager(place.workers, account=place.catalog.stat().st_uid),
        pytest.raises(AssertionError, match="ended"),
    ):
        Service(place, _sources(place))
    assert "which is no account of its own" in capfd.readouterr().err


def test_a_secret_goes_to_the_stage_whose_options_name_it_and_to_no_other(place):
    accounts = {"sign": "own"}
    reference = {"credential": None, "file": str(place.secret)}
    with (
        Manager(place.workers, landlock=False),
        Service(place, _sources(place), accounts=accounts, preload=["look", "sign"]) as service,
    ):
        signed = service.run(_request(place, "secret", stage="sign", key=reference))
        assert signed["ending"] == "finished", signed
        looked = service.run(_request(place, "uid"))
        tried = service.run(_request(place, "attack", paths=[str(place.secret)], pid=1))
    facts = signed["facts"]
    assert (facts["key"], facts["again"]) == ("the key", "the key")
    assert facts["itself"] == "Permission denied", "it is given open, and cannot be opened"
    assert facts["uid"] != looked["facts"]["uid"], "no other stage's step has that account"
    assert tried["facts"]["found"][str(place.secret)]["read"] == "Permission denied"


def test_a_secret_that_others_may_read_is_refused_as_ever(place):
    place.secret.chmod(0o644)
    reference = {"credential": None, "file": str(place.secret)}
    with Manager(place.workers), Service(place, _sources(place)) as service:
        done = service.run(_request(place, "secret", key=reference))
    assert (done["ending"], done["code"]) == ("failed", "stage-error")
    assert "others may read this secret" in done["message"]


def test_a_stage_that_writes_to_the_services_folders_has_the_services_account(place):
    export = place.root / "export"
    export.mkdir()
    os.chown(export, place.catalog.stat().st_uid, -1)
    with (
        Manager(place.workers) as manager,
        Service(place, _sources(place), accounts={"export": "service"}, preload=["export"]) as s,
    ):
        done = s.run(_request(place, "look", stage="export", export=str(export)))
    assert done["facts"]["uid"] == place.catalog.stat().st_uid, done
    assert (export / "copy.txt").read_text() == "as received"
    assert manager.fork_servers == [], "none was needed"


def test_what_a_step_made_closed_comes_back(place):
    with Manager(place.workers), Service(place, _sources(place)) as service:
        done = service.run(_request(place, "closed"))
        folder = place.latest
        assert (done["ending"], done["made"]) == ("finished", ["text/b.txt"]), done
        _removable(folder)


def test_what_a_step_shut_against_the_service_can_be_removed_all_the_same(place):
    with Manager(place.workers), Service(place, _sources(place)) as service:
        done = service.run(_request(place, "shut"))
        folder = place.latest
        assert done["ending"] == "failed"
        _removable(folder)


def _removable(folder: Path) -> None:
    """By the service's user."""
    code = "import shutil, sys; shutil.rmtree(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        user="daemon",
        check=True,
        group="daemon",
        extra_groups=[],
    )
    assert not folder.exists()


def test_an_input_is_no_output(place):
    with Manager(place.workers), Service(place, _sources(place)) as service:
        done = service.run(_request(place, "give-input"))
    assert (done["ending"], done["code"]) == ("failed", "bad-output"), done
    assert place.original.read_text() == "as received"


def test_a_timeout_kills_the_step_though_the_service_cannot(place):
    with Manager(place.workers), Service(place, _sources(place)) as service:
        done = service.run(_request(place, "hang", seconds=1))
        pid = int((place.latest / "pid").read_text())
        assert (done["ending"], done["code"]) == ("failed", "timed-out"), done
        assert not Path(f"/proc/{pid}").exists()
        assert service.run(_request(place, "look"))["ending"] == "finished", "the lane goes on"


def test_a_fork_server_that_is_killed_costs_nobody_an_attempt(place):
    with (
        Manager(place.workers, work=place.work) as manager,
        Service(place, _sources(place)) as service,
    ):
        service.ask(_request(place, "hang"))
        folder = place.latest
        pid = _pid(folder)
        manager.fork_servers[0].kill()
        done = service.answer()
        assert (done["ending"], done["code"]) == ("requeued", "runner-lost"), done
        _gone(pid)
        _removable(folder)
        again = service.run(_request(place, "look"))
        assert again["ending"] == "finished"
        assert again["separate"] == {"": FIRST + 1}, "it has another account"


def test_when_the_service_is_killed_its_steps_end(place):
    with Manager(place.workers) as manager:
        service = Service(place, _sources(place))
        service.ask(_request(place, "hang"))
        pid = _pid(place.latest)
        service.process.send_signal(signal.SIGKILL)
        service.process.wait()
        manager.fork_servers[0].wait(20)
        _gone(pid)
        service.process.stdin.close()
        service.process.stdout.close()


def _pid(folder: Path) -> int:
    pid = folder / "pid"
    _until(lambda: pid.exists() and pid.read_text(), "the step runs")
    return int(pid.read_text())


def _gone(pid: int) -> None:
    _until(lambda: not Path(f"/proc/{pid}").exists(), "the step's process is gone")


def _until(condition, what: str) -> None:
    ends = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < ends, what
        time.sleep(0.01)


def test_nobody_but_the_service_gets_a_fork_server(place):
    code = "import socket, sys; line = socket.socket(1, 5); line.connect(sys.argv[1])"

    def connect() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code, str(place.workers)],
            check=False,
            user="nobody",
            group="nogroup",
            extra_groups=[],
            capture_output=True,
            text=True,
        )

    with Manager(place.workers) as manager:
        assert "PermissionError" in connect().stderr
        place.workers.chmod(0o666)  # and were its mode wrong, the other end looks who is there
        assert connect().returncode == 0
        _until(lambda: manager.fork_servers, "somebody was let in")
        assert manager.fork_servers[0].wait(20) == 1


def test_what_handing_over_and_back_costs_a_step(place, record_property):
    """The calls themselves, at best: the machine may be busy with others."""
    took = []
    for _ in range(40):
        request = _request(place, "look")
        place.latest.mkdir(mode=0o700)
        began = time.perf_counter()
        handed = hand_over({"folder": str(place.latest), "request": request}, FIRST)
        (place.latest / ".tmp").mkdir()
        assert not closed_to_us(place.latest)
        handed.close()
        took.append((time.perf_counter() - began) * 1000)
    record_property("ms", min(took))
    assert min(took) < 3, f"{min(took):.2f} ms"


def test_a_sealed_object_is_handed_over_as_a_storage_root_with_nothing_else_in_it(place):
    ocfl, key = place.store / "ocfl", "abc/def/urn"
    (ocfl / key / "v1/content/text").mkdir(parents=True)
    (ocfl / "0=ocfl_1.1").write_text("ocfl_1.1")
    (ocfl / "abc/other").mkdir()
    (ocfl / "abc/other/secret").write_text("of another document")
    main = ocfl / key / "v1/content/text/document.txt"
    main.write_text("sealed")
    main.chmod(0o440)
    request = _request(place, "look")
    request["document"]["artifacts"][0]["path"] = str(main)
    request["document"]["sealed"] = {"root": str(ocfl / key), "key": key}
    place.latest.mkdir()
    handed = hand_over({"folder": str(place.latest), "request": request}, FIRST)
    document = handed.job["request"]["document"]
    given = Path(document["sealed"]["root"])
    assert given.is_relative_to(place.latest)
    assert str(given).endswith(f"/ocfl/{key}")
    there = Path(document["artifacts"][0]["path"])
    assert there == given / "v1/content/text/document.txt"
    assert there.samefile(main)
    names = {path.name for path in place.latest.rglob("*") if path.is_file()}
    assert names == {"0=ocfl_1.1", "document.txt"}
    assert request["document"]["sealed"]["root"] == str(ocfl / key), "the request is as it was"


def test_options_are_told_without_the_secrets_that_are_given_open():
    key, other = {"credential": None, "file": "/a"}, {"credential": None, "file": "/b"}
    options = {"key": key, "tsa": [{"password": other, "url": "u"}], "n": 1}
    assert list(secrets_of(options)) == [key, other]
    told = without_secrets(options, ["/a"])
    assert told == {"key": None, "tsa": [{"password": other, "url": "u"}], "n": 1}
