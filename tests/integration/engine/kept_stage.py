"""A plug-in whose stage keeps its worker and misbehaves on request: see test_kept.py."""

# ruff: noqa: PTH102, PTH123, PTH109, PTH115, PTH208, PLW0108, SIM115 - attacks say what they call, and what
# is left open is left open on purpose

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from archived.api import (
    Artifact,
    Needs,
    Postpone,
    Refuse,
    Result,
    Role,
    Stage,
    StageConfig,
    hookimpl,
)
from archived.engine.worker import kept_child

MODULE = sys.modules[__name__]
"""Globals survive a step as `self` does."""


class Options(StageConfig):
    do: str = "count"
    text: str = ""
    number: int = 0
    named: Path | None = None


class Kept(Stage[Options]):
    name = "kept"
    version = "1"
    needs = Needs(worker="kept")

    def __init__(self):
        self.steps = 0
        self.held = []
        self.seen = []

    def run(self, document, context):
        self.steps += 1
        self.document, self.context, self.options = document, context, context.options
        self.facts = {"pid": os.getpid(), "steps": self.steps}
        do = document.given.get("do", self.options.do)
        done = getattr(self, do.replace("-", "_"))() or {}
        self.seen.append((document.main.path, context.folder))
        return done if isinstance(done, Result) else Result(facts={**self.facts, **done})

    def say(self, key, default=None):
        return self.document.given.get(key, default)

    def count(self):
        return {"text": self.document.main.path.read_text(), "cwd": os.getcwd()}

    def make(self):
        self.context.progress(0.5)
        print(f"step {self.steps} speaks")
        made = self.context.new_file("a.txt", media_type="text/plain", role=Role.TEXT)
        made.path.write_text(f"of {self.document.id}")
        return Result(replace_main=made, facts=self.facts)

    def refuse(self):
        raise Refuse("blank", code="blank-page")

    def postpone(self):
        raise Postpone("no answer", code="server-down", after="90 s")

    def fail(self):
        raise RuntimeError("it cannot")

    def segfault(self):
        ctypes.string_at(0)

    def leave(self):
        os._exit(0)

    def wait(self):
        Path(self.context.folder, "ready").touch()
        there = Path(self.say("go"))
        while not there.exists():
            time.sleep(0.01)

    def hang(self):
        subprocess.Popen(["setsid", "sleep", "1000"])
        Path(self.context.folder, "ready").touch()
        time.sleep(1000)

    def spin(self):
        while True:
            pass

    def eat_memory(self):
        while True:
            self.held.append(bytearray(16 * 2**20))

    def leak_memory(self):
        self.held.append(bytearray(self.say("bytes")))

    def leave_processes(self):
        subprocess.Popen(["setsid", "sh", "-c", "sleep 1000 & sleep 1000"])
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(1000)
            os._exit(0)
        os.wait()

    def own_tree(self):
        children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
        return {"children": len(children)}

    def leave_a_file_open(self):
        self.held.append(open(self.document.main.path, "rb"))

    def leave_an_alarm(self):
        signal.setitimer(signal.ITIMER_REAL, 0.3)

    def outlast_an_alarm(self):
        time.sleep(0.6)

    def former(self):
        """What can be reached of the document before, by every way that a stage has."""
        main, folder = self.seen[-1]
        work, kept = Path(self.say("work")), self.held[-1]
        ways = {
            "its document, by the path it had": lambda: main.read_bytes(),
            "its folder, by the path it had": lambda: os.listdir(folder),
            "another document": lambda: os.listdir(self.document.main.path.parents[2])[1],
            "another step": lambda: os.listdir(self.context.folder.parent)[1],
            "the folder of all steps": lambda: os.listdir(work),
            "its folder, where it is now": lambda: os.listdir(work / folder.name),
            "its file, where it is now": lambda: (work / folder.name / ".left/mine").read_bytes(),
            "its document, where it is now": lambda: os.listdir(work / folder.name / ".input"),
            "the spool": lambda: os.listdir(work.parent),
            "the original in the spool": lambda: Path(self.say("spooled")).read_bytes(),
            "its file, by a folder kept open": lambda: os.open("mine", os.O_RDONLY, dir_fd=kept),
            "its folder, by itself": lambda: os.open(".", os.O_RDONLY, dir_fd=kept),
            "a new file, by a folder kept open": lambda: os.open(
                "new", os.O_CREAT | os.O_WRONLY, dir_fd=kept
            ),
            "by the descriptor's name": lambda: os.listdir(f"/proc/self/fd/{kept}"),
            "up from there": lambda: os.listdir(f"/proc/self/fd/{kept}/.."),
        }
        return {name: self.tried(act) for name, act in ways.items()}

    def tried(self, act):
        try:
            act()
        except (OSError, IndexError) as error:
            return type(error).__name__
        return "done"

    def lie(self):
        """What a worker does not say that was taken over: that it still holds something."""
        kept_child.KeptConnection._holds_files = lambda _: False

    def keep_a_folder(self):
        self.lie()
        (self.context.folder / "mine").write_text("secret")
        self.held.append(os.open(self.context.folder, os.O_RDONLY | os.O_DIRECTORY))

    def write_the_document(self):
        main = self.document.main.path
        return {
            "write": self.tried(lambda: main.write_text("other")),
            "append": self.tried(lambda: open(main, "ab")),
            "truncate": self.tried(lambda: os.truncate(main, 0)),
            "chmod": self.tried(lambda: main.chmod(0o666)),
            "unlink": self.tried(lambda: main.unlink()),
            "beside": self.tried(lambda: (main.parent / "new").write_text("x")),
            "rename": self.tried(lambda: main.rename(self.context.folder / "taken")),
            "link": self.tried(lambda: os.link(main, self.context.folder / "linked")),
        }

    def beside_its_folder(self):
        """Something for the next step, where it would find it."""
        return {"made": self.tried(lambda: (self.context.folder.parent / "note").write_text("x"))}

    def list_beside(self):
        return {"beside": sorted(os.listdir(self.context.folder.parent))}

    def become_a_link(self):
        """Its folder is a link to one that the daemon reads, with a file that it returns."""
        folder = self.context.folder
        os.chdir("/")
        folder.rename(folder.with_name("moved"))
        folder.symlink_to(self.say("outside"))
        made = Artifact(folder / "key", "key", "application/octet-stream", Role.METADATA)
        return Result(add=[made], facts=self.facts)

    def litter(self):
        """Many names beside its folder."""
        for number in range(self.say("many")):
            os.mkdir(self.context.folder.parent / str(number))

    def compute(self):
        """Honest work that takes more than may be taken between two steps."""
        began = time.process_time()
        while time.process_time() - began < 6:
            pass

    def spin_while_idle(self):
        def spin():
            while True:
                pass

        threading.Thread(target=spin, daemon=True).start()

    def change_after_the_end(self):
        """The file that it returns is changed by a thread that goes on."""
        self.lie()
        made = self.context.new_file("a.txt", media_type="text/plain", role=Role.TEXT)
        made.path.write_text("as returned")
        file = open(made.path, "r+b", buffering=0)
        self.held.append(file)

        return Result(replace_main=made, facts=self.facts)

    def change_it_now(self):
        os.pwrite(self.held[-1].fileno(), b"CHANGED LATER", 0)

    def line(self):
        """The socket of the worker's line: found among the descriptors."""
        for name in os.listdir("/proc/self/fd"):
            try:
                line = socket.socket(fileno=os.dup(int(name)))
            except OSError:
                continue
            if line.type == socket.SOCK_SEQPACKET:
                return line
            line.close()
        raise LookupError

    def say_done_early(self):
        self.line().send(b"done")
        time.sleep(1000)

    def say_done_twice(self):
        line = self.line()
        MODULE.__dict__["later"] = later = threading.Timer(0.2, lambda: line.send(b"done"))
        later.start()

    def say_begun_twice(self):
        self.line().send(b"begun")
        time.sleep(1000)

    def flood_the_line(self):
        line = self.line()
        line.setblocking(True)
        for _ in range(10_000):
            line.send(b"x" * 100_000)

    def pass_descriptors(self):
        line = self.line()
        for _ in range(200):
            socket.send_fds(line, [b"begun"], [0, 1, 2])

    def close_the_line(self):
        line = self.line()
        line.shutdown(socket.SHUT_RDWR)

    def close_the_line_and_spin(self):
        self.close_the_line()
        signal.signal(signal.SIGXCPU, signal.SIG_IGN)
        self.spin()

    def answer_late(self):
        """A copy of the reply's descriptor is kept, and written to in the next step."""
        self.held.append([os.dup(n) for n in range(3, 40) if self.is_pipe(n)])

    def is_pipe(self, number):
        try:
            return os.readlink(f"/proc/self/fd/{number}").startswith("pipe:")
        except OSError:
            return False

    def use_the_old_answer(self):
        def write(fd):
            os.write(fd, b'{"outcome": {"ending": "finished"}}\n')

        return {"late": sorted({self.tried(lambda fd=fd: write(fd)) for fd in self.held[-1]})}

    def answer_twice(self):
        for fd in range(3, 40):
            if self.is_pipe(fd):
                os.write(fd, b'{"outcome": {"ending": "finished"}}\n')

    def claim_confinement(self):
        for fd in range(3, 40):
            if self.is_pipe(fd):
                os.write(fd, b'{"confinement": {"limits": "yes (all is well)"}}\n')

    def fork_while_idle(self):
        def later():
            time.sleep(0.3)
            subprocess.Popen(["sleep", "1000"])

        threading.Thread(target=later, daemon=True).start()

    def die_while_idle(self):
        threading.Timer(0.2, lambda: os._exit(9)).start()

    def hold_everything(self):
        """From now on no other thread of this process runs Python: the next job is not taken."""

        def later():
            time.sleep(0.3)
            ctypes.PyDLL(None).sleep(1000)  # with the interpreter's lock

        threading.Thread(target=later, daemon=True).start()

    def confined(self):
        words = Path("/proc/self/status").read_text()
        status = dict(line.split(":\t", 1) for line in words.splitlines() if ":\t" in line)
        return {
            "seccomp": status["Seccomp"],
            "no_new_privs": status["NoNewPrivs"],
            "capabilities": status["CapEff"],
            "network": self.tried(
                lambda: socket.create_connection(("127.0.0.1", self.say("port")), 5)
            ),
            "socket": self.tried(lambda: socket.socket(socket.AF_NETLINK)),
            "ptrace": ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0),
            "passwd": self.tried(lambda: Path(self.say("outside")).read_bytes()),
            "kill": self.tried(lambda: os.kill(os.getppid(), 0)),
        }

    # Found by somebody who came later -----------------------------------------------------------

    def take(self):
        time.sleep(self.say("takes"))

    def compute_below(self):
        """Processor time of a child that nobody waits for."""
        there = self.context.folder / "computed"
        code = f"import time\nwhile time.process_time() < {self.say('takes')}: pass\n"
        code += f"open({str(there)!r}, 'w').close()\ntime.sleep(1000)"
        subprocess.Popen([sys.executable, "-c", code])
        while not there.exists():
            time.sleep(0.02)

    def print_in_c(self):
        ctypes.CDLL(None).puts(f"printed in C by {self.document.id}".encode())

    def print_much_in_c(self):
        for _ in range(2000):
            ctypes.CDLL(None).puts(b"another line of a library")

    def lead_out(self):
        """A link beside its folder, and a file of its own by the way that the link takes later."""
        folder = self.context.folder
        (folder.parent / "way").symlink_to(self.say("outside"))
        path = folder / ".left-all" / "steps" / "way" / "planted"
        path.parent.mkdir(parents=True)
        path.write_text("planted")
        made = Artifact(path, "planted", "application/octet-stream", Role.METADATA)
        return Result(add=[made], facts=self.facts)

    def forge_the_next(self):
        """The next step's folder is there before the daemon makes it, with what it will return."""
        self.lie()

        folder = self.context.folder.parent / self.say("next")

        def later():
            time.sleep(0.3)
            folder.mkdir()
            (folder / "a.txt").write_text("FORGED")

        MODULE.__dict__["later"] = thread = threading.Thread(target=later, daemon=True)
        thread.start()

    def litter_descriptors(self):
        try:
            while True:
                self.held.append(os.dup(0))
        except OSError:
            os.close(self.held.pop())

    def escape(self):
        """A process without mark, session, parent or name of the step's: who would look for it?"""
        libc = ctypes.CDLL(None)
        libc.prctl(36, 0, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: orphans are not given to us
        inner = "import ctypes, os; ctypes.CDLL(None).prctl(15, b'kworker/0:0'); os.setsid()\n"
        code = (
            inner + f"open({str(self.context.folder / 'out')!r}, 'w').close()\n"
            "import time; time.sleep(1000)"
        )
        if os.fork() == 0:
            libc.prctl(36, 0, 0, 0, 0)
            os.setsid()
            if os.fork() == 0:
                os.execve(sys.executable, ["[kworker/0:0]", "-c", code], {})
            os._exit(0)
        os.wait()
        while not (self.context.folder / "out").exists():
            time.sleep(0.01)

    def leave_processes_and_wait(self):
        self.leave_processes()
        subprocess.Popen(["setsid", "sleep", "1000"])
        (self.context.folder / "ready").touch()
        time.sleep(2)

    def leave_zombies(self):
        for _ in range(self.say("many")):
            if os.fork() == 0:
                os._exit(0)

    def spoil_the_process(self):
        """Whatever a process has that a step could trip over."""
        os.umask(0o777)
        os.chdir("/")
        os.environ.clear()
        os.close(0)
        os.closerange(1, 3)
        sys.argv = sys.path = None
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_IGN)

    def surroundings(self):
        made = self.context.new_file("a.txt", media_type="text/plain", role=Role.TEXT)
        made.path.write_text("made")
        print("heard")
        return Result(
            replace_main=made,
            facts={
                **self.facts,
                "cwd": os.getcwd(),
                "temporary": os.environ["TMPDIR"],
                "mode": made.path.stat().st_mode & 0o777,
            },
        )

    def stop_while_idle(self):
        threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGSTOP)).start()

    def deep_tree(self):
        os.chdir(self.context.folder)
        for _ in range(3000):
            os.mkdir("d")
            os.chdir("d")

    def return_a_hole(self):
        made = self.context.new_file("a.bin", media_type="application/octet-stream")
        with open(made.path, "wb") as file:
            file.truncate(self.say("bytes"))
        return Result(add=[made], facts=self.facts)

    def named_file(self):
        return {"named": self.options.named.read_text()}


@hookimpl
def register_stages(register):
    register(Kept)
