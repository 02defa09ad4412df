"""What is tracked speaks to the product's users: no machine's paths or registries; fitting pins."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

if TYPE_CHECKING:
    from pathlib import Path

    from tests.repo.conftest import Checkout

# Written so that this file does not find itself.
MACHINE_PATHS = re.compile(r"""(?<![\w.)>}*\]-])/(?:wor[k]|roo[t]|hom[e]/\w+)/""")
REGISTRIES = re.compile(
    r"pyp[i]\.org|pythonhoste[d]|npmj[s]\.|crate[s]\.io|jfro[g]|nexu[s]/"
    r"|--(?:extra-)?index-ur[l][= ]",
    re.IGNORECASE,
)
SESSIONS = re.compile(
    r"\bclaud[e]\b|anthropi[c]|\bopena[i]\b|chatgp[t]|\bsub-?agen[t]|language mode[l]"
    r"|co-authored-b[y]|\bbrie[f]\.md|shared/desig[n]",
    re.IGNORECASE,
)
INVENTED = {"tests/unit/engine/test_protocol.py": "a path that is only compared"}
"""Files that hold a path of no machine, and why."""


@pytest.fixture(scope="module")
def tracked(checkout: Checkout) -> dict[str, str]:
    """Name -> text of every tracked text file."""
    command = ["git", "-C", str(checkout.root), "ls-files", "-z"]
    ran = subprocess.run(command, capture_output=True, check=False)
    if ran.returncode != 0:
        pytest.skip("this is no git checkout: nobody says which files are tracked")
    names = ran.stdout.decode().split("\0")
    texts = {}
    for name in filter(None, names):
        path = checkout.root / name
        if path.is_file():
            try:
                texts[name] = path.read_text()
            except UnicodeDecodeError:
                continue
    return texts


def found(pattern: re.Pattern[str], texts: dict[str, str]) -> list[str]:
    return [
        f"{name}: {match[0]}"
        for name, text in texts.items()
        for match in pattern.finditer(text)
        if name not in INVENTED
    ]


def test_no_machine_is_named(tracked: dict[str, str]) -> None:
    """No path of the machine it was written on."""
    assert not found(MACHINE_PATHS, tracked)


def test_no_registry_is_named(tracked: dict[str, str]) -> None:
    """Where packages come from is the installing machine's business."""
    assert not found(REGISTRIES, tracked)


def test_texts_speak_to_users(tracked: dict[str, str]) -> None:
    """Nothing about how the texts came to be."""
    assert not found(SESSIONS, tracked)


def pins(path: Path) -> dict[str, Version]:
    """Name -> pinned version of a requirements file."""
    lines = re.findall(r"^([A-Za-z0-9._-]+)(?:\[.*?\])?==(\S+)", path.read_text(), re.MULTILINE)
    return {name.lower().replace("_", "-"): Version(version) for name, version in lines}


def test_requirements_are_pinned_by_hash_and_name_no_place(checkout: Checkout) -> None:
    """Every requirement has a hash; none is a URL."""
    for path in sorted((checkout.root / "requirements").glob("*.txt")):
        text = path.read_text()
        assert "://" not in text, path.name
        blocks = re.split(r"\n(?=[A-Za-z0-9])", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
        for block in filter(None, (b.strip() for b in blocks)):
            assert "--hash=sha256:" in block, f"{path.name}: {block.partition(' ')[0]}"


def test_every_dependency_fits_the_pinned_one(checkout: Checkout) -> None:
    """What a pyproject.toml asks for is what requirements/runtime.txt installs."""
    pinned = pins(checkout.root / "requirements" / "runtime.txt")
    developer = pins(checkout.root / "requirements" / "dev.txt")
    for project in [checkout.root, *sorted((checkout.root / "plugins").iterdir())]:
        table = tomllib.loads((project / "pyproject.toml").read_text())["project"]
        wanted = [Requirement(r) for r in table["dependencies"]]
        more = [
            Requirement(r) for rs in table.get("optional-dependencies", {}).values() for r in rs
        ]
        for requirement, where in [(r, pinned) for r in wanted] + [(r, developer) for r in more]:
            name = requirement.name.lower().replace("_", "-")
            if name == "archived":
                continue
            assert name in where, f"{table['name']}: {name} is not pinned"
            assert requirement.specifier.contains(where[name]), f"{table['name']}: {requirement}"
        assert table["license"] == "Apache-2.0"
    assert pinned.items() <= developer.items(), "dev.txt differs from runtime.txt"


def test_the_licence_is_there(checkout: Checkout) -> None:
    """Apache-2.0, whole."""
    text = checkout.text("LICENSE")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


WEAK = re.compile(r"LGPL|Lesser General Public", re.IGNORECASE)
STRONG = re.compile(r"AGPL|GPL|Affero|General Public License", re.IGNORECASE)


def licences(name: str) -> str:
    """What a distribution says its licence is: the expression, else the field and classifiers."""
    metadata: Any = importlib.metadata.metadata(name)
    if expression := metadata.get("License-Expression"):
        return str(expression)
    said = [c for c in metadata.get_all("Classifier") or [] if c.startswith("License ::")]
    return "; ".join([(metadata.get("License") or "").partition("\n")[0], *said]).strip("; ")


def test_no_library_binds_the_program_to_its_licence(checkout: Checkout) -> None:
    """LGPL and MPL are allowed, GPL and AGPL are not; a licence that is not told is no licence."""
    wrong = []
    for name in pins(checkout.root / "requirements" / "runtime.txt"):
        said = licences(name)
        words = re.split(r"\s+OR\s+|;|\s+AND\s+", said)
        strong = [w for w in words if STRONG.search(w) and not WEAK.search(w)]
        offered = " OR " in said and len(strong) < len(words)
        if not said or (strong and not offered):
            wrong.append(f"{name}: {said or 'does not say'}")
    assert not wrong


def test_the_licence_test_knows_what_it_looks_for() -> None:
    """Names that must be told apart."""
    for name in ("AGPL-3.0-or-later", "GPL-3.0", "GNU Affero General Public License v3"):
        assert STRONG.search(name)
        assert not WEAK.search(name)
    for name in ("LGPL-3.0-only", "GNU Lesser General Public License v3 (LGPLv3)"):
        assert WEAK.search(name)
