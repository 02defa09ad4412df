"""Clients that nobody knows cannot take the threads, the processor or the memory of the archive."""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
import subprocess
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from itertools import islice, pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from archived.config.types import Address
from archived.observe.http import HttpServer
from archived.observe.http_auth import HttpAccess, hashed
from archived.observe.http_listener import CONNECTIONS, HANDSHAKES, client_network
from archived.observe.metrics import Metrics
from archived.testing.ports import free_port

HEALTH = SimpleNamespace(stuck=lambda: "", not_ready=list)


def header(password: str, user: str = "prometheus") -> dict[str, str]:
    given = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {given}"}


async def asked(
    port: int,
    path: str,
    *,
    of: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, str]:
    """Status and body, asked from a local address of its own."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, local_addr=(of, 0), ssl=tls, server_hostname="" if tls else None
    )
    lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    return int(answer.split()[1]), answer.partition("\r\n\r\n")[2]


def opened(users: dict[str, str], tls: ssl.SSLContext | None = None) -> tuple[HttpServer, int]:
    port = free_port()
    table = SimpleNamespace(
        listen=Address("127.0.0.1", port), certificate=None, key=None, users=users
    )
    return HttpServer(HttpAccess(table, tls), Metrics(), HEALTH), port


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    made = tmp_path / "web.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-keyout",
            made,
            "-out",
            tmp_path / "certificate",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
        ],
        check=True,
        capture_output=True,
    )
    made.write_text(made.read_text() + (tmp_path / "certificate").read_text())
    return made


def test_a_client_is_counted_by_what_one_host_can_have():
    assert client_network("192.0.2.7") == client_network("::ffff:192.0.2.7") == "192.0.2.7"
    assert client_network("2001:db8::1") == client_network("2001:db8::ffff:2")
    assert client_network("2001:db8::1") != client_network("2001:db8:0:1::1")
    assert client_network("fe80::1%eth0") == client_network("fe80::2%eth1")
    assert client_network("") == ""


async def test_clients_take_no_thread_of_the_archives_own_work():
    blocked = threading.Event()
    with ThreadPoolExecutor(1) as busy:
        asyncio.get_running_loop().set_default_executor(busy)
        busy.submit(blocked.wait, 30)
        try:
            web, port = opened({"prometheus": hashed("right")})
            async with asyncio.timeout(20), web:
                assert (await asked(port, "/metrics", headers=header("wrong")))[0] == 401
                assert (await asked(port, "/metrics", headers=header("right")))[0] == 200
                assert (await asked(port, "/readyz")) == (200, "ok\n")
        finally:
            blocked.set()


async def test_guessing_takes_a_fifth_of_a_core_and_keeps_no_other_host_out():
    web, port = opened({"prometheus": hashed("right")})
    seen, ended = asyncio.Event(), asyncio.Event()
    answers: Counter[int] = Counter()

    async def guesses(client: int) -> None:
        while not ended.is_set():
            status, _ = await asked(
                port, "/metrics", of=f"127.0.1.{client % 5}", headers=header(f"wrong {client}")
            )
            answers[status] += 1
            if status == 401:
                seen.set()

    async with web, asyncio.timeout(60):
        guessing = [asyncio.create_task(guesses(client)) for client in range(1, 31)]
        await seen.wait()
        status = 429
        while status == 429:  # its first time: a hash must be computed
            status, _ = await asked(port, "/metrics", of="127.0.0.9", headers=header("right"))
        assert status == 200
        assert (await asked(port, "/metrics", of="127.0.0.9", headers=header("right")))[0] == 200
        # Known by now: it does not wait for anybody, of whatever address.
        assert (await asked(port, "/metrics", of="127.0.1.1", headers=header("right")))[0] == 200
        ended.set()
        await asyncio.gather(*guessing)
    assert set(answers) == {401, 429}
    assert answers[429] > answers[401]


async def test_after_a_wrong_password_the_check_rests_longer_than_it_worked():
    from archived.observe.http_auth import PasswordAttempts

    attempts = PasswordAttempts()
    spans: list[tuple[float, float]] = []

    def wrong() -> bool:
        began = time.monotonic()
        hashed("x")
        spans.append((began, time.monotonic()))
        return False

    await asyncio.gather(*(attempts.check(f"192.0.2.{n}", wrong) for n in range(4)))
    attempts.close()
    for (began, ended), (following, _) in pairwise(spans):
        assert following - ended >= 3.9 * (ended - began)


async def test_connections_that_never_begin_to_encrypt_have_a_limit(certificate: Path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    web, port = opened({}, context)
    before = open_files()
    trusting = ssl.create_default_context(cafile=str(certificate))
    trusting.check_hostname = False
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(60))
        await stack.enter_async_context(web)
        idle = []
        for _ in range(300):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            stack.callback(writer.close)
            idle.append(reader)
        gone = [asyncio.create_task(_ended(reader)) for reader in idle]
        for ended in islice(asyncio.as_completed(gone), 300 - HANDSHAKES):
            await ended
        served = open_files() - before - 300
        assert served <= CONNECTIONS + 10, "each of ours, and what listens"
        assert await asked(port, "/healthz", of="127.0.0.2", tls=trusting) == (200, "ok\n")
        assert sum(task.done() for task in gone) < 300, "some may still begin"
        for task in gone:
            task.cancel()


async def test_the_host_with_most_connections_makes_room():
    web, port = opened({})
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(60))
        await stack.enter_async_context(web)
        kept = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.7", 0))
        stack.callback(kept[1].close)
        for _ in range(3 * CONNECTIONS):
            _, writer = await asyncio.open_connection(
                "127.0.0.1", port, local_addr=("127.0.0.8", 0)
            )
            stack.callback(writer.close)
        kept[1].write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await kept[0].read()).startswith(b"HTTP/1.1 200 ")


async def test_a_port_in_use_is_told():
    from archived.errors import ArchivedError

    with socket.create_server(("127.0.0.1", 0)) as other:
        table = SimpleNamespace(
            listen=Address("127.0.0.1", other.getsockname()[1]),
            certificate=None,
            key=None,
            users={},
        )
        with pytest.raises(ArchivedError, match="cannot listen on") as told:
            async with HttpServer(HttpAccess(table, None), Metrics(), HEALTH):
                pass
        assert told.value.code == "port-taken"


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def _ended(reader: asyncio.StreamReader) -> None:
    try:
        await reader.read()
    except ConnectionError:
        return
