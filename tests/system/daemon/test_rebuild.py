"""The store is enough: a catalog that is gone is made from it, and lacks nothing that lasts."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from archived.daemon.state_folder import only_one
from archived.model.ids import object_id
from archived.storage.catalog import Catalog
from archived.storage.ocfl import layout
from archived.storage.ocfl.store import Store
from archived.testing import invariants

Wait = Callable[..., Any]

CUTTER = '''
from pathlib import Path

from archived.api import *


class Cutter(Stage[StageConfig]):
    name = "cutter"
    version = "1"

    def run(self, document, context):
        """Cuts a text of several lines that begins with CUT into one document for each line."""
        lines = document.main.path.read_text().splitlines()
        if lines[0] != "CUT":
            return Result(facts={"fields": {"title": {"value": "tờ trình " + lines[0]}}})
        parts = []
        for number, line in enumerate(lines[1:], start=1):
            file = context.new_part(f"{number}.txt", media_type="text/plain")
            file.path.write_text(line + "\\n")
            parts.append(Part(file, f"{document.name} {number}", facts={"line": number}))
        return Result(parts=parts)


class Options(StageConfig):
    folder: str
    """Where `go` is looked for."""


class Waiter(Stage[Options]):
    name = "waiter"
    version = "1"
    reads = ("folder",)

    def run(self, document, context):
        """Lets a text that begins with WAIT pass once there is a file `go`."""
        waits = document.main.path.read_text().startswith("WAIT")
        if waits and not Path(context.options.folder, "go").exists():
            raise Postpone("there is no `go`", code="no-go")
        return Result()


@hookimpl
def register_stages(register):
    register(Cutter)
    register(Waiter)
'''

LASTING = {
    "document": "id, hotfolder, name, path, media_type, size, secrecy, priority, pipeline, stages,"
    "copies, received, object_key, object_version, inventory_sha512, pages, origin,"
    "dossier, given, collation, owner, master",
    "artifact": "document, role, name, media_type, size, sha512, sha256, step, main",
    "step": "id, document, position, stage, attempt, version, distribution, options_digest,"
    "started, ended, ending, code, message, coalesce(nullif(facts, 'null'), '{}'),"
    "coalesce(nullif(tools, 'null'), '{}'), coalesce(nullif(notes, 'null'), '[]')",
    "arrival": "hotfolder, path, name, state, present, size, mtime_ns, sha256, document,"
    "first_seen, ended, origin",
    "words": "document, name, facts, body",
}
"""Table -> columns of it that an archive must know of its documents, catalog or no catalog."""

KEPT = ("state", "store", "second")
"""The folders of an archive whose daemon has ended."""


@pytest.fixture
def archive(box: Any) -> Any:
    """A daemon with a second copy, a stage that cuts, and dossiers with tickets."""
    box.plugin("cutter", CUTTER)
    box.tables["plugins"]["enabled"].append("replicate")
    box.tables["pipeline.paper"]["stages"] = ["stamp", "cutter", "waiter", "seal", "replicate"]
    box.tables["stage.waiter"] = {"folder": box.hot("signals")}
    box.tables["stage.replicate"] = {"to": ["second"]}
    box.tables["target.second"] = {
        "kind": "directory",
        "path": box.hot("second"),
        "allow_same_filesystem": True,
    }
    box.tables["hotfolder.dossiers"] = {
        "path": box.hot("dossiers"),
        "pipeline": "paper",
        "dossiers": True,
        "closed_by": ["ticket"],
        "owner": "Sở Nội vụ",
        "device": "máy quét 2",
        "priority": 3,
    }
    return box


def _give_a_dossier(box: Any) -> None:
    folder = box.hot("dossiers") / "HS-7"
    folder.mkdir()
    for name in ("1.txt", "2.txt", "3.txt"):
        (folder / name).write_text(f"Hồ sơ 7, tờ {name}\n")
    (folder / "ticket.json").write_text(
        json.dumps(
            {
                "dossier": "HS-7",
                "title": "Đơn xin cấp đất",
                "files": [
                    {"path": "1.txt", "document": "letter"},
                    {"path": "2.txt", "document": "letter"},
                    {"path": "3.txt"},
                ],
            }
        )
    )


def _rest(box: Any, until: Wait, count: int) -> None:
    until(
        lambda: list(box.states().values()).count("safe") == count,
        "all are safe",
        else_show=box.documents,
    )


def _lasting(box: Any, only: frozenset[str] | None = None) -> dict[str, list[Any]]:
    """What the catalog says of documents: everything that the store is to bring back."""
    found = {}
    with closing(sqlite3.connect(box.folder / "state" / "catalog.db")) as db:
        for table, columns in LASTING.items():
            # After the seal nothing is added to an object: what copies it is done again.
            sealed = "WHERE stage NOT IN ('seal', 'replicate')" if table == "step" else ""
            rows = db.execute(f"SELECT {columns} FROM {table} {sealed}").fetchall()
            found[table] = sorted(
                (row for row in rows if only is None or only & set(row)), key=repr
            )
    return found


def _lose(box: Any) -> Path:
    """The catalog is gone; returns where it was put aside."""
    aside: Path = box.folder / "aside"
    aside.mkdir()
    for part in (box.folder / "state").glob("catalog.db*"):
        part.rename(aside / part.name)
    return aside


def _rebuild(box: Any, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [box.command()[0], "--json", "--config", str(box.config), "rebuild"]
    return subprocess.run(
        command, capture_output=True, text=True, env=os.environ | environment, check=False
    )


def _problems(box: Any) -> list[str]:
    return invariants.problems(box.folder / "state", box.folder / "store")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test that wants the archive below keeps a copy of it for the others."""
    return tmp_path_factory.mktemp("built")


