"""Prometheus, promtool, Alertmanager: where they are, and that they run on loopback only."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
RULES = ROOT / "packaging" / "prometheus"


def program(name: str) -> str:
    """The program's path; skips, or fails where `./run monitoring` promised to have it."""
    found = shutil.which(name)
    if found is None:
        say = pytest.fail if os.environ.get("ARCHIVED_MONITORING") else pytest.skip
        say(f"{name} is not installed; ./run monitoring brings it")
    return found


def ran(*command: str | Path) -> str:
    """What a program said; fails with it when the program does."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@contextmanager
def running(*command: str | Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server, ended at the end."""
    with log.open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


class Prometheus:
    """Asks a real one."""

    def __init__(self, port: int) -> None:
        self.port = port

    def get(self, path: str, **arguments: str) -> Any:
        words = urllib.parse.urlencode(arguments)
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self.port}/api/v1/{path}?{words}", timeout=30
        ) as answer:
            return json.load(answer)["data"]

    def answers(self) -> bool:
        try:
            return bool(self.get("targets"))
        except (OSError, http.client.HTTPException):
            return False

    def query(self, expression: str) -> list[Any]:
        found: list[Any] = self.get("query", query=expression)["result"]
        return found

    def firing(self) -> set[str]:
        found = self.query('ALERTS{alertstate="firing"}')
        return {each["metric"]["alertname"] for each in found}


class Webhook:
    """Whoever is called at night: keeps what Alertmanager posts."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        told = self.heard

        class Listener(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                told.extend(json.loads(body)["alerts"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Listener)
        self.port = self.server.server_address[1]
        Thread(target=self.server.serve_forever, daemon=True).start()

    def of(self, alert: str, status: str) -> list[dict[str, Any]]:
        return [
            a for a in self.heard if a["labels"]["alertname"] == alert and a["status"] == status
        ]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
