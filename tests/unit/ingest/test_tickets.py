"""Tickets: three formats that say the same, and everything hostile that must not get through."""

from __future__ import annotations

import csv
import io
import json
import time
import tracemalloc
import unicodedata
from pathlib import PurePosixPath
from typing import Any
from xml.sax.saxutils import escape

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from archived.ingest.hold_reasons import HOLDS
from archived.ingest.tickets import (
    FORMATS,
    MOST_BYTES,
    MOST_FILES,
    ListedFile,
    Ticket,
    TicketProblem,
    read_ticket,
)

A256, A512 = "ab" * 32, "cd" * 64
FULL = Ticket(
    dossier="01/HS-2025",
    title="Hồ sơ giải quyết đất đai; tập 1",
    secrecy="Mật",
    expected=3,
    files=(
        ListedFile("001.tif", 12, A256, A512, 1, "qd", {"subject": "=SUM(A1)"}),
        ListedFile("phụ lục/b, c.pdf", document="qd"),
        ListedFile("z.jpg", 0),
    ),
)


def as_json(ticket: Ticket) -> bytes:
    files = [
        {
            "path": f.path,
            "size": f.size,
            "sha256": f.sha256,
            "sha512": f.sha512,
            "pages": f.pages,
            "document": f.document,
            **f.given,
        }
        for f in ticket.files
    ]
    return json.dumps(
        {
            "dossier": ticket.dossier,
            "title": ticket.title,
            "secrecy": ticket.secrecy,
            "count": ticket.expected,
            "files": files,
            **ticket.given,
        }
    ).encode()


def rows(ticket: Ticket) -> list[dict[str, Any]]:
    given_keys = dict.fromkeys(key for f in ticket.files for key in f.given)
    head = {
        "dossier": ticket.dossier,
        "title": ticket.title,
        "secrecy": ticket.secrecy,
        "count": ticket.expected,
    }
    return [
        {
            **head,
            "path": f.path,
            "size": f.size,
            "sha256": f.sha256,
            "sha512": f.sha512,
            "pages": f.pages,
            "document": f.document,
            **{k: f.given.get(k, "") for k in given_keys},
        }
        for f in ticket.files
    ]


def as_csv(ticket: Ticket, delimiter: str = ",", end: str = "\r\n") -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows(ticket)[0]), delimiter=delimiter, lineterminator=end)
    writer.writeheader()
    writer.writerows(rows(ticket))
    return out.getvalue()


def as_xml(ticket: Ticket, declaration: str = '<?xml version="1.0" encoding="UTF-8"?>') -> str:
    def element(key: str, value: Any) -> str:
        return f"<{key}>{escape(str(value))}</{key}>" if value not in (None, "") else ""

    head = {
        "dossier": ticket.dossier,
        "title": ticket.title,
        "secrecy": ticket.secrecy,
        "count": ticket.expected,
        **ticket.given,
    }
    files = [{k: v for k, v in row.items() if k not in head} for row in rows(ticket)]
    body = "".join(
        "<file>" + "".join(element(k, v) for k, v in f.items()) + "</file>" for f in files
    )
    heads = "".join(element(k, v) for k, v in head.items())
    return f"{declaration}\n<ticket><!-- made by hand -->{heads}{body}</ticket>\n"


def of(**fields: Any) -> str:
    """A ticket in JSON."""
    return json.dumps(fields, ensure_ascii=False)


def refusal(name: bytes, content: bytes | str) -> TicketProblem:
    with pytest.raises(TicketProblem) as caught:
        read_ticket(name, content.encode() if isinstance(content, str) else content)
    problem = caught.value
    assert problem.code in HOLDS
    assert problem.hint
    assert problem.reason
    assert len(problem.reason) < 600, "a reason is read by people"
    return problem


