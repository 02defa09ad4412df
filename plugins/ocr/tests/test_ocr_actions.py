"""What a PDF may do when people open the copy: show its pages, and follow an address."""

import io

import pikepdf
import pytest
from pikepdf import Array, Dictionary, Name, String

from archived.api import Refuse
from archived_ocr import Ocr, pdf_actions

from .ocr_scans import scan_pdf, sheet

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
}


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
        "3D": 1,
        "JavaScript": 1,
        "Movie": 1,
        "RichMedia": 1,
        "Screen": 1,
        "Sound": 1,
        "URI": 1,
        "XFA": 1,
        "file elsewhere": 1,
    }
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
    scan = with_link(
        scan_pdf(tmp_path / "scan.pdf", sheet()),
        action("GoToR", F=String(UNC), D=Array([0, Name.Fit])),
        tmp_path / "in.pdf",
    )
    done = run_stage(Ocr, scan)
    assert pdf_actions.of(done.replace_main.path) == {}
    assert "actions-removed" in done.facts["flags"]
    assert done.facts["pdfa"] == "2b"
    assert any("1 GoToR" in note for note in done.notes)


def form(tmp_path):
    """It stays as it came, for a copy would lose what is filled in; and it sends it away."""
    scan = scan_pdf(tmp_path / "scan.pdf", sheet())
    with pikepdf.open(scan) as pdf:
        field = pdf.make_indirect(
            Dictionary(
                Type=Name.Annot,
                Subtype=Name.Widget,
                FT=Name.Tx,
                T=String("ten"),
                V=String("An"),
                Rect=[20, 20, 120, 40],
                A=action("SubmitForm", F=String("http://203.0.113.5/")),
            )
        )
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


def a_stream(pdf, **more):
    """A stream whose dictionary is read as one: PDFium and MuPDF do that."""
    made = pdf.make_stream(b"x")
    for key, value in more.items():
        made.stream_dict[f"/{key}"] = value
    return made


def navigation(pdf):
    pdf.pages[0].obj.PresSteps = pdf.make_indirect(
        Dictionary(Type=Name.NavNode, NA=action("Launch", F=String("calc.exe")))
    )


def action_in_a_stream(pdf):
    stream = a_stream(pdf, S=Name.Launch, F=String("calc.exe"))
    pdf.pages[0].obj.Annots.append(link(pdf, stream))


def opening_in_a_stream(pdf):
    pdf.Root.OpenAction = a_stream(pdf, S=Name.JavaScript, JS=String("app.alert(1)"))


def triggers_in_a_stream(pdf):
    pdf.Root.AA = a_stream(pdf, WC=action("JavaScript", JS=String("1")))


def scripts_in_a_stream(pdf):
    names = Array([String("a"), action("JavaScript", JS=String("1"))])
    pdf.Root.Names = Dictionary(JavaScript=a_stream(pdf, Names=names))


def film_in_a_stream(pdf):
    film = a_stream(pdf, Subtype=Name.Screen, Rect=Array([0, 0, 9, 9]))
    pdf.pages[0].obj.Annots.append(film)


def form_in_a_text(pdf):
    pdf.Root.AcroForm = Dictionary(Fields=Array(), XFA=String("<x/>"))


def unknown_key(pdf):
    pdf.pages[0].obj.Annots.append(
        Dictionary(Type=Name.Annot, Subtype=Name.Link, Mx=action("Launch", F=String(UNC)))
    )


def certificate_address(pdf):
    pdf.Root.SV = Dictionary(Cert=Dictionary(URL=String(UNC)))


PLACES = {
    navigation: "Launch",
    action_in_a_stream: "Launch",
    opening_in_a_stream: "JavaScript",
    triggers_in_a_stream: "JavaScript",
    scripts_in_a_stream: "JavaScript",
    film_in_a_stream: "Screen",
    form_in_a_text: "XFA",
    unknown_key: "Launch",
    certificate_address: "URI",
}


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_an_action_is_found_in_places_that_readers_look_at_and_few_writers_use(
    pdf, tmp_path, place
):
    place(pdf)
    removed, after = cleaned(pdf, tmp_path)
    assert PLACES[place] in removed
    with after:
        after.save(tmp_path / "plain.pdf", qdf=True)
    plain = (tmp_path / "plain.pdf").read_bytes()
    for left in (b"/Launch", b"/JavaScript", b"/Screen", b"/XFA", b"203.0.113.5"):
        assert left not in plain


SPELLINGS = {
    "two marks of byte order": b"\xfe\xff\xfe\xff" + UNC.encode("utf-16-be"),
    "a mark of direction": b"\xef\xbb\xbf" + f"\u200f{UNC}".encode(),
    "a NUL in front": b"\0" + UNC.encode(),
    "UTF-16 that does not say so": UNC.encode("utf-16-be"),
    "little-endian": b"\xff\xfe" + UNC.encode("utf-16-le"),
    "slashes of both kinds": b"/" + UNC[1:].encode(),
    "a path of the kernel": rb"\??\UNC\203.0.113.5\share\x.pdf",
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_share_is_found_however_its_name_is_written(pdf, tmp_path, spelling):
    name = String(SPELLINGS[spelling])
    pdf.Root.Extra = a_stream(pdf, Ref=Dictionary(F=name))
    removed, after = cleaned(pdf, tmp_path)
    assert removed == {"file elsewhere": 1}
    with after:
        assert "/F" not in after.Root.Extra.Ref


@pytest.mark.parametrize("inside", [True, False])
def test_a_share_is_no_name_of_a_file_that_says_it_is_inside(pdf, tmp_path, inside):
    """A reader that does not find it inside looks where its name says."""
    kept = Dictionary(F=pdf.make_stream(b"a")) if inside else Dictionary()
    pdf.Root.Attached = Dictionary(Type=Name.Filespec, F=String(UNC), UF=String(UNC), EF=kept)
    removed, after = cleaned(pdf, tmp_path)
    assert removed == {"file elsewhere": 2}
    with after:
        left = {str(after.Root.Attached.get(key, "")) for key in ("/F", "/UF")}
        assert left == ({"x.pdf"} if inside else {""})
