"""The tables of the configuration file: their keys, defaults and documentation, nothing else.

A string under a field is shown to people by `archived sample-config`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, model_validator

from archived.api import Needs, Options, SecretRef, Size, parse_duration, parse_size
from archived.api.options import duration_text
from archived.config.types import (
    AbsolutePath,
    Address,
    Bytes,
    Device,
    FolderName,
    Listen,
    Names,
    PasswordHash,
    Pattern,
    Secrecy,
    Topic,
    UserName,
    Wait,
    WorkHours,
)
from archived.message import Message


class Archive(Options):
    """Whose archive this is and where the daemon keeps what it knows."""

    name: str = ""
    """Name of the organisation whose archive this is; stands in every object's metadata."""
    state: AbsolutePath = Path("/var/lib/archived")
    """Folder for catalog.db, spool/ and work/. Not the store: that is the archive itself."""
    timezone: ZoneInfo = ZoneInfo("Asia/Ho_Chi_Minh")
    """Time zone of the dates people see."""

    @property
    def catalog(self) -> Path:
        """The catalog's database file."""
        return self.state / "catalog.db"

    @property
    def spool(self) -> Path:
        """Where received files wait until they are sealed."""
        return self.state / "spool"

    @property
    def work(self) -> Path:
        """Where running steps have their private folders."""
        return self.state / "work"


class Store(Options):
    """The preservation store."""

    path: AbsolutePath = Path("/srv/archived/store")
    """The store's folder. Below it: ocfl/, the OCFL storage root that can be read without this
    program, and what is needed to write there safely."""


class Spool(Options):
    """Where received files wait until their object is sealed."""

    keep_free: Size = parse_size("2 GiB")
    """Floor of free disk space: below it nothing is taken in until there is room again."""


FileType = Literal["pdf", "tiff", "jpeg", "png", "gif", "zip", "text", "any"]


class Intake(Options):
    """How files are taken in; a hot folder may say otherwise for itself."""

    settle_time: Wait = parse_duration("15 s")
    """How long a file must have stayed the same before it is looked at as finished. Twelve times
    as long for one with holes, and after the take-in where nobody can tell whether it is written
    to."""
    rescan: Wait = parse_duration("30 s")
    """How often every hot folder is listed completely, whatever the kernel reported."""
    arrival_deadline: Wait = parse_duration("15 min")
    """A file that is still not whole after it has not changed for this long is held as incomplete.
    A restart does not begin to count anew."""
    max_file_size: Bytes = parse_size("4 GiB")
    """A file larger than this is held, not taken in."""
    accept: Annotated[tuple[FileType, ...], Field(min_length=1)] = ("pdf", "tiff", "jpeg", "png")
    """Types of files that are taken in, told by their content and not by their name: "pdf",
    "tiff", "jpeg", "png", "gif", "zip" (also of word processors), "text", or "any". A file of
    another type is held where it lies."""


Closing = Literal["ticket", "mark", "settled"]


