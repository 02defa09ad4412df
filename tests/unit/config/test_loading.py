"""A good file becomes frozen settings in which nothing is left to look up."""

from __future__ import annotations

import json
import os
from dataclasses import FrozenInstanceError
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from archived.config import Address


def test_a_hot_folder_a_pipeline_and_plugins_are_enough(etc, good):
    settings = etc.load(good)

    assert settings.warnings == ()
    assert settings.archive.state == Path("/var/lib/archived")
    assert settings.archive.catalog == Path("/var/lib/archived/catalog.db")
    assert settings.store.path == Path("/srv/archived/store")
    assert settings.spool.keep_free == 2 * 2**30
    assert settings.web.listen == Address("127.0.0.1", 9477)
    assert settings.control.socket == Path("/run/archived/control.sock")
    assert settings.mqtt is None
    assert settings.lanes["cpu"].width >= 1
    assert settings.lanes["network"].width == 4
    assert settings.pipelines["paper"].stages == ("note", "seal", "copies")
    assert settings.pipelines["paper"].copies == 1
    assert settings.files == ("archived.toml",)


def test_a_hot_folder_inherits_what_it_does_not_say(etc, good):
    settings = etc.load(
        good.replace('path = "/srv/scans"', 'path = "/srv/scans"\nsettle_time = "1 min"')
        + '[intake]\nsettle_time = "2 s"\nrescan = "1 h"\n'
    )

    folder = settings.hotfolders["scans"]
    assert folder.settle_time == timedelta(minutes=1)
    assert folder.rescan == timedelta(hours=1)
    assert folder.arrival_deadline == timedelta(minutes=15)
    assert folder.max_file_size == 4 * 2**30


def test_a_stage_gets_typed_options_and_the_limits_of_its_table(etc, good):
    settings = etc.load(
        good + '[stage.note]\nwording = "in"\nmargin = "2 KiB"\n'
        'timeout = "90 s"\nattempts = 7\nmemory = "3 GiB"\nlimits = { pages = 3 }\n'
    )

    note = settings.stages["note"]
    assert (note.options.wording, note.options.margin, note.options.limits.pages) == ("in", 2048, 3)
    assert note.needs.timeout == timedelta(seconds=90)
    assert note.needs.attempts == 7
    assert note.needs.lane == "cpu"
    assert note.needs.memory_bytes == 3 * 2**30
    assert (note.version, note.plugin, note.distribution) == ("1.0", "noter", "")
    copies = settings.stages["copies"]
    assert copies.needs.targets
    assert copies.needs.memory_bytes == 256 * 2**20


def test_a_child_reads_the_same_options_back_from_their_json(etc, good):
    note = etc.load(good + '[stage.note]\nmargin = "2 KiB"\n').stages["note"]

    assert json.loads(note.options_json)["margin"] == "2 KiB"
    assert note.cls.config().model_validate_json(note.options_json) == note.options


def test_a_target_gets_the_options_of_its_kind(etc, good):
    second = etc.load(good).targets["second"]

    assert (second.name, second.kind, second.options.path) == (
        "second",
        "folder",
        Path("/mnt/second"),
    )
    assert json.loads(second.options_json) == {"path": "/mnt/second", "style": "plain"}


def test_fork_servers_learn_where_the_plugins_are(etc, good):
    folder = etc.folder / "plugins"

    sources = etc.load(good).plugin_sources
    assert [{key: each[key] for key in ("name", "file")} for each in sources] == [
        {"name": "noter", "file": str(folder / "noter.py")},
        {"name": "copier", "file": str(folder / "copier.py")},
    ]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("open", "thường"),
        ("Mật", "mật"),
        ("toi-mat", "tối mật"),
        ("tuyệt mật", "tuyệt mật"),
        ("Tuyê\u0323t mâ\u0323t", "tuyệt mật"),  # as a Mac keyboard composes it
        ("", ""),
    ],
)
def test_secrecy_has_one_spelling_behind_the_door(etc, good, written, meant):
    settings = etc.load(good.replace("[pipeline", f'secrecy = "{written}"\n\n[pipeline'))

    assert settings.hotfolders["scans"].secrecy == meant


def test_a_lane_is_a_number_or_a_table(etc, good):
    settings = etc.load(good + "[lanes]\ncpu = 3\ngpu = { width = 1 }\n")

    assert {name: lane.width for name, lane in settings.lanes.items()} == {
        "cpu": 3,
        "network": 4,
        "gpu": 1,
    }


