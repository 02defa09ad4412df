"""Ingest of one hot folder: tracks files, decides when one is whole, admits it.

The scan is the truth and the catalog the memory; what is kept here can be lost at any time and is
found again. Every file seen is on record from the first scan that sees it.
"""

from __future__ import annotations

import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from archived.errors import CatalogError
from archived.ingest.admission import StillArriving, admit
from archived.ingest.batch_ingest import BatchIngest, DigestsDiffer
from archived.ingest.batches import (
    BatchClosed,
    BatchDecision,
    BatchHeld,
    BatchPassed,
    BatchWaits,
    is_companion,
)
from archived.ingest.file_errors import (
    NO_ROOM,
    FaultOwner,
    fault_owner,
    hold_code,
    is_about,
    sentence,
)
from archived.ingest.filetypes import Completeness, Inspection
from archived.ingest.holding import HoldRecorder, reason_for, what_is_wrong
from archived.ingest.hotfolder_spec import HotFolderSpec, IngestServices, Sweep
from archived.ingest.ignore_rules import TAKEN_PREFIX, rule_for
from archived.ingest.mounts import FolderChecks
from archived.ingest.recording import batched, record_left_alone, record_new, record_one
from archived.ingest.renames import record_renamed, renamed
from archived.ingest.scanner import FolderOffline, ScanEntry, StatSample, has_settled, scan
from archived.ingest.source_file import SourceFile, open_source
from archived.ingest.source_removal import RemovalResult, SourceRemovals, is_still_ours
from archived.ingest.submission import Candidate, Submission
from archived.ingest.tracking import ReadyFile, TrackedFile, batch_file, candidate
from archived.ingest.withdrawals import Withdrawals, record_gone
from archived.message import Message
from archived.storage.catalog import Catalog
from archived.storage.rows import ArrivalState
from archived.storage.spool import Spool

__all__ = ["Candidate", "HotFolderIngest", "HotFolderSpec", "IngestServices", "Sweep"]


_VANISHED = 3
"""Sweeps in a row that list a file which cannot be found: then it is no race."""


