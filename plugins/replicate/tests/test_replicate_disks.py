"""Copies while the process dies, the disk is full, read-only, absent, or the wrong one."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from archived.api import Postpone, parse_size


@pytest.mark.fault
def test_killed_at_any_moment_it_is_incomplete_to_see_and_goes_on(
    store, directory, versions, copy_to, tree, memory_disk
):
    """SIGKILL before every call that opens, makes or renames something at the target."""
    small = {name: content[:2000] for name, content in versions[0].items()}
    sealed = store.add(small)
    moments = 0
    while True:
        target = directory(memory_disk / f"killed-{moments}", allow_same_filesystem=True)
        status = run_and_die_at(moments, lambda t=target: copy_to(sealed, t))
        replica = target.options.path / "ocfl"
        there = tree(replica) if replica.exists() else {}
        assert there.items() <= store.files().items(), "a half-written file under a final name"
        if f"{store.key}/inventory.json.sha512" in there:
            assert there == store.files(), "looks complete, but is not"

        result = copy_to(sealed, target)

        assert tree(replica) == store.files()
        assert not result.facts["copies"]["second"]["quarantined"]
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            break
        assert os.WTERMSIG(status) == signal.SIGKILL
        moments += 7  # each of the 400 passes; these are every kind of call
    assert moments > 50


def test_several_steps_may_copy_to_an_empty_target_at_once(
    make_store, second, versions, copy_to, tree, tmp_path
):
    stores = [make_store(tmp_path / f"store-{n}", key=f"a/{n}/object") for n in range(6)]
    sealed = [store.add(versions[0]) for store in stores]
    children = []
    for one in sealed:
        if (child := os.fork()) == 0:
            work_and_exit(lambda one=one: copy_to(one, second))
        children.append(child)

    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 6
    wanted = {name: text for store in stores for name, text in store.files().items()}
    assert tree(second.options.path / "ocfl") == wanted


def run_and_die_at(moment: int, work: Callable[[], object]) -> int:
    """Fork, do `work`, die by SIGKILL at the `moment`th call that names something. Wait status."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    left = moment

    def hook(event: str, args: tuple[object, ...]) -> None:
        nonlocal left
        if event in ("open", "os.mkdir", "os.rename", "os.remove", "os.listdir"):
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

    sys.addaudithook(hook)
    return work_and_exit(work)


CALL = re.compile(r"(fsync|rename\w*)\((.*)\) += 0")


@pytest.mark.fault
def test_every_byte_and_every_name_is_on_the_disk_before_the_next_thing_relies_on_it(
    store, second, versions, copy_to, tmp_path
):
    """As the kernel sees it: fsync of the file, rename, fsync of its folder; the sidecar last."""
    if not shutil.which("strace"):
        pytest.skip("needs strace")
    sealed = store.add(versions[0])
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(reading, 1)
        work_and_exit(lambda: copy_to(sealed, second))
    log = tmp_path / "calls"
    with subprocess.Popen(
        ["strace", "-y", "-s", "4096", "-o", log, "-e", "trace=/fsync|rename.*", "-p", str(child)],
        stderr=subprocess.PIPE,
        text=True,
    ) as strace:
        said = strace.stderr.readline()
        os.write(writing, b"x")
        _, status = os.waitpid(child, 0)
        strace.communicate(timeout=60)
    if "attached" not in said:
        pytest.skip(f"strace may not look on here: {said.strip()}")
    assert status == 0

    calls = [found.groups() for found in map(CALL.match, log.read_text().splitlines()) if found]
    renamed = []
    for number, (call, text) in enumerate(calls):
        if call == "fsync":
            continue
        incoming, scratch, folder, name = re.fullmatch(
            r'\d+<(.*)>, "(.*)", \d+<(.*)>, "(.*)"(?:, \d+)?', text
        ).groups()
        before, after = calls[number - 1], calls[number + 1]
        assert before[0] == "fsync" and before[1].endswith(f"<{incoming}/{scratch}>")
        assert after[0] == "fsync" and after[1].endswith(f"<{folder}>")
        renamed.append(f"{folder}/{name}")
    replica = second.options.path / "ocfl"
    assert sorted(renamed) == sorted(str(replica / name) for name in store.files())
    assert [Path(path).name for path in renamed[-2:]] == ["inventory.json", "inventory.json.sha512"]
    # Every folder on the way is durable in the one above it.
    synced = {text.partition("<")[2].rstrip(">") for call, text in calls if call == "fsync"}
    folders = [path.parent for path in second.options.path.rglob("*") if path.is_dir()]
    assert {str(folder) for folder in folders} <= synced


