"""The parts that a daemon is made of, for what reports on them: health, metrics, `status`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from archived.config import Settings
from archived.config.reload import RefusedConfiguration
from archived.daemon import removal_retries
from archived.daemon.hotfolder_task import HotFolderTask
from archived.daemon.ingest_services import ConfiguredServices
from archived.daemon.stage_checks import StageChecks
from archived.engine.scheduler import Scheduler
from archived.engine.step_execution import Runner
from archived.observe.metrics import Metrics
from archived.observe.receipts import ReceiptTasks
from archived.observe.reconciler import Reconciler
from archived.observe.store_audit import StoreAudit
from archived.storage.catalog import Catalog
from archived.storage.metrics_queries import ArchiveTotals
from archived.storage.ocfl.store import Store
from archived.storage.spool import Spool


class Components:
    """Attributes without a value are set when the daemon opens its catalog, before its tasks."""

    catalog: Catalog
    services: ConfiguredServices
    scheduler: Scheduler
    shares: ReceiptTasks
    tally: ArchiveTotals
    audit: Reconciler
    store_audit: StoreAudit

    def __init__(self, settings: Settings, checks: StageChecks) -> None:
        self.settings = settings
        """The configuration in force."""
        self.started = datetime.now(UTC)
        self.spool = Spool(settings.archive.state)
        self.store = Store(settings.store.path)
        self.uncleared = {"spool": self.spool.uncleared, "store": self.store.uncleared}
        for place in self.uncleared.values():
            place.tell = removal_retries.log
        self.runners: Mapping[str, Runner] = {}
        """Lane -> who runs its steps."""
        self.hotfolder_tasks: dict[str, HotFolderTask] = {}
        self.checks = checks
        self.refused = RefusedConfiguration()
        """What became of the configuration on disk when a reload read it."""
        self.metrics = Metrics()

    def readers(self) -> list[str]:
        """Who is given every event, by the names of their places in the outbox."""
        return ["observers", *(["mqtt"] if self.settings.mqtt else []), *self.shares.readers()]
