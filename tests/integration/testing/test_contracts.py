"""The contracts pass a plug-in that keeps its promises and name each promise another breaks."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PYPROJECT = "[project]\nname = 'archived-example'\nversion = '0.1.0'\n"

GOOD = '''
"""A stage and a target that keep their promises."""
import hashlib, os
from pathlib import Path
from archived.api import *

class Options(StageConfig):
    word: str = "hi"
    """The word."""

class Good(Stage[Options]):
    name = "good"
    version = "1"
    accepts = ("text/plain",)
    def run(self, document, context):
        try:
            text = document.main.path.read_text()
        except UnicodeDecodeError as error:
            raise Refuse("not text", code="not-text") from error
        if not text:
            raise Refuse("empty", code="empty")
        note = context.new_file("note.txt", media_type="text/plain")
        note.path.write_text(context.options.word + text)
        return Result(add=[note], tools={"python": "3"}, facts={"length": len(text)})

class Place(TargetConfig):
    path: Path
    """A folder."""

class Folder(Target[Place]):
    kind = "folder"
    version = "1"
    def _path(self, key):
        if not key or "\\0" in key or any(p in ("", ".", "..") for p in key.split("/")):
            raise ValueError(f"bad key {key!r}")
        return self.options.path / key
    def put(self, source, key, sha512):
        path = self._path(key)
        if path.exists():
            if hashlib.sha512(path.read_bytes()).hexdigest() != sha512:
                raise FileExistsError(key)
            return
        self.replace(source, key, sha512)
    def replace(self, source, key, sha512):
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name("." + path.name)
        part.write_bytes(source.read_bytes())
        part.replace(path)
    def open(self, key):
        return self._path(key).open("rb")
    def list(self, prefix):
        for path in (self.options.path / prefix).rglob("[!.]*"):
            if path.is_file():
                yield path.relative_to(self.options.path).as_posix()
    def free(self):
        return None

class Careless(Folder):
    kind = "careless"
    def _path(self, key):
        return self.options.path / key.lstrip("/").replace("\\0", "")
    def put(self, source, key, sha512):
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file, source.open("rb") as bytes_in:
            while chunk := bytes_in.read(4096):
                file.write(chunk)
    def list(self, prefix):
        for path in self.options.path.rglob("*"):
            key = path.relative_to(self.options.path).as_posix()
            if path.is_file() and key.startswith(prefix):
                yield key

@hookimpl
def register_stages(register):
    register(Good)
'''

BAD = """
import contextlib, uuid
import PIL
from archived.api import *

class Options(StageConfig):
    word: str = "hi"

class Bad(Stage[Options]):
    name = "Bad one"
    version = ""
    def check(self, options):
        yield "never satisfied"
    def run(self, document, context):
        if b"refuse" in document.main.path.read_bytes():
            raise Refuse("other", code="another")
        document.main.path.read_bytes().decode()
        with contextlib.suppress(PermissionError):
            document.main.path.chmod(0o600)
        with contextlib.suppress(PermissionError):
            document.main.path.touch()
        for path in (document.main.path.parent / "beside", document.main.path):
            with contextlib.suppress(PermissionError):  # it does not get far, but it tried
                path.write_text("mine now")
        note = context.new_file(uuid.uuid4().hex, media_type="text/plain")
        note.path.write_text("x")
        return Result(add=[note], tools={"python": ""})
"""

GOOD_README = """# archived-example

It is good.

## Description

```sh
## not a heading
```

## Configuration

| Option | Default |
| --- | --- |
| `word` | `"hi"` |

## Examples

```toml
[stage.good]
word = "in"
timeout = "20 min"
```

## Metrics

None.

## Failures

| Code | Meaning |
| --- | --- |
| `not-text` | It is not text. |
| `empty` | It is empty. |
"""

BAD_README = """# archived-example

## Configuration

None.

## Examples

```toml
[stage."Bad one"]
wrod = "in"
```

## Failures

| `never-used` | x |
"""

TESTS = """
from pathlib import Path
from archived.testing import StageContract, TargetContract
from {name} import *

HERE = Path(__file__).parent

