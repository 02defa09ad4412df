"""A private key in PEM (RFC 7468), with its certificates in the same file or beside it.

PKCS#8, and the older `RSA PRIVATE KEY` and `EC PRIVATE KEY`; encrypted or not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from archived.api import Message
from archived_sign.pkcs12_keys import Opened, opened_file, spellings, unavailable, unusable

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.+?-----END \1-----", re.DOTALL)


def is_pem(content: bytes) -> bool:
    """Whether a key's file is PEM text; comments may stand before the first block."""
    return b"-----BEGIN " in content


def open_pem(
    content: bytes, passphrase: str | None, more: Sequence[x509.Certificate] = ()
) -> Opened:
    """The keys and certificates of a PEM file; `more` are certificates from elsewhere.

    Raises `Postpone` (`key-unavailable`, `key-unusable`).
    """
    blocks = [(match[1], match[0] + b"\n") for match in _BLOCK.finditer(content)]
    keys = [_key(block, passphrase) for kind, block in blocks if kind.endswith(b"PRIVATE KEY")]
    try:
        held = [
            x509.load_pem_x509_certificate(block)
            for kind, block in blocks
            if kind == b"CERTIFICATE"
        ]
    except ValueError as error:
        raise unusable(
            Message("a certificate beside the key cannot be read: {error}", error=error)
        ) from error
    if not blocks:
        raise unavailable(Message("the signing key cannot be opened: its PEM text is cut off"))
    return opened_file(keys, [*held, *more])


def read_certificates(paths: Sequence[Path]) -> list[x509.Certificate]:
    """Every certificate of PEM files. Raises `Postpone` (`key-unusable`)."""
    try:
        return [
            each for path in paths for each in x509.load_pem_x509_certificates(path.read_bytes())
        ]
    except (OSError, ValueError) as error:
        raise unusable(
            Message("a certificate beside the key cannot be read: {error}", error=error)
        ) from error


def _key(block: bytes, passphrase: str | None) -> Any:
    closed = b"ENCRYPTED" in block
    if closed and passphrase is None:
        raise unavailable(
            Message("the signing key cannot be opened: it is encrypted and has no passphrase")
        )
    candidates = [s.encode() for s in spellings(passphrase or "")] if closed else [None]
    for candidate in candidates:
        try:
            return load_pem_private_key(block, candidate)
        except UnsupportedAlgorithm as error:
            raise unavailable(
                Message(
                    "the signing key cannot be opened: its encryption is not supported ({error})",
                    error=error,
                )
            ) from error
        except (TypeError, ValueError):
            continue
    raise unavailable(
        Message(
            "the signing key cannot be opened: its passphrase is wrong, or it is neither PKCS#12 "
            "nor PEM"
        )
    )
