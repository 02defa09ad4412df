"""A reload that is refused, and secrets that only the service has: said where people look."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

CTL = Path(sys.executable).parent / "archivectl"
ARCHIVED = CTL.with_name("archived")
KEYED = """
from archived.api import Result, SecretRef, Stage, StageConfig, hookimpl


class Options(StageConfig):
    key: SecretRef
    '''The key.'''
    word: str = ""
    '''A word.'''


class Keyed(Stage[Options]):
    name = "keyed"
    version = "1"

    def check(self, options):
        if options.key.read_text() != "good":
            yield "the key does not open"

    def run(self, document, context):
        return Result()


@hookimpl
def register_stages(register):
    register(Keyed)
"""


def call(program, box, *arguments):
    return subprocess.run(
        [program, *arguments, "--config", box.config],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_refused_configuration_is_loud_and_stays_in_sight_until_it_is_mended(box, until):
    box.start()
    good = box.config.read_text()
    refused = "archived_config_refused_timestamp_seconds"
    assert box.metric(refused) == {}
    for broken in (
        good.replace('settle_time = "0.2 s"', 'settle_time = "0.2 mss"'),
        good + "[hotfolder\n",
    ):
        box.config.write_text(broken)
        told = call(CTL, box, "reload")
        assert told.returncode == 78
        assert (
            "intake.settle_time" in told.stderr
            or "not TOML" in told.stderr
            or "not valid" in told.stderr
        )
        status = call(CTL, box, "status")
        assert status.returncode == 1, status
        assert "the configuration on disk is refused since" in status.stdout
        since = box.metric(refused)
        assert since != {}
    again = call(CTL, box, "reload")
    assert (again.returncode, box.metric(refused)) == (78, since), "since the first time"
    box.config.write_text(good)
    assert call(CTL, box, "reload").returncode == 0
    assert box.metric(refused) == {}
    assert call(CTL, box, "status").returncode == 0
    assert box.end() == 0
    down = call(CTL, box, "status")
    assert (down.returncode, "not running" in down.stdout) == (1, True)


def test_a_check_asks_the_running_service_about_secrets_that_only_it_has(box, until):
    given = box.folder / "credentials"
    given.mkdir()
    (given / "signing-key").write_text("bad")
    box.plugin("keyed", KEYED)
    box.tables["stage.keyed"] = {"key": {"credential": "signing-key"}}
    box.tables["pipeline.paper"] = {"stages": ["keyed", "seal"]}
    box.write()
    down = json.loads(call(ARCHIVED, box, "check", "--json").stdout)
    assert down["stages"][0]["verdict"] == "not established"
    box.start(CREDENTIALS_DIRECTORY=str(given))

    def verdict():
        return json.loads(call(ARCHIVED, box, "check", "--json").stdout)["stages"][0]

    found = until(lambda: (v := verdict())["verdict"] == "no" and v, "the service has looked")
    assert found["problems"] == ["the key does not open"]
    live = json.loads(call(CTL, box, "status", "--json").stdout)["daemon"]["credentials"]
    assert (live["folder"], live["names"]) == (str(given), ["signing-key"])
    (given / "signing-key").write_text("good")
    assert call(CTL, box, "reload").returncode == 0
    until(lambda: verdict()["verdict"] == "yes", "looked again")
    box.tables["stage.keyed"]["word"] = "other"
    box.write()
    assert "reload first" in verdict()["why"]
    assert box.end() == 0
