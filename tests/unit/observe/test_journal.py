"""Each line of the log reaches the journal as fields: `journalctl DOCUMENT=ID` finds it."""

from __future__ import annotations

import array
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from archived.observe.logs import Journal, entry, listening

JOURNALD = Path("/lib/systemd/systemd-journald")


def fields(data: bytes) -> dict[str, str]:
    """The native protocol, read by its description."""
    found = {}
    while data:
        name, _, rest = data.partition(b"\n")
        if b"=" in name:
            name, _, value = name.partition(b"=")
            data = rest
        else:
            size = int.from_bytes(rest[:8], "little")
            value, data = rest[8 : 8 + size], rest[8 + size + 1 :]
        found[name.decode()] = value.decode()
    return found


def test_a_line_becomes_fields_and_a_sentence_that_can_be_read_alone():
    found = fields(
        entry(
            {
                "event": "in custody",
                "level": "warning",
                "timestamp": "x",
                "action": "document-admitted",
                "document": "0191",
                "hotfolder": "Phòng đọc 1",
                "size": 5,
                "_odd key": "a",
                "why": "a\nb=c",
            }
        )
    )
    assert found == {
        "MESSAGE": "in custody document=0191 hotfolder='Phòng đọc 1' size=5 _odd key=a "
        "why='a\\nb=c'",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "archived",
        "ACTION": "document-admitted",
        "DOCUMENT": "0191",
        "HOTFOLDER": "Phòng đọc 1",
        "SIZE": "5",
        "ODD_KEY": "a",
        "WHY": "a\nb=c",
    }


def test_a_line_too_large_for_a_datagram_comes_as_a_file(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(tmp_path / "socket"))
        journal.settimeout(10)
        handler = Journal(tmp_path / "socket")
        for size in (10, 3_000_000):
            line = json.dumps({"event": "said", "document": "0191", "why": "x" * size})
            handler.emit(logging.LogRecord("x", logging.INFO, "", 0, line, (), None))
        assert fields(journal.recv(100_000))["WHY"] == "x" * 10
        data, [(_, kind, rights)], _, _ = journal.recvmsg(100, 100)
        assert (data, kind) == (b"", socket.SCM_RIGHTS)
        (file,) = array.array("i", rights)
        with os.fdopen(file, "rb") as given:
            given.seek(0)
            assert len(fields(given.read())["WHY"]) == 3_000_000
        handler.close()
    handler = Journal(tmp_path / "gone")
    handler.emit(logging.LogRecord("x", logging.INFO, "", 0, "{}", (), None))  # quietly lost
    handler.close()


def test_only_a_stream_that_leads_to_the_journal_is_taken_for_one(tmp_path, monkeypatch):
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal,
        (tmp_path / "out").open("w") as out,
    ):
        journal.bind(str(tmp_path / "socket"))
        monkeypatch.delenv("JOURNAL_STREAM", raising=False)
        assert not listening(out, tmp_path / "socket")
        told = os.fstat(out.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{told.st_dev}:{told.st_ino}")
        assert listening(out, tmp_path / "socket")
        assert not listening(out, tmp_path / "none")
        assert not listening(sys.__stderr__, tmp_path / "socket")


@pytest.mark.skipif(
    os.geteuid() != 0 or not JOURNALD.exists() or not shutil.which("unshare"),
    reason="a journal of one's own needs root, systemd-journald and unshare",
)
def test_the_real_journal_finds_a_document(tmp_path):
    """systemd-journald in a mount namespace of its own; it sees nothing of the machine's /run."""
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "run.sh").write_text(SCRIPT)
    done = subprocess.run(
        [
            "unshare",
            "--mount",
            "sh",
            str(tmp_path / "run.sh"),
            sys.executable,
            str(tmp_path / "program.py"),
            str(JOURNALD),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    one, other = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    assert one["MESSAGE"] == "in custody document=0191-aa hotfolder=scans"
    assert (one["ACTION"], one["PRIORITY"]) == ("document-admitted", "6")
    assert (one["_TRANSPORT"], one["SYSLOG_IDENTIFIER"]) == ("journal", "archived")
    assert other["STAGE"] == "ocr"
    assert "ZeroDivisionError" in other["EXCEPTION"]


PROGRAM = """
import os
import structlog
from archived.observe import logs

here = os.fstat(1)
os.environ["JOURNAL_STREAM"] = f"{here.st_dev}:{here.st_ino}"  # as the service manager would
logs.configure("info", "auto")
log = structlog.get_logger("x")
log.info("in custody", action="document-admitted", document="0191-aa", hotfolder="scans")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("it broke", action="step-failed", document="0191-bb", stage="ocr")
"""

SCRIPT = """
set -e
mount -t tmpfs none /run
mount -t tmpfs none /var/log
mkdir -p /run/systemd/journal /run/log/journal
"$3" >/dev/null 2>&1 &
journald=$!
trap 'kill $journald' EXIT
until [ -S /run/systemd/journal/stdout ]; do sleep 0.05; done
systemd-cat "$1" "$2"
until journalctl --quiet DOCUMENT=0191-bb | grep -q broke; do sleep 0.05; done
journalctl --output=json DOCUMENT=0191-aa
journalctl --output=json DOCUMENT=0191-bb
"""
