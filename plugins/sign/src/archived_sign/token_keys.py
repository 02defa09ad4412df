"""A key in a PKCS#11 token (OASIS PKCS #11 v2.40): found, logged in to once, and signed with.

The driver is loaded in the process that signs, and never before a fork. One process has one
session; it is the stage's kept worker, which is replaced when the token does not answer.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from errno import EACCES
from pathlib import Path
from typing import Any

import pkcs11
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)
from pkcs11 import Attribute, KeyType, ObjectClass, TokenFlag
from pkcs11 import exceptions as refusals
from pkcs11.util.ec import encode_ec_public_key
from pkcs11.util.rsa import encode_rsa_public_key
from pyhanko.sign.pkcs11 import (
    ECDSA_MECH_MAP,
    RSA_MECH_MAP,
    select_pkcs11_signing_params,
)
from pyhanko.sign.signers.pdf_cms import ExternalSigner, Signer
from pyhanko_certvalidator.registry import SimpleCertificateStore

from archived.api import Message
from archived_sign import token_failures as failures
from archived_sign.keys import Credential, as_asn1, ordered_chain, pss_mechanism, rsa_padding
from archived_sign.options import TokenOptions
from archived_sign.pin_record import Attempt, PinRecord, TriedBefore, TriedNow

_PROBE = b"archived: does this key belong to its certificate?"
_UNFIT = (
    refusals.MechanismInvalid,
    refusals.MechanismParamInvalid,
    refusals.KeyTypeInconsistent,
    refusals.KeySizeRange,
    refusals.FunctionNotSupported,
)
_held: dict[str, Credential] = {}
"""The credential whose session this process has, by the options it was opened with."""


@dataclass(frozen=True)
class TokenKey:
    """A key in a token, and the folder with the record of its PIN's tries."""

    token: TokenOptions
    pin_record: Path
    pss: bool = False

    @property
    def record(self) -> PinRecord:
        """The record of this token's PIN."""
        return PinRecord(self.pin_record, self.token.label)

    def open(self) -> Credential:
        """The key, in this process's session: it logs in once.

        Raises `Postpone` (`token-module`, `token-away`, `pin-refused`, `pin-locked`,
        `pin-not-tried-again`, `pin-in-use`, `key-unavailable`, `key-unusable`).
        """
        name = repr(self)
        if name not in _held:
            _held[name] = self._opened()
        return _held[name]

    def examine(self) -> Credential:
        """What can be known without a login: the token, its flags, the record, the certificate.

        Raises `Postpone` as `open` does. What is returned does not sign.
        """
        token = find_token(self.token)
        warn_of_flags(token, self.token)
        self._pin()
        try:
            if not os.access(self.pin_record, os.W_OK | os.X_OK):
                raise PermissionError(EACCES, os.strerror(EACCES), str(self.pin_record))
            if outcome := self.record.standing():
                raise failures.not_tried_again(self.record.path, outcome)
        except OSError as error:
            raise failures.no_record(self.pin_record, error) from error
        certificate, chain = certificates(token, self.token)
        with answering(self.token), closing(token.open()) as session:
            public = _public_key(session, self.token)
        if public not in (None, _public_of(certificate)):
            raise failures.unusable(
                Message(
                    "the public key in the token does not belong to the certificate of {name}",
                    name=certificate.subject.rfc4514_string(),
                )
            )
        return Credential(certificate, chain, ExternalSigner(as_asn1(certificate), None))

    def _opened(self) -> Credential:
        token = find_token(self.token)
        with answering(self.token):
            key = _private_key(self._logged_in(token), self.token)
            certificate, chain = certificates(token, self.token, key[Attribute.ID])
            signer = TokenSigner(self.token, key, certificate, chain, pss=self.pss)
        # An RSA mechanism with an EC key has an answer of its own from each driver.
        if not _same_kind(key, certificate) or not _is_of(
            key_signature(signer), certificate, pss=self.pss
        ):
            raise failures.unusable(
                Message(
                    "the certificate of {name} does not belong to the key in the token",
                    name=certificate.subject.rfc4514_string(),
                )
            )
        return Credential(certificate, chain, signer)

    def _logged_in(self, token: pkcs11.Token) -> Any:
        warn_of_flags(token, self.token)
        pin = self._pin()
        try:
            with self.record.attempt() as attempt:
                return self._login(token, pin, attempt)
        except TriedBefore as error:
            raise failures.not_tried_again(self.record.path, str(error)) from error
        except TriedNow as error:
            raise failures.in_use() from error
        except OSError as error:
            raise failures.no_record(self.pin_record, error) from error

    def _pin(self) -> str:
        try:
            pin = self.token.pin.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise failures.pin_unreadable(error) from error
        if not pin:
            raise failures.pin_unreadable(Message("it is empty"))
        return pin

    def _login(self, token: pkcs11.Token, pin: str, attempt: Attempt) -> Any:
        # Any other answer leaves the record as it is: nobody knows whether the try was counted.
        try:
            session = token.open(user_pin=pin)
        except refusals.PinLocked as error:
            attempt.write("locked")
            raise failures.locked(self.token.label) from error
        except (refusals.PinIncorrect, refusals.PinInvalid, refusals.PinLenRange) as error:
            attempt.write("refused")
            raise failures.refused(self.token.label, self.record.path) from error
        attempt.accepted()
        return session


