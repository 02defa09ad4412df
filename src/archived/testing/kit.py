"""Runs a stage in a test exactly as the daemon would: fork server, limits, JSON, checked output."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import inspect
import json
import mimetypes
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from archived.api import (
    Artifact,
    Copy,
    Document,
    Part,
    Postpone,
    Refuse,
    Region,
    Result,
    Review,
    Role,
    Sealed,
    Stage,
    digest_file,
    parse_duration,
    parse_size,
)
from archived.engine.protocol import StepDocument, StepLimits, StepRequest, asked_about
from archived.engine.worker.output import sniff
from archived.model import review
from archived.model.outcome import Ending, Made, Outcome, Usage
from archived.model.pipeline import accepts
from archived.storage import tree
from archived.testing.lane import lanes

AnyStage = type[Stage[Any]]
Sample = Path | Document | Sequence[Path]
"""A file, a document, or the files of one document in order."""
Targets = Mapping[str, Mapping[str, Any]]
"""Name -> the target's table as written in TOML: `{"kind": "directory", "path": ...}`."""


class StageFailed(Exception):
    """The stage is at fault: an exception, a crash, a timeout, bad output. `code` says which.

    `log` holds what it printed, its traceback included.
    """

    def __init__(self, outcome: Outcome, log: str) -> None:
        super().__init__(f"{outcome.code}: {outcome.message}\n{log}".rstrip())
        self.code = outcome.code
        self.message = outcome.message
        self.hint = outcome.hint
        self.usage = outcome.usage
        self.log = log


@dataclass(frozen=True, slots=True)
class Finished(Result):
    """What a stage made, as a `Result` whose artifacts have their digest and size.

    `document` is what the next stage of a pipeline would be given. `folder` is the step's folder;
    it is removed when the test session ends. `usage` is what it cost, `log` what it printed.
    """

    document: Document = dataclasses.field(kw_only=True)
    folder: Path = dataclasses.field(kw_only=True)
    usage: Usage = dataclasses.field(kw_only=True)
    log: str = dataclasses.field(kw_only=True)


def run_stage(
    stage: AnyStage,
    sample: Sample,
    /,
    *,
    targets: Targets | None = None,
    facts: Mapping[str, Mapping[str, Any]] | None = None,
    secrecy: str = "",
    collation: str = "",
    sealed: Sealed | None = None,
    timeout: str | timedelta | None = None,
    memory: str | int | None = None,
    **options: Any,
) -> Finished:
    """Run `stage` on a document in a process of its own and return what it made.

    `sample` is a file, taken in as a new document's original, several files, taken in as the
    originals of one document, or a document (for example the `document` of an earlier
    `Finished`). `options` are the stage's own, as in TOML. `facts`, `secrecy`, `collation` and
    `sealed` are put on the document; `timeout` and `memory` replace the stage's `needs`.

    Raises what the stage raised (`Refuse`, `Postpone`), `StageFailed` for every other failure,
    pydantic's `ValidationError` for wrong options, `ValueError` when the core would skip the step.
    The stage's class must stand at the top of a module.

    A stage with `Needs(worker="kept")` has one process for the calls of a test session that follow
    each other with the same options, as it has in the daemon.
    """
    return run_stage_below(
        _session_folder(),
        stage,
        sample,
        targets=targets,
        facts=facts,
        secrecy=secrecy,
        collation=collation,
        sealed=sealed,
        timeout=timeout,
        memory=memory,
        **options,
    )


