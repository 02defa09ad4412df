"""A program that is not installed keeps the documents that need it waiting, and no others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from archived.testing.samples.containers import pack

pytestmark = pytest.mark.skipif(
    shutil.which("jbig2dec") is None, reason="jbig2dec is not installed: ./run dev"
)


def page() -> Image.Image:
    """Something to decode; there is nothing to read on it."""
    image = Image.new("1", (600, 400), 255)
    ImageDraw.Draw(image).rectangle((100, 100, 300, 200), fill=0)
    return image


@pytest.mark.timeout(300)
def test_a_document_waits_for_a_missing_program_and_goes_on_when_it_is_there(
    box, until, tmp_path: Path
):
    programs = tmp_path / "programs"
    programs.mkdir()
    box.tables["plugins"]["enabled"] = ["ocr"]
    box.tables["pipeline.paper"]["stages"] = ["ocr", "seal"]
    box.tables["hotfolder.scans"]["unread"] = "flag"  # the pages have a mark and no words
    box.start(PATH=str(programs))
    assert any(
        "'jbig2dec'" in line["event"] and "Debian package jbig2dec" in line["event"]
        for line in until(lambda: box.said("stage-problem"), "told at start")
    )
    (box.hot() / "jbig2.pdf").write_bytes(pack([page()], "pdf-jbig2", 100))
    (box.hot() / "g4.pdf").write_bytes(pack([page()], "pdf", 100))
    box.sealed("g4.pdf", seconds=120)
    tried = "SELECT count(*) FROM step WHERE ending = 'postponed' AND code = 'program-missing'"
    # More often than a stage may break: no attempt is used up.
    until(lambda: box.rows(tried)[0][0] > 4, "tried again and again", 120)
    state, code, attempts, document = box.documents()["jbig2.pdf"]
    assert (state, code) == ("waiting", "program-missing")
    assert attempts <= 1, "what runs now"
    [(message, hint)] = box.rows(
        "SELECT DISTINCT message, hint FROM step "
        f"WHERE document = '{document}' AND ending IS NOT NULL"
    )
    assert "'jbig2dec' cannot be started" in json.loads(message)["text"]
    assert json.loads(hint)["parameters"] == {"package": "jbig2dec"}
    assert box.get("/readyz")[0] == 200
    (programs / "jbig2dec").symlink_to(shutil.which("jbig2dec") or "")
    box.sealed("jbig2.pdf", seconds=120)
    assert box.end() == 0
