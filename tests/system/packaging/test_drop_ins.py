"""The drop-ins for the unit: systemd understands them, and they cost what they say they cost."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[3] / "systemd"
DROP_INS = sorted((UNITS / "examples").glob("*.conf"))

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


@pytest.mark.parametrize("drop_in", DROP_INS, ids=lambda path: path.stem)
def test_the_exposure_with_a_drop_in_is_the_one_it_names(drop_in, tmp_path):
    name = re.match(r"# /etc/systemd/system/(\S+)\.d/", drop_in.read_text())[1]
    here = str(Path(sys.executable).parent)
    for each in UNITS.iterdir():
        if each.is_file():
            unit = each.read_text().replace("/usr/bin/archive", f"{here}/archive")
            unit = unit.replace("/usr/lib/archived/bin/python3", sys.executable)
            (tmp_path / each.name).write_text(unit)
    # An instance cannot be judged without systemd running: the template under a plain name.
    both = tmp_path / name.replace("@", "")
    # PKCS#11's group is made by a package that is not everywhere.
    more = drop_in.read_text().replace("SupplementaryGroups=plugdev", "")
    both.write_text((tmp_path / name).read_text().partition("[Install]")[0] + more)
    verify = subprocess.run(
        ["systemd-analyze", "verify", both], check=False, capture_output=True, text=True, timeout=60
    )
    assert (verify.returncode, verify.stderr) == (0, "")
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", both],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    found = re.search(r"exposure level for \S+: (\d\.\d)", judged)
    said = re.search(r"Exposure with it: (\d\.\d) \(of 10\)", drop_in.read_text())
    assert (found[1], said[1]) == (said[1], found[1])


def test_there_are_drop_ins_for_shares_networks_secrets_and_tokens():
    assert [path.stem for path in DROP_INS] == [
        "credentials",
        "folders",
        "network-share",
        "network",
        "pkcs11",
        "state",
    ]