def work_and_exit(work: Callable[[], object]) -> NoReturn:
    """The end of a fork, which must never return into pytest."""
    try:
        work()
    except BaseException:  # noqa: BLE001 - see above
        os._exit(1)
    os._exit(0)


# -- real file systems ---------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own with 384 KiB. Needs root and the right to mount."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    path = tmp_path / "small"
    path.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", "size=384k", "none", str(path)]
    if (tried := subprocess.run(argv, capture_output=True, text=True, check=False)).returncode:
        pytest.skip(f"cannot mount a tmpfs here: {tried.stderr.strip()}")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


def test_a_full_disk_is_waited_for_and_then_gone_on_with(
    store, directory, versions, copy_to, tree, small_disk
):
    sealed = store.add(versions[0])
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(200 << 10))
    target = directory(small_disk)

    with pytest.raises(Postpone) as waiting:
        copy_to(sealed, target)

    assert waiting.value.code == "target-full"
    assert not list((small_disk / ".incoming").iterdir())
    assert not (small_disk / "ocfl" / store.key / "inventory.json").exists()
    ballast.unlink()
    copy_to(sealed, target)
    assert tree(small_disk / "ocfl") == store.files()


def test_a_disk_that_turned_read_only_is_waited_for(
    store, directory, versions, copy_to, small_disk
):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)

    with pytest.raises(Postpone) as waiting:
        copy_to(store.add(versions[0]), directory(small_disk))

    assert waiting.value.code == "target-forbidden"


def test_a_disk_that_is_not_mounted_gets_nothing(store, directory, versions, copy_to, small_disk):
    target = directory(small_disk, require_mount=True)
    sealed = store.add(versions[0])
    copy_to(sealed, target)
    subprocess.run(["umount", str(small_disk)], check=True)
    try:
        for options in ({"require_mount": True}, {}):
            with pytest.raises(Postpone) as waiting:
                copy_to(sealed, directory(small_disk, **options))
            assert waiting.value.code in ("target-missing", "target-same-filesystem")
        assert not list(small_disk.iterdir())
    finally:
        subprocess.run(["mount", "-t", "tmpfs", "none", str(small_disk)], check=True)


def test_a_folder_on_a_mounted_disk_gets_copies_and_none_while_the_disk_is_away(
    store, directory, versions, copy_to, small_disk, tree
):
    """The form in which the documents show it: a mount point, and a folder on the disk."""
    path = small_disk / "archived"
    path.mkdir()
    sealed = store.add(versions[0])
    copy_to(sealed, directory(path, require_mount=small_disk))
    assert tree(path / "ocfl") == store.files()
    with pytest.raises(Postpone) as waiting:
        copy_to(sealed, directory(path, require_mount=True))
    assert f'write require_mount = "{small_disk}"' in str(waiting.value)
    subprocess.run(["umount", str(small_disk)], check=True)
    try:
        path.mkdir()  # somebody made it on the disk below
        with pytest.raises(Postpone) as waiting:
            copy_to(sealed, directory(path, require_mount=small_disk))
        assert waiting.value.code == "target-missing"
        assert not list(path.iterdir())
        path.rmdir()
    finally:
        subprocess.run(["mount", "-t", "tmpfs", "none", str(small_disk)], check=True)


