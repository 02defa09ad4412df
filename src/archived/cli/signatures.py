"""`archivectl signatures DOC`: the signatures a document arrived with, and the archive's own."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import tzinfo
from typing import Any

import click

from archived.cli import output
from archived.cli.client import Session
from archived.locale import _


@click.command("signatures")
@click.argument("document", metavar="DOC")
@click.pass_obj
def signatures(session: Session, document: str) -> None:
    """Show the signatures of a document: those it arrived with, and the archive's own.

    DOC is its id, or enough of the beginning or end of it, or its file's name. The verdicts are
    those of the stages `signatures` and `sign`, as they are on record.
    """
    answer = session.ask("show", document=document)
    facts: Mapping[str, Any] = answer.get("facts") or {}
    told = {
        "document": answer["id"],
        "name": answer["name"],
        "received": facts.get("signatures"),
        "own": facts.get("sign"),
    }
    if session.as_json:
        output.as_json(told)
        return
    zone = session.place.zone
    output.heading(_("Arrived with"))
    _received(told["received"], zone)
    output.heading(_("The archive's own"))
    _own(told["own"], zone)
    output.line(output.zone_name(zone), "dim")


def _received(facts: Mapping[str, Any] | None, zone: tzinfo) -> None:
    if facts is None:
        output.line(_("not looked at: the stage signatures was not in its pipeline"), "yellow")
        return
    if not facts["signatures"] and not any(each["unreadable"] for each in facts["files"]):
        output.line(_("no signature"))
        return
    for file in facts["files"]:
        for found in file["signatures"]:
            _signature(file["file"], found, zone)
        if file["unreadable"]:
            told = _("{file} could not be read as it should be: {why}")
            output.line(
                told.format(file=output.clean(file["file"]), why=output.clean(file["unreadable"])),
                "yellow",
            )


def _signature(file: str, it: Mapping[str, Any], zone: tzinfo) -> None:
    style = {"valid": "green", "invalid": "red"}.get(it["verdict"], "yellow")
    kinds = {
        "signature": _("signature"),
        "timestamp": _("document time stamp"),
        "empty field": _("empty signature field"),
    }
    who = output.clean(it["signer"] or it["field"]) or "–"
    output.line(f"{kinds[it['kind']]}  {who}", "bold")
    verdict = _verdicts().get(it["verdict"], it["verdict"])
    if it["code"]:
        why = _reasons().get(it["code"]) or it["why"]
        verdict = f"{verdict}: {output.clean(why)} [{it['code']}]"
    output.line(verdict, style, indent=2)
    attested = it["attested_at"]
    weak = _("{digest}, which no longer binds").format(digest=it["digest"])
    rows = [
        (_("file"), output.clean(file)),
        (_("issuer"), output.clean(it["issuer"]) or "–"),
        (_("says it was signed"), output.moment(it["claimed_at"], zone, seconds=True)),
        (_("proven to exist by"), output.moment(attested, zone, seconds=True)),
        (_("signed bytes"), _verdicts().get(it["integrity"], it["integrity"])),
        (_("digest"), weak if it["weak"] else it["digest"] or "–"),
        (_("covers"), _coverages().get(it["coverage"], it["coverage"])),
        (_("added later"), _changes().get(it["changes"], it["changes"])),
        (_("revocation"), _revocations().get(it["revocation"], it["revocation"])),
    ]
    if it["kind"] != "empty field":
        output.pairs(rows)


def _own(facts: Mapping[str, Any] | None, zone: tzinfo) -> None:
    if facts is None:
        output.line(_("not signed: the stage sign was not in its pipeline"))
        return
    if facts["level"] == "none":
        output.line(_("not signed ({reason})").format(reason=facts.get("reason") or "–"))
        return
    level = facts["level"]
    if facts.get("pending"):
        level = _("{level}; {wanted} is pending").format(level=level, wanted=facts["pending"])
    verdict: Mapping[str, Any] = facts.get("verdict") or {}
    output.pairs(
        [
            (_("level"), level),
            (_("signer"), output.clean(facts["signer"])),
            (_("signed"), output.moment(facts["signed_at"], zone, seconds=True)),
            (_("certificate until"), output.moment(facts["not_after"], zone)),
            (_("proof until"), output.moment(facts.get("proof_until"), zone)),
            *(
                (name, output.verdict(verdict[name]))
                for name in ("integrity", "trust", "revocation")
                if name in verdict
            ),
        ]
    )


def _verdicts() -> dict[str, str]:
    return {
        "valid": _("valid"),
        "invalid": _("INVALID"),
        "not established": _("not established"),
    }


def _reasons() -> dict[str, str]:
    """Code -> why, where the sentence on record says no more."""
    return {
        "digest-mismatch": _("the bytes that were signed are not those in the file"),
        "signature-value-wrong": _("the signature was not made with this certificate"),
        "certificate-revoked": _("the certificate was revoked before it was signed"),
        "revoked-since": _(
            "the certificate was revoked, and no time stamp proves that it was signed before"
        ),
        "covers-a-part": _("it covers a part of the file only"),
        "changed-later": _("the file was changed after it was signed"),
        "changes-unknown": _("what was added to the file later could not be judged"),
        "ambiguous-file": _("two cross-reference tables: programs may show different pages"),
        "no-root": _("no trusted root is configured"),
        "weak-digest": _("its digest algorithm no longer binds"),
        "certificate-ended": _(
            "its certificate has ended, and no time stamp proves an earlier time"
        ),
        "untrusted": _("its certificate does not lead to a trusted root"),
        "empty-field": _("nobody has signed here yet"),
        "too-many": _("the file has too many signatures"),
    }


def _coverages() -> dict[str, str]:
    return {
        "file": _("the whole file"),
        "revision": _("the file as it was when it was signed"),
        "beginning": _("the beginning of the file"),
        "unclear": _("unclear"),
    }


def _changes() -> dict[str, str]:
    return {
        "none": _("nothing"),
        "validation data": _("validation data and time stamps"),
        "forms": _("filled form fields and signatures"),
        "annotations": _("annotations"),
        "other": _("other changes"),
        "unknown": _("not established"),
    }


def _revocations() -> dict[str, str]:
    return {
        "good": _("not revoked"),
        "revoked": _("revoked"),
        "not established": _("not established"),
    }


COMMANDS = (signatures,)
