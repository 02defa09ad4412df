"""Requests that nobody types: each is answered, with a code, and the daemon goes on."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from archived.testing.daemon import Daemon


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    box = Daemon(tmp_path_factory.mktemp("asked"))
    box.start()
    box.drop("a.txt")
    box.sealed("a.txt")
    yield box
    if box.running():
        box.end()
    box.close()


def asked(box: Any, request: bytes) -> tuple[int, Any]:
    """Status, and the body as JSON where it is."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(20)
        line.connect(str(box.socket))
        line.sendall(request)
        answer = b""
        while piece := line.recv(65536):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    try:
        return int(head.split()[1]), json.loads(body)
    except ValueError:
        return int(head.split()[1]), body


def get(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()


def post(target: str, body: bytes) -> bytes:
    head = f"POST {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    return head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body


LONG = "9" * 700
QUESTIONS = [
    "/v1/documents?limit=" + LONG,
    "/v1/documents?limit=-1",
    "/v1/documents?limit=1e9",
    "/v1/documents?limit=%D9%A1",
    "/v1/documents?states=nonsense",
    "/v1/documents?states=" + "sealed," * 90,
    "/v1/documents?before=%00",
    "/v1/documents?before=%ED%A0%80",
    "/v1/documents?name=" + "%25_" * 150,
    "/v1/documents?hotfolder=..%2f..%2f",
    "/v1/documents?dossier=" + "%F0%9F%98%80" * 50,
    "/v1/search?words=" + "%22" * 200,
    "/v1/search?words=" + "a*+NEAR(" * 40,
    "/v1/search?words=" + "(" * 500,
    "/v1/search?words=-",
    "/v1/search?words=NOT+NOT+NOT",
    "/v1/search?words=a&limit=0",
    "/v1/account?zone=..%2f..%2fetc%2fpasswd",
    "/v1/account?zone=%00",
    "/v1/account?since=0000-00-00",
    "/v1/account?since=9999-12-31&until=0001-01-01",
    "/v1/account?by=nonsense",
    "/v1/explain?document=a.txt&zone=..%2f..%2fetc%2fpasswd",
    "/v1/explain?document=a.txt&language=..%2f..%2fetc",
    "/v1/explain?document=a.txt&verbose=%00",
    "/v1/show?document=%25",
    "/v1/show?document=",
    "/v1/review?document=..",
    "/v1/reviews?limit=x",
    "/v1/reviews?code=%FF",
    "/v1/old-readings?limit=" + LONG,
    "/v1/old-readings?before=%FF",
    "/v1/__class__",
    "/v1/" + "a" * 500,
    "/v1/picture/a/b/..%2f..%2f..%2fetc%2fpasswd",
    "/v1/picture/%00/%00/%00",
    "/v1/picture/a/b/%ED%A0%80",
]


@pytest.mark.parametrize("target", QUESTIONS)
def test_a_question_made_to_break_is_answered(box: Any, target: str) -> None:
    status, body = asked(box, get(target))
    assert status < 500 or (isinstance(body, dict) and body["error"]["code"]), body
    assert b"Traceback" not in json.dumps(body, default=str).encode()
    assert not [line for line in box.lines() if "Error handling request" in line["event"]]


BODIES = {
    "nothing": b"",
    "no JSON": b"{",
    "a list": b"[]",
    "a number": b"5",
    "deep": b"[" * 100_000,
    "many digits": b'{"note": ' + b"9" * 6000 + b"}",
    "three megabytes": b'{"note": "' + b"x" * (3 << 20) + b'"}',
    "no text": b'{"note": "\\ud800"}',
    "a NUL": b'{"note": "\\u0000", "operator": "\\u0000"}',
    "no UTF-8": b'{"note": "\xff"}',
    "an operator that is a list": b'{"operator": ["root"], "note": {"a": 1}}',
    "an operator of lines": b'{"operator": "x\\nroot (", "note": "y"}',
    "half a character behind": b'{"after": "\\ud800"}',
    "behind a number": b'{"after": 1e999}',
    "again, not at all": b'{"again": "no", "after": "\\"; --"}',
}


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("target", ["/v1/copies", "/v1/release/%00"])
def test_a_decision_made_to_break_is_answered_and_changes_nothing(
    box: Any, target: str, body: str
) -> None:
    before = box.rows("SELECT id, state, stages, changed FROM document")
    status, answer = asked(box, post(target, BODIES[body]))
    assert status < 500 or (isinstance(answer, dict) and answer["error"]["code"]), answer
    assert box.rows("SELECT id, state, stages, changed FROM document") == before
    assert not [line for line in box.lines() if "Error handling request" in line["event"]]


def test_it_answers_and_works_afterwards(box: Any) -> None:
    assert asked(box, get("/v1/status"))[0] == 200
    box.drop("b.txt")
    box.sealed("b.txt")
