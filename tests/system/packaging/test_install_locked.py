"""What a lock pins is what is installed, on any later day, whatever a registry offers by then.

And when it cannot be installed: a sentence with a code, and the next call works.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from archived.testing.ports import free_port
from tests.system.packaging import wheel_registry as registry

ROOT = Path(__file__).parents[3]
TOOL = ROOT / "tools" / "install_locked.py"
REQUIREMENTS = ROOT / "requirements"
LOCKS = sorted(path.stem for path in REQUIREMENTS.glob("*.txt"))
SLOW = pytest.mark.skipif(
    not os.environ.get("ARCHIVED_PACKAGING"), reason="./run packaging tries this; it takes longer"
)
PIPS = {"Debian 12": "pip-23.0.1", "Debian 13": "pip-25.1.1"}
HERE = "Debian 12" if sys.version_info < (3, 12) else "Debian 13"
"""The release whose Python this is, or is nearest to it."""


def pip_of(debian: str) -> dict[str, str]:
    """The environment in which `python -m pip` is the pip of a Debian release. May skip."""
    if debian == "Debian 12" and debian != HERE:
        pytest.skip("the pip of Debian 12 needs pkgutil.ImpImporter, which this Python has not")
    found = sorted(ROOT.glob(f".cache/pip/*/{PIPS[debian]}-py3-none-any.whl"))
    assert found, "the wheel of this pip is missing: ./run test downloads it"
    return {"PYTHONPATH": str(found[0])}


def surroundings(**more: str) -> dict[str, str]:
    """This process's environment without what it says about registries, and `more`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    return {**kept, "PIP_CONFIG_FILE": os.devnull, "PIP_NO_CACHE_DIR": "1", **more}


def offline(folder: Path, **more: str) -> dict[str, str]:
    """No registry but the wheels of one folder."""
    return surroundings(PIP_NO_INDEX="1", PIP_FIND_LINKS=str(folder / "index"), **more)


def call(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the tool as `run` does."""
    return subprocess.run(
        [sys.executable, TOOL, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=surroundings(**environment),
    )


def installed(environment: Path) -> dict[str, str]:
    """Distribution -> version of all that an environment holds, but for pip itself."""
    done = subprocess.run(
        [
            environment / "bin/python",
            "-c",
            "import importlib.metadata as m, json;"
            "print(json.dumps({d.name: d.version for d in m.distributions()}))",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    return {canonicalize_name(n): v for n, v in found.items() if n not in {"pip", "setuptools"}}


def wanted(lock: Path) -> dict[str, str]:
    """Distribution -> version that a lock pins for this Python."""
    return {
        canonicalize_name(name): registry.pinned_version(need)
        for name, need in registry.pins(lock).items()
        if (need.marker is None or need.marker.evaluate()) and name not in {"pip", "setuptools"}
    }


def install(environment: Path, lock: Path, where: dict[str, str]) -> None:
    """Install a lock by the tool's own function, with the pip that `where` brings."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    subprocess.run(
        [
            sys.executable,
            "-c",
            "import runpy, sys; from pathlib import Path; "
            "install = runpy.run_path(sys.argv[1])['install']; "
            "install([sys.argv[2]], Path(sys.argv[3]), folder=Path(sys.argv[2]))",
            TOOL,
            environment / "bin/python",
            lock,
        ],
        check=True,
        timeout=300,
        env={**where, "PYTHONSAFEPATH": "1"},
    )


@pytest.mark.parametrize("debian", ["Debian 12", pytest.param("Debian 13", marks=SLOW)])
def test_what_came_out_after_the_lock_is_not_taken(debian, tmp_path):
    """Every pinned distribution has a newer release that is broken; extras lead to them."""
    lock = registry.tempting(REQUIREMENTS / "dev.txt", tmp_path)
    install(tmp_path / "env", lock, offline(tmp_path, **pip_of(debian)))
    assert installed(tmp_path / "env") == wanted(lock)


def test_a_resolver_would_have_been_led_astray(tmp_path):
    """The world of the test above tempts: the call that once failed on Debian 12 fails in it."""
    pip = pip_of("Debian 12")
    lock = registry.tempting(REQUIREMENTS / "runtime.txt", tmp_path)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    done = subprocess.run(
        [tmp_path / "env/bin/python", "-m", "pip", "install", "--require-hashes", "-r", lock],
        capture_output=True,
        text=True,
        check=False,
        env=offline(tmp_path, **pip),
        timeout=300,
    )
    assert done.returncode != 0
    assert "must have their versions pinned" in done.stderr


