"""The sample is written from the models: it loads as it is, and with every setting uncommented."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import tomli

from archived.config import load, sample_config
from archived.config.schema import SINGLE, HotFolder, Mqtt, Pipeline
from archived.plugins import find, installed


def uncommented(sample: str) -> str:
    return re.sub(r"^#(?=[^\s#])", "", sample, flags=re.M)


@pytest.fixture
def plugins(etc):
    return find(["noter", "copier"], [etc.folder / "plugins"])


def test_the_sample_loads_as_it_is_and_says_nothing(etc, plugins):
    settings = etc.load(sample_config(plugins))

    bare = etc.load("")
    assert settings.effective() == bare.effective()
    assert all(not table for table in tomli.loads(sample_config(plugins)).values())


def test_the_sample_uncommented_loads_to_the_same_defaults(etc, plugins):
    settings = etc.load(uncommented(sample_config(plugins)))

    said, bare = settings.effective(), etc.load("").effective()
    for table in SINGLE.keys() - {"plugins"}:
        assert said[table] == {**bare[table]}, table
    assert settings.warnings == ()
    assert said["plugins"]["enabled"] == ["noter", "copier"]
    assert settings.pipelines["paper"].stages == ("note", "seal", "copies")
    needs = settings.stages["copies"].cls.needs
    assert settings.stages["copies"].needs.memory_bytes == needs.memory_bytes
    assert settings.stages["note"].options == settings.stages["note"].cls.config()()


def test_without_plugins_the_sample_still_loads_uncommented(etc):
    settings = etc.load(uncommented(sample_config()))

    assert settings.pipelines["paper"].stages == ("seal",)
    assert settings.mqtt is not None
    assert settings.effective()["lanes"] == etc.load("").effective()["lanes"]


@pytest.mark.parametrize("model", [*SINGLE.values(), HotFolder, Pipeline, Mqtt])
def test_every_setting_has_documentation_and_stands_in_the_sample(model):
    sample = sample_config()

    for key, option in model.model_fields.items():
        assert option.description, f"{model.__name__}.{key}"
        assert re.search(rf"^#(| Not set: | Not set; for example: ){key}\b", sample, re.M), key


def test_the_sample_shows_a_plugins_options_with_their_words(plugins):
    sample = sample_config(plugins)

    assert '# The word written before the date.\n#wording = "received"\n' in sample
    assert '# Room to leave.\n#margin = "1 KiB"\n' in sample
    assert '# How. One of: "plain", "fancy".\n#style = "plain"\n' in sample
    assert "# What is too much.\n#limits = { pages = 100 }\n" in sample
    assert "# Where the key is.\n# Not set: key\n" in sample


def test_what_is_shown_in_place_of_a_default_says_what_the_default_is(plugins):
    sample = sample_config(plugins)

    assert 'Default: []. With what is shown here:\n#enabled = ["noter", "copier"]\n' in sample
    assert 'Required; for example:\n#path = "/srv/scans"\n' in sample
    assert 'Required; for example:\n#stages = ["note", "seal", "copies"]\n' in sample
    assert "With what is shown here:" not in sample_config()


def test_no_line_of_the_sample_is_too_long_to_read(plugins, etc):
    """Besides the folder of this test, which may have any length."""
    lines = sample_config(plugins).replace(str(etc.folder), "/etc/archived").splitlines()
    assert max(map(len, lines)) <= 100


BUNDLED = {"ocr", "classify", "sign", "replicate"}


@pytest.mark.skipif(
    not installed().keys() >= BUNDLED, reason="the bundled plug-ins are not installed here"
)
@pytest.mark.parametrize("name", ["archived.toml", "archived-demo.toml"])
def test_the_shipped_files_load_without_a_warning(tmp_path, name):
    folder = Path(__file__).parents[3] / "etc"
    file = tmp_path / "archived.toml"
    file.write_text((folder / name).read_text().replace("@DEMO@", str(tmp_path / "demo")))
    file.chmod(0o644)

    settings = load(file)

    assert settings.warnings == ()
    assert settings.pipelines["paper"].stages == ("ocr", "classify", "sign", "seal", "replicate")
