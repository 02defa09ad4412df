"""One hot folder's desk: watches files arrive, decides when one is whole, hands it to admission.

The scan is the truth and the catalog the memory; what is kept here can be lost at any time and is
found again. Every file seen is on record from the first scan that sees it.
"""

from __future__ import annotations

import errno
import stat
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from archived import AGENT
from archived.intake.admission import StillArriving, admit
from archived.intake.batch import Closes, Decision, Holds, Passes, Waits, is_companion
from archived.intake.card import FolderCard, House, Sweep
from archived.intake.clearing import Clearing
from archived.intake.formats import Look, Whole, broken_promise
from archived.intake.gathering import DigestsDiffer, Gathering
from archived.intake.holds import HOLDS
from archived.intake.item import Candidate, Item
from archived.intake.noting import AT_ONCE, batched, record_held, record_new
from archived.intake.opened import look_at
from archived.intake.removal import Removal, is_still_ours
from archived.intake.rules import RULES, TAKEN_PREFIX, rule_for
from archived.intake.scan import FolderOffline, Seen, mount_point, scan
from archived.intake.settle import Sighting, has_settled, unchanged_since
from archived.intake.watched import Ready, Watched, candidate, lying
from archived.intake.watcher import has_writer
from archived.storage.catalog import Catalog
from archived.storage.change import Change
from archived.storage.ledger import Entry
from archived.storage.records import Arrival, ArrivalState
from archived.storage.spool import Spool

__all__ = ["Candidate", "Desk", "FolderCard", "House", "Sweep"]


