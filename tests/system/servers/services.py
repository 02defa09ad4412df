"""The servers scanners write to, each serving one hot folder, as an administrator sets them up."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from tests.system.servers.programs import (
    UNPACKED,
    environment,
    free_port,
    need,
    need_python,
    need_root,
    server,
)

USER, PASSWORD = "nobody", "only-for-tests"
"""A user of the system: servers write as somebody."""

SMB = """
[global]
server role = standalone server
interfaces = {address}
bind interfaces only = yes
smb ports = {port}
private dir = {own}/private
lock directory = {own}/lock
state directory = {own}/state
cache directory = {own}/cache
pid directory = {own}/pid
ncalrpc dir = {own}/ncalrpc
log file = {own}/log.%m
passdb backend = tdbsam
disable netbios = yes
disable spoolss = yes
load printers = no
guest account = nobody
map to guest = never
[scans]
path = {hot}
read only = no
create mask = 0664
"""
VSFTPD = """
listen=YES
listen_address=127.0.0.1
listen_port={port}
background=NO
anonymous_enable=YES
local_enable=NO
ftp_username=ftp
write_enable=YES
anon_root={hot}
no_anon_password=YES
anon_upload_enable=YES
anon_mkdir_write_enable=YES
anon_other_write_enable=YES
anon_umask=022
allow_writeable_chroot=YES
secure_chroot_dir={own}/empty
xferlog_enable=YES
xferlog_file={own}/transfers
seccomp_sandbox=NO
"""
PROFTPD = """
ServerType standalone
DefaultAddress 127.0.0.1
SocketBindTight on
Port {port}
UseIPv6 off
User nobody
Group nogroup
ModulePath {modules}
AuthOrder mod_auth_file.c
AuthUserFile {own}/users
RequireValidShell off
UseFtpUsers off
DefaultRoot ~
AllowOverwrite on
AllowStoreRestart on
HiddenStores {hidden}
PidFile {own}/pid-file
ScoreboardFile {own}/scoreboard
DelayEngine off
SystemLog {own}/log
TransferLog {own}/transfers
WtmpLog off
UseReverseDNS off
"""
SSHD = """
ListenAddress 127.0.0.1
Port {port}
HostKey {own}/host
AuthorizedKeysFile {own}/client.pub
StrictModes no
UsePAM no
PidFile {own}/pid-file
Subsystem sftp internal-sftp
ForceCommand internal-sftp
ChrootDirectory {hot}
"""
APACHE = """
ServerRoot {own}
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {own}/pid-file
ErrorLog {own}/log
User nobody
Group nogroup
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule dav_module {modules}/mod_dav.so
LoadModule dav_fs_module {modules}/mod_dav_fs.so
DavLockDB {own}/lock/db
DocumentRoot {hot}
<Directory {hot}>
  Dav On
  Require all granted
</Directory>
"""
RSYNCD = """
use chroot = yes
uid = nobody
gid = nogroup
log file = {own}/log
[scans]
path = {hot}
read only = no
"""


class Services:
    """`port = services.start("vsftpd")`; each server is started once and ended with `close`."""

    def __init__(self, public: Path, hot: Path) -> None:
        self._public, self._hot = public, hot
        self._ports: dict[str, int] = {}
        self._stack = ExitStack()

    def start(self, name: str) -> int:
        """The port of a running server; skips where it is not installed."""
        if name not in self._ports:
            port = free_port()
            one = serving(name, self._public / name, self._hot / name, port)
            self._stack.enter_context(one)
            self._ports[name] = port
        return self._ports[name]

    def key(self) -> Path:
        """The sftp client's private key."""
        return self._public / "sftp" / "client"

    def close(self) -> None:
        """End all of them."""
        self._stack.close()


def serving(
    name: str,
    own: Path,
    hot: Path,
    port: int,
    *,
    address: str = "127.0.0.1",
    within: Sequence[str] = (),
) -> AbstractContextManager[None]:
    """A server on `hot`, with its own files in `own`, as long as the block lasts."""
    need_root()
    own.mkdir(exist_ok=True)
    own.chmod(0o755)
    argv = _ARGV[name](own, hot, port, address)
    return server(name, argv, port, own / "said", within, address)


