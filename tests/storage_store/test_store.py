"""The store keeps what it is given, byte for byte, and says so when it cannot."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import resource
import shutil
import subprocess
import threading
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from documents import DEED, ID, PAGE, correction, document, new_store, originals
from hypothesis import given, settings
from hypothesis import strategies as st
from ocfl_judge import judge, judges_python

from archived.errors import StoreError
from archived.storage import layout
from archived.storage.inventory import parse
from archived.storage.store import Answer, Store, StoreFile


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    """A store with one object of two versions and one of one."""
    folder = tmp_path_factory.mktemp("template")
    store = new_store(folder / "store")
    store.seal(ID, document(folder / "scans"), DEED)
    store.add_version(ID, correction(), DEED)
    store.seal("urn:example:số-12-QĐ", [StoreFile("metadata/giấy tờ.txt", b"x")], DEED)
    return store.root


@pytest.fixture
def store(template, tmp_path) -> Store:
    shutil.copytree(template, tmp_path / "store")
    return Store(tmp_path / "store")


def test_the_independent_judge_has_nothing_to_say_and_is_awake(store, tmp_path):
    harmed = Store(tmp_path / "harmed")
    shutil.copytree(store.root, harmed.root)
    (harmed.read(ID).root / "v1/content/stray").write_text("x")
    said = judge(store.ocfl, harmed.ocfl)
    assert said
    assert all(str(harmed.ocfl) in line and "stray" in line for line in said)


def test_an_object_lies_where_the_layout_extension_says(tmp_path):
    picker = random.Random(7)
    alphabet = "abcXYZ019-_./: ~%độ漢😀\n"
    ids = ["".join(picker.choices(alphabet, k=picker.randint(1, 130))) for _ in range(400)]
    script = (
        "import json, sys\n"
        "from ocfl.layout_0003_hash_and_id_n_tuple import Layout_0003_Hash_And_Id_N_Tuple as L\n"
        "json.dump([L().identifier_to_path(i) for i in json.load(sys.stdin)], sys.stdout)"
    )
    done = subprocess.run(
        [judges_python(), "-c", script], input=json.dumps(ids), capture_output=True, check=True,
        text=True,
    )  # fmt: skip
    assert [layout.key_of(each) for each in ids] == json.loads(done.stdout)


def test_what_was_sealed_is_read_back_byte_for_byte(store):
    files = store.read(ID).files()
    assert files["original/0001.tif"].path.read_bytes() == PAGE
    assert files["original/0001.tif"].sha512 == hashlib.sha512(PAGE).hexdigest()
    assert files["original/0001.tif"].sha256 == hashlib.sha256(PAGE).hexdigest()
    assert files["original/0001.tif"].size == len(PAGE)
    assert store.path_of(ID, "original/0002.tif").name == "0002.tif"
    assert store.verify(ID).answer is Answer.YES


def test_stored_files_are_read_only_and_folders_can_be_repaired(store):
    for path in store.read(ID).root.rglob("*"):
        mode = path.stat().st_mode & 0o777
        assert mode == 0o444 if path.is_file() else mode & 0o700 == 0o700, path


def test_earlier_versions_keep_their_files(store):
    found = store.read(ID)
    assert found.files(1)["access/document.pdf"].path.read_bytes() == b"%PDF-1.7 read me\n"
    assert found.files(2)["access/document.pdf"].path.read_bytes() == b"%PDF-1.7 read me better\n"


def test_bytes_the_object_holds_already_are_not_stored_twice(store):
    found = store.read(ID)
    assert not (found.root / "v2/content/access/pages").exists()
    assert found.files()["access/pages/0001.tif"].path.parts[-4:-1] == ("v1", "content", "original")


def test_a_hash_alone_is_not_believed_when_bytes_are_left_out(store):
    known = store.read(ID).files()["original/0001.tif"].path
    for name in ("0001.tif", "0002.tif"):
        damage(known.with_name(name))
    with pytest.raises(StoreError, match="is damaged"):
        store.add_version(ID, [StoreFile("access/again.tif", PAGE)], DEED)
    assert store.read(ID).head == 2


def test_a_file_that_changed_since_it_was_hashed_is_not_sealed(tmp_path):
    store, files = new_store(tmp_path / "store"), document(tmp_path / "scans")
    (tmp_path / "scans/0002.tif").write_bytes(PAGE + b"!")
    with pytest.raises(StoreError) as caught:
        store.seal(ID, files, DEED)
    assert caught.value.code == "bytes-changed"
    assert list(store.objects()) == [] == list((store.root / "staging").iterdir())
    with pytest.raises(StoreError):
        store.seal(ID, [StoreFile("a", b"x", sha256="0" * 64)], DEED)


def test_an_id_is_sealed_once(store, tmp_path):
    before = (store.read(ID).root / "inventory.json").read_bytes()
    with pytest.raises(StoreError) as caught:
        store.seal(ID, [StoreFile("original/other", b"other")], DEED)
    assert caught.value.code == "already-sealed"
    assert (store.read(ID).root / "inventory.json").read_bytes() == before


def test_an_object_is_adopted_only_when_it_is_the_expected_one(store, tmp_path):
    expected = originals(document(tmp_path / "scans"))
    assert store.adopt(ID, expected).version == 2
    with pytest.raises(StoreError) as caught:
        store.adopt(ID, expected | {"original/0003.tif": "0" * 128})
    assert caught.value.code == "object-differs"
    damage(store.path_of(ID, "metadata/record.json"))
    with pytest.raises(StoreError) as caught:
        store.adopt(ID, expected)
    assert caught.value.code == "object-damaged"
    with pytest.raises(StoreError) as caught:
        store.adopt("urn:uuid:nobody", expected)
    assert caught.value.code == "no-such-object"


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "a//b", "../up", "a/../b", "a/.", "a\\b", "a\nb", "a\0b", "a\x7f",
     "cafe\u0301", "x" * 256, "a/" * 600 + "a", "\udcff"],
)  # fmt: skip
def test_paths_that_could_lead_astray_are_refused(path, tmp_path):
    store = new_store(tmp_path / "store")
    with pytest.raises(StoreError) as caught:
        store.seal(ID, [StoreFile(path, b"x")], DEED)
    assert caught.value.code == "bad-path"
    assert list(store.objects()) == []


def test_a_path_cannot_be_taken_twice_or_be_a_folder_too(tmp_path):
    store = new_store(tmp_path / "store")
    for other in ("a", "a/b"):
        with pytest.raises(StoreError, match=r"twice|folder"):
            store.seal(ID, [StoreFile("a", b"x"), StoreFile(other, b"y")], DEED)
    store.seal(ID, [StoreFile("a", b"x")], DEED)
    with pytest.raises(StoreError, match="folder"):
        store.add_version(ID, [StoreFile("a/b", b"y")], DEED)
    assert store.add_version(ID, [StoreFile("a/b", b"y")], DEED, removes=["a"]).version == 2
    assert store.verify(ID).answer is Answer.YES


def test_symbolic_links_are_never_followed(store, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(PAGE)
    link = tmp_path / "link.tif"
    link.symlink_to(secret)
    with pytest.raises(OSError, match="symbolic links"):
        store.seal("new", [StoreFile("a", link, hashlib.sha512(PAGE).hexdigest())], DEED)
    inside = store.path_of(ID, "original/0001.tif")
    inside.unlink()
    inside.symlink_to(secret)
    assert store.verify(ID).answer is Answer.NO
    with pytest.raises(StoreError) as caught:
        store.path_of(ID, "original/0001.tif")
    assert caught.value.code == "link-in-store"
    shutil.move(store.ocfl / store.read(ID).key.split("/")[0], tmp_path / "elsewhere")
    (store.ocfl / layout.key_of(ID).split("/")[0]).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="symbolic link"):
        store.read(ID)


def damage(path: Path) -> None:
    path.chmod(0o644)
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])


def lose(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def stray(path: Path) -> None:
    path.write_text("x")


@pytest.mark.parametrize(
    ("harm", "where"),
    [
        (damage, "v1/content/original/0001.tif"),
        (lose, "v1/content/original/0001.tif"),
        (damage, "v2/content/access/document.pdf"),
        (damage, "inventory.json"),
        (lose, "inventory.json"),
        (damage, "inventory.json.sha512"),
        (lose, "inventory.json.sha512"),
        (damage, "v1/inventory.json"),
        (damage, "v2/inventory.json"),
        (lose, "v2/inventory.json.sha512"),
        (lose, "v1"),
        (lose, "v2"),
        (damage, "0=ocfl_object_1.1"),
        (lose, "0=ocfl_object_1.1"),
        (stray, "stray"),
        (stray, "v1/stray"),
        (stray, "v1/content/stray"),
        (stray, "v1/content/original/0003.tif"),
        (os.mkdir, "v3"),
        (os.mkdir, "v1/content/empty"),
        (os.mkfifo, "v1/content/pipe"),
    ],
)
def test_harm_is_found_and_not_passed_over_by_the_walk(harm, where, store):
    found = store.read(ID)
    harm(found.root / where)
    verdict = store.verify(ID)
    assert verdict.answer is Answer.NO
    assert verdict.problems
    assert found.key in set(store.objects())


def test_a_harmed_inventory_is_mended_from_its_twin(template, tmp_path):
    stores = []
    for harm, where in (
        (damage, "inventory.json"),
        (lose, "inventory.json"),
        (damage, "inventory.json.sha512"),
        (lose, "inventory.json.sha512"),
        (damage, "v2/inventory.json"),
        (lose, "v2/inventory.json.sha512"),
        (os.mkdir, "v3"),
    ):
        store = Store(tmp_path / str(len(stores)))
        stores.append(store)
        shutil.copytree(template, store.root)
        harm(store.read(ID).root / where)
        assert store.repair_object(ID), where
        assert store.verify(ID).answer is Answer.YES, where
        assert store.read(ID).head == 2
        assert store.repair_object(ID) == []
    assert judge(*(store.ocfl for store in stores)) == []


def test_an_object_without_any_sound_inventory_is_left_untouched(store):
    root = store.read(ID).root
    for where in ("inventory.json", "v2/inventory.json"):
        damage(root / where)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    with pytest.raises(StoreError) as caught:
        store.repair_object(ID)
    assert caught.value.code == "object-damaged"
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_a_repair_names_what_a_person_must_look_at(store):
    root = store.read(ID).root
    for where in ("inventory.json", "v2/inventory.json"):
        damage(root / where)
    (store.root / "pending" / layout.id_hash(ID)).write_text(layout.key_of(ID))
    (store.root / "pending/odd").write_text("odd")
    for _ in range(2):
        found = store.repair()
        assert [each.mended for each in found] == [False, False]
        assert layout.key_of(ID) in " ".join(str(each) for each in found)


def test_a_newer_version_that_is_not_whole_is_set_aside_not_deleted(store):
    root = store.read(ID).root
    shutil.copytree(root / "v2", root / "v3")
    store.repair_object(ID)
    assert store.verify(ID).answer is Answer.YES
    kept = list((store.root / "aside").rglob("document.pdf"))
    assert [path.read_bytes() for path in kept] == [b"%PDF-1.7 read me better\n"]


def test_what_cannot_be_read_is_neither_good_nor_bad(store):
    store.read(ID).root.chmod(0)
    as_root = os.geteuid() == 0
    if as_root:
        os.seteuid(65534)  # root may read everything
    try:
        verdict = store.verify(ID)
    finally:
        if as_root:
            os.seteuid(0)
    assert verdict.answer is Answer.NOT_ESTABLISHED
    assert "could not read" in verdict.problems[0]


def test_the_walk_finds_every_object_and_every_stranger(store):
    keys = {store.read(ID).key, store.read("urn:example:số-12-QĐ").key}
    assert set(store.objects()) == keys
    (store.ocfl / "abc").mkdir(exist_ok=True)
    (store.ocfl / "abc/note.txt").write_text("x")
    (store.ocfl / "link").symlink_to("/")
    strangers = set(store.objects()) - keys
    assert strangers == {"abc/note.txt", "link"}
    for key in strangers:
        with pytest.raises(StoreError):
            store.read_key(key)


def test_an_object_in_the_wrong_place_is_not_read(store):
    found = store.read(ID)
    shutil.copytree(found.root, store.ocfl / "000" / "x")
    with pytest.raises(StoreError) as caught:
        store.read_key("000/x")
    assert caught.value.code == "misplaced-object"


def test_a_root_of_another_layout_is_refused(store):
    config = store.ocfl / layout.LAYOUT_CONFIG
    config.chmod(0o644)
    config.write_text(config.read_text().replace("3", "4", 1))
    with pytest.raises(StoreError) as caught:
        store.open()
    assert caught.value.code == "foreign-store"
    (store.ocfl / layout.ROOT_DECLARATION).unlink()
    with pytest.raises(StoreError, match=r"no OCFL 1\.1 storage root"):
        store.create()
    with pytest.raises(StoreError) as caught:
        Store(store.root / "nowhere").open()
    assert caught.value.code == "no-store"


def test_the_store_explains_itself_to_someone_with_only_a_shell(store):
    """The readme's own commands find and check a document."""
    script = f"""
        set -e
        hash=$(printf %s '{ID}' | sha256sum)
        cut() {{ echo $hash | command cut -c$1; }}
        cd {store.ocfl}/$(cut 1-3)/$(cut 4-6)/$(cut 7-9)/*
        sha512sum -c inventory.json.sha512
        sha512sum v1/content/*/* | grep -o '^[0-9a-f]*' | while read sum; do
            grep -q $sum inventory.json
        done
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    readme = (store.ocfl / "README.txt").read_text()
    assert "sha512sum -c inventory.json.sha512" in readme


def test_a_disk_that_takes_no_more_leaves_the_store_as_it_was(store, tmp_path):
    """A file size limit stands in for a full disk: the kernel refuses in the middle of a write."""

    def refused(write) -> bool:
        child = os.fork()
        if child == 0:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
            code = 1
            with suppress(BaseException):
                try:
                    write()
                except OSError as error:
                    code = error.errno
            os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == errno.EFBIG

    before = {path: path.read_bytes() for path in store.root.rglob("*") if path.is_file()}
    big = [StoreFile("access/small", b"x"), StoreFile("original/big", bytes(1_000_000))]
    assert refused(lambda: store.seal("urn:example:big", big, DEED))
    assert refused(lambda: store.add_version(ID, big, DEED))
    assert {path: path.read_bytes() for path in store.root.rglob("*") if path.is_file()} == before
    assert list((store.root / "staging").iterdir()) == []


def test_a_check_during_the_adding_of_a_version_does_not_cry_wolf(store):
    answers, adding = [], threading.Event()

    def check() -> None:
        while not adding.is_set():
            answers.append(store.verify(ID).answer)

    checker = threading.Thread(target=check)
    checker.start()
    for number in range(12):
        store.add_version(ID, [StoreFile("metadata/note.txt", b"%d" % number)], DEED)
    adding.set()
    checker.join()
    assert set(answers) <= {Answer.YES, Answer.NOT_ESTABLISHED}
    assert store.verify(ID).answer is Answer.YES


def test_a_version_without_a_time_zone_is_a_mistake_of_the_caller(tmp_path):
    store = new_store(tmp_path / "store")
    naive = datetime.fromisoformat("2026-11-22T10:00:00")
    with pytest.raises(ValueError, match="time zone"):
        store.seal(ID, [StoreFile("a", b"x")], replace(DEED, created=naive))
    assert list((store.root / "staging").iterdir()) == []


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_an_inventory_with_any_one_byte_changed_is_refused_or_means_something_legal(template, data):
    """Damage that the sidecar would have shown must not crash the reader either."""
    content = (Store(template).read(ID).root / "inventory.json").read_bytes()
    place = data.draw(st.integers(0, len(content) - 1))
    byte = data.draw(st.integers(0, 255))
    try:
        inventory = parse(content[:place] + bytes([byte]) + content[place + 1 :])
    except StoreError as error:
        assert error.code == "inventory-damaged"
    else:
        assert inventory.head == 2
