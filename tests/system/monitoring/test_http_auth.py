"""Over HTTP other machines are answered encrypted and by name, or the daemon does not start."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import resource
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace

import pytest

from archived.config.types import Address
from archived.errors import ArchivedError
from archived.observe.http import HttpServer
from archived.observe.http_auth import HttpAccess, hashed, http_access, is_this_machine, matches
from archived.observe.metrics import Metrics
from tests.system.monitoring.monitoring_certificates import certificate

PROGRAM = Path(sys.executable).parent / "archived"


def ask(box, path: str, authority: Path, password: str | None = None, user: str = "prometheus"):
    """Status and body, over TLS."""
    context = ssl.create_default_context(cafile=authority)
    request = urllib.request.Request(f"https://127.0.0.1:{box.port}{path}")
    if password is not None:
        given = base64.b64encode(f"{user}:{password}".encode()).decode()
        request.add_header("Authorization", f"Basic {given}")
    try:
        with urllib.request.urlopen(request, context=context, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def protected(box, listen: str = "0.0.0.0") -> Path:
    """Configure TLS and one user; returns the certificate."""
    public, private = certificate(box.folder / "tls", "first")
    box.tables["web"] = {
        "listen": f"{listen}:{box.port}",
        "certificate": public,
        "key": {"file": private},
        "users": {"prometheus": hashed("bí mật")},
    }
    return public


def check(box) -> tuple[int, str]:
    box.write()
    done = subprocess.run(
        [PROGRAM, "check", "--no-stages", "--config", box.config],
        capture_output=True,
        text=True,
        env=os.environ | {"LANG": "C.UTF-8"},
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_check_refuses_an_address_that_others_can_reach_unprotected(box):
    box.tables["web"] = {"listen": f"0.0.0.0:{box.port}"}
    status, said = check(box)
    assert status == 78
    assert (
        f'web: listen = "0.0.0.0:{box.port}" can be reached by other machines, which needs '
        "certificate, key, users" in said
    )
    protected(box)
    assert check(box)[0] == 0
    del box.tables["web"]["users"]
    assert "which needs users; set what is missing" in check(box)[1]
    box.tables["web"] |= {"listen": f"[::1]:{box.port}"}
    assert check(box)[0] == 0, "to itself a machine may speak as it likes"
    box.tables["web"]["users"] = {"prometheus": "bí mật"}
    status, said = check(box)
    assert status == 78
    assert "web.users.prometheus: write what archived hash-password prints" in said


def test_metrics_are_given_to_those_who_know_the_password_and_health_to_this_machine(box, until):
    authority = protected(box)
    box.start(ready=False)

    def ready() -> bool:
        try:
            return box.alive() and ask(box, "/readyz", authority) == (200, "ok\n")
        except OSError:
            return False

    until(ready, "ready")
    assert ask(box, "/healthz", authority) == (200, "ok\n")
    assert ask(box, "/metrics", authority)[0] == 401
    assert ask(box, "/metrics", authority, "wrong")[0] == 401
    assert ask(box, "/metrics", authority, "bí mật", user="root")[0] == 401
    status, text = ask(box, "/metrics", authority, "bí mật")
    assert status == 200
    assert "archived_build_info" in text
    assert "bí mật" not in box.log.read_text()
    assert box.get("/healthz")[0] == 0, "nothing is answered unencrypted"


def test_a_reload_takes_up_a_new_certificate_and_new_users_and_refuses_bad_ones(box, until):
    authority = protected(box, "127.0.0.1")
    box.start(ready=False)
    until(lambda: box.alive() and box.said("daemon-ready"), "ready")
    certificate(box.folder / "tls", "second")  # in the place of the first
    box.tables["web"]["users"] = {"nagios": hashed("another")}
    box.reload()
    assert ask(box, "/metrics", authority, "bí mật")[0] == 401
    assert ask(box, "/metrics", authority, "another", user="nagios")[0] == 200
    (box.folder / "tls" / "web.key").write_text("no key")
    box.tables["web"]["users"] = {}
    box.reload()
    assert "cannot be used" in box.said("reload-refused")[-1]["why"]
    assert ask(box, "/metrics", authority, "another", user="nagios")[0] == 200, "as before"
    assert "scrypt" not in box.log.read_text(), "not even the hash is told"


def test_a_certificate_that_does_not_fit_stops_the_start_and_says_so(tmp_path):
    public, private = certificate(tmp_path / "one", "one")
    other = certificate(tmp_path / "other", "other")[1]
    from archived.api import SecretRef

    def table(key: Path):
        return SimpleNamespace(
            listen=Address("127.0.0.1", 1), certificate=public, key=SecretRef(file=key), users={}
        )

    assert http_access(table(private)).tls is not None
    for wrong, words in ((other, "key values mismatch"), (tmp_path / "none", "No such file")):
        with pytest.raises(ArchivedError, match=words) as told:
            http_access(table(wrong))
        assert told.value.code == "bad-certificate"
    private.chmod(0o644)
    with pytest.raises(ArchivedError, match="others may read this secret"):
        http_access(table(private))


def test_a_password_is_known_again_and_never_kept():
    kept = hashed("mật khẩu")
    assert kept != hashed("mật khẩu"), "salted"
    assert matches("mật khẩu", kept)
    assert not matches("mật khẩu ", kept)
    # Made by another program: passlib's scrypt of "password".
    assert matches(
        "password",
        "$scrypt$ln=8,r=8,p=1$WKs1xljLudd6z9kbY0wpJQ$yCR4iDZYDKv+iEJj6yHY0lv/epnfB6f/w1EbXrsJOuQ",
    )


def test_who_was_let_in_is_let_in_at_once_and_guessing_costs_time():
    table = SimpleNamespace(
        listen=Address("127.0.0.1", 1), certificate=None, key=None, users={"a": hashed("right")}
    )
    entrance = HttpAccess(table, None)

    def header(user: str, password: str) -> str:
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    assert entrance.at_once(header("a", "right")) is None, "a hash must be computed first"
    assert entrance.admits(header("a", "right"))
    assert entrance.at_once(header("a", "right")) is True
    assert entrance.at_once(header("a", "wrong")) is None
    guesses = [Thread(target=entrance.admits, args=(header(u, "x"),)) for u in ("a", "nobody")]
    for guess in guesses:
        guess.start()
    assert entrance.admits(header("a", "right")), "while others guess"
    for guess in guesses:
        guess.join()
    for odd in (None, "", "Basic", "Basic !!!", "Bearer x"):
        assert entrance.at_once(odd) is False, "nothing to compute"
        assert not entrance.admits(odd)
    assert not entrance.admits(header("a", "wrong"))
    assert not entrance.admits(header("", ""))


def test_this_machine_is_told_from_others():
    assert all(map(is_this_machine, ("127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1")))
    assert not any(map(is_this_machine, ("192.0.2.1", "::ffff:192.0.2.1", "", None, "unix:")))


def test_the_program_makes_the_hash_that_the_configuration_wants(box):
    def printed(password: str, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PROGRAM, "hash-password", *options],
            input=password,
            capture_output=True,
            text=True,
            env=os.environ | {"LANG": "C.UTF-8"},
            check=False,
        )

    kept = printed("bí mật\n").stdout.strip()
    assert matches("bí mật", kept)
    box.tables["web"]["users"] = {"prometheus": kept}
    assert check(box)[0] == 0
    assert matches("x", json.loads(printed("x", "--json").stdout)["hash"])
    refused = printed("\n")
    assert refused.returncode != 0
    assert "an empty password protects nothing" in refused.stderr


async def test_health_is_told_to_other_machines_only_with_the_password():
    """As another machine would ask: the connection's other end is not ours."""
    from aiohttp.test_utils import make_mocked_request

    table = SimpleNamespace(
        listen=Address("127.0.0.1", 1), certificate=None, key=None, users={"a": hashed("right")}
    )
    health = SimpleNamespace(stuck=lambda: "", not_ready=lambda: ["hot folder scans is offline"])
    web = HttpServer(HttpAccess(table, None), Metrics(), health)
    given = {"Authorization": "Basic " + base64.b64encode(b"a:right").decode()}
    for peer, headers, status in (
        ("192.0.2.7", {}, 401),
        ("192.0.2.7", given, 503),
        ("127.0.0.1", {}, 503),
    ):
        request = make_mocked_request("GET", "/readyz", headers=headers).clone(remote=peer)
        answer = await web._get_ready(request)
        assert answer.status == status, peer
        assert ("offline" in (answer.text or "")) == (status == 503)


