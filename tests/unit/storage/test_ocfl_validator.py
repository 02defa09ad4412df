"""Objects and roots of any program are judged by the specification's own codes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from archived.storage.ocfl import validator
from archived.storage.ocfl.inventory_rules import is_moment
from archived.storage.ocfl.reader import Validity
from archived.storage.ocfl.root_validator import RootCheck
from archived.storage.ocfl.validation_codes import MEANINGS
from archived.storage.ocfl.validator import validate_object
from tests.fault.storage.documents import ID
from tests.fault.storage.ocfl_judge import judge

SHARED = Path(__file__).resolve().parents[4] / "shared/data/ocfl-fixtures"
Change = Callable[[Path], object]


def fixtures(kind: str) -> list[Path]:
    return sorted(SHARED.glob(f"1.*/{kind}/*"))


published = [
    pytest.mark.shared,
    pytest.mark.skipif(not SHARED.is_dir(), reason=f"the published objects are not at {SHARED}"),
]


# -- published objects --------------------------------------------------------------------------


class TestPublished:
    """The OCFL project's own fixtures: good, bad and warned of, 156 in all."""

    pytestmark = published

    def test_every_good_object_is_accepted_without_a_word(self) -> None:
        found = {path: validate_object(path) for path in fixtures("good-objects")}
        assert len(found) == 22
        assert {p: v.counts for p, v in found.items() if v.answer is not Validity.YES} == {}
        assert {p: v.counts for p, v in found.items() if v.counts} == {}

    def test_every_bad_object_is_named_by_all_codes_in_its_name(self) -> None:
        found = {path: validate_object(path) for path in fixtures("bad-objects")}
        assert len(found) == 107
        missed = {
            path: (codes_of(path) - verdict.counts.keys(), verdict.answer)
            for path, verdict in found.items()
            if verdict.answer is not Validity.NO or codes_of(path) - verdict.counts.keys()
        }
        assert missed == {}

    def test_every_warned_object_is_valid_and_named_by_all_codes_in_its_name(self) -> None:
        found = {path: validate_object(path) for path in fixtures("warn-objects")}
        assert len(found) == 27
        missed = {
            path: verdict.counts
            for path, verdict in found.items()
            if verdict.answer is not Validity.YES or codes_of(path) - verdict.counts.keys()
        }
        assert missed == {}


def codes_of(path: Path) -> set[str]:
    return set(re.findall(r"[EW]\d{3}", path.name))


# -- own objects, changed, and another judge ----------------------------------------------------


def edited(name: str, change: Callable[[Any], object]) -> Change:
    """A change of an inventory, its sidecar made anew: only what is inside it is wrong."""

    def act(root: Path) -> None:
        path = root / name
        value = json.loads(path.read_bytes())
        change(value)
        write(path, json.dumps(value).encode())

    return act


def write(path: Path, content: bytes) -> None:
    for each in (path, path.with_name("inventory.json.sha512")):
        each.chmod(0o644)
    path.write_bytes(content)
    digest = hashlib.sha512(content).hexdigest()
    path.with_name("inventory.json.sha512").write_text(f"{digest}  inventory.json\n")


def both(change: Callable[[Any], object]) -> Change:
    """The same in the object's inventory and in that of its newest version."""

    def act(root: Path) -> None:
        newest = json.loads((root / "inventory.json").read_bytes())["head"]
        edited("inventory.json", change)(root)
        write(root / newest / "inventory.json", (root / "inventory.json").read_bytes())

    return act


def a_content_file(root: Path) -> Path:
    return sorted(path for path in root.glob("v1/content/**/*") if path.is_file())[0]


def flipped(root: Path) -> None:
    path = a_content_file(root)
    path.chmod(0o644)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def first_digest(value: Any) -> str:
    return next(iter(value["manifest"]))


