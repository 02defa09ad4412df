"""Whatever stands in the file, the answer is settings or a list of mistakes."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archived.config import Settings, load
from archived.config.sample import written
from archived.config.schema import SINGLE, TABLES, HotFolder, Mqtt, Pipeline
from archived.errors import ConfigError

MODELS: list[Any] = [*SINGLE.values(), HotFolder, Mqtt, Pipeline]
KEYS = sorted(
    {key for model in MODELS for key in model.model_fields}
    | {"timeout", "memory", "lane", "to", "kind", "wording", "limits", "key", "cpu", "width"}
)
WORDS = st.sampled_from(
    ["", "seal", "note", "copies", "scans", "paper", "second", "folder", "5 s", "1 GiB", "/srv/a"]
)
LEAVES = st.one_of(WORDS, st.integers(-1, 9), st.booleans(), st.floats(0, 1), st.just("é\u2028"))
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=3)
    ),
    max_leaves=6,
)
NAMES = st.sampled_from(["scans", "paper", "note", "copies", "second", "seal", "cpu", "x y"])
TREES = st.dictionaries(
    st.sampled_from([*TABLES, "other"]),
    st.one_of(
        VALUES,
        st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=3),
        st.dictionaries(
            NAMES, st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4), max_size=3
        ),
    ),
    max_size=5,
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(TREES)
def test_every_file_gives_settings_or_mistakes_with_a_file_name(etc, tree):
    tree.pop("plugins", None)
    text = "".join(f"{key} = {written(value)}\n" for key, value in tree.items())
    text += f'[plugins]\nenabled = ["noter", "copier"]\nfolders = ["{etc.folder}/plugins"]\n'
    etc.write(text)

    try:
        assert isinstance(load(etc.path), Settings)
    except ConfigError as error:
        assert error.problems
        assert all(p.startswith("archived.toml:") and "\n" not in p for p in error.problems)
