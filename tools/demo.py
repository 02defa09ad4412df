"""`./run demo`: the main job on a few sample scans, with the real daemon, and what came of it.

Everything lives in one folder (default `demo/`), made afresh each time. Ends with status 0 only if
every sample is safe: sealed, copied, and the copy read back.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from archived.testing.samples import sample
from archived_sign.throwaway_key import make_throwaway_p12

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ("decision-g4.tif", "dispatch-colour.pdf", "notice-gray.jpg", "party-resolution.png")
DEADLINE = 300.0
console = Console(highlight=False, soft_wrap=True)


def prepare(demo: Path) -> Path:
    """A fresh folder with keys and configuration; returns the configuration's path."""
    if demo.exists():
        for folder, folders, _ in os.walk(demo):
            for name in folders:
                Path(folder, name).chmod(0o755)  # sealed folders are read-only
        shutil.rmtree(demo)
    for name in ("scans", "second", "run"):
        (demo / name).mkdir(parents=True)
    key, passphrase, _ = make_throwaway_p12(demo / "keys", "Demonstration Archive")
    text = (ROOT / "etc" / "archived-demo.toml").read_text()
    text = text.replace("@DEMO@/keys/throwaway.p12", str(key))
    text = text.replace("@DEMO@/keys/passphrase", str(passphrase))
    config = demo / "archived.toml"
    config.write_text(text.replace("@DEMO@", str(demo)))
    return config


def drop_slowly(source: Path, folder: Path, pieces: int = 8) -> None:
    """Write a file the way a scanner does: a piece at a time, under its final name."""
    content = source.read_bytes()
    size = max(1, len(content) // pieces)
    with (folder / source.name).open("wb") as file:
        for start in range(0, len(content), size):
            file.write(content[start : start + size])
            file.flush()
            time.sleep(0.15)


def ask(config: Path, *words: str) -> Any:
    """What `archivectl --json` answers."""
    command = [
        str(Path(sys.executable).with_name("archivectl")),
        "--config",
        str(config),
        "--json",
        *words,
    ]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def progress(documents: list[dict[str, Any]]) -> Table:
    """Where each document stands now."""
    table = Table(box=None, pad_edge=False)
    for title in ("scan", "state", "next"):
        table.add_column(title)
    for each in sorted(documents, key=lambda d: str(d["name"])):
        step = each["next_stage"] or "–"
        table.add_row(
            escape(each["name"]), each["state"], f"{step} ..." if each["running"] else step
        )
    return table


def wait_until_done(config: Path, daemon: subprocess.Popen[bytes]) -> list[dict[str, Any]]:
    """Show progress until every sample is safe or stands still."""
    ends = time.monotonic() + DEADLINE
    documents: list[dict[str, Any]] = []
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        while time.monotonic() < ends and daemon.poll() is None:
            documents = ask(config, "documents")["documents"]
            live.update(progress(documents))
            done = [d for d in documents if d["state"] in {"safe", "held", "rejected"}]
            if len(done) == len(SAMPLES):
                break
            time.sleep(0.25)
    return documents


def show(config: Path, demo: Path, brief: dict[str, Any]) -> bool:
    """What happened to one document; `True` when it is safe."""
    document = ask(config, "show", brief["id"])
    safe = bool(document["state"] == "safe")
    colour = "green" if safe else "red"
    console.rule(
        f"[bold]{escape(document['name'])}[/] [{colour}]{document['state']}[/]", align="left"
    )
    for told in ask(config, "explain", brief["id"])["story"]:
        console.print(f"  {told['at'][11:19]}  {escape(told['what'])}")
    if document["object"]:
        console.print(f"  object   {Path(document['object']['path']).relative_to(demo)}")
    for copy in document["replicas"]:
        console.print(f"  copy     {copy['target']}/{copy['key']}  (read back)")
    for name, value in document["fields"].items():
        console.print(f"  {name:<13}{escape(' / '.join(value.splitlines()))}")
    signature = document["facts"].get("sign", {})
    if signature:
        verdict = signature.get("verdict", {})
        console.print(
            f"  signature    {signature.get('level')} by {escape(str(signature.get('signer')))}; "
            f"integrity: {verdict.get('integrity')}; trust: {escape(str(verdict.get('trust')))}"
        )
    return safe


def metric(url: str, beginning: str) -> str:
    """The first line of `/metrics` that begins so."""
    with urllib.request.urlopen(url) as answer:  # loopback, our own daemon
        for line in answer.read().decode().splitlines():
            if line.startswith(beginning):
                return str(line)
    return f"{beginning}: not there"


def how_to_go_on(config: Path) -> None:
    """What to try next."""
    console.rule("look further", align="left")
    archivectl = f".venv/bin/archivectl --config {config}"
    for line in (
        f"{archivectl} documents",
        f'{archivectl} search "quyết định"',
        f"{archivectl} ledger verify",
        f".venv/bin/archived run --config {config}  # then drop scans into {config.parent}/scans",
    ):
        console.print(f"  {line}")


def main() -> int:
    """Run the demonstration; returns the exit status."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--folder", type=Path, default=ROOT / "demo")
    demo = options.parse_args().folder.resolve()
    config = prepare(demo)
    console.print(f"starting the daemon with {config}")
    with (demo / "daemon.log").open("wb") as log:
        daemon = subprocess.Popen(
            [str(Path(sys.executable).with_name("archived")), "run", "--config", str(config)],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(demo / "run" / "control.sock", daemon)
        for name in SAMPLES:
            drop_slowly(sample(name), demo / "scans")
        documents = wait_until_done(config, daemon)
        safe = [show(config, demo, each) for each in reversed(documents)]
        url = ask(config, "status")["daemon"]["metrics"]
        console.rule(url, align="left")
        console.print(f"  {metric(url, 'archived_unaccounted_files')}")
        how_to_go_on(config)
    except (subprocess.CalledProcessError, OSError, TypeError) as error:
        console.print(
            f"[red]the daemon does not answer: {escape(str(error))}; see {demo}/daemon.log[/]"
        )
        safe = []
    finally:
        daemon.send_signal(signal.SIGTERM)
        status = daemon.wait(timeout=60)
    everything = len(safe) == len(SAMPLES) and all(safe) and status == 0
    console.print(
        f"[green]all {len(safe)} samples are safe[/]"
        if everything
        else f"[red]only {sum(safe)} of {len(SAMPLES)} samples are safe; see {demo}/daemon.log[/]"
    )
    return 0 if everything else 1


def wait_for(socket: Path, daemon: subprocess.Popen[bytes]) -> None:
    """Until the daemon listens; `OSError` when it ended instead."""
    ends = time.monotonic() + 60
    while not socket.exists():
        if daemon.poll() is not None or time.monotonic() > ends:
            raise OSError(f"archived ended with status {daemon.poll()}")
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