def run_stage_below(
    root: Path,
    stage: AnyStage,
    sample: Sample,
    /,
    *,
    targets: Targets | None = None,
    facts: Mapping[str, Mapping[str, Any]] | None = None,
    secrecy: str = "",
    collation: str = "",
    sealed: Sealed | None = None,
    timeout: str | timedelta | None = None,
    memory: str | int | None = None,
    **options: Any,
) -> Finished:
    """`run_stage` with its folders below `root`."""
    checked = stage.config().model_validate(options)
    document = sample if isinstance(sample, Document) else take_in(sample, root)
    document = dataclasses.replace(
        document,
        facts={**document.facts, **(facts or {})},
        secrecy=secrecy or document.secrecy,
        collation=collation or document.collation,
        sealed=sealed or document.sealed,
    )
    if not accepted(stage, document):
        raise ValueError(
            f"stage {stage.name!r} does not accept {document.main.media_type}: the core would "
            "skip this step"
        )
    needs = stage.needs_for(checked)
    limit = needs.timeout if timeout is None else timeout
    room = needs.memory_bytes if memory is None else memory
    folder = Path(tempfile.mkdtemp(prefix=f"{stage.name}-", dir=root))
    request = StepRequest(
        step=f"{folder}",
        stage=stage.name,
        options=checked.model_dump(mode="json"),
        document=StepDocument.of(document),
        folder=folder,
        deadline=datetime.now(UTC) + (parse_duration(limit) if isinstance(limit, str) else limit),
        targets=as_request(targets),
        limits=StepLimits(
            memory=parse_size(room) if isinstance(room, str) else room,
            network=needs.network,
            system_calls=needs.system_calls,
        ),
        kept=needs.worker == "kept",
    )
    outcome, log = lanes().run(sources(stage), request)
    return _ended(stage, document, folder, outcome, log)


def take_in(sample: Path | Sequence[Path], root: Path) -> Document:
    """A document as admission would make it from its files, their bytes read-only below `root`."""
    paths = [sample] if isinstance(sample, Path) else list(sample)
    folder = Path(tempfile.mkdtemp(prefix="document-", dir=root))
    originals = tuple(_original(path, folder, n) for n, path in enumerate(paths, 1))
    return Document(
        id="0196e0a0-0000-7000-8000-000000000001",
        received=datetime(2026, 3, 2, 1, 30, tzinfo=UTC),
        hotfolder="scans",
        name=paths[0].name,
        main=originals[0],
        artifacts=originals,
    )


def _original(path: Path, folder: Path, number: int) -> Artifact:
    kept = folder / f"{number:04}{path.suffix.lower()}"
    shutil.copyfile(path, kept)
    kept.chmod(0o444)
    return Artifact(
        path=kept,
        name=kept.name,
        media_type=media_type(path),
        role=Role.ORIGINAL,
        sha512=digest_file(kept),
        size=kept.stat().st_size,
    )


def media_type(path: Path) -> str:
    """By the first bytes, else by the name."""
    return sniff(path) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"


def accepted(stage: AnyStage, document: Document) -> bool:
    """Whether the core would run the stage on this document."""
    return accepts(stage.accepts, *asked_about(document, any_original=stage.any_original))


def as_request(targets: Targets | None) -> dict[str, dict[str, Any]]:
    """Targets as TOML tables -> as a request has them."""
    tables: Targets = json.loads(json.dumps(targets or {}, default=_as_written))
    return {
        name: {"kind": t["kind"], "options": {k: v for k, v in t.items() if k != "kind"}}
        for name, t in tables.items()
    }


def sources(stage: AnyStage) -> list[dict[str, Any]]:
    """Where a fork server finds the stage: its module by name if that can be imported, or its file.

    The plug-in's top module is loaded as well, for the targets it may register.
    """
    if "<locals>" in stage.__qualname__:
        raise TypeError(
            f"{stage.__qualname__} stands inside a function, where another process cannot find "
            "it; move it to the top of its module"
        )
    module, file = stage.__module__, inspect.getfile(stage)
    watch = {"name": "watch", "entry_point": "archived.testing.watch"}
    if not _importable(module, file):
        name = re.sub(r"\W", "_", module)
        return [watch, {"name": name, "file": file, "classes": [stage.__qualname__]}]
    found: list[dict[str, Any]] = [
        watch,
        {"name": module, "entry_point": module, "classes": [stage.__qualname__]},
    ]
    top = module.partition(".")[0]
    if top != module and hasattr(sys.modules.get(top), "register_stages"):
        found.append({"name": top, "entry_point": top})
    return found


