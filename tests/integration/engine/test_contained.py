"""A taken-over step tries to change other processes and other files, as root and as anybody else.

The attacks run in a real step of a real fork server. What they are aimed at is made by the test.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from archived.engine.sandbox import landlock
from archived.engine.sandbox.syscalls import NotPermitted

RUN = str(Path(__file__).with_name("run_taken_over.py"))
USERS = pytest.mark.parametrize("user", ["same", "ordinary"])


Run = Callable[..., tuple[Mapping[str, Any], list[str]]]


@pytest.fixture
def run(program) -> Run:
    """`run("files", "ordinary")`: what a step says that is asked to do it, and its notes."""

    def step(do: str, user: str = "same", **more: Any) -> tuple[Mapping[str, Any], list[str]]:
        done = program(RUN, json.dumps({"do": do, **more}), user=user)
        ending, message, facts, notes, same, held = json.loads(done.stdout)
        assert ending == "finished", (message, done.stderr)
        assert same, f"somebody else was changed: {facts}"
        assert held["calls"] == "yes (system call filter)"
        return facts, notes

    return step


def refused(ends: Mapping[str, str], *others: str) -> None:
    """Every attack failed, and because it was refused."""
    assert {name: end for name, end in ends.items() if end not in {"EPERM", *others}} == {}


@USERS
def test_a_step_changes_no_other_process(user, run):
    ends, (note,) = run("processes", user)
    refused(ends)
    assert note.startswith("system calls that a step may not make were refused: ")
    for name in ("prlimit64", "sched_setaffinity", "setpriority", "ioprio_set", "ptrace"):
        assert name in note, "the record names it"
    assert "prlimit64 (6)" in note


@USERS
def test_a_step_changes_no_file_of_others_by_any_way_to_name_it(user, run):
    ends, notes = run("files", user)
    # ENOTSUP: as by a file system without extended attributes. EXDEV: Landlock's, for a link.
    attributes = {"setxattr", "lsetxattr", "fsetxattr", "removexattr", "setxattrat", "file_setattr"}
    for name in attributes:
        assert ends[name] == "ENOTSUP", (name, ends[name])
    assert ends["a linked file"] in {"EXDEV", "EACCES", "EPERM"}
    assert ends["fchmod of a path"] in {"EPERM", "EBADF"}
    rest = {k: v for k, v in ends.items() if k not in attributes | {"a linked file"}}
    # An older kernel lacks fchmodat2; the filter answers before it.
    refused(rest, "EBADF")
    assert {k for k, v in rest.items() if v != "EPERM"} <= {"fchmod of a path"}
    assert "fcntl" in notes[0] and "inotify_add_watch" in notes[0]


@USERS
def test_a_step_uses_nothing_of_the_kernel_that_it_has_no_need_of(user, run):
    ends, notes = run("machine", user)
    absent = {name for name, end in ends.items() if end == "ENOSYS"}
    assert absent == {"clone3", "io_uring", "openat2", "no number"}
    refused({name: end for name, end in ends.items() if name not in absent})
    for name in ("keyctl", "shmget", "userfaultfd", "unshare", "clone", "bpf", "socketpair"):
        assert name in notes[0]


def test_swapping_what_a_path_leads_through_changes_nothing_outside(run):
    ends, _ = run("race")
    assert ends.get("done", 0) > 20, f"the file of its own was changed meanwhile: {ends}"
    assert sum(ends.values()) - ends.get("done", 0) > 20, f"and the other was refused: {ends}"
    assert set(ends) <= {"done", "EPERM", "ENOENT", "ELOOP", "ENOTDIR"}


@USERS
def test_a_step_changes_mode_and_times_of_its_own_files_as_ever(user, run):
    said, notes = run("own", user)
    assert said == {
        "copy2": [0o640, 1_000_000_000],
        "one": [0o604, 5],
        "by a link": 0o711,
        "missing": "ENOENT",
        "shell": [0, ""],
    }
    assert notes == [], "nothing that an honest step does is refused"


@USERS
def test_threads_choose_their_own_processors_and_priority(user, run):
    said, notes = run("threads", user)
    assert said == {"said": ["done"]}
    assert notes == []


@USERS
def test_a_step_signals_its_own_processes(user, run):
    said, notes = run("children", user)
    assert said == {"ends": [7, 7, "heard", "heard", "heard"]}
    assert notes == []


def test_a_stage_that_declares_groups_may_use_them_and_no_others(run):
    groups = {"stage": "shared", "limits": {"system_calls": ["ipc", "devices"]}}
    assert run("shared", **groups)[0] == {
        "queue": "done",
        "file in memory": "done",
        "keys": "EPERM",
        "ioctl": "ENOTTY",
    }
    alone, notes = run("shared")
    refused(alone)
    assert notes == [
        "system calls that a step may not make were refused: ioctl, keyctl, memfd_create, msgget"
    ]


def test_nothing_of_another_document_is_in_a_steps_memory(program):
    """Of one that runs now, and of one that ended; the search finds what is there."""
    done = program(RUN, json.dumps({"do": "remembered"}))
    beside, after, own = json.loads(done.stdout)
    assert beside == after == dict.fromkeys(("NGUYEN-VANAN", "FACTOF-ANOTHER", "NAMEOF-ANOTHER"), 0)
    assert own["OWN-WORD"] > 0


OLD = """
import errno, json, os, signal, socket, subprocess, sys, threading
from archived.engine.sandbox import confinement, process_limit, seccomp_listener
from archived.engine.protocol import StepLimits
from archived.engine.sandbox.landlock import Access
hand, theirs = socket.socketpair()
parent = os.getpid()
bystander = subprocess.Popen(["sleep", "60"], start_new_session=True)
child = os.fork()
if child:
    theirs.close()
    listens, _ = process_limit.take_listener(hand.fileno())
    answers = seccomp_listener.Listener(child, 50)
    try:
        while True:
            answers.answer(listens)
    except EOFError:
        os.waitpid(child, 0)
    bystander.kill()
    bystander.wait()
    raise SystemExit
