"""`archived`, and what `archivectl` can still say when no daemon runs."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.unguarded_ledger import unguard


@pytest.fixture
def tampered(installation: Any, tmp_path: Path) -> tuple[Path, sqlite3.Connection]:
    """A configuration without a daemon whose catalog is a copy that may be spoilt."""
    state = tmp_path / "state"
    state.mkdir()
    copy = sqlite3.connect(state / "catalog.db", isolation_level=None)
    with sqlite3.connect(installation.folder / "state" / "catalog.db") as original:
        original.backup(copy)
    copy.execute("PRAGMA journal_mode=DELETE")
    unguard(copy)
    return installation.variant(
        tmp_path.name, state=str(state), socket=str(tmp_path / "none")
    ), copy


def test_a_daemon_that_stops_in_order_leaves_a_catalog_that_still_answers(new_house: Any):
    new_house.start()
    new_house.put("letter.txt", b"a letter\n")
    new_house.settle(safe=1)
    document = new_house.document("letter.txt")
    assert new_house.end() == 0
    said = {}
    for words in (["explain", document], ["status"], ["plugins"]):
        answer = new_house.ctl(*words, "--json")
        assert answer.returncode == (words == ["status"]), answer.stderr
        assert answer.stderr == "the daemon does not answer; this is from the catalog\n"
        said[words[0]] = json.loads(answer.stdout)
    assert said["explain"]["paper"] == (
        "Keep the paper until the archivist says otherwise: it has no pages."
    )
    assert said["status"]["daemon"] is None
    assert said["plugins"]["plugins"][0]["fit"] == "not established"
    for words in (["retry", document], ["release", document, "--note", "x"], ["reload"]):
        refused = new_house.ctl(*words)
        assert refused.returncode == 7
        assert "the daemon is not running: nobody listens at" in refused.stderr
        assert "hint: start it with" in refused.stderr


def test_help_needs_no_configuration(new_house: Any):
    helped = new_house.ctl("--help", config=new_house.folder / "none.toml")
    assert (helped.returncode, helped.stderr) == (0, "")
    assert "explain" in helped.stdout


def test_before_the_first_start_there_is_nothing_to_ask(new_house: Any):
    asked = new_house.ctl("documents")
    assert asked.returncode == 7
    assert "there is no catalog yet" in asked.stderr


def test_a_ledger_that_is_whole_says_so_with_and_without_the_daemon(
    installation: Any, tampered: Any
):
    config, catalog = tampered
    there, here = (
        installation.json("ledger", "verify"),
        installation.ctl("ledger", "verify", config=config),
    )
    assert there["verdict"] == "yes"
    assert here.returncode == 0
    # The daemon may have written to its own since the copy was made.
    [head] = catalog.execute("SELECT hash FROM ledger ORDER BY sequence DESC LIMIT 1").fetchone()
    assert f"head {head}" in here.stdout


def test_a_changed_ledger_entry_is_found_and_named(installation: Any, tampered: Any):
    config, catalog = tampered
    catalog.execute("UPDATE ledger SET entry = replace(entry, 'letter', 'litter') WHERE sequence=3")
    catalog.execute("UPDATE ledger SET entry = entry || ' ' WHERE sequence = 5")
    answer = installation.ctl("ledger", "verify", "--json", config=config)
    assert answer.returncode == 1
    it = json.loads(answer.stdout)
    assert it["verdict"] == "no"
    assert "its text does not match its hash" in it["why"]


def test_a_head_on_paper_or_in_a_file_finds_a_ledger_that_was_cut(
    installation: Any, tampered: Any, tmp_path: Path
):
    config, catalog = tampered
    told = installation.ctl("ledger", "verify", config=config).stdout
    assert "not established: whether the whole ledger was made anew" in told
    head = told.splitlines()[-1]
    paper = tmp_path / "head.txt"
    paper.write_text(f"kept in the safe\n{head}\n")
    for given in (head, str(paper)):
        same = installation.ctl("ledger", "verify", "--against", given, config=config)
        assert same.returncode == 0, same.stdout
        assert "it is the ledger that was published" in same.stdout
        assert "not established" not in same.stdout
    mistyped = installation.ctl("ledger", "verify", "--against", head[:-1] + "x", config=config)
    assert mistyped.returncode != 0
    assert "a head in it is not whole" in mistyped.stderr
    catalog.execute("DELETE FROM ledger WHERE sequence > (SELECT max(sequence) - 10 FROM ledger)")
    cut = installation.ctl("ledger", "verify", "--against", str(paper), config=config)
    assert cut.returncode == 1
    assert "10 entries are missing" in cut.stdout


def test_a_catalog_that_cannot_be_read_is_not_called_broken_but_not_established(
    installation: Any, tampered: Any, tmp_path: Path
):
    (tmp_path / "state" / "catalog.db").write_bytes(b"not a database" * 1000)
    answer = installation.ctl("ledger", "verify", "--json", config=tampered[0])
    assert answer.returncode == 1
    assert json.loads(answer.stdout)["verdict"] == "not established"


def test_a_lost_file_unbalances_the_account(installation: Any, tampered: Any):
    config, catalog = tampered
    catalog.execute("PRAGMA foreign_keys = OFF")
    catalog.execute("UPDATE arrival SET document = NULL WHERE name = 'letter.txt'")
    answer = installation.ctl("account", config=config)
    assert answer.returncode == 1
    assert "FILES ARE UNACCOUNTED FOR" in answer.stdout


def test_check_tells_every_mistake_at_once(installation: Any):
    text = installation.config.read_text().replace('pipeline = "late"', 'pipeline = "lat"')
    bad = installation.written(
        "bad/archived.toml", text.replace('settle_time = "200 ms"', "settle_time = 200")
    )
    said = installation.run("archived", "check", config=bad)
    assert said.returncode == 78
    assert 'unknown pipeline "lat"; did you mean "late"' in said.stdout
    assert "intake.settle_time: " in said.stdout
    assert said.stdout.splitlines()[-1] == f"2 mistakes in {bad}"
    it = json.loads(installation.run("archived", "--json", "check", config=bad).stdout)
    assert (it["fit"], len(it["mistakes"])) == (False, 2)


def test_check_does_not_call_unfit_what_only_the_service_can_read(
    installation: Any, tmp_path: Path
):
    config = installation.written(
        "sealed/archived.toml",
        f"""
        [archive]
        state = "{tmp_path}/state"
        [store]
        path = "{tmp_path}/store"
        [plugins]
        enabled = ["sign"]
        [hotfolder.scans]
        path = "{tmp_path}/hot"
        pipeline = "paper"
        [pipeline.paper]
        stages = ["sign", "seal"]
        [stage.sign]
        key = {{ credential = "signing-key" }}
        """,
    )
    said = installation.run("archived", "check", config=config)
    assert said.returncode == 0, said.stdout + said.stderr
    assert "stage sign: not established: its secrets are credentials" in said.stdout
    (it,) = json.loads(installation.run("archived", "--json", "check", config=config).stdout)[
        "stages"
    ]
    assert (it["verdict"], it["problems"]) == ("not established", [])


@pytest.mark.skipif(os.geteuid() != 0, reason="user ids are root's to give")
def test_what_a_step_of_roots_may_not_is_no_verdict_about_the_services(new_house: Any):
    """A step has no privileges, so root's own is not let into a folder of the service's."""
    service = pwd.getpwnam("daemon").pw_uid
    state = new_house.folder / "state"
    state.mkdir(exist_ok=True)
    for folder in (state, new_house.folder / "second"):
        os.chown(folder, service, -1)
        folder.chmod(0o700)
    said = new_house.run("archived", "check")
    told = "stage replicate: not established: tried by another user than the service's: "
    assert told in said.stdout, said.stdout
    assert said.returncode == 0
    os.chown(state, 0, -1)
    said = new_house.run("archived", "check")
    assert "stage replicate: target " in said.stdout
    assert said.returncode == 1


def test_check_lets_every_stage_look_at_its_surroundings_in_a_child(
    installation: Any, new_house: Any
):
    fit = installation.once("archived", "check", "--json")
    assert fit.returncode == 0, fit.stdout
    stages = json.loads(fit.stdout)["stages"]
    assert {s["stage"]: s["verdict"] for s in stages} == dict.fromkeys(
        ("stamp", "erratic", "later", "replicate"), "yes"
    )
    shutil.rmtree(new_house.folder / "second")
    unfit = new_house.run("archived", "check")
    assert unfit.returncode == 1
    assert "stage replicate: " in unfit.stdout
    assert "the files are right; not fit yet: replicate" in unfit.stdout


SHARING = """
from archived.api import Needs, Result, Stage, StageConfig, hookimpl

