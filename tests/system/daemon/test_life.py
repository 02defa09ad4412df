"""A daemon's life: it starts, is reloaded, loses its children, is stopped, and nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.system.daemon.patience import be_impatient


def _objects(box) -> list[Path]:
    return sorted(box.folder.glob("store/**/v1/content/original/*"))


def test_stopped_under_running_steps_each_document_ends_exactly_once(box, gate, until):
    names = [f"{n}.txt" for n in range(6)]
    box.start()
    box.drop(*names)
    until(lambda: len(list(gate.glob("began-*"))) == 2, "both places of the lane are taken")
    process = box.process
    process.send_signal(signal.SIGTERM)
    until(lambda: box.said("daemon-stopping"), "stopping")
    (gate / "open").touch()
    assert process.wait(60) == 0
    assert box.said("daemon-stopped")
    assert all(row[2] == 0 for row in box.documents().values()), "no attempt was used up"
    box.start()
    box.sealed(*names)
    assert box.end() == 0
    assert len(_objects(box)) == 6
    begins = {p.name: p.read_text() for p in gate.glob("began-*")}
    assert set(begins.values()) == {"."}, "what ended within the grace was not run again"
    assert [p.name for p in box.hot().iterdir()] == ["_archived"]


def test_killed_with_all_its_children_it_finishes_everything_after_the_restart(box, gate, until):
    box.start()
    box.drop("a.txt", "b.txt", "c.txt")
    until(lambda: len(list(gate.glob("began-*"))) == 2, "steps run")
    below = box.children()
    assert box.end(signal.SIGKILL) == -signal.SIGKILL
    until(lambda: not any(map(box.lives, below)), "children are gone")
    (gate / "open").touch()
    box.start()
    box.sealed("a.txt", "b.txt", "c.txt")
    assert box.said("recovered")
    assert len(_objects(box)) == 3
    assert box.metric("archived_unaccounted_files") == {("scans",): 0}


def test_a_reload_is_used_for_new_work_and_a_bad_file_changes_nothing(box, gate, until):
    (gate / "open").touch()
    box.start()
    box.drop("a.txt")
    box.sealed("a.txt")
    box.tables["stage.gate"]["word"] = "two"
    box.tables["hotfolder.more"] = {"path": box.hot("more"), "pipeline": "short"}
    box.tables["pipeline.short"] = {"stages": ["stamp", "seal"]}
    box.reload()
    [told] = box.said("reloaded")
    assert any("hotfolder.more was added" in change for change in told["changes"]), told
    box.drop("b.txt")
    box.drop("c.txt", folder="more")
    box.sealed("b.txt", "c.txt")
    notes = {p.read_text() for p in box.folder.glob("store/**/gate.txt")}
    assert notes == {"one", "two"}
    assert len(list(box.folder.glob("store/**/stamp.txt"))) == 1

    digest = box.metric("archived_config_info")
    box.tables["hotfolder.more"]["pipelin"] = "short"
    box.reload()
    [refused] = box.said("reload-refused")
    assert 'did you mean "pipeline"' in refused["why"], refused
    assert box.metric("archived_config_reload_success") == {(): 0}
    assert box.metric("archived_config_info") == digest
    box.drop("d.txt", folder="more")
    box.sealed("d.txt")
    assert box.get("/readyz")[0] == 200
    del box.tables["hotfolder.more"]["pipelin"]
    box.reload()
    assert box.metric("archived_config_reload_success") == {(): 1}


def test_reloads_under_load_lose_and_repeat_nothing(box):
    names = [f"{n}.txt" for n in range(30)]
    box.start()
    for number, name in enumerate(names):
        box.drop(name)
        if number % 10 == 5:
            box.tables["stage.stamp"] = {"wording": f"w{number}"}
            box.tables["lanes"] = {"cpu": 1 + number % 3, "other": 1}
            box.reload()
    box.sealed(*names)
    assert len(_objects(box)) == 30
    assert not box.said("step-unrecorded"), box.said("step-unrecorded")
    # One that was put back when its runner retired is no second stamp.
    ended = "SELECT count(*) FROM step WHERE stage = 'stamp' AND ending = 'finished'"
    assert box.rows(ended) == [(30,)]
    assert box.end() == 0


def test_a_reload_while_a_step_hangs_does_not_keep_the_daemon_from_stopping(box, gate, until):
    be_impatient(box, 1)
    box.start()
    box.drop("a.txt")
    until((gate / "began-a.txt").exists, "the step runs")
    box.tables["stage.gate"]["word"] = "two"
    box.reload()
    began = time.monotonic()
    assert box.end(seconds=40) == 0
    # The usual grace is twenty seconds; the step never ends by itself.
    assert time.monotonic() - began < 15, "the grace for running steps, and little more"
    assert box.documents()["a.txt"][:3] == ("working", None, 0), "put back, no attempt used up"


def test_a_stage_that_went_to_another_lane_takes_its_waiting_documents_along(box, gate, until):
    box.start()
    box.drop("a.txt", "b.txt", "c.txt")
    until(lambda: len(box.documents()) == 3, "admitted")
    box.tables["lanes"] = {"aside": 1}
    box.tables["stage.gate"]["lane"] = "aside"
    (gate / "open").touch()
    box.reload()
    box.sealed("a.txt", "b.txt", "c.txt")


def test_documents_of_a_stage_that_is_gone_wait_and_go_on_when_it_is_back(box, gate, until):
    box.tables["lanes"] = {"cpu": 1}
    box.start()
    box.drop("a.txt", "b.txt")
    until(lambda: len(list(gate.glob("began-*"))) == 1 and len(box.documents()) == 2, "one waits")
    stage, stages = box.tables.pop("stage.gate"), box.tables["pipeline.paper"]["stages"]
    box.tables["pipeline.paper"]["stages"] = ["stamp", "seal"]
    box.tables["plugins"]["enabled"] = ["stamp"]
    box.reload()
    (gate / "open").touch()
    until(
        lambda: (
            [d[:2] for d in box.documents().values() if d[1] == "stage-missing"]
            == [("waiting", "stage-missing")]
        ),
        "the other one says what is missing",
    )
    box.tables["stage.gate"] = stage
    box.tables["pipeline.paper"]["stages"] = stages
    box.tables["plugins"]["enabled"] = ["stamp", "gate"]
    box.reload()
    box.sealed("a.txt", "b.txt")


def test_a_second_daemon_on_the_same_state_refuses(box):
    box.start()
    second = subprocess.run(
        [*box.process.args],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    assert second.returncode == 1
    assert "another archived is running here" in second.stdout + second.stderr
    assert box.get("/readyz")[0] == 200, "the first one did not notice"


def test_a_port_that_is_taken_is_said_in_a_sentence(box, tmp_path):
    import socket

    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", box.port))
        taken.listen()
        box.start(ready=False)
        assert box.process.wait(60) == 1
    text = box.log.read_text()
    assert "cannot listen on 127.0.0.1" in text
    assert "Traceback" not in text


def test_a_killed_fork_server_comes_back_and_the_document_goes_on(box, gate, until):
    box.start()
    box.drop("a.txt")
    until((gate / "began-a.txt").exists, "the step runs")
    [server] = box.fork_servers()
    os.kill(server, signal.SIGKILL)
    (gate / "open").touch()
    box.sealed("a.txt")
    assert box.said("step-requeued", code="runner-lost"), "it used up no attempt"
    assert (gate / "began-a.txt").read_text() == ".."


def test_files_opened_by_a_process_without_standard_descriptors_do_not_take_their_numbers(tmp_path):
    code = (
        "from archived.observe import logs; logs.configure('info', 'auto'); "
        f"import os; file = open({str(tmp_path / 'precious')!r}, 'w'); "
        f"open({str(tmp_path / 'number')!r}, 'w').write(str(file.fileno())); "
        "import structlog; structlog.get_logger().info('lost', action='x'); print('also lost')"
    )
    line = ["/bin/sh", "-c", 'exec "$0" "$@" <&- >&- 2>&-', sys.executable, "-c", code]
    assert subprocess.run(line, check=False, timeout=60).returncode == 0
    assert int((tmp_path / "number").read_text()) > 2
    assert (tmp_path / "precious").read_text() == ""


def test_a_reader_of_its_log_that_goes_away_does_not_stop_it(box, until):
    box.write()
    read, write = os.pipe()
    box.process = subprocess.Popen(
        box.command(), stdin=subprocess.DEVNULL, stdout=write, stderr=write
    )
    os.close(write)
    until(lambda: box.get("/readyz")[0] == 200, "ready")
    os.close(read)
    box.drop("a.txt")
    box.sealed("a.txt")
    assert box.end() == 0


def test_the_restart_of_an_idle_daemon_changes_no_figure(box, until):
    box.start()
    box.drop("a.txt")
    box.sealed("a.txt")
    until(lambda: box.metric("archived_files").get(("archived", "scans")) == 1, "counted")
    figures = {name: box.metric(name) for name in ("archived_files", "archived_documents")}
    assert box.end() == 0
    box.start()
    assert {name: box.metric(name) for name in figures} == figures
    facts = [json.loads(e)["kind"] for (e,) in box.rows("SELECT entry FROM ledger")]
    assert facts.count("daemon-started") == 2
    assert facts.count("daemon-stopped") == 1