# What is read ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (b"t.json", as_json(FULL)),
        (b"T.JSON", as_json(FULL).decode().encode("utf-8-sig")),
        (b"t.json", as_json(FULL).decode().encode("utf-16")),
        (b"t.csv", as_csv(FULL).encode()),
        (b"t.csv", as_csv(FULL, ";").encode("utf-8-sig")),
        (b"t.csv", as_csv(FULL, "\t").encode("utf-16")),
        (b"t.csv", as_csv(FULL, "\t", "\n").encode("utf-8")),
        (b"t.csv", b"\xfe\xff" + as_csv(FULL, ",", "\n").encode("utf-16-be")),
        (b"t.csv", as_csv(FULL, end="\r").encode()),
        (b"t.csv", ("\n\n" + as_csv(FULL, end="\n").replace("\n", "\n\n")).encode()),
        (b"t.csv", as_csv(FULL).replace("sha256", "SHA-256").replace("pages", " Pages ").encode()),
        (b"t.xml", as_xml(FULL).encode()),
        (b"t.xml", as_xml(FULL, "").encode("utf-8-sig")),
        (b"t.Xml", as_xml(FULL, '<?xml version="1.0" encoding="utf-16"?>').encode("utf-16")),
        (b"t.xml", as_xml(FULL, "<?xml version='1.0'?>").encode()),
        (b"t.xml", as_xml(FULL).replace("qd", "<![CDATA[qd]]>").encode()),
        (b"t.xml", as_xml(FULL).replace("Mật", "M&#7853;t").encode()),
        (unicodedata.normalize("NFD", "phiếu.json").encode(), as_json(FULL)),
    ],
)
def test_the_three_formats_say_the_same(name: bytes, content: bytes) -> None:
    """In every encoding that says what it is, with every separator and line end."""
    assert read_ticket(name, content) == FULL


def test_a_ticket_need_not_list_files() -> None:
    """It then only closes the folder."""
    assert read_ticket(b"t.json", b"{}") == Ticket()
    assert read_ticket(b"t.json", b'{"dossier": "A-1", "files": []}') == Ticket(dossier="A-1")
    assert read_ticket(b"t.xml", b"<ticket/>") == Ticket()
    assert read_ticket(b"t.csv", b"dossier;count\nA-1;7\n") == Ticket(dossier="A-1", expected=7)
    assert read_ticket(b"t.csv", b"path\n") == Ticket()


def test_a_row_without_a_path_speaks_of_the_whole_ticket() -> None:
    """So a table can have the title once."""
    text = "path,size,title,box\n,,Hồ sơ A,17\na.tif,1,,\nb.tif,2,Hồ sơ A,18\n"
    assert read_ticket(b"t.csv", text.encode()) == Ticket(
        title="Hồ sơ A",
        given={"box": "17"},
        files=(ListedFile("a.tif", 1), ListedFile("b.tif", 2, given={"box": "18"})),
    )


def test_what_is_not_known_is_kept_as_it_was_written() -> None:
    """Numbers keep every digit; nothing is rounded, nothing is run."""
    long = "1" * 4000
    text = (
        '{"operator": "  Lan ", "box": 12345678901234567890.10, "checked": true, "empty": null, '
        f'"big": {long}, "Ghi chú": "=cmd|\' /C calc\'!A0", "pages": 9, '
        '"files": [{"path": "a.tif", "title": "Quyết định", "x": -1e5}]}'
    )
    ticket = read_ticket(b"t.json", text.encode())
    assert ticket.given == {
        "operator": "Lan",
        "box": "12345678901234567890.10",
        "checked": "true",
        "big": long,
        "Ghi chú": "=cmd|' /C calc'!A0",
        "pages": "9",
    }
    assert ticket.files[0].given == {"title": "Quyết định", "x": "-1e5"}


def test_names_are_in_nfc_however_they_were_typed() -> None:
    """Paths and texts; keys as well."""
    typed = unicodedata.normalize("NFD", "phụ lục/tờ 1.tif")
    ticket = read_ticket(
        b"t.json", json.dumps({"title": typed, "files": [{"path": typed, "số": "ế"}]}).encode()
    )
    assert ticket.files[0].path == "phụ lục/tờ 1.tif" == ticket.title
    assert ticket.files[0].given == {"số": "ế"}


