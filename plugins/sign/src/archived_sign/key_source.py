"""Which key signs: in a file or in a token. It knows both kinds, and neither knows it."""

from __future__ import annotations

from typing import Protocol

from archived_sign.keys import Credential, KeyFile
from archived_sign.options import SignOptions


class KeySource(Protocol):
    """Where the key comes from."""

    def open(self) -> Credential:
        """Load the key, or reach the token. Raises `Postpone`: a person must see to the key."""

    def examine(self) -> Credential:
        """As `open`, for a check: no PIN is tried, and what is returned may not sign."""


def key_source(options: SignOptions) -> KeySource:
    """Where the configured key is."""
    if options.token is not None and options.pin_record is not None:
        from archived_sign.token_keys import TokenKey  # its driver is loaded for tokens only

        return TokenKey(options.token, options.pin_record, options.pss)
    if options.key is None:
        raise ValueError("there is neither key nor token")
    return KeyFile(options.key, options.passphrase, options.certificate, options.chain, options.pss)
