"""Every kind of mistake has its own sentence, and all of them are told at once."""

from __future__ import annotations

import os
import sys

import pytest

from archived.config import load
from archived.errors import ConfigError

B = '[hotfolder.b]\npath = "/b"\npipeline = "paper"\n'


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (
            'path = "/srv/scans"',
            "path = 1",
            '6: hotfolder.scans.path: write a path, in quotes: "/..."',
        ),
        (
            'path = "/srv/scans"',
            'paht = "/srv/scans"',
            '6: hotfolder.scans.paht: unknown key; did you mean "path"?',
        ),
        (
            'path = "/srv/scans"',
            'path = "scans"',
            '6: hotfolder.scans.path: write the whole path, from "/"',
        ),
        (
            'path = "/srv/scans"',
            'path = "/srv/../scans"',
            '6: hotfolder.scans.path: write the whole path, from "/"',
        ),
        (
            'pipeline = "paper"',
            'pipeline = "papre"',
            '7: hotfolder.scans.pipeline: unknown pipeline "papre"; did you mean "paper"? '
            "(pipelines: paper)",
        ),
        (
            "hotfolder.scans",
            'hotfolder."phòng 1"',
            '5: hotfolder."phòng 1": a name is made of '
            'letters a-z, digits, "-" and "_" (at most 60)',
        ),
        (
            '"note", "seal", "copies"',
            '"note", "copies"',
            '10: pipeline.paper.stages: "seal" must stand in the list exactly once',
        ),
        (
            '"note", "seal", "copies"',
            '"seal", "note", "seal", "copies"',
            '10: pipeline.paper.stages: "seal" must stand in the list exactly once',
        ),
        (
            '"note", "seal", "copies"',
            '"note", "note", "seal", "copies"',
            '10: pipeline.paper.stages: "note" stands in the list twice',
        ),
        (
            '"note", "seal", "copies"',
            '"copies", "seal"',
            '10: pipeline.paper.stages: "copies" copies the sealed object and must stand '
            'after "seal"',
        ),
        (
            '"note", "seal", "copies"',
            '"noet", "seal", "copies"',
            '10: pipeline.paper.stages: no enabled plug-in gives a stage "noet"; '
            'did you mean "note"? (stages: copies, note)',
        ),
        (
            'stages = ["note", "seal", "copies"]',
            'stages = "note"',
            '10: pipeline.paper.stages: write a list: ["...", "..."]',
        ),
        (
            '"copies"]\n',
            '"copies"]\ncopies = 2\n',
            "11: pipeline.paper.copies: 2 copies can never be made: there are 1 targets",
        ),
        (
            '"copies"]\n',
            '"copies"]\ncopies = 0\n',
            "11: pipeline.paper.copies: must be at least 1",
        ),
        ('to = ["second"]', "", "12: stage.copies.to: must be set"),
        (
            'to = ["second"]',
            'to = ["second"]\nlane = "netwrok"',
            '14: stage.copies.lane: unknown lane "netwrok"; did you mean "network"? '
            "(lanes: cpu, network)",
        ),
        (
            'to = ["second"]',
            'to = ["second"]\natempts = 3',
            '14: stage.copies.atempts: unknown key; did you mean "attempts"?',
        ),
        (
            'to = ["second"]',
            'to = ["second"]\nattempts = "many"',
            "14: stage.copies.attempts: write a whole number",
        ),
        (
            'to = ["second"]',
            'to = ["second"]\ntimeout = 20',
            '14: stage.copies.timeout: write a duration with its unit, like "20 min"',
        ),
        (
            'to = ["second"]',
            'to = ["second"]\ntimeout = "0 s"',
            '14: stage.copies.timeout: must be more than "0 s"',
        ),
        (
            'to = ["second"]',
            'to = ["second"]\nmemory = "1 gig"',
            '14: stage.copies.memory: write a size like "512 MiB", "1 GiB" or "2 GB"',
        ),
        (
            'kind = "folder"',
            'kind = "foldr"',
            '16: target.second.kind: unknown kind "foldr"; did you mean "folder"? (kinds: folder)',
        ),
        ('kind = "folder"', "", "15: target.second.kind: must be set (kinds: folder)"),
        ('path = "/mnt/second"', "", "15: target.second.path: must be set"),
        (
            'path = "/mnt/second"',
            'path = "/mnt/second"\nstyle = "fancie"',
            '18: target.second.style: write "plain" or "fancy"; did you mean "fancy"?',
        ),
        (
            'enabled = ["noter", "copier"]',
            'enabled = ["noter", "copier", "noter"]',
            '2: plugins.enabled: "noter" stands in the list twice',
        ),
    ],
)
def test_a_mistake_is_told_with_its_line_and_what_to_write(etc, good, before, after, said):
    assert before in good

    assert etc.mistakes(good.replace(before, after, 1)) == [f"archived.toml:{said}"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            "[stage.note]\nlimits = { page = 1 }",
            '19: stage.note.limits.page: unknown key; did you mean "pages"?',
        ),
        ('[stage.note]\nlimits.pages = "x"', "19: stage.note.limits.pages: write a whole number"),
        (
            '[stage.note]\nlanguages = ["vie", 3]',
            '19: stage.note.languages, item 2: write a text, in quotes: "..."',
        ),
        (
            '[stage.note]\nlanguages = "vie"',
            '19: stage.note.languages: write a list: ["...", "..."]',
        ),
        (
            '[stage.note]\nkey = "hunter2"',
            "19: stage.note.key: a secret is never written here; "
            'write { credential = "NAME" } or { file = "PATH" }',
        ),
        (
            '[stage.note]\nkey = { file = "/k", credential = "k" }',
            "19: stage.note.key: write "
            'exactly one of { credential = "NAME" } and { file = "PATH" }',
        ),
        ("[stage.seal]", '18: stage.seal: "seal" is the core\'s own step and has no options'),
        (
            "[stage.noet]",
            '18: stage.noet: no enabled plug-in gives a stage "noet"; did you mean '
            '"note"? (stages: copies, note)',
        ),
        ("[stage]\nnote = 3", "19: stage.note: write a table"),
        ("[spol]\nkeep_free = 3", '18: spol: unknown table; did you mean "spool"?'),
        (
            "[spool]\nkeep_free = 3",
            '19: spool.keep_free: write a size with its unit, like "512 MiB"',
        ),
        (
            '[hotfolder.b]\npath = "/b"\npipeline = "paper"\nmax_file_size = 9',
            '21: hotfolder.b.max_file_size: write a size with its unit, like "512 MiB"',
        ),
        (
            '[archive]\ntimezone = "Asia/Hanoi"',
            '19: archive.timezone: "Asia/Hanoi" is no time zone; write one like "Asia/Ho_Chi_Minh"',
        ),
        (
            '[web]\nlisten = "9477"',
            '19: web.listen: write an address and a port, like "127.0.0.1:9477" or "[::1]:9477"',
        ),
        (
            '[web]\nlisten = "localhost:99999"',
            '19: web.listen: write an address and a port, like "127.0.0.1:9477" or "[::1]:9477"',
        ),
        (
            '[log]\nlevel = "warn"',
            '19: log.level: write "debug", "info", "warning" or "error"; did you mean "warning"?',
        ),
        (
            '[retry]\nfirst_wait = "2 h"',
            '18: retry: longest_wait ("1 h") is shorter than first_wait ("2 h")',
        ),
        ("[lanes]\ncpu = 0", "19: lanes.cpu: must be at least 1"),
        ('[lanes]\ncpu = "two"', "19: lanes.cpu: write a number, or a table like { width = 2 }"),
        (
            '[lanes]\ncpu = { width = 2, runner = "dask" }',
            '19: lanes.cpu.runner: unknown runner "dask" (runners: local)',
        ),
        ("[mqtt]", "18: mqtt.host: must be set"),
        (
            '[mqtt]\nhost = "b"\npassword = { file = "/p" }',
            "18: mqtt: password means nothing without username",
        ),
        ('[mqtt]\nhost = "b"\nca = "/p"', "18: mqtt: ca means nothing without tls = true"),
        (
            '[mqtt]\nhost = "b"\ntopic_prefix = "a/#"',
            '20: mqtt.topic_prefix: write levels joined by "/", without "+" or "#"',
        ),
        ('[mqtt]\nhost = "b"\nport = 70000', "20: mqtt.port: must be at most 65535"),
        (
            '[hotfolder.b]\npath = "/b"\npipeline = "paper"\nsecrecy = "geheim"',
            "21: "
            'hotfolder.b.secrecy: unknown secrecy level "geheim"; write one of "thường", "open", '
            '"mật", "mat", "tối mật", "toi-mat", "tuyệt mật", "tuyet-mat"',
        ),
        (
            '[hotfolder.b]\npath = "/b"\npipeline = "paper"\nignore = ["../*"]',
            "21: "
            "hotfolder.b.ignore, item 1: write a pattern for names below the hot folder, like "
            '"*.tmp", "drafts/" or "!keep.tmp"',
        ),
        (
            '[hotfolder.b]\npath = "/srv/scans"\npipeline = "paper"',
            "19: hotfolder.b.path: is the same folder as hotfolder.scans.path (/srv/scans)",
        ),
        (
            '[hotfolder.b]\npath = "/srv/scans/b"\npipeline = "paper"',
            "19: hotfolder.b.path: lies inside hotfolder.scans.path (/srv/scans)",
        ),
        (
            '[hotfolder.b]\npath = "/srv/archived/store/in"\npipeline = "paper"',
            "19: hotfolder.b.path: lies inside store.path (/srv/archived/store)",
        ),
        (
            '[hotfolder.b]\npath = "/var/lib"\npipeline = "paper"',
            "19: hotfolder.b.path: lies around archive.state (/var/lib/archived)",
        ),
        (
            '[store]\npath = "/var/lib/archived/spool/store"',
            "19: store.path: lies inside /var/lib/archived/spool, which belongs to archive.state",
        ),
        (
            '[archive]\nstate = "/srv/archived/store/state"',
            "19: archive.state: lies inside store.path (/srv/archived/store)",
        ),
        (
            '[intake]\nsettle_time = "20 min"',
            '5: hotfolder.scans.arrival_deadline: "15 min" is not '
            'longer than settle_time ("20 min"): every file would be held as incomplete',
        ),
        (
            B + "dossiers = true\nrecursive = false",
            "21: hotfolder.b.dossiers: dossiers are "
            "folders below this one, and recursive = false leaves those alone",
        ),
        (
            B + 'dossiers = true\ncollate = "two-pass"',
            '22: hotfolder.b.collate: "two-pass" '
            "cannot stand beside dossiers = true: which side a file of a dossier holds cannot be "
            "told; use a hot folder of its own",
        ),
        (
            B + "dossiers = true\nclosed_by = []",
            "22: hotfolder.b.closed_by: names nothing: no dossier would be whole",
        ),
        (
            B + 'closed_by = ["bell"]',
            '21: hotfolder.b.closed_by, item 1: write "ticket", "mark" or "settled"',
        ),
        (
            B + 'pages = "numbered"\nbatch_settle_time = "1 s"',
            '22: hotfolder.b.batch_settle_time: "1 s" is shorter than settle_time ("15 s")',
        ),
        (
            B + 'collate = "two-pass"\nback_side_wait = "1 s"',
            '22: hotfolder.b.back_side_wait: "1 s" is shorter than settle_time ("15 s")',
        ),
        ("[archive]\nname = 3", '19: archive.name: write a text, in quotes: "..."'),
    ],
)
def test_a_mistake_in_a_further_table_is_told(etc, good, more, said):
    assert etc.mistakes(f"{good}{more}\n") == [f"archived.toml:{said}"]


