"""Clean roots: what is passed in, what a command in one can and cannot do, what is left after it.

A root here is a folder that shows this machine's own programs: entering is the same, and no mirror
is needed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools import matrix
from tools.debian import clean_root

ROOT = Path(__file__).resolve().parents[3]


# -- how registries are reached --------------------------------------------------------------------


def test_only_what_says_how_to_fetch_is_passed_in() -> None:
    given = {
        "PIP_INDEX_URL": "x",
        "https_proxy": "p",
        "NO_PROXY": "n",
        "SSL_CERT_FILE": "/a",
        "REQUESTS_CA_BUNDLE": "/b",
        "PIP_CACHE_DIR": "/c",
        "HOME": "/h",
        "GITHUB_TOKEN": "secret",
        "MY_PIP_X": "y",
        "PYTHONPATH": "/z",
    }
    assert set(clean_root.fetching(given)) == {
        "PIP_INDEX_URL",
        "https_proxy",
        "NO_PROXY",
        "SSL_CERT_FILE",
        "REQUESTS_CA_BUNDLE",
    }


def test_files_that_they_name_are_seen_at_the_same_path(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    (tmp_path / "wheels").mkdir()
    given = {
        "PIP_CERT": str(tmp_path / "ca.pem"),
        "PIP_FIND_LINKS": f"https://example.org/ {tmp_path}/wheels {tmp_path}/absent",
        "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt",
    }
    binds = {b.target: b for b in clean_root.fetching_binds(given)} | {}
    binds.pop("/etc/pip.conf", None)
    assert sorted(binds) == [str(tmp_path / "ca.pem"), str(tmp_path / "wheels")]
    assert all(str(b.source) == b.target and not b.writable for b in binds.values())


def test_apt_gets_the_proxies_and_the_clock_of_this_machine_only() -> None:
    dumped = (
        'Acquire "";\nAcquire::http::Proxy "http://p:3142";\nAcquire::Check-Date "false";\n'
        'Acquire::https::Proxy::a.example "DIRECT";\nAcquire::Languages "none";\n'
        'DPkg::Post-Invoke:: "rm -rf /";\nAcquire::http::User-Agent "x";\n'
    )
    assert clean_root.apt_options(dumped) == [
        'Acquire::http::Proxy "http://p:3142";',
        'Acquire::Check-Date "false";',
        'Acquire::https::Proxy::a.example "DIRECT";',
    ]


def test_a_root_is_kept_by_what_it_is_made_of() -> None:
    key = clean_root.key
    assert key("trixie", ["b", "a"], []) == key("trixie", ["a", "b"], [])
    others = {
        key("trixie", ["a", "b"], []),
        key("bookworm", ["a", "b"], []),
        key("trixie", ["a"], []),
        key("trixie", ["a", "b"], ["x"]),
        key("trixie", ["a", "b", "x"], []),
    }
    assert len(others) == 5


def test_a_kept_root_is_used_until_it_is_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clean_root, "AUTHORITIES", tmp_path / "none")
    monkeypatch.setattr(clean_root, "fetching", lambda _: {})
    options = clean_root.apt_options(
        subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
    )
    kept = tmp_path / clean_root.key("trixie", ["a"], options)
    other = tmp_path / clean_root.key("bookworm", ["a"], options)
    for each in (kept, other, tmp_path / "notes.tar"):
        each.write_bytes(b"tar")
    long_ago = time.time() - clean_root.OLD - 60
    os.utime(other, (long_ago, long_ago))
    os.utime(tmp_path / "notes.tar", (long_ago, long_ago))
    assert clean_root.root("trixie", ["a"], tmp_path) == kept
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([kept.name, "notes.tar"])


# -- a command in a root ---------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root that shows this machine's programs read-only. Skips where none can be entered."""
    try:
        clean_root.need_to_enter()
    except clean_root.NotHere as why:
        pytest.skip(str(why))
    folder = tmp_path / "root"
    for name in ("etc", "proc", "sys", "dev", "run", "tmp", "usr"):
        (folder / name).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (folder / name).symlink_to(f"usr/{name}")
    return folder


