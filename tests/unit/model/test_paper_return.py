"""Whether a safe document's paper may go back, from what is on record about it."""

from __future__ import annotations

import pytest

from archived.model.paper_return import PaperMark, marks, may_go_back, signing_stages

SCAN = {"media_type": "application/pdf", "pages": 2, "signing": (), "facts": {}, "releases": ()}
SIGNED = {"signing": ("token-seal",)}


@pytest.mark.parametrize(
    ("differs", "found"),
    [
        ({}, ()),
        ({"pages": None}, ()),
        ({"pages": None, "media_type": "image/tiff"}, ()),
        ({"pages": None, "media_type": "text/plain"}, (PaperMark.NO_PAGES,)),
        ({"pages": 0}, (PaperMark.NO_PAGES,)),
        ({"pages": 1, "media_type": "text/plain"}, ()),
        ({"releases": [{"was": "encrypted", "stage": "ocr"}]}, (PaperMark.RELEASED,)),
        ({"releases": [{"was": "arrived-incomplete"}]}, (PaperMark.RELEASED,)),
        ({"releases": [{"was": "unread-content", "reviews": []}]}, ()),
        ({"releases": [{"was": "part-secrecy-above"}]}, ()),
        (
            {**SIGNED, "facts": {"token-seal": {"pades": True, "level": "B-B", "pending": "B-T"}}},
            (),
        ),
        ({**SIGNED, "facts": {"token-seal": {"pades": False, "reason": "original-signed"}}}, ()),
        ({**SIGNED, "facts": {"token-seal": {"signed": True}}}, ()),
        ({**SIGNED, "facts": {"ocr": {"signed": True}}}, (PaperMark.UNSIGNED,)),
        (
            {**SIGNED, "facts": {"token-seal": {"pades": False, "reason": "several-originals"}}},
            (PaperMark.UNSIGNED,),
        ),
        ({**SIGNED, "releases": [{"was": "unsignable"}]}, (PaperMark.RELEASED, PaperMark.UNSIGNED)),
    ],
)
def test_what_must_be_said_of_a_safe_document(differs, found):
    assert marks(**{**SCAN, **differs}) == found


def test_paper_is_kept_for_want_of_pages_or_of_a_stage_and_not_of_a_signature():
    assert {mark: may_go_back([mark]) for mark in PaperMark} == {
        PaperMark.NO_PAGES: False,
        PaperMark.RELEASED: False,
        PaperMark.UNSIGNED: True,
    }
    assert may_go_back(())


def test_what_signs_is_said_by_the_seal_and_by_a_name_only_where_none_said_it():
    assert signing_stages({"signing": ["token-seal"]}, ["token-seal", "seal"]) == ["token-seal"]
    assert signing_stages({"signing": []}, ["sign", "seal"]) == []
    assert set(signing_stages({}, ["ocr", "sign", "seal"])) == {"sign"}
    assert not signing_stages({}, ["ocr", "seal"])
