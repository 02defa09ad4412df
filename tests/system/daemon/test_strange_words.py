"""Names, reasons and questions made to harm whoever shows or answers them: nobody is led astray."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from archived.testing.daemon import Daemon

NAMES = (
    "{0.__class__} %s {name}.txt",
    "a\nb\r\x1b]0;title\x07.txt",
    "gpj.\u202etxt.txt",
    "50%_off.txt",
    "=cmd|' -C'!A0.txt",
    "e\u0301.txt",
    "'; drop table document;--.txt",
    "x\u2028y\u0085z.txt",
)
PLUGIN = """
from archived.api import *


class Odd(Stage[StageConfig]):
    name = "odd"
    version = "1"

    def run(self, document, context):
        raise Refuse(
            "{0.__class__} %s {name} \\x1b[31m \\u202e x\\ny: z", code="odd-thing",
            hint="{0} {x.y} %d\\n\\u2066",
        )


@hookimpl
def register_stages(register):
    register(Odd)
"""
LANGUAGES = ("C.UTF-8", "vi_VN.UTF-8")


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    box = Daemon(tmp_path_factory.mktemp("strange"))
    box.plugin("odd", PLUGIN)
    box.tables["pipeline.odd"] = {"stages": ["odd", "seal"]}
    box.tables["hotfolder.odd"] = {"path": box.hot("odd"), "pipeline": "odd"}
    box.start()
    for number, name in enumerate(NAMES):
        box.drop(name)
        box.drop(name, folder="odd", text=f"another {number}")
    (box.hot() / os.fsdecode(b"\xff\xfe.txt")).write_text("a name that is no text")
    done = "SELECT 1 FROM document WHERE state IN ('sealed', 'held')"
    box.until(lambda: len(box.rows(done)) == 2 * len(NAMES) + 1, "all are at rest")
    yield box
    if box.running():
        box.end()
    box.close()


def asked(box: Daemon, *words: str, language: str = "C.UTF-8") -> tuple[int, str]:
    """What `archivectl` says, to people."""
    done = subprocess.run(
        [str(Path(box.command()[0]).with_name("archivectl")), "--config", str(box.config), *words],
        capture_output=True,
        check=False,
        env=os.environ | {"LC_ALL": language},
        timeout=120,
    )
    return done.returncode, (done.stdout + done.stderr).decode()


def sent(box: Daemon, request: str, body: bytes = b"") -> tuple[int, str]:
    """What the control socket answers."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(30)
        line.connect(str(box.socket))
        head = f"{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        line.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        said = b""
        while piece := line.recv(65536):
            said += piece
    return int(said.split()[1]), said.partition(b"\r\n\r\n")[2].decode()


def unprintable(text: str) -> set[str]:
    return {char for char in text if not char.isprintable() and char not in "\r\n"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_people_are_told_steers_no_terminal_and_is_no_format(
    box: Daemon, language: str
) -> None:
    said = ""
    for words in (["documents"], ["status"], ["report"], ["account"]):
        status, told = asked(box, *words, language=language)
        assert status < 3, told
        said += told
    for (document,) in box.rows("SELECT id FROM document"):
        status, told = asked(box, "explain", document, language=language)
        assert status == 0, told
        said += told
    assert "{0.__class__} %s {name}" in said
    assert unprintable(said) == set()


def test_answers_on_the_share_are_lines_of_printable_text(box: Daemon) -> None:
    def held() -> list[Path]:
        return [path for path in box.folder.glob("*/_archived/held/*") if path.is_file()]

    box.until(lambda: len(held()) == len(NAMES), "every hold is told on the share")
    answers = [path for path in box.folder.glob("*/_archived/**/*") if path.is_file()]
    for path in answers:
        assert path.name.isprintable()
        assert unprintable(path.read_bytes().decode("utf-8-sig")) == set(), path


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_no_text_or_too_long_is_refused_as_a_question(box: Daemon, language: str) -> None:
    """And never taken for a damaged catalog, whose advice is to move it aside."""
    for words in (
        ["show", "\udcff"],
        ["show", "a" * 100_000],
        ["explain", "\udcff"],
        ["documents", "--name", "\udcff"],
        ["documents", "--name", "a" * 60_000],
        ["documents", "--hotfolder", "\udcff"],
        ["documents", "--dossier", "\udcff"],
        ["search", "\udcff NEAR("],
        ["search", "a" * 60_000],
        ["release", "\udcff", "--note", "x"],
        ["release", "x" * 9000, "--note", "y"],
        ["copy", "--all", "--note", "\udcff"],
    ):
        status, told = asked(box, *words, language=language)
        assert (status, "Traceback" in told) == (2, False), (words[:2], told)
        assert len(told) < 400, told


def test_wildcards_are_letters_of_a_name(box: Daemon) -> None:
    for typed in ("%", "_", "_" * 11, "%off.txt", "5_%off.txt"):
        assert asked(box, "show", typed)[0] == 4, typed
    found = json.loads(asked(box, "--json", "documents", "--name", "%_")[1])["documents"]
    assert {each["name"] for each in found} == {"50%_off.txt"}
    composed = json.loads(asked(box, "--json", "documents", "--name", "\u00e9")[1])["documents"]
    assert {each["name"] for each in composed} == {"\u00e9.txt"}
    longest = "\u1ea1" * 800
    assert asked(box, "documents", "--name", longest)[0] == 0, "it goes through the socket"


@pytest.mark.parametrize(
    "request_",
    [
        "GET /v1/resolve?document=%00",
        "GET /v1/%00",
        "GET /v1/nothing",
        "GET /v1/documents?limit=x",
        f"GET /v1/search?words={'a' * 5000}",
    ],
)
def test_a_strange_question_is_answered_as_one(box: Daemon, request_: str) -> None:
    status, said = sent(box, request_)
    assert (status, json.loads(said)["error"]["code"]) == (400, "bad-question")


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{",
        b"[" * 100_000,
        b'{"note": "\\ud800"}',
        b'{"operator": "\\udfff"}',
        b'{"note": "' + b"x" * 5000 + b'"}',
        b'{"after": "\\ud800"}',
        b'{"note": "\\u0000"}',
    ],
)
def test_a_strange_decision_decides_nothing(box: Daemon, body: bytes) -> None:
    [document] = box.rows("SELECT id FROM document WHERE state = 'held' LIMIT 1")[0]
    for path in ("/v1/copies", f"/v1/release/{document}"):
        status, said = sent(box, f"POST {path}", body)
        assert (status, json.loads(said)["error"]["code"]) == (400, "bad-question")
    assert box.rows(f"SELECT state FROM document WHERE id = '{document}'") == [("held",)]
    assert box.said("log", level="error") == []


def test_labels_of_metrics_are_the_configurations_own(box: Daemon) -> None:
    status, page = box.get("/metrics")
    assert status == 200
    assert "__class__" not in page
    assert box.metric("archived_held_documents") == {("odd-thing",): len(NAMES)}
