"""Why a token does not sign, each with its code and what a person does about it."""

from __future__ import annotations

from pathlib import Path

from archived.api import Message, Postpone

_UNLOCK = Message("have the token unlocked with its PUK or by whoever issued it")


def no_module(module: Path, error: object) -> Postpone:
    """The driver is not there or does not load."""
    return Postpone(
        Message(
            "the token's module {module} cannot be loaded: {error}", module=module, error=error
        ),
        code="token-module",
        hint=Message("install the token's driver, or correct stage.sign.token.module"),
        after="30 min",
    )


def away(label: str, error: object) -> Postpone:
    """The token is not there, or its session has ended."""
    return Postpone(
        Message("the token {label} does not answer: {error}", label=label, error=error),
        code="token-away",
        hint=Message(
            "put the token in its place and see that pcscd runs; documents wait and nothing is lost"
        ),
        after="1 min",
    )


def refused(label: str, record: Path) -> Postpone:
    """The PIN is wrong."""
    return Postpone(
        Message("the token {label} refuses the PIN; it is not tried again", label=label),
        code="pin-refused",
        hint=_afterwards(record),
        after="30 min",
    )


def not_tried_again(record: Path, outcome: str) -> Postpone:
    """An earlier try was refused, or ended in a way that nobody knows."""
    return Postpone(
        Message(
            "the PIN is not tried again: its last try ended as {outcome} ({record})",
            outcome=outcome,
            record=record,
        ),
        code="pin-not-tried-again",
        hint=_afterwards(record),
        after="30 min",
    )


def _afterwards(record: Path) -> Message:
    return Message(
        "correct stage.sign.token.pin, look at the token's remaining tries, then remove {record}",
        record=record,
    )


def locked(label: str) -> Postpone:
    """The token takes no PIN any more."""
    return Postpone(
        Message("the token {label} is locked", label=label),
        code="pin-locked",
        hint=_UNLOCK,
        after="30 min",
    )


def last_try(label: str) -> Postpone:
    """One more wrong PIN would lock it."""
    return Postpone(
        Message("the token {label} has one try of its PIN left, which is not used", label=label),
        code="pin-locked",
        hint=Message("log in to the token once by hand with the right PIN"),
        after="30 min",
    )


def in_use() -> Postpone:
    """Another process logs in just now: a reload has two for a moment."""
    return Postpone(
        Message("another process is logging in to the token"),
        code="pin-in-use",
        hint=Message("nothing: it is tried again"),
        after="10 s",
    )


def pin_unreadable(error: object) -> Postpone:
    """The PIN itself cannot be had."""
    return Postpone(
        Message("the token's PIN cannot be read: {error}", error=error),
        code="key-unavailable",
        hint=Message("check stage.sign.token.pin; documents wait and nothing is lost"),
        after="10 min",
    )


def no_record(folder: Path, error: object) -> Postpone:
    """Without the record nothing is tried."""
    return Postpone(
        Message("the record of the PIN's tries cannot be kept: {error}", error=error),
        code="key-unavailable",
        hint=Message("make the folder {folder}, owned by the service", folder=folder),
        after="10 min",
    )


def unusable(sentence: str) -> Postpone:
    """The token answers, and what it holds cannot sign."""
    return Postpone(
        sentence,
        code="key-unusable",
        hint=Message(
            "check key_label, key_id and certificate of stage.sign.token: "
            "pkcs11-tool --module MODULE -O lists what the token holds"
        ),
        after="30 min",
    )


def no_key(count: int) -> Postpone:
    """None or several private keys fit."""
    return unusable(Message("{count} private keys of the token fit, not one", count=count))


def no_certificate(labels: list[str], count: int) -> Postpone:
    """None or several certificates fit."""
    return unusable(
        Message(
            "{count} certificates of the token fit, not one; it holds: {labels}",
            count=count,
            labels=", ".join(labels),
        )
    )
