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

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archived.errors import StoreError
from archived.storage.ocfl import layout
from archived.storage.ocfl.inventory import parse
from archived.storage.ocfl.reader import Validity
from archived.storage.ocfl.store import Store
from archived.storage.ocfl.writer import StoreFile
from tests.fault.storage.documents import ID, PAGE, VERSION_INFO, document, new_store, originals
from tests.fault.storage.harm import damage
from tests.fault.storage.ocfl_judge import judge, judges_python


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
        [judges_python(), "-c", script],
        input=json.dumps(ids),
        capture_output=True,
        check=True,
        text=True,
    )
    assert [layout.key_of(each) for each in ids] == json.loads(done.stdout)


def test_what_was_sealed_is_read_back_byte_for_byte(store):
    files = store.read(ID).files()
    assert files["original/0001.tif"].path.read_bytes() == PAGE
    assert files["original/0001.tif"].sha512 == hashlib.sha512(PAGE).hexdigest()
    assert files["original/0001.tif"].sha256 == hashlib.sha256(PAGE).hexdigest()
    assert files["original/0001.tif"].size == len(PAGE)
    assert store.path_of(ID, "original/0002.tif").name == "0002.tif"
    assert store.verify(ID).answer is Validity.YES


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
    with pytest.raises(StoreError) as caught:
        store.add_version(ID, [StoreFile("access/again.tif", PAGE)], VERSION_INFO)
    assert caught.value.code == "object-damaged"
    assert store.read(ID).head == 2


def test_a_file_that_changed_since_it_was_hashed_is_not_sealed(tmp_path):
    store, files = new_store(tmp_path / "store"), document(tmp_path / "scans")
    (tmp_path / "scans/0002.tif").write_bytes(PAGE + b"!")
    with pytest.raises(StoreError) as caught:
        store.seal(ID, files, VERSION_INFO)
    assert caught.value.code == "bytes-changed"
    assert list(store.objects()) == [] == list((store.root / "staging").iterdir())
    with pytest.raises(StoreError):
        store.seal(ID, [StoreFile("a", b"x", sha256="0" * 64)], VERSION_INFO)


def test_an_id_is_sealed_once(store, tmp_path):
    before = (store.read(ID).root / "inventory.json").read_bytes()
    with pytest.raises(StoreError) as caught:
        store.seal(ID, [StoreFile("original/other", b"other")], VERSION_INFO)
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
    [
        "",
        "/etc/passwd",
        "a//b",
        "../up",
        "a/../b",
        "a/.",
        "a\\b",
        "a\nb",
        "a\0b",
        "a\x7f",
        "cafe\u0301",
        "x" * 256,
        "a/" * 600 + "a",
        "\udcff",
    ],
)
def test_paths_that_could_lead_astray_are_refused(path, tmp_path):
    store = new_store(tmp_path / "store")
    with pytest.raises(StoreError) as caught:
        store.seal(ID, [StoreFile(path, b"x")], VERSION_INFO)
    assert caught.value.code == "bad-path"
    assert list(store.objects()) == []


def test_a_path_that_leads_out_of_a_version_writes_nothing(store, tmp_path):
    for path in ("../stray", "../../../stray"):
        with pytest.raises(StoreError) as caught:
            store.add_version(ID, [StoreFile(path, b"x")], VERSION_INFO)
        assert caught.value.code == "bad-path"
    assert list(tmp_path.rglob("stray")) == []


def test_a_file_on_disk_comes_with_what_it_must_be(store, tmp_path):
    (tmp_path / "page").write_bytes(PAGE)
    unproven = [StoreFile("access/page", tmp_path / "page")]
    with pytest.raises(ValueError, match="SHA-512"):
        store.seal("urn:example:new", unproven, VERSION_INFO)
    with pytest.raises(ValueError, match="SHA-512"):
        store.add_version(ID, unproven, VERSION_INFO)
    assert store.read(ID).head == 2


def test_a_version_may_only_remove(store):
    before = store.read(ID).files()
    added = store.add_version(ID, [], VERSION_INFO, removes=["access/document.pdf"])
    assert added.version == 3
    after = store.read(ID).files()
    assert set(before) - set(after) == {"access/document.pdf"}
    assert store.verify(ID).answer is Validity.YES
    assert judge(store.ocfl) == []


def test_a_path_cannot_be_taken_twice_or_be_a_folder_too(tmp_path):
    store = new_store(tmp_path / "store")
    for other in ("a", "a/b"):
        with pytest.raises(StoreError, match=r"twice|folder"):
            store.seal(ID, [StoreFile("a", b"x"), StoreFile(other, b"y")], VERSION_INFO)
    store.seal(ID, [StoreFile("a", b"x")], VERSION_INFO)
    with pytest.raises(StoreError, match="folder"):
        store.add_version(ID, [StoreFile("a/b", b"y")], VERSION_INFO)
    assert store.add_version(ID, [StoreFile("a/b", b"y")], VERSION_INFO, removes=["a"]).version == 2
    assert store.verify(ID).answer is Validity.YES


def test_symbolic_links_are_never_followed(store, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(PAGE)
    link = tmp_path / "link.tif"
    link.symlink_to(secret)
    with pytest.raises(OSError, match="symbolic links"):
        store.seal("new", [StoreFile("a", link, hashlib.sha512(PAGE).hexdigest())], VERSION_INFO)
    inside = store.path_of(ID, "original/0001.tif")
    inside.unlink()
    inside.symlink_to(secret)
    assert store.verify(ID).answer is Validity.NO
    with pytest.raises(StoreError) as caught:
        store.path_of(ID, "original/0001.tif")
    assert caught.value.code == "link-in-store"
    shutil.move(store.ocfl / store.read(ID).key.split("/")[0], tmp_path / "elsewhere")
    (store.ocfl / layout.key_of(ID).split("/")[0]).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="symbolic link"):
        store.read(ID)


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
    assert refused(lambda: store.seal("urn:example:big", big, VERSION_INFO))
    assert refused(lambda: store.add_version(ID, big, VERSION_INFO))
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
        store.add_version(ID, [StoreFile("metadata/note.txt", b"%d" % number)], VERSION_INFO)
    adding.set()
    checker.join()
    assert set(answers) <= {Validity.YES, Validity.NOT_ESTABLISHED}
    assert store.verify(ID).answer is Validity.YES


def test_a_version_without_a_time_zone_is_a_mistake_of_the_caller(tmp_path):
    store = new_store(tmp_path / "store")
    naive = datetime.fromisoformat("2026-11-22T10:00:00")
    with pytest.raises(ValueError, match="time zone"):
        store.seal(ID, [StoreFile("a", b"x")], replace(VERSION_INFO, created=naive))
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