class TestStage(StageContract):
    stage = {stage}
    sample = HERE / "sample.txt"
    refuses = {{"empty": HERE / "empty.txt"}}
"""

TARGETS = """
class Places(TargetContract):
    kind = None
    def make_target(self, tmp_path):
        (tmp_path / "t").mkdir(exist_ok=True)
        return self.kind("t", self.kind.config()(path=tmp_path / "t"))

class TestFolder(Places):
    kind = Folder

class TestCareless(Places):
    kind = Careless
"""


def write_plugin(root: Path, name: str, stage: str, code: str, readme: str, more: str = "") -> Path:
    home = root / f"of_{name}"
    package = home / "src" / name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(code)
    (home / "pyproject.toml").write_text(PYPROJECT)
    (home / "README.md").write_text(readme)
    (home / "sample.txt").write_text("some text")
    (home / "empty.txt").write_text("refuse" if name == "bad_plugin" else "")
    test = home / f"test_{name}.py"
    test.write_text(TESTS.format(name=name, stage=stage) + more)
    return test


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """`Class outcome` -> the names of the tests that ended so, of one pytest run."""
    root = tmp_path_factory.mktemp("plugins")
    (root / "pytest.ini").write_text("[pytest]\n")
    tests = [
        write_plugin(root, "good_plugin", "Good", GOOD, GOOD_README, TARGETS),
        write_plugin(root, "bad_plugin", "Bad", BAD, BAD_README),
    ]
    path = os.pathsep.join(
        str(root / f"of_{name}" / "src") for name in ("good_plugin", "bad_plugin")
    )
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-rA",
            "--durations=8",
            "--tb=short",
            "-p",
            "no:cacheprovider",
            "--import-mode=importlib",
            *map(str, tests),
        ],
        cwd=root,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout)
    found: dict[str, set[str]] = {}
    line = re.compile(r"^(PASSED|FAILED|ERROR) of_(\w+)/\w+\.py::(\w+)::(\w+)", re.MULTILINE)
    for outcome, plugin, klass, test in line.findall(done.stdout):
        found.setdefault(f"{plugin} {klass} {outcome}", set()).add(test)
    return found


def test_a_good_stage_passes_all_of_its_contract(verdicts):
    assert len(verdicts["good_plugin TestStage PASSED"]) == 15
    assert "good_plugin TestStage FAILED" not in verdicts


def test_every_promise_a_bad_stage_breaks_is_named(verdicts):
    assert "bad_plugin TestStage ERROR" not in verdicts
    # It changes mode and times of its document, too: those promises the confinement keeps for it.
    assert verdicts["bad_plugin TestStage FAILED"] == {
        "test_every_option_is_documented",
        "test_garbage_is_refused_and_breaks_nothing",
        "test_importing_the_plugin_is_light",
        "test_it_is_well_formed",
        "test_it_writes_only_in_its_folder",
        "test_its_check_has_nothing_to_say_about_the_sample_options",
        "test_the_failure_codes_are_documented",
        "test_the_readme_has_its_sections",
        "test_the_readmes_examples_load",
        "test_twice_gives_the_same",
        "test_what_did_the_work_is_named_with_its_version",
        "test_what_it_must_refuse_it_refuses",
    }


def test_a_good_target_passes_all_of_its_contract(verdicts):
    assert "good_plugin TestFolder FAILED" not in verdicts
    assert len(verdicts["good_plugin TestFolder PASSED"]) == 14


def test_every_promise_a_careless_target_breaks_is_named(verdicts):
    assert verdicts["good_plugin TestCareless FAILED"] >= {
        "test_different_bytes_are_refused",
        "test_keys_that_could_lead_elsewhere_are_refused",
        "test_a_put_killed_half_way_leaves_nothing_visible",
        "test_a_list_is_of_a_folder_not_of_a_prefix_of_names",
    }


def test_the_pytest_plugin_imports_nothing_until_it_is_used():
    program = "import archived.testing.pytest_plugin, sys; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    mine = {name for name in done.stdout.split() if name.startswith("archived")}
    assert mine == {"archived", "archived.testing", "archived.testing.pytest_plugin"}
    assert "pydantic" not in done.stdout.split()