def test_all_mistakes_are_told_at_once_in_the_order_of_the_files(etc, good):
    etc.write('[stage.note]\nwordnig = "in"\ntimeout = "20"\n', "conf.d/ocr.toml")
    etc.write("[intake]\nsettle_time = 5\n", "conf.d/intake.toml")

    assert etc.mistakes(
        good.replace('"noter", "copier"', '"noter", "copier", "missing"').replace(
            'pipeline = "paper"', 'pipeline = "papre"\nmode = "event"'
        )
    ) == [
        'archived.toml:2: plugins.enabled: plug-in "missing" is not installed (installed: '
        f"{', '.join(_installed(etc))}); install it where archived lives: archivectl "
        "plugins install WHEEL, then systemctl restart archived; or put missing.py into "
        f"{etc.folder}/plugins",
        'archived.toml:7: hotfolder.scans.pipeline: unknown pipeline "papre"; did you mean '
        '"paper"? (pipelines: paper)',
        'archived.toml:8: hotfolder.scans.mode: write "auto", "events" or "polling"; '
        'did you mean "events"?',
        'conf.d/intake.toml:2: intake.settle_time: write a duration with its unit, like "20 min"',
        'conf.d/ocr.toml:2: stage.note.wordnig: unknown key; did you mean "wording"?',
        'conf.d/ocr.toml:3: stage.note.timeout: write a duration like "90 s", "20 min" or "2 h"',
    ]