class HotFolderIngest:
    """All state is per path, for files present. `sweep` blocks: call it in a thread."""

    def __init__(
        self, spec: HotFolderSpec, catalog: Catalog, spool: Spool, services: IngestServices
    ) -> None:
        self.spec = spec
        self._catalog = catalog
        self._spool = spool
        self._services = services
        self._watched: dict[bytes, TrackedFile] | None = None
        self._before: dict[bytes, TrackedFile] = {}
        """What was watched when a sweep broke off: how files looked is not forgotten, so that the
        next sweep does not come through only because nothing has settled yet."""
        self._holding = HoldRecorder(spec, catalog, services)
        self._clearing = SourceRemovals(spec, catalog, services)
        self._gathering = BatchIngest(spec, catalog, spool, services) if spec.batches else None
        self._ready: dict[bytes, ReadyFile] = {}
        self._folder = FolderChecks(spec.path)
        self._withdrawals = Withdrawals(spec, catalog, services)

    def sweep(self) -> Sweep:
        """Scan once and act on it. Raises `FolderOffline` and `CatalogError`; nothing is lost."""
        try:
            return self._sweep()
        except FolderOffline:
            raise
        except BaseException:
            self._before = self._watched or self._before
            self._watched = None  # it may be behind the catalog now: that is read again
            raise

    def _sweep(self) -> Sweep:
        if self._watched is None:
            present = self._catalog.arrivals_present(self.spec.name)
            self._watched = {
                path: TrackedFile(arrival).remembering(self._before.get(path))
                for path, arrival in present.items()
            }
            self._before = {}
        report = Sweep()
        self._holding.begin()
        self._ready.clear()
        self._clearing.begin()
        found = scan(self.spec.path, recursive=self.spec.recursive, own=self.spec.own)
        here = {seen.path: seen for seen in found}
        self._folder.ask_whether_still_mounted()
        for path in [path for path in here if TAKEN_PREFIX in path]:
            if (stuck := self._clearing.finish(here[path])) is not None:
                report.stuck += stuck
                del here[path]
        self._note_renamed(here)
        self._note_gone(here)
        self._note_new(here, report)
        for watched in list(self._watched.values()):
            if self._services.stopping():
                break
            if (seen := here.get(watched.arrival.path)) is not None:
                self._attend(watched, seen, report)
        if self._gathering is not None and not self._services.stopping():
            self._take_batches(self._gathering, here, report)
        self._holding.record()
        for watched in self._holding.waiting:
            if watched.arrival.state is ArrivalState.SEEN:
                report.waits(watched.arrival, "hold")
        self._clearing.ended()
        later = (self._clearing, self._withdrawals, self._holding)
        report.settles = min(report.settles, *(each.settles for each in later))
        return report

    def _note_gone(self, here: dict[bytes, ScanEntry]) -> None:
        assert self._watched is not None  # noqa: S101 - sweep filled it
        if self._watched and not here:
            self._folder.ask_whether_mounted(w.arrival.device for w in self._watched.values())
        closed = tuple(path + b"/" for path, seen in here.items() if seen.closed)
        gone = [
            watched
            for path, watched in self._watched.items()
            if path not in here and not path.startswith(closed)
        ]
        for watched in self._withdrawals.record(gone):
            del self._watched[watched.arrival.path]
            self._clearing.forget(watched.arrival.path)

    def _note_renamed(self, here: dict[bytes, ScanEntry]) -> None:
        assert self._watched is not None  # noqa: S101 - sweep filled it
        for some in batched(renamed(self._watched, here, self._rule)):
            with self._catalog.transaction() as change:
                changed = record_renamed(change, self.spec, some)
            for (before, _), now in zip(some, changed, strict=True):
                del self._watched[before.arrival.path]
                self._watched[now.arrival.path] = now

    def _note_new(self, here: dict[bytes, ScanEntry], report: Sweep) -> None:
        """Put files on record that are not, and files that took another's name."""
        assert self._watched is not None  # noqa: S101 - sweep filled it
        fresh = [s for s in here.values() if self._is_surely_news(s, report)]
        for some in batched(fresh):
            if self._services.stopping():
                break
            try:
                self._record_new(some)
            except (CatalogError, OSError):
                raise
            except Exception:  # noqa: BLE001 - one of them cannot be recorded; the others can
                for seen in some:
                    self._record_odd(seen, report)

    def _record_new(self, some: Sequence[ScanEntry]) -> None:
        assert self._watched is not None  # noqa: S101 - sweep filled it
        with self._catalog.transaction() as change:
            for seen in some:
                if (before := self._watched.get(seen.path)) is not None:
                    record_gone(change, self.spec, before.arrival, self._services)
            new = record_new(
                change, self.spec, [(s, self._rule(s)) for s in some], self._services.now()
            )
        for arrival, seen in zip(new, some, strict=True):
            self._watched[seen.path] = TrackedFile(arrival, kind=stat.S_IFMT(seen.mode))

    def _record_odd(self, seen: ScanEntry, report: Sweep) -> None:
        """A file by itself; if it cannot be recorded as it was seen: by its name, as held."""
        assert self._watched is not None  # noqa: S101 - sweep filled it
        try:
            self._record_new([seen])
        except (CatalogError, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - an error about one file holds that file
            code, now = hold_code(error), self._services.now()
            reason = reason_for(code, sentence(error))
            with self._catalog.transaction() as change:
                if (before := self._watched.get(seen.path)) is not None:
                    record_gone(change, self.spec, before.arrival, self._services)
                arrival = record_one(change, self.spec, seen.path, (code, reason), now)
            self._watched[seen.path] = odd = TrackedFile(arrival, kind=stat.S_IFMT(seen.mode))
            odd.failed(seen.at)
            report.broken.append((arrival.name, error))

    def _is_surely_news(self, seen: ScanEntry, report: Sweep) -> bool:
        assert self._watched is not None  # noqa: S101 - sweep filled it
        watched = self._watched.get(seen.path)
        try:
            return self._is_news(watched, seen)
        except CatalogError:
            raise
        except Exception as error:  # noqa: BLE001 - it could not be told: the next sweep asks again
            if watched is not None:
                self._tell(watched, sentence(error), report)
            return watched is None

    def _is_news(self, watched: TrackedFile | None, seen: ScanEntry) -> bool:
        if watched is None:
            return True
        arrival, kind = watched.arrival, stat.S_IFMT(seen.mode)
        if seen.fault:
            return False  # nothing but its name is known
        if arrival.state is ArrivalState.ADMITTED:  # still here: to be removed, or another by now
            document = arrival.document or ""
            return not is_still_ours(
                arrival,
                seen.sighting,
                self.spec.path,
                lambda: self._services.find_bytes(document, arrival.became),
            ) and self._clearing.may_arrive_anew(arrival, seen)
        if arrival.code == "mark-alone":  # not its name decided, but what lay beside it
            known = (arrival.size, arrival.mtime_ns)
            return known != (seen.sighting.size, seen.sighting.mtime_ns)
        if kind == watched.kind:
            return False  # its name is the same and so are the rules
        watched.kind = kind
        left_alone = self._rule(seen) is not None
        return left_alone is not (arrival.state is ArrivalState.IGNORED)

    def _rule(self, seen: ScanEntry) -> str | None:
        # A closed folder is no pipe or device: it is held, unless its name is a reason to pass by.
        mode = stat.S_IFREG if seen.closed else seen.mode
        rule = rule_for(seen.path, mode, self.spec.ignore, self.spec.own, folder=bool(seen.closed))
        said = rule in {None, "hidden"} and is_companion(seen.path, self.spec.batches)
        return None if said else rule

    def _attend(self, watched: TrackedFile, seen: ScanEntry, report: Sweep) -> None:
        """Bring one present file a step further, if it is ready."""
        arrival = watched.arrival
        if arrival.state is ArrivalState.IGNORED:
            return
        if seen.closed:
            self._holding.hold(watched, "folder-closed", seen.closed)
            return
        if seen.fault:
            self._hold_or_stuck(watched, "read-error", seen.fault, report)
            return
        sighting = seen.sighting
        watched.sighted(sighting, self._services.now())
        first = watched.first or sighting
        if sighting.at < watched.again:
            return
        try:
            if arrival.state is ArrivalState.ADMITTED:
                self._remove(watched, report)
            elif has_settled(first, sighting, self.spec.settle_time):
                self._settled(watched, report)
            else:
                report.waits(arrival, "changes")
                still = sighting.at - first.at
                report.settles = min(report.settles, self.spec.settle_time - still)
        except StillArriving:
            watched.first = None
            report.waits(arrival, "changes")
        except Exception as error:  # noqa: BLE001 - one file's error must not stop the others
            self._failed(watched, error, report)
        else:
            watched.vanished = watched.failures = 0

    def _failed(self, watched: TrackedFile, error: Exception, report: Sweep) -> None:
        """An error about one file holds that file; one about all of them is told and ends later."""
        found = fault_owner(error, self._path(watched.arrival.path))
        if isinstance(error, FileNotFoundError) and watched.arrival.state is ArrivalState.ADMITTED:
            found = FaultOwner.CHANGED  # somebody else took the source away, or its folder
        match found:
            case FaultOwner.CATALOG:
                raise error
            case FaultOwner.WORLD:
                self._trouble(watched, error, report)
            case FaultOwner.IN_USE:
                self._in_use(watched, sentence(error), report)
            case FaultOwner.CHANGED:
                # The next scan will say so, unless it is listed for ever.
                report.waits(watched.arrival, "changes")
                if isinstance(error, OSError) and is_about(error, self._path(watched.arrival.path)):
                    watched.vanished += 1
                if watched.vanished >= _VANISHED:
                    self._hold_or_stuck(watched, "read-error", sentence(error), report)
            case FaultOwner.FILE:
                if isinstance(error, OSError):
                    self._folder.ask_whether_it_answers()
                watched.failed(watched.last.at if watched.last else 0.0)
                code = hold_code(error)
                if code == "intake-failed" and watched.arrival.code != code:
                    report.broken.append((watched.arrival.name, error))
                self._hold_or_stuck(watched, code, sentence(error), report)

    def _in_use(self, watched: TrackedFile, why: str, report: Sweep) -> None:
        if watched.last is not None and watched.still >= self.spec.deadline:
            self._hold_or_stuck(watched, "still-open", why, report)
        else:
            report.waits(watched.arrival, "open", why)

    def _hold_or_stuck(self, watched: TrackedFile, code: str, why: str, report: Sweep) -> None:
        if watched.arrival.state is not ArrivalState.ADMITTED:
            self._holding.hold(watched, code, why)
            return
        report.stuck.append(watched.arrival.name)  # it is in custody: what is left is its source
        self._tell(watched, Message("in custody, but {why}", why=why), report)

    def _trouble(self, watched: TrackedFile, error: Exception, report: Sweep) -> None:
        """The world's fault: nothing was kept, it is tried again."""
        told = sentence(error)
        report.waits(watched.arrival, "trouble", told)
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            report.no_room = True
        else:
            where = getattr(error, "filename", None)
            report.blocked = Message("{where}: {told}", where=where, told=told) if where else told
        self._tell(watched, told, report)

    def _tell(self, watched: TrackedFile, what: str, report: Sweep) -> None:
        if watched.told != what:
            watched.told = what
            report.errors.append(Message("{name}: {what}", name=watched.arrival.name, what=what))

    def _settled(self, watched: TrackedFile, report: Sweep) -> None:
        last = watched.last
        assert last is not None  # noqa: S101 - _attend set it
        if last.size > self.spec.max_size:
            self._holding.hold(watched, "too-large", f"{last.size} bytes")
            return
        with open_source(self.spec.path, watched.arrival.path) as file:
            if not last.is_of(file.status()):
                raise StillArriving(f"{watched.arrival.name} is not the file that the scan saw")
            if watched.seen is None:
                watched.seen = file.look()
            self._looked_at(watched, watched.seen, file, watched.still, report)

    def _looked_at(
        self, watched: TrackedFile, found: Inspection, file: SourceFile, still: float, report: Sweep
    ) -> None:
        last = watched.last
        assert last is not None  # noqa: S101 - as above
        writer = file.has_writer()
        if not writer and is_companion(watched.arrival.path, self.spec.batches):
            self._brought(watched, found, last, None, report, file)
            return
        if still < self.spec.long_settle_time and file.has_holes(ask_blocks=writer is None):
            report.waits(watched.arrival, "holes")
            report.settles = min(report.settles, self.spec.long_settle_time - still)
            return
        if found.whole is Completeness.NO or writer:
            if still < self.spec.deadline:
                report.waits(watched.arrival, "open" if writer else "unfinished", found.why)
                return
            if writer:
                # Its writer may yet come back: what is written to a file that was taken away is
                # lost, and its writer is told that all is well.
                self._holding.hold(
                    watched, "still-open", found.why or Message("by its structure it is whole")
                )
                return
        if self._holding.of_another_type(watched, found):
            return
        if not self._services.room_for(last.size):
            report.no_room = True
            report.waits(watched.arrival, "no-room")
            return
        held = what_is_wrong(watched.arrival.path, last.size, found)
        self._brought(watched, found, last, held, report, file)

    def _brought(
        self,
        watched: TrackedFile,
        found: Inspection,
        last: StatSample,
        held: tuple[str, str] | None,
        report: Sweep,
        file: SourceFile,
    ) -> None:
        """A file could be taken in: now, or with the batch that it belongs to."""
        brought = candidate(self.spec, watched.arrival, last, found)
        if self._gathering is not None:
            self._ready[brought.path] = ReadyFile(watched, brought, held)
            return
        now = self._services.now()
        route = self._services.route(self.spec, brought)
        item = Submission(self._services.new_id(now), (brought,), route, held=held, opened=file)
        report.admitted += admit(self._spool, self._catalog, [item], self._services.find_bytes, now)
        self._refresh(watched)
        self._remove(watched, report, file)

    def _take_batches(
        self, gathering: BatchIngest, here: dict[bytes, ScanEntry], report: Sweep
    ) -> None:
        assert self._watched is not None  # noqa: S101 - sweep filled it
        open_states = {ArrivalState.SEEN, ArrivalState.HELD}
        files = [
            batch_file(watched, self._ready.get(path))
            for path, watched in self._watched.items()
            if path in here and watched.arrival.state in open_states
        ]
        for batch, decision in gathering.decisions(files):
            if self._services.stopping():
                break
            # Of several decisions on one batch, the first may have taken some of it away.
            paths = [each.path for each in batch.everything if each.path in self._watched]
            everything = [self._watched[path] for path in paths]
            try:
                self._carry_out(gathering, decision, everything, report)
            except (CatalogError, FolderOffline):
                raise
            except Exception as error:  # noqa: BLE001 - one batch's error must not stop the others
                self._failed_batch(everything, error, report)

    def _failed_batch(self, batch: list[TrackedFile], error: Exception, report: Sweep) -> None:
        """The file that the error names, or else every one that is not in custody by now."""
        named = [
            each
            for each in batch
            if isinstance(error, OSError) and is_about(error, self._path(each.arrival.path))
        ]
        if isinstance(error, OSError) and not named:
            self._trouble(batch[0], error, report)
            return
        for each in named or batch:
            self._failed(each, error, report)
        report.arriving += len(batch) - len(named or batch)

    def _carry_out(
        self,
        gathering: BatchIngest,
        decision: BatchDecision,
        batch: list[TrackedFile],
        report: Sweep,
    ) -> None:
        match decision:
            case BatchWaits():
                for watched in batch:
                    report.waits(watched.arrival, "batch")
            case BatchHeld(code, reason):
                for watched in batch:
                    self._holding.hold_as(watched, code, reason)
            case BatchPassed():
                with self._catalog.transaction() as change:
                    for each in batch:
                        record_left_alone(
                            change, self.spec, each.arrival, "mark-alone", self._services.now()
                        )
                for each in batch:
                    self._refresh(each)
            case BatchClosed():
                self._take_batch(gathering, decision, batch, report)

    def _take_batch(
        self, gathering: BatchIngest, closed: BatchClosed, batch: list[TrackedFile], report: Sweep
    ) -> None:
        paths = [path for unit in closed.units for path in unit.files] + [*closed.companions]
        files = [self._ready[path] for path in paths]
        if not self._services.room_for(sum(each.candidate.size for each in files)):
            report.no_room = True
            for each in files:
                report.waits(each.watched.arrival, "no-room")
            return
        try:
            report.admitted += gathering.admit(
                closed, {each.candidate.path: each.candidate for each in files}
            )
        except DigestsDiffer as differ:
            self._carry_out(gathering, differ.decision, batch, report)
            return
        except StillArriving:
            for each in files:
                each.watched.first = None  # one of them changed: all are looked at again
                report.waits(each.watched.arrival, "changes")
            return
        except OSError as error:
            self._failed_batch([each.watched for each in files], error, report)
            return
        for each in files:
            self._refresh(each.watched)
            with suppress(FileNotFoundError):  # somebody else took it away
                self._remove(each.watched, report)

    def _path(self, path: bytes) -> Path:
        return self.spec.inside(path)

    def _remove(
        self, watched: TrackedFile, report: Sweep, already_open: SourceFile | None = None
    ) -> None:
        """The document is in custody: its source may go, once its bytes were compared.

        A source that cannot be removed stays on record as present and is never taken in again.
        """
        assert self._watched is not None  # noqa: S101 - sweep filled it
        done, why = self._clearing.remove(watched, already_open)
        if done is None:
            report.stuck.append(watched.arrival.name)
            if why:
                self._tell(watched, Message("in custody, but {why}", why=why), report)
            return
        if done is not RemovalResult.CHANGED:
            del self._watched[watched.arrival.path]
        if done is RemovalResult.DIFFERENT:
            with self._catalog.transaction() as change:
                # What lies there now is another file, and new.
                record_gone(change, self.spec, watched.arrival, self._services)

    def _refresh(self, watched: TrackedFile) -> None:
        watched.arrival = self._catalog.arrival(watched.arrival.id) or watched.arrival
