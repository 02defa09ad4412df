"""The ways a file gets onto a server: real clients and their commands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.system.servers.programs import need, need_python
from tests.system.servers.services import PASSWORD, USER, Services

RATE = 400_000
"""Bytes a second of a slow client."""

type_of_command = Callable[[Services, Path, str, int], list[object]]
"""(servers, local file, path on the server, bytes a second or 0) -> argv."""


@dataclass(frozen=True)
class Way:
    """A client with a server. What the server leaves of a client killed half-way differs."""

    name: str
    server: str
    send: type_of_command
    resume: type_of_command | None = None
    killed: str = "held"
    """held: a truncated file under the final name; nothing: no file, or one that is never named."""


def _limit(option: str, rate: int, unit: int = 1) -> list[object]:
    return [option, rate // unit] if rate else []


def _smb(*more: str) -> type_of_command:
    def command(servers: Services, local: Path, target: str, rate: int) -> list[object]:
        script = Path(__file__).with_name("smb_client.py")
        return [
            need_python(),
            script,
            "127.0.0.1",
            USER,
            PASSWORD,
            local,
            target,
            "--port",
            servers.start("smb"),
            *_limit("--rate", rate),
            *more,
        ]

    return command


def smbclient(servers: Services, local: Path, target: str, rate: int) -> list[object]:
    """Samba's own client."""
    return [
        need("smbclient"),
        "//127.0.0.1/scans",
        "-p",
        servers.start("smb"),
        "-U",
        f"{USER}%{PASSWORD}",
        "-c",
        f'put "{local}" "{target}"',
    ]


def _curl(scheme: str, server: str, *more: str) -> type_of_command:
    def command(servers: Services, local: Path, target: str, rate: int) -> list[object]:
        port = servers.start(server)
        user = {
            "ftp": [] if server == "vsftpd" else ["--user", f"{USER}:{PASSWORD}"],
            "sftp": ["--insecure", "--user", f"{USER}:", "--key", servers.key()],
            "http": ["--fail", "-H", "Expect:"],
        }[scheme]
        return [
            need("curl"),
            "--silent",
            "--show-error",
            *user,
            *_limit("--limit-rate", rate),
            *more,
            "-T",
            local,
            f"{scheme}://127.0.0.1:{port}/{target}",
        ]

    return command


def sftp_options(servers: Services) -> list[object]:
    """How to get in."""
    return [
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
        "-o",
        "LogLevel=ERROR",
        "-i",
        servers.key(),
    ]


def _sftp(verb: str) -> type_of_command:
    def command(servers: Services, local: Path, target: str, rate: int) -> list[object]:
        port = servers.start("sftp")
        batch = local.with_name(local.name + ".batch")
        batch.write_text(f'{verb} "{local}" "{target}"\n')
        slow = _limit("-l", rate * 8, 1000)
        return [
            need("sftp"),
            "-q",
            "-R",
            "2",
            "-b",
            batch,
            "-P",
            port,
            *slow,
            *sftp_options(servers),
            f"{USER}@127.0.0.1",
        ]

    return command


def _lftp(scheme: str, server: str, settings: str, *, resume: bool = False) -> type_of_command:
    def command(servers: Services, local: Path, target: str, rate: int) -> list[object]:
        port = servers.start(server)
        ssh = " ".join(map(str, ["ssh", "-a", "-x", *sftp_options(servers)]))
        user = f"{USER}," if scheme == "sftp" else "anonymous,x"
        script = (
            f"set net:limit-rate 0:{rate}; set sftp:connect-program '{ssh}'; "
            f"set net:max-retries 1; set cmd:fail-exit yes; {settings} "
            f"open -u {user} {scheme}://127.0.0.1:{port}; "
            f'put {"-c" if resume else ""} "{local}" -o "{target}"; bye'
        )
        return [need("lftp"), "--norc", "-c", script]

    return command


def _rsync(*more: str) -> type_of_command:
    def command(servers: Services, local: Path, target: str, rate: int) -> list[object]:
        return [
            need("rsync"),
            "--times",
            *_limit("--bwlimit", rate, 1000),
            *more,
            local,
            f"rsync://127.0.0.1:{servers.start('rsync')}/scans/{target}",
        ]

    return command


_ftp, _dav = _curl("ftp", "vsftpd"), _curl("http", "wsgidav")
WAYS = [
    Way("smb", "smb", _smb("--keep-times"), _smb("--resume")),
    Way("smb-reserved", "smb", _smb("--reserve", "--keep-times")),
    Way("vsftpd", "vsftpd", _ftp, _curl("ftp", "vsftpd", "-C", "-")),
    Way(
        "vsftpd-lftp-temp",
        "vsftpd",
        _lftp("ftp", "vsftpd", "set xfer:use-temp-file yes;"),
        killed="nothing",
    ),
    Way("proftpd", "proftpd", _curl("ftp", "proftpd"), _curl("ftp", "proftpd", "-C", "-")),
    Way("proftpd-hidden-stores", "hidden", _curl("ftp", "hidden")),
    Way("sftp", "sftp", _sftp("put -p"), _sftp("reput")),
    Way("sftp-lftp", "sftp", _lftp("sftp", "sftp", ""), _lftp("sftp", "sftp", "", resume=True)),
    Way("sftp-curl", "sftp", _curl("sftp", "sftp"), _curl("sftp", "sftp", "-C", "-")),
    Way("apache-dav", "apache", _curl("http", "apache"), killed="nothing"),
    Way("wsgidav", "wsgidav", _dav),
    Way("rsync", "rsync", _rsync(), killed="nothing"),
    Way("rsync-partial", "rsync", _rsync("--partial"), _rsync("--partial", "--append")),
]