CHANGES: dict[str, tuple[Change, str]] = {
    "byte flipped": (flipped, "E092"),
    "file removed": (lambda root: a_content_file(root).unlink(), "E092"),
    "file added": (lambda root: (root / "v1/content/more").write_text("x"), "E023"),
    "file in the root": (lambda root: (root / "more").write_text("x"), "E001"),
    "folder in the root": (lambda root: (root / "more").mkdir(), "E001"),
    "file in a version": (lambda root: (root / "v1/more").write_text("x"), "E015"),
    "version added": (lambda root: shutil.copytree(root / "v1", root / "v9"), "E046"),
    "version removed": (lambda root: shutil.rmtree(root / "v1"), "E046"),
    "declaration removed": (lambda root: next(root.glob("0=*")).unlink(), "E003"),
    "declaration emptied": (lambda root: rewrite(next(root.glob("0=*")), b""), "E007"),
    "inventory removed": (lambda root: (root / "inventory.json").unlink(), "E063"),
    "sidecar removed": (lambda root: (root / "inventory.json.sha512").unlink(), "E058"),
    "sidecar of another": (
        lambda root: rewrite(root / "inventory.json.sha512", b"0" * 128 + b" inventory.json\n"),
        "E060",
    ),
    "sidecar garbled": (lambda root: rewrite(root / "inventory.json.sha512", b"x\n"), "E061"),
    "no JSON": (lambda root: write(root / "inventory.json", b"{"), "E033"),
    "a list": (lambda root: write(root / "inventory.json", b"[]"), "E034"),
    "no id": (both(lambda v: v.pop("id")), "E036"),
    "empty id": (both(lambda v: v.update(id="")), "E037"),
    "no type": (both(lambda v: v.pop("type")), "E036"),
    "another type": (both(lambda v: v.update(type="x")), "E038"),
    "md5": (both(lambda v: v.update(digestAlgorithm="md5")), "E025"),
    "no head": (both(lambda v: v.pop("head")), "E036"),
    "another head": (both(lambda v: v.update(head="v7")), "E040"),
    "no manifest": (both(lambda v: v.pop("manifest")), "E041"),
    "no versions": (both(lambda v: v.pop("versions")), "E041"),
    "empty versions": (both(lambda v: v.update(versions={})), "E008"),
    "created without zone": (
        both(lambda v: v["versions"]["v1"].update(created="2026-01-02T03:04:05")),
        "E049",
    ),
    "no state": (both(lambda v: v["versions"]["v1"].pop("state")), "E048"),
    "user is a text": (both(lambda v: v["versions"]["v1"].update(user="x")), "E054"),
    "message is a list": (both(lambda v: v["versions"]["v1"].update(message=[])), "E094"),
    "digest unknown": (
        both(lambda v: v["versions"]["v1"]["state"].update({"0" * 128: ["x"]})),
        "E050",
    ),
    "logical path climbs": (
        both(lambda v: v["versions"]["v1"]["state"][first_digest(v)].append("../x")),
        "E052",
    ),
    "logical path begins with a slash": (
        both(lambda v: v["versions"]["v1"]["state"][first_digest(v)].append("/x")),
        "E053",
    ),
    "content path climbs": (
        both(lambda v: v["manifest"][first_digest(v)].append("v1/content/../x")),
        "E099",
    ),
    "content path outside": (
        both(lambda v: v["manifest"][first_digest(v)].append("x/content/y")),
        "E042",
    ),
    "content path twice": (
        both(lambda v: v["manifest"][first_digest(v)].append(v["manifest"][first_digest(v)][0])),
        "E101",
    ),
    "fixity is a list": (both(lambda v: v.update(fixity=[])), "E111"),
    "fixity is wrong": (
        both(lambda v: v.update(fixity={"md5": {"0" * 32: v["manifest"][first_digest(v)]}})),
        "E093",
    ),
    "content folder climbs": (both(lambda v: v.update(contentDirectory="..")), "E018"),
    "earlier history": (
        edited("v1/inventory.json", lambda v: v["versions"]["v1"]["state"].popitem()),
        "E066",
    ),
    "newest inventory differs": (
        edited("v2/inventory.json", lambda v: v["versions"]["v2"].update(message="x")),
        "E064",
    ),
}


_BREAK_IT = {"no manifest", "no state"}
"""On these the other judge ends with an error of its own."""


