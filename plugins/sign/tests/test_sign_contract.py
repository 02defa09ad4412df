"""The promises every stage makes, kept by `sign` in the real child process."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pikepdf
import pikepdf.pdfa
import pytest

from archived.api import Artifact, Document, Refuse, Role, digest_file
from archived.testing import StageContract, run_stage
from archived_sign import Sign
from archived_sign.throwaway_key import make_throwaway_p12


def access_copy(folder: Path, *, encrypted: bool = False) -> Document:
    """A document as `ocr` leaves it: an original and a PDF/A copy that is the main artifact."""
    folder.mkdir(exist_ok=True)
    path, original = folder / "document.pdf", folder / "scan.tif"
    original.write_bytes(b"II*\x00")
    with pikepdf.new() as pdf:
        pdf.add_blank_page()
        pikepdf.pdfa.save(pdf, path, flavour="2b")
    if encrypted:
        with pikepdf.open(path, allow_overwriting_input=True) as pdf:
            pdf.save(path, encryption=pikepdf.Encryption(owner="o", user=""))
    main = _artifact(path, "application/pdf", Role.ACCESS)
    both = (_artifact(original, "image/tiff", Role.ORIGINAL), main)
    return Document("d1", datetime.now(UTC), "scans", "scan.tif", main, both)


def _artifact(path: Path, kind: str, role: Role) -> Artifact:
    return Artifact(path, path.name, kind, role, digest_file(path), path.stat().st_size)


class TestSign(StageContract):
    stage = Sign
    more_codes = frozenset({"certificate-expired", "certificate-not-yet-valid", "throwaway-key"})

    def make_sample(self, folder: Path) -> Document:
        return access_copy(folder)

    def make_options(self, folder: Path) -> Mapping[str, Any]:
        p12, passphrase, root = make_throwaway_p12(folder / "key")
        return {
            "key": {"file": str(p12)},
            "passphrase": {"file": str(passphrase)},
            "allow_throwaway": True,
            "trusted_roots": [str(root)],
            "visible": "top-right",
        }

    def test_an_encrypted_copy_is_refused(self, surroundings: Any, tmp_path: Path) -> None:
        _, _, options, _ = surroundings
        with pytest.raises(Refuse) as raised:
            run_stage(Sign, access_copy(tmp_path, encrypted=True), **options)
        assert raised.value.code == "unsignable"


def test_in_its_own_process_it_reaches_the_servers_and_the_files_that_the_options_name(
    authority: Any, tmp_path: Path
) -> None:
    """Confined as at work: with the network, because servers are configured, and no other path."""
    source = access_copy(tmp_path / "document")
    signed = run_stage(Sign, source, **authority.options("B-LTA", servers=("tsa1", "tsa2")))
    assert signed.facts["level"] == "B-LTA"
    assert [each.name for each in signed.add] == ["signature-validation.xml"]
