"""A reload is a second `load` beside the settings in force; a bad file changes nothing."""

from __future__ import annotations

import hashlib

import pytest

from archived.config import changes, needing_restart, reload
from archived.errors import ConfigError


def test_nothing_changed_means_nothing_to_say(etc, good):
    old = etc.load(good)

    assert changes(old, reload(old)) == []


def test_what_changed_is_told_in_the_words_of_the_file(etc, good):
    old = etc.load(good)
    etc.plugin("noter", (etc.folder / "plugins/noter.py").read_text().replace("1.0", "1.1"))
    etc.write(
        good.replace('"note", "seal", "copies"', '"note", "seal"').replace(
            '[target.second]\nkind = "folder"\npath = "/mnt/second"\n', ""
        )
        + '[intake]\nsettle_time = "10 s"\n'
        + '[hotfolder.faxes]\npath = "/srv/fax"\npipeline = "paper"\n'
        + '[control]\n[mqtt]\nhost = "broker"\n[stage.note]\nlimits.pages = 7\n'
    )

    *told, code = changes(old, reload(old))
    assert code.startswith('the code of plug-in "noter" was ')
    assert told == [
        'intake.settle_time was "15 s" and is now "10 s"',
        'hotfolder.scans.settle_time was "15 s" and is now "10 s"',
        "hotfolder.faxes was added",
        'pipeline.paper.stages was ["note","seal","copies"] and is now ["note","seal"]',
        "stage.note.limits.pages was 100 and is now 7",
        "target.second was removed",
        "mqtt was added",
        "stage note was version 1.0 and is now 1.1",
    ]


def test_an_edited_plug_in_of_one_file_shows_its_new_digest(etc, good):
    old = etc.load(good)
    file = etc.folder / "plugins/noter.py"
    file.write_text(file.read_text().replace("Result()", "Result(notes=['new'])"))
    new = reload(old)
    [told] = changes(old, new)
    for settings in (old, new):
        (info,) = [i for i in settings.plugins.catalogue() if i.name == "noter"]
        assert info.sha256[:12] in told
    assert hashlib.sha256(file.read_bytes()).hexdigest()[:12] in told


def test_a_bad_file_leaves_the_settings_in_force_alone(etc, good):
    old = etc.load(good)
    digest, cls = old.digest, old.stages["note"].cls
    etc.write(good.replace("seal", "sael"))
    etc.plugin("noter", "raise SystemExit(3)")

    with pytest.raises(ConfigError):
        reload(old)

    assert old.digest == digest
    assert old.plugins.stages["note"] is cls


def test_what_only_a_restart_can_change_is_refused(etc, good):
    old = etc.load(good)
    etc.write(
        good + '[store]\npath = "/srv/other"\n[archive]\nstate = "/var/other"\n'
        '[web]\nlisten = "[::1]:9477"\n[control]\ngroup = "archivists"\n'
    )

    with pytest.raises(ConfigError) as caught:
        reload(old)

    assert caught.value.problems == [
        'archive.state: cannot change from "/var/lib/archived" to "/var/other" '
        "while the daemon runs",
        'store.path: cannot change from "/srv/archived/store" to "/srv/other" '
        "while the daemon runs",
        'web.listen: cannot change from "127.0.0.1:9477" to "[::1]:9477" while the daemon runs',
        'control.group: cannot change from not set to "archivists" while the daemon runs',
    ]
    assert caught.value.hint == "undo it, or run: systemctl restart archived"


def test_a_plugin_upgraded_under_the_running_daemon_needs_a_restart(
    etc, good, tmp_path, monkeypatch
):
    site = tmp_path / "site"
    info = site / "archived_ticker-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "ticker_of_a_test.py").write_text(
        "from archived.api import hookimpl\n@hookimpl\ndef on_event(event): ...\n"
    )
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: archived-ticker\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[archived]\nticker = ticker_of_a_test\n")
    monkeypatch.syspath_prepend(str(site))
    old = etc.load(good.replace('"noter", "copier"', '"noter", "copier", "ticker"'))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: archived-ticker\nVersion: 2.0\n")

    assert needing_restart(old, etc.load()) == [
        'plugins.enabled: plug-in "ticker" was upgraded from 1.0 to 2.0 under the running daemon'
    ]
