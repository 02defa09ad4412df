"""Evidence records as ASN.1 (RFC 4998): read, made, and renewed in both ways.

A record is DER bytes from the outside. A time-stamp token is the DER bytes of the CMS
`ContentInfo` of RFC 3161. Algorithms are names of `hashlib`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, ClassVar, cast

from asn1crypto import algos, cms, core, tsp, x509

from archived.errors import EvidenceError
from archived.evidence.hash_tree import HashTree, Path
from archived.message import Message


class ArchiveTimeStampChain(core.SequenceOf):  # type: ignore[misc]  # asn1crypto has no types
    """Archive time stamps of one hash algorithm, the oldest first."""

    _child_spec = tsp.ArchiveTimeStamp


class ArchiveTimeStampSequence(core.SequenceOf):  # type: ignore[misc]
    """Chains, the oldest first. The class of the same name in asn1crypto lacks this level."""

    _child_spec = ArchiveTimeStampChain


class DigestAlgorithms(core.SequenceOf):  # type: ignore[misc]
    """All hash algorithms of the record's chains."""

    _child_spec = algos.DigestAlgorithm


class CryptoInfos(core.SequenceOf):  # type: ignore[misc]
    """Attributes that help to verify; kept as they are."""

    _child_spec = x509.Attribute


class EvidenceRecord(core.Sequence):  # type: ignore[misc]
    """`EvidenceRecord` of RFC 4998, appendix A (implicit tags)."""

    _fields: ClassVar[list[tuple[Any, ...]]] = [
        ("version", core.Integer),
        ("digest_algorithms", DigestAlgorithms),
        ("crypto_infos", CryptoInfos, {"implicit": 0, "optional": True}),
        ("encryption_info", tsp.EncryptionInfo, {"implicit": 1, "optional": True}),
        ("archive_time_stamp_sequence", ArchiveTimeStampSequence),
    ]


def read(der: bytes) -> EvidenceRecord:
    """The record in these bytes, with all that verification needs of it parsed.

    Raises `EvidenceError` (`bad-evidence-record`) where they are no record of version 1 with at
    least one time stamp, or where bytes follow it.
    """
    try:
        record = EvidenceRecord.load(der, strict=True)
        version = record["version"].native
        chains = _chains(record)
        empty = not chains or not all(chains)
        for stamp in (stamp for chain in chains for stamp in chain):
            # What asn1crypto parses only when it is asked for is asked for here.
            _ = (
                path_of(stamp),
                algorithm_of(stamp),
                token_info(stamp["time_stamp"])["gen_time"].native,
            )
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise _bad(Message("it cannot be read: {error}", error=str(error).split("\n")[0])) from None
    if version != 1:
        raise _bad(Message("its version is {version}, and only 1 is known", version=version))
    if empty:
        raise _bad(Message("it holds no archive time stamp"))
    return cast("EvidenceRecord", record)


def _bad(why: str) -> EvidenceError:
    return EvidenceError(
        Message("this is no evidence record of RFC 4998: {why}", why=why),
        hint=Message("compare the file's digest with the copy at another place"),
        code="bad-evidence-record",
    )


def path_of(stamp: Any) -> Path:
    """The reduced hash tree of an `ArchiveTimeStamp`; empty where it has none."""
    tree = stamp["reduced_hashtree"]
    if isinstance(tree, core.Void) or tree.native is None:
        return ()
    return tuple(tuple(digest.native for digest in part) for part in tree)


def algorithm_of(stamp: Any) -> str:
    """The hash algorithm of an `ArchiveTimeStamp`: as it says, else that of its token's imprint."""
    told = stamp["digest_algorithm"]
    if not isinstance(told, core.Void) and told.native is not None:
        return str(told["algorithm"].native)
    return str(
        token_info(stamp["time_stamp"])["message_imprint"]["hash_algorithm"]["algorithm"].native
    )


def token_info(token: Any) -> Any:
    """The `TSTInfo` of a token. Raises `ValueError` where there is none."""
    signed = token["content"]
    if not isinstance(signed, cms.SignedData):
        raise ValueError("a time stamp token is no CMS SignedData")  # noqa: TRY004 - as it arrived
    content = signed["encap_content_info"]["content"]
    info = content.parsed if isinstance(content, core.ParsableOctetString) else None
    if not isinstance(info, tsp.TSTInfo):
        raise ValueError("a time stamp token holds no TSTInfo")  # noqa: TRY004
    return info


def _stamp(path: Path, algorithm: str, token: bytes) -> tsp.ArchiveTimeStamp:
    fields: dict[str, Any] = {
        "digest_algorithm": {"algorithm": algorithm},
        "time_stamp": cms.ContentInfo.load(token, strict=True),
    }
    if path:
        fields["reduced_hashtree"] = [list(part) for part in path]
    return tsp.ArchiveTimeStamp(fields)


def _of_chains(chains: Sequence[Sequence[Any]]) -> bytes:
    algorithms = list(dict.fromkeys(algorithm_of(chain[0]) for chain in chains))
    made = EvidenceRecord(
        {
            "version": 1,
            "digest_algorithms": [{"algorithm": name} for name in algorithms],
            "archive_time_stamp_sequence": [ArchiveTimeStampChain(list(c)) for c in chains],
        }
    )
    return bytes(made.dump())


def _chains(record: EvidenceRecord) -> list[list[Any]]:
    return [list(chain) for chain in record["archive_time_stamp_sequence"]]


def new_record(tree: HashTree, group: int, token: bytes) -> bytes:
    """The first record of a data group; `token` stamps `tree.root`."""
    return _of_chains([[_stamp(tree.path(group), tree.algorithm, token)]])


def renewal_digest(der: bytes) -> tuple[bytes, str]:
    """What a time-stamp renewal stamps, and its algorithm (section 5.2): the digest of the newest
    time stamp, by the algorithm of the newest chain. Equal for all records of one hash tree.
    """
    stamp = _chains(read(der))[-1][-1]
    algorithm = algorithm_of(stamp)
    return hashlib.new(algorithm, stamp["time_stamp"].dump()).digest(), algorithm


def renew_timestamp(der: bytes, tree: HashTree, group: int, token: bytes) -> bytes:
    """The record with one more time stamp in its newest chain. `tree` was made of
    `renewal_digest`s, the one of this record in `group`; `token` stamps its root.

    Raises `ValueError` for a tree of another algorithm: that needs a hash-tree renewal.
    """
    chains = _chains(read(der))
    if tree.algorithm != algorithm_of(chains[-1][-1]):
        raise ValueError("a time-stamp renewal keeps the chain's hash algorithm")
    chains[-1].append(_stamp(tree.path(group), tree.algorithm, token))
    return _of_chains(chains)


def chain_digests(der: bytes, digests: Sequence[bytes], algorithm: str) -> list[bytes]:
    """What a hash-tree renewal puts into the new tree for this record's data group (section 5.2).

    `digests`: of the data objects, made anew by `algorithm`. Each is joined with the digest of
    all chains so far.
    """
    sequence = read(der)["archive_time_stamp_sequence"].dump()
    so_far = hashlib.new(algorithm, sequence).digest()
    return [hashlib.new(algorithm, digest + so_far).digest() for digest in digests]


def renew_hash_tree(der: bytes, tree: HashTree, group: int, token: bytes) -> bytes:
    """The record with a new chain. `tree` was made of `chain_digests`, those of this record in
    `group`; `token` stamps its root.
    """
    chains = _chains(read(der))
    chains.append([_stamp(tree.path(group), tree.algorithm, token)])
    return _of_chains(chains)
