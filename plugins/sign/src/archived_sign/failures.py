"""Why signing waits: the sentences, codes and hints for what is not the document's fault."""

from __future__ import annotations

from archived.api import Message, Postpone
from archived_sign.revocation import NoPath, Revoked, Unavailable, Unreadable
from archived_sign.servers import ServerDown, ServerRefused

Away = (ServerDown, Unavailable)
"""The world may mend itself: with `when_down = "sign-without"` a lower level is made meanwhile."""
Wrong = (ServerRefused, Revoked, NoPath, Unreadable)
"""A person must look; no lower level is made in silence."""


def away(error: ServerDown | Unavailable) -> Postpone:
    """Nobody answers now."""
    if isinstance(error, Unavailable):
        return Postpone(
            Message("revocation cannot be asked: {error}", error=error),
            code="revocation-unavailable",
            hint=Message(
                "the document waits for OCSP and CRLs; check stage.sign.revocation, or import "
                'CRLs with revocation.crls; when_down = "sign-without" would not wait'
            ),
            after="5 min",
        )
    return Postpone(
        Message("the time stamp server is down: {error}", error=error),
        code="timestamp-server-down",
        hint=Message('the document waits for it; when_down = "sign-without" would not'),
        after="5 min",
    )


def wrong(error: Exception) -> Postpone:
    """Somebody answers, and what is said cannot be used."""
    if isinstance(error, ServerRefused):
        return Postpone(
            Message("the time stamp server gives no time stamp: {error}", error=error),
            code="timestamp-refused",
            hint=Message("check stage.sign.timestamp: the address, the user and the password"),
            after="10 min",
        )
    if isinstance(error, Revoked):
        return Postpone(
            Message("a certificate is revoked or on hold: {error}", error=error),
            code="certificate-revoked",
            hint=Message(
                "ask the issuer; documents wait until another certificate is in its place"
            ),
            after="30 min",
        )
    if isinstance(error, NoPath):
        return Postpone(
            Message("a certificate does not lead to a trusted root: {error}", error=error),
            code="untrusted",
            hint=Message("check stage.sign.trusted_roots and stage.sign.timestamp.trusted_roots"),
            after="30 min",
        )
    return Postpone(
        Message("a file of CRLs cannot be used: {error}", error=error),
        code="revocation-unavailable",
        hint=Message("check the files in stage.sign.revocation.crls"),
        after="10 min",
    )


def secrets_unreadable(error: Exception) -> Postpone:
    """The user or the password of a time stamp server."""
    return Postpone(
        Message("the time stamp server's user or password cannot be read: {error}", error=error),
        code="key-unavailable",
        hint=Message("check stage.sign.timestamp.user and stage.sign.timestamp.password"),
        after="10 min",
    )


def roots_unusable(error: Exception) -> Postpone:
    """A file with trusted roots."""
    return Postpone(
        Message("a trusted root cannot be used: {error}", error=error),
        code="untrusted",
        hint=Message("check stage.sign.trusted_roots and stage.sign.timestamp.trusted_roots"),
        after="30 min",
    )


def reserve_too_small(error: Exception) -> Postpone:
    """The signature or the time stamp is larger than the room for it."""
    return Postpone(
        Message("the signature does not fit into the room kept for it: {error}", error=error),
        code="reserve-too-small",
        hint=Message("raise stage.sign.reserve"),
        after="30 min",
    )


def untrusted(what: str, trust: str) -> Postpone:
    """A finished signature or time stamp that leads to no trusted root."""
    return Postpone(
        Message("{what} does not lead to a root you trust: {trust}", what=what, trust=trust),
        code="untrusted",
        hint=Message("check trusted_roots, and that the PKCS#12 file holds the whole chain"),
        after="30 min",
    )


def token_broken(integrity: str) -> Postpone:
    """A token that does not verify once it is in the file."""
    return Postpone(
        Message("the time stamp server's token does not verify: {integrity}", integrity=integrity),
        code="timestamp-refused",
        hint=Message("ask whoever runs the time stamp server"),
        after="10 min",
    )


def not_valid(indication: str) -> Postpone:
    """A signature with validation data that this data does not prove (ETSI EN 319 102-1)."""
    return Postpone(
        Message(
            "the validation data does not prove the signature: {indication}",
            indication=indication,
        ),
        code="validation-failed",
        hint=Message(
            "look the indication up in ETSI EN 319 102-1; check the chain, the trusted roots and "
            "this machine's clock"
        ),
        after="30 min",
    )
