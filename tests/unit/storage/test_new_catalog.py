"""A first start makes the catalog of now at once; only an older one is migrated, by Alembic."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from archived.storage.catalog import Catalog
from tools import new_catalog


def test_a_new_catalog_is_what_all_migrations_together_make(tmp_path: Path) -> None:
    Catalog.open(tmp_path / "new.db").close()
    new_catalog.migrated(tmp_path / "migrated.db")
    new, migrated = (new_catalog.statements(tmp_path / name) for name in ("new.db", "migrated.db"))
    assert new == migrated, "run tools/new_catalog.py"
    assert new_catalog.FILE.read_text() == migrated, "run tools/new_catalog.py"


def test_a_start_on_a_new_catalog_or_one_of_now_does_without_alembic(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from archived.storage.catalog import Catalog\n"
        f"for _ in range(2): Catalog.open(Path({str(tmp_path / 'catalog.db')!r})).close()\n"
        "assert 'alembic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