def _run(
    root: Path, *argv: str, binds: tuple[object, ...] = (), **named: object
) -> tuple[int, str]:
    seen = (clean_root.Bind(Path("/usr"), "/usr"), *binds)
    output = root.parent / "output"
    with output.open("w") as file:
        status = clean_root.run(root, argv, binds=seen, output=file, **named)
    return status, output.read_text()


def test_a_command_sees_the_root_alone_and_its_status_is_told(root: Path, tmp_path: Path) -> None:
    (root / "tmp/here").touch()
    status, said = _run(root, "sh", "-c", f"ls /tmp; ls {tmp_path}; exit 7", folder="/tmp")
    assert status == 7
    assert "here" in said
    assert "No such file" in said
    assert not (root / ".outside").exists()


def test_what_is_bound_is_read_only_unless_it_says_so(root: Path, tmp_path: Path) -> None:
    for name in ("data", "cache"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    bind = clean_root.Bind
    status, said = _run(
        root,
        "sh",
        "-c",
        "cat /srv/data/file /srv/cache/file; echo new >/srv/cache/made; echo new >/srv/data/made",
        binds=(
            bind(tmp_path / "data", "/srv/data"),
            bind(tmp_path / "cache", "/srv/cache", writable=True),
        ),
    )
    assert status != 0
    assert "datacache" in said
    assert "Read-only file system" in said
    assert (tmp_path / "cache/made").read_text() == "new\n"
    assert sorted(p.name for p in (tmp_path / "data").iterdir()) == ["file"]


def test_no_mount_is_left_and_none_is_seen_outside(root: Path) -> None:
    status, said = _run(root, "sh", "-c", "mount -t tmpfs none /tmp && cat /proc/mounts")
    assert status == 0
    assert " /tmp tmpfs " in said
    assert str(root) not in Path("/proc/self/mountinfo").read_text()


def test_the_environment_is_what_was_given(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_THE_CALLER", "1")
    _, said = _run(root, "env", env={"GIVEN": "2"})
    names = {line.partition("=")[0] for line in said.splitlines()}
    assert {"GIVEN", "PATH", "HOME", "LANG"} <= names
    assert "OF_THE_CALLER" not in names


def test_the_first_process_waits_for_orphans(root: Path) -> None:
    orphan = (
        "import os, time\n"
        "reading, writing = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    if os.fork() == 0:\n"
        "        os.write(writing, b'%d' % os.getpid())\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        "orphan, ends = int(os.read(reading, 20)), time.monotonic() + 20\n"
        "while os.path.exists(f'/proc/{orphan}') and time.monotonic() < ends:\n"
        "    time.sleep(0.02)\n"
        "raise SystemExit(os.path.exists(f'/proc/{orphan}'))\n"
    )
    assert _run(root, "/usr/bin/python3", "-c", orphan)[0] == 0


def test_nothing_is_left_running_when_the_time_is_over(root: Path) -> None:
    mark = f"0.{os.getpid()}{time.monotonic_ns()}"
    script = f"setsid sh -c 'while :; do sleep {mark}; done' & sleep 600"
    with pytest.raises(subprocess.TimeoutExpired):
        _run(root, "sh", "-c", script, within=1.0)
    assert _until_gone(mark)


def test_nothing_is_left_running_when_the_caller_is_killed(root: Path) -> None:
    mark = f"0.{os.getpid()}{time.monotonic_ns()}"
    source = (
        "import sys; from pathlib import Path; from tools.debian import clean_root\n"
        "clean_root.run(Path(sys.argv[1]), ['sh', '-c', sys.argv[2]],\n"
        "               binds=[clean_root.Bind(Path('/usr'), '/usr')])\n"
    )
    script = f"echo started; while :; do sleep {mark}; done"
    with subprocess.Popen(
        [sys.executable, "-c", source, root, script], stdout=subprocess.PIPE, cwd=ROOT
    ) as caller:
        assert caller.stdout is not None
        assert caller.stdout.readline() == b"started\n"
        caller.kill()
    assert _until_gone(mark)


def _until_gone(mark: str) -> bool:
    ends = time.monotonic() + 20
    while time.monotonic() < ends:
        if not any(mark in line for line in _command_lines()):
            return True
        time.sleep(0.05)
    return False


def _command_lines() -> list[str]:
    lines = []
    for each in Path("/proc").glob("[0-9]*"):
        if int(each.name) == os.getpid():
            continue
        try:
            lines.append((each / "cmdline").read_text(errors="replace"))
        except OSError:
            continue
    return lines


# -- the matrix ------------------------------------------------------------------------------------

LOG = """== ./run test
....
=========================== short test summary info ============================
SKIPPED [2] tests/system/servers/conftest.py:30: ./run servers runs these
SKIPPED [1] tests/system/servers/conftest.py:31: ./run servers runs these
SKIPPED [1] plugins/ocr/tests/test_x.py:9: needs veraPDF
FAILED tests/a/test_b.py::test_c - AssertionError: assert 1 == 2
ERROR tests/a/test_b.py::test_d - OSError
= 1 failed, 2160 passed, 4 skipped, 3 warnings, 1 error in 1507.07s (0:25:07) ==
"""


def test_the_numbers_are_those_that_pytest_told() -> None:
    assert matrix.counts(LOG) == {"passed": 2160, "failed": 2, "skipped": 4}
    assert matrix.counts("================ 3 passed in 0.12s ================\n") == {
        "passed": 3,
        "failed": 0,
        "skipped": 0,
    }
    assert matrix.counts("Killed\n") == {}


def test_skips_are_told_with_their_reasons() -> None:
    assert matrix.skips(LOG) == ["3 x ./run servers runs these", "1 x needs veraPDF"]


def test_the_table_says_what_failed() -> None:
    steps = [matrix.Step(("demo",), 0, 61.4), matrix.Step(("test",), 1, 1507.1, matrix.counts(LOG))]
    base = matrix.Base("trixie", "3.13.5", "25.1.1", steps)
    lines = matrix.table([base]).splitlines()
    assert lines[1].split("  ") == ["Debian 13 (trixie)", "3.13.5", "25.1.1", "demo: 61 s"]
    assert "2160 passed, 2 failed, 4 skipped, 1507 s (ended with 1)" in lines[2]
    assert not base.good
    assert matrix.Base("trixie", steps=steps[:1]).good
    assert not matrix.Base("trixie").good, "nothing ran"


def test_the_copy_is_the_checkout_as_it_lies_here(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        names = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        return subprocess.run(
            ["git", *names, *words],
            cwd=tmp_path / "here",
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    here, copy = tmp_path / "here", tmp_path / "copy" / "of it"
    here.mkdir()
    git("init", "--quiet")
    for name in ("kept", "changed", "deleted", ".gitignore"):
        (here / name).write_text("hidden\n")
    git("add", ".")
    git("commit", "--quiet", "-m", "first")
    (here / "changed").write_text("changed")
    (here / "deleted").unlink()
    (here / "new").write_text("new")
    (here / "new").chmod(0o755)
    (here / "link").symlink_to("new")
    (here / "hidden").touch()
    matrix.copy_checkout(here, copy)
    assert sorted(p.name for p in copy.iterdir()) == [
        ".git",
        ".gitignore",
        "changed",
        "kept",
        "link",
        "new",
    ]
    assert (copy / "changed").read_text() == "changed"
    assert (copy / "new").stat().st_mode & 0o777 == 0o755
    asked = ["git", "-C", str(copy), "status", "--porcelain"]
    status = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
    assert status == git("status", "--porcelain")
    assert (copy / ".git").is_dir(), "a repository of its own"


def test_task_and_arguments_follow_two_hyphens() -> None:
    assert matrix.split(["--only", "trixie", "--", "test", "--", "-x"]) == (
        ["--only", "trixie"],
        ["test", "--", "-x"],
    )
    assert matrix.split(["--keep"]) == (["--keep"], [])
