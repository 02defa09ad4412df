"""Where the signing key comes from. Private keys are touched here and in `token_keys` only.

PKCS#12 and PEM files are here, PKCS#11 tokens in `token_keys`; `key_source` chooses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from asn1crypto import algos
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from pyhanko.sign.signers.pdf_cms import Signer
from pyhanko_certvalidator.registry import SimpleCertificateStore
from pyhanko_certvalidator.util import get_pyca_cryptography_hash

from archived.api import Message, Postpone, SecretRef
from archived_sign.pem_keys import is_pem, open_pem, read_certificates
from archived_sign.pkcs12_keys import (
    PrivateKey,
    choose,
    common_name,
    may_sign,
    open_pkcs12,
    unavailable,
)
from archived_sign.throwaway_key import LABEL

WARN_BEFORE = timedelta(days=30)
"""How long before its end a certificate becomes a problem worth a sentence."""


@dataclass(frozen=True)
class Credential:
    """A certificate, the certificates above it (nearest first), and what signs with its key."""

    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    signer: Signer

    @property
    def name(self) -> str:
        """The organisation or person the certificate names: its CN, else its whole subject."""
        return common_name(self.certificate.subject)

    @property
    def throwaway(self) -> bool:
        """Whether the certificate calls itself a demonstration key."""
        return any(LABEL in str(part.value) for part in self.certificate.subject)

    @property
    def roots(self) -> tuple[x509.Certificate, ...]:
        """The top of our own chain: the last certificate that nothing else we hold has issued."""
        return ((self.certificate, *self.chain)[-1],)


@dataclass(frozen=True)
class KeyFile:
    """A PKCS#12 or PEM file and its passphrase, both by reference.

    `certificate` names one of several, `chain` files with more certificates. `pss`: an RSA key
    signs with RSASSA-PSS.
    """

    key: SecretRef
    passphrase: SecretRef | None = None
    certificate: str = ""
    chain: tuple[Path, ...] = ()
    pss: bool = False

    def open(self) -> Credential:
        """Read and decrypt the file, and choose the key that signs.

        Raises `Postpone` (`key-unavailable`, `key-unusable`, `key-ambiguous`).
        """
        try:
            content = self.key.read()
            passphrase = self.passphrase.read_text() if self.passphrase else None
        except (OSError, UnicodeDecodeError) as error:
            raise unavailable(
                Message("the signing key cannot be read: {error}", error=error)
            ) from error
        read = open_pem if is_pem(content) else open_pkcs12
        opened = read(content, passphrase, read_certificates(self.chain))
        key, ours = choose(opened, self.certificate, now_utc())
        chain = ordered_chain(ours, list(opened.certificates))
        return Credential(ours, chain, HeldKeySigner(key, ours, chain, pss=self.pss))

    def examine(self) -> Credential:
        """As `open`: a file cannot lock itself."""
        return self.open()


class HeldKeySigner(Signer):
    """Signs with a key that was loaded once.

    The library's own signer parses and re-validates an RSA key at every signature, which costs
    a hundred times what the signature does.
    """

    def __init__(
        self,
        key: PrivateKey,
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
        self._key = key

    async def async_sign_raw(
        self,
        data: bytes,
        digest_algorithm: str,
        dry_run: bool = False,  # noqa: ARG002 - the base class names it
    ) -> bytes:
        """RSA (PKCS#1 v1.5 or RSASSA-PSS) or ECDSA over `data`."""
        digest = get_pyca_cryptography_hash(digest_algorithm)
        if isinstance(self._key, RSAPrivateKey):
            return self._key.sign(
                data, rsa_padding(digest, pss=self.signature_mechanism is not None), digest
            )
        return self._key.sign(data, ECDSA(digest))


def rsa_padding(digest: HashAlgorithm, *, pss: bool) -> PKCS1v15 | PSS:
    """RFC 8017; with PSS the salt is as long as the digest (RFC 4056)."""
    return PSS(MGF1(digest), digest.digest_size) if pss else PKCS1v15()


def pss_mechanism(certificate: x509.Certificate) -> algos.SignedDigestAlgorithm | None:
    """RSASSA-PSS with SHA-256 and a salt of its length (RFC 4056), for an RSA key; else none.

    The library would take the longest salt that fits, which not every program verifies.
    """
    if not isinstance(certificate.public_key(), RSAPublicKey):
        return None
    digest = algos.DigestAlgorithm({"algorithm": "sha256"})
    return algos.SignedDigestAlgorithm(
        {
            "algorithm": "rsassa_pss",
            "parameters": algos.RSASSAPSSParams(
                {
                    "hash_algorithm": digest,
                    "mask_gen_algorithm": algos.MaskGenAlgorithm(
                        {"algorithm": "mgf1", "parameters": digest}
                    ),
                    "salt_length": 32,
                }
            ),
        }
    )


def as_asn1(certificate: x509.Certificate) -> asn1_x509.Certificate:
    """The same certificate for the library that wants the other type."""
    return asn1_x509.Certificate.load(certificate.public_bytes(Encoding.DER))


def ordered_chain(
    leaf: x509.Certificate, held: list[x509.Certificate]
) -> tuple[x509.Certificate, ...]:
    """The issuers of `leaf` among `held`, nearest first, by verified signatures."""
    chain: list[x509.Certificate] = []
    current = leaf
    while current.issuer != current.subject:
        issuer = next((c for c in held if c not in (current, *chain) and _issued(c, current)), None)
        if issuer is None:
            break
        chain.append(issuer)
        current = issuer
    return tuple(chain)


def _issued(issuer: x509.Certificate, subject: x509.Certificate) -> bool:
    try:
        subject.verify_directly_issued_by(issuer)
    except Exception:  # noqa: BLE001 - wrong name, key type or signature: it did not issue it
        return False
    return True


@dataclass(frozen=True)
class Flaw:
    """Something wrong with a credential. `code` is empty for what does not stop signing yet."""

    code: str
    sentence: str
    hint: str


def flaws(credential: Credential, now: datetime, *, throwaway: bool = False) -> Iterator[Flaw]:
    """What is, or soon will be, wrong with the certificate at `now`.

    `throwaway`: a demonstration key may sign.
    """
    if credential.throwaway and not throwaway:
        yield Flaw(
            "throwaway-key",
            Message("the key of {name} was made for demonstrations", name=credential.name),
            Message(
                "put the archive's own key in its place; to try things out, allow_throwaway = true"
            ),
        )
    certificate = credential.certificate
    name, until = credential.name, certificate.not_valid_after_utc
    renew = Message("renew the certificate and put the new PKCS#12 file in its place")
    if until <= now:
        sentence = Message(
            "the signing certificate of {name} expired on {until}",
            name=name,
            until=f"{until:%Y-%m-%d}",
        )
        yield Flaw("certificate-expired", sentence, renew)
    elif until - now <= WARN_BEFORE:
        days = (until - now).days
        yield Flaw(
            "",
            Message(
                "the signing certificate of {name} expires in {days} days", name=name, days=days
            ),
            renew,
        )
    if certificate.not_valid_before_utc > now:
        yield Flaw(
            "certificate-not-yet-valid",
            Message(
                "the signing certificate of {name} is valid from {not_valid_before_utc} UTC",
                name=name,
                not_valid_before_utc=f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M}",
            ),
            Message("check this machine's clock, or wait"),
        )
    if not may_sign(certificate):
        yield Flaw(
            "key-unusable",
            Message("the certificate of {name} does not allow digital signatures", name=name),
            Message(
                "ask the issuer for a certificate with key usage digitalSignature or nonRepudiation"
            ),
        )
    key = certificate.public_key()
    if getattr(key, "key_size", 0) < 2048 and not hasattr(key, "curve"):
        yield Flaw(
            "key-unusable", Message("an RSA key of less than 2048 bits proves nothing"), renew
        )


def unusable(flaw: Flaw) -> Postpone:
    """A fatal flaw as the failure it is: a person must act, the documents wait."""
    return Postpone(flaw.sentence, code=flaw.code, hint=flaw.hint, after="30 min")


def now_utc() -> datetime:
    """The clock certificates are judged by."""
    return datetime.now(UTC)
