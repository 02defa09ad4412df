"""What is said about a signature that was judged, in words. Pure.

Three-valued: "yes", "no (why)", "not established (why)". What was not looked at is never "yes".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography import x509

YES = "yes"
NO_ROOT = "not established (no trusted root is configured)"


@dataclass(frozen=True)
class TimestampVerdict:
    """What a time stamp says, and whether that can be believed.

    `certificate`: of the authority, or `None` when the token lacks it.
    """

    at: datetime
    integrity: str
    trust: str
    policy: str
    serial: int
    certificate: Any


@dataclass(frozen=True)
class Verdict:
    """A signature as ETSI EN 319 102-1 sees it.

    `integrity`: digest, signature value, coverage of the whole file and no later change.
    `trust`: does the certificate lead to a root the administrator trusts. `revocation`: was it
    asked, and is nothing revoked. `indication`: the main and sub-indication in the standard's
    words. `timestamp`: the one in the signature; `document_timestamps`: those after it, oldest
    first. `report`: ETSI TS 119 102-2, XML, or empty where there is nothing to report on.
    """

    integrity: str
    trust: str
    revocation: str
    indication: str
    timestamp: TimestampVerdict | None = None
    document_timestamps: tuple[TimestampVerdict, ...] = ()
    maintainable: str = "not established (this level holds no validation data)"
    """Would it hold at `tried_until`, were document time stamps renewed until then."""
    tried_until: datetime | None = None
    report: str = field(default="", repr=False)

    @property
    def passed(self) -> bool:
        """TOTAL-PASSED."""
        return self.indication == "TOTAL-PASSED"


def read_roots(paths: Sequence[Path]) -> list[x509.Certificate]:
    """The certificates in PEM files. Raises `OSError`, `ValueError` naming the file."""
    roots: list[x509.Certificate] = []
    for path in paths:
        try:
            roots += x509.load_pem_x509_certificates(path.read_bytes())
        except ValueError as error:
            raise ValueError(f"{path} holds no PEM certificate: {error}") from error
    return roots