@pytest.fixture
def full(archive: Any, until: Wait, built: Path) -> Any:
    """Seven safe documents: single ones, a dossier, one that was cut; its daemon has ended."""
    if not any(built.iterdir()):
        archive.start()
        archive.drop("Quyết định số 12.txt", "2.txt")
        archive.drop("stack.txt", text="CUT\nmột\nhai\n")
        _give_a_dossier(archive)
        _rest(archive, until, 7)
        assert archive.end(signal.SIGTERM) == 0
        for name in KEPT:
            shutil.copytree(archive.folder / name, built / name, copy_function=shutil.copy2)
    else:
        archive.write()
        for name in KEPT:
            shutil.copytree(built / name, archive.folder / name, dirs_exist_ok=True)
    return archive


def test_what_the_catalog_knew_of_documents_is_the_same_when_it_was_made_from_the_store(
    full: Any, until: Wait
) -> None:
    before = _lasting(full)
    ledger = full.rows("SELECT sequence, hash FROM ledger")
    _lose(full)

    done = _rebuild(full)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["objects"], said["found"], said["unreadable"]) == (7, 7, {})
    named = said["before"]
    assert (named["sequence"], named["hash"]) in ledger, "it names a place in the lost ledger"
    after = _lasting(full)
    for table, rows in before.items():
        assert after[table] == rows, table
    assert set(full.states().values()) == {"sealed"}, "no copy is called verified unseen"

    copies = {p: p.stat().st_mtime_ns for p in (full.folder / "second").rglob("*") if p.is_file()}
    full.start()
    _rest(full, until, 7)
    assert {p: p.stat().st_mtime_ns for p in copies} == copies, "they were read, not written again"
    full.drop("2.txt", text="the words of 2.txt\n")  # the same bytes once more
    until(lambda: not (full.hot() / "2.txt").exists(), "joined to the document that has it")
    assert full.end(signal.SIGTERM) == 0
    assert _problems(full) == []
    assert len(full.states()) == len(before["document"]) - _of_one_name(before)


def _of_one_name(before: dict[str, list[Any]]) -> int:
    names = [row[2] for row in before["document"]]
    return len(names) - len(set(names))


def test_what_is_in_the_spool_when_the_catalog_is_lost_goes_on_from_there(
    archive: Any, until: Wait
) -> None:
    archive.start()
    archive.drop("done.txt")
    archive.drop("waits.txt", text="WAIT\n")
    archive.drop("stack.txt", text="CUT\nmột\nWAIT\n")
    until(
        lambda: (
            archive.states()
            == {
                "done.txt": "safe",
                "waits.txt": "waiting",
                "stack.txt": "divided",
                "stack.txt 1": "safe",
                "stack.txt 2": "waiting",
            }
        ),
        "as far as they get",
        else_show=archive.documents,
    )
    assert archive.end(signal.SIGKILL) == -signal.SIGKILL
    assert not list(archive.hot().glob("*.txt")), "they are in custody alone"
    _lose(archive)

    assert _rebuild(archive).returncode == 0
    (archive.folder / "signals" / "go").touch()
    archive.start()
    archive.sealed("done.txt", "waits.txt")
    # Cut again it would be there twice; a person looks. Its second part is still in its bytes.
    until(lambda: archive.documents().get("stack.txt", "")[:2] == ("held", "parts-found"), "held")
    _rest(archive, until, 3)
    assert set(archive.states()) == {"done.txt", "waits.txt", "stack.txt", "stack.txt 1"}
    assert archive.end(signal.SIGTERM) == 0
    assert _problems(archive) == []


def test_a_restored_backup_is_told_what_was_sealed_since(
    archive: Any, gate: Path, until: Wait
) -> None:
    archive.tables["pipeline.paper"]["stages"] = ["gate", "seal", "replicate"]
    archive.start()
    archive.drop("in work.txt")
    until((gate / "began-in work.txt").exists, "it is in work")
    with (
        closing(sqlite3.connect(archive.folder / "state" / "catalog.db")) as live,
        closing(sqlite3.connect(archive.folder / "backup.db")) as backup,
    ):
        live.backup(backup)
    (gate / "open").touch()
    archive.drop("arrived since.txt")
    _rest(archive, until, 2)
    assert archive.end(signal.SIGTERM) == 0
    before = _lasting(archive)
    _lose(archive)
    shutil.copy(archive.folder / "backup.db", archive.folder / "state" / "catalog.db")

    done = _rebuild(archive)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["found"], said["settled"]) == (1, 1)
    assert _lasting(archive) == before
    again = json.loads(_rebuild(archive).stdout)
    assert (again["found"], again["settled"]) == (0, 0), "doing it twice does nothing twice"
    archive.start()
    _rest(archive, until, 2)
    assert archive.end(signal.SIGTERM) == 0
    assert _problems(archive) == []