@SLOW
@pytest.mark.parametrize("name", [n for n in LOCKS if n != "dev"])
def test_every_other_lock_is_taken_as_it_stands(name, tmp_path):
    lock = registry.tempting(REQUIREMENTS / f"{name}.txt", tmp_path)
    install(tmp_path / "env", lock, offline(tmp_path, **pip_of(HERE)))
    assert installed(tmp_path / "env") == wanted(lock)


@pytest.mark.parametrize("python", ["3.11", "3.13"])
@pytest.mark.parametrize("name", ["runtime", "dev"])
def test_a_lock_names_all_that_its_distributions_need(name, python):
    """With the extras, which `pip check` does not look at; for both Debians' Pythons."""
    import importlib.metadata

    lock = registry.pins(REQUIREMENTS / f"{name}.txt")
    marks = {"python_version": python, "python_full_version": f"{python}.0"}
    versions = {
        canonicalize_name(each): registry.pinned_version(need)
        for each, need in lock.items()
        if need.marker is None or need.marker.evaluate(marks)
    }
    todo = [(each, "") for each in versions]
    for project in [ROOT, *(ROOT / "plugins").iterdir()]:
        todo += [(need.name, extra) for need in _needs_of(project) for extra in need.extras]
    seen, lacking = set(), []
    while todo:
        each, extra = todo.pop()
        if (each, extra) in seen:
            continue
        seen.add((each, extra))
        for text in importlib.metadata.requires(each) or ():
            need = Requirement(text)
            if need.marker and not need.marker.evaluate({**marks, "extra": extra}):
                continue
            version = versions.get(canonicalize_name(need.name))
            if version is None or not need.specifier.contains(version, prereleases=True):
                lacking.append(f"{each}[{extra}] needs {need}; pinned: {version}")
            else:
                todo += [(canonicalize_name(need.name), more) for more in (*need.extras, "")]
    assert not lacking


def _needs_of(project: Path) -> list[Requirement]:
    import tomllib

    file = project / "pyproject.toml"
    if not file.exists():
        return []
    told = tomllib.loads(file.read_text())["project"]
    return [Requirement(text) for text in told["dependencies"] if not text.startswith("archived")]


# -- bad luck -------------------------------------------------------------------------------------


@pytest.fixture
def two(tmp_path) -> Path:
    """A lock of two wheels, in `tmp_path/index`."""
    first = registry.wheel(tmp_path / "index", "first-thing", "1.0", ("second-thing>=2",))
    second = registry.wheel(tmp_path / "index", "second-thing", "2.0")
    lock = tmp_path / "two.txt"
    lock.write_text(
        registry.line(first, "first-thing", "1.0") + registry.line(second, "second-thing", "2.0")
    )
    return lock


def place(tmp_path: Path) -> dict[str, str]:
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "index")}


@SLOW
@pytest.mark.parametrize(
    ("mood", "code"),
    [
        ("cut", "file-differs"),
        ("other", "file-differs"),
        ("busy", "no-registry"),
        ("silent", "no-registry"),
    ],
)
def test_a_registry_in_a_bad_mood_is_told_and_the_next_call_works(mood, code, two, tmp_path):
    spoilt = registry.Registry(tmp_path / "index")
    with spoilt.serving():
        where = {"PIP_INDEX_URL": spoilt.url, "PIP_RETRIES": "0", "PIP_DEFAULT_TIMEOUT": "2"}
        spoilt.mood = mood
        done = call(tmp_path / "env", two, **where)
        assert (done.returncode, f"[{code}]" in done.stderr) == (75, True), done.stderr
        assert "run the same command again" in done.stderr
        assert "Traceback" not in done.stderr
        assert spoilt.asked
        spoilt.mood = "good"
        spoilt.open.set()
        done = call(tmp_path / "env", two, **where)
    assert done.returncode == 0, done.stderr
    assert installed(tmp_path / "env") == {"first-thing": "1.0", "second-thing": "2.0"}


