"""What a stage is, what it is given and what it returns.

Everything a stage receives is frozen; everything it made it returns. A stage never writes outside
`Context.folder` and never records anything itself: the core does, after the stage has ended.
"""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Generic, TypeVar

from archived.api.failures import Review
from archived.api.options import StageConfig, options_type, parse_size
from archived.api.target import Copy, Target

API_VERSION = 1
"""The major version of this contract. A stage whose `api` is greater is refused at start."""

O = TypeVar("O", bound=StageConfig)  # noqa: E741 - reads as Context[O] everywhere


class Role(StrEnum):
    """What an artifact is for. The role names its folder inside the sealed object."""

    ORIGINAL = "original"
    """Bit-exact as received. Made by admission only; a stage may not return one."""
    MASTER = "master"
    """A preservation master derived from the original."""
    ACCESS = "access"
    """What people read: PDF/A with a text layer, signed."""
    TEXT = "text"
    """Plain text, UTF-8, NFC, pages separated by a form feed (U+000C)."""
    METADATA = "metadata"
    """Descriptions, reports, receipts."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """One bitstream of a document. `name` is its file name inside the role's folder.

    `sha512` and `size` (bytes) are filled in by the core; an artifact fresh from
    `Context.new_file` has an empty digest and size -1.
    """

    path: Path
    name: str
    media_type: str
    role: Role = Role.METADATA
    sha512: str = ""
    size: int = -1


@dataclass(frozen=True, slots=True)
class Sealed:
    """Where the document's object lies in the OCFL store, once it is sealed."""

    root: Path
    """The object's folder (it holds `0=ocfl_object_1.1`, `inventory.json`, `v1/`)."""
    key: str
    """The object's path relative to the storage root, with `/`."""
    version: int
    inventory_sha512: str