def test_an_object_that_cannot_be_believed_is_named_and_the_others_are_taken_up(full: Any) -> None:
    (damaged, foreign, other, *_), keys = _objects(full)
    record = full.folder / "store" / "ocfl" / keys[damaged] / "v1/content/metadata/record.json"
    record.chmod(0o644)
    record.write_bytes(record.read_bytes().replace(b"paper", b"other"))
    (full.folder / "store" / "ocfl" / keys[foreign] / "inventory.json.sha512").unlink()
    _lose(full)
    done = _rebuild(full)
    assert done.returncode == 1
    said = json.loads(done.stdout)
    assert set(said["unreadable"]) == {keys[damaged], keys[foreign]}
    assert "record.json is damaged" in said["unreadable"][keys[damaged]]
    assert said["found"] == 5
    known = {row[0] for row in full.rows("SELECT id FROM document")}
    assert other in known
    assert not {damaged, foreign} & known


def _objects(box: Any) -> tuple[list[str], dict[str, str]]:
    ids = [row[0] for row in box.rows("SELECT id FROM document ORDER BY id")]
    return ids, {each: layout.key_of(object_id(each)) for each in ids}


def test_bytes_in_the_spool_are_not_let_go_for_an_object_that_is_damaged(
    archive: Any, until: Wait
) -> None:
    archive.start()
    archive.drop("page.txt")
    _rest(archive, until, 1)
    assert archive.end(signal.SIGTERM) == 0
    ids, keys = _objects(archive)
    spool = archive.folder / "state" / "spool" / "documents" / ids[0] / "original"
    original = archive.folder / "store" / "ocfl" / keys[ids[0]] / "v1/content/original/0001.txt"
    spool.mkdir(parents=True)  # as a crash right after the rename of the object leaves it
    shutil.copy(original, spool)
    original.chmod(0o644)
    original.write_bytes(original.read_bytes().swapcase())
    _lose(archive)
    said = json.loads(_rebuild(archive).stdout)
    assert "still in the spool" in said["unreadable"][keys[ids[0]]]
    assert archive.rows("SELECT id FROM document") == []
    assert (spool / "0001.txt").exists()


def test_a_rebuild_that_is_killed_leaves_no_catalog_that_could_be_taken_for_one(full: Any) -> None:
    before = _lasting(full)
    _lose(full)
    code = (
        "import os, signal\n"
        "from archived.engine import rebuild as r\n"
        "from archived.storage import atomic\n"
        "r._AT_ONCE = 1\n"
        "commits = []\n"
        "def step(call, path):\n"
        "    commits.append(1) if call == 'commit' else None\n"
        "    if len(commits) == 5: os.kill(os.getpid(), signal.SIGKILL)\n"
        "atomic.step = step\n"
        "from archived.cli.archived import main; main()"
    )
    died = subprocess.run(
        [full_python(full), "-c", code, "--config", str(full.config), "rebuild"],
        capture_output=True,
        check=False,
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert not (full.folder / "state" / "catalog.db").exists()
    assert _rebuild(full).returncode == 0
    assert _lasting(full) == before
    assert not list((full.folder / "state").glob("*unfinished*"))


def full_python(box: Any) -> str:
    return str(Path(box.command()[0]).with_name("python"))


def test_what_is_left_of_another_catalog_is_never_mixed_into_the_new_one(archive: Any) -> None:
    archive.write()
    state = archive.folder / "state"
    Store(archive.folder / "store").create()
    state.mkdir()
    (state / "catalog.db-wal").write_bytes(b"of another catalog")
    refused = _rebuild(archive)
    assert refused.returncode == 1
    assert "aside together" in refused.stderr
    assert [path.name for path in state.glob("catalog*")] == ["catalog.db-wal"]

    (state / "catalog.db-wal").unlink()
    Catalog.open(state / "catalog.db").close()
    refused = _rebuild(archive)
    assert refused.returncode == 1
    assert "the catalog is empty" in refused.stderr


def test_it_is_not_done_beside_a_daemon_or_as_another_user(archive: Any) -> None:
    archive.write()
    with only_one(archive.folder / "state"):
        refused = _rebuild(archive)
    assert refused.returncode == 1
    assert "already-running" in refused.stderr
    if os.geteuid() != 0:
        pytest.skip("only root can give the folder to somebody else")
    os.chown(archive.folder / "state", 65534, 65534)
    refused = _rebuild(archive)
    assert refused.returncode == 1
    assert "runuser -u nobody -- archived rebuild" in refused.stderr
