"""The appliance's first days: installed, configured, scanned to, upgraded, looked at from outside.

Every public function is a step; the first line of its docstring is the promise it tries.
"""

from __future__ import annotations

import re
import shutil
from functools import partial
from pathlib import Path
from typing import Any

from pikepdf import pdfa

from tools.appliance import packages
from tools.appliance.box import ApplianceError, tool, until
from tools.appliance.world import EXAMPLES, PASSWORD, WAYS, World

DISK = "/mnt/second-disk"
REAL = ("SCAN0098.pdf", "test_10.pdf", "05.signed_20250517_044750.pdf")
"""A plain scan, a page, and a paper its sender signed."""
IMAGE = "/var/second-disk.img"
DROP_IN = f"""[Service]
ReadWritePaths=-{DISK}
"""
MOUNT = f"""[Unit]
Before=archived.service
[Mount]
What={IMAGE}
Where={DISK}
Type=ext4
Options=loop
[Install]
WantedBy=multi-user.target
"""
OWN = f"""
[stage.replicate]
to = ["second-disk"]

[target.second-disk]
kind = "directory"
path = "{DISK}"
keep_free = "8 MiB"
require_mount = true

[mqtt]
host = "localhost"
username = "archived"
password = {{ credential = "mqtt-password" }}

[retry]
first_wait = "2 s"
longest_wait = "5 s"
"""
"""A file of the administrator's own in `conf.d`."""
BROKER = """listener 1883
allow_anonymous false
password_file /etc/mosquitto/passwords
"""


def install(world: World) -> str:
    """One command installs it on a bare Debian, and a scan put into the inbox is sealed."""
    world.install(world.previous)
    world.until_ready()
    into_the_inbox(world)
    return f"version {packages.version(world.previous)}: {world.previous_holds}"


def into_the_inbox(world: World) -> None:
    """A scan that is put into the first hot folder by hand is sealed."""
    [scan] = world.take(1)
    shutil.copyfile(scan, world.box.root / "var/tmp/scan.tif")
    world.box.run(
        "install",
        "-g",
        "archived-scan",
        "-m",
        "0660",
        "/var/tmp/scan.tif",
        f"/srv/archived/hot/inbox/{scan.name}",
    )

    def is_sealed() -> bool:
        return (scan.name, "sealed") in {(d["name"], d["state"]) for d in world.documents()}

    until(is_sealed, 120, "it is sealed")
    if (world.box.root / "srv/archived/hot/inbox" / scan.name).exists():
        raise ApplianceError("the scan still lies in the inbox")


def servers(world: World) -> str:
    """Samba, vsftpd, OpenSSH are set up by their guides; doctor trusts the folders."""
    twice = f"{PASSWORD}\n{PASSWORD}\n"
    world.follow("README.md", only=" 1.")
    for guide in ("samba", "vsftpd", "sftp"):
        world.follow(f"{guide}/README.md", given=twice)
    key = world.box.root / "etc/ssh/archived-scan/scan-branch"
    key.write_text((world.folder / "key.pub").read_text())
    key.chmod(0o644)
    world.follow("README.md", only=" 3.")
    said = world.follow("README.md", only=" 4.")
    world.follow("README.md", only=" 5.")
    return f"{said.count('do not trust')} of 3 folders not trusted"


def configure(world: World) -> str:
    """Signatures, a copy on a second disk and a broker, set up as the shipped files say."""
    box = world.box
    secret = box.root / "etc/archived/secret"
    shutil.copyfile(world.folder / "signing.p12", secret / "signing.p12")
    (secret / "mqtt-password").write_text(PASSWORD)
    box.run(
        "systemd-creds",
        "encrypt",
        "--name=signing-passphrase",
        "-",
        "/etc/archived/secret/signing-passphrase.cred",
        given=PASSWORD,
    )
    for each in secret.iterdir():
        each.chmod(0o600)
    shutil.copyfile(world.folder / "ca.pem", box.root / "etc/archived/authority.pem")
    _second_disk(world)
    _broker(world)
    drop_in = box.root / "etc/systemd/system/archived.service.d"
    drop_in.mkdir(parents=True)
    (drop_in / "second-disk.conf").write_text(DROP_IN)
    shipped = box.run("cat", f"{EXAMPLES}/systemd/credentials.conf")
    (drop_in / "credentials.conf").write_text(shipped.replace("#LoadCred", "LoadCred"))
    _edit(world)
    box.run("systemctl", "daemon-reload")
    box.run("systemctl", "restart", "archived", within=120)
    world.until_ready()
    world.watch()
    until(lambda: world.status_topic()[-1:] == ["online"], 30, "the broker says it is online")
    problems = world.ask("status")["daemon"]["problems"]
    if problems:
        raise ApplianceError(f"stages complain: {problems}")
    return ""


