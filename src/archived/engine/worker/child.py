"""The child's side of a step: confine itself, run the stage, report how it ended.

Runs in a process forked for one attempt, or for the attempts of a kept worker. Whatever a stage
raises or returns becomes an `Outcome`; nothing of the stage may reach the fork server but one line
of JSON and its progress. Copies are read back here as well, in a process that has run no stage and
read no document, so that "there is a copy" is the core's finding.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import math
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from archived.api import Context, Postpone, Refuse, Stage, Target
from archived.api.options import handed_over
from archived.engine import programs
from archived.engine.plugin_loader import Registry, load_plugins
from archived.engine.protocol import (
    TEMPORARY,
    StepRequest,
    limits_from_json,
    outcome_to_json,
)
from archived.engine.sandbox import access_policy
from archived.engine.sandbox.access_policy import AccessPolicy
from archived.engine.sandbox.confinement import (
    adopt_orphans,
    confine,
    grow_memory,
    release_reply_memory,
)
from archived.engine.worker import handover
from archived.engine.worker.kept_child import KeptConnection, limit_processor
from archived.engine.worker.reply import REPLY_LIMIT, clean
from archived.engine.worker.results import LONGEST_WAIT, SHORTEST_WAIT
from archived.engine.worker.stage_result import BadOutput, outcome_of, trace
from archived.message import Message, in_json
from archived.model.outcome import Ending, Outcome

_CHUNK = 2**20


def digests_of(
    targets: Mapping[str, Target[Any]], files: Sequence[Mapping[str, Any]], beside: Path
) -> list[dict[str, str]]:
    """For each of `files` (`target`, `key`, `size`): its `sha512`, or `why` there is none.

    `state` is "read", "absent" or "unread": only the last may be better later. `beside` is the
    store.
    """
    unfit = {name: _unfit(target, beside) for name, target in targets.items()}
    return [
        _digest(targets[file["target"]], file["key"], file["size"])
        if not unfit[file["target"]]
        else _result("unread", unfit[file["target"]])
        for file in files
    ]


def _unfit(target: Target[Any], beside: Path) -> str:
    """Why nothing at this place is a copy now: its disk is not mounted, say."""
    try:
        return next(iter(target.check(beside)), "")
    except Postpone as wait:
        return wait.message
    except OSError as error:
        return str(error)


def _digest(target: Target[Any], key: str, size: int) -> dict[str, str]:
    digest, left = hashlib.sha512(), size + 1  # one more than there may be
    try:
        with target.open(key) as file:
            while left > 0 and (chunk := file.read(min(_CHUNK, left))):
                digest.update(chunk)
                left -= len(chunk)
    except FileNotFoundError:
        return _result("absent", Message("it is not there"))
    except Postpone as wait:
        return _result("unread", wait.message)
    except OSError as error:
        return _result("unread", str(error))
    return {"state": "read", "sha512": digest.hexdigest(), "why": ""}


def _result(state: str, why: str) -> dict[str, str]:
    return {"state": state, "sha512": "", "why": clean(str(why))}


__all__ = ["Registry", "load_plugins", "serve"]

_PROGRESS_EVERY = 0.25
_PAGE_EVERY = 0.1
_saying = threading.Lock()


class Descriptors(NamedTuple):
    """What a child is given open.

    `asked` is read to its end; it holds the job: `{"kind": "run", "request": ...}`, or of the kind
    `check`, `read-back` or `give-back`. `reply` and `output` are the writing ends of pipes, for
    JSON lines and for what the stage prints. `listener` is a socket for who approves its new
    processes (`sandbox.confine`). `line` is where a kept worker is told of its further steps, else
    -1. `secrets` are open files, in the order of the job's paths.
    """

    asked: int
    reply: int
    output: int
    listener: int
    line: int
    secrets: tuple[int, ...]


def serve(registry: Registry, parent: int, given: Descriptors) -> NoReturn:
    """Do one job and exit; with a `line`, do one step after another. Never returns.

    `parent` is the pid of the fork server.
    """
    asked, reply, output, hand, line, secrets = given
    status, own = 70, os.getpid()  # EX_SOFTWARE
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        _redirect(output)
        with os.fdopen(asked, "rb") as file:
            job = json.load(file)
        folder = Path(job["folder"])
        if job["kind"] == "give-back":  # nothing of a stage's runs: it needs no confinement
            handover.give_back(folder, job["owner"])
            os._exit(0)
        _settle_in(folder)
        adopt_orphans()
        programs.listen()
        paths = job.get("secrets", [])
        handed_over(dict(zip(paths, secrets, strict=True)))
        within = _reach(registry, _told(job, paths))
        limits = limits_from_json(job["limits"])
        rules = list(within.rules(network=limits.network, devices="devices" in limits.system_calls))
        if line >= 0:
            limit_processor(limits.cpu_seconds)
            limits = replace(limits, cpu_seconds=None)
        confinement = confine(limits, parent, rules, services=within.services, hand=hand)
        _say(reply, {"confinement": confinement.to_json()})
        if job["kind"] == "check":
            problems = [*map(clean, within.complaints()), *_check(registry, job)]
            _say(reply, {"problems": [in_json(problem) for problem in problems]})
        elif job["kind"] == "read-back":
            targets, beside = _targets(registry, job["targets"]), Path(job["beside"])
            _say(reply, {"read": digests_of(targets, job["files"], beside)})
        else:
            sys.stderr.writelines(f"{text}\n" for text in within.complaints())
            _do_steps(registry, job, reply, own, None if line < 0 else KeptConnection(line, job))
        status = 0
    except BaseException:  # noqa: BLE001 - the last line of defence: said on stderr, exit status 70
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(status)  # no atexit, no finalisers: they belong to the fork server


def _do_steps(
    registry: Registry, job: Mapping[str, Any], reply: int, own: int, line: KeptConnection | None
) -> None:
    """Do the step of a job; a kept worker, which has a line, does the next ones as well."""
    stages: dict[str, Stage[Any]] = {}
    while True:
        progress = _Progress(reply)
        outcome = attempt(registry, job["request"], progress, stages if line else {})
        if os.getpid() != own:  # what a stage forks falls out of it, too, and is not the step
            return
        if "owner" in job:
            handover.give_back(Path(job["folder"]), job["owner"])
        progress.end()
        _reply(reply, outcome)
        if line is None:
            return
        line.rest(reply)
        given = line.next()
        _settle_in(Path(given.job["folder"]))
        programs.forget()
        paths = given.job.get("secrets", [])
        handed_over(dict(zip(paths, given.secrets, strict=True)))
        job, reply = given.job, given.reply
        line.begin()


def _told(job: Mapping[str, Any], given: Sequence[str]) -> Mapping[str, Any]:
    """The job without the secrets that are open already: their paths lead nowhere from here."""
    if not given:
        return job
    if "request" not in job:
        return {**job, "options": handover.without_secrets(job["options"], given)}
    options = handover.without_secrets(job["request"]["options"], given)
    return {**job, "request": {**job["request"], "options": options}}


def _reach(registry: Registry, job: Mapping[str, Any]) -> AccessPolicy:
    try:
        if job["kind"] != "run":
            return access_policy.of_check(registry, job)
        if "folders" in job:
            return access_policy.of_kept(registry, job["request"], job["folders"])
        return access_policy.of_run(registry, job["request"])
    except (KeyError, TypeError, ValueError, AttributeError):
        # Too little: a job of another shape fails below, where it is explained.
        return AccessPolicy(job["folder"])


def attempt(
    registry: Registry,
    request: Mapping[str, Any],
    report: Callable[[float, int], None],
    stages: dict[str, Stage[Any]] | None = None,
) -> Outcome:
    """Run the requested stage and turn whatever happens into an outcome.

    `stages`: those that were made for earlier steps, by name; one that is made is put there.
    """
    try:
        asked = StepRequest.from_json(request)
        stage, context = _prepare(registry, asked, report, {} if stages is None else stages)
        work = stage.upgrade if asked.upgrade else stage.run
        return outcome_of(work(asked.document.document(), context), asked.folder)
    except Postpone as wait:
        ending = _failed(Ending.POSTPONED, wait.code, wait.message, wait.hint)
        return Outcome(
            ending=ending.ending,
            code=ending.code,
            message=ending.message,
            hint=ending.hint,
            after=min(max(wait.after, SHORTEST_WAIT), LONGEST_WAIT),
        )
    except MemoryError as error:
        error.__traceback__ = None  # the frames hold what filled the memory
        release_reply_memory()
        return _failed(
            Ending.FAILED,
            "out-of-memory",
            Message("the stage asked for more memory than it is allowed"),
            Message("raise `memory` for this stage, or look at what is special about the document"),
        )
    except BaseException as error:  # noqa: BLE001 - also SystemExit and KeyboardInterrupt
        return _failure(error)


def _failure(error: BaseException) -> Outcome:
    # Asked first: whatever a stage or a library made of it, it says nothing of the document.
    if (absent := programs.not_started(error)) is not None:
        traceback.print_exc()
        return _failed(Ending.POSTPONED, programs.CODE, absent.message, absent.hint)
    match error:
        case Refuse():
            return _failed(Ending.REFUSED, error.code, error.message, error.hint)
        case BadOutput():
            hint = Message("report it to the stage's author")
            return _failed(Ending.FAILED, "bad-output", str(error), hint)
    traceback.print_exc()
    if isinstance(error, OSError):
        outcome = _failed_by_system(error)
    else:
        outcome = _failed(Ending.FAILED, "stage-error", f"{type(error).__name__}: {error}")
    return replace(outcome, notes=trace(error)) if outcome.ending is Ending.FAILED else outcome


def _prepare(
    registry: Registry,
    asked: StepRequest,
    report: Callable[[float, int], None],
    stages: dict[str, Stage[Any]],
) -> tuple[Stage[Any], Context[Any]]:
    stage = registry.stages[asked.stage]
    context: Context[Any] = Context(
        options=stage.config().model_validate(dict(asked.options)),
        folder=asked.folder,
        deadline=asked.deadline,
        stage=asked.stage,
        targets=_targets(registry, asked.targets),
        report=report,
        max_time=asked.max_time,
        grow=partial(grow_memory, asked.limits),
    )
    if asked.stage not in stages:
        stages[asked.stage] = stage()
    return stages[asked.stage], context


def _targets(registry: Registry, wanted: Mapping[str, Mapping[str, Any]]) -> dict[str, Target[Any]]:
    targets = {}
    for name, place in wanted.items():
        kind = registry.targets[place["kind"]]
        targets[name] = kind(name, kind.config().model_validate(dict(place["options"])))
    return targets


def _check(registry: Registry, job: Mapping[str, Any]) -> list[str]:
    problems: list[str] = []
    if job["stage"] is not None:
        stage = registry.stages[job["stage"]]
        options = stage.config().model_validate(dict(job["options"]))
        problems.extend(_found(lambda: stage().check(options)))
    for name, target in _targets(registry, job["targets"]).items():
        found = _found(partial(target.check, Path(job["beside"])))
        problems.extend(
            clean(Message("target {name}: {text}", name=name, text=text)) for text in found
        )
    return problems


def _found(check: Callable[[], Iterable[str]]) -> Iterator[str]:
    """What a check finds; a program that it cannot start is one more finding."""
    try:
        yield from map(clean, check())
    except Exception as error:
        if (absent := programs.not_started(error)) is None:
            raise
        yield clean(Message("{message}; {hint}", message=absent.message, hint=absent.hint))


def _failed_by_system(error: OSError) -> Outcome:
    text = f"{type(error).__name__}: {error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _failed(Ending.POSTPONED, "no-space", text, Message("make room on that disk"))
    if error.errno == errno.ENOMEM:
        return _failed(
            Ending.FAILED, "out-of-memory", text, Message("raise `memory` for this stage")
        )
    hint = ""
    if error.errno == errno.EFBIG:
        hint = Message("it wrote a file larger than the limit")
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EXDEV):
        hint = (
            "a step reaches its folder, its document, software and the paths that its options "
            "name; what it writes elsewhere its stage must declare in `writes`"
        )
    return _failed(Ending.FAILED, "stage-error", text, hint)


def _failed(ending: Ending, code: str, message: str, hint: str = "") -> Outcome:
    return Outcome(ending=ending, code=code, message=clean(message), hint=clean(hint))


def _reply(pipe: int, outcome: Outcome) -> None:
    reply = outcome_to_json(outcome)
    if len(json.dumps(reply)) > REPLY_LIMIT - 4096:
        reply = outcome_to_json(
            _failed(
                Ending.FAILED,
                "bad-output",
                Message("the stage returned far more names, notes or tools than can be kept"),
            )
        )
    _say(pipe, {"outcome": reply})


def _say(pipe: int, message: Mapping[str, Any]) -> None:
    line = memoryview(json.dumps(message).encode() + b"\n")
    with _saying:  # a thread that still tells its progress must not fall into the result
        while line:
            line = line[os.write(pipe, line) :]


class _Progress:
    """Tells how far a step has come, not more often than every quarter of a second."""

    def __init__(self, reply: int) -> None:
        self._reply = reply
        self._last = -_PROGRESS_EVERY
        self._done = False
        self._page = 0

    def end(self) -> None:
        """Tell no more: the descriptor may become another step's."""
        self._last = math.inf
        self._done = True

    def __call__(self, fraction: float, page: int = 0) -> None:
        now = time.monotonic()
        done = fraction >= 1
        late = now - self._last
        another = page != self._page and late >= _PAGE_EVERY
        if late >= _PROGRESS_EVERY or another or (done and not self._done):
            self._last, self._done, self._page = now, done, page
            told: dict[str, Any] = {"progress": round(float(fraction), 4)}
            _say(self._reply, told | {"page": page} if page else told)


def _redirect(output: int) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    # By the line, so that the last words before a crash arrive.
    sys.stdout = open(1, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")


def _settle_in(folder: Path) -> None:
    os.chdir(folder)
    os.umask(0o077)
    temporary = folder / TEMPORARY
    # First, for a kept worker: whoever looks at it now must not look at the former step's.
    os.environ["TMPDIR"] = os.environ["HOME"] = os.environ["XDG_CACHE_HOME"] = str(temporary)
    temporary.mkdir(exist_ok=True)
    import tempfile

    tempfile.tempdir = None  # a preloaded library may have asked for it in the fork server