def test_files_with_one_label_are_one_document_in_listed_order() -> None:
    """A file without a label is a document of its own."""
    named = [("a", "1"), ("b", ""), ("c", "2"), ("d", "1"), ("e", "")]
    files = [{"path": path, "document": label} for path, label in named]
    ticket = read_ticket(b"t.json", json.dumps({"files": files}).encode())
    assert [[f.path for f in document] for document in ticket.documents] == [
        ["a", "d"],
        ["b"],
        ["c"],
        ["e"],
    ]


@pytest.mark.parametrize("word", ["", "thường", "open", "Mật", "mat", " TỐI MẬT ", "tuyet-mat"])
def test_every_word_for_a_level_is_understood(word: str) -> None:
    """As the configuration understands them."""
    ticket = read_ticket(b"t.json", json.dumps({"secrecy": word}).encode())
    assert ticket.secrecy == word.strip()


def test_as_many_files_as_may_be_are_read_at_once() -> None:
    """In a fraction of a second, in every format."""
    ticket = Ticket(files=tuple(ListedFile(f"{n:05}.tif", n) for n in range(MOST_FILES)))
    files = [{"path": f.path, "size": f.size} for f in ticket.files]
    made = {
        "json": json.dumps({"files": files}).encode(),
        "csv": as_csv(ticket).encode(),
        "xml": as_xml(ticket).encode(),
    }
    assert set(made) == set(FORMATS)
    for ending, content in made.items():
        begun = time.process_time()
        assert read_ticket(b"t." + ending.encode(), content) == ticket
        assert time.process_time() - begun < 3


# What is refused ---------------------------------------------------------------------------------


def test_a_ticket_that_is_too_large_is_not_parsed() -> None:
    """One byte beyond the limit says it; nobody reads a gigabyte."""
    at_limit = b"{" + b" " * (MOST_BYTES - 2) + b"}"
    assert read_ticket(b"t.json", at_limit) == Ticket()
    begun = time.process_time()
    assert refusal(b"t.json", at_limit + b" ").code == "ticket-too-large"
    assert refusal(b"t.xml", b"\xff" * (MOST_BYTES + 1)).code == "ticket-too-large"
    assert time.process_time() - begun < 0.5


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (b"t.json", of(files=[{"path": "a"}] * (MOST_FILES + 1))),
        (b"t.csv", "path\n" + "a\n" * (MOST_FILES + 1)),
        (b"t.xml", "<ticket>" + "<file><path>a</path></file>" * (MOST_FILES + 1) + "</ticket>"),
        (b"t.xml", "<ticket>" + "<file/>" * 100_000 + "</ticket>"),
        (b"t.json", of(files=[{}] * 250_000)),
    ],
    ids=["json", "csv", "xml", "xml-empty", "json-empty"],
)
def test_too_many_files_are_refused(name: bytes, content: str) -> None:
    """One more than the limit, and very many more."""
    assert refusal(name, content).code == "ticket-too-large"


@pytest.mark.parametrize("name", [b"t", b"t.txt", b"t.json.exe", b"json", b"t.\xff", b"", b".done"])
def test_another_kind_of_file_is_no_ticket(name: bytes) -> None:
    """The end of the name says the format; the content is not asked."""
    assert refusal(name, b"{}").code == "ticket-unreadable"


