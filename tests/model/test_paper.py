"""Whether a safe document's paper may go back, from what is on record about it."""

from __future__ import annotations

import pytest

from archived.model.paper import Mark, marks, may_go_back

SCAN = {"media_type": "application/pdf", "pages": 2, "stages": ("ocr", "seal"), "signing": None,
        "releases": ()}  # fmt: skip
SIGNED = {"stages": ("ocr", "sign", "seal")}


@pytest.mark.parametrize(
    ("differs", "found"),
    [
        ({}, ()),
        ({"pages": None}, ()),
        ({"pages": None, "media_type": "image/tiff"}, ()),
        ({"pages": None, "media_type": "text/plain"}, (Mark.NO_PAGES,)),
        ({"pages": 0}, (Mark.NO_PAGES,)),
        ({"pages": 1, "media_type": "text/plain"}, ()),
        ({"releases": [{"was": "encrypted", "stage": "ocr"}]}, (Mark.RELEASED,)),
        ({"releases": [{"was": "arrived-incomplete"}]}, (Mark.RELEASED,)),
        ({"releases": [{"was": "unread-content", "reviews": []}]}, ()),
        ({"releases": [{"was": "part-secrecy-above"}]}, ()),
        ({**SIGNED, "signing": {"pades": True, "level": "B-B", "pending": "B-T"}}, ()),
        ({**SIGNED, "signing": {"pades": False, "reason": "original-signed"}}, ()),
        ({**SIGNED, "signing": {"pades": False, "reason": "several-originals"}}, (Mark.UNSIGNED,)),
        ({**SIGNED, "releases": [{"was": "unsignable"}]}, (Mark.RELEASED, Mark.UNSIGNED)),
    ],
)
def test_what_must_be_said_of_a_safe_document(differs, found):
    assert marks(**{**SCAN, **differs}) == found


def test_paper_is_kept_for_want_of_pages_or_of_a_stage_and_not_of_a_signature():
    assert {mark: may_go_back([mark]) for mark in Mark} == {
        Mark.NO_PAGES: False, Mark.RELEASED: False, Mark.UNSIGNED: True,
    }  # fmt: skip
    assert may_go_back(())