class HotFolder(Options):
    """One folder that scanners write to. `NAME` stands in metrics, events and the record."""

    path: Annotated[AbsolutePath, Field(examples=["/srv/scans"])]
    """The folder that is watched."""
    pipeline: Annotated[str, Field(examples=["paper"])]
    """Name of the pipeline for what arrives here."""
    enabled: bool = True
    """false leaves the folder alone; files already taken in go on."""
    mode: Literal["auto", "events", "polling"] = "auto"
    """How changes are noticed; "auto" polls on network file systems, which report none."""
    recursive: bool = True
    """Whether folders below it are watched as well."""
    secrecy: Secrecy = ""
    """Highest level that may arrive here: "thường" ("open"), "mật" ("mat"), "tối mật" ("toi-mat"),
    "tuyệt mật" ("tuyet-mat"). A higher mark found on a page holds the document. Empty: the same as
    "thường"."""
    unread: Literal["hold", "flag"] = "hold"
    """What becomes of a document of which a stage says that it could not read all (the code
    "unread-content"), so that its secrecy is not established: "hold" until a person has looked,
    "flag" to record it and go on. Every other review holds."""
    owner: str = ""
    """Whose papers arrive here: the unit or office, as it is to stand in each document's record."""
    priority: int = 0
    """Documents from a folder with a higher number go first."""
    device: Device = ""
    """Name of the scanner that writes here, for the balance sheet and for a fair share of the
    work. Folders with the same device share one place in the queue. Empty: the folder's name."""
    device_from: Literal["folder", "subfolder"] = "folder"
    """Where the device is told from: "folder", by `device`; "subfolder", by the name of the folder
    directly below this one that a file lies in. What lies in none counts for `device`."""
    ignore: tuple[Pattern, ...] = ()
    """What is left alone, on record, in the language of gitignore(5): "*.xml" and "drafts/" at any
    depth, "/top.pdf" only directly here, "a/**/b". The last pattern that fits decides, and "!"
    takes back what one before it said: ["*", "!*.pdf"] takes in PDF files only."""
    dossiers: bool = False
    """Whether each folder directly below this one is a dossier (hồ sơ), whose files are taken in
    together, all or none; with device_from = "subfolder", each folder below the device's. Its name
    is the dossier's code, unless a ticket says another."""
    closed_by: tuple[Closing, ...] = ("ticket", "mark", "settled")
    """What says that a dossier is whole: a "ticket" (ticket.json, ticket.csv or ticket.xml in its
    folder), a "mark" (an empty file .done), or "settled":
    nothing changes for batch_settle_time."""
    pages: Literal["files", "numbered"] = "files"
    """"numbered" joins files that differ in their last number only (scan-001.tif, scan-002.tif) to
    one document; "files" makes each a document of its own."""
    collate: Literal["none", "two-pass"] = "none"
    """"two-pass" is for scanners that see one side: what a device sends first holds the fronts,
    what it sends next the backs, the last sheet's in front. Together they are one document."""
    batch_settle_time: Wait = parse_duration("2 min")
    """How long nothing may change in a dossier, or in a row of numbered pages, before it counts as
    whole without a ticket or mark."""
    back_side_wait: Wait = parse_duration("30 min")
    """How long fronts wait for their backs before a person must decide."""
    settle_time: Wait | None = None
    """As in [intake], for this folder."""
    rescan: Wait | None = None
    """As in [intake], for this folder."""
    arrival_deadline: Wait | None = None
    """As in [intake], for this folder."""
    max_file_size: Bytes | None = None
    """As in [intake], for this folder."""
    expected_within: Wait | None = None
    """How long it may last until the next file comes; then the figures say that the scanner is
    silent, and an alert asks somebody to look. Counted in expected_hours. Not set: as long as it
    may."""
    expected_hours: Annotated[WorkHours | None, Field(examples=["Mon-Fri 07:30-17:00"])] = None
    """When files are expected, on the archive's clock. Not set: at any time."""
    accept: Annotated[tuple[FileType, ...], Field(min_length=1)] | None = None
    """As in [intake], for this folder."""
    receipts: bool = True
    """Whether receipts, reasons and lists are written into the folder, for people who see only the
    share."""
    receipts_folder: FolderName = "_archived"
    """Name of the folder inside it that they are written to. Nothing in it is ever taken in."""
    receipts_keep: Bytes = parse_size("64 MiB")
    """How much room they may take; beyond it the oldest are removed."""


class Pipeline(Options):
    """What happens to a document, read from left to right."""

    stages: Annotated[tuple[str, ...], Field(examples=[["seal"]])]
    """Stages by name. "seal", the core's own step, stands in it exactly once: stages before it
    shape the object, stages after it copy or announce it."""
    copies: Annotated[int, Field(ge=1)] = 1
    """A document is safe when this many copies were written and read back, the store not
    counted."""