@pytest.mark.parametrize(
    "content",
    [
        "Hồ sơ".encode("windows-1258", "replace"),
        b'{"title": "H\xe5 s\xac"}',  # TCVN3
        b"\xff\xfe\x00",
        b"\xff\xfe\x00\xd8{}",
        '{"a": "b"}'.encode("utf-16-le"),
        '{"a": "b"}'.encode("utf-32"),
        b"\xed\xa0\x80{}",
        b"\xc0\xae{}",
        b"",
        b" \r\n\t",
        b"\0" * 99,
    ],
)
@pytest.mark.parametrize("name", [b"t.json", b"t.csv", b"t.xml"])
def test_an_encoding_is_never_guessed(name: bytes, content: bytes) -> None:
    """Not the old Vietnamese ones either: a wrong guess is a wrong title for ever."""
    problem = refusal(name, content)
    assert problem.code == "ticket-unreadable"
    assert any(word in problem.reason for word in ("UTF-8", "UTF-16", "empty"))


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        '"text"',
        "1",
        "null",
        "true",
        "{",
        '{"a": 1,}',
        "{} {}",
        "{'a': 1}",
        '{"a": 01}',
        '{"a": NaN}',
        '{"a": Infinity}',
        '{"files": [{"path": "a", "size": -Infinity}]}',
        '{"dossier": "a", "dossier": "b"}',
        '{"dossier": "a", "Dossier": "b"}',
        '{"files": [{"path": "a", "path": "b"}]}',
        '{"files": [{"sha256": "", "SHA-256": ""}]}',
        '{"files": {}}',
        '{"files": "a"}',
        '{"files": ["a.tif"]}',
        '{"files": [[]]}',
        '{"files": [], "Files": []}',
        '{"a": "tab\tinside"}',
        "// no\n{}",
        '{"a": .5}',
        "[" * 500_000,
        '{"a":' * 150_000,
        '{"a":' * 150_000 + "1" + "}" * 150_000,
        '{"a": "\\ud83d"',
        "x" * 1000,
    ],
)
def test_json_that_is_not_one_plain_object_is_refused(text: str) -> None:
    """No key twice, no NaN, no depth without end."""
    assert refusal(b"t.json", text).code == "ticket-unreadable"


@pytest.mark.parametrize(
    "text",
    [
        '{"a": []}',
        '{"a": {}}',
        '{"dossier": ["A"]}',
        '{"files": [{"path": {"a": 1}}]}',
        '{"files": [{"path": "a", "more": [1]}]}',
        '{"files": [{}]}',
        '{"files": [{"path": ""}]}',
        '{"files": [{"path": null}]}',
        '{"title": "\\ud83d"}',
        '{"\\ud83d": "x"}',
        '{"title": "a\\u0000b"}',
        '{"title": "a\\u001bb"}',
        '{"": "x"}',
        '{" ": "x"}',
        '{"a\\nb": "x"}',
        of(**{"k" * 201: "x"}),
        of(title="x" * 4097),
        of(title="ế" * 1366),
        of(note="x" * 4097),
        of(dossier="x" * 201),
        '{"dossier": "a\\nb"}',
        '{"dossier": "a\\u202eb"}',
        '{"dossier": "=A1"}',
        '{"dossier": "+84"}',
        '{"dossier": "-1"}',
        '{"dossier": "@x"}',
        '{"dossier": "＝A1"}',
        '{"files": [{"path": "a", "document": "=1"}]}',
        '{"count": -1}',
        '{"count": 1.0}',
        '{"count": 1e3}',
        '{"count": "x"}',
        '{"count": true}',
        '{"count": "１２"}',
        '{"count": 1000001}',
        '{"count": ' + "9" * 100_000 + "}",
        '{"files": [{"path": "a", "size": -1}]}',
        '{"files": [{"path": "a", "size": 1.5}]}',
        '{"files": [{"path": "a", "size": 9223372036854775808}]}',
        '{"files": [{"path": "a", "pages": 0}]}',
        '{"files": [{"path": "a", "pages": 100001}]}',
        '{"files": [{"path": "a", "sha256": "abc"}]}',
        of(files=[{"path": "a", "sha256": "g" * 64}]),
        of(files=[{"path": "a", "sha512": A256}]),
        '{"path": "a.tif"}',
        of(sha256=A256),
        '{"files": [{"path": "a", "dossier": "B"}]}',
        '{"files": [{"path": "a", "secrecy": "mat"}]}',
        '{"files": [{"path": "a", "files": "b"}]}',
        json.dumps({f"k{n}": "v" for n in range(101)}),
    ],
)
def test_a_field_that_is_not_what_it_should_be_is_refused(text: str) -> None:
    """Nothing is cut off, rounded or overlooked."""
    assert refusal(b"t.json", text).code == "ticket-field"


