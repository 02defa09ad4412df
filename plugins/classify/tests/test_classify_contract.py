"""The stage keeps the promises every stage makes, in a process of its own."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from archived.api import Artifact, Document, Refuse, Role, digest_file
from archived.testing import StageContract, run_stage
from archived_classify import Classify

TEXT = """SỞ NỘI VỤ CỘNG HÒA XÃ HỘI CHỦ NGHĨA VIỆT NAM
{} Độc lập - Tự do - Hạnh phúc
Số: 12/KH-SNV Bắc Hải, ngày 05 tháng 3 năm 2024
KẾ HOẠCH
Số hóa tài liệu lưu trữ năm 2024
"""


def document(folder: Path, text: str | None) -> Document:
    """A scanned page and, beside it, what OCR read on it."""
    folder.mkdir(exist_ok=True)
    scan = folder / "0001.txt"
    scan.write_text("stands for the scan: this stage does not open it\n")
    main = artifact(scan, Role.ORIGINAL)
    parts = [main]
    if text is not None:
        sidecar = folder / "document.txt"
        sidecar.write_text(text, encoding="utf-8")
        parts.append(artifact(sidecar, Role.TEXT))
    return Document("d1", datetime.now(UTC), "scans", "kế hoạch.txt", main, tuple(parts))


def artifact(path: Path, role: Role) -> Artifact:
    size = path.stat().st_size
    return Artifact(path, path.name, "text/plain", role, digest_file(path), size)


class TestClassifyKeepsEveryStagesPromises(StageContract):
    stage = Classify
    reads_content = False  # it reads the text sidecar only; garbage there is text nobody knows

    def make_sample(self, folder: Path) -> Document:
        return document(folder, TEXT.format(""))


def test_facts_cross_the_process_boundary_as_json(tmp_path: Path) -> None:
    done = run_stage(Classify, document(tmp_path / "d", TEXT.format("")))
    fields = done.document.facts["classify"]["fields"]
    assert fields["code"]["value"] == "12/KH-SNV"
    assert fields["subject"]["evidence"]["text"] == "Số hóa tài liệu lưu trữ năm 2024"


def test_a_document_that_ocr_never_read_goes_on_without_facts(tmp_path: Path) -> None:
    done = run_stage(Classify, document(tmp_path / "d", None))
    assert not done.facts
    assert "not established" in done.notes[0]


def test_a_secret_paper_in_an_open_folder_is_refused_and_in_its_own_folder_is_not(
    tmp_path: Path,
) -> None:
    secret = document(tmp_path / "d", TEXT.format("TỐI MẬT"))
    for declared, ending in (("", "refused"), ("Mật", "refused"), ("Tối mật", "finished")):
        assert how_it_ends(replace(secret, secrecy=declared)) == ending


def how_it_ends(given: Document) -> str:
    try:
        done = run_stage(Classify, given)
    except Refuse as refused:
        assert refused.code == "secrecy-above-declared"
        return "refused"
    assert done.facts["tripwire"] == {"secrecy": "Tối mật", "declared": given.secrecy}
    return "finished"
