"""The answers' contents. Pure: rows and a zone in, bytes out.

Texts are for Windows' own editor as well: UTF-8 with a byte order mark, lines end in CR LF.
Vietnamese first; what to do stands where the eye falls.
"""

from __future__ import annotations

import csv
import io
import json
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from typing import Any

from archived.locale import render, speaking
from archived.locale.dates import VIETNAMESE_DAY, moment
from archived.message import Message
from archived.model.paper_return import PaperMark, may_go_back
from archived.observe.receipts.reasons import pause_in_vietnamese, words_for
from archived.storage.receipt_queries import Held, Safe

_RULE = "=" * 64
_FORMULA = tuple("=+-@\t\r＝＋－＠")
"""What makes a spreadsheet take a cell's text for a formula."""

_WIDE = 80
"""Columns of a line: Windows' own editor does not break lines by itself."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """One accepted file. `again`: its bytes were in custody already, as `document`.

    `listed` is the document's own name, under which it will stand in the list of what is safe.
    """

    hotfolder: str
    path: bytes
    name: str
    """The whole received path, readable, NFC."""
    size: int
    sha256: str
    received: datetime
    document: str
    listed: str
    again: bool
    safe_at: datetime | None
    """When the document became safe; what comes again may come long after that."""
    held: bool
    """A person must decide about the document before anything else happens to it."""
    grew: bool
    """More was written to the file after it was taken in; that arrived as another document."""
    ledger: int | None
    ledger_hash: str | None


_MOST_DETAIL = 1000


@dataclass(frozen=True, slots=True)
class Waiting:
    """A file that lies in the folder and was not taken in yet; `code` says why."""

    name: str
    since: datetime
    code: str


_WAITS = {
    "changes": (
        "vừa đến, hoặc còn đang thay đổi",
        Message("it came a moment ago, or is still changing"),
    ),
    "unfinished": ("tệp chưa trọn vẹn, còn chờ phần cuối", Message("its end has not come")),
    "open": ("còn có chương trình đang ghi tệp", Message("somebody has it open for writing")),
    "holes": ("có phần của tệp chưa được ghi", Message("parts of it are not written yet")),
    "no-room": ("ổ đĩa hết chỗ", "there is no room on the disk"),
    "batch": (
        "chờ các tệp còn lại của hồ sơ, hoặc dấu kết thúc",
        Message("the rest of its batch, or what closes it, has not come"),
    ),
    "trouble": (
        "chưa nhận được, đang tự thử lại",
        Message("it could not be taken in and is tried again"),
    ),
    "hold": (
        "không nhận được, trong vòng một phút sẽ ghi sổ là bị giữ cùng các tệp khác",
        Message("it cannot be taken in, and is put on record as held with others within a minute"),
    ),
}


@dataclass(frozen=True, slots=True)
class FolderState:
    """How a hot folder stands. `offline`, `paused`, `failing`: why, or empty."""

    offline: str = ""
    paused: str = ""
    failing: str = ""
    stopped: bool = False
    arriving: int = 0
    waiting: tuple[Waiting, ...] = ()
    """Of the files that arrive, the first of those that have done so for a while."""
    in_work: int = 0
    held: int = 0
    reasons: int = 0
    """Reason files; fewer than `held` when there is no room for all."""
    safe_today: int = 0
    stuck: int = 0
    strangers: int = 0
    """Files of somebody else in the receipts folder."""
    doubt: str = ""
    """Why what lies in the folder may be forged; empty when nothing speaks for it."""
    too_much: bool = False
    """Receipts had to be removed for want of room."""


def _page(lines: Iterable[str]) -> bytes:
    return ("\ufeff" + "\r\n".join([*lines, ""])).encode("utf-8")


def _beside(heading: str, told: str) -> list[str]:
    """A heading with what it says beside it, line below line."""
    return textwrap.wrap(
        heading + told,
        _WIDE,
        subsequent_indent=" " * len(heading),
        drop_whitespace=True,
        break_long_words=False,
        break_on_hyphens=False,
    )


def clock(at: datetime, zone: tzinfo) -> str:
    """An instant as a Vietnamese clerk reads it."""
    return moment(at, zone, VIETNAMESE_DAY, seconds=True)


def list_of(day: date) -> str:
    """The name of the list of what became safe on a day."""
    return f"safe-{day.isoformat()}.csv"


def receipt_text(it: Receipt, zone: tzinfo) -> bytes:
    """A receipt for a person."""
    title = "TỆP NÀY ĐÃ CÓ RỒI / RECEIVED BEFORE" if it.again else "ĐÃ NHẬN / RECEIVED"
    lines = [title, _RULE, ""]
    if it.again:
        lines += [
            "Nội dung giống hệt một tệp đã nhận trước đây. Không lưu trữ thêm lần nữa.",
            "The same content was received before. It is not archived a second time.",
            "",
        ]
    if it.grew:
        lines += [
            "CHÚ Ý: sau khi nhận, tệp này còn được ghi thêm. Tài liệu này có thể chỉ là phần đầu;",
            "phần đầy đủ được nhận thành một tài liệu khác, có biên nhận riêng.",
            "NOTE: more was written to this file after it was taken in. This document may be only",
            "its beginning; the longer file is another document with a receipt of its own.",
            "",
        ]
    lines += [
        f"Tệp / File:              {it.name}",
        f"Dung lượng / Size:       {it.size} byte",
        f"Nhận lúc / Received:     {clock(it.received, zone)} ({zone})",
        f"Mã tài liệu / Document:  {it.document}",
        f"SHA-256:                 {it.sha256}",
    ]
    if it.again:
        lines += [f"Đã có với tên / Known as: {it.listed}"]
    if it.ledger is not None:
        lines += [f"Sổ cái / Ledger entry:   {it.ledger}"]
    return _page([*lines, "", *_paper(it, zone)])


def _paper(it: Receipt, zone: tzinfo) -> list[str]:
    """Whether the paper may go back, and where the document is or will be listed."""
    if it.safe_at is not None and not it.grew:
        listed = list_of(it.safe_at.astimezone(zone).date())
        return [
            f"Tài liệu đã AN TOÀN từ {clock(it.safe_at, zone)}, có tên trong danh sách",
            f'safe\\{listed}: được phép cất bản giấy hay chưa, xem cột "Bản giấy".',
            f"The document has been SAFE since {clock(it.safe_at, zone)} and stands in",
            f'safe\\{listed}: its column "Paper" says whether the paper may go back.',
        ]
    lines = []
    if it.again and it.held:
        lines = [
            'Tài liệu đang BỊ GIỮ LẠI: xem thông báo trong thư mục "held".',
            'The document is HELD: see its note in the folder "held".',
        ]
    name = f'"{it.listed}"' if it.again else ""
    return [
        *lines,
        "CHƯA được phép cất bản giấy. Chờ đến khi tài liệu có tên trong danh sách ở thư",
        'mục "safe".' if not name else f'mục "safe", với tên {name}.',
        "The paper must NOT go back yet. Wait until the document is in a list in the",
        'folder "safe".' if not name else f'folder "safe", under the name {name}.',
    ]


def rejection_text(it: Held, zone: tzinfo) -> bytes:
    """A person decided that a document is not archived."""
    lines = ["KHÔNG LƯU TRỮ / NOT ARCHIVED", _RULE, "", f"Tệp / File:  {it.name}", ""]
    lines += [
        "Người phụ trách lưu trữ đã quyết định không lưu trữ tài liệu này.",
        "Nếu bản giấy vẫn cần lưu trữ: hỏi người phụ trách lưu trữ rồi mới quét lại.",
        "The archivist decided that this document is not archived.",
        "If the paper is to be archived all the same, ask, then scan it again.",
        "",
        f"Lúc / At:                {clock(it.since, zone)} ({zone})",
        f"Mã tài liệu / Document:  {it.document}",
    ]
    return _page(lines)


def receipt_json(it: Receipt, zone: tzinfo) -> bytes:
    """A receipt for a program. `name_hex` is the received path's very bytes."""
    body: dict[str, Any] = {
        "answer": "receipt",
        "hotfolder": it.hotfolder,
        "name": unicodedata.normalize("NFC", it.name),
        "name_hex": it.path.hex(),
        "size": it.size,
        "sha256": it.sha256,
        "received": it.received.astimezone(zone).isoformat(timespec="seconds"),
        "document": it.document,
        "same_bytes_as_before": it.again,
        "grew_afterwards": it.grew,
        "listed_as": it.listed,
        "ledger": None if it.ledger is None else {"entry": it.ledger, "hash": it.ledger_hash},
    }
    return (json.dumps(body, ensure_ascii=False, indent=2) + "\n").encode()