def rewrite(path: Path, content: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(content)


def copied(store: Any, to: Path) -> Path:
    """The store's root in another place; the folder of its object of two versions."""
    shutil.copytree(store.ocfl, to)
    return to / store.read(ID).root.relative_to(store.ocfl)


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_named_by_its_code(store: Any, tmp_path: Path, name: str) -> None:
    change, code = CHANGES[name]
    root = copied(store, tmp_path / "copy")
    before = validate_object(root)
    assert (before.answer, before.counts) == (Validity.YES, {})
    change(root)
    verdict = validate_object(root)
    assert verdict.answer is Validity.NO
    assert code in verdict.counts, verdict.counts


def test_another_programs_judge_agrees_on_every_change(store: Any, tmp_path: Path) -> None:
    """ocfl-py rejects what this one rejects; each object lies in a storage root of its own."""
    roots = {}
    changes = {name: change for name, (change, _) in CHANGES.items() if name not in _BREAK_IT}
    for at, (name, change) in enumerate(changes.items()):
        root = copied(store, tmp_path / str(at))
        change(root)
        roots[name] = tmp_path / str(at)
    whole = tmp_path / "whole"
    copied(store, whole)
    said = judge(*roots.values(), whole)
    rejected = {name for name, root in roots.items() if any(str(root) in line for line in said)}
    assert set(changes) - rejected == set()
    assert not any(str(whole) in line for line in said)


# -- what nobody could read, and hostile input --------------------------------------------------


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="no setpriv(1)")
def test_what_cannot_be_read_is_neither_valid_nor_invalid(store: Any, tmp_path: Path) -> None:
    root = copied(store, tmp_path / "copy")
    closed = a_content_file(root)
    closed.chmod(0)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid():
            folder.chmod(folder.stat().st_mode | 0o055)
    script = (
        "import sys; from pathlib import Path\n"
        "from archived.storage.ocfl.validator import validate_object\n"
        "v = validate_object(Path(sys.argv[1])); print(v.answer, *v.unread, *v.counts, sep='|')"
    )
    line = [sys.executable, "-c", script, str(root)]
    if os.geteuid() == 0:
        line = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *line]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.strip() == f"not established|{closed.relative_to(root)}", done


def test_links_devices_and_pipes_are_named_and_never_followed(store: Any, tmp_path: Path) -> None:
    root = copied(store, tmp_path / "copy")
    outside = tmp_path / "outside"
    shutil.move(a_content_file(root), outside)
    a_folder = root / "v1/content"
    (a_folder / "link").symlink_to(outside)
    (a_folder / "folder").symlink_to(tmp_path)
    os.mkfifo(a_folder / "pipe")
    os.mkfifo(root / "pipe")
    verdict = validate_object(root)
    assert verdict.counts["E090"] == 4
    assert "E092" in verdict.counts


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b'{"id": 1e999, "head": NaN, "versions": {"v' + b"9" * 5000 + b'": {}}}',
        b'{"manifest": {"": [""], "x": [null]}, "versions": {"v1": [], "v0": {}, "v-1": {}}}',
        b'{"versions": {"v1": {"state": {"a": "b", "c": ["\\u0000", "\\ud800"]}}}}',
        b"\xff\xfe{}",
        b'{"fixity": {"md5": {"x": [1]}, "constructor": {"y": ["v1/content/z"]}, "sha1": []}}',
        b'{"id": "a", "id": "b", "manifest": [], "contentDirectory": ["x"], "type": {}}',
    ],
)
def test_hostile_inventories_get_codes_and_break_nothing(
    store: Any, tmp_path: Path, content: bytes
) -> None:
    root = copied(store, tmp_path / "copy")
    write(root / "inventory.json", content)
    verdict = validate_object(root)
    assert verdict.answer is Validity.NO
    assert verdict.counts.keys() <= MEANINGS.keys()