class Reserved(Options):
    """What every [stage.NAME] understands besides the stage's own options."""

    timeout: Wait | None = None
    """Wall clock for one attempt; then it is killed with everything it started. For a stage with
    `max_time`: how long an attempt may go without getting on."""
    max_time: Wait | None = None
    """The end of an attempt that gets on. Of use to a stage that tells its progress, page by page;
    not set: `timeout` is the end."""
    attempts: Annotated[int, Field(ge=1)] | None = None
    """How often a step that failed is tried before a person must decide."""
    lane: str | None = None
    """The lane it runs in; see [lanes]."""
    memory: Bytes | None = None
    """Address space of its process."""
    memory_per_page: Bytes | None = None
    """What is added to `memory` for each page of the document, once the stage has counted them."""
    max_memory: Bytes | None = None
    """The most that `memory` may grow to by its pages."""
    disk_factor: Annotated[float, Field(ge=0, le=10_000)] | None = None
    """How much of the disk with the spool is kept free for one attempt, in times of the document's
    size. A step for which there is no room waits. 0: none."""


def default_disk_factor(needs: Needs) -> float:
    """`disk_factor` where the file says nothing. Measured: OCR takes up four to seven times the
    size of most scans. What makes copies writes elsewhere."""
    return 0.0 if needs.targets else 10.0


class Retry(Options):
    """How patiently a step that failed or was postponed is tried again."""

    first_wait: Wait = parse_duration("30 s")
    """Wait after the first failure; it doubles with every further one."""
    longest_wait: Wait = parse_duration("1 h")
    """The wait grows no longer than this."""

    @model_validator(mode="after")
    def _ordered(self) -> Retry:
        if self.longest_wait < self.first_wait:
            raise ValueError(
                f'longest_wait ("{duration_text(self.longest_wait)}") is shorter than first_wait '
                f'("{duration_text(self.first_wait)}")'
            )
        return self


class Fairness(Options):
    """Who goes first where more waits than a lane can do: higher priority, and of equal priority
    each device in its turn."""

    ageing: Wait = parse_duration("30 min")
    """What has waited longer than this for its turn is not passed any more by what has a higher
    priority."""


class Lane(Options):
    """A class of steps that run side by side. A number alone means its width."""

    width: Annotated[int, Field(ge=1, le=1024)]
    """How many steps run at the same time."""
    runner: str = "local"
    """Who runs them: "local", or a runner that a plug-in gives."""
    hours: Annotated[WorkHours | None, Field(examples=["18:00-06:00", "Mon-Fri 18:00-06:00"])] = (
        None
    )
    """When steps may start, on the archive's clock. Outside of it they wait, and archivectl status
    says so; what runs then runs on. Not set: at any time."""


