"""A person must look: pictures in a folder, one decision about what was shown and nothing else."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import stat
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from archived.cli.errors import NOT_NOW, OK, USAGE

if TYPE_CHECKING:
    from tests.system.cli.conftest import Installation

MORE = """
[hotfolder.files]
path = "{folder}/files"
pipeline = "paper"
dossiers = true
closed_by = ["mark"]
[hotfolder.open]
path = "{folder}/open"
pipeline = "paper"
unread = "flag"
"""


@pytest.fixture(scope="module")
def installation(
    make_installation: type[Installation], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """Two dossiers of two documents each, held; one flagged; one that nobody was struck."""
    folder = tmp_path_factory.mktemp("review")
    it = make_installation(folder)
    for name in ("files", "open"):
        (folder / name).mkdir(mode=0o755)
    it.toml = it.config.read_text().replace(
        'fault = "refuse"\nonly = "poison*"',
        'fault = "review"\nreview_code = "unread-content"\nonly = "*poison*"',
    )
    it.toml += MORE.format(folder=folder)
    it.start()
    for dossier in ("HS-1", "HS-2"):
        (folder / "files" / dossier).mkdir()
        for number in (1, 2):
            content = f"secret words of {dossier} {number}\n"
            it.put(f"{dossier}/poison-{number}.txt", content.encode(), into="files")
        it.put(f"{dossier}/.done", b"", into="files")
    it.put("poison-open.txt", b"may be read\n", into="open")
    it.put("plain.txt", b"plain\n")
    it.settle(held=4, safe=2)
    yield it
    assert it.end() == 0, it.log.read_text()


def held(installation: Installation, dossier: str) -> list[str]:
    answer = installation.json("documents", "--state", "held", "--dossier", dossier)
    return [each["id"] for each in answer["documents"]]


def states(installation: Installation) -> dict[str, str]:
    return {d["id"]: d["state"] for d in installation.json("documents")["documents"]}


class Page(HTMLParser):
    """What the page shows and whether anything in it would run or be fetched."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.pictures: list[str] = []
        self.tags: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        given = dict(attrs)
        assert not any(name.startswith("on") for name in given)
        if tag == "img":
            self.pictures.append(given["src"] or "")