@dataclass(frozen=True, slots=True)
class Document:
    """One item being archived, as a stage sees it.

    `main` is the artifact the pipeline is working on: the (first) original until a stage replaces
    it. `artifacts` holds every current artifact, the originals included, in the order they came.
    `facts` maps stage name -> that stage's facts.
    """

    id: str
    received: datetime
    hotfolder: str
    name: str
    """The received name, NFC, for people. Never use it as a path."""
    main: Artifact
    artifacts: tuple[Artifact, ...]
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: MappingProxyType({}))
    secrecy: str = ""
    """The level declared for the hot folder; empty when none was declared."""
    sealed: Sealed | None = None
    dossier: str = ""
    """Code of the dossier (hồ sơ) it belongs to, from its folder, ticket or cover sheet."""
    given: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """What a ticket said about it, as received: claims, not findings."""
    collation: str = ""
    """How several originals are read: "" one after the other; "two-pass": the first original holds
    the fronts in order, the second the backs in reverse order."""
    answers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Code of a refusal or review of this stage -> what a person wrote who looked and asked to try
    again all the same (`archivectl retry --note`). Whether that lets it go on is the stage's to
    say. No note answers a review `unread-content`: only a release does that names what was shown.
    """

    def of_role(self, role: Role) -> tuple[Artifact, ...]:
        """The current artifacts with this role, in order."""
        return tuple(a for a in self.artifacts if a.role == role)

    @property
    def originals(self) -> tuple[Artifact, ...]:
        """The bitstreams as received."""
        return self.of_role(Role.ORIGINAL)


SYSTEM_CALL_GROUPS = ("devices", "ipc")
"""What `Needs.system_calls` may name."""
WORKERS = ("fresh", "kept")
"""What `Needs.worker` may be."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What running a stage costs and may touch. All of it can be set per stage in TOML but
    `programs`, `network`, `targets`, `system_calls` and `worker`.

    `timeout`: wall clock for one attempt. `attempts`: how often a broken step is tried.
    `lane`: a concurrency class whose size is set under `[lanes]`. `memory`: address space of the
    child, in bytes or as text. `programs`: executables that must be there; looked up at start.
    `network`: without it the child has no network where the kernel allows that to be taken away.
    `targets`: the stage writes copies and is given `Context.target`. `system_calls`: groups of
    system calls that its child may make beyond what every child may: "ipc" (System V and POSIX
    queues, shared memory and semaphores, files in memory), "devices" (every ioctl, on the devices
    that its options name too). Declare only what the stage cannot work without.

    `worker`: "fresh", a process for each attempt; or "kept", one process that does one step after
    another, for a stage that owns something dear, such as the session of a token. Its `Stage` is
    made once and `run` is called again and again: what it puts into `self` stays. The process is
    ended after a step that failed or was postponed, at a deadline, after some steps or some
    minutes without any, and when the configuration changes, always without warning.

    For stages whose work grows with the pages of a document. `max_time`: the stage tells its
    progress; `timeout` is then how long it may go without getting on, and this is the end, however
    well it gets on. `memory_per_page`: added to `memory` for each page that it tells
    (`Context.pages`), up to `max_memory`.
    """

    timeout: timedelta = timedelta(minutes=10)
    attempts: int = 3
    lane: str = "cpu"
    memory: int | str = "1 GiB"
    max_time: timedelta | None = None
    memory_per_page: int | str = 0
    max_memory: int | str = 0
    programs: tuple[str, ...] = ()
    network: bool = False
    targets: bool = False
    system_calls: tuple[str, ...] = ()
    worker: str = "fresh"

    @property
    def memory_bytes(self) -> int:
        """`memory` as a number of bytes."""
        return _bytes(self.memory)

    @property
    def memory_per_page_bytes(self) -> int:
        """`memory_per_page` as a number of bytes."""
        return _bytes(self.memory_per_page)

    @property
    def max_memory_bytes(self) -> int:
        """The most that `memory` can grow to; never less than `memory`."""
        return max(self.memory_bytes, _bytes(self.max_memory))


def _bytes(size: int | str) -> int:
    return parse_size(size) if isinstance(size, str) else size


@dataclass(frozen=True, slots=True)
class Part:
    """One document cut out of this one. `file` comes from `Context.new_part`.

    The core makes a document of its own from it, which goes on with the stages after this one;
    `file` is its original. `name`: for people. `dossier`: the code of its dossier, when the
    separator says one. `facts`: JSON, kept with the new document under the stage's name.
    """

    file: Artifact
    name: str
    dossier: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Result:
    """What a stage made. Files must lie below `Context.folder`; facts must be JSON.

    `replace_main`: becomes the document's main artifact. `add`: further artifacts; an artifact
    with the role and name of an earlier one supersedes it. `facts`: small, JSON; kept under the
    stage's name. `tools`: name -> version of whatever did the work. `copies`: replicas written
    and read back, for a stage that declares `Needs(targets=True)`. `notes`: sentences for the
    record and for `archivectl explain`, such as why a step left the document as it was.
    `parts`: the documents this one was cut into, in order; it is then kept as it arrived until
    every one of them is at rest, and sealed last. Only before `seal`, and without `replace_main`.
    `reviews`: what a person must look at. The stage has finished and what it made is kept; the
    document goes on when a person has looked, or at once where its hot folder says so. Only before
    `seal`, and without `parts`.
    """

    replace_main: Artifact | None = None
    add: Sequence[Artifact] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    tools: Mapping[str, str] = field(default_factory=dict)
    copies: Sequence[Copy] = ()
    notes: Sequence[str] = ()
    parts: Sequence[Part] = ()
    reviews: Sequence[Review] = ()

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """Everything made, the new main artifact first."""
        main = (self.replace_main,) if self.replace_main else ()
        return (*main, *(a for a in self.add if a is not self.replace_main))


class Context(Generic[O]):
    """A stage's surroundings: typed options, a private empty folder, a clock that runs out.

    There is no other way into the core. `deadline` is the moment (UTC) after which the child and
    everything it started is killed.
    """

    def __init__(  # noqa: PLR0913 - the core and the testing kit build it, by name
        self,
        *,
        options: O,
        folder: Path,
        deadline: datetime,
        stage: str = "stage",
        targets: Mapping[str, Target[Any]] | None = None,
        report: Callable[[float, int], None] | None = None,
        max_time: float = 0.0,
        grow: Callable[[int], None] | None = None,
    ) -> None:
        self.options = options
        self.folder = folder
        self.deadline = deadline
        self.log = logging.getLogger(f"archived.stage.{stage}")
        self._targets = dict(targets or {})
        self._report = report
        self._grow = grow
        began = time.monotonic()
        self._patience = (deadline - datetime.now(UTC)).total_seconds()
        self._ends = began + self._patience
        self._last = began + max(max_time, self._patience)
        self._furthest = 0.0

    def new_file(self, name: str, *, media_type: str, role: Role = Role.METADATA) -> Artifact:
        """A path to write to, below `folder`, as an artifact to return in the `Result`.

        `name` is a plain file name (no slash, not hidden). Nothing is created yet.
        """
        if not name or "/" in name or "\0" in name or name.startswith(".") or len(name) > 120:
            raise ValueError(f"{name!r} is not a plain file name")
        folder = self.folder / str(role)
        folder.mkdir(exist_ok=True)
        return Artifact(path=folder / name, name=name, media_type=media_type, role=role)

    def new_part(self, name: str, *, media_type: str) -> Artifact:
        """As `new_file`, for the file of a `Part`: the original of a document to be."""
        return self.new_file(name, media_type=media_type, role=Role.ORIGINAL)

    def remaining(self) -> float:
        """Seconds left until the deadline, never below zero."""
        return max(0.0, self._ends - time.monotonic())

    def run(
        self, argv: Sequence[str | os.PathLike[str]], *, check: bool = True, **kwargs: Any
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program with the remaining time as its limit; output is captured.

        Raises `subprocess.CalledProcessError` on a non-zero exit when `check`, and
        `subprocess.TimeoutExpired` at the deadline. Never through a shell.
        """
        kwargs.setdefault("cwd", self.folder)
        kwargs.setdefault("stdin", subprocess.DEVNULL)
        kwargs.setdefault("capture_output", True)
        return subprocess.run(
            [os.fspath(a) for a in argv], check=check, timeout=self.remaining(), **kwargs
        )

    def progress(self, fraction: float, page: int = 0) -> None:
        """Tell how far the work has come (0 to 1), and at which page it is (from 1; 0: at none).

        Feeds `archivectl status` and the watchdog. Where `Needs.max_time` is set, a step that gets
        on has its `timeout` anew; one that ends without an answer is told with the page it was at.
        """
        fraction = min(1.0, max(0.0, fraction))
        if fraction > self._furthest:
            self._furthest = fraction
            self._ends = max(self._ends, min(self._last, time.monotonic() + self._patience))
        if self._report is not None:
            self._report(fraction, page)

    def pages(self, count: int) -> None:
        """Tell how many pages the document has, as soon as that is known: the memory that the step
        may use grows by `Needs.memory_per_page` for each.
        """
        if self._grow is not None:
            self._grow(count)

    def target(self, name: str) -> Target[Any]:
        """The configured place called `name`. Only for `Needs(targets=True)`."""
        try:
            return self._targets[name]
        except KeyError:
            known = ", ".join(sorted(self._targets)) or "none"
            raise LookupError(f"no target {name!r}; configured: {known}") from None

    @property
    def targets(self) -> Mapping[str, Target[Any]]:
        """All configured places by name."""
        return MappingProxyType(self._targets)


