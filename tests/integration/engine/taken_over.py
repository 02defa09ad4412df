"""A plug-in whose stage does what a taken-over step would: see test_contained.py."""

# ruff: noqa: PTH101, PTH123, RUF059, E731, B023, PLW1510, PLW2901, RET504 - attacks say what they
# call, and say it shortly

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import signal
import socket
import stat
import struct
import subprocess
import threading
import time
from pathlib import Path

from archived.api import Needs, Result, Stage, StageConfig, hookimpl
from archived.engine.sandbox.selftest_acts import call

libc = ctypes.CDLL(None, use_errno=True)
NOBODY = 61_998
"""A user of no process: were it not refused, nothing would happen."""


class Options(StageConfig):
    do: str
    pid: int = 0
    folder: str = ""
    given: Path | None = None
    words: tuple[tuple[str, str], ...] = ()


def tried(act):
    try:
        act()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"


def limit(pid, what, new):
    old = ctypes.create_string_buffer(16)
    call("prlimit64", pid, what, struct.pack("QQ", *new) if new else 0, old)


class Taken(Stage[Options]):
    name = "taken"
    version = "1"

    def run(self, document, context):
        self.context, self.options = context, context.options
        signal.alarm(100)
        return Result(facts=getattr(self, context.options.do)())

    def processes(self):
        pid = self.options.pid
        watch = os.pidfd_open(pid)
        param = struct.pack("i", 0)
        attributes = struct.pack("IIQiIQQQII", 56, 3, 0, 0, 0, 0, 0, 0, 0, 0)
        one, two = socket.socketpair()
        fork_server = os.getppid()
        return {
            name: tried(act)
            for name, act in {
                "no files": lambda: limit(pid, 7, (0, 0)),
                "no file size": lambda: limit(pid, 1, (0, 0)),
                "no processor time": lambda: limit(pid, 0, (1, 1)),
                "no memory": lambda: limit(pid, 9, (1, 1)),
                "no files for the fork server": lambda: limit(fork_server, 7, (0, 0)),
                "reading its limits": lambda: limit(pid, 7, None),
                "idle": lambda: call("sched_setscheduler", pid, 5, param),
                "attributes of scheduling": lambda: call("sched_setattr", pid, attributes, 0),
                "parameters of scheduling": lambda: call("sched_setparam", pid, param),
                "one processor": lambda: os.sched_setaffinity(pid, {0}),
                "the fork server on one processor": lambda: os.sched_setaffinity(fork_server, {0}),
                "nice": lambda: os.setpriority(os.PRIO_PROCESS, pid, 19),
                "nice for a group": lambda: os.setpriority(os.PRIO_PGRP, os.getpgid(pid), 19),
                "nice for all of a user": lambda: os.setpriority(os.PRIO_USER, NOBODY, 19),
                "idle disk": lambda: call("ioprio_set", 1, pid, 3 << 13),
                "idle disk for all of a user": lambda: call("ioprio_set", 3, os.getuid(), 3 << 13),
                "pages": lambda: call("migrate_pages", pid, 0, 0, 0),
                "killed": lambda: os.kill(pid, signal.SIGKILL),
                "killed by its group": lambda: os.killpg(os.getpgid(pid), signal.SIGKILL),
                "killed by descriptor": lambda: signal.pidfd_send_signal(watch, signal.SIGKILL),
                "killed as a thread": lambda: call("tgkill", pid, pid, signal.SIGKILL),
                "killed by a queued signal": lambda: call("rt_sigqueueinfo", pid, 9, bytes(128)),
                "killed by the kernel": lambda: fcntl.fcntl(one, fcntl.F_SETOWN, pid),
                "killed by the kernel, by ioctl": lambda: fcntl.ioctl(
                    one, 0x8901, struct.pack("i", pid)
                ),
                "traced": lambda: call("ptrace", 16, pid, 0, 0),
                "read": lambda: call("process_vm_readv", pid, 0, 0, 0, 0, 0),
                "written": lambda: call("process_vm_writev", pid, 0, 0, 0, 0, 0),
                "compared": lambda: call("kcmp", pid, os.getpid(), 0, 0, 0),
                "robbed": lambda: call("pidfd_getfd", watch, 0, 0),
                "advised": lambda: call("process_madvise", watch, 0, 0, 0, 0),
                "its namespaces": lambda: call("setns", watch, 0x40000000),
            }.items()
        }

    def files(self):
        there, given = Path(self.options.folder), self.options.given
        key, shut = there / "key", there / "catalog"
        times = struct.pack("4q", 1, 0, 1, 0)
        reading, path = os.open(given, os.O_RDONLY), os.open(given, os.O_PATH)
        outside, folder = os.open(key, os.O_PATH), os.open(there, os.O_PATH)
        own = self.context.folder
        (own / "link").symlink_to(key)
        (own / "up").symlink_to(os.path.relpath(there, own))
        (own / "proc").symlink_to(f"/proc/self/fd/{path}")
        os.chdir(own)
        b = os.fsencode
        bits = struct.pack("l", 0x40)
        ends = {
            name: tried(act)
            for name, act in {
                "chmod": lambda: os.chmod(key, 0o777),
                "chmod to nothing": lambda: os.chmod(shut, 0),
                "chmod by a link": lambda: os.chmod(own / "link", 0o777),
                "chmod through a link": lambda: os.chmod(own / "up/key", 0o777),
                "chmod by dots": lambda: os.chmod(os.path.relpath(key, own), 0o777),
                "chmod from a folder": lambda: os.chmod("key", 0o777, dir_fd=folder),
                "chmod from its folder": lambda: os.chmod("up/key", 0o777),
                "fchmodat2 empty": lambda: call("fchmodat2", outside, b"", 0o777, 0x1000),
                "fchmodat2 of a link": lambda: call("fchmodat2", -100, b(key), 0o777, 0x100),
                "chmod by /proc": lambda: os.chmod(f"/proc/self/fd/{outside}", 0o777),
                "chmod by a thread's /proc": lambda: os.chmod(
                    f"/proc/thread-self/fd/{outside}", 0o777
                ),
                "chmod by its number in /proc": lambda: os.chmod(
                    f"/proc/{os.getpid()}/fd/{outside}", 0o777
                ),
                "chmod by a link to /proc": lambda: os.chmod(own / "proc", 0o777),
                "chmod by /dev/fd": lambda: os.chmod(f"/dev/fd/{outside}", 0o777),
                "chmod by root": lambda: os.chmod(f"/proc/self/root{key}", 0o777),
                "fchmod of its document": lambda: os.fchmod(reading, 0o777),
                "fchmod of a path": lambda: os.fchmod(path, 0o777),
                "set-uid": lambda: os.chmod(key, 0o4755),
                "utime": lambda: os.utime(key, (1, 1)),
                "utime now": lambda: os.utime(key),
                "utime of its document": lambda: os.utime(reading, (1, 1)),
                "utime by a path descriptor": lambda: call(
                    "utimensat", outside, b"", times, 0x1000
                ),
                "old utime": lambda: call("utime", b(key), times),
                "old utimes": lambda: call("utimes", b(key), times),
                "old futimesat": lambda: call("futimesat", folder, b"key", times),
                "chown": lambda: os.chown(key, os.getuid() + 1, -1),
                "chown to the same": lambda: os.chown(key, os.getuid(), os.getgid()),
                "chown of its document": lambda: os.fchown(reading, os.getuid(), os.getgid()),
                "chown empty": lambda: call(
                    "fchownat", outside, b"", os.getuid(), os.getgid(), 0x1000
                ),
                "lchown": lambda: os.lchown(key, os.getuid(), os.getgid()),
                "setxattr": lambda: os.setxattr(key, "user.x", b"x"),
                "lsetxattr": lambda: os.setxattr(key, "user.x", b"x", follow_symlinks=False),
                "fsetxattr": lambda: os.setxattr(reading, "user.x", b"x"),
                "removexattr": lambda: os.removexattr(key, "user.kept"),
                "setxattrat": lambda: call("setxattrat", -100, b(key), 0, b"user.x", 0, 0),
                "file_setattr": lambda: call("file_setattr", -100, b(key), bytes(24), 24, 0),
                "attributes of its document": lambda: fcntl.ioctl(reading, 0x40086602, bits),
                "lease": lambda: fcntl.fcntl(reading, fcntl.F_SETLEASE, fcntl.F_RDLCK),
                "news of a folder": lambda: call("inotify_add_watch", 0, b(there), 0xFFF),
                "a handle": lambda: call(
                    "name_to_handle_at", -100, b(key), bytes(136), bytes(4), 0
                ),
                "open by handle": lambda: call("open_by_handle_at", folder, bytes(136), 0),
                "set-uid from birth": lambda: os.open(
                    own / "new", os.O_CREAT | os.O_WRONLY, 0o4755
                ),
                "set-uid by mknod": lambda: os.mknod(own / "node", 0o104755),
                "set-uid of its own": lambda: ((own / "p").touch(), os.chmod(own / "p", 0o6755)),
                "a linked file": lambda: os.link(given, own / "hard"),
            }.items()
        }
        return ends

    def machine(self):
        buffer = ctypes.create_string_buffer(256)
        clone = lambda flags: call("clone", flags | signal.SIGCHLD, 0, 0, 0, 0) or os._exit(0)
        one, two = socket.socketpair()
        return {
            name: tried(act)
            for name, act in {
                "user namespace": lambda: call("unshare", 0x10000000),
                "mount namespace": lambda: call("unshare", 0x20000),
                "user namespace by clone": lambda: clone(0x10000000),
                "pid namespace by clone": lambda: clone(0x20000000),
                "given to the grandparent": lambda: clone(0x8000),
                "clone3": lambda: call("clone3", buffer, 88),
                "io_uring": lambda: call("io_uring_setup", 4, buffer),
                "openat2": lambda: call("openat2", -100, b"/", bytes(24), 24),
                "keyring": lambda: call("add_key", b"user", b"note", b"x", 1, -4),
                "keys": lambda: call("keyctl", 0, -3, 0),
                "asking": lambda: call("request_key", 0, 0, 0, 0),
                "shared memory": lambda: call("shmget", 0x5EC5ED, 4096, 0o1600),
                "queue": lambda: call("msgget", 0x5EC5ED, 0o1600),
                "semaphore": lambda: call("semget", 0x5EC5ED, 1, 0o1600),
                "posix queue": lambda: call("mq_open", b"x", os.O_CREAT | os.O_RDWR, 0o600, 0),
                "file in memory": lambda: call("memfd_create", b"x", 0),
                "secret memory": lambda: call("memfd_secret", 0),
                "page faults": lambda: call("userfaultfd", 1),
                "bpf": lambda: call("bpf", 0, buffer, 48),
                "perf": lambda: call("perf_event_open", buffer, 0, -1, -1, 0),
                "mount": lambda: call("mount", b"x", b"/", b"tmpfs", 0, 0),
                "new mount": lambda: call("fsopen", b"tmpfs", 0),
                "chroot": lambda: os.chroot("/"),
                "module": lambda: call("init_module", 0, 0, 0),
                "log": lambda: call("syslog", 3, buffer, 9),
                "clock": lambda: call("clock_settime", 0, bytes(16)),
                "swap": lambda: call("swapoff", b"x"),
                "quota": lambda: call("quotactl", 0, 0, 0, 0),
                "another filter": lambda: call("seccomp", 1, 0, buffer),
                "a filter by prctl": lambda: call("prctl", 22, 2, buffer, 0, 0),
                "fanotify": lambda: call("fanotify_init", 0, 0),
                "inotify": lambda: call("inotify_init1", 0),
                "packets": lambda: socket.socket(17, 3),
                "encryption": lambda: socket.socket(38, 5),
                "virtual machines": lambda: socket.socket(40, 1),
                "netlink": lambda: socket.socket(16, 3, 15),
                "kernel keys": lambda: socket.socket(15, 3),
                "a pair to be connected elsewhere": lambda: socket.socketpair(
                    type=socket.SOCK_DGRAM
                ),
                "terminal": lambda: fcntl.ioctl(one, 0x5412, b"x"),
                "executable data": lambda: call("personality", 0x0400000),
                "living on": lambda: call("prctl", 1, 0, 0, 0, 0),
                "orphans given away": lambda: call("prctl", 36, 0, 0, 0, 0),
                "no number": lambda: (
                    libc.syscall(9999) and (_ for _ in ()).throw(OSError(ctypes.get_errno(), ""))
                ),
            }.items()
        }

    def race(self):
        """One thread changes modes by a path; another swaps what the path leads through."""
        own, there = self.context.folder, Path(self.options.folder)
        (own / "a").mkdir()
        (own / "a/key").touch()
        (own / "b").symlink_to(there)
        done = threading.Event()
        renameat2 = lambda: call("renameat2", -100, b"a", -100, b"b", 2)  # RENAME_EXCHANGE

        def swap():
            while not done.is_set():
                renameat2()

        text = ctypes.create_string_buffer(os.fsencode(own / "a/key"))
        other = os.fsencode(there / "key")

        def rewrite():
            mine = text.value
            while not done.is_set():
                ctypes.memmove(text, other, len(other) + 1)
                ctypes.memmove(text, mine, len(mine) + 1)

        os.chdir(own)
        threads = [threading.Thread(target=swap), threading.Thread(target=rewrite)]
        for thread in threads:
            thread.start()
        ends = {}
        until = time.monotonic() + 6
        while time.monotonic() < until:
            for path in (b"a/key", b"b/key", text):
                end = tried(lambda: call("chmod", path, 0o751))
                ends[end] = ends.get(end, 0) + 1
        done.set()
        for thread in threads:
            thread.join()
        return ends

    def own(self):
        own = self.context.folder
        os.chdir(own)
        one, two = own / "one.txt", own / "two.txt"
        one.write_text("x")
        os.utime(one, (1_000_000_000, 1_000_000_000))
        one.chmod(0o640)
        said = {}
        shutil.copy2(one, two)
        said["copy2"] = [stat.S_IMODE(two.stat().st_mode), int(two.stat().st_mtime)]
        (own / "tree/inner").mkdir(parents=True)
        (own / "tree/inner/f").write_text("x")
        (own / "tree/link").symlink_to("inner/f")
        shutil.copytree(own / "tree", own / "copied")
        os.chmod("one.txt", 0o600)
        folder = os.open(own, os.O_RDONLY)
        os.chmod("one.txt", 0o644, dir_fd=folder)
        with open("one.txt") as file:
            os.fchmod(file.fileno(), 0o604)
            os.utime(file.fileno(), (5, 5))
        os.chmod("tree/link", 0o711)
        os.chown("one.txt", os.getuid(), -1)
        os.utime("tree/link", (7, 7), follow_symlinks=False)
        said["one"] = [stat.S_IMODE(one.stat().st_mode), int(one.stat().st_mtime)]
        said["by a link"] = stat.S_IMODE((own / "tree/inner/f").stat().st_mode)
        said["missing"] = tried(lambda: os.chmod("missing", 0o600))
        import tempfile

        with tempfile.TemporaryFile() as file:
            os.fchmod(file.fileno(), 0o600)
        script = """
            set -e
            cp -p one.txt three.txt; touch -d 2001-02-03 three.txt; chmod u+x three.txt
            mkdir d; cp -a tree d/; chmod -R go-rwx d; install -m 640 one.txt four.txt
            tar cf a.tar tree; mkdir e; tar xpf a.tar -C e; mv four.txt five.txt; rm -r d e
        """
        shell = subprocess.run(["sh", "-c", script], capture_output=True, text=True)
        said["shell"] = [shell.returncode, shell.stderr]
        return said

    def threads(self):
        """Every thread says where it runs and how, as libraries with threads do."""
        said = set()

        def work():
            me, cpus = threading.get_native_id(), os.sched_getaffinity(0)
            said.add(tried(lambda: os.sched_setaffinity(me, cpus)))
            said.add(tried(lambda: os.sched_setaffinity(os.getpid(), cpus)))
            said.add(tried(lambda: os.setpriority(os.PRIO_PROCESS, me, 19)))
            said.add(tried(lambda: os.sched_setscheduler(me, os.SCHED_BATCH, os.sched_param(0))))
            said.add(tried(lambda: call("ioprio_set", 1, me, 3 << 13)))
            said.add(tried(lambda: limit(os.getpid(), 7, None)))

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return {"said": sorted(said)}

    def children(self):
        """Signals within the step: to a child, to a group, to a thread, to all of its own."""
        script = "trap 'exit 7' TERM; echo; while :; do sleep 0.05; done"
        ends = []
        for new, send in ((False, lambda p: p.terminate()), (True, lambda p: os.killpg(p.pid, 15))):
            process = subprocess.Popen(["sh", "-c", script], stdout=-1, start_new_session=new)
            process.stdout.readline()
            send(process)
            ends.append(process.wait())
        signal.signal(signal.SIGUSR1, lambda *_: ends.append("heard"))
        os.kill(os.getpid(), signal.SIGUSR1)
        signal.raise_signal(signal.SIGUSR1)
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        return {"ends": ends}

    def shared(self):
        ends = {
            "queue": tried(lambda: call("msgctl", call("msgget", 0, 0o600), 0, 0)),
            "file in memory": tried(lambda: os.close(os.memfd_create("x"))),
            "keys": tried(lambda: call("keyctl", 0, -3, 0)),
        }
        one, two = socket.socketpair()
        return ends | {"ioctl": tried(lambda: fcntl.ioctl(one, 0x1234))}

    def say(self):
        print(self.options.words[0][0], flush=True)
        (self.context.folder / "said").touch()
        for _ in range(2000):
            if (Path(self.options.folder) / "enough").exists():
                break
            time.sleep(0.01)
        os.chmod(self.context.folder, 0o700)
        return {"fact": self.options.words[1][0]}

    def remembered(self):
        """Which words stand anywhere in its own memory. Each is given in two halves."""
        found = {}
        with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
            for line in maps:
                if " r" not in line or "[v" in line:
                    continue
                first, last = (int(end, 16) for end in line.split()[0].split("-"))
                try:
                    memory.seek(first)
                    data = memory.read(last - first)
                except (OSError, ValueError):
                    continue
                for one, two in self.options.words:  # never put together: it would be found
                    one, two, many = one.encode(), two.encode(), 0
                    at = data.find(one)
                    while at >= 0:
                        end = at + len(one)
                        many += data[end : end + len(two)] == two
                        at = data.find(one, end)
                    found["-".join(map(bytes.decode, (one, two)))] = many + found.get(
                        "-".join(map(bytes.decode, (one, two))), 0
                    )
        return found


class Shared(Taken):
    name = "shared"
    needs = Needs(system_calls=("ipc", "devices"))


@hookimpl
def register_stages(register):
    register(Taken)
    register(Shared)
