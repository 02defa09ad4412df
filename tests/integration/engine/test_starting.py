"""A program that cannot be started is the world's fault, however a stage or library puts it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from archived.engine.worker.runner import LocalRunner
from archived.model.outcome import Ending

pytestmark = pytest.mark.asyncio(loop_scope="module")

PLUGIN = """
import asyncio, errno, os, subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from archived.api import *


class Options(StageConfig):
    do: str = "finish"
    program: str = "no-such-program"
    check: bool = False


class MissingDependencyError(Exception):
    pass


MissingDependencyError.__module__ = "ocrmypdf.exceptions"


class Starter(Stage[Options]):
    name = "odd"
    version = "1"

    def check(self, options):
        if options.check:
            subprocess.run([options.program])
        return ()

    def run(self, document, context):
        self.context, self.program = context, context.options.program
        getattr(self, context.options.do.replace("-", "_"))()
        return Result()

    def by_context(self):
        self.context.run([self.program, "--version"])

    def by_popen(self):
        subprocess.Popen(self.program)

    def by_path(self):
        subprocess.Popen([Path("/usr/bin") / self.program], close_fds=False)

    def by_asyncio(self):
        asyncio.run(asyncio.create_subprocess_exec(self.program))

    def by_posix_spawn(self):
        os.posix_spawn("/usr/bin/" + self.program, [self.program], {})

    def by_posix_spawnp(self):
        os.posix_spawnp(self.program, [self.program], {})

    def by_thread(self):
        with ThreadPoolExecutor() as pool:
            pool.submit(subprocess.run, [self.program]).result()

    def by_env(self):
        self.context.run(["env", self.program])

    def by_shell(self):
        self.context.run(["sh", "-c", self.program])

    def in_a_group(self):
        try:
            self.by_context()
        except OSError as error:
            raise ExceptionGroup("both", [ValueError("one"), error])

    def as_a_refusal(self):
        try:
            self.by_context()
        except OSError as error:
            raise Refuse("the document is damaged", code="damaged") from error

    def as_another_error(self):
        try:
            self.by_context()
        except OSError:
            raise RuntimeError("the tool did not answer")

    def as_a_library_says(self):
        raise MissingDependencyError("jbig2dec is too old (older than version 0.15)")

    def as_a_postponement(self):
        try:
            self.by_context()
        except OSError as error:
            raise Postpone("no scanner", code="scanner-down") from error

    def not_executable(self):
        self.context.run([self._made("#!/bin/sh\\n", 0o644)])

    def no_interpreter(self):
        self.context.run([self._made("#!/no/such/perl\\n", 0o755)])

    def not_a_program(self):
        self.context.run([self._made("\\x7fELF", 0o755)])

    def _made(self, text, mode):
        path = self.context.folder / "tool"
        path.write_text(text)
        path.chmod(mode)
        return path

    def data_file(self):
        self.context.run(["true"])
        Path("no-such-file").read_bytes()

    def data_file_of_a_program(self):
        self.context.run(["ls", "no-such-file"])

    def folder_to_start_in(self):
        subprocess.run(["true"], cwd="/no/such/folder")

    def status_127(self):
        self.context.run(["sh", "-c", "echo 'page 127 is odd' >&2; exit 127"])

    def forbidden_file(self):
        self.context.run(["true"])
        Path("/etc/shadow").read_bytes()

    def handled(self):
        try:
            self.by_context()
        except OSError:
            pass
        raise Refuse("the page is blank", code="blank-page")


@hookimpl
def register_stages(register):
    register(Starter)
"""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def runner(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalRunner]:
    path = tmp_path_factory.mktemp("plugin") / "odd.py"
    path.write_text(PLUGIN)
    runner = LocalRunner("cpu", 4, [{"name": "odd", "file": str(path)}])
    await runner.start()
    yield runner
    await runner.stop()


@pytest.mark.parametrize(
    "do",
    [
        "by-context",
        "by-popen",
        "by-path",
        "by-asyncio",
        "by-posix-spawn",
        "by-posix-spawnp",
        "by-thread",
        "in-a-group",
        "as-a-refusal",
        "as-another-error",
    ],
)
async def test_a_missing_program_lets_the_step_wait(runner, ask, do):
    done = await runner.run(ask(do))
    assert (done.ending, done.code) == (Ending.POSTPONED, "program-missing"), done
    assert "no-such-program' cannot be started: No such file or directory" in done.message
    assert done.hint == "install the package that has it"


@pytest.mark.parametrize("do", ["by-env", "by-shell"])
async def test_so_does_one_that_another_program_was_to_start(runner, ask, do):
    done = await runner.run(ask(do))
    assert (done.ending, done.code) == (Ending.POSTPONED, "program-missing"), done
    assert "no-such-program" in done.message


async def test_the_debian_package_is_named_when_it_is_known(runner, ask):
    done = await runner.run(ask("by-context", program="/nowhere/jbig2dec"))
    assert (done.ending, done.code) == (Ending.POSTPONED, "program-missing"), done
    assert done.hint == "install the Debian package jbig2dec"


async def test_a_library_that_finds_a_program_too_old_is_believed(runner, ask):
    done = await runner.run(ask("as-a-library-says"))
    assert (done.ending, done.code) == (Ending.POSTPONED, "program-missing"), done
    assert done.message.startswith("the program 'jbig2dec' cannot be started: jbig2dec is too old")


@pytest.mark.parametrize("do", ["not-executable", "no-interpreter", "not-a-program"])
async def test_a_program_that_is_there_and_cannot_run_is_named_with_its_path(runner, ask, do):
    done = await runner.run(ask(do))
    assert (done.ending, done.code) == (Ending.POSTPONED, "program-missing"), done
    assert "tool' cannot be started: " in done.message


async def test_a_stage_that_postpones_keeps_its_own_code(runner, ask):
    done = await runner.run(ask("as-a-postponement"))
    assert (done.ending, done.code) == (Ending.POSTPONED, "scanner-down")


@pytest.mark.parametrize(
    "do",
    ["data-file", "data-file-of-a-program", "folder-to-start-in", "status-127", "forbidden-file"],
)
async def test_a_missing_file_is_no_missing_program(runner, ask, do):
    done = await runner.run(ask(do))
    assert (done.ending, done.code) == (Ending.FAILED, "stage-error"), done


async def test_a_stage_that_does_without_a_program_is_not_asked_about_it(runner, ask):
    done = await runner.run(ask("handled"))
    assert (done.ending, done.code) == (Ending.REFUSED, "blank-page")


async def test_a_check_that_cannot_start_a_program_says_so(runner, tmp_path: Path):
    found = await runner.check("odd", {"check": True}, {}, tmp_path)
    assert found == [
        "the program 'no-such-program' cannot be started: No such file or directory; install the "
        "package that has it"
    ]