class Stage(ABC, Generic[O]):
    """One kind of work on one document. Derive, name it, write `run`.

    Required: `name`, `version`, `run`. The rest has defaults. The options type is read from the
    base class: `class Stamp(Stage[Options])`.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    accepts: ClassVar[tuple[str, ...]] = ("*/*",)
    """Media types (`image/*` is allowed) of the main artifact; others are skipped, on record."""
    any_original: ClassVar[bool] = False
    """While the main artifact is an original, one original that `accepts` fits is enough: for a
    stage that makes one artifact of several originals and leaves alone what it cannot read."""
    needs: ClassVar[Needs] = Needs()
    preload: ClassVar[tuple[str, ...]] = ()
    """Modules the fork server imports once, so that every attempt starts with them loaded.

    The plug-in's own module must stay light: the daemon imports it. Name the heavy ones here.
    """
    writes: ClassVar[tuple[str, ...]] = ()
    """Names of options (typed `Path`) whose folders the stage writes to, beside its own.

    A step reaches its own folder, its document, and the files and folders that its options name
    with the type `Path`; it reads those, and writes only what stands here. Nothing else of the
    machine is open to it.
    """
    signs: ClassVar[bool] = False
    """It signs. A document whose pipeline has such a stage, and that carries no signature in the
    end, is marked as unsigned: its facts say `"signed": True`, or that the original came signed
    (`"reason": "original-signed"`)."""
    upgrades: ClassVar[bool] = False
    """It can improve, after the seal, what it made before it. Its facts then say under `pending`
    what is wanted and not reached (a text; `None`: nothing), and `upgrade` is called while that is
    so. What `upgrade` makes becomes a new version of the sealed object, and is copied again."""
    api: ClassVar[int] = API_VERSION

    @classmethod
    def config(cls) -> type[StageConfig]:
        """The options type, found in the class statement."""
        return options_type(cls, Stage, StageConfig)

    @classmethod
    def needs_for(cls, options: O) -> Needs:  # noqa: ARG003
        """What this stage needs with these options; `needs`, unless a stage knows better.

        A stage that talks to a server only when one is configured asks for the network only then.
        """
        return cls.needs

    def check(self, options: O) -> Iterable[str]:  # noqa: ARG002
        """Problems that will stop this stage: missing language data, an expired certificate.

        Called at start, in `archived check` and `archivectl plugins`, in a child process, with the
        real options. Yields one sentence per problem, saying what to do.
        """
        return ()

    @abstractmethod
    def run(self, document: Document, context: Context[O]) -> Result:
        """Do the work. Called in a process of its own; running it twice must be fine.

        With `Needs(worker="kept")` it is called for one document after another, on one object.
        """

    def upgrade(self, document: Document, context: Context[O]) -> Result:
        """Bring a sealed document nearer to what its facts call `pending`; for `upgrades = True`.

        As `run`, with the artifacts and facts of the sealed document. The `Result` has new or
        superseding artifacts, and all facts of the stage anew. Raises `Postpone` while nothing can
        be improved (a server is away), `Refuse` when nothing ever can. Reviews, parts and copies
        are not for it.
        """
        raise NotImplementedError(f"{self.name} does not upgrade")


def digest_file(path: Path, algorithm: str = "sha512") -> str:
    """Hex digest of a file's bytes, read in one pass."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