def test_a_registry_that_answers_slowly_is_waited_for(two, tmp_path):
    slow = registry.Registry(tmp_path / "index")
    slow.mood = "slow"
    with slow.serving():
        done = call(tmp_path / "env", two, PIP_INDEX_URL=slow.url)
    assert done.returncode == 0, done.stderr


@SLOW
def test_no_network_and_a_version_that_nobody_offers(two, tmp_path):
    nobody = f"http://127.0.0.1:{free_port()}/simple/"
    done = call(tmp_path / "env", two, PIP_INDEX_URL=nobody, PIP_RETRIES="0")
    assert (done.returncode, "[no-registry]" in done.stderr) == (75, True), done.stderr
    two.write_text(two.read_text().replace("==2.0", "==2.5"))
    done = call(tmp_path / "env", two, **place(tmp_path))
    assert (done.returncode, "[not-offered]" in done.stderr) == (75, True), done.stderr


def test_a_lock_that_is_not_complete_is_no_environment(two, tmp_path):
    two.write_text(two.read_text().partition("second-thing")[0])
    done = call(tmp_path / "env", two, **place(tmp_path))
    assert (done.returncode, "[lock-incomplete]" in done.stderr) == (75, True), done.stderr
    assert "second-thing" in done.stderr


@SLOW
def test_a_full_disk_is_told_and_the_next_call_works(two, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "none", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a file system of a few megabytes cannot be mounted here")
    try:
        done = call(disk / "env", two, **place(tmp_path))
        assert (done.returncode, "[disk-full]" in done.stderr) == (75, True), done.stderr
        subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
        assert call(disk / "env", two, **place(tmp_path)).returncode == 0
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


@SLOW
def test_killed_in_the_middle_the_next_call_makes_it_afresh(two, tmp_path):
    stuck = registry.Registry(tmp_path / "index")
    stuck.mood = "silent"
    with stuck.serving():
        process = subprocess.Popen(
            [sys.executable, TOOL, tmp_path / "env", two],
            start_new_session=True,
            stderr=subprocess.DEVNULL,
            env=surroundings(PIP_INDEX_URL=stuck.url),
        )
        limit = time.monotonic() + 60
        while not stuck.asked and time.monotonic() < limit:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert stuck.asked
    assert (tmp_path / "env/pyvenv.cfg").exists(), "it was in the middle"
    done = call(tmp_path / "env", two, **place(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "made afresh" in done.stderr
    assert installed(tmp_path / "env")["first-thing"] == "1.0"


@SLOW
def test_it_is_made_once_and_again_when_the_lock_or_the_python_is_another(two, tmp_path):
    where = place(tmp_path)
    assert call(tmp_path / "env", two, **where).returncode == 0
    trace = tmp_path / "env" / "trace"
    trace.touch()
    assert call(tmp_path / "env", two, **where).stderr == ""
    assert trace.exists()
    mark, note = tmp_path / "env/locked.sum", tmp_path / "env/pyvenv.cfg"
    mark.write_text(mark.read_text().replace("3.", "2."))
    note.write_text("home = /usr/bin\nversion = 3.9.2\n")
    done = call(tmp_path / "env", two, **where)
    assert done.returncode == 0
    assert "Python 3.9" in done.stderr
    assert not trace.exists()
    second = registry.wheel(tmp_path / "index", "second-thing", "3.0")
    first = two.read_text().partition("second-thing")[0]
    two.write_text(first + registry.line(second, "second-thing", "3.0"))
    assert call(tmp_path / "env", two, **where).returncode == 0
    assert installed(tmp_path / "env")["second-thing"] == "3.0"


def test_a_folder_of_somebodys_own_is_left_alone(two, tmp_path):
    own = tmp_path / "env"
    own.mkdir()
    (own / "letters.txt").write_text("mine")
    done = call(own, two, **place(tmp_path))
    assert (done.returncode, "[not-an-environment]" in done.stderr) == (75, True)
    assert (own / "letters.txt").read_text() == "mine"


@SLOW
def test_two_calls_at_once_make_one_environment(two, tmp_path):
    both = [
        subprocess.Popen(
            [sys.executable, TOOL, tmp_path / "env", two],
            stderr=subprocess.PIPE,
            text=True,
            env=surroundings(**place(tmp_path)),
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum("making" in each for each in said) == 1
    assert not any("afresh" in each for each in said)
