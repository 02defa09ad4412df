"""What a PKCS#12 file holds, and which of its keys signs.

Authorities issue files with several keys: one for encryption and one for signatures, or an expired
one beside the new. The library for PKCS#12 gives one key, the first; the others are read here.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from asn1crypto import pkcs12 as asn1_pkcs12
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
    pkcs12,
)
from cryptography.x509.oid import NameOID

from archived.api import Message, Postpone

PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey


class Pair(NamedTuple):
    """A private key and a certificate of its public key."""

    key: PrivateKey
    certificate: x509.Certificate


class Opened(NamedTuple):
    """A file that was decrypted: what can sign, and every certificate in it."""

    pairs: tuple[Pair, ...]
    certificates: tuple[x509.Certificate, ...]


def spellings(passphrase: str) -> tuple[str, ...]:
    """The ways in which a passphrase may have been typed when the file was made.

    Accents are composed on Windows and decomposed on macOS; an editor may leave blanks at the end.
    """
    typed = (passphrase, passphrase.strip())
    forms = (unicodedata.normalize(form, each) for each in typed for form in ("NFC", "NFD"))
    return tuple(dict.fromkeys((passphrase, *forms, passphrase.strip())))


def open_pkcs12(
    content: bytes, passphrase: str | None, more: Sequence[x509.Certificate] = ()
) -> Opened:
    """Decrypt a PKCS#12 file; `more` are certificates from elsewhere.

    Raises `Postpone` (`key-unavailable`, `key-unusable`).
    """
    candidates = [None] if passphrase is None else [s.encode() for s in spellings(passphrase)]
    for candidate in candidates:
        try:
            found = pkcs12.load_pkcs12(content, candidate)
        except UnsupportedAlgorithm as error:
            raise unavailable(
                Message(
                    "the signing key cannot be opened: its encryption is not supported ({error}); "
                    "to convert it: openssl pkcs12 -legacy -in OLD -nodes | openssl pkcs12 -export "
                    "-out NEW",
                    error=error,
                )
            ) from error
        except ValueError:
            continue
        held = [] if found.cert is None else [found.cert.certificate]
        held += [each.certificate for each in found.additional_certs]
        return opened_file([found.key, *_all_keys(content, candidate)], [*held, *more])
    raise unavailable(
        Message(
            "the signing key cannot be opened: its passphrase is wrong, or it is neither PKCS#12 "
            "nor PEM"
        )
    )


def choose(opened: Opened, wanted: str, now: datetime) -> Pair:
    """The pair that signs. Raises `Postpone` (`key-unusable`, `key-ambiguous`).

    `wanted`: part of a subject's name, a serial number (hexadecimal) or a SHA-256 fingerprint;
    empty: the one whose certificate may sign, and of several the one that is valid at `now`.
    """
    pairs = opened.pairs
    if wanted:
        named = [pair for pair in pairs if _is(pair.certificate, wanted)]
        if not named:
            raise unusable(f'no certificate in the PKCS#12 file is "{wanted}": {_listed(pairs)}')
        pairs = tuple(named)
    if len(pairs) == 1:
        return pairs[0]
    may = [pair for pair in pairs if may_sign(pair.certificate)]
    if not may:
        raise unusable(
            "the PKCS#12 file holds several keys, and none of their certificates allows digital "
            f"signatures: {_listed(pairs)}"
        )
    valid = [pair for pair in may if _is_valid(pair.certificate, now)]
    left = valid or may
    if len(left) > 1:
        raise Postpone(
            Message(
                "the PKCS#12 file holds several keys that may sign: {listed}", listed=_listed(left)
            ),
            code="key-ambiguous",
            hint="write stage.sign.certificate: its name, serial number or SHA-256 fingerprint",
            after="30 min",
        )
    return left[0]


def may_sign(certificate: x509.Certificate) -> bool:
    """Whether its key usage allows digital signatures, or says nothing."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return usage.digital_signature or usage.content_commitment


def common_name(name: x509.Name) -> str:
    """The CN of a name, else the whole name as RFC 4514 text."""
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else name.rfc4514_string()


