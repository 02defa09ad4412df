"""Pages for people: their configurations load, their commands are real, they lead to each other."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from archived.cli.archivectl import cli as archivectl
from archived.config import load
from archived.locale import _, speaking

if TYPE_CHECKING:
    from pathlib import Path

    from tests.repo.conftest import Checkout

AROUND = """
[stage.sign]
key = { credential = "signing-key" }
passphrase = { credential = "signing-passphrase" }
[plugins]
enabled = ["ocr", "classify", "sign", "replicate"]
"""


def test_the_examples_are_one_configuration_that_loads(checkout: Checkout, tmp_path: Path) -> None:
    """Put together as they stand; what they leave out has defaults or is said around them."""
    blocks = re.findall(r"```toml\n(.*?)```", checkout.text("docs/admin.md"), re.S)
    assert len(blocks) == 3
    config = tmp_path / "archived.toml"
    config.write_text("\n".join([*blocks, AROUND]))
    config.chmod(0o644)
    settings = load(config)
    assert settings.pipelines["paper"].copies == 2
    assert set(settings.targets) == {"second-disk", "other-house"}
    assert settings.warnings == ()


def test_every_page_can_be_reached(checkout: Checkout) -> None:
    """Some other text leads to it: what nobody links, nobody reads."""
    pages = {path.name: path.read_text() for path in (checkout.root / "docs").glob("*.md")}
    outside = (
        checkout.text("README.md") + checkout.text("DESIGN.md") + checkout.text("README.vi.md")
    )
    listed = re.findall(r"^(?:.*<)?([a-z.-]+)>?$", pages["index.md"], re.MULTILINE)
    alone = [
        name
        for name in pages
        if name.removesuffix(".md") not in listed
        and f"({name}" not in "".join(text for other, text in pages.items() if other != name)
        and f"docs/{name}" not in outside
    ]
    assert alone == []


def test_the_vietnamese_readme_shows_a_configuration_that_loads_and_real_commands(
    checkout: Checkout, tmp_path: Path
) -> None:
    """Its commands are archivectl's; what it quotes of an answer is the catalogue's."""
    text = checkout.text("README.vi.md")
    (block,) = re.findall(r"```toml\n(.*?)```", text, re.S)
    config = tmp_path / "archived.toml"
    config.write_text(block)
    config.chmod(0o644)
    assert load(config).warnings == ()
    named = {words.split()[0] for words in re.findall(r"`archivectl ([^`]+)`", text)}
    assert {"status", "explain", "retry", "account"} <= named
    assert named - {"ledger"} <= set(archivectl.commands)
    with speaking("vi"):
        for words in ("What happened", "Where it stands", "What to do"):
            assert f"\n{_(words)}\n" in text
        assert _("Keep the paper: it is not archived yet.") in text
