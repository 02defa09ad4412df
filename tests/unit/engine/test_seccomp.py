"""The filter as data: what becomes of every system call, for both machines, without running one."""

from __future__ import annotations

import errno
import os
import platform
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from archived.engine.sandbox import seccomp
from archived.engine.sandbox.seccomp import Policy

MACHINES = ("x86_64", "aarch64")
ALLOW, ASK = 0x7FFF0000, 0x7FC00000
EPERM, ENOSYS = 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS


class Filter:
    """Runs a filter as the kernel does."""

    def __init__(self, machine: str, policy: Policy | None = None) -> None:
        self.lines = seccomp.program(policy or Policy(), machine)
        self.machine = machine
        self.numbers = {c.name: n for n, c in seccomp.table(machine).items()}

    def __call__(self, call: str | int, *arguments: int, architecture: int | None = None) -> int:
        number = self.numbers[call] if isinstance(call, str) else call
        data = {0: number, 4: architecture or seccomp.architecture(self.machine)}
        for place in range(6):
            given = arguments[place] if place < len(arguments) else 0
            data[16 + 8 * place] = given & 0xFFFFFFFF
        at = accumulator = 0
        while True:
            code, true, false, operand = self.lines[at]
            at += 1
            match code:
                case 0x20:
                    accumulator = data[operand]
                case 0x54:
                    accumulator &= operand
                case 0x05:
                    at += operand
                case 0x06:
                    return operand
                case 0x15:
                    at += true if accumulator == operand else false
                case 0x35:
                    at += true if accumulator >= operand else false
                case 0x45:
                    at += true if accumulator & operand else false
                case _:
                    raise AssertionError(code)


@pytest.mark.parametrize("machine", MACHINES)
def test_every_call_has_the_fate_that_its_rule_says(machine):
    run = Filter(machine)
    fates = {
        "allowed": ALLOW,
        "birth": ASK,
        "change": ASK,
        "refused": ASK,
        "ipc": ASK,
        "signal": ALLOW,
        "absent": ENOSYS,
        "attribute": 0x50000 | errno.EOPNOTSUPP,
    }
    for number, call in seccomp.table(machine).items():
        assert call.rule in seccomp.RULES
        if call.rule in fates:
            assert run(number) == fates[call.rule], call
        if call.rule == "own":
            assert run(number, 0) == ALLOW
            assert run(number, 7) == ASK


@pytest.mark.parametrize("machine", MACHINES)
def test_numbers_that_nobody_knows_do_not_exist(machine):
    run, known = Filter(machine), seccomp.table(machine)
    for number in (*range(600), 0x40000000, 0x40000000 + 302, 2**32 - 1):
        if number not in known:
            assert run(number) == ENOSYS, number
    other = next(m for m in MACHINES if m != machine)
    assert run("read", architecture=seccomp.architecture(other)) == ENOSYS
    assert run("read", architecture=0x40000003) == ENOSYS, "i386"


