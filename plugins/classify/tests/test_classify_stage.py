"""The stage as the core calls it, and the checks of its profile files."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from archived.api import Artifact, Context, Document, Refuse, Result, Role
from archived_classify import Classify, Options

STATE = "BỘ NỘI VỤ CỘNG HÒA XÃ HỘI CHỦ NGHĨA VIỆT NAM\n{}\nSố: 12/QĐ-BNV\nQUYẾT ĐỊNH\nvề lưu trữ\n"


def run(folder: Path, text: str | bytes | None, secrecy: str = "", **options: object) -> Result:
    work = folder / "work"
    work.mkdir()
    main = Artifact(folder / "scan.tif", "scan.tif", "image/tiff", Role.ORIGINAL)
    artifacts = [main]
    if text is not None:
        path = folder / "document.txt"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        artifacts.append(Artifact(path, "document.txt", "text/plain", Role.TEXT))
    now = datetime.now(UTC)
    document = Document("d1", now, "scans", "scan.tif", main, tuple(artifacts), secrecy=secrecy)
    context = Context(
        options=Options.model_validate(options), folder=work, deadline=now + timedelta(minutes=1)
    )
    return Classify().run(document, context)


def test_without_a_text_sidecar_the_stage_ends_well_and_says_why_it_knows_nothing(
    tmp_path: Path,
) -> None:
    result = run(tmp_path, None)
    assert result.facts == {}
    assert "not established" in result.notes[0]


def test_facts_name_profile_and_fields_and_no_tripwire_without_a_mark(tmp_path: Path) -> None:
    facts = run(tmp_path, STATE.format("Độc lập")).facts
    assert facts["profile"] == "state-decree-30"
    assert facts["fields"]["number"]["value"] == "12"
    assert "tripwire" not in facts


@pytest.mark.parametrize(
    ("found", "declared"),
    [("MẬT", ""), ("MẬT", "thường"), ("TỐI MẬT", "Mật"), ("TUYỆT MẬT", "Tối mật"), ("MẬT", "??")],
)
def test_a_mark_above_the_declared_level_stops_the_document(
    tmp_path: Path, found: str, declared: str
) -> None:
    with pytest.raises(Refuse) as refused:
        run(tmp_path, STATE.format(found), declared)
    assert refused.value.code == "secrecy-above-declared"
    assert refused.value.hint


@pytest.mark.parametrize(("found", "declared"), [("MẬT", "Mật"), ("MẬT", "Tuyệt mật")])
def test_a_mark_within_the_declared_level_is_reported_and_goes_on(
    tmp_path: Path, found: str, declared: str
) -> None:
    facts = run(tmp_path, STATE.format(found), declared).facts
    assert facts["tripwire"] == {"secrecy": "Mật", "declared": declared}


def test_bytes_that_are_not_utf_8_do_not_stop_a_document(tmp_path: Path) -> None:
    facts = run(tmp_path, STATE.format("x").encode() + b"\xff\xfe").facts
    assert facts["fields"]["type_name"]["value"] == "Quyết định"


def test_an_admins_own_profile_is_tried_beside_the_others(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "army.toml").write_text(
        'name = "army"\nextends = "state-decree-30"\nnumber_forms = ["state"]\n'
        'types = [{ name = "Mệnh lệnh", code = "ML" }]\n'
    )
    text = STATE.format("x").replace("QUYẾT ĐỊNH", "MỆNH LỆNH").replace("QĐ-", "ML-")
    names = ("army", "state-decree-30")
    assert not list(Classify().check(Options(profiles=names, profile_folder=own)))
    facts = run(tmp_path, text, profiles=names, profile_folder=own).facts
    assert facts["profile"] == "army"
    assert facts["fields"]["type_name"]["value"] == "Mệnh lệnh"


def test_an_own_profile_cannot_leave_the_secrecy_marks_out(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "bare.toml").write_text(
        'name = "bare"\nnumber_forms = ["state"]\ntypes = [{ name = "Quyết định" }]\n'
    )
    with pytest.raises(Refuse):
        run(tmp_path, STATE.format("MẬT"), profiles=["bare"], profile_folder=own)


def test_all_mistakes_of_profile_files_are_told_at_once_with_file_and_place(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.toml").write_text('name = "a"\ntypes = [{ nam = "x" }]\n')
    (tmp_path / "b.toml").write_text("name = ")
    (tmp_path / "c.toml").write_text('name = "party"\n')
    (tmp_path / "d.toml").write_text('name = "d"\nextends = "nobody"\n')
    (tmp_path / "e.toml").write_text('name = "e"\nextends = "e"\n')
    told = "\n".join(
        Classify().check(
            Options(profiles=("d", "e", "vietnamese", "nope"), profile_folder=tmp_path)
        )
    )
    for words in (
        "a.toml: types[1].name: Field required",
        "a.toml: types[1].nam: Extra inputs",
        "b.toml: not readable as TOML",
        "c.toml: the name 'party' is taken",
        "extends 'nobody', which does not exist",
        "'e': extends itself",
        "'vietnamese': it has no types",
        "there is no profile 'nope'; known: party, state-decree-30, state-normative",
    ):
        assert words in told
    missing = Options(profile_folder=tmp_path / "absent")
    assert "profile_folder: cannot be read" in next(iter(Classify().check(missing)))


def test_the_bundled_profiles_have_no_mistakes() -> None:
    assert list(Classify().check(Options())) == []


def test_importing_the_plugin_loads_nothing_but_the_contract() -> None:
    code = (
        "import sys, archived_classify;"
        "print(*[m for m in sys.modules if m.startswith('archived_classify.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
