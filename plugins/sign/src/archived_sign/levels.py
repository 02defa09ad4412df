"""From one PAdES level to the next, by appending: time, validation data, archive time stamp.

The levels are those of ETSI EN 319 142-1, clause 6. What is in the file tells which steps are due,
so that a document whose levels came at different times ends like one that was made at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from asn1crypto import cms
from asn1crypto import x509 as asn1_x509

from archived_sign.failures import Away
from archived_sign.keys import as_asn1
from archived_sign.options import LEVELS, Level, SignOptions
from archived_sign.pades import (
    DoesNotFit,
    append_document_timestamp,
    append_validation_data,
)
from archived_sign.revocation import Material, NoPath, RevocationSource, Unavailable
from archived_sign.servers import ServerDown
from archived_sign.signed_file import Inside, inspect
from archived_sign.timestamps import HttpTimeStamper
from archived_sign.token import certificates_of, signer_of
from archived_sign.validation import Anchors
from archived_sign.verdict import read_roots


def below(one: str, other: str) -> bool:
    """Whether level `one` is lower than level `other`."""
    return LEVELS.index(one) < LEVELS.index(other)


def read_anchors(options: SignOptions, own: Sequence[asn1_x509.Certificate] = ()) -> Anchors:
    """The roots in the configured files. Raises `OSError`, `ValueError` naming the file."""
    return Anchors(
        [as_asn1(each) for each in read_roots(options.trusted_roots)],
        [as_asn1(each) for each in read_roots(options.timestamp_roots)],
        own,
    )


@dataclass
class Progress:
    """How far a file has come. `away`: why the next step was not possible now."""

    level: Level
    away: ServerDown | Unavailable | None = None
    server: str = ""
    """The address of the server that gave the time stamp in the signature."""
    appended: bool = False
    """Whether something was appended after the signature."""
    known: Material = field(default_factory=Material)
    """What was learnt about the last time stamps and is not in the file yet."""
    signer_material: Material | None = None
    """What was learnt about the signer's chain before it signed."""

    @property
    def until(self) -> datetime | None:
        """When the first certificate behind the last document time stamp ends."""
        return self.known.until


class Augmentation:
    """Brings one signed file to the wanted level, as far as the servers allow."""

    def __init__(
        self,
        path: Path,
        field_name: str,
        options: SignOptions,
        anchors: Anchors,
        remaining: Callable[[], float],
    ) -> None:
        if options.timestamp is None:
            raise ValueError("nothing above B-B goes without a time stamp server")
        self.path, self.field, self.options, self.anchors = path, field_name, options, anchors
        self.stamper = HttpTimeStamper(options.timestamp, remaining)
        self.revocation = RevocationSource(options.revocation, remaining)

    @property
    def patient(self) -> bool:
        """Whether a document waits for a server that is away."""
        stamp = self.options.timestamp
        return stamp is None or stamp.when_down == "postpone"

    @property
    def waited(self) -> dict[str, float]:
        """Seconds spent on the servers."""
        asked = {"tsa": round(self.stamper.waited, 3)}
        if self.options.long_term:
            asked["revocation"] = round(self.revocation.waited, 3)
        return asked

    def about_signer(
        self, leaf: asn1_x509.Certificate, others: Sequence[asn1_x509.Certificate]
    ) -> Material:
        """What is said about the signer's chain. Raises `Revoked`, `Unavailable`, `NoPath`."""
        return self.revocation.gather(leaf, others, self.anchors.roots)

    def raise_level(self, progress: Progress, wanted: Level, *, renew: bool = False) -> None:
        """Take one step after the other until `wanted` is reached or a server is away.

        `renew`: a further archive time stamp, whatever is there. Raises what is not "away".
        """
        progress.appended = below("B-T", wanted) or below(progress.level, wanted) or renew
        try:
            if below(progress.level, "B-T") and below("B-B", wanted):
                self._stamp()
                progress.level = "B-T"
            archive = below("B-LT", wanted) and (renew or below(progress.level, "B-LTA"))
            if below(progress.level, "B-LT") and below("B-T", wanted):
                self._add_validation_data(progress, signer_too=True)
                progress.level = "B-LT"
            elif archive:
                # What the last time stamp rests on is proven by the one that follows.
                self._add_validation_data(progress, signer_too=False)
            if archive:
                self._stamp()
                progress.known = self._about_last_token()
                progress.level = "B-LTA"
        except Away as error:
            progress.away = error

    def _stamp(self) -> None:
        reserve = self.options.reserve
        room = self.stamper.room(unknown=reserve)
        try:
            append_document_timestamp(self.path, self.stamper, room)
        except DoesNotFit:
            if room >= reserve:
                raise
            # Another server answered, whose tokens are larger.
            append_document_timestamp(self.path, self.stamper, reserve)

    def _add_validation_data(self, progress: Progress, *, signer_too: bool) -> None:
        inside = self._inside()
        material = Material()
        if signer_too:
            material |= progress.signer_material or self.about_signer(
                inside.signer, inside.certificates
            )
        for token in inside.tokens if signer_too else inside.tokens[-1:]:
            material |= self._about(token, inside)
        append_validation_data(self.path, material)

    def _about_last_token(self) -> Material:
        inside = self._inside()
        return self._about(inside.tokens[-1], inside)

    def _about(self, token: cms.SignedData, inside: Inside) -> Material:
        leaf = signer_of(token)
        if leaf is None:
            raise NoPath("a time stamp in the file lacks the certificate that made it")
        others = (*certificates_of(token), *inside.certificates)
        return self.revocation.gather(leaf, others, self.anchors.timestamp_roots)

    def _inside(self) -> Inside:
        inside = inspect(self.path, self.field)
        if inside is None:
            raise RuntimeError(f"no signature is in field {self.field}")
        return inside