def _importable(module: str, file: str) -> bool:
    path = None
    spec: ModuleSpec | None = None
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        name = ".".join(parts[:end])
        found = (finder.find_spec(name, path) for finder in sys.meta_path)
        spec = next((s for s in found if s is not None), None)
        if spec is None:
            return False
        path = spec.submodule_search_locations
    return spec is not None and spec.origin is not None and Path(spec.origin) == Path(file)


def _ended(
    stage: AnyStage, document: Document, folder: Path, outcome: Outcome, log: str
) -> Finished:
    if outcome.ending is Ending.REFUSED:
        raise Refuse(outcome.message, code=outcome.code, hint=outcome.hint)
    if outcome.ending is Ending.POSTPONED:
        raise Postpone(
            outcome.message,
            code=outcome.code,
            hint=outcome.hint,
            after=outcome.after or timedelta(minutes=1),
        )
    if outcome.ending is not Ending.FINISHED:
        raise StageFailed(outcome, log)
    made = [_artifact(one, folder) for one in outcome.made]
    main = None if outcome.main is None else made[outcome.main]
    return Finished(
        replace_main=main,
        add=tuple(a for a in made if a is not main),
        facts=outcome.facts,
        tools=outcome.tools,
        copies=tuple(Copy(**dataclasses.asdict(c)) for c in outcome.copies),
        notes=outcome.notes,
        parts=tuple(
            Part(_artifact(part.file, folder), part.name, part.dossier, part.facts)
            for part in outcome.parts
        ),
        reviews=tuple(_review(each) for each in outcome.reviews),
        document=_after(stage, document, made, main, outcome.facts),
        folder=folder,
        usage=outcome.usage,
        log=log,
    )


def _review(found: review.Review) -> Review:
    regions = tuple(
        Region(r.page, (r.box[0], r.box[1], r.box[2], r.box[3]), r.kind, r.share, r.picture)
        for r in found.regions
    )
    return Review(found.code, found.message, found.hint, regions)


def _artifact(made: Made, folder: Path) -> Artifact:
    path = folder / made.path
    return Artifact(
        path=path,
        name=made.name,
        media_type=made.media_type,
        role=Role(made.role),
        sha512=digest_file(path),
        size=path.stat().st_size,
    )


def _after(
    stage: AnyStage,
    document: Document,
    made: list[Artifact],
    main: Artifact | None,
    facts: Mapping[str, Any],
) -> Document:
    new = {(a.role, a.name) for a in made}
    kept = tuple(a for a in document.artifacts if (a.role, a.name) not in new)
    same = next(
        (a for a in made if (a.role, a.name) == (document.main.role, document.main.name)),
        document.main,
    )
    return dataclasses.replace(
        document,
        artifacts=(*kept, *made),
        main=main or same,
        facts={**document.facts, **({stage.name: facts} if facts else {})},
    )


def _as_written(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{value!r} cannot be written in TOML")


_PREFIX = "archived-testing-"
_FORGOTTEN = 24 * 3600
"""Seconds after which no session can be running any more: one that was killed removes nothing."""
_root: Path | None = None


def _clear(folder: Path) -> None:
    with contextlib.suppress(OSError):
        tree.remove(folder)


def _clear_forgotten(folder: Path) -> None:
    for old in folder.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            at = old.lstat()
            if at.st_uid == os.getuid() and time.time() - at.st_mtime > _FORGOTTEN:
                tree.remove(old)


def _session_folder() -> Path:
    global _root  # noqa: PLW0603 - one per session is the point
    if _root is None or not _root.is_dir():
        _clear_forgotten(Path(tempfile.gettempdir()))
        _root = Path(tempfile.mkdtemp(prefix=_PREFIX))
        atexit.register(_clear, _root)
    return _root
