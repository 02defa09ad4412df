"""One Debian machine for the appliance test: a container with systemd in it, and a desk beside it.

The box has a network of its own; the only other address in that network is the desk, from where
clients work as scanners and people do. What is installed in the box is not its business.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
BOX, DESK = "192.0.2.1", "192.0.2.2"
"""Addresses: of the box, and of the desk outside (a range that is nobody's, RFC 5737)."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROGRAMS = ("systemd-nspawn", "mmdebstrap", "nsenter", "ip", "dpkg-deb")
LANDLOCK = "landlock_create_ruleset landlock_add_rule landlock_restrict_self"
"""Calls a machine allows, and containers of this age forbid: steps close the disk to themselves."""
_HIERARCHIES = ("systemd", "unified")


class ApplianceError(Exception):
    """A promise was not kept; the sentence says which, and what was seen."""


class NotHere(Exception):
    """This machine cannot hold the test; the sentence says why."""


def until(condition: Callable[[], T], seconds: float, what: str, pause: float = 0.1) -> T:
    """Poll until the condition is true of something. Raises `ApplianceError`."""
    ends = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > ends:
            raise ApplianceError(f"not within {seconds:.0f} s: {what}")
        time.sleep(pause)
    return found


def need() -> None:
    """Raises `NotHere` unless a container can be tried at all."""
    if os.geteuid() != 0:
        raise NotHere("booting a container needs root")
    for program in PROGRAMS:
        if shutil.which(program, path=f"{os.environ.get('PATH', '')}:{PATH}") is None:
            raise NotHere(f"{program} is not installed; ./run appliance installs it")
    if not Path("/dev/loop-control").exists():
        raise NotHere("there are no loop devices, of which the second disk is one")


def tool(*argv: str | Path, within: float = 60) -> str:
    """Run a tool of this machine; what it printed. Raises `ApplianceError`."""
    done = subprocess.run(
        [str(each) for each in argv],
        capture_output=True,
        text=True,
        check=False,
        timeout=within,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    if done.returncode:
        said = (done.stderr + done.stdout).strip()
        raise ApplianceError(f"{' '.join(map(str, argv))}: {said}")
    return done.stdout


class Box:
    """A container made from a folder that holds a Debian system. Close it, whatever happened."""

    def __init__(self, root: Path, console: Path) -> None:
        self.root, self._console = root, console
        self.name = f"archived-{os.getpid()}"
        self.desk = f"{self.name}-desk"
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = 0
        self._groups: list[Path] = []

    # -- life -------------------------------------------------------------------------------------

    def boot(self) -> None:
        """Make the network, start the system, wait until it runs. Raises `NotHere`."""
        try:
            self._network()
            self._groups = _control_groups(self.name)
        except (ApplianceError, OSError) as error:
            raise NotHere(f"no network of its own for a container: {error}") from error
        self._start()
        try:
            self._until_up()
        except ApplianceError as error:
            last = self._console.read_text(errors="replace")[-600:]
            raise NotHere(f"a container does not boot here: {error}; it said: {last}") from error

    def reboot(self) -> None:
        """As an administrator would; comes back when the system runs again."""
        assert self._nspawn is not None
        self.run("systemctl", "reboot")
        try:
            # nspawn without a service manager around it ends, and leaves starting again to others.
            self._nspawn.wait(150)
        except subprocess.TimeoutExpired as error:
            raise ApplianceError("not within 150 s: the machine went down") from error
        self.on()

    def off(self) -> None:
        """Power off in an orderly way; the files stay and may be changed until `on`."""
        assert self._nspawn is not None
        self.run("systemctl", "poweroff")
        try:
            self._nspawn.wait(150)
        except subprocess.TimeoutExpired as error:
            raise ApplianceError("not within 150 s: the machine is off") from error

    def on(self) -> None:
        """Start it again; comes back when the system runs."""
        self._start()
        self._until_up()

    def close(self) -> None:
        """Power off, hard; take the network and the control groups away."""
        if self._nspawn and self._nspawn.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child() or self._nspawn.pid, signal.SIGKILL)
            try:
                self._nspawn.wait(20)
            except subprocess.TimeoutExpired:
                self._nspawn.kill()
                self._nspawn.wait()
        for name in (self.name, self.desk):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
        for group in self._groups:
            for folder, _, _ in os.walk(group, topdown=False):
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()

    # -- inside -----------------------------------------------------------------------------------

    def run(self, *argv: str, given: str = "", within: float = 60, may_fail: bool = False) -> str:
        """Run a program in the box as root; what it printed. Raises `ApplianceError`."""
        status, said = self.ask(*argv, given=given, within=within)
        if status and not may_fail:
            raise ApplianceError(f"{' '.join(argv)[:300]} ended with {status}: {said[-1500:]}")
        return said

    def ask(self, *argv: str, given: str = "", within: float = 60) -> tuple[int, str]:
        """Run a program in the box as root; its exit status and what it printed."""
        return self._finished(
            [
                "nsenter",
                f"--target={self._leader}",
                "--mount",
                "--uts",
                "--ipc",
                "--net",
                "--pid",
                "--cgroup",
                "--root",
                "--wd",
                "--",
                "env",
                "-i",
                f"PATH={PATH}",
                "LANG=C.UTF-8",
                "HOME=/root",
                "DEBIAN_FRONTEND=noninteractive",
                *argv,
            ],
            given,
            within,
        )

    def shell(self, script: str, given: str = "", within: float = 300) -> str:
        """Run lines as a person would type them, stopping at the first that fails."""
        return self.run("sh", "-eu", "-c", script, given=given, within=within)

    def show(self, unit: str, key: str) -> str:
        """One property of a unit."""
        return self.run("systemctl", "show", "--value", f"--property={key}", unit).strip()

    # -- outside ----------------------------------------------------------------------------------

    def outside(
        self, *argv: str | Path, given: str = "", within: float = 60, may_fail: bool = False
    ) -> str:
        """Run a client at the desk; what it printed. Raises `ApplianceError`."""
        words = ["ip", "netns", "exec", self.desk, *map(str, argv)]
        status, said = self._finished(words, given, within)
        if status and not may_fail:
            raise ApplianceError(f"{' '.join(map(str, argv))[:300]} ended with {status}: {said}")
        return said

    def beside(self, *argv: str, within: float = 30) -> tuple[int, str]:
        """Run a client of ours in the box's network; its exit status and what it printed."""
        return self._finished(["ip", "netns", "exec", self.name, *argv], "", within)

    def outside_for_long(self, output: Path, *argv: str) -> subprocess.Popen[bytes]:
        """Start a client at the desk that goes on; its standard output goes to a file."""
        with output.open("ab") as file:
            return subprocess.Popen(
                ["ip", "netns", "exec", self.desk, *argv],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.DEVNULL,
            )

    # -- inner ------------------------------------------------------------------------------------

    @staticmethod
    def _finished(words: list[str], given: str, within: float) -> tuple[int, str]:
        with tempfile.TemporaryFile() as output:
            # Not a pipe: a server started by a maintainer script may keep it open for ever.
            try:
                done = subprocess.run(
                    words,
                    input=given.encode(),
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    timeout=within,
                    check=False,
                    start_new_session=True,
                )
            except subprocess.TimeoutExpired as error:
                raise ApplianceError(
                    f"not within {within:.0f} s: {' '.join(words)[-300:]}"
                ) from error
            output.seek(0)
            return done.returncode, output.read().decode(errors="replace")

    def _network(self) -> None:
        tool("ip", "netns", "add", self.name)
        tool("ip", "netns", "add", self.desk)
        tool(
            "ip",
            "-n",
            self.name,
            "link",
            "add",
            "lan0",
            "type",
            "veth",
            "peer",
            "name",
            "lan0",
            "netns",
            self.desk,
        )
        for name, address in ((self.name, BOX), (self.desk, DESK)):
            tool("ip", "-n", name, "addr", "add", f"{address}/24", "dev", "lan0")
            for device in ("lo", "lan0"):
                tool("ip", "-n", name, "link", "set", device, "up")

    def _start(self) -> None:
        with self._console.open("ab") as console:
            self._nspawn = subprocess.Popen(
                [
                    "systemd-nspawn",
                    "--quiet",
                    f"--directory={self.root}",
                    f"--machine={self.name}",
                    "--boot",
                    "--register=no",
                    "--keep-unit",
                    "--console=pipe",
                    "--link-journal=no",
                    "--resolv-conf=off",
                    "--timezone=off",
                    "--system-call-filter=" + LANDLOCK,
                    f"--network-namespace-path=/run/netns/{self.name}",
                    *_loop_devices(),
                ],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
                env={"PATH": PATH, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
                preexec_fn=self._enter_groups,  # noqa: PLW1509 - writes two small files
            )

    def _enter_groups(self) -> None:
        for group in self._groups:
            (group / "cgroup.procs").write_text(str(os.getpid()))

    def _child(self) -> int:
        """The process that is the box's first, seen from here; 0 when there is none now."""
        assert self._nspawn is not None
        if self._nspawn.poll() is not None:
            raise ApplianceError("the container ended")
        try:
            text = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text()
        except OSError:
            return 0
        children = [int(each) for each in text.split()]
        # For a moment it has a helper of its own as well; the system is what came last.
        return children[-1] if children else 0

    def _until_up(self) -> None:
        def up() -> bool:
            self._leader = self._child()
            if not self._leader:
                return False
            _, said = self.ask("systemctl", "is-system-running")
            return said.strip() in {"running", "degraded"}

        until(up, 120, "the system runs")


def _control_groups(name: str) -> list[Path]:
    """A control group of its own, or two containers would share theirs."""
    base = Path("/sys/fs/cgroup")
    found = [base / each for each in _HIERARCHIES if (base / each).is_dir()] or [base]
    for each in found:
        (each / name).mkdir(exist_ok=True)
    return [each / name for each in found]


def _loop_devices() -> list[str]:
    """So that the box can mount a file as a second disk."""
    devices = [Path("/dev/loop-control"), *sorted(Path("/dev").glob("loop[0-9]*"))]
    return [f"--bind={each}" for each in devices if each.exists()]
