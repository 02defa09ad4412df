"""Evidence records: made, renewed in both ways, verified, damaged; judged by openssl as well."""

from __future__ import annotations

import base64
import hashlib
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from asn1crypto import cms

from archived.evidence import evidence_record as er
from archived.evidence.hash_tree import HashTree, combine, root_of
from archived.evidence.timestamp_tokens import Trust
from archived.evidence.verification import Outcome, Verdict, verify

from .authorities import Authorities, digests_of

SHARED = Path(__file__).resolve().parents[4] / "shared/data/evidence"
PAPERS = [f"Quyết định số {n}/QĐ-UBND".encode() for n in range(1, 8)]


def year(number: int) -> datetime:
    return datetime(number, 7, 1, tzinfo=UTC)


def sha(data: bytes, algorithm: str = "sha256") -> bytes:
    return hashlib.new(algorithm, data).digest()


def records(authorities: Authorities, papers: list[bytes] = PAPERS) -> list[bytes]:
    """One record for each paper, all under one time stamp of 2027."""
    tree = HashTree([[sha(paper)] for paper in papers])
    token = authorities.stamp(tree, 2027, "first")
    return [er.new_record(tree, at, token) for at in range(len(papers))]


def judged(der: bytes, data: bytes, authorities: Authorities, at: int) -> Verdict:
    return verify(der, digests_of(data), authorities.trust, moment=year(at))


# -- the tree -----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 9, 1000])
def test_every_path_leads_to_the_root_and_names_its_leaf(count: int) -> None:
    leaves = [[sha(b"%d" % n)] for n in range(count)]
    tree = HashTree(leaves)
    for at, [leaf] in enumerate(leaves):
        path = tree.path(at)
        if count == 1:
            assert path == () and tree.root == leaf
            continue
        assert leaf in path[0]
        assert root_of(path, "sha256") == tree.root
        assert len(path) <= max(1, (count - 1).bit_length())
        assert all(list(part) == sorted(part) for part in path)


def test_the_example_of_the_standard() -> None:
    """RFC 4998, section 4.2: h123 = H(binary sorted and concatenated (H(h1), h2abc, h3))."""
    h1, h3 = sha(b"1"), sha(b"3")
    group = [sha(b"2a"), sha(b"2b"), sha(b"2c")]
    h2abc = sha(b"".join(sorted(group)))
    tree = HashTree([[h1], group, [h3]])
    h12 = sha(b"".join(sorted((h1, h2abc))))
    assert tree.root == sha(b"".join(sorted((h12, h3))))
    assert tree.path(1) == (tuple(sorted(group)), (h1,), (h3,))
    assert tree.path(2) == (tuple(sorted((h3, h12))),)
    assert combine([h1], "sha256") == h1


@pytest.mark.parametrize("groups", [[], [[]], [[b"short"]], [[sha(b"1")], []]])
def test_no_tree_of_what_are_no_digests(groups: list[list[bytes]]) -> None:
    with pytest.raises(ValueError):
        HashTree(groups)


# -- verdicts -----------------------------------------------------------------------------------


def test_each_paper_is_proven_by_its_own_record_and_no_other(authorities: Authorities) -> None:
    made = records(authorities)
    for at, paper in enumerate(PAPERS):
        verdict = judged(made[at], paper, authorities, 2028)
        assert (verdict.outcome, verdict.code, verdict.why) == (Outcome.VALID, "", "")
        assert verdict.existed == datetime(2027, 6, 1, tzinfo=UTC)
        other = judged(made[at], PAPERS[at - 1], authorities, 2028)
        # A sibling's digest stands in the same list: it was stamped at the same time.
        if (
            sha(PAPERS[at - 1])
            not in er.path_of(er.read(made[at])["archive_time_stamp_sequence"][0][0])[0]
        ):
            assert (other.outcome, other.code) == (Outcome.INVALID, "digest-mismatch")


def test_a_group_is_proven_as_a_whole(authorities: Authorities) -> None:
    tree = HashTree([[sha(PAPERS[0])], [sha(p) for p in PAPERS[1:4]]])
    der = er.new_record(tree, 1, authorities.stamp(tree, 2027, "first"))

    def outcome(*data: bytes) -> tuple[Outcome, str]:
        verdict = verify(der, digests_of(*data), authorities.trust, moment=year(2028))
        return verdict.outcome, verdict.code

    assert outcome(*PAPERS[1:4]) == (Outcome.VALID, "")
    assert outcome(PAPERS[2]) == (Outcome.VALID, "")
    assert outcome(*PAPERS[1:3]) == (Outcome.INVALID, "group-mismatch")
    assert outcome(*PAPERS[0:4]) == (Outcome.INVALID, "digest-mismatch")


