"""A key that is called otherwise now: the file is not used, and says what to write."""

from __future__ import annotations

import pytest

from archived.config import reload
from archived.config.loading import RESERVED
from archived.config.schema import HotFolder, Intake
from archived.errors import ConfigError
from archived.model.former_names import KEYS, VALUES

OF_A_FOLDER = 'path = "/srv/b"\npipeline = "paper"\n'
VALID = {
    "quiet": '"5 s"',
    "batch_quiet": '"1 min"',
    "other_side": '"1 h"',
    "answers": "false",
    "answers_folder": '"tra-loi"',
    "answers_keep": '"1 MiB"',
    "space": "60",
}
CASES = [(table, former, now) for table, names in KEYS.items() for former, now in names.items()]


def written(table: str, key: str, value: str) -> tuple[str, str]:
    """A file of its own with the key on its last line; the key's place in it."""
    if table == "hotfolder":
        return f"[hotfolder.b]\n{OF_A_FOLDER}{key} = {value}\n", f"4: hotfolder.b.{key}"
    if table == "stage":
        return f"[stage.note]\n{key} = {value}\n", f"2: stage.note.{key}"
    return f"[{table}]\n{key} = {value}\n", f"2: {table}.{key}"


@pytest.mark.parametrize(("table", "former", "now"), CASES)
def test_a_former_key_is_answered_at_its_place_with_the_name_of_now(etc, good, table, former, now):
    text, place = written(table, former, VALID[former])
    etc.write(text, "conf.d/more.toml")
    assert etc.mistakes(good) == [f'conf.d/more.toml:{place}: is now called "{now}"']

    text, _ = written(table, now, VALID[former])
    etc.write(text, "conf.d/more.toml")
    assert etc.load(good), "and that is understood"


@pytest.mark.parametrize(("table", "former", "now"), CASES)
def test_a_reload_refuses_a_former_key_with_that_sentence(etc, good, table, former, now):
    old = etc.load(good)
    text, place = written(table, former, VALID[former])
    etc.write(text, "conf.d/more.toml")
    with pytest.raises(ConfigError) as refused:
        reload(old)
    assert refused.value.code == "bad-config"
    assert f'{place}: is now called "{now}"' in str(refused.value)


def test_a_former_value_is_answered_too(etc, good):
    etc.write(f'[hotfolder.b]\n{OF_A_FOLDER}closed_by = ["mark", "quiet"]\n', "conf.d/more.toml")
    assert etc.mistakes(good) == [
        'conf.d/more.toml:4: hotfolder.b.closed_by, item 2: "quiet" is now called "settled"'
    ]


def test_the_names_of_now_are_keys_and_the_former_ones_are_none():
    fields = {
        "intake": Intake.model_fields,
        "hotfolder": HotFolder.model_fields,
        "stage": dict.fromkeys(RESERVED),
    }
    for table, former, now in CASES:
        assert now in fields[table]
        assert former not in fields[table]
    for (_, key), _names in VALUES.items():
        assert key in fields["hotfolder"]


def test_a_stage_may_have_an_option_that_is_called_like_a_former_key_of_the_core(etc, good):
    noter = (etc.folder / "plugins/noter.py").read_text()
    etc.plugin(
        "noter",
        noter.replace(
            '    margin: Size = 1024\n    """Room to leave."""\n',
            '    space: float = 1.0\n    """Room between lines."""\n',
        ),
    )
    settings = etc.load(good + "[stage.note]\nspace = 2.5\n")
    assert settings.stages["note"].options.space == 2.5
