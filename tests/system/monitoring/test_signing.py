"""A real time stamp authority behind the real daemon: latency, and what was not stamped, show."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread

from archived.testing.ports import free_port
from plugins.sign.tests import conftest as signing

pki, make_pdfa = signing.pki, signing.make_pdfa
SAYS = Path(sys.executable).parent / "archivectl"


@contextmanager
def authority(pki, port: int) -> Iterator[None]:
    """Answers by RFC 3161 on a port of loopback."""
    known = signing.AnimatorArchStore({signing.ArchLabel("bench"): pki.architecture})
    app = signing.Animator(known, with_web_ui=False)
    server = signing.make_server("127.0.0.1", port, app)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def waits(box) -> float:
    return box.metric("archived_service_wait_seconds_count").get(("tsa", "sign"), 0)


def said(box, command: str, name: str) -> str:
    """What `archivectl` says about a document, in one line."""
    words = [SAYS, "--config", box.config, command, box.documents()[name][3]]
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        check=True,
        timeout=150,
        env=os.environ | {"LC_ALL": "C.UTF-8", "LANGUAGE": ""},
    )
    return " ".join(done.stdout.split())


def test_latency_and_pending_signatures_show_as_they_are(box, until, pki, make_pdfa):
    def drop(name: str, width: float) -> None:
        shutil.copy(make_pdfa(width=width), box.hot() / name)  # the same bytes would be the same

    box.tables["plugins"]["enabled"] = ["stamp", "sign"]
    box.tables["pipeline.paper"]["stages"] = ["stamp", "sign", "seal"]
    box.tables["stage.sign"] = pki.key_options()
    with ExitStack() as answering:
        port = free_port()  # it goes and comes back
        answering.enter_context(authority(pki, port))
        stamp = {
            "url": f"http://127.0.0.1:{port}/bench/tsa/tsa",
            "tries": 1,
            "when_down": "sign-without",
        }
        box.tables["stage.sign.timestamp"] = stamp
        box.start()
        drop("stamped.pdf", 590)
        box.sealed("stamped.pdf")
        until(lambda: box.metric("archived_signatures_pending") == {(): 0}, "counted")
    took = box.metric("archived_service_wait_seconds_sum")["tsa", "sign"]
    assert waits(box) == 1
    assert took > 0
    assert took < box.metric("archived_step_seconds_sum")["sign",]
    confined = {protection for _, protection in box.metric("archived_sandbox_active")}
    assert "network" in confined, "sign may use it, stamp ran without, and that still shows"
    used = box.metric("archived_certificate_expiry_timestamp_seconds")
    assert used.keys() == {("sign", "signing"), ("sign", "timestamp")}

    drop("unstamped.pdf", 591)
    box.sealed("unstamped.pdf")
    until(lambda: box.metric("archived_signatures_pending") == {(): 1}, "a lower level shows")
    assert waits(box) == 2, "in vain is waited, too"
    assert "B-T is pending" in said(box, "explain", "unstamped.pdf")
    # As the runbook says.
    named = subprocess.run(
        ["grep", "-rl", "--include=record.json", '"pending": "B-T"', box.folder / "store"],
        capture_output=True,
        text=True,
        check=True,
        timeout=150,
    ).stdout.splitlines()
    assert len(named) == 1
    assert box.documents()["unstamped.pdf"][3] in named[0]

    stamp["when_down"] = "postpone"
    box.reload()
    drop("patient.pdf", 592)
    wanted = ("timestamp-server-down", "postponed", "sign")
    until(lambda: wanted in box.metric("archived_step_attempts_total"), "it waits")
    assert box.states()["patient.pdf"] != "sealed"
    with authority(pki, port):
        said(box, "retry", "patient.pdf")
        box.sealed("patient.pdf")
    until(lambda: waits(box) == 3, "told")
    assert box.metric("archived_signatures_pending") == {(): 1}