def reason_text(it: Held, zone: tzinfo) -> bytes:
    """Why something is held and what to do: from its code, never from what is in a document."""
    words = words_for(it.code, review=it.review)
    lines = ["BỊ GIỮ LẠI, CẦN NGƯỜI XỬ LÝ / HELD, A PERSON MUST ACT", _RULE, ""]
    lines += [f"Tệp / File:  {it.name}", ""]
    with speaking("vi"):
        detail = it.detail[:_MOST_DETAIL]
        in_vietnamese = render(it.detail)[:_MOST_DETAIL]
    lines += [*_beside("Vì sao:      ", words.vi), *_beside("Phải làm:    ", words.vi_do)]
    lines += _beside("Chi tiết:    ", in_vietnamese) if detail else []
    lines += ["", *_beside("Why:         ", words.en), *_beside("What to do:  ", words.en_do)]
    lines += [*(_beside("Details:     ", detail) if detail else []), ""]
    lines += ["-" * 64]
    if it.document is None:
        lines += [
            "Tệp vẫn nằm trong thư mục quét và CHƯA được nhận.",
            "The file still lies in the scan folder. It was NOT taken in.",
        ]
    else:
        lines += [
            "Hệ thống đã nhận tệp và đang giữ, nhưng chưa lưu trữ.",
            "Nếu đã quét lại hoặc gửi tệp khác: báo người phụ trách lưu trữ mã tài liệu ở",
            "dưới, để giải quyết tài liệu bị giữ lại này.",
            "The file was taken in and is kept, but it is not archived yet.",
            "If you scan it again or bring another file, tell the archivist the document's",
            "id below: this one is still held and waits for a decision.",
        ]
    lines += [
        "CHƯA được phép cất bản giấy. / The paper must NOT go back yet.",
        "",
        f"Từ lúc / Since:          {clock(it.since, zone)} ({zone})",
        f"Mã lý do / Code:         {it.code}",
    ]
    if it.document is not None:
        lines += [
            f"Mã tài liệu / Document:  {it.document}",
            "Người phụ trách lưu trữ dùng lệnh / For the archivist:",
            f"archivectl explain {it.document}",
        ]
    lines += [
        "",
        "Thông báo này tự mất khi việc đã xong.",
        "This note goes away when the matter is settled.",
    ]
    return _page(lines)