def unavailable(sentence: str) -> Postpone:
    """The key cannot be read or opened: documents wait."""
    return Postpone(
        sentence,
        code="key-unavailable",
        hint=Message(
            "check stage.sign.key and stage.sign.passphrase; documents wait and nothing is lost"
        ),
        after="10 min",
    )


def unusable(sentence: str) -> Postpone:
    """The key was opened and cannot sign: documents wait."""
    return Postpone(
        sentence,
        code="key-unusable",
        hint=Message(
            "put a PKCS#12 file with an RSA or EC key and its certificate in its place, "
            "or name the certificate in stage.sign.chain"
        ),
        after="30 min",
    )


def opened_file(keys: Iterable[Any], held: Sequence[x509.Certificate]) -> Opened:
    """What a file holds: its keys, each with the certificates of its public key.

    Raises `Postpone` (`key-unusable`).
    """
    distinct = {_public(key.public_key()): key for key in keys if key is not None}
    if not distinct:
        raise unusable(Message("the key's file holds no private key"))
    fit = {p: k for p, k in distinct.items() if isinstance(k, PrivateKey)}
    if not fit:
        raise unusable(Message("the key is neither RSA nor elliptic curve"))
    certificates = tuple(dict.fromkeys(held))
    pairs = tuple(
        Pair(fit[public], each) for each in certificates if (public := _public_of(each)) in fit
    )
    if not pairs:
        raise unusable(Message("none of the certificates belongs to the key"))
    return Opened(pairs, certificates)


def _all_keys(content: bytes, passphrase: bytes | None) -> Iterator[Any]:
    """The keys in the file's own bags. What this cannot read is left to the library's answer."""
    try:
        safes = [
            asn1_pkcs12.SafeContents.load(each["content"].native)
            for each in asn1_pkcs12.Pfx.load(content).authenticated_safe
            if each["content_type"].native == "data"
        ]
    except (TypeError, ValueError):
        return
    for safe in safes:
        yield from _keys_in(safe, passphrase)


def _keys_in(safe: Any, passphrase: bytes | None) -> Iterator[Any]:
    for bag in safe:
        kind = bag["bag_id"].native
        try:
            content = bag["bag_value"].untag().dump()
            if kind == "safe_contents":
                yield from _keys_in(asn1_pkcs12.SafeContents.load(content), passphrase)
            elif kind in {"key_bag", "pkcs8_shrouded_key_bag"}:
                secret = passphrase if kind == "pkcs8_shrouded_key_bag" else None
                yield load_der_private_key(content, secret)
        except (TypeError, ValueError, UnsupportedAlgorithm):
            continue  # a key of another kind: the others may sign


def _is(certificate: x509.Certificate, wanted: str) -> bool:
    bare = wanted.replace(":", "").replace(" ", "").lower().removeprefix("0x").lstrip("0")
    if bare and bare in {
        certificate.fingerprint(SHA256()).hex().lstrip("0"),
        f"{certificate.serial_number:x}",
    }:
        return True
    name = unicodedata.normalize("NFC", common_name(certificate.subject)).casefold()
    whole = unicodedata.normalize("NFC", certificate.subject.rfc4514_string()).casefold()
    text = unicodedata.normalize("NFC", wanted).casefold()
    return text in {name, whole}


def _is_valid(certificate: x509.Certificate, now: datetime) -> bool:
    return certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc


def _listed(pairs: Iterable[Pair]) -> str:
    return "; ".join(map(_described, pairs))


def _described(pair: Pair) -> str:
    it = pair.certificate
    not_fit = "" if may_sign(it) else ", does not allow digital signatures"
    until = f"until {it.not_valid_after_utc:%Y-%m-%d}"
    name = common_name(it.subject)
    return f"{name} (serial number {it.serial_number:x}, {until}{not_fit})"


def _public(key: Any) -> bytes:
    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded


def _public_of(certificate: x509.Certificate) -> bytes:
    try:
        return _public(certificate.public_key())
    except (TypeError, ValueError, UnsupportedAlgorithm):
        return b""  # a kind of key that nothing here has
