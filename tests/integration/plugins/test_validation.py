"""What a plug-in gives is checked before anybody relies on it; the sentence says what to write."""

from __future__ import annotations

import pytest

from archived.api import API_VERSION
from archived.errors import PluginError
from archived.plugins import find

HOOKS = (
    "register_stages, register_targets, register_runners, register_commands, choose_pipeline, "
    "on_event"
)


def refused(bench, source):
    bench.file("ink", source)
    with pytest.raises(PluginError) as caught:
        find(["ink"], [bench.folder])
    return caught.value.message


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (
            'version = "1.0"',
            f'version = "1.0"\n    api = {API_VERSION + 1}',
            f"was written for version {API_VERSION + 1} of the plug-in API, and this archived has "
            f"version {API_VERSION}; use a newer archived or an older plug-in",
        ),
        ('"note"', '"Note"', "name 'Note': write lower-case words joined by hyphens"),
        ('"note"', "7", "name 7: write lower-case words joined by hyphens"),
        ('name = "note"', "", "name None: write lower-case words joined by hyphens"),
        ('"note"', '"seal"', '"seal" is the core\'s own step; choose another name'),
        ('version = "1.0"', 'version = " "', "version ' ': write a text that is not empty"),
        ('version = "1.0"', "version = 1.0", "version 1.0: write a text that is not empty"),
        ("def run", "def walk", "define run(self, document, context)"),
        (
            'version = "1.0"',
            'version = "1.0"\n\n    def needs_for(self, options):\n        return self.needs\n',
            "write @classmethod above needs_for: it is asked of the class",
        ),
        (
            'version = "1.0"',
            'version = "1.0"\n    accepts = "image/*"',
            'write accepts as a tuple, like ("image/*", "application/pdf")',
        ),
        (
            'version = "1.0"',
            'version = "1.0"\n    accepts = ("image/*", "pdf")',
            'accepts: \'pdf\' is not a media type like "image/tiff" or "image/*"',
        ),
        (
            'version = "1.0"',
            'version = "1.0"\n    needs = {"attempts": 3}',
            "write needs as archived.api.Needs(...)",
        ),
        (
            'version = "1.0"',
            'version = "1.0"\n    needs = Needs(memory="1 gig")',
            'needs.memory: write a size like "512 MiB", "1 GiB" or "2 GB"',
        ),
        (
            'version = "1.0"',
            'version = "1.0"\n    needs = Needs(attempts=0)',
            "needs: memory, attempts and timeout must be more than nothing",
        ),
        (
            'version = "1.0"',
            'version = "1.0"\n    needs = Needs(system_calls=("ipcs",))',
            "needs.system_calls: unknown group 'ipcs'; did you mean \"ipc\"? "
            "(groups: devices, ipc)",
        ),
        (
            'version = "1.0"',
            'version = "1.0"\n    needs = Needs(worker="keep")',
            "needs.worker: 'keep' is neither 'fresh' nor 'kept'",
        ),
        (
            "'''The word.'''",
            "",
            'option "wording" has no documentation; write a string under it',
        ),
        ("wording:", "lane:", 'option "lane" is the core\'s own; choose another name'),
        (
            "Made(Stage[Options])",
            "Made",
            "register takes a class derived from archived.api.Stage",
        ),
    ],
)
def test_a_malformed_stage_is_refused(bench, before, after, said):
    source = bench.stage("note")
    assert before in source

    assert refused(bench, source.replace(before, after, 1)) == f'plug-in "ink", stage Made: {said}'


def test_all_that_is_wrong_with_a_stage_is_told_at_once(bench):
    source = bench.stage("No Te").replace("'''The word.'''", "").replace('"1.0"', '""')

    assert refused(bench, source) == (
        "plug-in \"ink\", stage Made: name 'No Te': write lower-case words joined by hyphens; "
        "version '': write a text that is not empty; "
        'option "wording" has no documentation; write a string under it'
    )


