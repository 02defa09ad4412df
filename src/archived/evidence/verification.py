"""Verification of evidence records (RFC 4998, section 5.3), with answers in three values.

VALID: the data existed when the first time stamp says. INVALID: something is wrong with the data
or the record. NOT_ESTABLISHED: nothing is wrong, and the proof does not reach to the moment asked
for. Reasons have stable codes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from archived.errors import EvidenceError
from archived.evidence.evidence_record import (
    EvidenceRecord,
    algorithm_of,
    path_of,
    read,
)
from archived.evidence.hash_tree import root_of
from archived.evidence.timestamp_tokens import TokenVerdict, Trust, judge_token
from archived.message import Message

Digests = Callable[[str], Sequence[bytes]]
"""Algorithm -> the digests of the data objects, made from their bytes."""

RETIRED: Mapping[str, datetime] = {
    "md2": datetime(2009, 1, 1, tzinfo=UTC),
    "md5": datetime(2009, 1, 1, tzinfo=UTC),
    "sha1": datetime(2014, 1, 1, tzinfo=UTC),
}
"""Until when a digest binds. MD5: RFC 6151; SHA-1: NIST SP 800-131A."""


class Outcome(StrEnum):
    """Whether the record proves the data."""

    VALID = "valid"
    INVALID = "invalid"
    NOT_ESTABLISHED = "not established"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer. `code` is `""` and `why` is `""` when valid; `stamps` are those that were judged,
    the oldest first; `existed` is the time of the first one where the record is valid."""

    outcome: Outcome
    code: str = ""
    why: str = ""
    stamps: tuple[TokenVerdict, ...] = ()
    existed: datetime | None = None


class _Ended(Exception):
    """A check that failed, with the verdict's first three values."""

    def __init__(self, outcome: Outcome, code: str, why: str) -> None:
        super().__init__(code)
        self.outcome, self.code, self.why = outcome, code, why


def verify(
    der: bytes,
    digests: Digests,
    trust: Trust,
    *,
    moment: datetime,
    retired: Mapping[str, datetime] = RETIRED,
) -> Verdict:
    """Whether the record proves data objects with these digests, as seen at `moment` (aware).

    `digests` is called once for each algorithm. A record of a group of data objects proves the
    whole group; give the digests of all of them, or of one.
    """
    try:
        record = read(der)
    except EvidenceError as error:
        return Verdict(Outcome.INVALID, error.code, error.message)
    walk = _Walk(record, digests, trust, moment, retired)
    try:
        walk.run()
    except _Ended as end:
        return Verdict(end.outcome, end.code, end.why, tuple(walk.judged))
    return Verdict(Outcome.VALID, stamps=tuple(walk.judged), existed=walk.judged[0].at)


class _Walk:
    """One verification: every chain from the oldest on."""

    def __init__(
        self,
        record: EvidenceRecord,
        digests: Digests,
        trust: Trust,
        moment: datetime,
        retired: Mapping[str, datetime],
    ) -> None:
        self.record, self.digests, self.trust = record, digests, trust
        self.moment, self.retired = moment, retired
        self.judged: list[TokenVerdict] = []
        self._doubts: list[_Ended] = []

    def run(self) -> None:
        chains = [list(chain) for chain in self.record["archive_time_stamp_sequence"]]
        times = [
            stamp["time_stamp"]["content"]["encap_content_info"]["content"]
            .parsed["gen_time"]
            .native
            for chain in chains
            for stamp in chain
        ]
        if times != sorted(times):
            raise _invalid(
                code="times-out-of-order", why=Message("its time stamps are not in order of time")
            )
        if times[0] > self.moment:
            raise _invalid(
                code="time-in-the-future", why=Message("its first time stamp is in the future")
            )
        until = iter([*times[1:], self.moment])
        before: list[Any] = []
        for chain in chains:
            self._chain(chain, before, until)
            before.append(chain)
        if self._doubts:
            raise self._doubts[0]

    def _chain(self, chain: list[Any], before: list[Any], until: Any) -> None:
        algorithm = algorithm_of(chain[0])
        if any(algorithm_of(stamp) != algorithm for stamp in chain):
            raise _invalid(
                code="mixed-algorithms", why=Message("one of its chains mixes hash algorithms")
            )
        expected = self._expected(algorithm, len(before))
        for stamp in chain:
            end = next(until)
            self._stamp(stamp, expected, algorithm, end)
            expected = [self._digest(algorithm, stamp["time_stamp"].dump())]
        ends = self.retired.get(algorithm)
        if ends is not None and end > ends:
            self._doubts.append(
                _open(
                    code="algorithm-retired",
                    why=Message(
                        "{algorithm} binds nothing since {day}, and no newer chain came before",
                        algorithm=algorithm,
                        day=f"{ends:%Y-%m-%d}",
                    ),
                )
            )

    def _expected(self, algorithm: str, earlier: int) -> list[bytes]:
        """What the first time stamp of a chain must hold."""
        try:
            own = list(self.digests(algorithm))
        except ValueError:
            raise _open(
                code="algorithm-unknown",
                why=Message(
                    "the hash algorithm {algorithm} is not known here", algorithm=algorithm
                ),
            ) from None
        if not earlier:
            return own
        sequence = self.record["archive_time_stamp_sequence"]
        so_far = type(sequence)(list(sequence)[:earlier])
        digest = self._digest(algorithm, so_far.dump())
        return [self._digest(algorithm, each + digest) for each in own]

    def _digest(self, algorithm: str, data: bytes) -> bytes:
        return hashlib.new(algorithm, data).digest()

    def _stamp(self, stamp: Any, expected: list[bytes], algorithm: str, end: datetime) -> None:
        path = path_of(stamp)
        first = path[0] if path else ()
        if path and not set(expected) <= set(first):
            raise _invalid(code="digest-mismatch", why=Message("it was made for other bytes"))
        if len(expected) > 1 and set(first) != set(expected):
            raise _invalid(
                code="group-mismatch", why=Message("it was made for another group of files")
            )
        root = root_of(path, algorithm) if path else expected[0]
        number = len(self.judged) + 1
        try:
            token = judge_token(stamp["time_stamp"], root, self.trust, end)
        except ValueError as error:
            raise _open(
                code="token-unreadable",
                why=Message(
                    "its time stamp {number} cannot be read: {error}",
                    number=number,
                    error=str(error),
                ),
            ) from None
        self.judged.append(token)
        if not token.intact:
            code = "digest-mismatch" if not path and number == 1 else "token-invalid"
            raise _invalid(
                code=code,
                why=Message(
                    "its time stamp {number} is wrong: {why}", number=number, why=token.why
                ),
            )
        if not token.trusted:
            code = (
                "no-anchor"
                if not self.trust.anchors
                else "evidence-lapsed"
                if end > token.not_after
                else "token-untrusted"
            )
            self._doubts.append(
                _open(
                    code=code,
                    why=Message(
                        "its time stamp {number} cannot be relied on: {why}",
                        number=number,
                        why=token.why,
                    ),
                )
            )


def _invalid(*, code: str, why: str) -> _Ended:
    return _Ended(Outcome.INVALID, code, why)


def _open(*, code: str, why: str) -> _Ended:
    return _Ended(Outcome.NOT_ESTABLISHED, code, why)
