"""The archive in the box as its administrator, its scanners and its watchers see it.

Asks and sends through the programs they would use; knows no step of the test and no promise.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.appliance.box import BOX, ApplianceError, Box, tool, until

EXAMPLES = "/usr/share/doc/archived/examples"
PASSWORD = "only-for-tests"
WAYS = {"smb": "reading-room", "ftp": "bulk", "sftp": "branch"}
"""Client -> hot folder, as in the shipped examples."""
_SH = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass
class World:
    """One archive, and what was given to it. `folder` is the desk's own, outside the box."""

    box: Box
    folder: Path
    package: Path
    previous: Path
    previous_holds: str
    changed: bool
    """Whether the catalog's format differs between the two packages."""
    scans: list[Path]
    """Not sent yet."""
    repository: Path
    corpus: Path
    """Real papers, where this machine has them."""
    release: str = ""
    """The suite of `package`."""
    before: str = ""
    """The suite of `previous`."""
    sent: dict[str, str] = field(default_factory=dict)
    """Name -> SHA-256 of everything a scanner was told is delivered."""
    documents_on_record: int = 0
    """How many there were when the package was removed."""
    watching: subprocess.Popen[bytes] | None = None
    cannot: list[str] = field(default_factory=list)
    """What this machine did not let us try, a sentence each."""

    # -- the administrator ------------------------------------------------------------------------

    def follow(self, guide: str, *, only: str = "", given: str = "") -> str:
        """Run the commands of a shipped guide as they stand, or those `only` below one heading."""
        text = self.box.run("cat", f"{EXAMPLES}/{guide}")
        said, followed = "", False
        for block in _SH.finditer(text):
            heading = text[: block.start()].rpartition("\n##")[2]
            if heading.startswith(only):
                said += self.box.shell(f"cd {EXAMPLES}\n{block[1]}", given=given)
                followed = True
        if not followed:
            raise ApplianceError(f"{guide} has no commands below {only!r}")
        return said

    def edit(self, *changes: tuple[str, str], file: str = "archived.toml") -> None:
        """Replace text in a file of `/etc/archived`, each exactly once."""
        path = self.box.root / "etc/archived" / file
        text = path.read_text()
        for before, after in changes:
            if text.count(before) != 1:
                raise ApplianceError(f"{file} has {text.count(before)} times: {before!r}")
            text = text.replace(before, after)
        path.write_text(text)

    def install(self, package: Path) -> str:
        """apt installs or upgrades a package file."""
        (self.box.root / "var/tmp" / package.name).write_bytes(package.read_bytes())
        return self.box.run(
            "apt-get",
            "install",
            "--yes",
            "--quiet",
            f"/var/tmp/{package.name}",
            within=300,
        )

    def until_ready(self, seconds: float = 60) -> None:
        """The daemon says that work goes on."""
        until(self.is_ready, seconds, f"ready: {self.readiness()}")

    def is_ready(self) -> bool:
        """What `/readyz` answers now."""
        return self.readiness().startswith("200")

    def readiness(self) -> str:
        """Status and sentences of `/readyz`."""
        page = ["curl", "-sS", "--max-time", "5", "-w", "\n%{http_code}"]
        _, said = self._get(*page, "http://127.0.0.1:9477/readyz")
        body, _, status = said.rpartition("\n")
        return f"{status} {body}"

    def ask(self, *words: str) -> Any:
        """What `archivectl --json` answers."""
        status, said = self.box.ask("archivectl", "--json", *words)
        start = said.find("{")
        if start < 0:
            raise ApplianceError(f"archivectl {' '.join(words)} ended with {status}: {said}")
        return json.JSONDecoder().raw_decode(said[start:])[0]

    def documents(self) -> list[dict[str, Any]]:
        """All documents."""
        found: list[dict[str, Any]] = self.ask("documents", "--limit", "1000")["documents"]
        return found

    def metric(self, name: str) -> float:
        """A figure of the daemon's own page, for one without labels. Raises `ApplianceError`."""
        _, page = self._get("curl", "-sS", "--max-time", "5", "http://127.0.0.1:9477/metrics")
        for line in page.splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
        raise ApplianceError(f"no metric {name}")

    def _get(self, *argv: str) -> tuple[int, str]:
        # The page is for the machine itself; the client is ours, in the box's network.
        return self.box.beside(*argv)

    # -- the scanners -----------------------------------------------------------------------------

    def take(self, count: int) -> list[Path]:
        """Scans that nobody has sent yet."""
        if len(self.scans) < count:
            raise ApplianceError("the test has run out of scans")
        taken, self.scans = self.scans[:count], self.scans[count:]
        return taken

    def send(self, way: str, *scans: Path) -> None:
        """Deliver files as a scanner would. Raises `ApplianceError` when the server refuses."""
        for scan in scans:
            if way == "smb":
                self.smb(f'put "{scan}" "{scan.name}"')
            elif way == "ftp":
                self.ftp("--upload-file", str(scan), path=scan.name)
            else:
                self.sftp(f'put "{scan}" "/branch/{scan.name}"')
            self.sent[scan.name] = hashlib.sha256(scan.read_bytes()).hexdigest()

    def smb(self, command: str) -> str:
        """One command of smbclient on the share `reading-room`."""
        return self.box.outside(
            "smbclient",
            f"//{BOX}/reading-room",
            "-U",
            f"scan-reading%{PASSWORD}",
            "-s",
            "/dev/null",
            "-c",
            command,
        )

    def ftp(self, *options: str, path: str) -> str:
        """curl on the folder `bulk`."""
        return self.box.outside(
            "curl",
            "--silent",
            "--show-error",
            "--fail",
            "--user",
            f"scan-bulk:{PASSWORD}",
            *options,
            f"ftp://{BOX}/bulk/{urllib.parse.quote(path)}",
        )

    def sftp(self, commands: str, user: str = "scan-branch") -> str:
        """OpenSSH's sftp, fed with commands."""
        return self.box.outside(
            "sftp",
            "-q",
            "-b",
            "-",
            "-i",
            self.folder / "key",
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            f"UserKnownHostsFile={self.folder / 'known'}",
            "-F",
            "none",
            "-o",
            "StrictHostKeyChecking=accept-new",
            f"{user}@{BOX}",
            given=f"{commands}\n",
        )

    def listed(self, way: str, below: str = "") -> str:
        """The names a client sees in a hot folder, or below it."""
        if way == "smb":
            return self.smb(f'ls "{below}/*"' if below else "ls")
        if way == "ftp":
            return self.ftp("--list-only", path=f"{below}/" if below else "")
        return self.sftp(f"ls -1 /branch/{below}")

    def until_safe(self, *scans: Path, seconds: float = 240) -> list[dict[str, Any]]:
        """Each of these is one document, of the very bytes that were sent, and safe."""
        wanted = {scan.name for scan in scans}

        def safe() -> bool:
            found = {d["name"]: d["state"] for d in self.documents() if d["name"] in wanted}
            stuck = {name: state for name, state in found.items() if state in {"held", "rejected"}}
            if stuck:
                raise ApplianceError(f"these will never be safe: {stuck}")
            return len(found) == len(wanted) and set(found.values()) == {"safe"}

        try:
            until(safe, seconds, "all are safe", pause=0.5)
        except ApplianceError as error:
            states = {d["name"]: (d["state"], d["code"]) for d in self.documents()}
            raise ApplianceError(f"{error}; they are {states}") from error
        return self.judge(wanted)

    def until_safe_all(self) -> int:
        """Everything that was ever sent is safe; how many documents that are."""
        return len(self.until_safe(*(Path(name) for name in self.sent)))

    def judge(self, names: set[str]) -> list[dict[str, Any]]:
        """One document for each name, with its bytes; every file is accounted for."""
        shown = [self.ask("show", d["id"]) for d in self.documents() if d["name"] in names]
        if len(shown) != len(names):
            raise ApplianceError(f"{len(names)} files became {len(shown)} documents")
        for document in shown:
            got = {a["sha256"] for a in document["artifacts"] if a["role"] == "original"}
            if got != {self.sent[document["name"]]}:
                raise ApplianceError(f"{document['name']} was archived with other bytes")
        status, said = self.box.ask("archivectl", "account")
        if status:
            raise ApplianceError(f"the balance sheet does not come out even: {said}")
        return shown

    def until_working(self, seconds: float = 60) -> None:
        """A step runs, so that what comes next comes in the middle of work."""
        until(lambda: self.ask("status")["daemon"]["running"], seconds, "a step runs")

    # -- the watchers -----------------------------------------------------------------------------

    def prometheus(self, path: str) -> Any:
        """What Prometheus in the box answers to a client at the desk; `None` while it does not."""
        said = self.box.outside(
            "curl",
            "--silent",
            "--globoff",
            "--max-time",
            "5",
            f"http://{BOX}:9090/api/v1/{path}",
            may_fail=True,
        )
        try:
            answer = json.loads(said)
        except ValueError:
            return None
        return answer["data"] if answer.get("status") == "success" else None

    def value(self, expression: str) -> list[float]:
        """The values an expression has in Prometheus now."""
        found = self.prometheus("query?query=" + urllib.parse.quote(expression))
        return [float(each["value"][1]) for each in found["result"]] if found else []

    def labels(self, expression: str) -> list[dict[str, str]]:
        """The labels of what an expression finds in Prometheus now."""
        found = self.prometheus("query?query=" + urllib.parse.quote(expression))
        return [each["metric"] for each in found["result"]] if found else []

    def firing(self) -> set[str]:
        """Names of the alerts that fire now."""
        found = self.prometheus("alerts")
        alerts = found["alerts"] if found else []
        return {each["labels"]["alertname"] for each in alerts if each["state"] == "firing"}

    def until_fires(self, alert: str, seconds: float = 60) -> None:
        """An alert fires."""
        until(lambda: alert in self.firing(), seconds, f"{alert} fires", pause=0.5)

    def until_resolved(self, alert: str, seconds: float = 90) -> None:
        """It does not fire any more, and Prometheus is there to say so."""
        until(
            lambda: self.value("archived_ready") and alert not in self.firing(),
            seconds,
            f"{alert} resolves",
            pause=0.5,
        )

    def events(self) -> list[dict[str, Any]]:
        """What the broker gave the desk so far."""
        text = (self.folder / "events").read_text()
        lines = [line.partition(" ") for line in text.splitlines()]
        return [json.loads(payload) for topic, _, payload in lines if "/events/" in topic]

    def status_topic(self) -> list[str]:
        """What the broker said about the daemon itself, in order."""
        lines = (self.folder / "events").read_text().splitlines()
        return [line.partition(" ")[2] for line in lines if line.startswith("archived/status ")]

    def watch(self) -> None:
        """Listen to the broker from the desk, in a session that outlives interruptions."""
        self.watching = self.box.outside_for_long(
            self.folder / "events",
            "mosquitto_sub",
            "-h",
            BOX,
            "-u",
            "desk",
            "-P",
            PASSWORD,
            "-i",
            "desk",
            "--disable-clean-session",
            "-q",
            "1",
            "-t",
            "archived/#",
            "-F",
            "%t %p",
        )

    # -- keys -------------------------------------------------------------------------------------

    def make_keys(self) -> None:
        """A signing key under an authority of its own, as an office would be given one."""
        at = self.folder
        openssl = ["openssl"]
        tool(
            *openssl,
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "90",
            "-keyout",
            at / "ca.key",
            "-out",
            at / "ca.pem",
            "-subj",
            "/CN=Test Authority",
            "-addext",
            "basicConstraints=critical,CA:TRUE",
            "-addext",
            "keyUsage=critical,keyCertSign,cRLSign",
        )
        tool(
            *openssl,
            "req",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            at / "signer.key",
            "-out",
            at / "signer.csr",
            "-subj",
            "/O=Under test/CN=Archive seal",
        )
        extensions = at / "signer.ext"
        extensions.write_text("keyUsage=critical,digitalSignature,nonRepudiation\n")
        tool(
            *openssl,
            "x509",
            "-req",
            "-in",
            at / "signer.csr",
            "-CA",
            at / "ca.pem",
            "-CAkey",
            at / "ca.key",
            "-days",
            "60",
            "-extfile",
            extensions,
            "-out",
            at / "signer.pem",
        )
        tool(
            *openssl,
            "pkcs12",
            "-export",
            "-inkey",
            at / "signer.key",
            "-in",
            at / "signer.pem",
            "-certfile",
            at / "ca.pem",
            "-out",
            at / "signing.p12",
            "-passout",
            f"pass:{PASSWORD}",
        )
        tool("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", at / "key")
