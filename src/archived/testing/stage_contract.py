"""The promises of a stage as tests: subclass `StageContract` in a test module and run pytest.

Every bundled stage passes it; so should yours.
"""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel

from archived.api import API_VERSION, Document, Failure, Refuse, Stage, StageConfig
from archived.testing import readme as book
from archived.testing.kit import (
    Finished,
    StageFailed,
    Targets,
    accepted,
    as_request,
    run_stage_below,
    sources,
    take_in,
)
from archived.testing.lane import lanes
from archived.testing.watch import NOTES

HEAVY = frozenset(
    {
        "PIL",
        "asn1crypto",
        "cv2",
        "fitz",
        "numpy",
        "ocrmypdf",
        "pandas",
        "pdfminer",
        "pikepdf",
        "pyhanko",
        "pypdfium2",
        "scipy",
        "tesserocr",
        "torch",
    }
)
"""Packages that must not be loaded by importing a plug-in: the daemon imports it."""
RESERVED = frozenset(
    {
        "timeout",
        "max_time",
        "attempts",
        "lane",
        "memory",
        "memory_per_page",
        "max_memory",
        "disk_factor",
    }
)
"""Keys of `[stage.NAME]` that the core understands and the stage never sees."""

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_MEDIA_RANGE = re.compile(r"\*/\*|[a-z]+/(\*|[a-z0-9][a-z0-9.+-]*)")


@dataclass(frozen=True)
class Ran:
    """One whole run on the sample, and what it was given."""

    document: Document
    before: dict[Path, tuple[bytes, int, int]]
    done: Finished
    root: Path


