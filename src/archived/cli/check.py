"""`archived check`: is the configuration right, and can every stage do its work here?

The stages' own checks run in real children, as the daemon starts them; nothing is started that
would take in a document.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archived.cli import client, output
from archived.cli.client import Session
from archived.cli.credentials import Finding, compare, sources
from archived.cli.errors import BAD_CONFIG, OK, PROBLEM, ended_in_order
from archived.cli.missing_paths import missing
from archived.errors import ArchivedError, ConfigError
from archived.locale import _, ngettext, render
from archived.message import Message, sequence

if TYPE_CHECKING:
    from archived.config import Settings
    from archived.config.settings import StageSetting

_COULD_NOT = "could not be checked: "
_LOOKING = 60.0
"""Seconds that are waited for the first look of a service that has just been started."""
_ASK_AGAIN = 0.2


@click.command("check")
@click.option("--no-stages", is_flag=True, help="Only the files; do not let the stages check.")
@click.pass_obj
def check(session: Session, no_stages: bool) -> None:
    """Say what is wrong with the configuration, without starting anything.

    First every mistake in the files (ends with 78), then warnings, also of folders that are not
    there, with the command that makes each, then what the stages and targets find when they look
    at their surroundings (ends with 1). What could not be established is told and ends with 0.
    """
    config = client.chosen(session.config)
    report: dict[str, Any] = {
        "config": str(config),
        "mistakes": [],
        "warnings": [],
        "missing": [],
        "stages": [],
    }
    try:
        settings = _load(config)
    except ConfigError as error:
        report["mistakes"] = error.problems
        _tell(session, report, BAD_CONFIG)
    report["warnings"] = list(settings.warnings)
    report["missing"] = [dataclasses.asdict(each) for each in missing(settings)]
    if not no_stages:
        with busy(_("the stages look at their surroundings ...")), ended_in_order():
            report["stages"] = stages(settings, judged_by_the_service(settings, session))
        for stage in report["stages"]:
            needs = settings.stages[stage["stage"]].needs
            stage |= {"system_calls": list(needs.system_calls), "worker": needs.worker}
    found = {stage["verdict"] for stage in report["stages"]}
    _tell(session, report, PROBLEM if "no" in found else OK)


def _load(config: Path) -> Settings:
    from archived.config import load

    return load(config)


def busy(words: str) -> AbstractContextManager[object]:
    """Say on a terminal that this takes a while."""
    if not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console

    return Console(stderr=True).status(words)


def stages(settings: Settings, live: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """What each stage's own check (and its targets') says: a verdict and its problems.

    `verdict` is "yes" (fit), "no", or "not established" with `why`. `live`: what the running
    service found; it judges stages whose secrets nobody else has. Raises `PluginError`.
    """
    return asyncio.run(_stages(_with_a_place(settings), live or {}))


def judged_by_the_service(settings: Settings, session: Session) -> Mapping[str, Any] | None:
    """What the running service says of its stages. Where it alone can judge one, and began only now
    to look, as after a restart or a reload, its verdict is waited for.
    """
    alone = any(_keeps_credentials(settings, stage) for stage in settings.stages.values())
    return looked(session) if alone else running(session)


def looked(session: Session) -> Mapping[str, Any] | None:
    """The same as `running`, once the service has looked, or after as long as that may take."""
    until = time.monotonic() + _LOOKING
    while (found := running(session)) and not found.get("checked") and time.monotonic() < until:
        time.sleep(_ASK_AGAIN)
    return found


def running(session: Session) -> Mapping[str, Any] | None:
    """What the running service says of its stages; `None` when it does not answer."""
    try:
        found = session.ask_daemon("plugins", {})
    except ArchivedError:
        return None
    return found if isinstance(found, dict) else None


def _with_a_place(settings: Settings) -> Settings:
    """Settings whose store exists: before the first start, the folder it will be made in."""
    path = settings.store.path
    while not path.exists():
        path = path.parent
    return dataclasses.replace(settings, store=settings.store.model_copy(update={"path": path}))


async def _stages(settings: Settings, live: Mapping[str, Any]) -> list[dict[str, Any]]:
    from archived.daemon import wiring
    from archived.daemon.stage_checks import check_all
    from archived.engine.worker.forkserver_client import LaneSetup
    from archived.engine.worker.runner import LocalRunner

    lanes = wiring.lanes(settings)
    runners = {
        lane: LocalRunner(
            lane,
            width,
            settings.plugin_sources,
            LaneSetup(environment=wiring.environment(settings)),
        )
        for lane, width in lanes.items()
        if settings.lanes[lane].runner == "local"
    }
    found = []
    try:
        for name, stage in settings.stages.items():
            lane = stage.needs.lane
            if _keeps_credentials(settings, stage) and "CREDENTIALS_DIRECTORY" not in os.environ:
                found.append(_judged(name, _by_the_service(stage, live)))
                continue
            if lane not in runners:
                why = _("its lane {lane} has the runner {runner}").format(
                    lane=lane, runner=settings.lanes[lane].runner
                )
                found.append(_judged(name, [_COULD_NOT + why]))
                continue
            await runners[lane].start()
            alone = dataclasses.replace(settings, stages={name: stage})
            problems = (await check_all(alone, dict(runners))).get(name, [])
            if problems and _is_anothers(settings):
                problems = _as_the_service(stage, live, problems)
            found.append(_judged(name, problems))
    finally:
        await asyncio.gather(*(runner.stop() for runner in runners.values()))
    return found


def _by_the_service(stage: StageSetting, live: Mapping[str, Any]) -> list[str]:
    """What the running service found about a stage whose secrets are credentials, and whether the
    files behind them were changed since it was given them.
    """
    if not live.get("checked"):
        return [
            _could_not(
                Message(
                    "its secrets are credentials, which systemd gives to the service only, and "
                    "the service does not run or has not looked yet"
                )
            )
        ]
    if (live.get("stages") or {}).get(stage.name) != stage.options_digest:
        return [
            _could_not(
                Message(
                    "its secrets are credentials, and the running service has other options for "
                    "it; reload first"
                )
            )
        ]
    named = set(_credentials_of(json.loads(stage.options_json)))
    found = [each for each in compare(live, sources()) if each.name in named]
    return [
        *(live.get("problems") or {}).get(stage.name, []),
        *(changed(each) for each in found if each.verdict == "no"),
    ]


def _is_anothers(settings: Settings) -> bool:
    """Whether the service has another user: a step of ours may do what its steps may not, and the
    other way round, also as root, for a step has no privileges.
    """
    try:
        return settings.archive.state.stat().st_uid != os.geteuid()
    except OSError:
        return False


def _as_the_service(stage: StageSetting, live: Mapping[str, Any], problems: list[str]) -> list[str]:
    """What the running service found, whose rights count; else that ours are not the service's."""
    if live.get("checked") and (live.get("stages") or {}).get(stage.name) == stage.options_digest:
        return _by_the_service(stage, live)
    real = [each for each in problems if not each.startswith(_COULD_NOT)]
    return [
        *(each for each in problems if each.startswith(_COULD_NOT)),
        *(
            _could_not(Message("tried by another user than the service's: {problem}", problem=each))
            for each in real
        ),
    ]