def _write(own: Path, text: str, **places: object) -> Path:
    file = own / "conf"
    file.write_text(text.format(own=own, **places))
    file.chmod(0o644)
    return file


def _smbd(own: Path, hot: Path, port: int, address: str) -> list[object]:
    program = need("smbd")
    for folder in ("private", "lock", "state", "cache", "pid", "ncalrpc"):
        (own / folder).mkdir(exist_ok=True)
    conf = _write(own, SMB, hot=hot, port=port, address=address)
    subprocess.run(
        [need("smbpasswd"), "-c", str(conf), "-a", "-s", USER],
        input=f"{PASSWORD}\n{PASSWORD}\n".encode(),
        check=True,
        capture_output=True,
    )
    return [program, "--foreground", "--no-process-group", "--configfile", conf]


def _vsftpd(own: Path, hot: Path, port: int, _address: str) -> list[object]:
    program = need("vsftpd")
    (own / "empty").mkdir(exist_ok=True)
    return [program, _write(own, VSFTPD, hot=hot, port=port)]


def _proftpd(own: Path, hot: Path, port: int, _address: str, hidden: str = "off") -> list[object]:
    program = need("proftpd")
    modules = next(iter([*UNPACKED.glob("usr/lib/proftpd"), Path("/usr/lib/proftpd")]))
    conf = _write(own, PROFTPD, port=port, modules=modules, hidden=hidden)
    user = [
        "--passwd",
        "--name",
        USER,
        "--uid",
        "65534",
        "--gid",
        "65534",
        "--home",
        str(hot),
        "--shell",
        "/bin/false",
        "--file",
        str(own / "users"),
        "--stdin",
    ]
    subprocess.run(
        [need("ftpasswd"), *user],
        input=PASSWORD.encode(),
        check=True,
        capture_output=True,
        env=environment(),
    )
    return [program, "--nodaemon", "--config", conf]


def _proftpd_hidden(own: Path, hot: Path, port: int, address: str) -> list[object]:
    return _proftpd(own, hot, port, address, hidden="on")


def _sshd(own: Path, hot: Path, port: int, _address: str) -> list[object]:
    program = need("sshd")
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where sshd separates its privileges
    for key in ("host", "client"):
        with contextlib.suppress(FileNotFoundError):
            (own / key).unlink()
        argv = [need("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(own / key)]
        subprocess.run(argv, check=True)
    return [program, "-D", "-e", "-f", _write(own, SSHD, hot=hot, port=port)]


def _apache(own: Path, hot: Path, port: int, _address: str) -> list[object]:
    program = need("apache2")
    (own / "lock").mkdir(exist_ok=True)
    os.chown(own / "lock", 65534, 65534)
    modules = Path("/usr/lib/apache2/modules")
    return [
        program,
        "-D",
        "FOREGROUND",
        "-f",
        _write(own, APACHE, hot=hot, port=port, modules=modules),
    ]


def _wsgidav(_own: Path, hot: Path, port: int, _address: str) -> list[object]:
    return [
        need_python(),
        "-m",
        "wsgidav.server.server_cli",
        "--host",
        "127.0.0.1",
        "--port",
        port,
        "--root",
        hot,
        "--auth",
        "anonymous",
        "--server",
        "cheroot",
        "--no-config",
    ]


def _rsync(own: Path, hot: Path, port: int, _address: str) -> list[object]:
    return [
        need("rsync"),
        "--daemon",
        "--no-detach",
        "--address",
        "127.0.0.1",
        "--port",
        port,
        "--config",
        _write(own, RSYNCD, hot=hot),
    ]


_ARGV = {
    "smb": _smbd,
    "lost": _smbd,
    "vsftpd": _vsftpd,
    "proftpd": _proftpd,
    "hidden": _proftpd_hidden,
    "sftp": _sshd,
    "apache": _apache,
    "wsgidav": _wsgidav,
    "rsync": _rsync,
}