def test_a_stage_whose_plugin_is_not_enabled_says_which_to_enable(etc, good):
    etc.plugin("note", (etc.folder / "plugins/noter.py").read_text())

    assert etc.mistakes(good.replace('"noter", "copier"', '"copier"')) == [
        'archived.toml:10: pipeline.paper.stages: stage "note" is given by the plug-in "note", '
        'which is installed and not enabled; add "note" to plugins.enabled'
    ]


def test_a_required_option_of_a_stage_without_a_table_has_no_line_and_none_is_made_up(etc, good):
    assert etc.mistakes(good.replace('[stage.copies]\nto = ["second"]', "[stage.note]")) == [
        "archived.toml: stage.copies.to: must be set"
    ]


def test_a_plugin_that_cannot_be_loaded_does_not_make_its_stages_unknown(etc, good):
    etc.plugin("noter", "raise RuntimeError('no such library')")

    assert etc.mistakes(good) == [
        f'archived.toml:2: plugins.enabled: plug-in "noter" ({etc.folder}/plugins/noter.py) cannot '
        "be imported: RuntimeError: no such library; correct the file, or take its name out of "
        "[plugins] enabled"
    ]


def test_the_same_key_in_two_files_names_both(etc, good):
    etc.write('[hotfolder.scans]\npriority = 1\npath = "/srv/scans"\n', "conf.d/x.toml")

    assert etc.mistakes(good) == [
        "conf.d/x.toml:3: hotfolder.scans.path: also set in archived.toml:6; keep one of them"
    ]


