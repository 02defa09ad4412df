"""A kept worker's folders, and which jobs one worker may do: without a worker."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from archived.engine.protocol import LEFT
from archived.engine.worker.handover import INPUT
from archived.engine.worker.kept import KeptFolders, identity_of, set_aside


def a_job(folder: Path, **options: object) -> dict[str, Any]:
    """A job as the runner makes it, with one original in a folder of the spool."""
    original = folder / "spool" / "0001.tif"
    original.parent.mkdir(exist_ok=True)
    original.write_bytes(b"page")
    step = folder / "work" / "step-1"
    step.mkdir(parents=True, exist_ok=True)
    return {
        "step": "step-1",
        "folder": str(step),
        "limits": {"memory": 1},
        "request": {
            "stage": "sign",
            "options": options,
            "targets": [],
            "document": {"sealed": None, "artifacts": [{"path": str(original), "name": "n"}]},
        },
    }


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def folders(tmp_path: Path) -> KeptFolders:
    (tmp_path / "work").mkdir()
    return KeptFolders.make(tmp_path / "work", None)


def test_a_workers_folders_are_new_closed_and_below_that_of_all_steps(
    folders: KeptFolders, tmp_path: Path
) -> None:
    another = KeptFolders.make(tmp_path / "work", None)
    assert another.root != folders.root
    assert folders.root.parent == tmp_path / "work"
    assert folders.root.name.startswith("kept-")
    assert names(folders.root) == ["input", "steps"]
    for made in (folders.root, folders.steps, folders.input):
        assert made.stat().st_mode & 0o777 == 0o700


def test_what_a_job_needs_is_brought_in_and_all_of_it_is_taken_out(
    folders: KeptFolders, tmp_path: Path
) -> None:
    job = a_job(tmp_path)
    own = Path(job["folder"])
    handed = folders.bring(job)
    handed.close()
    assert handed.job["folders"] == {"steps": str(folders.steps), "input": str(folders.input)}
    assert handed.job["folder"] == str(folders.step("step-1"))
    [artifact] = handed.job["request"]["document"]["artifacts"]
    given = Path(artifact["path"])
    assert given.is_relative_to(folders.input)
    assert given.read_bytes() == b"page"
    (folders.step("step-1") / "made").write_text("x")

    assert folders.take_out("step-1", own), "nothing lies beside"

    assert names(folders.steps) == names(folders.input) == []
    assert names(own) == sorted([INPUT, LEFT])
    assert (own / LEFT / "made").read_text() == "x"
    assert [path.read_bytes() for path in (own / INPUT).rglob("*.tif")] == [b"page"]


@pytest.mark.parametrize("where", ["steps", "input"])
def test_what_lies_beside_a_steps_own_goes_with_all_of_the_folders(
    folders: KeptFolders, tmp_path: Path, where: str
) -> None:
    job = a_job(tmp_path)
    folders.bring(job).close()
    (folders.root / where / "stray").touch()

    assert not folders.take_out("step-1", Path(job["folder"]))

    assert not folders.root.exists()
    assert (Path(job["folder"]) / f"{LEFT}-all" / where / "stray").exists()


def test_a_step_whose_folders_the_worker_has_removed_is_taken_out_all_the_same(
    folders: KeptFolders, tmp_path: Path
) -> None:
    assert folders.take_out("step-1", tmp_path)
    assert names(tmp_path) == ["work"]


def test_discarded_folders_are_gone_and_may_be_gone_already(folders: KeptFolders) -> None:
    (folders.steps / "step-1").mkdir()
    folders.discard()
    assert not folders.root.exists()
    folders.discard()


def test_what_a_worker_left_of_a_step_it_did_not_begin_does_not_pass_for_the_next_ones(
    tmp_path: Path,
) -> None:
    for name in (LEFT, INPUT):
        (tmp_path / name).mkdir()
        (tmp_path / name / "forged").touch()
    set_aside(tmp_path)
    assert not (tmp_path / LEFT).exists()
    assert not (tmp_path / INPUT).exists()
    assert len(list(tmp_path.rglob("forged"))) == 2, "it is kept for a look"
    set_aside(tmp_path)  # and there may be nothing


def test_a_worker_does_the_jobs_that_want_what_it_was_started_with(tmp_path: Path) -> None:
    named = tmp_path / "module.so"
    named.write_text("one")
    deep = {"token": [{"module": str(named)}], "slot": 3}
    job = a_job(tmp_path, deep=deep)
    known = identity_of(job)
    same = copy.deepcopy(job)
    same["request"]["document"]["artifacts"] = []
    same["folder"] = str(tmp_path / "work" / "step-2")
    assert identity_of(same) == known, "another document, another step"

    for part, value in (
        ("stage", "stamp"),
        ("options", {"deep": {**deep, "slot": 4}}),
        ("targets", [{"name": "vault"}]),
    ):
        other = copy.deepcopy(job)
        other["request"][part] = value
        assert identity_of(other) != known, part
    assert identity_of({**job, "limits": {"memory": 2}}) != known
    assert identity_of({**job, "folder": str(tmp_path / "elsewhere" / "step-1")}) != known

    new = tmp_path / "new"
    new.write_text("two")
    new.rename(named)
    renewed = identity_of(job)
    assert renewed != known, "the name leads to another file"
    named.unlink()
    assert identity_of(job) not in {known, renewed}


def test_a_file_that_a_target_names_is_part_of_what_a_worker_was_started_with(
    tmp_path: Path,
) -> None:
    key = tmp_path / "key"
    key.write_text("one")
    job = a_job(tmp_path, text="no path", odd="/with\0nul")
    job["request"]["targets"] = [{"key": str(key)}]
    known = identity_of(job)
    (tmp_path / "new").write_text("two")
    (tmp_path / "new").rename(key)
    assert identity_of(job) != known
