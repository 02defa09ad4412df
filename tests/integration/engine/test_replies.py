"""Whatever a taken-over child says on its reply pipe costs one attempt of its own document.

The stage writes bytes of the test's choice, as a file's parser could once the file has it in hand:
never the lane, a neighbour, the daemon or a figure pays for them.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archived.engine.protocol import outcome_to_json
from archived.engine.worker.reply import PROTECTIONS
from archived.engine.worker.runner import LocalRunner
from archived.model.former_names import CODES, CODES_OF_THE_CORE
from archived.model.outcome import Ending, Outcome
from archived.model.review import Review
from archived.model.review import to_json as review_to_json
from archived.testing.lane import lanes

in_module = pytest.mark.asyncio(loop_scope="module")

PLUGIN = '''
import base64, fcntl, os, stat, time
from pathlib import Path
from archived.api import *


class Options(StageConfig):
    do: str = "say"
    text: str = ""
    times: int = 1
    after: str = "leave"


class Says(Stage[Options]):
    """Takes the pipe on which it is to answer and says what it is told to."""

    name = "odd"
    version = "1"
    writes = ("text",)

    def run(self, document, context):
        o = context.options
        if o.do == "finish":
            return Result(facts={"fine": True})
        if o.do == "wait":
            Path(o.text, "ready").touch()
            while not Path(o.text, "go").exists():
                time.sleep(0.01)
            return Result()
        pipe = next(n for n in map(int, os.listdir("/proc/self/fd")) if n > 2 and writes(n))
        data = base64.b64decode((context.folder.parent / o.text).read_bytes())
        if o.do == "fork" and os.fork():
            os._exit(0)
        if o.do == "close":
            os.close(pipe)
            time.sleep(0.2)
        try:
            for _ in range(o.times):
                view = memoryview(data)
                while view:
                    view = view[os.write(pipe, view):]
        except OSError:
            pass
        if o.after == "return":
            return Result()
        if o.after == "hang":
            time.sleep(100)
        os._exit(0)


def writes(fd):
    try:
        return (stat.S_ISFIFO(os.fstat(fd).st_mode)
                and fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY)
    except OSError:
        return False


@hookimpl
def register_stages(register):
    register(Says)
'''
GOOD = outcome_to_json(Outcome(Ending.FINISHED))


def outcome(**change: object) -> bytes:
    """A result as an honest child writes it, but for the change."""
    return json.dumps({"outcome": {**GOOD, **change}}).encode() + b"\n"


def raw(**change: str) -> bytes:
    """The same with JSON text put in unread."""
    marked = outcome(**dict.fromkeys(change, "MARK-HERE"))
    for text in change.values():
        marked = marked.replace(b'"MARK-HERE"', text.encode(), 1)
    return marked


NESTED = b"".join(
    b'{"outcome": ' + b"[" * depth + b"]" * depth + b"}\n" for depth in range(20, 1200, 10)
)
ATTACKS = {
    "a number of 401 digits as progress": b'{"progress": 1' + b"0" * 400 + b"}\n",
    "progress beyond the end": b'{"progress": 1.5}\n',
    "negative progress": b'{"progress": -0.5}\n',
    "progress that is no number": b'{"progress": NaN}\n',
    "progress without end": b'{"progress": 1e999}\n',
    "progress that is text": b'{"progress": "0.5"}\n',
    "progress and more": b'{"progress": 0.5, "outcome": {}}\n' + outcome(),
    "confinement that is a number": b'{"confinement": 1}\n' + outcome(),
    "confinement again": b'{"confinement": {"files": "yes (forged)"}}\n' + outcome(),
    "confinement within the result": outcome(confinement=dict.fromkeys(PROTECTIONS, "yes")),
    "six keys of 3 MB": b"".join(
        json.dumps({f"k{n}": "x" * (3 << 20)}).encode() + b"\n" for n in range(6)
    )
    + outcome(),
    "lists within lists": b'{"outcome": ' + b"[" * 990 + b"]" * 990 + b"}\n",
    "lists within lists, of every depth": NESTED,
    "a hundred thousand lists open": b'{"outcome": ' + b"[" * 100_000 + b"\n",
    "a million empty lists": b'{"outcome": [' + b"[]," * 1_000_000 + b"[]]}\n",
    "a million short keys": b'{"outcome": {'
    + b",".join(b'"%x":0' % n for n in range(400_000))
    + b"}}\n",
    "a key of a megabyte": b'{"outcome": {"' + b"k" * (1 << 20) + b'": 1}}\n',
    "facts 900 deep": raw(facts='{"a":' * 900 + "1" + "}" * 900),
    "facts 40 deep": raw(facts='{"a":' * 40 + "1" + "}" * 40),
    "a number that is none": raw(facts='{"x": NaN}'),
    "a number without end": raw(facts='{"x": Infinity}'),
    "a fraction without end": raw(facts='{"x": 1e999}'),
    "a number of 400 digits": raw(facts='{"x": 1' + "0" * 400 + "}"),
    "a number of 5000 digits": raw(facts='{"x": 1' + "0" * 5000 + "}"),
    "a number of 64 bits and one": raw(facts='{"x": 9223372036854775808}'),
    "a fraction of ten thousand digits": raw(facts='{"x": 0.' + "3" * 10_000 + "}"),
    "half a character as a fact": raw(facts='{"x": "\\ud800"}'),
    "half a character as a key": raw(facts='{"\\udfff": 1}'),
    "half a character as a note": raw(notes='["\\ud800"]'),
    "half a character as a tool": raw(tools='{"\\ud800": "1"}'),
    "a control character": raw(facts='{"x": "\\u001b[31m"}'),
    "a next line": raw(message='"a\\u0085b"'),
    "a line separator in a name": raw(
        made=('[{"path": "f", "name": "a\\u2028b", "media_type": "a/b", "role": "text"}]')
    ),
    "text that turns around": raw(notes='["\\u202egpj.exe"]'),
    "facts of 3 MB": outcome(facts={"x": "y" * (3 << 20)}),
    "a key twice": raw(facts='{"x": 1, "x": 2}'),
    "put back": outcome(ending="requeued"),
    "put back as the runner says it": outcome(ending="requeued", code="shutdown"),
    "lost": outcome(ending="lost"),
    "interrupted": outcome(ending="failed", code="interrupted"),
    "timed out": outcome(ending="failed", code="timed-out"),
    "crashed": outcome(ending="failed", code="crashed"),
    "the runner lost": outcome(ending="postponed", code="runner-lost", after=60),
    "a code of two lines": outcome(ending="refused", code="evil\ncode"),
    "a message of half a megabyte": outcome(ending="refused", code="a", message="m" * 500_000),
    "a wait into the past": outcome(ending="postponed", code="a", after=-5),
    "a wait of no time": outcome(ending="postponed", code="a", after=0),
    "a wait for ever": outcome(ending="postponed", code="a", after=1e300),
    "refused with files": outcome(ending="refused", code="a", notes=["x"]),
    "two results": outcome() + outcome(ending="refused", code="a"),
    "a result and more": outcome() + b"and more\n",
    "a result cut short": outcome()[:-20],
    "a list": b"[]\n",
    "a number": b"7\n",
    "nothing on many lines": b"\n" * 100_000,
    "no text": bytes(range(256)) * 100 + b"\n",
    "zeros": b"\0" * 70_000,
    "UTF-16": "\ufeff".join(json.dumps({"outcome": GOOD})).encode("utf-16") + b"\n",
    "no UTF-8 in the result": outcome(notes=["X"]).replace(b"X", b"\xff\xfe"),
    "a result of a check": b'{"problems": []}\n',
    "a result of a reading back": b'{"read": []}\n',
    "bytes without end and without a line": b"x" * (6 << 20),
    "a long line that is no result": b'{"progress": ' + b" " * 5000 + b"0.5}\n",
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> list[dict[str, str]]:
    path = tmp_path_factory.mktemp("plugin") / "says.py"
    path.write_text(PLUGIN)
    return [{"name": "says", "file": str(path)}]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def runner(sources) -> AsyncIterator[LocalRunner]:
    """One for all attacks, and one fork server."""
    runner = LocalRunner("cpu", 4, sources)
    await runner.start()
    yield runner
    await runner.stop()


@pytest.fixture
def say(ask):
    """`say(data)`: a request for a step that says just this."""

    def request(data: bytes, *, do: str = "say", document: str = "evil", **options):
        asked = ask(do, document=document, text="said", **options)
        said = asked.folder / "said"
        said.write_bytes(base64.b64encode(data))
        return replace(
            asked, options={**asked.options, "text": str(said.relative_to(asked.folder.parent))}
        )

    return request


@in_module
@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_malformed_reply_costs_its_own_document_and_nobody_else(
    runner, ask, say, tmp_path, attack
):
    servers, known = runner._servers.living, dict(runner.confinement)
    neighbour = asyncio.create_task(
        runner.run(ask("wait", text=str(tmp_path), document="neighbour"))
    )
    done = await runner.run(say(ATTACKS[attack]))
    assert (done.ending, done.code) == (Ending.FAILED, "bad-output"), done
    assert len(done.message) <= 4000
    assert done.message.isprintable()
    assert not (done.made or done.facts or done.copies)
    (tmp_path / "go").touch()
    assert (await neighbour).ending is Ending.FINISHED
    assert (await runner.run(ask("finish"))).facts == {"fine": True}
    assert runner._servers.living == servers, "the fork server is the same"
    assert set(runner.confinement) <= set(PROTECTIONS)
    assert {name: verdict for name, verdict in runner.confinement.items() if name in known} == known


@in_module
async def test_a_flood_of_progress_is_paced_and_the_daemon_stays_at_hand(runner, ask, say):
    progress: list[float] = []
    slowest, ends = 0.0, asyncio.Event()

    async def pulse() -> None:
        nonlocal slowest
        while not ends.is_set():
            began = time.monotonic()
            await asyncio.sleep(0.01)
            slowest = max(slowest, time.monotonic() - began - 0.01)

    beating = asyncio.create_task(pulse())
    done = await runner.run(
        say(b'{"progress": 0.1}\n{"progress": 0.2}\n' * 2000, times=100),
        on_progress=progress.append,
    )
    ends.set()
    await beating
    assert (done.ending, done.code) == (Ending.FAILED, "bad-output"), done
    assert "more than" in done.message
    assert len(progress) < 1000
    assert slowest < 1.0
    assert (await runner.run(ask("finish"))).ending is Ending.FINISHED


@in_module
async def test_a_malformed_reply_ends_its_step_at_once(runner, say):
    began = time.monotonic()
    done = await runner.run(say(b"nonsense\n", after="hang"))
    assert (done.code, time.monotonic() - began < 30) == ("bad-output", True), done


@in_module
async def test_an_honest_result_after_what_a_child_may_say_is_taken(runner, say):
    done = await runner.run(say(b'{"progress": 0.5}\n' + outcome(notes=["nhãn\nhai dòng"])))
    assert (done.ending, done.notes) == (Ending.FINISHED, ("nhãn\nhai dòng",)), done


@in_module
async def test_who_closes_its_pipe_has_no_result(runner, ask, say):
    done = await runner.run(say(b"x", do="close"))
    assert (done.ending, done.code) == (Ending.FAILED, "stage-error"), done
    assert (await runner.run(ask("finish"))).ending is Ending.FINISHED


@in_module
async def test_what_a_step_leaves_behind_cannot_talk_into_the_next(runner, ask, say):
    done = await runner.run(say(outcome(notes=["forged"]) * 50, do="fork", times=1000))
    assert done.ending is Ending.FAILED, done
    for _ in range(3):
        assert (await runner.run(ask("finish"))).facts == {"fine": True}


@in_module
async def test_nothing_of_a_step_passes_through_the_process_that_forks(runner, ask, say):
    """Words of one document, found neither in the fork server nor in who is forked from it."""
    words = b"cong-van-mat-" + os.urandom(8).hex().encode()
    asked = say(outcome(notes=[words.decode()]), document=words.decode())
    assert (await runner.run(asked)).notes == (words.decode(),)
    [server] = [each._process.pid for each in runner._servers.living]
    found = [region for region in _memory(server) if words in region]
    assert found == []


def _memory(pid: int):
    with Path(f"/proc/{pid}/maps").open() as maps, Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in maps:
            place, mode = line.split()[:2]
            if "w" not in mode or "[v" in line:
                continue
            first, last = (int(end, 16) for end in place.split("-"))
            memory.seek(first)
            try:
                yield memory.read(last - first)
            except OSError:
                continue


# Any bytes, any JSON: the reply line of a real child of a real fork server ------------------------


@in_module
@pytest.mark.parametrize("former", sorted(set(CODES) - CODES_OF_THE_CORE))
async def test_a_former_code_is_taken_as_the_one_of_now_and_a_note_says_so(runner, say, former):
    now = CODES[former]
    note = (
        f'the code "{former}" is now called "{now}", and was taken as that; report it to the '
        "stage's author"
    )
    done = await runner.run(say(outcome(ending="refused", code=former, message="m", hint="h")))
    assert (done.ending, done.code, done.message, done.hint) == (Ending.REFUSED, now, "m", "h")
    assert done.notes == (note,)

    review = {**review_to_json([Review("kept", "look")])[0], "code": former}
    done = await runner.run(say(outcome(reviews=[review], notes=["its own"])))
    assert ([r.code for r in done.reviews], done.notes) == ([now], ("its own", note))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary().map(repr),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
LINES = st.one_of(
    st.binary(max_size=300),
    JSON.map(lambda value: json.dumps(value).encode() + b"\n"),
    JSON.map(lambda value: json.dumps({"outcome": value}).encode() + b"\n"),
    st.tuples(st.sampled_from(sorted(GOOD)), JSON).map(lambda pair: outcome(**{pair[0]: pair[1]})),
    st.tuples(st.sampled_from(["progress", "confinement", "problems", "read"]), JSON).map(
        lambda pair: json.dumps({pair[0]: pair[1]}).encode() + b"\n"
    ),
    st.just(outcome()),
)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(said=st.lists(LINES, max_size=4))
def test_any_bytes_on_the_reply_pipe_have_an_ending(sources, ask, say, said):
    done, _ = lanes().run(sources, say(b"".join(said)))
    assert done.ending in {Ending.FINISHED, Ending.REFUSED, Ending.POSTPONED, Ending.FAILED}
    assert done.code not in {"crashed", "timed-out", "runner-lost", "shutdown", "interrupted"}
    json.dumps(outcome_to_json(done), allow_nan=False).encode("ascii")
    assert outcome_to_json(done)["facts"] == json.loads(json.dumps(dict(done.facts)))
    again, _ = lanes().run(sources, ask("finish"))
    assert again.facts == {"fine": True}