os.setsid()
rules = [(path, Access.RUN) for path in ("/usr", "/lib", "/lib64")] + [("/dev/null", Access.USE)]
hand = theirs.detach()
held = confinement.confine(StepLimits(), parent, rules, hand=hand, newest=int(sys.argv[1]))
own = [subprocess.Popen(["/usr/bin/sleep", "60"], start_new_session=new) for new in (False, True)]
watch = os.pidfd_open(bystander.pid)
ends = {}
for name, act in {
    "kill": lambda: os.kill(bystander.pid, 9), "its group": lambda: os.killpg(bystander.pid, 9),
    "parent": lambda: os.kill(parent, 0), "all": lambda: os.kill(-1, 9),
    "descriptor": lambda: signal.pidfd_send_signal(watch, 9),
    "itself": lambda: os.kill(os.getpid(), 0), "its own group": lambda: os.kill(0, 0),
    "a child": lambda: own[0].kill(), "a child's group": lambda: os.killpg(own[1].pid, 9),
    "a thread": lambda: signal.pthread_kill(threading.get_ident(), 0),
}.items():
    try:
        act()
    except OSError as error:
        ends[name] = errno.errorcode[error.errno]
    else:
        ends[name] = "done"
print(json.dumps([held.signals, ends, [each.wait() for each in own]]), flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("abi", [2, 5])
def test_where_landlock_does_not_know_signals_the_filter_confines_them(abi):
    try:
        newest = landlock.version()
    except NotPermitted:
        newest = 0
    if abi > newest:
        pytest.skip(f"this kernel has Landlock ABI {newest}")
    command = [sys.executable, "-c", OLD, str(abi)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    held, ends, own = json.loads(done.stdout)
    assert held == "yes (system call filter)"
    refused = {"kill", "its group", "parent", "all", "descriptor"}
    assert ends == {name: "EPERM" if name in refused else "done" for name in ends}
    assert own == [-9, -9]