class TokenSigner(Signer):
    """Signs in the token: RSA (PKCS#1 v1.5 or RSASSA-PSS) or ECDSA. The key never leaves it."""

    def __init__(
        self,
        token: TokenOptions,
        key: Any,
        certificate: x509.Certificate,
        chain: tuple[x509.Certificate, ...],
        *,
        pss: bool = False,
    ) -> None:
        store = SimpleCertificateStore()  # type: ignore[no-untyped-call]  # the library's
        store.register_multiple([as_asn1(c) for c in chain])
        super().__init__(
            signing_cert=as_asn1(certificate),
            cert_registry=store,
            signature_mechanism=pss_mechanism(certificate) if pss else None,
        )
        self._token, self._key = token, key
        self._can: set[Any] = key.session.token.slot.get_mechanisms()

    async def async_sign_raw(
        self,
        data: bytes,
        digest_algorithm: str,
        dry_run: bool = False,  # noqa: ARG002 - the base class names it
    ) -> bytes:
        """The signature over `data`. Raises `Postpone` (`token-away`, `key-unusable`)."""
        return self.signature(data, digest_algorithm)

    def signature(self, data: bytes, digest_algorithm: str) -> bytes:
        """As `async_sign_raw`."""
        digest = digest_algorithm.lower()
        whole = {RSA_MECH_MAP.get(digest), ECDSA_MECH_MAP.get(digest)}
        algorithm = self.get_signature_mechanism_for_digest(digest)
        wanted = ECDSA_MECH_MAP if algorithm.signature_algo == "ecdsa" else RSA_MECH_MAP
        # Some tokens hash, others only sign what was hashed.
        raw = self.signature_mechanism is None and wanted.get(digest) not in whole & self._can
        spec = select_pkcs11_signing_params(algorithm, digest, raw, {})
        content = spec.pre_sign_transform(data) if spec.pre_sign_transform else data
        with answering(self._token):
            made: bytes = self._key.sign(content, **spec.sign_kwargs)
        return spec.post_sign_transform(made) if spec.post_sign_transform else made


@contextmanager
def answering(token: TokenOptions) -> Iterator[None]:
    """What a token answers when it cannot sign, as the failure it is."""
    try:
        yield
    except _UNFIT as error:
        raise failures.unusable(
            Message("the token's key cannot sign: {error}", error=said(error))
        ) from error
    except pkcs11.PKCS11Error as error:
        raise failures.away(token.label, said(error)) from error


def said(error: Exception) -> str:
    """A driver's error, which often has no words but its name."""
    return ": ".join(filter(None, (type(error).__name__, str(error))))


def find_token(options: TokenOptions) -> pkcs11.Token:
    """The token by its label, without a login. Raises `Postpone` (`token-module`, `token-away`)."""
    os.environ.update({name: str(path) for name, path in options.environment.items()})
    if not options.module.is_file():
        raise failures.no_module(options.module, Message("there is no such file"))
    try:
        driver = pkcs11.lib(str(options.module))
    except pkcs11.PKCS11Error as error:
        if "while loading" in str(error):  # the loader's words: a driver has none of its own
            raise failures.no_module(options.module, error) from error
        raise failures.away(options.label, said(error)) from error
    with answering(options):
        found = [
            token
            for slot in driver.get_slots(token_present=True)
            if (token := _token_of(slot)) is not None and token.label == options.label
        ]
    if len(found) > 1:
        raise failures.unusable(
            Message("{count} tokens are called {label}", count=len(found), label=options.label)
        )
    if not found:
        raise failures.away(options.label, Message("no slot has it"))
    return found[0]


def _token_of(slot: pkcs11.Slot) -> pkcs11.Token | None:
    try:
        return slot.get_token()
    except pkcs11.PKCS11Error:
        return None  # another reader's card, which this driver does not know


def warn_of_flags(token: pkcs11.Token, options: TokenOptions) -> None:
    """Raises `Postpone` (`pin-locked`) where one more wrong PIN, or none, would lock the token."""
    if token.flags & TokenFlag.USER_PIN_LOCKED:
        raise failures.locked(options.label)
    if token.flags & TokenFlag.USER_PIN_FINAL_TRY:
        raise failures.last_try(options.label)


