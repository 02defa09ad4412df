"""One run of the stage `signatures`: every original, judged, counted and worded."""

from __future__ import annotations

from collections import Counter
from typing import Any

from archived.api import Context, Document, Message, Postpone, Result
from archived_sign.incoming.examine import examine
from archived_sign.incoming.judgement import INVALID, OPEN, VALID, SignatureVerdict, Trusted
from archived_sign.incoming.options import SignaturesOptions
from archived_sign.keys import as_asn1
from archived_sign.report import tools
from archived_sign.revocation import Unreadable, read_crls
from archived_sign.verdict import read_roots

_NOTED = 20
"""Signatures that have a sentence of their own; the facts have all."""


def read_trusted(options: SignaturesOptions) -> Trusted:
    """The configured roots and CRLs. Raises `OSError`, `ValueError` naming the file."""
    try:
        crls = [crl for path in options.crls for crl in read_crls(path)]
    except Unreadable as error:
        raise ValueError(str(error)) from error
    return Trusted(
        [as_asn1(each) for each in read_roots(options.trusted_roots)],
        [as_asn1(each) for each in read_roots(options.timestamp_roots)],
        crls,
    )


def judge_originals(document: Document, context: Context[SignaturesOptions]) -> Result:
    """Judge the signatures of every original PDF. Raises `Postpone` (`roots-unusable`)."""
    try:
        trusted = read_trusted(context.options)
    except (OSError, ValueError) as error:
        raise Postpone(
            Message("a trusted root or CRL cannot be used: {error}", error=error),
            code="roots-unusable",
            hint=Message(
                "check stage.signatures.trusted_roots, timestamp_roots and crls; documents wait"
            ),
            after="30 min",
        ) from error
    files: list[dict[str, Any]] = []
    found: list[SignatureVerdict] = []
    originals = [each for each in document.originals if each.media_type == "application/pdf"]
    for number, original in enumerate(originals):
        context.progress(number / len(originals))
        verdicts, why = examine(original.path, trusted)
        found += verdicts
        files.append(
            {
                "file": original.name,
                "unreadable": why[:300],
                "signatures": [verdict.facts() for verdict in verdicts],
            }
        )
    signed = [each for each in found if each.kind != "empty field"]
    counts = Counter(each.verdict for each in signed)
    facts = {
        "signatures": len(signed),
        "valid": counts[VALID],
        "invalid": counts[INVALID],
        "not_established": counts[OPEN],
        "files": files,
    }
    return Result(facts=facts, tools=tools(), notes=[_note(each) for each in signed[:_NOTED]])


def _note(found: SignatureVerdict) -> str:
    who = found.signer or found.field or "?"
    if found.verdict == VALID:
        return Message("the signature of {who} is valid", who=who)
    if found.verdict == INVALID:
        return Message("the signature of {who} is not valid: {why}", who=who, why=found.why)
    return Message(
        "whether the signature of {who} is valid is not established: {why}",
        who=who,
        why=found.why or found.code,
    )