@pytest.mark.parametrize(
    "path",
    [
        "/a",
        "/",
        "//server/share/a",
        "a//b",
        "a/",
        "./a",
        "a/./b",
        "..",
        "../a",
        "a/../b",
        "a/..",
        "..\\a",
        "a\\b",
        "\\\\server\\a",
        "C:/a",
        "c:a",
        "C:\\a",
        "file:///etc/passwd",
        "a\0b",
        "a\nb",
        "a\tb",
        "a\x7fb",
        "a\u202egnp.exe",
        "a\u200bb",
        "\ufeffa",
        "a\u2028b",
        "a\ud800b",
        " a",
        "a ",
        "a/ b",
        "a /b",
        "=a",
        "+a",
        "-a",
        "@a",
        "＠a",
        ".a",
        ".hidden/a",
        "a/.b",
        "_archived/receipts/a",
        "_archived",
        "Thumbs.db",
        "a/desktop.ini",
        "a.tmp",
        "a.part",
        "~$a.docx",
        "a~",
        "._a",
        "lost+found/a",
        "x" * 256,
        "ế" * 86,
        "/".join("abcdefghijklmnopq"),
        "x/" * 2000 + "a",
    ],
)
def test_a_path_that_could_mean_another_place_or_another_file_is_refused(path: str) -> None:
    """Absolute, leaving its folder, hidden, ours, ambiguous, or too long."""
    content = json.dumps({"files": [{"path": path}]})
    assert refusal(b"t.json", content).code == "ticket-path"


@pytest.mark.parametrize(
    "path",
    [
        "a",
        "a/b",
        "a b.tif",
        "%2e%2e/a",
        "a..b",
        "a...",
        "con",
        "ab:c",
        "x" * 255,
        "ế" * 85,
        "/".join("abcdefghijklmnop"),
        "~a",
        "a=b",
        "_archived2/a",
        "số 1.tif",
        "a'b\"c.tif",
    ],
)
def test_an_ordinary_path_is_taken_literally(path: str) -> None:
    """Nothing in it is decoded or expanded."""
    ticket = read_ticket(b"t.json", json.dumps({"files": [{"path": path}]}).encode())
    assert ticket.files[0].path == path


@pytest.mark.parametrize(
    "text",
    [
        '{"secrecy": "secret"}',
        '{"secrecy": "toi mat"}',
        '{"secrecy": 3}',
        '{"độ mật": "Mật"}',
        '{"level": "tuyệt mật"}',
        '{"files": [{"path": "a", "x": "toi-mat"}]}',
    ],
)
def test_a_level_that_is_unknown_or_stands_elsewhere_is_refused(text: str) -> None:
    """A level that nobody reads would leave a secret in an open folder."""
    assert refusal(b"t.json", text).code == "ticket-secrecy"


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("ticket-unreadable", "a,b;c\n1,2;3\n"),
        ("ticket-unreadable", "path;size\tx\n"),
        ("ticket-unreadable", "name\na.tif\n"),
        ("ticket-unreadable", "path,\na,\n"),
        ("ticket-unreadable", "path,path\na,b\n"),
        ("ticket-unreadable", "path,Path\na,b\n"),
        ("ticket-unreadable", "path,size\na\n"),
        ("ticket-unreadable", "path,size\na,1,2\n"),
        ("ticket-unreadable", 'path\n"a\n'),
        ("ticket-unreadable", 'path\n"a"b\n'),
        ("ticket-unreadable", "sep=;\npath;size\n"),
        ("ticket-unreadable", f'path\n"{"x" * 200_000}"\n'),
        ("ticket-field", "path,size\n,5\n"),
        ("ticket-field", "path,size\na,\u00b2\n"),
        ("ticket-field", "path,size\na,1 000\n"),
        ("ticket-field", 'path,size\na,"1,5"\n'),
        ("ticket-field", "path,dossier\na,A\nb,B\n"),
        ("ticket-field", "path,count\na,1\nb,2\n"),
        ("ticket-field", "dossier,title\nA,x\nA,y\n"),
        ("ticket-field", "dossier,size\nA,4\n"),
        ("ticket-field", "path," + ",".join(f"c{n}" for n in range(100)) + "\n"),
        ("ticket-field", "path,dossier\na,=1+1\n"),
        ("ticket-path", "path\n=1+1\n"),
        ("ticket-path", 'path\n"=HYPERLINK(""http://x"")"\n'),
        ("ticket-path", "path\n../a\n"),
        ("ticket-path", 'path\n"a\nb"\n'),
        ("ticket-path", "path\n a\n"),
        ("ticket-secrecy", "path,secrecy\na,geheim\n"),
        ("ticket-secrecy", "path,độ mật\na,Mật\n"),
    ],
)
def test_a_table_that_is_not_plain_is_refused(code: str, text: str) -> None:
    """Rows as long as the header, one separator, no formula where a name stands."""
    assert refusal(b"t.csv", text).code == code


