"""`archivectl evidence verify`, through the real console script and without a daemon."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from archived.evidence import evidence_record as er
from archived.evidence.hash_tree import HashTree

from .authorities import Authorities

PAPER = "Giấy chứng nhận quyền sử dụng đất".encode()


def archivectl(*words: object, lang: str = "C.UTF-8") -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("archivectl")
    line = [program, "evidence", "verify", *map(str, words)]
    env = {"PATH": "/usr/bin:/bin", "LC_ALL": lang, "LANGUAGE": "vi" if "vi" in lang else "en"}
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=60, env=env)


@pytest.fixture(scope="module")
def files(
    authorities: Authorities, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, Path]:
    """A record, its paper, and the root."""
    folder = tmp_path_factory.mktemp("proof")
    tree = HashTree([[hashlib.sha256(PAPER).digest()], [hashlib.sha256(b"x").digest()]])
    record, paper = folder / "paper.ers", folder / "giấy.pdf"
    record.write_bytes(er.new_record(tree, 0, authorities.stamp(tree, 2027, "first")))
    paper.write_bytes(PAPER)
    return record, paper, authorities.root_pem


def test_a_paper_is_proven_now_and_not_after_the_certificate_ended(
    files: tuple[Path, Path, Path],
) -> None:
    record, paper, root = files
    good = archivectl(record, paper, "--root", root, "--at", "2028-01-31", "--json")
    told = json.loads(good.stdout)
    assert good.returncode == 0 and good.stderr == ""
    assert (told["verdict"], told["existed"]) == ("valid", "2027-06-01T00:00:00+00:00")
    assert told["at"] == "2028-01-31T23:59:59+00:00"
    [stamp] = told["stamps"]
    assert stamp["authority"] == "Giờ chuẩn first"
    late = archivectl(record, paper, "--root", root, "--at", "2036-05-04", "--json")
    assert (late.returncode, json.loads(late.stdout)["code"]) == (1, "evidence-lapsed")


def test_a_person_reads_the_verdict_in_both_languages(files: tuple[Path, Path, Path]) -> None:
    record, paper, root = files
    words = (record, paper, "--root", root, "--at", "2028-01-31")
    english, vietnamese = archivectl(*words), archivectl(*words, lang="vi_VN.UTF-8")
    assert english.stdout.startswith("valid: the bytes existed on 2027-06-01 00:00:00 UTC\n")
    assert "revocation: not established" in english.stdout
    assert vietnamese.stdout.startswith("hợp lệ: nội dung đã có từ ")
    assert (english.returncode, vietnamese.returncode) == (0, 0)


def test_other_bytes_no_root_and_a_base64_record(
    files: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    record, paper, root = files
    other = tmp_path / "other.pdf"
    other.write_bytes(PAPER + b" ")
    armoured = tmp_path / "record.b64"
    armoured.write_bytes(base64.encodebytes(record.read_bytes()))
    for words, code in (
        ((record, other, "--root", root), "digest-mismatch"),
        ((record, paper), "no-anchor"),
        ((armoured, paper), "no-anchor"),
        ((paper, paper, "--root", root), "bad-evidence-record"),
    ):
        done = archivectl(*words, "--json", "--at", "2028-01-31")
        assert (done.returncode, json.loads(done.stdout)["code"]) == (1, code)


def test_files_that_cannot_be_read_are_named(
    files: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    record, paper, root = files
    large = tmp_path / "large.ers"
    with large.open("wb") as file:
        file.truncate(5 << 20)
    for words, named in (
        ((tmp_path / "none.ers", paper), "none.ers"),
        ((record, tmp_path / "none.pdf", "--root", root), "none.pdf"),
        ((record, paper, "--root", paper), "giấy.pdf"),
        ((record, paper, "--crl", root), "root.pem"),
        ((large, paper), "large.ers"),
    ):
        done = archivectl(*words)
        assert done.returncode == 1, done
        assert named in done.stderr and "Traceback" not in done.stderr
