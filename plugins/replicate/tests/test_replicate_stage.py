"""What the stage promises about copies: complete, verified, resumable, never worse than before."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import ValidationError

from archived.api import Postpone, Refuse, Target, TargetConfig
from archived_replicate import DirectoryTarget, Replicate
from archived_replicate.stage import ReplicateConfig


def test_a_copy_is_a_storage_root_of_its_own(store, second, versions, copy_to, tree):
    sealed = store.add(versions[0])

    result = copy_to(sealed, second)

    assert tree(second.options.path / "ocfl") == store.files()
    assert not list((second.options.path / ".incoming").iterdir())
    [copy] = result.copies
    assert (copy.target, copy.key) == ("second", f"ocfl/{store.key}")
    assert copy.inventory_sha512 == sealed.inventory_sha512
    assert copy.files == len(tree(store.object))
    assert copy.size == sum(map(len, tree(store.object).values()))
    assert result.facts["copies"]["second"]["written"] == copy.files
    assert not result.notes
    json.dumps(result.facts)


def test_sha512sum_alone_can_verify_a_copy(store, second, versions, copy_to, tmp_path):
    copy_to(store.add(versions[0]), second)
    replica = second.options.path / "ocfl" / store.key
    manifest = json.loads((replica / "inventory.json").read_text())["manifest"]
    sums = "".join(f"{digest}  {path}\n" for digest, paths in manifest.items() for path in paths)

    for text in (sums, (replica / "inventory.json.sha512").read_text().replace(" ", "  ")):
        (tmp_path / "sums").write_text(text)
        subprocess.run(
            ["sha512sum", "--strict", "--check", tmp_path / "sums"],
            cwd=replica,
            check=True,
            capture_output=True,
        )


def test_copying_again_writes_nothing_and_reads_back_everything(store, second, versions, copy_to):
    sealed = store.add(versions[0])
    copy_to(sealed, second)
    before = {p: p.stat().st_mtime_ns for p in second.options.path.rglob("*") if p.is_file()}

    result = copy_to(sealed, second)

    assert {p: p.stat().st_mtime_ns for p in before} == before
    facts = result.facts["copies"]["second"]
    assert (facts["written"], facts["already"]) == (0, result.copies[0].files)


def test_a_new_version_leaves_earlier_content_alone(store, second, versions, copy_to, tree):
    copy_to(store.add(versions[0]), second)
    content = second.options.path / "ocfl" / store.key / "v1"
    before = {p: p.stat().st_ino for p in content.rglob("*")}

    result = copy_to(store.add(versions[1]), second)

    assert tree(second.options.path / "ocfl") == store.files()
    assert {p: p.stat().st_ino for p in before} == before
    assert result.facts["copies"]["second"]["updated"] == 2  # the inventory and its sidecar
    assert not result.facts["copies"]["second"]["quarantined"]


@pytest.mark.parametrize(
    "name",
    ["v1/content/original/0001.tif", "v1/inventory.json", "inventory.json", "0=ocfl_object_1.1"],
)
def test_a_damaged_replica_is_mended_and_the_damage_kept(
    name, store, second, versions, copy_to, tree
):
    sealed = store.add(versions[0])
    copy_to(sealed, second)
    victim = second.options.path / "ocfl" / store.key / name
    bad = flip_a_bit(victim)

    result = copy_to(sealed, second)

    assert tree(second.options.path / "ocfl") == store.files()
    [kept] = result.facts["copies"]["second"]["quarantined"]
    assert kept.startswith(f"quarantine/ocfl/{store.key}/{name}.")
    assert (second.options.path / kept).read_bytes() == bad
    assert any(kept in note for note in result.notes)


@pytest.mark.parametrize(
    "name",
    [
        "v1/content/original/0001.tif",
        "v1/inventory.json",
        "v1/inventory.json.sha512",
        "inventory.json",
        "inventory.json.sha512",
    ],
)
def test_a_damaged_source_is_never_copied(name, store, second, versions, copy_to, tree):
    sealed = store.add(versions[0])
    copy_to(sealed, second)
    good = tree(second.options.path)
    flip_a_bit(store.object / name)

    with pytest.raises(Refuse) as refused:
        copy_to(sealed, second)

    assert refused.value.code == "source-damaged"
    assert refused.value.hint
    assert tree(second.options.path) == good


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a file that fails to be read")
@pytest.mark.parametrize(
    "name", ["v1/content/original/0001.tif", "v1/inventory.json.sha512", "inventory.json"]
)
def test_a_source_that_the_disk_cannot_read_is_waited_for_and_not_called_damaged(
    name, store, second, versions, copy_to, tree
):
    sealed = store.add(versions[0])
    place = store.object / name
    # Reading its own memory at address 0 fails with EIO, as a bad sector does.
    subprocess.run(["mount", "--bind", f"/proc/{os.getpid()}/mem", place], check=True)
    try:
        with pytest.raises(OSError, match="Input/output error"):
            place.read_bytes()
        with pytest.raises(Postpone) as postponed:
            copy_to(sealed, second)
    finally:
        subprocess.run(["umount", place], check=True)
    assert postponed.value.code == "source-unreadable"
    assert "Input/output error" in postponed.value.message
    assert not list(second.options.path.iterdir()), "nothing was copied"

    copy_to(sealed, second)
    assert tree(second.options.path / "ocfl") == store.files()


def test_an_inventory_that_still_reads_well_but_is_not_the_sealed_one_is_damage(
    store, second, versions, copy_to
):
    sealed = store.add(versions[0])
    inventory = store.object / "inventory.json"
    inventory.write_bytes(inventory.read_bytes().replace(b'"sealed"', b'"forged"'))

    with pytest.raises(Refuse, match="not the one that was sealed"):
        copy_to(sealed, second)

    assert not list(second.options.path.iterdir())


def test_an_object_forged_from_top_to_bottom_is_damage(
    store, second, versions, copy_to, make_store, tmp_path
):
    sealed = store.add(versions[0])
    forged = make_store(tmp_path / "forged").add(versions[1])

    with pytest.raises(Refuse, match="not the one that was sealed"):
        copy_to(replace(forged, inventory_sha512=sealed.inventory_sha512), second)


@pytest.mark.parametrize("loss", ["unlink", "symlink", "folder"])
def test_a_source_file_that_is_none_is_damage(loss, store, second, versions, copy_to):
    sealed = store.add(versions[0])
    victim = store.object / "v1/content/text/document.txt"
    elsewhere = victim.rename(store.root.parent / "elsewhere")
    if loss == "symlink":
        victim.symlink_to(elsewhere)
    if loss == "folder":
        victim.mkdir()

    with pytest.raises(Refuse, match=r"document\.txt"):
        copy_to(sealed, second)

    assert not list(second.options.path.iterdir())


@pytest.mark.parametrize(
    "path",
    ["../../../escape", "/etc/passwd", "v1/../../../x", "v1//x", "inventory.json", "v1/\0/x"],
)
def test_an_inventory_that_leads_astray_is_damage(path, store, second, versions, copy_to):
    store.inventory["manifest"]["0" * 128] = [path]
    sealed = store.add(versions[0])

    with pytest.raises(Refuse) as refused:
        copy_to(sealed, second)

    assert refused.value.code == "source-damaged"
    assert not list(second.options.path.iterdir())


def test_both_sides_damaged_loses_neither(store, second, versions, copy_to, tree):
    sealed = store.add(versions[0])
    copy_to(sealed, second)
    flip_a_bit(second.options.path / "ocfl" / store.key / "v1/content/access/document.pdf")
    flip_a_bit(store.object / "v1/content/access/document.pdf")
    before = tree(second.options.path)

    with pytest.raises(Refuse):
        copy_to(sealed, second)

    assert tree(second.options.path) == before


def test_files_that_do_not_belong_are_named_and_left(store, second, versions, copy_to):
    sealed = store.add(versions[0])
    (store.object / "v1/content/Thumbs.db").write_bytes(b"windows was here")
    copy_to(sealed, second)
    alien = second.options.path / "ocfl" / store.key / "v1/content/desktop.ini"
    alien.write_bytes(b"and here")

    notes = "\n".join(copy_to(sealed, second).notes)

    assert "v1/content/Thumbs.db is in the store's object but not in its inventory" in notes
    assert "v1/content/desktop.ini does not belong to the object" in notes
    assert alien.exists()
    assert not (alien.parent / "Thumbs.db").exists()


def test_a_target_that_is_away_does_not_keep_the_others_from_their_copy(
    store, second, directory, versions, copy_to, tree, tmp_path
):
    sealed = store.add(versions[0])
    away = directory(tmp_path / "away", "away", allow_same_filesystem=True)
    away.options.path.rmdir()

    with pytest.raises(Postpone) as waiting:
        copy_to(sealed, away, second)

    assert waiting.value.code == "target-missing"
    assert tree(second.options.path / "ocfl") == store.files()
    away.options.path.mkdir()
    result = copy_to(sealed, away, second)
    assert [copy.target for copy in result.copies] == ["away", "second"]
    assert result.facts["copies"]["second"]["written"] == 0


def test_the_root_files_of_a_target_are_never_overwritten(store, second, versions, copy_to):
    sealed = store.add(versions[0])
    copy_to(sealed, second)
    (store.root / "ocfl_1.1.md").write_text("# Damaged, or newer?\n")

    result = copy_to(sealed, second)

    assert (second.options.path / "ocfl/ocfl_1.1.md").read_text() == "# The specification\n"
    assert any("ocfl_1.1.md differs" in note for note in result.notes)


def test_a_target_that_nobody_configured_waits_for_the_configuration(
    store, second, versions, copy_to
):
    with pytest.raises(Postpone, match="configured: second") as waiting:
        copy_to(store.add(versions[0]), second, to=("secnod",))

    assert waiting.value.code == "target-unknown"


def test_options_name_at_least_one_target_and_each_once():
    for to in ([], ["a", "a"]):
        with pytest.raises(ValidationError):
            ReplicateConfig.model_validate({"to": to})
    assert Replicate.config() is ReplicateConfig
    assert Replicate.needs.targets and Replicate.needs.network
    assert Replicate.needs.lane == "network"


def test_the_digest_of_what_was_read_back_is_reported(store, second, versions, copy_to):
    [copy] = copy_to(store.add(versions[0]), second).copies

    with second.open(f"{copy.key}/inventory.json") as file:
        assert hashlib.sha512(file.read()).hexdigest() == copy.inventory_sha512


# -- targets that are not what they should be -----------------------------------------------------


class RottingDisk(DirectoryTarget):
    """A disk that says yes to every write and keeps one file wrongly."""

    def put(self, source: Path, key: str, sha512: str) -> None:
        super().put(source, key, sha512)
        if key.endswith("document.pdf"):
            flip_a_bit(self.options.path / key)


def test_what_does_not_read_back_is_no_copy(store, second, versions, copy_to, tree):
    sealed = store.add(versions[0])

    with pytest.raises(Postpone, match=r"document\.pdf was written, but reads back") as waiting:
        copy_to(sealed, RottingDisk("second", second.options))

    assert waiting.value.code == "target-not-verified"
    result = copy_to(sealed, second)  # the disk was exchanged
    assert tree(second.options.path / "ocfl") == store.files()
    assert len(result.facts["copies"]["second"]["quarantined"]) == 1


def test_what_the_operating_system_reports_is_waited_for(store, second, versions, copy_to):
    (second.options.path / "ocfl" / store.key / "v1/content/original/0001.tif").mkdir(parents=True)

    with pytest.raises(Postpone, match=r"not a file.*0001\.tif") as waiting:
        copy_to(store.add(versions[0]), second)

    assert waiting.value.code == "target-io"


class Shelf(Target[TargetConfig]):
    """A kind of target as a stranger would write it: bytes by key, here in memory."""

    kind = "shelf"
    version = "1.0"
    kept: ClassVar[dict[str, bytes]] = {}
    problem: ClassVar[str] = ""

    def check(self, beside: Path) -> list[str]:
        return [self.problem] if self.problem else []

    def put(self, source: Path, key: str, sha512: str) -> None:
        if self.kept.get(key, source.read_bytes()) != source.read_bytes():
            raise FileExistsError(key)
        self.replace(source, key, sha512)

    def replace(self, source: Path, key: str, sha512: str) -> None:
        self.kept[key] = source.read_bytes()

    def open(self, key: str) -> io.BytesIO:
        if key not in self.kept:
            raise FileNotFoundError(key)
        return io.BytesIO(self.kept[key])

    def list(self, prefix: str) -> Iterator[str]:
        return (key for key in [*self.kept] if key.startswith(f"{prefix}/"))

    def free(self) -> None:
        return None


def test_it_copies_to_any_kind_of_target(store, versions, copy_to, monkeypatch):
    monkeypatch.setattr(Shelf, "kept", {})
    shelf = Shelf("shelf", TargetConfig())
    copy_to(store.add(versions[0]), shelf)
    damaged = f"ocfl/{store.key}/v1/content/original/0001.tif"
    Shelf.kept[damaged] = b"mould"

    result = copy_to(store.add(versions[1]), shelf)

    [kept] = result.facts["copies"]["shelf"]["quarantined"]
    assert Shelf.kept.pop(kept) == b"mould"
    assert {key.removeprefix("ocfl/"): kept for key, kept in Shelf.kept.items()} == store.files()


def test_a_target_that_says_it_is_unfit_gets_nothing(store, versions, copy_to, monkeypatch):
    monkeypatch.setattr(Shelf, "kept", {})
    monkeypatch.setattr(Shelf, "problem", "the shelf is wet")

    with pytest.raises(Postpone, match="target shelf: the shelf is wet") as waiting:
        copy_to(store.add(versions[0]), Shelf("shelf", TargetConfig()))

    assert waiting.value.code == "target-unfit"
    assert not Shelf.kept


def flip_a_bit(path: Path) -> bytes:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o640)
    path.write_bytes(content)
    return bytes(content)