class StageContract:
    """Set `stage` and `sample`; the rest has defaults. Name the subclass `Test...`.

    `sample` is a path, the name of a sample scan, a `Document`, or a callable that returns one of
    these. Where a value must be made first (a key, a server), override `make_sample`,
    `make_options` or `make_targets`; they are given a folder that lives as long as the test class.
    Where making it takes fixtures, override the class-scoped fixture `surroundings`.
    """

    stage: ClassVar[type[Stage[Any]]]
    sample: ClassVar[Any]
    options: ClassVar[Mapping[str, Any]] = {}
    """The stage's options for the sample, as in TOML."""
    targets: ClassVar[Targets] = {}
    """Name -> target table as in TOML, for a stage with `Needs(targets=True)`."""
    facts: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """What earlier stages found."""
    readme: ClassVar[Path | None] = None
    """Default: README.md beside the distribution's pyproject.toml."""
    refuses: ClassVar[Mapping[str, Any]] = {}
    """Code -> a sample the stage must refuse with it."""
    more_codes: ClassVar[frozenset[str]] = frozenset()
    """Failure codes that the source puts together at run time."""
    reads_content: ClassVar[bool] = True
    """False for a stage that never parses the document, to which garbage is as good as a scan."""

    def make_sample(self, folder: Path) -> Path | Document:  # noqa: ARG002 - for overriding
        """The document most tests use."""
        return self._sample(inspect.getattr_static(type(self), "sample"))

    def make_options(self, folder: Path) -> Mapping[str, Any]:  # noqa: ARG002 - for overriding
        """The stage's options for the sample."""
        return self.options

    def make_targets(self, folder: Path) -> Targets:  # noqa: ARG002 - for overriding
        """The places a stage with `Needs(targets=True)` writes to."""
        return self.targets

    def same(self, first: Finished, second: Finished) -> None:
        """Assert that two runs gave the same. Override to compare more, or bytes that differ."""
        assert _shape(first) == _shape(second)

    # -- the runs -----------------------------------------------------------------------------

    @pytest.fixture(scope="class")
    @classmethod
    def surroundings(
        cls, tmp_path_factory: pytest.TempPathFactory
    ) -> tuple[Path, Path | Document, Mapping[str, Any], Targets]:
        """A folder, the sample, the options, the targets: made once for the class."""
        root = tmp_path_factory.mktemp(cls.stage.name)
        (folder := root / "made").mkdir()
        own = cls()
        return root, own.make_sample(folder), own.make_options(folder), own.make_targets(folder)

    @pytest.fixture(scope="class")
    @classmethod
    def first(cls, surroundings: Any) -> Ran:
        """The first whole run."""
        return cls()._run(surroundings)

    @pytest.fixture(scope="class")
    @classmethod
    def second(cls, surroundings: Any, first: Ran) -> Ran:
        """A whole run of the same document, after one that was killed half way."""
        cls()._kill_half_way(surroundings, first)
        return cls()._run(surroundings, first.document)

    def _run(
        self, surroundings: Any, given: Document | None = None, timeout: timedelta | None = None
    ) -> Ran:
        root, sample, options, targets = surroundings
        document = given or (sample if isinstance(sample, Document) else take_in(sample, root))
        before = _bytes_of(document)
        done = run_stage_below(
            root,
            self.stage,
            document,
            targets=targets,
            facts=self.facts,
            timeout=timeout,
            **options,
        )
        return Ran(document, before, done, root)

    def _kill_half_way(self, surroundings: Any, first: Ran) -> None:
        half = timedelta(seconds=first.done.usage.wall / 2)
        try:
            self._run(surroundings, first.document, timeout=half)
        except StageFailed as failed:
            assert failed.code == "timed-out", failed

    # -- what a run promises ------------------------------------------------------------------

    def test_the_document_is_left_as_it_was(self, first: Ran) -> None:
        """Bytes, times and permissions of every file it was given."""
        assert _bytes_of(first.document) == first.before

    def test_it_writes_only_in_its_folder(self, first: Ran) -> None:
        """As far as Python code goes; libraries in C and other programs are not seen."""
        left = first.done.folder / ".left"
        notes = (left if left.is_dir() else first.done.folder) / ".tmp" / NOTES
        written = set(notes.read_text().splitlines()) if notes.exists() else set()
        if self.stage.needs.targets:
            written = {path for path in written if not Path(path).is_relative_to(first.root)}
        assert not written, f"written outside {first.done.folder}: {sorted(written)}"

    def test_killed_half_way_it_can_run_again(self, second: Ran) -> None:
        """After a power cut the step is simply run again, in a new folder."""
        assert second.done.folder.is_dir()
        assert _bytes_of(second.document) == second.before

    def test_twice_gives_the_same(self, first: Ran, second: Ran) -> None:
        """The same set of artifacts, roles, media types and facts."""
        self.same(first.done, second.done)

    def test_its_kept_worker_goes_on_with_the_next_document(self, surroundings: Any) -> None:
        """What it keeps from one document changes nothing of the next one."""
        if self.stage.needs.worker != "kept":
            pytest.skip('this stage has a process for each attempt (Needs(worker="fresh"))')
        runs = [self._run(surroundings) for _ in range(3)]
        for each in runs[1:]:
            self.same(runs[0].done, each.done)

    def test_what_did_the_work_is_named_with_its_version(self, first: Ran) -> None:
        """`Result.tools` is name -> version, neither empty."""
        for tool, version in first.done.tools.items():
            assert tool.strip() and version.strip(), f"tool {tool!r} has version {version!r}"

    def test_garbage_is_refused_and_breaks_nothing(self, surroundings: Any) -> None:
        """A file that is not what its type says is the document's fault, not the stage's."""
        if not self.reads_content:
            pytest.skip("this stage does not read the document (reads_content = False)")
        root, sample, _, _ = surroundings
        document = sample if isinstance(sample, Document) else take_in(sample, root)
        bad = root / f"garbage{document.main.path.suffix}"
        bad.write_bytes(b"\x00garbage\xff" * 500)
        main = replace(document.main, path=bad, size=bad.stat().st_size)
        others = tuple(main if a == document.main else a for a in document.artifacts)
        with pytest.raises(Refuse):
            self._run(surroundings, replace(document, main=main, artifacts=others))

    def test_a_document_of_several_originals_breaks_nothing(self, surroundings: Any) -> None:
        """It is worked on or refused, and every original is left as it was."""
        root, sample, _, _ = surroundings
        document = sample if isinstance(sample, Document) else take_in(sample, root)
        [*earlier, last] = document.originals
        second = root / f"several-{len(earlier) + 2:04}{last.path.suffix}"
        second.write_bytes(last.path.read_bytes())
        second.chmod(0o444)
        more = replace(last, path=second, name=f"{len(earlier) + 2:04}{last.path.suffix}")
        document = replace(document, artifacts=(*document.artifacts, more))
        before = _bytes_of(document)
        with suppress(Failure):
            self._run(surroundings, document)
        assert _bytes_of(document) == before

    def test_what_it_must_refuse_it_refuses(self, surroundings: Any) -> None:
        """Every sample of `refuses`, with the code it stands under."""
        for code, raw in self.refuses.items():
            root, _, options, targets = surroundings
            with pytest.raises(Failure) as failure:
                self._run((root, self._sample(raw), options, targets))
            assert isinstance(failure.value, Refuse), failure.value
            assert failure.value.code == code, failure.value

    def test_its_check_has_nothing_to_say_about_the_sample_options(
        self, surroundings: Any, tmp_path: Path
    ) -> None:
        """Options that worked above are options without problems."""
        _, _, options, targets = surroundings
        dumped = self.stage.config().model_validate(dict(options)).model_dump(mode="json")
        place = as_request(targets)
        problems = lanes().check(sources(self.stage), self.stage.name, dumped, place, tmp_path)
        assert problems == []

    # -- what it says of itself ---------------------------------------------------------------

    def test_it_is_well_formed(self, surroundings: Any) -> None:
        """Name, version, API version, and media types that fit the sample."""
        stage = self.stage
        assert _NAME.fullmatch(stage.name), "write the name in lower-case words joined by hyphens"
        assert isinstance(stage.version, str) and stage.version.strip()
        assert stage.api <= API_VERSION, f"written for API {stage.api}; this is {API_VERSION}"
        assert isinstance(stage.accepts, tuple) and stage.accepts
        assert all(_MEDIA_RANGE.fullmatch(kind) for kind in stage.accepts), stage.accepts
        assert stage.needs.timeout > timedelta(0) and stage.needs.memory_bytes > 0
        root, sample, _, _ = surroundings
        document = sample if isinstance(sample, Document) else take_in(sample, root)
        assert accepted(stage, document), f"the sample is {document.main.media_type}"

    def test_every_option_is_documented(self) -> None:
        """A string under each field."""
        assert not [*_undocumented(self.stage.config())]

    def test_importing_the_plugin_is_light(self) -> None:
        """In a fresh interpreter, no heavy library comes with the plug-in's top module."""
        (_, source, *_) = sources(self.stage)
        if "file" in source:
            load = f"import runpy; runpy.run_path({source['file']!r})"
        else:
            load = f"import {source['entry_point'].partition('.')[0]}"
        program = f"{load}; import sys; print(*{{m.partition('.')[0] for m in sys.modules}})"
        path = [folder for folder in sys.path if folder]
        done = subprocess.run(
            [sys.executable, "-P", "-c", f"import sys; sys.path[:] = {path!r}; {program}"],
            check=True,
            capture_output=True,
            text=True,
        )
        loaded = HEAVY & set(done.stdout.split())
        assert not loaded, f"importing it loads {sorted(loaded)}; name them in Stage.preload"

    def test_the_readme_has_its_sections(self) -> None:
        """In order; with every option in Configuration."""
        found = book.sections(self._readme())
        assert found[""].lstrip().startswith("# "), "begin with a first-level heading"
        assert [s for s in found if s in book.SECTIONS] == list(book.SECTIONS)
        missing = [
            name
            for name in self.stage.config().model_fields
            if not re.search(rf"`[^`]*\b{re.escape(name)}\b[^`]*`", found["Configuration"])
        ]
        assert not missing, f"options not in the README's Configuration: {missing}"

    def test_the_readmes_examples_load(self) -> None:
        """Its TOML parses, and the tables of this stage are valid options."""
        blocks = book.toml_blocks(self._readme())
        assert blocks, "show at least one example in a ```toml block"
        for block in blocks:
            table = block.get("stage", {}).get(self.stage.name)
            if table is not None:
                own = {key: value for key, value in table.items() if key not in RESERVED}
                self.stage.config().model_validate(own)

    def test_the_failure_codes_are_documented(self) -> None:
        """Those in the source stand in the README's Failures table, and the other way round."""
        used = book.used_codes(self.stage) | self.more_codes
        assert book.documented_codes(self._readme()) == used

    def _readme(self) -> str:
        readme = self.readme or book.find_readme(self.stage)
        if readme is None:
            pytest.skip("a single-file plug-in has no README")
        return readme.read_text(encoding="utf-8")

    def _sample(self, raw: Any) -> Path | Document:
        if isinstance(raw, staticmethod):
            raw = raw.__func__
        if callable(raw):
            raw = raw(self) if inspect.signature(raw).parameters else raw()
        if isinstance(raw, str):
            from archived.testing import samples

            return samples.sample(raw)
        assert isinstance(raw, Path | Document), f"a sample is not a {type(raw).__name__}"
        return raw


def _bytes_of(document: Document) -> dict[Path, tuple[bytes, int, int]]:
    paths = [artifact.path for artifact in document.artifacts]
    if document.sealed is not None:
        paths += [path for path in document.sealed.root.rglob("*") if path.is_file()]
    return {p: (p.read_bytes(), (s := p.stat()).st_mtime_ns, s.st_mode) for p in paths}


def _shape(done: Finished) -> dict[str, Any]:
    return {
        "artifacts": sorted((a.role, a.name, a.media_type) for a in done.artifacts),
        "main": done.replace_main and (done.replace_main.role, done.replace_main.name),
        "facts": sorted(done.facts),
        "tools": dict(done.tools),
        "copies": sorted((c.target, c.key, c.inventory_sha512) for c in done.copies),
    }


def _undocumented(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if not (field.description or "").strip():
            yield f"{model.__name__}.{name}"
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel) and inner is not StageConfig:
            yield from _undocumented(inner)