async def test_health_is_asked_once_at_a_time_and_a_question_without_answer_is_an_answer(
    monkeypatch,
):
    from aiohttp.test_utils import make_mocked_request

    from archived.observe import http as module

    monkeypatch.setattr(module, "PATIENCE", 0.2)
    asked, go = [], Event()

    def slow() -> list[str]:
        asked.append(1)
        go.wait(10)
        return []

    table = SimpleNamespace(listen=Address("127.0.0.1", 1), certificate=None, key=None, users={})
    health = SimpleNamespace(stuck=lambda: "", not_ready=slow)
    web = HttpServer(HttpAccess(table, None), Metrics(), health)
    request = make_mocked_request("GET", "/readyz")
    answers = await asyncio.gather(*(web._get_ready(request) for _ in range(50)))
    assert len(asked) == 1
    assert {answer.status for answer in answers} == {503}
    assert all("does not answer" in (answer.text or "") for answer in answers)
    go.set()
    async with asyncio.timeout(10):
        while (await web._get_ready(request)).status != 200:
            pass


def test_a_flood_of_connections_holds_up_no_document(box, until):
    box.start()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4096:
        pytest.skip(f"too few files may be open here ({hard})")
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, hard))
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        for _ in range(2000):  # none of them ever asks anything
            stack.enter_context(socket.create_connection(("127.0.0.1", box.port), timeout=10))
        assert box.get("/readyz") == (200, "ok\n")
        assert box.process is not None
        assert len(list(Path(f"/proc/{box.process.pid}/fd").iterdir())) < 500, "the oldest went"
        box.drop("a.txt")
        box.sealed("a.txt", seconds=60)
        assert not box.said("sweep-failed")