def test_the_numbers_are_those_of_this_machine():
    """The table is data for two machines; one of them can be compared with its kernel's header."""
    headers = {
        "x86_64": "/usr/include/x86_64-linux-gnu/asm/unistd_64.h",
        "aarch64": "/usr/include/asm-generic/unistd.h",
    }
    checked = 0
    for machine, header in headers.items():
        if not Path(header).exists():
            continue
        found = dict(
            re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)$", Path(header).read_text(), re.M)
        )
        for number, call in seccomp.table(machine).items():
            name = "fstatat" if machine == "aarch64" and call.name == "newfstatat" else call.name
            if name in found:
                assert int(found[name]) == number, (machine, call)
                checked += 1
    if not checked:
        pytest.skip("the kernel's headers are not installed")
    assert checked > 300


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("listening", [True, False])
def test_arguments_are_checked_where_they_matter(machine, listening):
    run = Filter(machine, Policy(listening=listening))
    asked = ASK if listening else EPERM
    for call, arguments, fate in (
        ("prctl", (1, signal.SIGKILL), ALLOW),
        ("prctl", (1, 0), asked),
        ("prctl", (36, 1), ALLOW),
        ("prctl", (36, 0), asked),
        ("prctl", (22, 2), asked),
        ("prctl", (15, 1), ALLOW),
        ("prctl", (4, 1), ALLOW),
        ("prctl", (35, 1), asked),
        ("setpriority", (os.PRIO_PROCESS, 0), ALLOW),
        ("setpriority", (os.PRIO_PROCESS, 9), asked),
        ("setpriority", (os.PRIO_PGRP, 0), asked),
        ("setpriority", (os.PRIO_USER, 0), asked),
        ("ioprio_set", (1, 0), ALLOW),
        ("ioprio_set", (2, 0), asked),
        ("ioprio_set", (3, 0), asked),
        ("fcntl", (3, 3), ALLOW),
        ("fcntl", (3, 8), asked),
        ("fcntl", (3, 15), asked),
        ("fcntl", (3, 10), asked),
        ("fcntl", (3, 1024), asked),
        ("fcntl", (3, 1026), asked),
        ("ioctl", (0, 0x5401), ALLOW),
        ("ioctl", (0, 0x5412), asked),
        ("ioctl", (0, 0x40086602), asked),
        ("ioctl", (0, 0x8901), asked),
        ("socket", (socket.AF_INET, 1), asked),
        ("socket", (16, 3, 0), asked),
        ("socket", (socket.AF_UNIX, 1), 0x50000 | errno.ECONNREFUSED),
        ("socketpair", (1, 1), ALLOW),
        ("socketpair", (1, 2 | 0o2000000), asked),
        ("socketpair", (2, 1), asked),
        ("openat", (0, 0, os.O_CREAT, 0o644), ALLOW),
        ("openat", (0, 0, os.O_CREAT, 0o4755), asked),
        ("openat", (0, 0, 0, 0o4755), ALLOW),
        ("openat", (0, 0, os.O_TMPFILE | 1, 0o2755), asked),
        ("mknodat", (0, 0, 0o104755), asked),
        ("openat", (0, 0, os.O_DIRECTORY, 0o4755), ALLOW),
        ("personality", (0xFFFFFFFF,), ALLOW),
        ("personality", (0x0400000,), asked),
        ("truncate", (0, 0), ALLOW),
    ):
        assert run(call, *arguments) == fate, (call, arguments)
    if not listening:
        for flags in (0x20000, 0x10000000, 0x40000000, 0x8000):
            assert run("clone", flags | 17) == EPERM
        assert run("clone", 17) == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_a_policy_opens_what_it_names_and_nothing_else(machine):
    network = Filter(machine, Policy(internet=True))
    assert network("socket", socket.AF_INET, socket.SOCK_STREAM | 0o2000000) == ALLOW
    assert network("socket", socket.AF_INET6, socket.SOCK_DGRAM) == ALLOW
    assert network("socket", socket.AF_INET, socket.SOCK_RAW) == ASK
    assert network("socket", socket.AF_NETLINK, 3, 0) == ALLOW
    assert network("socket", socket.AF_NETLINK, 3, 15) == ASK
    for family in (17, 38, 40, 44, 30, 15):  # packet, alg, vsock, xdp, tipc, key
        assert network("socket", family, 1) == ASK
    local = Filter(machine, Policy(local=True))
    assert local("socket", socket.AF_UNIX, 1) == local("socketpair", 1, 2) == ALLOW
    assert local("socket", socket.AF_INET, 1) == ASK
    shared = Filter(machine, Policy(groups=frozenset({"ipc"})))
    assert shared("shmget") == shared("mq_open") == shared("memfd_create") == ALLOW
    assert shared("ioctl", 0, 0x1234) == shared("keyctl") == ASK
    devices = Filter(machine, Policy(groups=frozenset({"devices"})))
    assert devices("ioctl", 0, 0x1234) == ALLOW
    assert devices("shmget") == ASK
    old = Filter(machine, Policy(emptying=True, signals=True))
    assert old("truncate") == old("kill", 7) == old("tgkill", 7, 7) == ASK
    assert old("openat", 0, 0, os.O_TRUNC) == old("openat", 0, 0, os.O_TRUNC | 3) == ASK
    assert old("openat", 0, 0, os.O_TRUNC | os.O_WRONLY) == ALLOW
    assert old("openat", 0, 0, os.O_TRUNC | os.O_RDWR | os.O_CREAT, 0o4644) == ASK


POLICIES = {
    "usual": "",
    "without a listener": "listening=False",
    "with sockets": "internet=True, local=True",
    "on an old kernel, with groups": "signals=True, emptying=True, groups=frozenset({'ipc'})",
}


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_the_kernel_takes_every_filter(policy):
    """Installed for real, in a process of its own."""
    if platform.machine() not in MACHINES:
        pytest.skip(f"not written for {platform.machine()}")
    script = f"""if True:
        import os
        from archived.engine.sandbox import seccomp, syscalls
        program = seccomp.program(seccomp.Policy({policy}))
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
        syscalls.install_filter(program)
        os.write(1, str(os.getppid()).encode())
        os._exit(0)
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout == str(os.getpid()).encode()