def test_one_flipped_bit_anywhere_is_never_valid(authorities: Authorities) -> None:
    der = records(authorities, PAPERS[:2])[0]
    plain = judged(der, PAPERS[0], authorities, 2028)
    assert plain.outcome is Outcome.VALID
    for at in range(len(der)):
        damaged = bytearray(der)
        damaged[at] ^= 1
        verdict = judged(bytes(damaged), PAPERS[0], authorities, 2028)
        # The list of algorithms and the certificates of others prove nothing: they may change.
        if verdict.outcome is Outcome.VALID:
            assert verdict.existed == plain.existed
            assert harmless(der, bytes(damaged)), at


def harmless(der: bytes, damaged: bytes) -> bool:
    """Whether only what no signature covers and no check reads has changed."""

    def kept(data: bytes) -> tuple[object, ...]:
        stamp = er.read(data)["archive_time_stamp_sequence"][0][0]
        signed = stamp["time_stamp"]["content"]
        return (
            er.path_of(stamp),
            signed["encap_content_info"].dump(),
            signed["signer_infos"][0]["signature"].native,
            signed["signer_infos"][0]["signed_attrs"].dump(),
        )

    return kept(der) == kept(damaged)


def test_without_a_root_nothing_is_established(authorities: Authorities) -> None:
    der = records(authorities)[0]
    verdict = verify(der, digests_of(PAPERS[0]), Trust(), moment=year(2028))
    assert (verdict.outcome, verdict.code) == (Outcome.NOT_ESTABLISHED, "no-anchor")
    assert verdict.stamps[0].intact


def test_a_certificate_that_is_not_for_time_stamps_establishes_nothing(
    authorities: Authorities,
) -> None:
    tree = HashTree([[sha(PAPERS[0])]])
    der = er.new_record(tree, 0, authorities.stamp(tree, 2027, "unfit"))
    verdict = judged(der, PAPERS[0], authorities, 2028)
    assert (verdict.outcome, verdict.code) == (Outcome.NOT_ESTABLISHED, "token-untrusted")


def test_a_time_stamp_of_the_future_is_invalid(authorities: Authorities) -> None:
    verdict = judged(records(authorities)[0], PAPERS[0], authorities, 2026)
    assert (verdict.outcome, verdict.code) == (Outcome.INVALID, "time-in-the-future")


@pytest.mark.parametrize(
    "bad", [b"", b"\x30\x00", b"\x30\x80", b"no record", b"\x30\x84\xff\xff\xff\xff", b"\x31" * 400]
)
def test_what_is_no_record_is_invalid_and_breaks_nothing(
    authorities: Authorities, bad: bytes
) -> None:
    verdict = judged(bad, PAPERS[0], authorities, 2028)
    assert (verdict.outcome, verdict.code) == (Outcome.INVALID, "bad-evidence-record")


def test_every_prefix_and_what_follows_is_no_record(authorities: Authorities) -> None:
    der = records(authorities, PAPERS[:2])[0]
    for cut in range(0, len(der), 37):
        assert judged(der[:cut], PAPERS[0], authorities, 2028).code == "bad-evidence-record"
    assert judged(der + b"\0", PAPERS[0], authorities, 2028).code == "bad-evidence-record"


# -- renewal ------------------------------------------------------------------------------------


def renewed(made: list[bytes], authorities: Authorities, at: int, label: str) -> list[bytes]:
    """All records under one new time stamp (RFC 4998, 5.2)."""
    wanted = [er.renewal_digest(der)[0] for der in made]
    shared = list(dict.fromkeys(wanted))
    tree = HashTree([[digest] for digest in shared], er.renewal_digest(made[0])[1])
    token = authorities.stamp(tree, at, label)
    return [
        er.renew_timestamp(der, tree, shared.index(digest), token)
        for der, digest in zip(made, wanted, strict=True)
    ]


def rehashed(
    made: list[bytes], authorities: Authorities, at: int, label: str, algorithm: str
) -> list[bytes]:
    """All records with a new chain of another algorithm."""
    groups = [
        er.chain_digests(der, [sha(paper, algorithm)], algorithm)
        for der, paper in zip(made, PAPERS, strict=True)
    ]
    tree = HashTree(groups, algorithm)
    token = authorities.stamp(tree, at, label)
    return [er.renew_hash_tree(der, tree, n, token) for n, der in enumerate(made)]