def test_syntax_is_told_with_line_and_column_for_every_file(etc, good):
    etc.write("[a]\nb = 20 min\n", "conf.d/x.toml")

    assert etc.mistakes("[archive\n" + good) == [
        "archived.toml:1:9: not TOML; "
        "the parser says \"Expected ']' at the end of a table declaration\"",
        "conf.d/x.toml:2:8: not TOML; "
        'the parser says "Expected newline or end of document after a statement"',
    ]


def test_a_file_that_is_not_utf8_is_told_with_its_line(etc):
    etc.path.write_bytes('a = 1\nb = "văn"\n'.encode("utf-16"))
    assert etc.mistakes() == ["archived.toml:1: not UTF-8; save the file as UTF-8"]

    etc.path.write_bytes(b'[archive]\nname = "V\xe3n"\n')
    assert etc.mistakes() == ["archived.toml:2: not UTF-8; save the file as UTF-8"]


def test_a_missing_file_says_how_to_get_one(etc):
    assert etc.mistakes() == [
        f"archived.toml: there is no file {etc.path}; archived sample-config writes one"
    ]


def test_a_file_that_anybody_may_write_is_refused(etc, good):
    etc.write(good).chmod(0o646)
    etc.write("", "conf.d/x.toml").chmod(0o666)
    (etc.folder / "conf.d").chmod(0o777)

    assert etc.mistakes() == [
        f"archived.toml: anybody may write it; run: chmod o-w {etc.path}",
        f"conf.d/x.toml: anybody may write it; run: chmod o-w {etc.folder}/conf.d/x.toml",
        f"conf.d: anybody may write it; run: chmod o-w {etc.folder}/conf.d",
    ]