HEADER = (
    "Tệp / File",
    "Bản giấy / Paper",
    "Ghi chú / Note",
    "An toàn lúc / Safe at",
    "Nhận lúc / Received",
    "Số trang / Pages",
    "Số bản sao / Copies",
    "Mã tài liệu / Document",
    "SHA-256",
)
_PAPER = {
    True: "được phép cất / may go back",
    False: "CHƯA được cất, hỏi người phụ trách lưu trữ / NOT YET, ask the archivist",
}
_MARKS = {
    PaperMark.NO_PAGES: "không có trang / no pages",
    PaperMark.RELEASED: "đã cho qua, có bước không làm / released, something was left out",
    PaperMark.UNSIGNED: "chưa ký số / unsigned",
}


def safe_list(rows: Sequence[Safe], zone: tzinfo) -> bytes:
    """A day's list of what became safe, and whose paper may go back; RFC 4180, for spreadsheets."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\r\n")
    table.writerow(HEADER)
    for it in sorted(rows, key=lambda row: (row.safe_at, row.document)):
        note = "; ".join(_MARKS[mark] for mark in it.marks)
        cells = [it.name, _PAPER[may_go_back(it.marks)], note, clock(it.safe_at, zone)]
        cells += [clock(it.received, zone), "" if it.pages is None else str(it.pages)]
        cells += [str(it.copies), it.document, it.sha256]
        table.writerow([harmless(cell) for cell in cells])
    return ("\ufeff" + out.getvalue()).encode("utf-8")


def harmless(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula; an apostrophe in front says "text"."""
    return f"'{cell}" if cell.lstrip(" ").startswith(_FORMULA) else cell


