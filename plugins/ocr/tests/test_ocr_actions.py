"""What a PDF may do when people open the copy: show its pages, and follow an address."""

import io

import pikepdf
import pytest
from ocr_scans import scan_pdf, sheet
from pikepdf import Array, Dictionary, Name, String

from archived.api import Refuse
from archived_ocr import Ocr, pdf_actions

UNC = r"\\203.0.113.5\share\x.pdf"


def action(kind, **more):
    return Dictionary(S=Name(f"/{kind}"), **more)


def link(pdf, of):
    return pdf.make_indirect(
        Dictionary(Type=Name.Annot, Subtype=Name.Link, Rect=[10, 10, 90, 30], A=of)
    )


@pytest.fixture
def pdf():
    made = pikepdf.new()
    made.add_blank_page(page_size=(200, 200))
    made.add_blank_page(page_size=(200, 200))
    made.pages[0].obj.Annots = made.make_indirect(Array())
    return made


def cleaned(pdf, tmp_path):
    """What was removed, and the file as it is now."""
    path = tmp_path / "in.pdf"
    pdf.save(path)
    assert pdf_actions.of(path) == pdf_actions.copy_without(path, tmp_path / "copy.pdf")
    removed = pdf_actions.remove_from(path)
    assert pdf_actions.of(path) == {}
    return removed, pikepdf.open(path)


FORBIDDEN = {
    "a program": (action("Launch", F=String("calc.exe")), "Launch"),
    "a program, by system": (action("Launch", Win=Dictionary(F=String("cmd.exe"))), "Launch"),
    "a form sent away": (action("SubmitForm", F=String("http://203.0.113.5/")), "SubmitForm"),
    "another machine's file": (action("GoToR", F=String(UNC), D=Array([0, Name.Fit])), "GoToR"),
    "another file": (action("GoToR", F=String("other.pdf"), D=Array([0, Name.Fit])), "GoToR"),
    "an embedded file": (action("GoToE", D=String("x")), "GoToE"),
    "a script": (action("JavaScript", JS=String("app.alert(1)")), "JavaScript"),
    "a video": (action("Rendition", OP=0), "Rendition"),
    "rich media": (action("RichMediaExecute"), "RichMediaExecute"),
    "data from a file": (action("ImportData", F=String(UNC)), "ImportData"),
    "a thread of another file": (action("Thread", F=String(UNC), D=0), "Thread"),
    "a reader's command": (action("Named", N=Name("/SaveAs")), "Named"),
    "a file address": (action("URI", URI=String("file://203.0.113.5/x")), "URI"),
    "a share's address": (action("URI", URI=String(UNC)), "URI"),
    "a share's address, other slashes": (action("URI", URI=String("//203.0.113.5/x")), "URI"),
    "an address without a machine": (action("URI", URI=String(r"http:\\203.0.113.5")), "URI"),
    "a scheme that starts programs": (action("URI", URI=String("ms-msdt:/id")), "URI"),
    "an unknown one": (action("Fly", Type=Name.Action), "Fly"),
}  # fmt: skip


@pytest.mark.parametrize("name", FORBIDDEN)
def test_an_action_that_is_not_on_the_list_is_removed_wherever_it_is(pdf, tmp_path, name):
    it, kind = FORBIDDEN[name]
    first = pdf.pages[0].obj
    first.Annots.append(link(pdf, it))
    first.AA = Dictionary(O=it)
    pdf.Root.OpenAction = pdf.make_indirect(it)
    pdf.Root.AA = Dictionary(WC=it)
    kept = action("GoTo", D=Array([pdf.pages[1].obj, Name.Fit]))
    pdf.pages[1].obj.Annots = [link(pdf, Dictionary({**kept, "/Next": it}))]
    pdf.Root.Outlines = pdf.make_indirect(
        Dictionary(First=pdf.make_indirect(Dictionary(Title=String("x"), A=it)), Count=1)
    )
    removed, after = cleaned(pdf, tmp_path)
    assert removed == {kind: 6}
    with after:
        assert "/OpenAction" not in after.Root
        assert "/A" not in after.pages[0].obj.Annots[0], "the annotation stays, and does nothing"
        assert str(after.pages[1].obj.Annots[0].A.S) == "/GoTo"
        assert "/Next" not in after.pages[1].obj.Annots[0].A
        data = io.BytesIO()
        after.save(
            data, compress_streams=False, object_stream_mode=pikepdf.ObjectStreamMode.disable
        )
        assert b"203.0.113.5" not in data.getvalue()


def test_what_shows_a_page_or_follows_an_address_is_kept(pdf, tmp_path):
    second = pdf.pages[1].obj
    annotations = pdf.pages[0].obj.Annots
    for kept in (
        action("GoTo", D=Array([second, Name.Fit])),
        action("Named", N=Name.NextPage),
        action("URI", URI=String("https://chinhphu.vn/")),
        action("URI", URI=String("mailto:vanthu@example.vn")),
    ):
        annotations.append(link(pdf, kept))
    pdf.Root.OpenAction = Array([second, Name.Fit])
    # The same keys with another meaning: attributes of structure, the next item of an outline.
    pdf.Root.StructTreeRoot = Dictionary(K=Dictionary(S=Name.P, A=Dictionary(O=Name.Layout)))
    last = pdf.make_indirect(Dictionary(Title=String("b"), Dest=Array([second, Name.Fit])))
    first = pdf.make_indirect(Dictionary(Title=String("a"), Next=last))
    pdf.Root.Outlines = pdf.make_indirect(Dictionary(First=first, Last=last, Count=2))
    path = tmp_path / "in.pdf"
    pdf.save(path)
    before = path.read_bytes()
    assert pdf_actions.remove_from(path) == {}
    assert path.read_bytes() == before
    assert not pdf_actions.copy_without(path, tmp_path / "copy.pdf")
    assert not (tmp_path / "copy.pdf").exists()


