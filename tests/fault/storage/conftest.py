"""A store with objects in it, for the tests of this folder."""

from __future__ import annotations

from tests.fault.storage.store_fixtures import store, template

__all__ = ["store", "template"]
