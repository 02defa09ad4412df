"""What a plug-in author is promised of `run_stage`."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from archived.api import Needs, Postpone, Refuse, Result, Role, Stage, StageConfig
from archived.testing import StageFailed, run_stage


class Options(StageConfig):
    mode: str = "fine"
    """What to do."""


class Moody(Stage[Options]):
    name = "moody"
    version = "1"
    needs = Needs(memory="512 MiB")

    def run(self, document, context):
        print("in mode", context.options.mode)
        match context.options.mode:
            case "refuse":
                raise Refuse("no", code="not-mine", hint="take it away")
            case "postpone":
                raise Postpone("later", code="server-down", after="7 min")
            case "raise":
                raise RuntimeError("oops")
            case "die":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "hang":
                time.sleep(60)
        note = context.new_file("note.txt", media_type="text/plain")
        note.path.write_text(f"{document.name} {len(document.artifacts)}")
        reading = context.new_file("r.txt", media_type="text/plain", role=Role.TEXT)
        reading.path.write_text("đọc")
        return Result(
            replace_main=reading, add=[note], facts={"seen": dict(document.facts)}, notes=["n"]
        )


class Kept(Stage[StageConfig]):
    name = "kept"
    version = "1"
    needs = Needs(worker="kept")

    def __init__(self):
        self.seen = []

    def run(self, document, context):
        self.seen.append(document.main.path.read_text())
        return Result(facts={"pid": os.getpid(), "seen": self.seen})


class Pdfs(Stage[StageConfig]):
    name = "pdfs"
    version = "1"
    accepts = ("application/pdf",)

    def run(self, document, context):
        return Result()


@pytest.fixture
def letter(tmp_path: Path) -> Path:
    path = tmp_path / "Thư gửi.txt"
    path.write_text("Kính gửi")
    return path


def test_a_stage_of_a_test_module_runs_and_its_result_has_digests(letter: Path):
    done = run_stage(Moody, letter, facts={"before": {"x": 1}}, secrecy="mật")
    assert [a.name for a in done.artifacts] == ["r.txt", "note.txt"]
    assert done.add[0].path.read_text() == "Thư gửi.txt 1"
    assert done.add[0].size == 16 and len(done.add[0].sha512) == 128
    assert done.facts == {"seen": {"before": {"x": 1}}} and done.notes == ("n",)
    assert "in mode fine" in done.log and done.usage.wall > 0


def test_the_document_afterwards_is_what_the_next_stage_gets(letter: Path):
    first = run_stage(Moody, letter)
    assert first.document.main == first.replace_main
    second = run_stage(Moody, first.document)
    assert second.facts["seen"]["moody"] == first.facts
    assert len(second.document.artifacts) == 3, "the same role and name supersedes"


def test_refuse_and_postpone_arrive_as_they_were_raised(letter: Path):
    with pytest.raises(Refuse, match="no") as refused:
        run_stage(Moody, letter, mode="refuse")
    assert (refused.value.code, refused.value.hint) == ("not-mine", "take it away")
    with pytest.raises(Postpone) as postponed:
        run_stage(Moody, letter, mode="postpone")
    assert postponed.value.after.total_seconds() == 420


@pytest.mark.parametrize(
    ("mode", "code"), [("raise", "stage-error"), ("die", "crashed"), ("hang", "timed-out")]
)
def test_every_other_failure_is_the_stage_breaking(letter: Path, mode: str, code: str):
    with pytest.raises(StageFailed) as failed:
        run_stage(Moody, letter, mode=mode, timeout="500 ms" if mode == "hang" else "1 min")
    assert failed.value.code == code
    if mode == "raise":
        assert "RuntimeError: oops" in failed.value.log


def test_wrong_options_and_a_type_it_would_be_skipped_for_are_the_tests_own_mistakes(letter: Path):
    with pytest.raises(ValueError, match="modus"):
        run_stage(Moody, letter, modus="fine")
    with pytest.raises(ValueError, match="skip"):
        run_stage(Pdfs, letter)


def test_a_class_inside_a_function_is_explained(letter: Path):
    class Hidden(Moody):
        name = "hidden"

    with pytest.raises(TypeError, match="top of its module"):
        run_stage(Hidden, letter)


def test_the_fixtures_come_with_the_package(run_stage, sample, letter: Path, tmp_path: Path):
    assert run_stage(Moody, letter).folder.is_relative_to(tmp_path)
    assert callable(sample)


def test_a_stage_that_keeps_its_worker_has_it_from_call_to_call(letter):
    calls = [run_stage(Kept, letter).facts for _ in range(3)]
    assert len({facts["pid"] for facts in calls}) == 1
    assert calls[-1]["seen"] == ["Kính gửi"] * 3


def test_a_former_name_of_the_kit_is_answered_with_the_one_of_now():
    with pytest.raises(ImportError, match="StageBroke is now called StageFailed"):
        from archived.testing import StageBroke  # noqa: F401
