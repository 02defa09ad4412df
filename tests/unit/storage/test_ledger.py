"""The chain: nothing in it can be changed, removed or inserted without being noticed."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

import archived
from archived.errors import LedgerError
from archived.storage.ledger import GENESIS, KINDS, Entry, Row, canonical, digest, verify

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
AT = NOON.isoformat(timespec="microseconds")


def chain(length: int = 6) -> list[Row]:
    rows: list[Row] = []
    previous = GENESIS
    for sequence in range(1, length + 1):
        entry = Entry(
            "document-admitted",
            NOON,
            "archived 0",
            f"document-{sequence}",
            {"original/0001": "ab" * 64},
            {"name": "Quyết định"},
        )
        text = canonical(entry, sequence, previous)
        previous = digest(text)
        rows.append((sequence, text, previous, entry.kind, entry.document, AT))
    return rows


def test_a_whole_chain_is_verified_to_its_head() -> None:
    rows = chain()

    head = verify(rows)

    assert (head.sequence, head.hash) == (6, rows[-1][2])


def test_an_empty_ledger_is_whole() -> None:
    assert verify([]).hash == GENESIS


@pytest.mark.parametrize("position", range(6))
def test_a_changed_entry_breaks_the_chain_at_its_place(position: int) -> None:
    rows = chain()
    sequence, text, *columns = rows[position]
    rows[position] = (sequence, text.replace("Quyết", "Quyet"), *columns)

    with pytest.raises(LedgerError, match=f"entry {sequence}: its text does not match its hash"):
        verify(rows)


@pytest.mark.parametrize("position", range(5))
def test_a_changed_entry_with_a_new_hash_breaks_the_chain_after_it(position: int) -> None:
    rows = chain()
    sequence, text, _, kind, document, at = rows[position]
    forged = text.replace("Quyết", "Quyet")
    rows[position] = (sequence, forged, digest(forged), kind, document, at)

    with pytest.raises(LedgerError, match=f"entry {sequence + 1}: it does not continue"):
        verify(rows)


@pytest.mark.parametrize("position", range(5))
def test_a_removed_entry_is_missed(position: int) -> None:
    rows = chain()
    del rows[position]

    with pytest.raises(LedgerError, match=f"entry {position + 1} is missing"):
        verify(rows)


def test_columns_that_do_not_match_the_text_are_noticed() -> None:
    rows = chain()
    sequence, text, stored, kind, _, at = rows[2]
    rows[2] = (sequence, text, stored, kind, "somebody-else", at)

    with pytest.raises(LedgerError, match="columns do not match"):
        verify(rows)


def test_a_time_that_is_not_that_of_the_text_is_noticed() -> None:
    rows = chain()
    rows[2] = (*rows[2][:5], AT.replace("2026", "2025"))

    with pytest.raises(LedgerError, match="columns do not match"):
        verify(rows)


def test_swapped_entries_are_noticed() -> None:
    rows = chain()
    rows[1], rows[2] = (2, *rows[2][1:]), (3, *rows[1][1:])

    with pytest.raises(LedgerError):
        verify(rows)


def test_the_canonical_text_does_not_depend_on_the_order_of_facts() -> None:
    one = Entry("recovered", NOON, "a", None, None, {"x": 1, "y": 2})
    two = Entry("recovered", NOON, "a", None, None, {"y": 2, "x": 1})

    assert canonical(one, 1, GENESIS) == canonical(two, 1, GENESIS)


def test_the_canonical_text_is_the_same_to_the_letter_for_ever() -> None:
    """It is what was hashed: whoever checks a ledger with `sha256sum` needs it so."""
    hanoi = NOON.astimezone(timezone(timedelta(hours=7)))
    facts = {"name": "Quyết định", "size": 1}
    entry = Entry("recovered", hanoi, "archived 0", "d1", {"original/0001": "ab"}, facts)
    assert canonical(entry, 7, "f" * 64) == (
        '{"agent":"archived 0","at":"2026-03-01T12:00:00.000000+00:00",'
        '"digests":{"original/0001":"ab"},"document":"d1",'
        '"facts":{"name":"Quyết định","size":1},"kind":"recovered",'
        f'"previous":"{"f" * 64}","sequence":7}}'
    )
    assert canonical(Entry("recovered", NOON, "a", None, {}, {}), 1, GENESIS) == (
        '{"agent":"a","at":"2026-03-01T12:00:00.000000+00:00","kind":"recovered",'
        f'"previous":"{GENESIS}","sequence":1}}'
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (canonical(Entry("recovered", NOON, "a"), 5, GENESIS), "another sequence number"),
        ("no JSON", "is not JSON"),
        ("[]", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        (canonical(Entry("daemon-started", NOON, "a"), 1, GENESIS), "columns do not match"),
    ],
)
def test_a_text_that_was_put_in_with_its_own_hash_is_noticed(text: str, told: str) -> None:
    with pytest.raises(LedgerError, match=told):
        verify([(1, text, digest(text), "recovered", None, AT)])


def test_an_unknown_kind_is_never_written() -> None:
    with pytest.raises(ValueError, match="not a kind"):
        canonical(Entry("made-up", NOON, "a"), 1, GENESIS)


def test_every_kind_says_what_it_records_and_the_program_records_it() -> None:
    assert all(text.endswith(".") for text in KINDS.values())
    source = Path(archived.__file__).parent
    texts = [file.read_text() for file in source.rglob("*.py") if file.name != "ledger.py"]
    assert [kind for kind in KINDS if not any(f'"{kind}"' in text for text in texts)] == []


def test_what_the_first_entry_names_is_as_long_as_a_hash_and_is_none() -> None:
    assert len(GENESIS) == len(digest("anything"))
    assert set(GENESIS) == {"0"}