def _lane(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        return {"width": value}
    if not isinstance(value, dict | Lane):
        raise ValueError(Message("write a number, or a table like { width = 2 }"))  # noqa: TRY004 - pydantic
    return value


LaneTable = Annotated[Lane, BeforeValidator(_lane)]


def default_lanes() -> dict[str, Lane]:
    """One step per core that this process may use, and four that wait for the network."""
    return {"cpu": Lane(width=len(os.sched_getaffinity(0))), "network": Lane(width=4)}


class Web(Options):
    """Metrics and health over HTTP: /metrics, /healthz, /readyz. Other machines are answered over
    TLS and asked for a password, or not at all."""

    listen: Listen = Address("127.0.0.1", 9477)
    """Address and port. An address that other machines can reach, like "0.0.0.0:9477", is refused
    without `certificate`, `key` and `users`."""
    certificate: Annotated[AbsolutePath | None, Field(examples=["/etc/archived/web.pem"])] = None
    """The server's certificate, PEM, with those between it and its authority. With it the answers
    are encrypted (TLS 1.2 or newer). A reload reads it again."""
    key: Annotated[SecretRef | None, Field(examples=[{"credential": "web-key"}])] = None
    """Where the certificate's private key is kept, PEM, without a passphrase."""
    users: dict[UserName, PasswordHash] = Field(default_factory=dict)
    """Who may read the metrics: { prometheus = "$scrypt$..." }, each name with what archived
    hash-password prints. Health is told to this machine itself without a password."""

    @model_validator(mode="after")
    def _fits(self) -> Web:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together; one of them is not set")
        needed = {"certificate": self.certificate, "key": self.key, "users": self.users}
        missing = [name for name, value in needed.items() if not value]
        if missing and not self.listen.for_this_machine_only:
            raise ValueError(
                f'listen = "{self.listen}" can be reached by other machines, which needs '
                f"{', '.join(missing)}; set what is missing, or listen on 127.0.0.1"
            )
        return self

    @property
    def address(self) -> str:
        """Where it answers, as people open it."""
        return f"http{'s' if self.certificate else ''}://{self.listen}"


class Control(Options):
    """The socket that archivectl talks to."""

    socket: AbsolutePath = Path("/run/archived/control.sock")
    """The unix socket."""
    group: Annotated[str | None, Field(examples=["archivists"])] = None
    """Members of this group may use it, besides root and the daemon's own user."""


class Mqtt(Options):
    """A broker that is told what happened. Without this table none is."""

    host: Annotated[str, Field(examples=["localhost"], min_length=1)]
    """Name or address of the broker."""
    protocol: Literal["5", "3.1.1"] = "5"
    """Version of MQTT: "5", or "3.1.1" for a broker that does not speak 5 yet."""
    tls: bool = False
    """Whether the connection is encrypted."""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Port; when not set 8883 with TLS and 1883 without."""
    ca: Annotated[AbsolutePath | None, Field(examples=["/etc/archived/broker-ca.pem"])] = None
    """Certificates that the broker's is checked against; when not set, the system's."""
    username: Annotated[str | None, Field(examples=["archived"])] = None
    """User name at the broker."""
    password: Annotated[SecretRef | None, Field(examples=[{"credential": "mqtt-password"}])] = None
    """Where the password is kept; never the password itself."""
    topic_prefix: Topic = "archived"
    """What every topic begins with."""
    client_id: str = "archived"
    """Name of this daemon at the broker; two daemons with one name throw each other out."""
    keepalive: Wait = parse_duration("60 s")
    """How long the line may be silent before each side asks whether the other is there."""

    @property
    def effective_port(self) -> int:
        """`port`, or the usual one."""
        return self.port or (8883 if self.tls else 1883)

    @model_validator(mode="after")
    def _fits(self) -> Mqtt:
        if self.password is not None and self.username is None:
            raise ValueError("password means nothing without username")
        if self.ca is not None and not self.tls:
            raise ValueError("ca means nothing without tls = true")
        return self


class Log(Options):
    """What the daemon writes about its work."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """From this level on."""
    format: Literal["auto", "json", "console"] = "auto"
    """"console" for people, "json" for programs; "auto": console on a terminal, fields where the
    service manager leads it to the journal (journalctl DOCUMENT=ID), else json."""


class PluginTable(Options):
    """Which plug-ins are used. One that is installed and not named here is never loaded."""

    enabled: Names = ()
    """Plug-ins by name."""
    folders: tuple[AbsolutePath, ...] = (Path("/etc/archived/plugins"),)
    """Where plug-ins of a single file, NAME.py, are looked for. Files and folders that others may
    write are refused."""


SINGLE: dict[str, type[Options]] = {
    "archive": Archive,
    "store": Store,
    "spool": Spool,
    "intake": Intake,
    "retry": Retry,
    "fairness": Fairness,
    "web": Web,
    "control": Control,
    "log": Log,
    "plugins": PluginTable,
}
"""Tables that are there once, each with a default for everything."""

TABLES = (*SINGLE, "hotfolder", "pipeline", "stage", "target", "lanes", "mqtt")
"""Every table there is."""


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}")


def name_problem(name: str) -> str | None:
    """Why `name` cannot name a hot folder, pipeline, target or lane."""
    if _NAME.fullmatch(name):
        return None
    return 'a name is made of letters a-z, digits, "-" and "_" (at most 60)'