def test_what_must_be_mounted_holds_the_path(directory, tmp_path):
    with pytest.raises(ValueError, match="a folder that holds `path`"):
        directory(tmp_path / "second", require_mount=Path("/mnt/third"))


@pytest.mark.parametrize("way", ["itself", "a link", "a path with spaces", "a disk bound there"])
def test_a_disk_counts_as_mounted_however_its_path_leads_there(
    store, directory, versions, copy_to, small_disk, tmp_path, way
):
    mount = small_disk
    if way != "itself":
        mount = tmp_path / "đĩa thứ hai \\ 2"
    if way == "a link":
        mount.symlink_to(small_disk)
    elif way != "itself":
        mount.mkdir()
        bound = ["mount", "--bind", str(small_disk), str(mount)]
        subprocess.run(bound, check=True)
    try:
        copy_to(store.add(versions[0]), directory(mount, require_mount=True))
        assert (small_disk / "ocfl").is_dir()
    finally:
        if mount != small_disk and not mount.is_symlink():
            subprocess.run(["umount", str(mount)], check=True)


def test_a_link_to_a_folder_of_another_disk_is_no_mount_point(
    store, directory, versions, copy_to, small_disk, tmp_path
):
    """Its disk may be away while the other is there."""
    (small_disk / "folder").mkdir()
    link = tmp_path / "link"
    link.symlink_to(small_disk / "folder")
    with pytest.raises(Postpone) as waiting:
        copy_to(store.add(versions[0]), directory(link, require_mount=True))
    assert waiting.value.code == "target-missing"
    assert not list((small_disk / "folder").iterdir())


def test_what_was_opened_before_the_disk_was_mounted_over_it_gets_nothing(
    store, directory, versions, copy_to, small_disk, monkeypatch
):
    target = directory(small_disk, require_mount=True)
    sealed = store.add(versions[0])
    subprocess.run(["umount", str(small_disk)], check=True)
    opened = os.open

    def open_then_mount(path, *arguments, **named):
        handle = opened(path, *arguments, **named)
        if Path(os.fsdecode(path)) == small_disk and not small_disk.is_mount():
            subprocess.run(["mount", "-t", "tmpfs", "none", str(small_disk)], check=True)
        return handle

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", open_then_mount)
        with pytest.raises(Postpone, match="was mounted at") as waiting:
            copy_to(sealed, target)
    assert waiting.value.code == "target-missing"
    subprocess.run(["umount", str(small_disk)], check=True)
    below = list(small_disk.iterdir())
    subprocess.run(["mount", "-t", "tmpfs", "none", str(small_disk)], check=True)
    assert below == []
    copy_to(sealed, target)


def test_a_path_that_leads_up_again_holds_nothing(directory, tmp_path):
    (tmp_path / "disk").mkdir()
    with pytest.raises(ValueError, match="a folder that holds `path`"):
        directory(tmp_path / "disk" / ".." / "second", require_mount=tmp_path / "disk")


def test_keep_free_counts_as_full(store, directory, versions, copy_to, tmp_path):
    greedy = directory(
        tmp_path / "second", allow_same_filesystem=True, keep_free=parse_size("4000 TiB")
    )

    assert greedy.free() == 0
    with pytest.raises(Postpone) as waiting:
        copy_to(store.add(versions[0]), greedy)

    assert waiting.value.code == "target-full"
    [problem] = greedy.check(store.root)
    assert "no copy can ever be written" in problem, "told before the first copy"


def test_the_stores_own_file_system_is_no_place_for_copies(
    store, directory, versions, copy_to, tmp_path
):
    sealed = store.add(versions[0])
    beside = directory(tmp_path / "second")

    with pytest.raises(Postpone) as waiting:
        copy_to(sealed, beside)

    assert waiting.value.code == "target-same-filesystem"
    assert not list(beside.options.path.iterdir())
    [problem] = beside.check(store.root)
    assert "same file system" in problem