class Desk:
    """All state is per path, for files present. `sweep` blocks: call it in a thread."""

    def __init__(self, card: FolderCard, catalog: Catalog, spool: Spool, house: House) -> None:
        self.card = card
        self._catalog = catalog
        self._spool = spool
        self._house = house
        self._watched: dict[bytes, Watched] | None = None
        self._to_hold: list[tuple[Watched, str, str]] = []
        self._clearing = Clearing(card, catalog, house)
        self._gathering = Gathering(card, catalog, spool, house) if card.batches else None
        self._ready: dict[bytes, Ready] = {}
        self._mount: Path | None = None
        """Where the folder's file system was mounted in the last sweep that could be trusted."""

    def sweep(self) -> Sweep:
        """Scan once and act on it. Raises `FolderOffline` and `CatalogError`; nothing is lost."""
        try:
            return self._sweep()
        except FolderOffline:
            raise
        except BaseException:
            self._watched = None  # it may be behind the catalog now: that is read again
            raise

    def _sweep(self) -> Sweep:
        if self._watched is None:
            present = self._catalog.arrivals_present(self.card.name)
            self._watched = {path: Watched(arrival) for path, arrival in present.items()}
        report = Sweep()
        self._to_hold.clear()
        self._ready.clear()
        self._clearing.begin()
        found = scan(self.card.path, recursive=self.card.recursive, own=self.card.own)
        here = {seen.path: seen for seen in found}
        self._ask_whether_still_mounted()
        for path in [path for path in here if TAKEN_PREFIX in path]:
            if (stuck := self._clearing.finish(here[path])) is not None:
                report.stuck += stuck
                del here[path]
        self._note_gone(here)
        self._note_new(here)
        for watched in list(self._watched.values()):
            if self._house.stopping():
                break
            if (seen := here.get(watched.arrival.path)) is not None:
                self._attend(watched, seen, report)
        if self._gathering is not None and not self._house.stopping():
            self._take_batches(self._gathering, here, report)
        self._record_held()
        return report

    def _note_gone(self, here: dict[bytes, Seen]) -> None:
        assert self._watched is not None  # noqa: S101 - sweep filled it
        if self._watched and not here:
            self._ask_whether_mounted()
        closed = tuple(path + b"/" for path, seen in here.items() if seen.closed)
        gone = [
            watched for path, watched in self._watched.items()
            if path not in here and not path.startswith(closed)
        ]  # fmt: skip
        for some in batched(gone):
            with self._catalog.transaction() as change:
                for watched in some:
                    self._record_gone(change, watched.arrival)
            for watched in some:
                del self._watched[watched.arrival.path]
                self._clearing.forget(watched.arrival.path)

    def _ask_whether_still_mounted(self) -> None:
        """What lies where a share was mounted, while it is not, is neither the folder nor empty."""
        mount = mount_point(self.card.path)
        if self._mount is not None and mount != self._mount and self._mount.is_relative_to(mount):
            raise FolderOffline(
                f"{self.card.path}: nothing is mounted at {self._mount} any more; mount it again, "
                "or reload archived when the folder is meant to be without it"
            )
        self._mount = mount

    def _ask_whether_mounted(self) -> None:
        """All files gone at once, and the folder is on another disk: that is no clerk's doing."""
        assert self._watched is not None  # noqa: S101 - sweep filled it
        device = self.card.path.stat().st_dev
        if all(watched.arrival.device != device for watched in self._watched.values()):
            raise FolderOffline(
                f"{self.card.path}: empty, and not the file system that its files were seen on; "
                "is the share mounted?"
            )

    def _record_gone(self, change: Change, arrival: Arrival) -> None:
        change.arrival_changed(arrival.id, present=False)
        if arrival.state in {ArrivalState.SEEN, ArrivalState.HELD}:
            origin = arrival.origin or self.card.name
            self._record_ignored(change, arrival.id, arrival.name, "withdrawn", origin)

    def _record_ignored(
        self, change: Change, arrival: int, name: str, rule: str, origin: str
    ) -> None:
        now = self._house.now()
        change.arrival_ended(arrival, ArrivalState.IGNORED, now, code=rule, reason=RULES[rule])
        facts = {"arrival": arrival, "hotfolder": self.card.name,
                 "device": origin, "name": name, "rule": rule}  # fmt: skip
        change.record(Entry("arrival-ignored", now, AGENT, facts=facts))
        change.announce("arrival-ignored", now, hotfolder=self.card.name, facts={"rule": rule})

    def _note_new(self, here: dict[bytes, Seen]) -> None:
        """Put files on record that are not, and files that took another's name."""
        assert self._watched is not None  # noqa: S101 - sweep filled it
        fresh = [s for path, s in here.items() if self._is_news(self._watched.get(path), s)]
        if not fresh:
            return
        for some in batched(fresh):
            if self._house.stopping():
                break
            with self._catalog.transaction() as change:
                for seen in some:
                    if (before := self._watched.get(seen.path)) is not None:
                        self._record_gone(change, before.arrival)
                new = record_new(change, self.card, [(s, self._rule(s)) for s in some],
                                 self._house.now())  # fmt: skip
            for arrival, seen in zip(new, some, strict=True):
                self._watched[seen.path] = Watched(arrival, kind=stat.S_IFMT(seen.mode))

    def _is_news(self, watched: Watched | None, seen: Seen) -> bool:
        if watched is None:
            return True
        arrival, kind = watched.arrival, stat.S_IFMT(seen.mode)
        if arrival.state is ArrivalState.ADMITTED:  # still here: to be removed, or another by now
            path, document = self._path(seen.path), arrival.document or ""
            return not is_still_ours(
                arrival, seen.sighting, path,
                lambda: self._house.find_bytes(document, arrival.became),
            )  # fmt: skip
        if arrival.code == "mark-alone":  # not its name decided, but what lay beside it
            known = (arrival.size, arrival.mtime_ns)
            return known != (seen.sighting.size, seen.sighting.mtime_ns)
        if kind == watched.kind:
            return False  # its name is the same and so are the rules
        watched.kind = kind
        left_alone = self._rule(seen) is not None
        return left_alone is not (arrival.state is ArrivalState.IGNORED)

    def _rule(self, seen: Seen) -> str | None:
        # A closed folder is no pipe or device: it is held, unless its name is a reason to pass by.
        mode = stat.S_IFREG if seen.closed else seen.mode
        rule = rule_for(seen.path, mode, self.card.ignore, self.card.own)
        said = rule in {None, "hidden"} and is_companion(seen.path, self.card.batches)
        return None if said else rule

    def _attend(self, watched: Watched, seen: Seen, report: Sweep) -> None:
        """Bring one present file a step further, if it is ready."""
        arrival = watched.arrival
        if arrival.state is ArrivalState.IGNORED:
            return
        if seen.closed:
            self._hold(watched, "folder-closed", seen.closed)
            return
        sighting = seen.sighting
        first = unchanged_since(watched.first, sighting)
        if first is sighting:
            watched.seen = None
        watched.first, watched.last = first, sighting
        try:
            if arrival.state is ArrivalState.ADMITTED:
                self._remove(watched, report)
            elif has_settled(first, sighting, self.card.quiet):
                self._settled(watched, report)
            else:
                report.arriving += 1
                still = sighting.at - first.at
                report.settles = min(report.settles, self.card.quiet - still)
        except StillArriving:
            watched.first = None
            report.arriving += 1
        except FileNotFoundError:
            report.arriving += 1  # gone since the scan: the next one will say so
        except PermissionError as error:
            if error.filename == str(self._path(arrival.path)):
                self._hold(watched, "unreadable", error.strerror or "")
            else:
                self._trouble(watched, error, report)
        except OSError as error:
            self._trouble(watched, error, report)

    def _trouble(self, watched: Watched, error: OSError, report: Sweep) -> None:
        """The world's fault: nothing was kept, it is tried again."""
        report.arriving += 1
        report.no_room |= error.errno in {errno.ENOSPC, errno.EDQUOT}
        self._tell(watched, f"{error.strerror or error}", report)

    def _tell(self, watched: Watched, what: str, report: Sweep) -> None:
        if watched.told != what:
            watched.told = what
            report.errors.append(f"{watched.arrival.name}: {what}")

    def _settled(self, watched: Watched, report: Sweep) -> None:
        first, last = watched.first, watched.last
        assert first is not None  # noqa: S101 - _attend set both
        assert last is not None  # noqa: S101
        if last.size > self.card.max_size:
            self._hold(watched, "too-large", f"{last.size} bytes")
            return
        path = self._path(watched.arrival.path)
        if watched.seen is None:
            watched.seen = look_at(path)
        found, held = watched.seen, None
        opened = has_writer(path)
        if not opened and is_companion(watched.arrival.path, self.card.batches):
            self._brought(watched, found, last, None, report)
            return
        if found.whole is Whole.NO or opened:
            if last.at - first.at < self.card.deadline:
                report.arriving += 1
                return
            if opened:
                # Its writer may yet come back: what is written to a file that was taken away is
                # lost, and its writer is told that all is well.
                self._hold(watched, "still-open", found.why or "by its structure it is whole")
                return
            code = "arrived-empty" if last.size == 0 else "arrived-incomplete"
            held = (code, f"{HOLDS[code].why}: {found.why}")
        elif broken := broken_promise(watched.arrival.path, found):
            held = ("content-unrecognised", broken)
        if not self._house.room_for(last.size):
            report.no_room = True
            report.arriving += 1
            return
        self._brought(watched, found, last, held, report)

    def _brought(
        self, watched: Watched, found: Look, last: Sighting, held: tuple[str, str] | None,
        report: Sweep,
    ) -> None:  # fmt: skip
        """A file could be taken in: now, or with the batch that it belongs to."""
        brought = candidate(self.card, watched.arrival, last, found)
        if self._gathering is not None:
            self._ready[brought.path] = Ready(watched, brought, held)
            return
        now = self._house.now()
        route = self._house.route(self.card, brought)
        item = Item(self._house.new_id(now), (brought,), route, held=held)
        report.admitted += admit(
            self._spool, self._catalog, [item], self._house.find_bytes, now
        )  # fmt: skip
        self._refresh(watched)
        self._remove(watched, report)

    def _take_batches(
        self, gathering: Gathering, here: dict[bytes, Seen], report: Sweep
    ) -> None:  # fmt: skip
        assert self._watched is not None  # noqa: S101 - sweep filled it
        open_states = {ArrivalState.SEEN, ArrivalState.HELD}
        files = [
            lying(watched, self._ready.get(path))
            for path, watched in self._watched.items()
            if path in here and watched.arrival.state in open_states
        ]
        for batch, decision in gathering.decisions(files):
            if self._house.stopping():
                break
            # Of several decisions on one batch, the first may have taken some of it away.
            paths = [each.path for each in batch.everything if each.path in self._watched]
            everything = [self._watched[path] for path in paths]
            self._carry_out(gathering, decision, everything, report)

    def _carry_out(
        self, gathering: Gathering, decision: Decision, batch: list[Watched], report: Sweep
    ) -> None:
        match decision:
            case Waits():
                report.arriving += len(batch)
            case Holds(code, reason):
                for watched in batch:
                    self._hold_as(watched, code, reason)
            case Passes():
                with self._catalog.transaction() as change:
                    for each in batch:
                        arrival = each.arrival
                        self._record_ignored(
                            change, arrival.id, arrival.name, "mark-alone", arrival.origin
                        )
                for each in batch:
                    self._refresh(each)
            case Closes():
                self._take_batch(gathering, decision, batch, report)

    def _take_batch(
        self, gathering: Gathering, closed: Closes, batch: list[Watched], report: Sweep
    ) -> None:
        paths = [path for unit in closed.units for path in unit.files] + [*closed.companions]
        files = [self._ready[path] for path in paths]
        if not self._house.room_for(sum(each.candidate.size for each in files)):
            report.no_room = True
            report.arriving += len(files)
            return
        try:
            report.admitted += gathering.admit(
                closed, {each.candidate.path: each.candidate for each in files}
            )
        except DigestsDiffer as differ:
            self._carry_out(gathering, differ.decision, batch, report)
            return
        except (StillArriving, FileNotFoundError):
            report.arriving += len(files)
            for each in files:
                each.watched.first = None  # one of them changed: all are looked at again
            return
        except OSError as error:
            self._trouble(files[0].watched, error, report)
            return
        for each in files:
            self._refresh(each.watched)
            with suppress(FileNotFoundError):  # somebody else took it away
                self._remove(each.watched, report)

    def _path(self, path: bytes) -> Path:
        return self.card.inside(path)

    def _remove(self, watched: Watched, report: Sweep) -> None:
        """The document is in custody: its source may go, once its bytes were compared.

        A source that cannot be removed stays on record as present and is never taken in again.
        """
        assert self._watched is not None  # noqa: S101 - sweep filled it
        done, why = self._clearing.remove(watched)
        if done is None:
            report.stuck.append(watched.arrival.name)
            if why:
                self._tell(watched, f"in custody, but {why}", report)
            return
        if done is not Removal.CHANGED:
            del self._watched[watched.arrival.path]
        if done is Removal.DIFFERENT:
            with self._catalog.transaction() as change:
                # What lies there now is another file, and new.
                self._record_gone(change, watched.arrival)

    def _hold(self, watched: Watched, code: str, detail: str) -> None:
        arrival = watched.arrival
        if arrival.state is ArrivalState.HELD and arrival.code == code:
            return
        self._hold_as(watched, code, f"{HOLDS[code].why}: {detail}; {HOLDS[code].hint}")

    def _hold_as(self, watched: Watched, code: str, reason: str) -> None:
        arrival = watched.arrival
        if (arrival.state, arrival.code, arrival.reason) == (ArrivalState.HELD, code, reason):
            return
        self._to_hold.append((watched, code, reason))
        if len(self._to_hold) >= AT_ONCE:
            self._record_held()

    def _record_held(self) -> None:
        held, self._to_hold = self._to_hold, []
        if held:
            now = self._house.now()
            with self._catalog.transaction() as change:
                arrivals = [(watched.arrival, code, reason) for watched, code, reason in held]
                record_held(change, self.card, arrivals, now)
            for watched, code, reason in held:
                watched.arrival = replace(
                    watched.arrival, state=ArrivalState.HELD, code=code, reason=reason, ended=now
                )

    def _refresh(self, watched: Watched) -> None:
        watched.arrival = self._catalog.arrival(watched.arrival.id) or watched.arrival