def test_a_misspelt_hook_stops_the_start(bench):
    assert refused(bench, bench.stage("note").replace("register_stages", "register_stage")) == (
        'plug-in "ink": there is no hook "register_stage"; did you mean "register_stages"? '
        f"(hooks: {HOOKS})"
    )


def test_a_hook_without_its_mark_is_told(bench):
    assert refused(bench, bench.stage("note").replace("@hookimpl", "")) == (
        'plug-in "ink": mark register_stages with @hookimpl, else nobody calls it'
    )


def test_a_module_without_hooks_is_no_plugin(bench):
    assert refused(bench, "answer = 42") == f'plug-in "ink": has no hooks (hooks: {HOOKS})'


def test_a_hook_under_another_name_is_refused_as_fork_servers_would_miss_it(bench):
    source = bench.stage("note").replace(
        "@hookimpl\ndef register_stages", '@hookimpl(specname="register_stages")\ndef mine'
    )

    assert refused(bench, source) == 'plug-in "ink": mine must bear its hook\'s own name'


def test_an_argument_that_the_hook_does_not_have_is_told(bench):
    message = refused(
        bench, "from archived.api import hookimpl\n@hookimpl\ndef on_event(event, database): ...\n"
    )

    assert message.startswith(f'plug-in "ink" ({bench.folder}/ink.py): ')
    assert "{'database'} are declared in the hookimpl but can not be found" in message


def test_fewer_arguments_are_fine(bench):
    bench.file("ink", "from archived.api import hookimpl\n@hookimpl\ndef on_event(): ...\n")

    assert find(["ink"], [bench.folder]).catalogue()[0].hooks == ("on_event",)


def test_a_hook_that_raises_at_registration_is_told_with_its_cause(bench):
    assert refused(bench, bench.stage("note").replace("register(Made)", "register(Nade)")) == (
        "plug-in \"ink\": register_stages failed: NameError: name 'Nade' is not defined"
    )


def test_the_same_stage_given_twice_by_one_plugin_is_told(bench):
    source = bench.stage("note").replace("register(Made)", "register(Made); register(Made)")

    assert refused(bench, source) == 'plug-in "ink" gives the stage "note" twice'


TARGET = """
from archived.api import Target, TargetConfig, hookimpl


class Place(TargetConfig):
    path: str
    '''Where.'''


class Made(Target[Place]):
    kind = "shelf"
    version = "1"
    def put(self, source, key, sha512): ...
    def replace(self, source, key, sha512): ...
    def open(self, key): ...
    def list(self, prefix): ...
    def free(self): ...


@hookimpl
def register_targets(register):
    register(Made)


@hookimpl
def register_runners(register):
    register("cluster", lambda lane, width: None)
"""


def test_targets_and_runners_are_given_by_name(bench):
    bench.file("ink", TARGET)

    plugins = find(["ink"], [bench.folder])

    assert list(plugins.targets) == ["shelf"]
    assert list(plugins.runners) == ["cluster"]
    (info,) = plugins.catalogue()
    assert (info.targets, info.runners) == (("shelf",), ("cluster",))


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('"shelf"', '"A B"', "stem: kind 'A B': write lower-case words joined by hyphens"),
        ("def free", "def size", "stem: define free"),
        ("'''Where.'''", "", 'stem: option "path" has no documentation; write a string under it'),
        ("path: str", "kind: str", 'stem: option "kind" is the core\'s own; choose another name'),
        (
            "Made(Target[Place])",
            "Made",
            "stem: register takes a class derived from archived.api.Target",
        ),
        ('"cluster"', '"local"', "'local' cannot be the name of a runner"),
    ],
)
def test_a_malformed_target_or_runner_is_refused(bench, before, after, said):
    said = said.replace("stem:", 'plug-in "ink", target Made:')
    said = said if said.startswith("plug-in") else f'plug-in "ink": {said}'

    assert refused(bench, TARGET.replace(before, after, 1)) == said