def test_what_plays_and_what_lies_on_another_machine_is_removed(pdf, tmp_path):
    for kind in ("RichMedia", "Movie", "Sound", "Screen", "3D"):
        pdf.pages[0].obj.Annots.append(
            Dictionary(Type=Name.Annot, Subtype=Name(f"/{kind}"), Rect=[0, 0, 9, 9])
        )
    pdf.Root.Names = Dictionary(JavaScript=Dictionary(Names=["x", action("JavaScript", JS="1")]))
    pdf.Root.AcroForm = Dictionary(Fields=[], XFA=Array([String("t"), pdf.make_stream(b"<x/>")]))
    pdf.Root.URI = Dictionary(Base=String("file://203.0.113.5/"))
    pdf.Root.Attached = Dictionary(
        Type=Name.Filespec, F=String(r"C:\Users\An\a.docx"), EF=Dictionary(F=pdf.make_stream(b"a"))
    )
    stream = pdf.make_stream(b"x")
    stream.stream_dict.Ref = Dictionary(F=String(UNC))
    pdf.Root.Extra = stream
    removed, after = cleaned(pdf, tmp_path)
    assert removed == {
        "3D": 1, "JavaScript": 1, "Movie": 1, "RichMedia": 1, "Screen": 1, "Sound": 1, "URI": 1,
        "XFA": 1, "file elsewhere": 1,
    }  # fmt: skip
    with after:
        assert len(after.pages[0].obj.Annots) == 0
        assert str(after.Root.Attached.F).endswith("a.docx"), "the name of a file inside"


def test_a_chain_without_end_and_a_deep_one_are_gone_through_once(pdf, tmp_path):
    first = pdf.make_indirect(action("GoTo", D=Array([pdf.pages[1].obj, Name.Fit])))
    second = pdf.make_indirect(action("GoTo", D=Array([pdf.pages[1].obj, Name.Fit]), Next=first))
    first.Next = second
    pdf.Root.OpenAction = first
    deep = action("Launch", F=String("x"))
    for _ in range(100):
        deep = Dictionary(Inner=Array([deep]))
    pdf.Root.Deep = Dictionary(A=Dictionary(O=Name.Layout, K=deep))
    removed, after = cleaned(pdf, tmp_path)
    assert removed == {"Launch": 1}
    after.close()


def with_link(path, of, target):
    with pikepdf.open(path) as pdf:
        pdf.pages[0].obj.Annots = pdf.make_indirect(Array([link(pdf, of)]))
        pdf.save(target)
    return target


def test_the_copy_of_a_scan_does_nothing_by_itself(run_stage, tmp_path):
    scan = with_link(scan_pdf(tmp_path / "scan.pdf", sheet()),
                     action("GoToR", F=String(UNC), D=Array([0, Name.Fit])),
                     tmp_path / "in.pdf")  # fmt: skip
    done = run_stage(Ocr, scan)
    assert pdf_actions.of(done.replace_main.path) == {}
    assert "actions-removed" in done.facts["flags"]
    assert done.facts["pdfa"] == "2b"
    assert any("1 GoToR" in note for note in done.notes)


def form(tmp_path):
    """It stays as it came, for a copy would lose what is filled in; and it sends it away."""
    scan = scan_pdf(tmp_path / "scan.pdf", sheet())
    with pikepdf.open(scan) as pdf:
        field = pdf.make_indirect(Dictionary(
            Type=Name.Annot, Subtype=Name.Widget, FT=Name.Tx, T=String("ten"), V=String("An"),
            Rect=[20, 20, 120, 40], A=action("SubmitForm", F=String("http://203.0.113.5/")),
        ))  # fmt: skip
        pdf.pages[0].obj.Annots = pdf.make_indirect(Array([field]))
        pdf.Root.AcroForm = Dictionary(Fields=Array([field]))
        pdf.save(tmp_path / "form.pdf")
    return tmp_path / "form.pdf"


def test_a_document_that_would_stay_as_it_came_gets_a_copy_without_them(run_stage, tmp_path):
    done = run_stage(Ocr, form(tmp_path))
    assert done.replace_main is not None
    with pikepdf.open(done.replace_main.path) as made:
        [field] = made.Root.AcroForm.Fields
        assert (str(field.V), "/A" in field) == ("An", False)
    assert done.facts["pdfa"] is None
    assert done.facts["pdfa_why"]
    assert done.facts["reading_copy"] is True
    assert {"no-pdfa", "actions-removed", "filled-form"} <= set(done.facts["flags"])


def test_a_person_may_be_asked_first(run_stage, tmp_path):
    with pytest.raises(Refuse) as told:
        run_stage(Ocr, form(tmp_path), actions="hold")
    assert told.value.code == "active-content"
    assert "1 SubmitForm" in told.value.message
    plain = scan_pdf(tmp_path / "plain.pdf", sheet())
    assert run_stage(Ocr, plain, actions="hold").facts["pdfa"] == "2b"
