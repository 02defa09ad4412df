"""Time-stamp authorities, made once."""

from __future__ import annotations

import pytest

from .authorities import Authorities, make_authorities


@pytest.fixture(scope="session")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> Authorities:
    return make_authorities(tmp_path_factory.mktemp("authorities"))