def test_unrenewed_proof_ends_with_the_certificate_and_renewed_proof_goes_on(
    authorities: Authorities,
) -> None:
    """The first TSA's certificate ends in 2034, the second's in 2045, the third's in 2060."""
    once = records(authorities)
    twice = renewed(once, authorities, 2033, "second")
    thrice = rehashed(twice, authorities, 2044, "third", "sha512")
    table = {
        name: [judged(made[3], PAPERS[3], authorities, at).outcome for at in years]
        for name, made, years in (
            ("unrenewed", once, (2028, 2036, 2042, 2056)),
            ("renewed", twice, (2034, 2036, 2042, 2056)),
            ("again", thrice, (2045, 2046, 2050, 2056)),
        )
    }
    yes, open_ = Outcome.VALID, Outcome.NOT_ESTABLISHED
    assert table == {
        "unrenewed": [yes, open_, open_, open_],
        "renewed": [yes, yes, yes, open_],
        "again": [yes, yes, yes, yes],
    }
    assert judged(once[3], PAPERS[3], authorities, 2036).code == "evidence-lapsed"
    assert judged(thrice[3], PAPERS[3], authorities, 2056).existed == datetime(
        2027, 6, 1, tzinfo=UTC
    )
    for at, der in enumerate(thrice):
        assert judged(der, PAPERS[at], authorities, 2056).outcome is yes
        wrong = verify(der, digests_of(b"another"), authorities.trust, moment=year(2056))
        assert (wrong.outcome, wrong.code) == (Outcome.INVALID, "digest-mismatch")


def test_a_renewal_after_the_end_proves_nothing(authorities: Authorities) -> None:
    late = renewed(records(authorities), authorities, 2036, "second")
    verdict = judged(late[0], PAPERS[0], authorities, 2037)
    assert (verdict.outcome, verdict.code) == (Outcome.NOT_ESTABLISHED, "evidence-lapsed")


def test_a_renewal_of_another_record_is_invalid(authorities: Authorities) -> None:
    made = records(authorities)
    other = records(authorities, [b"other", b"papers"])
    tree = HashTree([[er.renewal_digest(other[0])[0]]])
    token = authorities.stamp(tree, 2033, "second")
    verdict = judged(er.renew_timestamp(made[0], tree, 0, token), PAPERS[0], authorities, 2036)
    assert (verdict.outcome, verdict.code) == (Outcome.INVALID, "token-invalid")


def test_a_hash_tree_renewal_without_the_data_is_invalid(authorities: Authorities) -> None:
    made = records(authorities)
    groups = [er.chain_digests(der, [sha(b"not read", "sha512")], "sha512") for der in made]
    tree = HashTree(groups, "sha512")
    der = er.renew_hash_tree(made[0], tree, 0, authorities.stamp(tree, 2033, "second"))
    verdict = judged(der, PAPERS[0], authorities, 2036)
    assert (verdict.outcome, verdict.code) == (Outcome.INVALID, "digest-mismatch")


def test_a_retired_algorithm_binds_only_until_a_newer_chain(authorities: Authorities) -> None:
    made = records(authorities)
    retired = {"sha256": datetime(2034, 1, 1, tzinfo=UTC)}

    def outcome(der: bytes) -> tuple[Outcome, str]:
        verdict = verify(
            der, digests_of(PAPERS[0]), authorities.trust, moment=year(2044), retired=retired
        )
        return verdict.outcome, verdict.code

    same = renewed(made, authorities, 2033, "second")
    assert outcome(same[0]) == (Outcome.NOT_ESTABLISHED, "algorithm-retired")
    assert outcome(rehashed(made, authorities, 2033, "second", "sha512")[0]) == (Outcome.VALID, "")
    assert outcome(rehashed(same, authorities, 2036, "second", "sha3_512")[0])[0] is (
        Outcome.NOT_ESTABLISHED
    )


def test_a_time_stamp_renewal_keeps_the_algorithm(authorities: Authorities) -> None:
    der = records(authorities)[0]
    tree = HashTree([[sha(b"x", "sha512")]], "sha512")
    with pytest.raises(ValueError, match="algorithm"):
        er.renew_timestamp(der, tree, 0, b"")


# -- other programs -----------------------------------------------------------------------------