def status_text(it: FolderState, now: datetime, zone: tzinfo, today: date) -> bytes:
    """How the folder stands."""
    lines = [*_headline(it), _RULE, ""]
    lines += [f"Lúc / As of:                  {clock(now, zone)} ({zone})", ""]
    if it.stopped:
        return _page(lines[:-1])
    lines += [
        f"Đang đến / Arriving:          {it.arriving}",
        f"Đang xử lý / In work:         {it.in_work}",
        f"Bị giữ lại / Held:            {it.held}{_see_held(it)}",
        f"An toàn hôm nay / Safe today: {it.safe_today}{_see_safe(it, today)}",
        *_waiting(it, zone),
        *_warnings(it),
        "",
        "-" * 64,
        "Tệp này được cập nhật mỗi phút. Nếu giờ ở trên đã quá 5 phút: hệ thống không",
        "chạy hoặc mất kết nối. Tệp đã đặt vào vẫn còn nguyên; giữ bản giấy và báo",
        "người quản trị.",
        "This file is written every minute. If the time above is more than 5 minutes",
        "old, the system is down or cut off. Files stay where they are; keep the paper",
        "and tell the person who runs the system.",
    ]
    return _page(lines)


def _headline(it: FolderState) -> list[str]:
    if it.stopped:
        return [
            "ĐÃ DỪNG / STOPPED",
            "Hệ thống đã tắt. Tệp đặt vào sẽ nằm chờ, được nhận khi hệ thống chạy lại.",
            "The system is switched off. Files wait here and are taken in when it runs again.",
        ]
    if it.offline:
        return [
            "MẤT KẾT NỐI / OFFLINE",
            "Hệ thống không đọc được thư mục này. Chưa nhận được tệp.",
            "Giữ bản giấy và báo người quản trị.",
            "The system cannot read this folder. No file is taken in.",
            "Keep the paper and tell the person who runs the system.",
        ]
    if it.paused:
        return [
            "TẠM DỪNG NHẬN TỆP / PAUSED",
            f"Vì: {pause_in_vietnamese(it.paused)}.",
            "Tệp đặt vào sẽ nằm chờ, rồi tự được nhận.",
            f"Because: {it.paused}.",
            "Files wait here and are taken in later by themselves.",
        ]
    if it.failing:
        return [
            "TRỤC TRẶC / TROUBLE",
            "Chưa nhận được tệp; hệ thống đang tự thử lại. Giữ bản giấy và báo người quản trị.",
            "Files cannot be taken in now; it is tried again. Keep the paper and report this.",
        ]
    return ["ĐANG LÀM VIỆC / WORKING", "Có thể quét. / You may scan."]


def _see_held(it: FolderState) -> str:
    if not it.held:
        return ""
    some = f" ({it.reasons} / {it.held})" if it.reasons < it.held else ""
    return f'   -> xem thư mục / see folder "held"{some}'


def _see_safe(it: FolderState, today: date) -> str:
    return f"   -> safe\\{list_of(today)}" if it.safe_today else ""


def _waiting(it: FolderState, zone: tzinfo) -> list[str]:
    if not it.waiting:
        return []
    lines = ["", "Tệp còn chờ, chưa được nhận / Files that wait and were not taken in:"]
    for each in it.waiting:
        vi, en = _WAITS.get(each.code, ("", ""))
        lines += [
            *_beside("- ", f"{each.name}, {clock(each.since, zone)}:"),
            f"  {vi}.",
            f"  {en}.",
        ]
    return lines


def _warnings(it: FolderState) -> list[str]:
    lines: list[str] = []
    if it.stuck:
        lines += [
            "",
            f"CHÚ Ý: {it.stuck} tệp đã được nhận nhưng chưa xóa được khỏi thư mục.",
            "Đừng quét lại! Nếu kéo dài, báo người quản trị.",
            f"NOTE: {it.stuck} files were taken in but cannot be removed.",
            "Do not scan them again! If it lasts, tell the person who runs the system.",
        ]
    if it.strangers:
        lines += [
            "",
            f"CHÚ Ý: {it.strangers} tệp lạ trong thư mục biên nhận này sẽ KHÔNG được lưu trữ.",
            "Nếu là bản quét, hãy chuyển ra thư mục quét, bên ngoài thư mục này.",
            f"NOTE: {it.strangers} files of others in this folder are NOT archived.",
            "If they are scans, move them out into the scan folder.",
        ]
    if it.doubt:
        lines += [
            "",
            "CẢNH BÁO: người khác có thể ghi vào thư mục biên nhận này. ĐỪNG tin danh sách ở đây;",
            "giữ bản giấy và báo người quản trị.",
            "WARNING: others may write into this folder. Do NOT trust its lists; keep the paper",
            "and tell the person who runs the system.",
        ]
    if it.too_much:
        lines += [
            "",
            "Các biên nhận cũ nhất đã được xóa bớt; tài liệu không bị ảnh hưởng.",
            "The oldest receipts were cleared away; no document is touched by that.",
        ]
    return lines