ENTITIES = "".join(f"<!ENTITY {chr(98 + n)} '{f'&{chr(97 + n)};' * 10}'>" for n in range(20))
BOMB = f"<!DOCTYPE t [<!ENTITY a 'ha'>{ENTITIES}]>"


@pytest.mark.parametrize(
    "text",
    [
        BOMB + "<ticket><title>&u;</title></ticket>",
        "<!DOCTYPE ticket><ticket/>",
        '<!DOCTYPE ticket SYSTEM "http://127.0.0.1:1/x.dtd"><ticket/>',
        '<!DOCTYPE t [<!ENTITY x SYSTEM "file:///etc/passwd">]><ticket><title>&x;</title></ticket>',
        '<!DOCTYPE t [<!ENTITY % x SYSTEM "file:///etc/passwd"> %x;]><ticket/>',
        "<ticket>&undefined;</ticket>",
        "<other/>",
        "<Ticket/>",
        "<ticket>",
        "<ticket/><ticket/>",
        "text",
        "<ticket>text</ticket>",
        "<ticket><title>a<b/></title></ticket>",
        "<ticket>text<title>a</title></ticket>",
        "<ticket><file>a.tif</file></ticket>",
        "<ticket><title>a</title>text</ticket>",
        "<ticket><file><path>a</path>b</file></ticket>",
        "<ticket><title>a</title><title>b</title></ticket>",
        "<ticket><title/><file><path>a</path></file><Title/></ticket>",
        "<ticket><file><path>a</path><path>b</path></file></ticket>",
        "<ticket><files><file><path>a</path></file></files></ticket>",
        '<ticket><file path="a"/></ticket>',
        '<ticket xmlns="urn:x"/>',
        '<x:ticket xmlns:x="u"/>',
        "<ticket><x:title>a</x:title></ticket>",
        "<?php x ?><ticket/>",
        "<ticket><?x y?></ticket>",
        '<?xml-stylesheet href="http://127.0.0.1:1/x"?><ticket/>',
        '<?xml version="1.0" encoding="windows-1258"?><ticket/>',
        '<?xml version="1.0" encoding="UTF-7"?><ticket/>',
        ' <?xml version="1.0"?><ticket/>',
        "<ticket><title>\x01</title></ticket>",
        "<ticket><title>&#0;</title></ticket>",
        "<ticket><title>&#xD800;</title></ticket>",
        "<a>" * 100_000,
        "<ticket>" + "<a>" * 100_000,
        "<ticket a='" + "x" * 500_000 + "'/>",
    ],
)
def test_xml_that_could_do_anything_is_refused(text: str) -> None:
    """No document type, no entity, no attribute, no namespace, nothing deep, at once."""
    begun = time.process_time()
    assert refusal(b"t.xml", text).code == "ticket-unreadable"
    assert time.process_time() - begun < 2


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (b"t.json", "{" + ",".join(f'"{n:x}":0' for n in range(90_000)) + "}"),
        (b"t.json", '{"a": [' + "[]," * 340_000 + "[]]}"),
        (b"t.csv", "path," + ",".join(f"{n:x}" for n in range(150_000))),
        (b"t.xml", "<ticket>" + "".join(f"<a{n:x}/>" for n in range(100_000)) + "</ticket>"),
    ],
    ids=["json-keys", "json-lists", "csv-columns", "xml-fields"],
)
def test_a_ticket_of_the_largest_size_costs_a_moment_and_little_memory(
    name: bytes, content: str
) -> None:
    """Also the worst that fits into the limit: the daemon reads it."""
    begun = time.process_time()
    assert refusal(name, content).code == "ticket-field"
    assert time.process_time() - begun < 5
    tracemalloc.start()
    try:
        refusal(name, content)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