def test_a_folder_in_which_anybody_may_replace_the_file_is_refused(etc, good):
    etc.folder.chmod(0o777)
    assert etc.mistakes(good) == [
        f"{etc.folder}: anybody may write it; run: chmod o-w {etc.folder}"
    ]

    etc.folder.chmod(0o1777)
    etc.load(good)


def test_a_folder_named_like_a_file_is_told(etc):
    etc.path.mkdir()

    assert etc.mistakes() == ["archived.toml: cannot be read: Is a directory"]


def test_a_conf_d_that_cannot_be_listed_is_no_empty_one(etc, good):
    (etc.folder / "conf.d").rmdir()
    etc.write("", "conf.d")

    assert etc.mistakes(good) == ["conf.d: cannot be read: Not a directory"]


def test_hot_folders_are_compared_behind_links(etc, good, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    more = f'[hotfolder.b]\npath = "{tmp_path}/link/in"\npipeline = "paper"\n'

    assert etc.mistakes(good.replace("/srv/scans", f"{tmp_path}/real") + more) == [
        f"archived.toml:19: hotfolder.b.path: lies inside hotfolder.scans.path ({tmp_path}/real)"
    ]


SOFTWARE = "where every step may read; documents must not lie beside software: use a folder below"


@pytest.mark.parametrize(
    ("before", "after", "keys"),
    [
        (
            "",
            '[store]\npath = "/opt/archive/store"',
            "store.path: /opt/archive/store lies inside /opt",
        ),
        (
            "",
            '[archive]\nstate = "/usr/share/archive"',
            "archive.state: /usr/share/archive lies inside /usr",
        ),
        ("/srv/scans", "/lib/scans", "hotfolder.scans.path: /lib/scans lies inside /"),
        (
            "/srv/scans",
            "/etc/ssl/certs/scans",
            "hotfolder.scans.path: /etc/ssl/certs/scans lies inside /etc/ssl/certs",
        ),
        (
            "/srv/scans",
            f"{sys.prefix}/scans",
            f"hotfolder.scans.path: {sys.prefix}/scans lies inside {sys.prefix}",
        ),
    ],
)
def test_documents_do_not_lie_where_every_step_reads(etc, good, before, after, keys):
    text = good.replace(before, after) if before else f"{good}{after}\n"
    (mistake,) = etc.mistakes(text)
    assert keys in mistake and SOFTWARE in mistake


def test_a_link_to_where_every_step_reads_is_followed(etc, good, tmp_path):
    (tmp_path / "store").symlink_to("/opt/archive")
    (mistake,) = etc.mistakes(f'{good}[store]\npath = "{tmp_path}/store"\n')
    assert "store.path: " in mistake and "lies inside /opt, " in mistake


@pytest.mark.parametrize(
    "named", ["/", "/srv", "/srv/scans", "/srv/archived/store/ocfl", "/var/lib/archived/spool/in"]
)
def test_an_option_does_not_open_documents_to_a_stage(etc, good, named):
    (mistake,) = etc.mistakes(f'{good}[target.open]\nkind = "folder"\npath = "{named}"\n')
    assert f"target.open: its option names {named}, which is opened to it" in mistake


SHOUTED = """
    @field_serializer("wording")
    def shouted(self, value) -> str:
        return value + "!"


class Note"""


def test_options_that_a_child_would_read_differently_are_refused(etc, good):
    source = (etc.folder / "plugins/noter.py").read_text()
    etc.plugin(
        "noter",
        "from pydantic import field_serializer\n" + source.replace("\n\nclass Note", SHOUTED),
    )

    assert etc.mistakes(good + "[stage.note]\n") == [
        "archived.toml:18: stage.note: these options change when they are written as JSON and "
        "read again"
    ]


def test_the_error_says_how_to_try_again_and_how_the_process_ends(etc):
    with pytest.raises(ConfigError) as caught:
        load(etc.path)

    assert caught.value.hint == f"correct it, then try: archived check --config {etc.path}"
    assert caught.value.exit_status == os.EX_CONFIG


def _installed(etc) -> list[str]:
    from archived.plugins import installed

    return sorted(installed([etc.folder / "plugins"]))