def test_the_broker_has_its_usual_port(etc, good):
    mqtt = etc.load(good + '[mqtt]\nhost = "broker"\ntls = true\n').mqtt

    assert mqtt is not None
    assert mqtt.effective_port == 8883
    assert etc.load(good + '[mqtt]\nhost = "broker"\n').mqtt.effective_port == 1883


def test_nothing_in_the_settings_can_be_changed(etc, good):
    settings = etc.load(good)

    with pytest.raises(FrozenInstanceError):
        settings.web = None
    with pytest.raises(ValidationError):
        settings.spool.keep_free = 0
    with pytest.raises(TypeError):
        settings.stages["x"] = None


def test_files_in_conf_d_are_merged_key_by_key(etc, good):
    etc.write('[hotfolder.scans]\npriority = 5\n\n[spool]\nkeep_free = "1 GiB"\n', "conf.d/b.toml")
    etc.write('[hotfolder.faxes]\npath = "/srv/fax"\npipeline = "paper"\n', "conf.d/a.toml")

    settings = etc.load(good)

    assert settings.files == ("archived.toml", "conf.d/a.toml", "conf.d/b.toml")
    assert settings.hotfolders["scans"].priority == 5
    assert settings.hotfolders["scans"].path == Path("/srv/scans")
    assert set(settings.hotfolders) == {"scans", "faxes"}
    assert settings.spool.keep_free == 2**30


def test_other_files_in_conf_d_are_not_read(etc, good):
    etc.write("not toml", "conf.d/README")
    etc.write("not toml", "conf.d/.b.toml.swp.toml")

    assert etc.load(good).files == ("archived.toml",)


def test_two_spellings_of_one_configuration_have_one_digest(etc, good):
    one = etc.load(good).digest

    assert etc.load(good + '[intake]\nsettle_time = "15000 ms"\n').digest == one
    assert etc.load(good + '[intake]\nsettle_time = "6 s"\n').digest != one


def test_the_effective_configuration_speaks_the_words_of_the_file(etc, good):
    effective = etc.load(good + '[stage.note]\ntimeout = "600 s"\n').effective()

    assert effective["stage"]["note"]["timeout"] == "10 min"
    assert effective["stage"]["note"]["memory"] == "1 GiB"
    assert effective["target"]["second"] == {
        "kind": "folder",
        "path": "/mnt/second",
        "style": "plain",
    }
    assert json.loads(json.dumps(effective)) == effective


@pytest.mark.parametrize(
    ("more", "warning"),
    [
        (
            '[pipeline.short]\nstages = ["seal"]\n[hotfolder.b]\npath="/b"\npipeline="short"\n',
            "archived.toml:19: pipeline.short.stages: no stage makes copies: "
            "documents are sealed and never safe",
        ),
        (
            '[pipeline.other]\nstages = ["seal", "copies"]\n',
            "archived.toml:18: pipeline.other: no hot folder uses this pipeline",
        ),
        (
            '[mqtt]\nhost = "broker"\nusername = "a"\npassword = { credential = "p" }\n',
            "archived.toml:21: mqtt.password: is sent in the open to another machine; "
            "set tls = true",
        ),
    ],
)
def test_what_is_legal_and_not_meant_is_a_warning(etc, good, more, warning):
    assert etc.load(good + more).warnings == (warning,)


def test_stages_and_targets_that_nobody_uses_are_warned_about(etc, good):
    settings = etc.load(good.replace('["note", "seal", "copies"]', '["seal"]') + "[stage.note]\n")

    assert settings.warnings == (
        "archived.toml:12: stage.copies: no pipeline uses this stage",
        "archived.toml:18: stage.note: no pipeline uses this stage",
        "archived.toml:10: pipeline.paper.stages: no stage makes copies: "
        "documents are sealed and never safe",
        "archived.toml:15: target.second: no pipeline has a stage that makes copies",
    )


def test_without_a_hot_folder_nothing_will_arrive(etc):
    assert etc.load("").warnings == ("no hot folder is enabled: nothing will arrive",)


def test_a_file_that_the_group_may_write_is_warned_about(etc, good):
    etc.write(good).chmod(0o664)

    (warning,) = etc.load().warnings
    assert warning.startswith("archived.toml: group ")
    assert warning.endswith(f"may write it; chmod g-w {etc.path}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
def test_a_file_of_somebody_else_is_warned_about(etc, good):
    os.chown(etc.write(good), 4711, -1)

    assert etc.load().warnings == (f"archived.toml: belongs to user 4711; chown root {etc.path}",)
