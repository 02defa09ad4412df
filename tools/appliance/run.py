"""The whole appliance, tested as one: `./run appliance`.

Boots a Debian 12 or 13 in a container, installs the package, configures servers from the shipped
examples, and uses it from outside with real clients. Prints a table of promises; ends with 0 when
all were kept_worker, 1 when one was broken, and 77 when this machine cannot hold the test.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from archived.testing import samples
from archived.testing.samples.catalogue import generator_version
from tools.appliance import accounts, bad_days, first_days, kept_worker, packages, release_upgrade
from tools.appliance.box import ApplianceError, Box, NotHere, need
from tools.appliance.world import World
from tools.debian.releases import RELEASES, Release, of_this_machine

ROOT = Path(__file__).resolve().parent.parent.parent
CANNOT = 77
STEPS: tuple[Callable[[World], str], ...] = (
    first_days.install,
    first_days.servers,
    first_days.configure,
    first_days.deliver,
    accounts.upgrade,
    first_days.real_scans,
    first_days.paper_may_go_back,
    first_days.signed,
    bad_days.metrics,
    bad_days.disk_lost,
    bad_days.killed,
    accounts.crashed,
    bad_days.hung,
    bad_days.rebooted,
    bad_days.mistyped,
    accounts.owns_nothing,
    kept_worker.keeps_its_worker,
    bad_days.own_plugin,
    first_days.events,
    bad_days.reported,
    bad_days.removed,
    bad_days.purged,
    bad_days.installed_again,
)
IN_PLACE: tuple[Callable[[World], str], ...] = (
    first_days.install,
    first_days.servers,
    first_days.configure,
    first_days.deliver,
    release_upgrade.release_upgraded,
    release_upgrade.package_changed,
    release_upgrade.old_python_removed,
)
"""The steps where one Debian release is installed over another."""
SCANS = 44


def main(argv: Sequence[str] | None = None) -> int:
    """Run the test; returns the exit status."""
    given = _options(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # no container stays behind
    began = time.monotonic()
    work = Path(tempfile.mkdtemp(prefix="archived-appliance-", dir="/var/tmp"))
    good, tell = False, True
    try:
        need()
        release = RELEASES[given.release]
        older = RELEASES[given.upgrade_from] if given.upgrade_from else None
        package = given.package or _build(release)
        previous = given.previous or (_build(older) if older else None)
        _say(began, "a package to test", "given" if given.package else "of the last commit")
        world = _prepare(
            work, older or release, package.resolve(), previous and previous.resolve(), began
        )
        world.release, world.before = release.suite, (older or release).suite
        try:
            world.box.boot()
            _say(began, f"a Debian {(older or release).number} boots in a container", "")
            good = _steps(world, IN_PLACE if older else STEPS, given.until)
            _keep_journal(world)
        finally:
            if world.watching:
                world.watching.kill()
                world.watching.wait()
            world.box.close()
    except NotHere as why:
        tell = False
        print(f"the appliance could not be tested on this machine: {why}", flush=True)
        return CANNOT
    finally:
        if (good or not tell) and not given.keep:
            subprocess.run(["rm", "-rf", "--one-file-system", str(work)], check=False)
        else:
            print(f"what is left of it: {work} (the machine's files in root/, journal.txt)")
    kept = (
        f"all promises up to {given.until} were kept" if given.until else "all promises were kept"
    )
    print(
        f"{kept if good else 'NOT every promise was kept'}, {time.monotonic() - began:.0f} s",
        flush=True,
    )
    return 0 if good else 1


def _build(release: Release) -> Path:
    """The package of the last commit."""
    into = ROOT / ".cache" / "appliance" / f"package-{release.suite}"
    shutil.rmtree(into, ignore_errors=True)
    command = [
        sys.executable,
        "-m",
        "tools.debian.build",
        "--fast",
        "--release",
        release.suite,
        "--into",
        str(into),
    ]
    done = subprocess.run(command, check=False, timeout=1800, cwd=ROOT)
    if done.returncode == CANNOT:
        raise NotHere(f"no package for Debian {release.number} can be built here")
    if done.returncode:
        raise SystemExit(f"the package for Debian {release.number} was not built")
    return next(into.glob("archived_*.deb"))


def _prepare(
    work: Path, release: Release, package: Path, given: Path | None, began: float
) -> World:
    """The machine of `release` before it boots. `given`: the package it has before `package`."""
    desk = work / "desk"
    desk.mkdir()
    (desk / "events").touch()
    print(f"{package.name}, in {work}", flush=True)
    base = packages.base(release, given or package, ROOT / ".cache" / "appliance")
    _say(
        began, f"a Debian {release.number} with the servers, from the cache or made now", base.name
    )
    packages.unpack(base, work / "root")
    if given:
        older, holds, changed = given, "a package that was given", False
    else:
        older, holds, changed = packages.previous(package, ROOT, work)
    _say(began, "the machine's files and the package before this one", "")
    world = World(
        box=Box(work / "root", work / "console.txt"),
        folder=desk,
        package=package,
        previous=older,
        previous_holds=holds,
        changed=changed,
        scans=_scans(desk),
        repository=ROOT,
        corpus=Path(os.environ.get("ARCHIVED_SHARED_DATA") or ROOT.parent / "shared/data") / "vn",
    )
    world.make_keys()
    _say(began, "scans and keys", "")
    return world


def _scans(desk: Path) -> list[Path]:
    """Different papers of one page; none with a mark of secrecy, which would rightly be held."""
    kept = ROOT / ".cache" / "appliance" / f"scans-{SCANS}-{generator_version()}"
    if not (kept / "complete").exists():
        made = samples.make(kept, seed=4, count=SCANS, pages=1, dpi=200)
        for each in made:
            if each.truth["secrecy"]:
                each.path.unlink()
        (kept / "complete").touch()
    shutil.copytree(kept, desk / "scans")
    return sorted(
        p for p in (desk / "scans").iterdir() if p.suffix in {".pdf", ".tif", ".jpg", ".png"}
    )


def _steps(world: World, steps: Sequence[Callable[[World], str]], last: str) -> bool:
    for number, step in enumerate(steps, start=1):
        began = time.monotonic()
        promise = (step.__doc__ or "").splitlines()[0]
        try:
            remark = step(world)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told with the journal
            _say(began, f"{number:>2} {promise}", "BROKEN")
            print(f"   {step.__name__}: {type(error).__name__}: {error}", flush=True)
            if not isinstance(error, ApplianceError):
                traceback.print_exc()
            for each in steps[number:]:
                print(f"      -   not reached: {each.__name__}", flush=True)
            return False
        _say(began, f"{number:>2} {promise}", remark)
        if step.__name__ == last:
            break
    for sentence in world.cannot:
        print(f"not tried on this machine: {sentence}", flush=True)
    return True


def _say(began: float, promise: str, remark: str) -> None:
    print(
        f"{time.monotonic() - began:6.1f} s  {promise}  {f'[{remark}]' if remark else ''}",
        flush=True,
    )


def _keep_journal(world: World) -> None:
    """What the machine wrote about itself, for whoever looks for a reason."""
    _, text = world.box.ask("journalctl", "--no-pager", "--output=short-precise")
    (world.folder.parent / "journal.txt").write_text(text)


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument(
        "--package", type=Path, help="the package to test (one is built from the last commit)"
    )
    here = of_this_machine()
    options.add_argument(
        "--release",
        choices=RELEASES,
        default=here.suite if here else "bookworm",
        help="the Debian release (this machine's)",
    )
    options.add_argument(
        "--upgrade-from",
        choices=RELEASES,
        metavar="SUITE",
        help="start with this older release, then install --release over it",
    )
    options.add_argument(
        "--previous", type=Path, help="the package to begin with (else one is made)"
    )
    options.add_argument("--keep", action="store_true", help="leave the machine's files behind")
    options.add_argument("--until", default="", metavar="STEP", help="the last step that is made")
    return options.parse_args(argv)
