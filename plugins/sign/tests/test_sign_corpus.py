"""Strange PDFs from the field and from other programs' test suites: no third way out."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from archived.api import Refuse

SHARED = Path(
    os.environ.get("ARCHIVED_SHARED_DATA") or Path(__file__).parents[4] / "shared" / "data"
)
LARGEST = 200_000
EVERY = 20


def some_pdfs() -> list[Path]:
    small = [p for p in sorted(SHARED.rglob("*.pdf")) if p.stat().st_size < LARGEST]
    odd = [p for p in small if p.name == "qpdf_weird-tokens.pdf"]
    return [*small[::EVERY], *odd]


@pytest.mark.shared
def test_every_pdf_is_signed_so_that_poppler_agrees_or_refused_with_a_reason(pki, sign):
    if not SHARED.is_dir():
        pytest.skip(f"the shared corpus is not at {SHARED}; set ARCHIVED_SHARED_DATA")
    endings = []
    for number, path in enumerate(some_pdfs()):
        visible = "top-right" if number % 2 else "none"
        before = path.read_bytes()
        try:
            signed = sign(path, visible=visible, **pki.key_options()).replace_main.path
        except Refuse as refusal:
            assert refusal.code in {"unsignable", "already-signed"}, path.name
            endings.append(refusal.code)
            continue
        finally:
            assert path.read_bytes() == before
        endings.append("signed")
        assert signed.read_bytes().startswith(before), path.name
        judged = subprocess.run(
            ["pdfsig", str(signed)], capture_output=True, text=True, check=False, timeout=60
        )
        assert "Signature is Valid" in judged.stdout, path.name
    assert set(endings) == {"signed", "unsignable", "already-signed"}