def _could_not(why: str) -> str:
    return Message("could not be checked: {why}", why=why)


def changed(finding: Finding) -> str:
    """That the service has another secret than the one on the disk, and what to do."""
    told = _(
        "credential {name}: {path}: {why}; the service goes on with what it was given at its "
        "start: systemctl restart archived"
    )
    return told.format(name=finding.name, path=finding.path, why=render(finding.why))


def _credentials_of(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(name := value.get("credential"), str) and name:
            yield name
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _credentials_of(each)


def _keeps_credentials(settings: Settings, stage: StageSetting) -> bool:
    """Whether the stage, or a target it may be given, reads a secret that is a credential."""
    options = [stage.options_json]
    if stage.needs.targets:
        options += [target.options_json for target in settings.targets.values()]
    return any(any(_credentials_of(json.loads(each))) for each in options)


def _why_not(problem: str) -> str:
    """Why a stage could not be checked: what stands behind the words that say so."""
    if isinstance(problem, Message) and len(problem.parameters) == 1:
        (why,) = problem.parameters.values()
        return why if isinstance(why, str) else str(why)
    return problem.removeprefix(_COULD_NOT)


def _judged(name: str, problems: list[str]) -> dict[str, Any]:
    could_not = [_why_not(p) for p in problems if p.startswith(_COULD_NOT)]
    real = [p for p in problems if not p.startswith(_COULD_NOT)]
    verdict = "no" if real else "not established" if could_not else "yes"
    return {
        "stage": name,
        "verdict": verdict,
        "problems": real,
        "why": sequence(could_not, "; "),
        "system_calls": [],
        "worker": "fresh",
    }


def _tell(session: Session, report: dict[str, Any], status: int) -> None:
    if session.as_json:
        output.as_json({"fit": status == OK, **report})
        sys.exit(status)
    for mistake in report["mistakes"]:
        output.line(render(mistake), "red")
    for warning in report["warnings"]:
        output.line(_("warning: {warning}").format(warning=render(warning)), "yellow")
    for each in report["missing"]:
        output.line(_("warning: {warning}").format(warning=render(each["what"])), "yellow")
        if each["command"]:
            output.command(each["command"])
    for stage in report["stages"]:
        if stage["system_calls"]:
            told = _("stage {stage}: may make further system calls: {groups}")
            groups = ", ".join(stage["system_calls"])
            output.line(told.format(stage=stage["stage"], groups=groups), "yellow")
        if stage["worker"] == "kept":
            told = _("stage {stage}: one process does its steps, one after another")
            output.line(told.format(stage=stage["stage"]), "yellow")
        for problem in stage["problems"]:
            told = _("stage {stage}: {problem}")
            output.line(told.format(stage=stage["stage"], problem=render(problem)), "red")
        if stage["why"]:
            told = _("stage {stage}: not established: {why}")
            output.line(told.format(stage=stage["stage"], why=render(stage["why"])), "yellow")
    output.line(_verdict(report, status), "green" if status == OK else "red")
    sys.exit(status)


def _verdict(report: dict[str, Any], status: int) -> str:
    if status == BAD_CONFIG:
        wrong = len(report["mistakes"])
        told = ngettext("{count} mistake in {file}", "{count} mistakes in {file}", wrong)
        return told.format(count=wrong, file=report["config"])
    unfit = [stage["stage"] for stage in report["stages"] if stage["verdict"] == "no"]
    if unfit:
        return _("the files are right; not fit yet: {stages}").format(stages=", ".join(unfit))
    fit = sum(stage["verdict"] == "yes" for stage in report["stages"])
    if not fit:
        return _("{file} is right").format(file=report["config"])
    told = ngettext(
        "{file} is right, {count} stage fit", "{file} is right, {count} stages fit", fit
    )
    return told.format(file=report["config"], count=fit)


def checked(settings: Settings, live: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """As `stages`, with a plug-in that cannot be started told as a finding."""
    try:
        return stages(settings, live)
    except ArchivedError as error:
        return [_judged(name, [_COULD_NOT + error.message]) for name in settings.stages]
