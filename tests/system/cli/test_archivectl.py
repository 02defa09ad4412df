"""What an archivist sees of a house at work, through the real console script."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def test_documents_are_listed_newest_first_with_the_answer_as_json_before_and_after(
    installation: Any,
):
    before = json.loads(installation.ctl("--json", "documents").stdout)
    after = json.loads(installation.ctl("documents", "--json").stdout)
    assert before == after
    ids = [each["id"] for each in before["documents"]]
    assert ids == sorted(ids, reverse=True)
    assert len(ids) == 5


def test_the_configuration_may_be_named_before_and_after_the_command(installation: Any):
    elsewhere = {"ARCHIVED_CONFIG": "/nowhere/archived.toml"}
    for words in (
        ("--config", str(installation.config), "documents"),
        ("documents", "--config", str(installation.config)),
        (f"--config={installation.config}", "documents"),
        ("ledger", "verify", "--config", str(installation.config)),
        ("census", "--config", str(installation.config)),
    ):
        assert installation.ctl(*words, env=elsewhere).returncode == 0, words
    missing = installation.ctl("documents", env=elsewhere)
    assert missing.returncode == 78
    assert "there is no configuration /nowhere/archived.toml" in missing.stderr


def test_documents_are_filtered_by_state_hot_folder_and_number(installation: Any):
    held = installation.json("documents", "--state", "held")["documents"]
    assert {each["name"] for each in held} == {"poison-1.txt", "poison-2.txt"}
    late = installation.json("documents", "--hotfolder", "late")["documents"]
    assert [each["name"] for each in late] == ["slow.txt"]
    two = installation.json("documents", "--state", "held", "--state", "waiting")["documents"]
    assert len(two) == 3
    first = installation.json("documents", "--limit", "2")["documents"]
    rest = installation.json("documents", "--before", first[-1]["id"])["documents"]
    assert len(first) == 2
    assert len(rest) == 3


def test_a_pipe_gets_whole_lines_without_colour_on_the_archives_clock(installation: Any):
    lines = installation.ctl("documents").stdout.splitlines()
    assert lines[0].split() == ["document", "received", "state", "step", "pages", "name"]
    assert len(lines) == 7
    assert lines[-1] == "times: Asia/Ho_Chi_Minh"
    assert "\x1b" not in "".join(lines)
    it = next(d for d in installation.json("documents")["documents"] if d["name"] == "letter.txt")
    line = next(line for line in lines if line.endswith("letter.txt"))
    hour = (int(it["received"][11:13]) + 7) % 24
    assert f"{hour:02}:{it['received'][14:16]}" in line
    assert it["id"] in line


@pytest.mark.parametrize("columns", [80, 150])
def test_a_terminal_gets_colour_and_lines_no_wider_than_itself(installation: Any, columns: int):
    shown = on_terminal(installation, columns, "documents") + on_terminal(
        installation, columns, "status"
    )
    shown += on_terminal(installation, columns, "show", installation.document("letter.txt"))
    assert "\x1b[" in shown
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    lines = plain.splitlines()
    # A path is not broken: the terminal does that, and the whole can be copied.
    assert max(len(line) for line in lines if not re.search(r"\S{60}", line)) <= columns
    assert installation.json("show", installation.document("letter.txt"))["object"]["path"] in plain
    whole = installation.document("letter.txt")
    assert (whole if columns == 150 else whole[-12:]) in plain


def test_show_knows_files_steps_and_copies(installation: Any):
    it = installation.json("show", installation.document("letter.txt"))
    assert it["state"] == "safe"
    assert [step["stage"] for step in it["steps"]] == ["stamp", "erratic", "seal", "replicate"]
    assert [copy["target"] for copy in it["replicas"]] == ["second"]
    assert {each["name"] for each in it["arrivals"]} == {"letter.txt", "again.txt"}
    shown = installation.ctl("show", it["id"]).stdout
    assert it["artifacts"][0]["sha512"] in shown
    assert it["object"]["path"] in shown


def test_a_document_is_found_by_a_unique_beginning_or_end_of_its_id(installation: Any):
    whole = installation.document("letter.txt")
    assert installation.json("show", whole[-12:])["id"] == whole
    assert installation.json("show", whole[-12:].upper())["id"] == whole
    many = installation.ctl("show", whole[:5])
    assert many.returncode == 4
    assert "5 documents fit" in many.stderr
    assert "type more of the id" in many.stderr
    none = installation.ctl("show", "--json", "ffffffffffff")
    assert none.returncode == 4
    assert none.stdout == ""
    assert json.loads(none.stderr)["error"]["code"] == "no-such-document"


def test_explain_tells_a_clerk_what_happened_why_and_what_to_do_with_the_paper(installation: Any):
    told = installation.ctl("explain", installation.document("poison-2.txt")).stdout
    for words in (
        "poison-2.txt is held",
        'The file "poison-2.txt" was seen in the hot folder scans.',
        "were taken into custody",
        "erratic cannot work on this document: Refused on request [erratic-refused].",
        "It is held for a person, at erratic",
        "The document is at fault",
        f"archivectl retry {installation.document('poison-2.txt')}",
        "Keep the paper: it is not archived yet.",
    ):
        assert words in told
    assert re.search(r"stamp ended well (within a second|after .+)\.", told)
    safe = installation.ctl("explain", installation.document("letter.txt")).stdout
    assert "Keep the paper until the archivist says otherwise: it has no pages." in safe
    assert 'The file "again.txt" holds the very same bytes' in safe


def test_explain_says_when_a_waiting_step_is_tried_again_on_the_archives_clock(installation: Any):
    it = installation.json("show", installation.document("slow.txt"))
    told = installation.json("explain", it["id"])
    hour = (int(it["due"][11:13]) + 7) % 24
    assert f"{hour:02}:{it['due'][14:16]} (in 3 hours): The tide is out [tide-out]." in (
        told["now"].replace("179 minutes", "3 hours").replace("2 hours", "3 hours")
    )
    assert told["next"] == "Wait for the tide. It goes on by itself."
    assert told["choices"][0]["means"] == "try later now instead of waiting"


def test_a_held_document_is_retried_and_released_with_a_note_on_record(installation: Any):
    document = installation.document("poison-1.txt")
    tried = installation.json("retry", document[-12:], "--note", "let us see")
    assert tried == {"document": document, "state": "working", "was": "held"}
    installation.settle(safe=2, held=2, waiting=1)
    unsaid = installation.ctl("release", document)
    assert unsaid.returncode == 2
    assert "--note" in unsaid.stderr
    assert installation.ctl("release", document, "--note", "  ").returncode == 2
    released = installation.ctl("release", document, "--note", "a drawing")
    assert released.returncode == 0
    assert "poison-1.txt goes on; the decision is on record" in released.stdout
    installation.settle(safe=3, held=1, waiting=1)
    told = installation.ctl("explain", document).stdout
    assert 'asked for erratic to be tried again, and noted: "let us see".' in told
    assert 'decided that it goes on without erratic, and noted: "a drawing".' in told
    again = installation.ctl("release", document, "--note", "again")
    assert again.returncode == 5


def test_the_balance_sheet_adds_up_and_names_what_waits_for_a_person(installation: Any):
    sheet = installation.json("account")
    assert sheet["balanced"]
    total = sheet["total"]
    assert total["seen"] == 8
    columns = ("archived", "held", "ignored", "in_work")
    assert sum(total[column] for column in columns) == 8
    assert sheet["folders"][1]["rules"] == {"temporary-name": 1}
    assert [each["name"] for each in sheet["held_files"]] == ["big.bin"]
    shown = installation.ctl("account").stdout
    assert "every file is accounted for" in shown
    assert "scans/big.bin: the file is larger" in shown


def test_status_says_how_the_house_stands(installation: Any):
    it = installation.json("status")
    assert it["daemon"]["not_ready"] == []
    assert it["held_files"] == 1
    shown = installation.ctl("status").stdout
    assert re.search(r"^ready +yes$", shown, re.M)
    assert re.search(r"^unaccounted files +0$", shown, re.M)


def test_sealed_documents_are_found_by_their_names_with_and_without_accents(installation: Any):
    for words in (["quyết", "định"], ["quyet dinh"], ["quy*"]):
        found = installation.json("search", *words)["found"]
        assert [each["name"] for each in found] == ["quyết định.txt"], words
    nothing = installation.ctl("search", "zeppelin")
    assert nothing.returncode == 0
    assert "nothing found" in nothing.stderr


def test_plug_ins_are_listed_and_an_unchecked_one_is_never_called_fit(installation: Any):
    it = installation.json("plugins")
    assert [each["name"] for each in it["plugins"]] == ["stamp", "erratic", "replicate", "guest"]
    for each in it["plugins"]:
        assert each["fit"] == ("yes" if it["checked"] else "not established")
        assert bool(each["why"]) == (each["fit"] == "not established")


def test_a_reload_says_what_changed_and_a_bad_file_changes_nothing(installation: Any):
    good = installation.config.read_text()
    try:
        installation.config.write_text(
            good.replace('settle_time = "200 ms"', 'settle_time = "250 ms"')
        )
        changes = installation.json("reload")["changes"]
        assert changes[0] == 'intake.settle_time was "200 ms" and is now "250 ms"'
        installation.config.write_text(good.replace('pipeline = "late"', 'pipeline = "lat"'))
        bad = installation.ctl("reload")
        assert bad.returncode == 78
        assert 'did you mean "late"' in bad.stderr
    finally:
        installation.config.write_text(good)
        assert installation.ctl("reload").returncode == 0


def test_a_plug_ins_command_is_a_command_like_any_other(installation: Any):
    assert "json=False\nheld=" in installation.ctl("census").stdout
    assert "json=True" in installation.ctl("census", "--json").stdout
    assert "Count the documents of each state." in installation.ctl("--help").stdout


def test_an_unforeseen_failure_shows_a_traceback_and_is_our_fault(installation: Any):
    failed = installation.ctl("boom")
    assert failed.returncode == 70
    assert "ZeroDivisionError: boom" in failed.stderr


def test_ctrl_c_and_a_reader_that_goes_away_leave_no_traceback(installation: Any):
    stopped = installation.ctl("stop-me")
    assert stopped.returncode == 130
    read, write = os.pipe()
    os.close(read)
    cut = subprocess.run(
        argv(installation, "show", installation.document("letter.txt")),
        stdout=write,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(write)
    assert cut.returncode == 141
    assert cut.stderr == b""
    assert "Traceback" not in stopped.stderr


def test_an_unknown_command_is_a_mistake_on_the_command_line(installation: Any):
    wrong = installation.ctl("shwo")
    assert wrong.returncode == 2
    assert "Traceback" not in wrong.stderr


def test_tab_completes_commands_states_and_documents(installation: Any):
    def tab(line: str, at: int) -> str:
        asked = {"_ARCHIVECTL_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(at)}
        return str(installation.ctl(env=asked).stdout)

    assert "plain,documents" in tab("archivectl doc", 1)
    assert "plain,census" in tab("archivectl cen", 1)
    assert "plain,held" in tab("archivectl documents --state h", 3)
    whole = installation.document("letter.txt")
    assert f"plain,{whole}" in tab(f"archivectl show {whole[:20]}", 2)
    for shell in ("bash", "zsh", "fish"):
        said = installation.ctl("completion", shell)
        assert said.returncode == 0
        assert "_ARCHIVECTL_COMPLETE" in said.stdout


def test_a_question_starts_no_heavy_library(installation: Any):
    code = (
        "import sys; from archived.cli.archivectl import cli;"
        f"cli(['--config', {str(installation.config)!r}, '--json', 'status'],"
        "standalone_mode=False);"
        "heavy = {'pydantic', 'sqlalchemy', 'alembic', 'aiohttp', 'rich'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def argv(installation: Any, *words: str) -> list[str]:
    """The command line of `archivectl` for this house."""
    program = str(Path(sys.executable).with_name("archivectl"))
    return [program, *words, "--config", str(installation.config)]


def on_terminal(installation: Any, columns: int, *words: str) -> str:
    """What a person sees on a terminal of this width."""
    ours, theirs = pty.openpty()
    size = {"COLUMNS": str(columns), "LINES": "60", "TERM": "xterm-256color"}
    process = subprocess.Popen(
        argv(installation, *words), stdout=theirs, stderr=subprocess.PIPE, env=os.environ | size
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # how a terminal ends
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    assert process.wait(timeout=60) == 0, process.stderr and process.stderr.read()
    assert process.stderr is not None
    process.stderr.close()
    return shown.decode()
