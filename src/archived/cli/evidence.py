"""`archivectl evidence`: evidence records (RFC 4998) of this archive or of any other program.

Needs neither the daemon, nor the catalog, nor the network.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archived.cli import output
from archived.cli.client import Session
from archived.cli.errors import OK, PROBLEM
from archived.cli.group import Program
from archived.errors import EvidenceError
from archived.locale import _, render
from archived.message import Message

if TYPE_CHECKING:
    from archived.evidence.timestamp_tokens import Trust
    from archived.evidence.verification import Verdict

_LARGEST = 4 << 20
"""Bytes of the largest record, certificate file or list that is read: real ones have under 100 KiB,
revocation lists under 4 MiB."""


@click.group("evidence", cls=Program)
def evidence() -> None:
    """Proof that files existed at a time, by evidence records of RFC 4998."""


@evidence.command("verify")
@click.argument("record", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--root",
    "roots",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="A PEM or DER file with certificates that you trust to vouch for time stamp servers.",
)
@click.option(
    "--crl",
    "crls",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="A PEM or DER file with a revocation list.",
)
@click.option(
    "--at",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DAY",
    help="As seen at the end of this day (YYYY-MM-DD, UTC) instead of now.",
)
@click.pass_obj
def verify(
    session: Session,
    record: Path,
    files: Sequence[Path],
    roots: Sequence[Path],
    crls: Sequence[Path],
    at: datetime | None,
) -> None:
    """Does RECORD prove that the FILES existed when its first time stamp says?

    RECORD is the DER or base64 file of an evidence record. Give all the files of its data group,
    or one of them. Nothing is fetched. Ends with 1 unless the verdict is "valid".
    """
    from archived.evidence import verification

    now = datetime.now(UTC)
    moment = now if at is None else at.replace(hour=23, minute=59, second=59, tzinfo=UTC)
    der = _unarmoured(_read(record))
    for path in files:
        _check_readable(path)
    trust = _trust(roots, crls)

    def digests(algorithm: str) -> list[bytes]:
        return [_digest(path, algorithm) for path in files]

    verdict = verification.verify(der, digests, trust, moment=moment)
    if session.as_json:
        output.as_json(_as_json(verdict, moment))
    else:
        _show(verdict)
    sys.exit(OK if verdict.outcome is verification.Outcome.VALID else PROBLEM)


def _show(verdict: Verdict) -> None:
    if verdict.existed is not None:
        told = _("valid: the bytes existed on {moment}")
        output.line(told.format(moment=_moment(verdict.existed)), "green")
    else:
        word = _("INVALID: {why}") if verdict.outcome == "invalid" else _("not established: {why}")
        output.line(word.format(why=render(verdict.why)), "red")
    for number, stamp in enumerate(verdict.stamps, start=1):
        told = _("time stamp {number}: {moment}, {authority}").format(
            number=number, moment=_moment(stamp.at), authority=stamp.authority
        )
        output.line(told)
        told = _("  certificate until {moment}; revocation: {revocation}").format(
            moment=_moment(stamp.not_after), revocation=_revocations()[stamp.revocation]
        )
        output.line(told, "dim")


def _moment(moment: datetime) -> str:
    """In UTC: a proof is read in other places than where it was made."""
    return output.moment(moment.isoformat(), UTC, seconds=True) + " UTC"


def _revocations() -> dict[str, str]:
    return {
        "good": _("not revoked"),
        "revoked": _("revoked"),
        "not established": _("not established"),
    }


def _as_json(verdict: Verdict, moment: datetime) -> dict[str, Any]:
    return {
        "verdict": str(verdict.outcome),
        "code": verdict.code,
        "why": verdict.why,
        "at": moment.isoformat(),
        "existed": verdict.existed and verdict.existed.isoformat(),
        "stamps": [
            {
                "at": stamp.at.isoformat(),
                "authority": stamp.authority,
                "not_after": stamp.not_after.isoformat(),
                "serial": f"{stamp.serial:x}",
                "intact": stamp.intact,
                "trusted": stamp.trusted,
                "why": stamp.why,
                "revocation": stamp.revocation,
            }
            for stamp in verdict.stamps
        ],
    }


def _check_readable(path: Path) -> None:
    """A file is named although the record fails before its digest is needed."""
    try:
        path.open("rb").close()
    except OSError as error:
        raise _unreadable(path, error) from error


def _digest(path: Path, algorithm: str) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, algorithm).digest()
    except OSError as error:
        raise _unreadable(path, error) from error


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(content) > _LARGEST:
        raise EvidenceError(
            Message("{path} is larger than {bytes} bytes", path=path, bytes=_LARGEST),
            hint=Message("give the evidence record first, then the files that it proves"),
        )
    return content


def _unreadable(path: Path, error: OSError) -> EvidenceError:
    return EvidenceError(
        Message("{path} cannot be read: {error}", path=path, error=error.strerror or error),
        hint=Message("check the name and who may read the file"),
    )


def _unarmoured(content: bytes) -> bytes:
    """DER as it is; base64, as records are often published, decoded."""
    import base64
    import binascii

    if content[:1] == b"\x30":
        return content
    try:
        return base64.b64decode(b"".join(content.split()), validate=True)
    except binascii.Error:
        return content


def _trust(roots: Sequence[Path], lists: Sequence[Path]) -> Trust:
    from asn1crypto import crl, x509

    from archived.evidence.timestamp_tokens import Trust

    return Trust(
        anchors=_certificates(roots, x509.Certificate),
        crls=_certificates(lists, crl.CertificateList),
    )


def _certificates(paths: Sequence[Path], kind: Any) -> list[Any]:
    """What the files hold, each PEM with one or more, or DER with one."""
    from asn1crypto import pem

    found = []
    for path in paths:
        content = _read(path)
        try:
            armoured = pem.detect(content)
            parts = [part for *_, part in pem.unarmor(content, True)] if armoured else [content]
            for part in parts:
                one = kind.load(part, strict=True)
                _ = one.native
                found.append(one)
        except (ValueError, TypeError, KeyError) as error:
            raise EvidenceError(
                Message("{path} holds no certificate or list: {error}", path=path, error=error),
                hint=Message("give a PEM or DER file"),
            ) from error
    return found


COMMANDS = (evidence,)
