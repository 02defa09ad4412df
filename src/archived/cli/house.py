"""Commands about the whole house: how it stands, its balance sheet, its ledger, its plug-ins."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from archived.cli import shown
from archived.cli.asking import Session


@click.command("status")
@click.pass_obj
def status(session: Session) -> None:
    """Show how the archive stands: is it working, what is in it, what waits for a person."""
    answer = session.ask("status")
    if session.as_json:
        shown.as_json(answer)
        return
    _status(answer, session)


def _status(it: dict[str, Any], session: Session) -> None:
    zone, live, now = session.place.zone, it["daemon"], datetime.now(UTC)

    def ago(text: str | None) -> str | None:
        return text and f"{shown.span((now - datetime.fromisoformat(text)).total_seconds())} ago"

    if live is None:
        shown.pairs([("daemon", "not running")])
    else:
        ready = "; ".join(live["not_ready"])
        shown.pairs([
            ("daemon", f"archived {live['version']}, started {ago(live['started'])}"),
            ("working", "yes" if not ready else f"no: {ready}"),
            ("lanes", ", ".join(f"{lane} {wide}" for lane, wide in live["lanes"].items())),
            ("metrics", live["metrics"]),
        ])  # fmt: skip
    held = sum(it["held"].values())
    shown.pairs([
        ("documents", ", ".join(f"{n} {state}" for state, n in it["documents"].items()) or "none"),
        ("pages archived", it["pages_archived"]),
        ("oldest in work", ago(it["oldest_document_in_work"])),
        ("oldest file not taken in", ago(it["oldest_unclaimed_file"])),
        ("for a person", f"{held} held ({', '.join(it['held'])})" if held else "nothing"),
        ("unaccounted files", sum(sheet["unaccounted"] for sheet in it["balance"])),
        ("ledger", f"{it['ledger']['sequence']} entries"),
    ])  # fmt: skip
    for problem_of, problems in (live or {}).get("problems", {}).items():
        for problem in problems:
            shown.line(f"problem: {problem_of}: {problem}", "red")
    for active in (live or {}).get("running", ()):
        shown.line("running: " + ", ".join(f"{k} {v}" for k, v in active.items()))
    del zone


COMMANDS = (status,)