def _edit(world: World) -> None:
    """What the comments of the shipped file tell to do."""
    world.edit(
        ('name = ""', 'name = "Lưu trữ thử nghiệm"'),
        ('stages = ["ocr", "classify", "seal"]\n', ""),
        (
            '# stages = ["ocr", "classify", "sign", "seal", "replicate"]',
            'stages = ["ocr", "classify", "sign", "seal", "replicate"]',
        ),
        ("# [stage.sign]", '[stage.sign]\ntrusted_roots = ["/etc/archived/authority.pem"]'),
        ("# key =", "key ="),
        ("# passphrase =", "passphrase ="),
        ('enabled = ["ocr", "classify"]', 'enabled = ["ocr", "classify", "sign", "replicate"]'),
    )
    (world.box.root / "etc/archived/conf.d/own.toml").write_text(OWN)


def _second_disk(world: World) -> None:
    """A disk of its own for the copies."""
    units = world.box.root / "etc/systemd/system"
    (units / "mnt-second\\x2ddisk.mount").write_text(MOUNT)
    world.box.shell(f"""
        truncate --size=256M {IMAGE}
        mkfs.ext4 -q {IMAGE}
        mkdir {DISK}
        systemctl daemon-reload
        systemctl enable --now 'mnt-second\\x2ddisk.mount'
        install -d -o archived -g archived -m 0750 {DISK}
    """)


def _broker(world: World) -> None:
    """Mosquitto with two users, heard from outside."""
    (world.box.root / "etc/mosquitto/conf.d/archive.conf").write_text(BROKER)
    world.box.shell(f"""
        touch /etc/mosquitto/passwords
        mosquitto_passwd -b /etc/mosquitto/passwords archived {PASSWORD}
        mosquitto_passwd -b /etc/mosquitto/passwords desk {PASSWORD}
        chown mosquitto /etc/mosquitto/passwords
        systemctl restart mosquitto
    """)


def deliver(world: World) -> str:
    """Scans come by SMB, FTP and SFTP; for each a receipt appears that the same client can read."""
    sent: dict[str, list[Path]] = {}
    for way in WAYS:
        sent[way] = world.take(2)
        world.send(way, *sent[way])
    for way, scans in sent.items():
        for scan in scans:
            until(partial(_receipt, world, way, scan.name), 60, f"a receipt for {scan.name}")
            if scan.name in world.listed(way).split():
                raise ApplianceError(f"{scan.name} has a receipt and still lies in the folder")
    try:
        world.smb('put /dev/null "_archived/forged.txt"')
    except ApplianceError:
        pass  # refused, as it must be
    else:
        raise ApplianceError("a scanner's login may write into the receipts folder")
    return f"{sum(map(len, sent.values()))} scans"


def _receipt(world: World, way: str, name: str) -> str:
    """The text of a scan's receipt, read by the client of its folder; empty while there is none."""
    try:
        names = world.listed(way, "_archived/receipts")
    except ApplianceError:
        return ""
    found = re.search(rf"{re.escape(name)}_[^/\s]*\.txt", names)
    if not found:
        return ""
    text = fetch(world, way, f"_archived/receipts/{found[0]}")
    if name not in text:
        raise ApplianceError(f"the receipt {found[0]} does not name {name}: {text}")
    return text


def fetch(world: World, way: str, path: str) -> str:
    """A text file of a hot folder, by its client."""
    here = world.folder / "fetched"
    here.unlink(missing_ok=True)
    if way == "smb":
        world.smb(f'get "{path}" "{here}"')
    elif way == "ftp":
        world.ftp("--output", str(here), path=path)
    else:
        world.sftp(f'get "/branch/{path}" "{here}"')
    return here.read_text("utf-8-sig")


def real_scans(world: World) -> str:
    """Real papers end safe, or held with a reason on the share; never anything else."""
    found = [path for name in REAL if (path := world.corpus / name).exists()]
    if not found:
        world.cannot.append("there is no folder of real papers here; made ones were used alone")
        return "no real papers here"
    world.send("smb", *found)
    names = {path.name for path in found}
    ends: dict[str, str] = {}

    def ended() -> bool:
        ends.update({d["name"]: d["state"] for d in world.documents() if d["name"] in names})
        return set(ends) == names and set(ends.values()) <= {"safe", "held"}

    until(ended, 300, "all have ended")
    world.judge(names)
    for name in (name for name, state in ends.items() if state == "held"):
        if Path(name).stem not in world.listed("smb", "_archived/held"):
            raise ApplianceError(f"{name} is held, and nothing on the share says why")
    return ", ".join(f"{name}: {state}" for name, state in sorted(ends.items()))