# Anything ----------------------------------------------------------------------------------------

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)
KEYS = st.sampled_from(
    ["path", "size", "sha256", "pages", "document", "dossier", "count", "secrecy", "files", "x"]
) | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=20,
)


def judged(name: bytes, content: bytes) -> None:
    """Whatever comes in: a ticket of which every word can be used, or a problem, explained."""
    try:
        ticket = read_ticket(name, content)
    except TicketProblem as problem:
        assert problem.code in HOLDS
        assert problem.reason.isprintable() or "\n" not in problem.reason
        assert len(problem.reason) < 600
        return
    for file in ticket.files:
        path = PurePosixPath(file.path)
        assert not path.is_absolute()
        assert not {"..", ".", ""} & set(file.path.split("/"))
        assert not set(file.path) & set("\\\0\n\r\t")
        assert file.path == unicodedata.normalize("NFC", file.path)
    for text in [ticket.dossier, ticket.title, *ticket.given.values(), *ticket.given]:
        assert "\0" not in text
        text.encode()  # no lone surrogate that a database would choke on


@given(st.sampled_from([b"t.json", b"t.csv", b"t.xml"]), st.binary(max_size=200))
def test_any_bytes_are_judged(name: bytes, content: bytes) -> None:
    """Never another exception."""
    judged(name, content)


@given(VALUES)
@example({"files": [{"path": "a"}, {"path": "a/b"}]})
def test_any_json_is_judged(value: Any) -> None:
    """Of any shape, with the words that mean something in any place."""
    judged(b"t.json", json.dumps(value).encode())


@given(st.text(alphabet="path,size;\t\"\n\r=ế'0a/.\\", max_size=80))
def test_any_table_is_judged(text: str) -> None:
    """Separators, quotes and line ends wherever they fall."""
    judged(b"t.csv", ("path" + text).encode())


@given(
    st.lists(
        st.sampled_from(
            [
                "<ticket>",
                "</ticket>",
                "<file>",
                "</file>",
                "<path>",
                "</path>",
                "<title/>",
                "a",
                "\n",
                "<!-- -->",
                "<![CDATA[x]]>",
                "&amp;",
                "&x;",
                "<a b='c'>",
                "<?p?>",
                "<!DOCTYPE t>",
            ]
        ),
        max_size=14,
    )
)
def test_any_elements_are_judged(parts: list[str]) -> None:
    """In any order and nesting."""
    judged(b"t.xml", "".join(parts).encode())


SAFE = st.text(
    st.characters(categories=["L", "N"], include_characters=" .()&<>'\""), min_size=1, max_size=20
).map(lambda t: unicodedata.normalize("NFC", f"a{t}z"))
LISTED = st.builds(
    ListedFile,
    path=SAFE.map(lambda t: t.replace('"', "")),
    size=st.none() | st.integers(0, (1 << 63) - 1),
    sha256=st.none() | st.binary(min_size=32, max_size=32).map(bytes.hex),
    sha512=st.none() | st.binary(min_size=64, max_size=64).map(bytes.hex),
    pages=st.none() | st.integers(1, 100_000),
    document=st.just("") | SAFE,
)
TICKETS = st.builds(
    Ticket,
    dossier=SAFE,
    title=SAFE,
    secrecy=st.sampled_from(["", "Mật", "open"]),
    expected=st.none() | st.integers(0, 1_000_000),
    files=st.lists(LISTED, min_size=1, max_size=6).map(tuple),
)


@given(TICKETS)
def test_what_is_written_is_read_in_every_format(ticket: Ticket) -> None:
    """The three say the same, whatever stands in them."""
    assert read_ticket(b"t.json", as_json(ticket)) == ticket
    assert read_ticket(b"t.csv", as_csv(ticket).encode("utf-16")) == ticket
    assert read_ticket(b"t.csv", as_csv(ticket, ";", "\n").encode()) == ticket
    assert read_ticket(b"t.xml", as_xml(ticket).encode()) == ticket
