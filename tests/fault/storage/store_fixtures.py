"""Fixtures for tests of the store: one with objects in it, made once and copied for each test."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from archived.storage.ocfl.store import Store
from archived.storage.ocfl.writer import StoreFile
from tests.fault.storage.documents import ID, VERSION_INFO, correction, document, new_store


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    """A store with one object of two versions and one of one."""
    folder = tmp_path_factory.mktemp("template")
    store = new_store(folder / "store")
    store.seal(ID, document(folder / "scans"), VERSION_INFO)
    store.add_version(ID, correction(), VERSION_INFO)
    store.seal("urn:example:số-12-QĐ", [StoreFile("metadata/giấy tờ.txt", b"x")], VERSION_INFO)
    return store.root


@pytest.fixture
def store(template, tmp_path) -> Store:
    shutil.copytree(template, tmp_path / "store")
    return Store(tmp_path / "store")