def paper_may_go_back(world: World) -> str:
    """Each share has a list of what is safe, with every document that came there."""
    counted = 0
    folders = {d["name"]: d["hotfolder"] for d in world.documents() if d["state"] == "safe"}
    for way, folder in WAYS.items():
        names = [name for name in world.sent if folders.get(name) == folder]

        def complete(way: str = way, names: list[str] = names) -> bool:
            lists = re.findall(r"safe-[0-9-]+\.csv", world.listed(way, "_archived/safe"))
            text = "".join(
                fetch(world, way, f"_archived/safe/{each}") for each in sorted(set(lists))
            )
            return all(name in text for name in names)

        until(complete, 30, f"{len(names)} documents stand in the list of {folder}")
        counted += len(names)
    return f"{counted} documents in {len(WAYS)} lists"


def signed(world: World) -> str:
    """A fetched PDF/A is signed, poppler and openssl say so, and its text can be searched."""
    key = (world.folder / "key.pub").read_text()
    home = world.box.root / "root/.ssh"
    home.mkdir(mode=0o700, exist_ok=True)
    (home / "authorized_keys").write_text(key)
    # One of our scans: of a paper that came signed there is no reading copy to sign.
    document = next(
        d for d in world.documents() if d["state"] == "safe" and d["name"].endswith(".tif")
    )
    shown = world.ask("show", document["id"])
    pdf = world.folder / "fetched.pdf"
    [access] = [a for a in shown["artifacts"] if a["role"] == "access" and a["current"]]
    content = f"{shown['object']['path']}/v1/content"
    world.sftp(f'get "{content}/access/{access["name"]}" "{pdf}"', user="root")
    said = tool("pdfsig", "-nocert", pdf)
    if "Signature is Valid" not in said or "Total document signed" not in said:
        raise ApplianceError(f"pdfsig: {said}")
    _openssl(world, pdf.read_bytes())
    _pdfa(world, pdf.read_bytes())
    words = tool("pdftotext", pdf, "-").split()
    if len(words) < 20:
        raise ApplianceError(f"only {len(words)} words can be searched")
    return f"{document['name']}: {len(words)} words"


def _pdfa(world: World, signed_pdf: bytes) -> None:
    """Below the signature, which is appended, lies a PDF/A-2b; the judge knows no signatures."""
    last = signed_pdf.rindex(b"%%EOF")
    before = world.folder / "unsigned.pdf"
    before.write_bytes(signed_pdf[: signed_pdf.rindex(b"%%EOF", 0, last) + len(b"%%EOF\n")])
    judged = pdfa.validate_written(before, "2b")
    if not judged.passed:
        raise ApplianceError(f"it is no PDF/A-2b: {judged}")


def _openssl(world: World, pdf: bytes) -> None:
    """The signature covers the whole file, and leads to the authority: by openssl alone."""
    [ranges] = re.findall(rb"/ByteRange\s*\[\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)", pdf)
    a, b, c, d = map(int, ranges)
    if (a, c + d) != (0, len(pdf)):
        raise ApplianceError("the signature does not cover the whole file")
    der, content = world.folder / "signature.der", world.folder / "signed.bin"
    padded = bytes.fromhex(pdf[b + 1 : c - 1].decode())
    # A SEQUENCE with its length in two bytes, and zeros up to the room that was kept for it.
    der.write_bytes(padded[: 4 + int.from_bytes(padded[2:4], "big")])
    content.write_bytes(pdf[a : a + b] + pdf[c : c + d])
    tool(
        "openssl",
        "cms",
        "-verify",
        "-binary",
        "-inform",
        "DER",
        "-in",
        der,
        "-content",
        content,
        "-CAfile",
        world.folder / "ca.pem",
        "-purpose",
        "any",
        "-cades",
        "-out",
        "/dev/null",
    )


def events(world: World) -> str:
    """The broker was told of every document in order, each step of its life once."""
    missing: list[str] = []

    def told() -> bool:
        missing.clear()
        by_document: dict[str, list[dict[str, Any]]] = {}
        for event in {e["sequence"]: e for e in world.events()}.values():
            by_document.setdefault(event["document"], []).append(event)
        for document in world.documents():
            if document["state"] != "safe":
                continue
            names = [
                e["event"]
                for e in sorted(
                    by_document.get(document["id"], []), key=lambda e: int(e["sequence"])
                )
            ]
            wanted = ["document-admitted", "document-sealed", "document-safe"]
            if [n for n in names if n in wanted] != wanted:
                missing.append(f"{document['name']}: {names}")
        return not missing

    try:
        until(told, 30, "events for every document")
    except ApplianceError as error:
        raise ApplianceError(f"{error}; {missing[:3]}") from error
    got = [e["sequence"] for e in world.events()]
    first = list(dict.fromkeys(got))
    if first != sorted(first):
        raise ApplianceError("events came out of order")
    if len(first) != first[-1] - first[0] + 1:
        raise ApplianceError(f"of {first[0]} to {first[-1]} only {len(first)} events came")
    return f"{len(first)} events, {len(got) - len(first)} repeated"
