"""What an upgrade tells the unit of the steps, out of what the unit of the service was told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from archived.cli.worker_drop_in import drop_in

USUAL = Path("/var/lib/archived")
LOCAL = {
    "IPAddressAllow": ["127.0.0.0/8 ::1/128"],
    "PrivateDevices": ["yes"],
    "SupplementaryGroups": [""],
    "MemoryDenyWriteExecute": ["yes"],
}


def test_an_installation_that_was_told_nothing_needs_nothing():
    assert drop_in(LOCAL, USUAL) == ""


def test_what_was_opened_for_the_sake_of_steps_stays_open():
    told = drop_in(
        {
            "IPAddressAllow": ["192.0.2.10/32 127.0.0.0/8 ::1/128"],
            "SupplementaryGroups": ["clamav plugdev"],
            "MemoryDenyWriteExecute": ["no"],
            "PrivateDevices": ["no"],
            "DeviceAllow": ["char-usb_device rw"],
        },
        USUAL,
    )
    assert told.partition("[Service]")[2].split("\n") == [
        "",
        "DeviceAllow=char-usb_device rw",
        "DevicePolicy=closed",
        "IPAddressAllow=192.0.2.10/32",
        "MemoryDenyWriteExecute=no",
        "PrivateDevices=no",
        "SupplementaryGroups=clamav",
        "SupplementaryGroups=plugdev",
        "",
    ]


def test_state_elsewhere_is_told_as_the_example_tells_it():
    example = Path(__file__).parents[3] / "systemd/examples/state.conf"
    told = drop_in(LOCAL, Path("/srv/state"))
    assert sorted(told.partition("[Service]")[2].split()) == sorted(
        example.read_text().partition("[Service]")[2].split()
    )


def test_the_packages_script_can_run_it(tmp_path):
    config = tmp_path / "archived.toml"
    config.write_text('[archive]\nstate = "/data/state"\n')
    done = subprocess.run(
        [sys.executable, "-m", "archived.cli.worker_drop_in"],
        input="IPAddressAllow=\n",
        env={"ARCHIVED_CONFIG": str(config)},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "BindPaths=-/data/state/work" in done.stdout