def test_an_inventory_that_is_too_large_is_not_read(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = copied(store, tmp_path / "copy")
    path = root / "inventory.json"
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.truncate(validator.LARGEST_INVENTORY + 1)
    assert "E034" in validate_object(root).counts


# -- roots --------------------------------------------------------------------------------------


def judged_root(root: Path) -> tuple[list[Validity], dict[str, int]]:
    check = RootCheck(root)
    answers = [verdict.answer for verdict in check.objects()]
    return answers, check.findings.counts


def test_a_root_of_ours_is_valid_and_what_lies_between_is_named(store: Any, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    copied(store, root)
    answers, counts = judged_root(root)
    assert answers and set(answers) == {Validity.YES}
    assert counts == {}

    (root / "empty/below").mkdir(parents=True)
    (root / "lost").mkdir()
    (root / "lost/file").write_text("x")
    (root / "link").symlink_to("/etc")
    (root / "a-file-of-somebody.txt").write_text("allowed here")
    rewrite(root / "ocfl_layout.json", b"[]")
    answers, counts = judged_root(root)
    assert set(answers) == {Validity.YES}
    assert counts == {"E073": 1, "E072": 1, "E090": 1, "E070": 1}


@pytest.mark.parametrize("declaration", [None, "0=ocfl_9.9", "0=ocfl_1.1"])
def test_a_root_without_a_good_declaration_is_named(
    store: Any, tmp_path: Path, declaration: str | None
) -> None:
    root = tmp_path / "copy"
    copied(store, root)
    (root / "0=ocfl_1.1").unlink()
    if declaration:
        (root / declaration).write_text("something else\n")
    assert judged_root(root)[1] == {"E069": 1}


def test_an_object_newer_than_its_root_is_named(store: Any, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    copied(store, root)
    (root / "0=ocfl_1.1").unlink()
    (root / "0=ocfl_1.0").write_text("ocfl_1.0\n")
    answers, counts = judged_root(root)
    assert counts == {"E081": len(answers)}


# -- the command --------------------------------------------------------------------------------


def archivectl(*words: object, lang: str = "C.UTF-8") -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("archivectl")
    env = {"PATH": "/usr/bin:/bin", "LC_ALL": lang, "LANGUAGE": "vi" if "vi" in lang else "en"}
    line = [program, "verify", *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=60, env=env)


def test_the_command_judges_a_root_and_an_object_without_a_configuration(
    store: Any, tmp_path: Path
) -> None:
    root = copied(store, tmp_path / "copy")
    for path in (tmp_path / "copy", root):
        done = archivectl("--path", path, "--json")
        told = json.loads(done.stdout)
        assert (done.returncode, told["verdict"], told["found"]) == (0, "yes", [])
    before = {path: path.stat().st_mtime_ns for path in sorted(root.rglob("*"))}
    assert archivectl("--path", root).returncode == 0
    assert {path: path.stat().st_mtime_ns for path in sorted(root.rglob("*"))} == before

    flipped(root)
    done = archivectl("--path", tmp_path / "copy", "--json")
    [found] = json.loads(done.stdout)["found"]
    assert done.returncode == 1
    assert found["verdict"] == "no" and found["counts"].keys() == {"E092", "E093"}
    for lang, words in (
        ("C.UTF-8", "is not what the manifest says"),
        ("vi_VN.UTF-8", "không đúng như"),
    ):
        spoken = archivectl("--path", tmp_path / "copy", lang=lang)
        assert spoken.returncode == 1
        assert "E092" in spoken.stdout and words in spoken.stdout


def test_what_is_neither_root_nor_object_is_said(tmp_path: Path) -> None:
    for path, code in ((tmp_path, "neither"), (tmp_path / "none", "none cannot be read")):
        done = archivectl("--path", path)
        assert done.returncode == 1
        assert code in done.stderr and "Traceback" not in done.stderr


def test_moments_of_rfc_3339() -> None:
    good = ["2026-01-02T03:04:05Z", "2021-03-30T15:18:29.613693922-05:00", "2016-12-31T23:59:60z"]
    bad = ["2026-01-02", "2026-01-02T03:04Z", "2026-13-02T03:04:05Z", "2026-01-02T03:04:05", "٢"]
    assert [is_moment(text) for text in good] == [True] * 3
    assert [is_moment(text) for text in bad] == [False] * 5
