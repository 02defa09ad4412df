"""Secrets that were replaced under the running service: told by a reload and by a check."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from archived.cli.credentials import Finding, Source, compare, sources

OLD = (1_000_000_000, 1_000_000_000)


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """What systemd gave: one credential, long after its file was last changed."""
    folder = tmp_path / "archived.service"
    folder.mkdir()
    (folder / "signing-key").write_text("the first key")
    return folder


def live(folder: Path, since: float) -> dict[str, object]:
    return {"credentials": {"folder": str(folder), "since": since, "names": ["signing-key"]}}


def test_the_unit_and_its_drop_ins_say_which_file_is_behind_a_credential(tmp_path: Path) -> None:
    etc, usr = tmp_path / "etc", tmp_path / "usr"
    for folder in (etc / "archived.service.d", usr / "archived.service.d"):
        folder.mkdir(parents=True)
    (usr / "archived.service").write_text(
        "[Service]\n#LoadCredential=no:/no\nLoadCredential=a:/a\n"
    )
    (usr / "archived.service.d/50.conf").write_text("[Service]\nLoadCredential=hidden:/hidden\n")
    (etc / "archived.service.d/50.conf").write_text(
        "[Service]\nLoadCredential=signing-key:/etc/k.p12\nLoadCredentialEncrypted = b:/b.cred\n"
    )

    found = sources((etc, usr))

    assert found == [
        Source("a", Path("/a"), encrypted=False),
        Source("signing-key", Path("/etc/k.p12"), encrypted=False),
        Source("b", Path("/b.cred"), encrypted=True),
    ]
    (etc / "archived.service.d/90.conf").write_text("[Service]\nLoadCredential=\n")
    assert sources((etc, usr)) == []


def test_a_file_that_was_replaced_since_the_start_takes_a_restart(
    tmp_path: Path, given: Path
) -> None:
    key = tmp_path / "signing.p12"
    key.write_text("the first key")
    source = Source("signing-key", key, encrypted=False)
    after, before = key.stat().st_ctime + 1, key.stat().st_ctime - 1

    assert compare(live(given, after), [source], tmp_path) == [
        Finding("signing-key", str(key), "yes")
    ]
    assert [f.verdict for f in compare(live(given, before), [source], tmp_path)] == ["yes"], (
        "only touched"
    )
    key.write_text("the second key")
    os.utime(key, OLD)  # copied with its own times: the inode tells that it is new here
    (found,) = compare(live(given, before), [source], tmp_path)
    assert (found.verdict, found.why) == ("no", "the file holds something else by now")
    key.unlink()
    assert [f.verdict for f in compare(live(given, after), [source], tmp_path)] == ["no"]


def test_who_may_not_look_at_the_files_is_told_nothing_for_certain(
    tmp_path: Path, given: Path
) -> None:
    broken = tmp_path / "no folder"
    broken.write_text("")
    source = Source("signing-key", broken / "signing.p12", encrypted=False)

    (found,) = compare(live(given, 0.0), [source], tmp_path)

    assert found.verdict == "not established"
    assert compare({}, [source]) == compare(live(given, 0.0), [], tmp_path) == []


def test_nothing_is_read_where_the_service_says_and_systemd_does_not(
    tmp_path: Path, given: Path
) -> None:
    key = tmp_path / "signing.p12"
    key.write_text("the second key")
    source = Source("signing-key", key, encrypted=False)

    assert compare(live(given, 0.0), [source]) == []
    assert compare(live(given.with_name("elsewhere"), 0.0), [source], tmp_path) == []
    assert [f.verdict for f in compare(live(given, 0.0), [source], tmp_path)] == ["no"]