def certificates(
    token: pkcs11.Token, options: TokenOptions, key_id: bytes = b""
) -> tuple[x509.Certificate, tuple[x509.Certificate, ...]]:
    """The key's certificate and those above it, nearest first. Needs no login.

    Raises `Postpone` (`key-unusable`).
    """
    try:
        held = [each for path in options.chain for each in _pem(path)]
        given = _pem(options.certificate) if options.certificate is not None else []
    except (OSError, ValueError) as error:
        raise failures.unusable(
            Message("a certificate of the token cannot be read: {error}", error=error)
        ) from error
    with answering(options), closing(token.open()) as session:
        inside = _inside(session)
    if given:
        ours = given[0]
    else:
        wanted = options.certificate_label
        key_id = key_id or bytes.fromhex(options.key_id)
        fit = [
            each.certificate
            for each in inside
            if (each.label == wanted if wanted else not key_id or each.id == key_id)
        ]
        if len(fit) != 1:
            raise failures.no_certificate([each.label for each in inside], len(fit))
        ours = fit[0]
    return ours, ordered_chain(ours, [*given[1:], *held, *(each.certificate for each in inside)])


@dataclass(frozen=True)
class _Inside:
    label: str
    id: bytes
    certificate: x509.Certificate


def _inside(session: Any) -> list[_Inside]:
    """Every X.509 certificate that a session sees."""
    found = []
    for each in session.get_objects({Attribute.CLASS: ObjectClass.CERTIFICATE}):
        try:
            certificate = x509.load_der_x509_certificate(each[Attribute.VALUE])
        except ValueError:
            continue  # of another kind, or one that no program reads: not ours
        found.append(_Inside(each[Attribute.LABEL], each[Attribute.ID], certificate))
    return found


def _pem(path: Path) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(path.read_bytes())


def _keys(session: Any, kind: ObjectClass, options: TokenOptions) -> list[Any]:
    wanted: dict[Attribute, Any] = {Attribute.CLASS: kind}
    if options.key_label:
        wanted[Attribute.LABEL] = options.key_label
    if options.key_id:
        wanted[Attribute.ID] = bytes.fromhex(options.key_id)
    return list(session.get_objects(wanted))


def _public_key(session: Any, options: TokenOptions) -> bytes | None:
    """The public half of the key as SubjectPublicKeyInfo, where the token shows just one."""
    found = _keys(session, ObjectClass.PUBLIC_KEY, options)
    if len(found) != 1:
        return None
    try:
        if found[0].key_type == KeyType.RSA:
            public = load_der_public_key(encode_rsa_public_key(found[0]))
        elif found[0].key_type == KeyType.EC:
            public = load_der_public_key(encode_ec_public_key(found[0]))
        else:
            return None
    except (ValueError, pkcs11.PKCS11Error):
        return None  # a driver that does not tell: the trial signature will
    return _encoded(public)


def _public_of(certificate: x509.Certificate) -> bytes:
    return _encoded(certificate.public_key())


def _encoded(public: Any) -> bytes:
    encoded: bytes = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded


def _private_key(session: Any, options: TokenOptions) -> Any:
    found = _keys(session, ObjectClass.PRIVATE_KEY, options)
    if len(found) != 1:
        raise failures.no_key(len(found))
    if _asks_each_time(found[0]):
        raise failures.unusable(Message("the token asks for its PIN at every signature"))
    return found[0]


def _asks_each_time(key: Any) -> bool:
    try:
        return bool(key[Attribute.ALWAYS_AUTHENTICATE])
    except pkcs11.PKCS11Error:
        return False  # older drivers do not know the attribute


def _same_kind(key: Any, certificate: x509.Certificate) -> bool:
    kind = {KeyType.RSA: RSAPublicKey, KeyType.EC: EllipticCurvePublicKey}.get(key.key_type)
    return kind is not None and isinstance(certificate.public_key(), kind)


def key_signature(signer: TokenSigner) -> bytes:
    """A signature that only says which key made it."""
    return signer.signature(_PROBE, "sha256")


def _is_of(signature: bytes, certificate: x509.Certificate, *, pss: bool) -> bool:
    public = certificate.public_key()
    try:
        if isinstance(public, RSAPublicKey):
            public.verify(signature, _PROBE, rsa_padding(SHA256(), pss=pss), SHA256())
        elif isinstance(public, EllipticCurvePublicKey):
            public.verify(signature, _PROBE, ECDSA(SHA256()))
        else:
            return False
    except InvalidSignature:
        return False
    return True
