"""Every code in two languages, names any client can show, cells that no sheet computes."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from archived.ingest.hold_reasons import BatchProblem
from archived.message import Message
from archived.observe.receipts import folder, reasons
from archived.observe.receipts.texts import harmless, reason_text
from archived.storage.receipt_queries import Held

ROOT = Path(__file__).resolve().parents[3]
DOCUMENT = "01a201ad-74f2-7f96-836f-82559e6ea60d"


def test_every_code_has_its_sentence_in_vietnamese_and_english():
    """The codes of docs/failures.md, all of them and no others."""
    page = (ROOT / "docs" / "failures.md").read_text()
    assert set(reasons.codes()) == set(re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE))
    for code, said in reasons.codes().items():
        for sentence in (said.vi, said.vi_do, said.en, said.en_do):
            assert sentence.endswith("."), code
        assert said.vi == unicodedata.normalize("NFC", said.vi), code
        assert any(ord(letter) > 127 for letter in said.vi), f"{code}: that is no Vietnamese"
        assert said.en.isascii(), code


def test_a_note_fits_the_window_and_tells_its_details_in_both_languages():
    """Windows' editor breaks no lines by itself."""
    since = datetime(2026, 11, 22, tzinfo=UTC)
    for code in reasons.codes():
        it = Held(b"a.pdf", "a.pdf", code, since, document=DOCUMENT)
        lines = reason_text(it, UTC).decode("utf-8-sig").split("\r\n")
        assert max(map(len, lines)) <= 80, code
    reason = Message("it claims {claimed}, and there are {count}", claimed=3, count=1)
    detail = BatchProblem("ticket-count", reason).sentence
    it = Held(b"a.pdf", "a.pdf", "ticket-count", since, arrival=1, detail=detail)
    told = " ".join(reason_text(it, UTC).decode("utf-8-sig").split())
    assert "Chi tiết: số tệp không đúng với phiếu: phiếu ghi 3 tệp, thực có 1" in told
    assert f"Details: {detail}" in told


def test_a_code_nobody_translated_still_says_whom_to_ask():
    said = reasons.words_for("strangers-own-code")
    assert said not in reasons.codes().values()
    assert "người phụ trách" in said.vi_do


@given(st.binary(min_size=1, max_size=255).filter(lambda b: b"\0" not in b))
@example(b"con.pdf")
@example(b"LPT1")
@example(b"-rf")
@example(b".hidden")
@example(b"line\nfeed.pdf")
@example(b"trailing. . ")
@example(b'a:*?"<>|\\b.pdf')
@example(b"\xff\xfe.pdf")
@example("ho\u0323p đo\u0302\u0300ng.pdf".encode())
@example("việt".encode() * 30)
@example(("a" * 251 + ".pdf").encode())
@example("\u202egnp.exe".encode())
@example("🗎".encode() * 60)
def test_whatever_arrives_its_answer_has_a_name_that_windows_can_show(received: bytes):
    for name in (
        folder.receipt(received, DOCUMENT, 123456789) + ".json",
        folder.reason(received, document=DOCUMENT),
        folder.reason(received, arrival=7),
    ):
        assert len(name.encode()) <= 255
        assert len(name) <= 140
        assert not set(name) & set('\\/:*?"<>|')
        assert name.isprintable()
        assert name[0] not in ".-~ "
        assert name.split(".")[0].rstrip().lower() not in {"con", "nul", "aux", "prn", "lpt1"}
        assert name == unicodedata.normalize("NFC", name)
    assert folder.RECEIPT.fullmatch(folder.receipt(received, DOCUMENT, 5) + ".txt")
    assert folder.REASON.fullmatch(folder.reason(received, document=DOCUMENT))
    assert folder.REASON.fullmatch(folder.reason(received, arrival=5))


def test_a_long_name_keeps_its_end_where_scanners_count():
    assert folder.resembling(b"x" * 200 + b"-0042.pdf").endswith("…xxxxxxx-0042.pdf")


def test_no_cell_is_a_formula():
    for cell in ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1", "-x.pdf"):
        assert harmless(cell) == "'" + cell
    assert harmless("hợp đồng = 12.pdf") == "hợp đồng = 12.pdf"
