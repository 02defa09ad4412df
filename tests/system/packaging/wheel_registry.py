"""A package registry for tests: small wheels made here, as a folder or behind HTTP on loopback."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import re
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from packaging.requirements import Requirement

NEWER = "99999.0"
"""The version of everything that a lock must not let in."""


def wheel(
    folder: Path, name: str, version: str, needs: tuple[str, ...] = (), extras: tuple[str, ...] = ()
) -> Path:
    """Make a wheel that holds one module; returns its file."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{re.sub('[-.]+', '_', name)}-{version}"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Provides-Extra: {extra}" for extra in extras]
    lines += [f"Requires-Dist: {need}" for need in needs]
    module = re.sub(r"\W", "_", name).lower()
    content = {
        f"made_for_tests_{module}.py": f"VERSION = {version!r}\n",
        f"{stem}.dist-info/METADATA": "\n".join(lines) + "\n",
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\n"
        "Root-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{stem}.dist-info/RECORD"
    rows = [f"{path},{_recorded(text)},{len(text.encode())}" for path, text in content.items()]
    content[record] = "\n".join([*rows, f"{record},,"]) + "\n"
    made = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(made, "w") as archive:
        for path, text in content.items():
            archive.writestr(path, text)
    return made


def _recorded(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def line(made: Path, name: str, version: str, marker: str = "") -> str:
    """One entry of a lock for a wheel."""
    digest = hashlib.sha256(made.read_bytes()).hexdigest()
    return f"{name}=={version}{marker} \\\n    --hash=sha256:{digest}\n"


def pins(lock: Path) -> dict[str, Requirement]:
    """Distribution -> its pin, of a lock file."""
    found = re.findall(r"^([A-Za-z0-9].*?)\s*\\$", lock.read_text(), re.MULTILINE)
    return {need.name: need for need in map(Requirement, found)}


def pinned_version(need: Requirement) -> str:
    """The one version that a pin allows."""
    [only] = need.specifier
    return only.version


def tempting(lock: Path, folder: Path) -> Path:
    """The same lock over wheels made here, in a folder that offers a newer one of each, too.

    What a distribution requires is what the real one requires, extras included, where it is
    installed here; each newer one requires something that does not exist.
    """
    entries = []
    for name, need in pins(lock).items():
        version = pinned_version(need)
        needs, extras = _real(name, version)
        made = wheel(folder / "index", name, version, needs, extras)
        wheel(folder / "index", name, NEWER, ("nobody-offers-this",), extras)
        marker = f" ; {need.marker}" if need.marker else ""
        entries.append(line(made, name, version, marker))
    copy = folder / lock.name
    copy.write_text("".join(entries))
    return copy


def _real(name: str, version: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    try:
        real = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return (), ()
    if real.version != version:
        return (), ()
    return tuple(real.requires or ()), tuple(real.metadata.get_all("Provides-Extra") or ())


class Registry:
    """A registry on loopback whose answers a test spoils: see `mood`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked = folder, 0
        self.mood = "good"
        """good, slow (each answer after 0.3 s), silent, busy (503), cut, other (another file)."""
        self.open = threading.Event()
        """Set: silent answers may end."""
        registry = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                registry.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/simple/"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """One page of the simple index (PEP 503), or one file."""
        self.asked += 1
        if self.mood == "silent":
            self.open.wait(60)
        if self.mood == "slow":
            time.sleep(0.3)  # the registry's own slowness, which is what is tried
        path = request.path.strip("/").split("/")
        if path[0] == "files":
            body, kind = (self.folder / path[-1]).read_bytes(), "application/zip"
        else:
            body, kind = self._page(path[-1]).encode(), "text/html"
        status = 503 if self.mood == "busy" else 200
        length = len(body)
        if path[0] == "files" and self.mood == "other":
            body = body[:-1] + b"!"
        if path[0] == "files" and self.mood == "cut":
            body = body[: length // 2]
        request.send_response(status)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(length))
        request.end_headers()
        request.wfile.write(body)

    def _page(self, name: str) -> str:
        stem = re.sub("[-.]+", "_", name)
        files = sorted(self.folder.glob(f"{stem}-*.whl"))
        return "".join(f'<a href="/files/{file.name}">{file.name}</a><br>' for file in files)

    @contextmanager
    def serving(self) -> Iterator[Registry]:
        """Serve until the end of the block."""
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.open.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join(10)