def test_every_place_has_its_picture_in_a_folder_of_ones_own(
    installation: Installation, tmp_path: Path
) -> None:
    folder = tmp_path / "look"
    done = installation.ctl("review", "--dossier", "HS-1", "-o", str(folder))
    assert done.returncode == OK, done.stderr
    names = sorted(path.name for path in folder.iterdir())
    pictures = [f"{number:05}.png" for number in range(1, 5)]
    assert names == [*pictures, "index.html", "shown.json"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    for word in (
        *pictures,
        *held(installation, "HS-1"),
        "unread-content",
        "erratic-marks",
        "50.0 %",
    ):
        assert word in done.stdout

    text = (folder / "index.html").read_text()
    page = Page(text)
    assert page.pictures == pictures
    assert not page.tags & {"script", "iframe", "link", "object", "a"}
    for word in (
        "Trang 1 / Page 1",
        "poison-2.txt",
        "hồ sơ / dossier HS-1",
        "không đọc được",
        "2 places were marked, on request.",
        f"--reviewed {folder}",
    ):
        assert word in text
    assert "secret words" not in text

    digests = {
        artifact["sha512"]
        for document in held(installation, "HS-1")
        for artifact in installation.json("show", document)["artifacts"]
        if artifact["media_type"] == "image/png"
    }
    assert {
        hashlib.sha512((folder / name).read_bytes()).hexdigest() for name in pictures
    } <= digests


def test_what_is_written_is_not_written_over(installation: Installation, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    done = installation.ctl("review", "--dossier", "HS-1", "-o", str(tmp_path))
    assert done.returncode == USAGE
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_nobody_releases_what_nobody_was_shown(installation: Installation, tmp_path: Path) -> None:
    document = held(installation, "HS-1")[0]
    for words in (["--code", "unread-content"], []):
        done = installation.ctl("release", document, *words, "--note", "fine")
        assert done.returncode == NOT_NOW
        assert "must look" in done.stderr
        assert f"archivectl review {document} -o FOLDER" in done.stderr
    done = installation.ctl("release", "--reviewed", str(tmp_path), "--note", "fine")
    assert done.returncode == USAGE
    assert states(installation)[document] == "held"


def test_explain_says_what_to_type_in_the_clerks_language(installation: Installation) -> None:
    document = held(installation, "HS-1")[0]
    told = installation.json("explain", document)
    assert [choice["command"].split()[1] for choice in told["choices"]] == [
        "review",
        "release",
        "retry",
        "reject",
    ]
    assert "seal is next" in told["now"]
    assert any("asks that a person looks, at 2 regions" in each["what"] for each in told["story"])
    vietnamese = installation.ctl("explain", document, env={"LC_ALL": "vi_VN.UTF-8"}).stdout
    assert "xem" in vietnamese
    assert "asks that" not in vietnamese
    assert "It is held" not in vietnamese


def test_a_flagged_document_went_on_and_says_so(installation: Installation) -> None:
    document = installation.document("poison-open.txt")
    it = installation.json("show", document)
    assert it["state"] == "safe"
    (asked,) = (step["reviews"] for step in it["steps"] if step["reviews"])
    assert [(review["code"], review["flagged"]) for review in asked] == [("unread-content", True)]
    assert "unread-content" in installation.ctl("show", document).stdout
    record = json.loads(
        next(
            (installation.folder / "store").rglob(f"*{document}*/v1/content/metadata/record.json")
        ).read_bytes()
    )
    (kept,) = (step["reviews"] for step in record["steps"] if step["reviews"])
    assert (kept[0]["flagged"], len(kept[0]["regions"])) == (True, 2)
    assert "was recorded and goes on" in installation.ctl("explain", document).stdout


def test_nothing_of_what_is_held_is_found_or_logged(installation: Installation) -> None:
    assert installation.json("search", "secret")["found"] == []
    assert "secret words" not in installation.log.read_text()
    assert "places were marked" not in installation.log.read_text()


def test_the_clerk_reads_why_on_the_share(installation: Installation) -> None:
    def notes() -> list[Path]:
        return list((installation.folder / "files" / "_archived" / "held").glob("*.txt"))

    installation.wait(lambda: len(notes()) == 4)
    told = notes()[0].read_text("utf-8-sig")
    assert "không đọc được" in told
    assert "was not read" in told
    assert "places were marked" not in told


def test_one_decision_covers_a_dossier_as_it_was_shown(
    installation: Installation, tmp_path: Path
) -> None:
    """One of the two is worked on again meanwhile: it is not what was looked at."""
    first, second = held(installation, "HS-1")
    others = held(installation, "HS-2")
    folder = tmp_path / "look"
    assert (
        installation.ctl("review", "--code", "unread-content", "-o", str(folder)).returncode == OK
    )
    assert installation.ctl("retry", second).returncode == OK
    installation.wait(lambda: states(installation)[second] == "held")

    done = installation.ctl(
        "release", "--reviewed", str(folder), "--dossier", "HS-1", "--note", "no secrets"
    )
    assert done.returncode == NOT_NOW, done.stdout
    assert "1 document goes on" in done.stdout
    assert "is not what holds it now" in done.stdout
    installation.wait(lambda: states(installation)[first] == "safe")
    assert states(installation)[second] == "held"
    assert {states(installation)[document] for document in others} == {"held"}, "of another dossier"

    again = tmp_path / "again"
    assert installation.ctl("review", second, "-o", str(again)).returncode == OK
    answer = installation.json("release", "--reviewed", str(again), "--note", "no secrets either")
    assert [each["document"] for each in answer["released"]] == [second]
    installation.wait(lambda: states(installation)[second] == "safe")
    rest = installation.ctl("release", "--reviewed", str(folder), "--note", "the others")
    assert rest.returncode == NOT_NOW, "those of HS-1 were released already"
    installation.wait(lambda: set(states(installation).values()) == {"safe"})

    record = installation.json("show", first)
    (entry,) = _entries(installation, first, "document-released")
    assert entry["facts"]["note"] == "no secrets"
    assert len(entry["facts"]["reviews"][0]["regions"]) == 2
    assert all(region["sha512"] for region in entry["facts"]["reviews"][0]["regions"])
    assert record["steps"][1]["ending"] == "finished"
    assert installation.json("search", "Found")["found"], "its text is sealed with it"


def _entries(installation: Installation, document: str, kind: str) -> list[Any]:
    with sqlite3.connect(
        f"file:{installation.folder}/state/catalog.db?mode=ro", uri=True
    ) as catalog:
        rows = catalog.execute(
            "SELECT entry FROM ledger WHERE document = ? AND kind = ?", (document, kind)
        ).fetchall()
    return [json.loads(entry) for (entry,) in rows]


def test_the_metrics_count_what_was_asked(installation: Installation) -> None:
    import urllib.request

    port = re.search(r'listen = "127.0.0.1:(\d+)"', installation.config.read_text())
    assert port
    with urllib.request.urlopen(f"http://127.0.0.1:{port[1]}/metrics") as got:
        text = got.read().decode()
    counted = {
        match[2]: float(match[3])
        for match in re.finditer(
            r'archived_reviews_total\{code="([^"]+)",held="([^"]+)",stage="erratic"\} (\S+)', text
        )
        if match[1] == "unread-content"
    }
    assert counted == {"no": 1.0, "yes": 5.0}


def test_a_picture_that_is_gone_leaves_its_document_out_and_no_other(
    installation: Installation, tmp_path: Path
) -> None:
    """On a damaged disk, say: what is left out is not in what may be released, nor half of it."""
    for number in (1, 2):
        installation.put(f"poison-{number}.txt", f"late {number}\n".encode())
    of_these = ("--hotfolder", "scans", "--state", "held")
    installation.wait(lambda: len(installation.json("documents", *of_these)["documents"]) == 2)
    damaged = installation.document("poison-1.txt")
    spool = installation.folder / "state" / "spool" / "documents" / damaged
    (picture, *_) = sorted(spool.rglob("*erratic-0002.png"))
    picture.parent.chmod(0o755)
    away = picture.with_name("away")
    picture.rename(away)

    folder = tmp_path / "look"
    done = installation.ctl("review", "--hotfolder", "scans", "-o", str(folder))
    assert done.returncode == OK, done.stderr
    assert f"{damaged}: left out" in done.stderr
    shown = json.loads((folder / "shown.json").read_bytes())["documents"]
    assert [each["name"] for each in shown] == ["poison-2.txt"]
    assert len(list(folder.glob("*.png"))) == 2
    assert done.stdout.count("00001.png") == 1

    away.rename(picture)
    again = tmp_path / "again"
    assert installation.ctl("review", "--hotfolder", "scans", "-o", str(again)).returncode == OK
    assert installation.ctl("release", "--reviewed", str(again), "--note", "fine").returncode == OK
    installation.wait(lambda: not installation.json("documents", *of_these)["documents"])
