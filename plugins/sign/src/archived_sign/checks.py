"""What `archived check` says about `[stage.sign]`: one sentence per problem, with what to do."""

from __future__ import annotations

from collections.abc import Iterator

from archived.api import Message, Postpone
from archived_sign.key_source import key_source
from archived_sign.keys import Credential, flaws, now_utc, ordered_chain
from archived_sign.options import SignOptions
from archived_sign.pem_keys import read_certificates
from archived_sign.pkcs12_keys import common_name
from archived_sign.revocation import Unreadable, read_crls
from archived_sign.verdict import read_roots


def problems(options: SignOptions) -> Iterator[str]:
    """Everything that will stop signing, or soon will."""
    name = ""
    try:
        credential = key_source(options).examine()
    except Postpone as failure:
        yield Message("{message}; {hint}", message=failure.message, hint=failure.hint)
    else:
        name = credential.name
        for flaw in flaws(credential, now_utc(), throwaway=options.allow_throwaway):
            yield Message("{sentence}; {hint}", sentence=flaw.sentence, hint=flaw.hint)
        yield from _chain(options, credential)
    yield from _roots(options)
    yield from _timestamp_secrets(options)
    yield from _crls(options)
    if options.visible != "none":
        yield from _font(options, name)


def _chain(options: SignOptions, credential: Credential) -> Iterator[str]:
    """A chain that ends below the trusted roots: a signature could not be traced to them."""
    try:
        roots = read_certificates(options.trusted_roots)
    except Postpone:
        return  # told with the roots
    held = [*credential.chain, *roots]
    top = (credential.certificate, *ordered_chain(credential.certificate, held))[-1]
    if roots and top not in roots:
        yield Message(
            "the certificate of {name} does not lead to a trusted root: {issuer} is missing; "
            "name its certificate in chain, or the root in trusted_roots",
            name=credential.name,
            issuer=common_name(top.issuer),
        )


def _roots(options: SignOptions) -> Iterator[str]:
    for path in (*options.trusted_roots, *options.timestamp_roots):
        try:
            read_roots([path])
        except (OSError, ValueError) as error:
            yield Message(
                "a trusted root cannot be used: {error}; name a PEM file with certificates",
                error=error,
            )


def _timestamp_secrets(options: SignOptions) -> Iterator[str]:
    if options.timestamp is None:
        return
    for server in options.timestamp.in_order():
        for secret in (server.user, server.password):
            try:
                if secret is not None:
                    secret.read_text()
            except (OSError, UnicodeDecodeError) as error:
                yield Message(
                    "a secret of the time stamp server cannot be read: {error}", error=error
                )


def _crls(options: SignOptions) -> Iterator[str]:
    for path in options.revocation.crls:
        try:
            read_crls(path)
        except Unreadable as error:
            yield Message(
                "a file of CRLs cannot be used: {error}; check stage.sign.revocation.crls",
                error=error,
            )


def _font(options: SignOptions, name: str) -> Iterator[str]:
    from archived_sign.appearance import find_font, missing_letters

    advice = Message("install fonts-croscore or fonts-liberation2, or set stage.sign.font")
    try:
        font = find_font(options.font)
        if missing := missing_letters(font, name):
            yield f"{font} lacks letters of the signer's name: {missing}; {advice}"
    except ValueError as error:
        yield Message(
            "the visible signature has no font: {error}; {advice}", error=error, advice=advice
        )