class Options(StageConfig):
    pass

class Sharing(Stage[Options]):
    name = "sharing"
    version = "1"
    needs = Needs(system_calls=("ipc",), worker="kept")

    def run(self, document, context):
        return Result()

@hookimpl
def register_stages(register):
    register(Sharing)
"""


def test_check_shows_what_a_stage_has_beyond_others(installation: Any, tmp_path: Path):
    (tmp_path / "plugins").mkdir(mode=0o755)
    (tmp_path / "plugins/sharing.py").write_text(SHARING)
    config = installation.written(
        "sharing/archived.toml",
        f"""
        [archive]
        state = "{tmp_path}/state"
        [store]
        path = "{tmp_path}/store"
        [plugins]
        enabled = ["sharing"]
        folders = ["{tmp_path}/plugins"]
        [hotfolder.scans]
        path = "{tmp_path}/hot"
        pipeline = "paper"
        [pipeline.paper]
        stages = ["sharing", "seal"]
        """,
    )
    said = installation.run("archived", "check", config=config)
    assert "stage sharing: may make further system calls: ipc" in said.stdout, said.stderr
    (it,) = json.loads(installation.run("archived", "--json", "check", config=config).stdout)[
        "stages"
    ]
    assert "stage sharing: one process does its steps, one after another" in said.stdout
    assert (it["system_calls"], it["worker"]) == (["ipc"], "kept")
    warned = "stage.sharing.lane: one process does its steps, and those that wait take places"
    assert warned in said.stdout
    text = config.read_text()
    config.write_text(f'{text}[lanes]\nalone = 1\n[stage.sharing]\nlane = "alone"\n')
    assert warned not in installation.run("archived", "check", config=config).stdout


def test_doctor_tries_what_it_says_and_names_what_is_missing(new_house: Any):
    shutil.rmtree(new_house.folder / "late")
    sick = new_house.run("archived", "doctor", "--json")
    assert sick.returncode == 1, sick.stderr
    it = json.loads(sick.stdout)
    assert not it["fit"]
    said = {(f["about"], f["what"]): f for f in it["findings"]}
    assert all(f["verdict"] in {"yes", "no", "not established"} for f in it["findings"])
    late = said["hot folder late", f"{new_house.folder}/late is there"]
    assert (late["verdict"], late["needed"]) == ("no", True)
    limits = said["sandbox", "a step cannot take more memory than it may"]
    assert limits["verdict"] == "yes"
    assert said["stage", "stamp can work here"]["verdict"] == "yes"
    assert said["daemon", "the daemon runs and is ready"]["verdict"] == "no"
    kept = said["disk", "what fsync was told is on the platter survives a power cut"]
    assert kept["verdict"] == "not established"
    assert list((new_house.folder / "scans").iterdir()) == []


def test_doctor_beside_the_daemon_finds_it_ready_and_leaves_the_account_alone(installation: Any):
    before = installation.json("account")["total"]
    said = installation.once("archived", "doctor", "--json")
    assert said.returncode == 0, said.stdout
    findings = {f["what"]: f["verdict"] for f in json.loads(said.stdout)["findings"]}
    assert findings["the daemon runs and is ready"] == "yes"
    assert installation.json("account")["total"] == before


def test_a_second_daemon_on_one_state_folder_is_told_so_without_a_traceback(installation: Any):
    second = installation.run("archived", "run")
    assert second.returncode == 1
    assert "another archived is running here" in second.stderr
    assert "hint: " in second.stderr
    assert "Traceback" not in second.stderr


def test_a_daemon_whose_port_is_taken_says_so_in_a_sentence(installation: Any, tmp_path: Path):
    other = installation.variant(
        tmp_path.name, state=str(tmp_path / "state"), socket=str(tmp_path / "c.sock")
    )
    own_store = other.read_text().replace(f"{installation.folder}/store", f"{tmp_path}/store")
    other.write_text(own_store)
    taken = installation.run("archived", "run", config=other)
    assert taken.returncode == 1
    assert "cannot listen on 127.0.0.1:" in taken.stderr
    assert "Traceback" not in taken.stderr


def test_a_daemon_without_a_configuration_ends_with_78(new_house: Any):
    nowhere = new_house.run("archived", "run", "--config", "/nowhere/archived.toml", "--json")
    assert nowhere.returncode == 78
    error = json.loads(nowhere.stderr)["error"]
    assert error["code"] == "bad-config"
    assert "there is no file /nowhere/archived.toml" in error["message"]


def test_the_sample_configuration_passes_the_check(new_house: Any, tmp_path: Path):
    sample = new_house.run("archived", "sample-config", "--plugins", "stamp,replicate")
    assert sample.returncode == 0
    assert "#[stage.stamp]" in sample.stdout or "[stage.stamp]" in sample.stdout
    written = new_house.written("sample/archived.toml", sample.stdout)
    checked = new_house.run("archived", "check", "--no-stages", config=written)
    assert checked.returncode == 0, checked.stdout
    own = json.loads(new_house.run("archived", "sample-config", "--json").stdout)
    assert own["plugins"] == ["stamp", "erratic", "replicate", "guest"]
    assert "stage.later" in own["text"]
    wrong = new_house.run("archived", "sample-config", "--plugins", "stmp")
    assert wrong.returncode == 78
    assert 'did you mean "stamp"' in wrong.stderr