def test_openssl_accepts_the_token_over_the_root(authorities: Authorities, tmp_path: Path) -> None:
    tree = HashTree([[sha(paper)] for paper in PAPERS])
    token = tmp_path / "token"
    token.write_bytes(authorities.stamp(tree, 2027, "first"))
    base = ["openssl", "ts", "-verify", "-in", token, "-token_in", "-CAfile", authorities.root_pem]
    moment = ["-attime", str(int(year(2028).timestamp()))]

    def said(digest: bytes) -> subprocess.CompletedProcess[str]:
        line = [*base, *moment, "-digest", digest.hex()]
        return subprocess.run(line, capture_output=True, text=True, check=False, timeout=30)

    assert "Verification: OK" in said(tree.root).stdout, said(tree.root)
    assert said(sha(b"other")).returncode != 0


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason=f"the published records are not at {SHARED}")
def test_published_records_are_read_and_judged() -> None:
    """The samples of the German Federal Office's verifier: their digests lead to their tokens."""

    def record(name: str) -> bytes:
        return base64.b64decode((SHARED / name).read_bytes())

    data = record("example.tif.b64")
    now = datetime(2026, 1, 1, tzinfo=UTC)
    good = verify(record("example.ers.b64"), digests_of(data), Trust(), moment=now)
    assert (good.outcome, good.code) == (Outcome.NOT_ESTABLISHED, "no-anchor")
    assert good.stamps[0].intact
    assert good.stamps[0].at == datetime(2022, 8, 18, 8, 12, tzinfo=UTC)
    bad = verify(record("example.ers.b64"), digests_of(data + b"."), Trust(), moment=now)
    assert (bad.outcome, bad.code) == (Outcome.INVALID, "digest-mismatch")
    version = verify(record("er_nok_wrong_version.er.b64"), digests_of(data), Trust(), moment=now)
    assert (version.outcome, version.code) == (Outcome.INVALID, "bad-evidence-record")
    for name in ("basis_ers.b64", "example_invalidTSPs.ers.b64"):
        der = record(name)
        assert er.read(der).dump() == der
        [first, *_] = er.path_of(er.read(der)["archive_time_stamp_sequence"][0][0])
        verdict = verify(der, lambda _, first=first: [first[0]], Trust(), moment=now)
        # The second one's authorities are of no use; its renewals and digests are right.
        assert verdict.code == "no-anchor"
        assert [stamp.intact for stamp in verdict.stamps] == [True] * len(verdict.stamps)
        assert len(verdict.stamps) == (1 if name == "basis_ers.b64" else 4)


@pytest.mark.judge
def test_bouncycastle_agrees_at_once_after_each_renewal_and_on_every_flipped_bit(
    authorities: Authorities, tmp_path: Path, evidence_record_judge: str
) -> None:
    once = records(authorities)
    twice = renewed(once, authorities, 2033, "second")
    thrice = rehashed(twice, authorities, 2044, "third", "sha512")
    arguments: list[str] = []
    expected: list[bool] = []

    def ask(der: bytes, data: bytes, at: int) -> None:
        record, content = (tmp_path / f"{len(arguments)}.{kind}" for kind in ("der", "bin"))
        record.write_bytes(der)
        content.write_bytes(data)
        arguments.extend((str(record), str(int(year(at).timestamp())), str(content)))
        verdict = verify(der, digests_of(data), authorities.trust, moment=year(at))
        expected.append(verdict.outcome is Outcome.VALID)

    for at, paper in enumerate(PAPERS):
        for der, moment in ((once[at], 2028), (twice[at], 2034), (thrice[at], 2045)):
            ask(der, paper, moment)
            ask(der, bytes([paper[0] ^ 1]) + paper[1:], moment)
    valid = len(expected) // 2
    # The digests in the path and the signature stand at the beginning and the end of a record.
    for at in (*range(60, 130, 5), *range(len(once[0]) - 40, len(once[0]), 5)):
        ask(once[0][:at] + bytes([once[0][at] ^ 1]) + once[0][at + 1 :], PAPERS[0], 2028)
    line = [evidence_record_judge, *arguments]
    done = subprocess.run(line, capture_output=True, text=True, check=True, timeout=120)
    said = [answer == "valid" for answer in done.stdout.splitlines()]
    assert said == expected, done.stdout
    assert sum(said) == valid == 3 * len(PAPERS)


def test_the_token_kept_is_the_token_given(authorities: Authorities) -> None:
    tree = HashTree([[sha(paper)] for paper in PAPERS])
    token = authorities.stamp(tree, 2027, "first")
    stamp = er.read(er.new_record(tree, 0, token))["archive_time_stamp_sequence"][0][0]
    assert stamp["time_stamp"].dump() == token == cms.ContentInfo.load(token).dump()
