"""One moment of the long-term drill, in a process of its own so that `faketime` can move its clock.

`python -m plugins.sign.tests.long_term_drill FOLDER PORT TASK...`: prints one line of JSON for each
task. A task is `sign:NAME:LEVEL[:AWAY]`, `judge:NAME` or `renew:NAME:NEW:SERVER[:LEVEL]`. The
folder holds the keys, `document.pdf`, and what earlier calls left.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from archived.api import Artifact, Context, Document, Refuse, Result, Role
from archived_sign import Sign
from archived_sign.options import SignOptions
from archived_sign.revocation import Material, NoPath, RevocationSource
from archived_sign.run import anchors
from archived_sign.signed_file import inspect
from archived_sign.token import certificates_of, signer_of
from archived_sign.validation import judge

from .authority import Authority, running


def run(
    folder: Path, options: dict[str, Any], path: Path, facts: dict[str, Any] | None = None
) -> Result:
    """`run`, or `upgrade` when there are facts of an earlier run."""
    now = datetime.now(UTC)
    main = Artifact(path, "document.pdf", "application/pdf", Role.ACCESS)
    told = {"sign": facts} if facts else {}
    document = Document("d1", now, "scans", "thư.pdf", main, (main,), told)
    context = Context(
        options=Sign.config().model_validate(options),
        folder=Path(mkdtemp(dir=folder)),
        deadline=now + timedelta(minutes=2),
        stage="sign",
    )
    return Sign().upgrade(document, context) if facts else Sign().run(document, context)


def _keep(folder: Path, name: str, result: Result) -> dict[str, Any]:
    if result.replace_main is None:
        return {"level": "unchanged", "proof_until": result.facts["proof_until"]}
    (folder / f"{name}.pdf").write_bytes(result.replace_main.path.read_bytes())
    (folder / f"{name}.json").write_text(json.dumps(dict(result.facts)))
    return {"level": result.facts["level"], "proof_until": result.facts["proof_until"]}


def _task(folder: Path, authority: Authority, task: str) -> dict[str, Any]:
    kind, name, *more = task.split(":")
    if kind == "sign":
        level, *away = more
        authority.away = set(away)
        options = authority.options(level, when_down="sign-without")
        return _keep(folder, name, run(folder, options, folder / "document.pdf"))
    facts = json.loads((folder / f"{name}.json").read_text())
    if kind == "renew":
        new, server, *level = more
        options = authority.options(*level or ("B-LTA",), servers=(server,))
        try:
            return _keep(folder, new, run(folder, options, folder / f"{name}.pdf", facts))
        except Refuse as refusal:
            return {"refused": refusal.code}
    return {"name": name, **_judged(folder / f"{name}.pdf", facts["field"], authority)}


def _judged(path: Path, field: str, authority: Authority) -> dict[str, Any]:
    """As a verifier of that time would: the last time stamp's revocation is asked anew."""
    options = SignOptions.model_validate(authority.options("B-LTA"))
    trusted, inside = anchors(options), inspect(path, field)
    assert inside is not None
    last = inside.tokens[-1]
    leaf = signer_of(last)
    assert leaf is not None
    source = RevocationSource(options.revocation, lambda: 60.0)
    try:
        known = source.gather(leaf, certificates_of(last), trusted.timestamp_roots)
    except NoPath:
        known = Material()
    verdict = judge(path, field, trusted, long_term=True, updated=True, known=known)
    return {"indication": verdict.indication, "integrity": verdict.integrity}


def main(arguments: list[str]) -> int:
    folder, port, *tasks = arguments
    with running(Path(folder), int(port)) as authority:
        for task in tasks:
            told = _task(Path(folder), authority, task)
            print(json.dumps({"task": task, "now": f"{datetime.now(UTC):%Y}", **told}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
