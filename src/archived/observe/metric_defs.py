"""What can be measured: every metric's name, labels and meaning. Names and labels are an interface.

Nothing here knows a figure. Labels have few values: hot folders, stages, lanes, targets, codes;
never documents.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

METRICS: Mapping[str, tuple[str, tuple[str, ...]]] = MappingProxyType(
    {
        "archived_build_info": ("Version of archived; always 1.", ("version",)),
        "archived_config_info": ("Digest of the configuration in force; always 1.", ("digest",)),
        "archived_plugin_info": ("An enabled plug-in; always 1.", ("plugin", "version")),
        "archived_start_time_seconds": ("When the daemon started (Unix time).", ()),
        "archived_tool_info": (
            "A program or library that did the work of a step lately; always 1.",
            ("tool", "version"),
        ),
        "archived_ready": ("1 when work goes on as it should, else 0 (see /readyz).", ()),
        "archived_files": (
            "Files ever seen, by column of the balance sheet: archived, held, ignored, in_work.",
            ("hotfolder", "column"),
        ),
        "archived_files_seen": ("Files ever seen.", ("hotfolder",)),
        "archived_received_documents": (
            "Documents taken in; parts that were cut from one are not counted.",
            ("hotfolder",),
        ),
        "archived_received_bytes": ("Bytes of the documents taken in.", ("hotfolder",)),
        "archived_received_pages": (
            "Pages of the documents taken in, once a stage has counted them.",
            ("hotfolder",),
        ),
        "archived_last_arrival_timestamp_seconds": (
            "When the last file came that was not ignored (Unix time).",
            ("hotfolder",),
        ),
        "archived_hotfolder_silent_seconds": (
            "Time since the last file came, in the hours in which files are expected.",
            ("hotfolder",),
        ),
        "archived_hotfolder_expected_within_seconds": (
            "After what time without a file somebody should look: expected_within.",
            ("hotfolder",),
        ),
        "archived_unaccounted_files": (
            "Files seen that are in no column, or of which ledger and catalog tell differently; "
            "must be 0.",
            ("hotfolder",),
        ),
        "archived_reconciliation_timestamp_seconds": (
            "When ledger and catalog were last compared, file by file (Unix time).",
            (),
        ),
        "archived_store_differences": (
            "On what catalog, ledger and store do not agree, by kind; must be 0.",
            ("kind",),
        ),
        "archived_store_compared_timestamp_seconds": (
            "When catalog and store were last compared, object by object (Unix time).",
            (),
        ),
        "archived_ignored_files": ("Files left alone, by rule.", ("hotfolder", "rule")),
        "archived_documents": ("Documents by state.", ("hotfolder", "state")),
        "archived_held_documents": ("Documents that wait for a person, by code.", ("code",)),
        "archived_documents_without_step": (
            "Documents that are recorded as running while no step of them lives: 0, always.",
            (),
        ),
        "archived_last_event_timestamp_seconds": (
            "When this last happened (Unix time); `stage` is empty where none is concerned.",
            ("event", "stage"),
        ),
        "archived_pages": ("Pages of archived documents, where counted.", ()),
        "archived_oldest_unclaimed_file_seconds": (
            "Age of the oldest file that was seen and not taken in; 0 when there is none.",
            ("hotfolder",),
        ),
        "archived_oldest_document_in_work_seconds": (
            "Age of the oldest document that is neither sealed nor held; 0 when there is none.",
            ("hotfolder",),
        ),
        "archived_oldest_uncopied_document_seconds": (
            "Time since the oldest sealed document whose next copy is still to be made was sealed; "
            "0 when there is none.",
            (),
        ),
        "archived_never_safe_documents": (
            "Sealed documents with fewer copies than wanted for which no step is due: they do not "
            "become safe by themselves.",
            (),
        ),
        "archived_further_copies_due": (
            "Safe documents that are to get a further copy; `result`: `none` before the first "
            "attempt, `failed` after one.",
            ("result",),
        ),
        "archived_copies": ("Copies written and read back.", ("target",)),
        "archived_copy_bytes": ("Bytes of the copies written and read back.", ("target",)),
        "archived_last_copy_timestamp_seconds": (
            "When a copy was last read back (Unix time).",
            ("target",),
        ),
        "archived_target_free_bytes": (
            "Bytes that may still be written to a copy target, as its last copy found.",
            ("target",),
        ),
        "archived_hotfolder_online": ("1 when the folder can be listed.", ("hotfolder",)),
        "archived_intake_paused": ("1 while there is no room to take in more.", ("hotfolder",)),
        "archived_arriving_files": (
            "Files in the folder that are still being written.",
            ("hotfolder",),
        ),
        "archived_sweep_failing": (
            "1 while sweeps break off, or take nothing in although no file is at fault, else 0.",
            ("hotfolder",),
        ),
        "archived_stuck_files": (
            "Files in custody that cannot be removed from the hot folder.",
            ("hotfolder",),
        ),
        "archived_receipts_untrusted": (
            "1 while others may have written what stands in the receipts folder, else 0.",
            ("hotfolder",),
        ),
        "archived_sweep_seconds": ("How long the last scan of the folder took.", ("hotfolder",)),
        "archived_lane_width": ("Steps that may run at once.", ("lane",)),
        "archived_lane_running": ("Steps that run now.", ("lane",)),
        "archived_lane_open": ("0 outside of the lane's working hours, else 1.", ("lane",)),
        "archived_lane_due_steps": ("Steps that may start and wait for their turn.", ("lane",)),
        "archived_lane_oldest_due_seconds": (
            "How long the step that has waited longest for its turn has waited; 0 when none does.",
            ("lane",),
        ),
        "archived_worker_restarts": (
            "Times the process that starts a lane's steps was started anew because it had ended.",
            ("lane",),
        ),
        "archived_sandbox_active": (
            "1 when the lane's latest step that was to be confined in this respect was, 0 when it "
            "was not; archivectl status says why not.",
            ("lane", "protection"),
        ),
        "archived_filesystem_free_bytes": (
            "Free disk space where it lies: spool, store.",
            ("volume",),
        ),
        "archived_filesystem_size_bytes": (
            "Size of the file system where it lies: spool, store.",
            ("volume",),
        ),
        "archived_filesystem_reserved_bytes": (
            "Of the free disk space, what is kept for running steps.",
            ("volume",),
        ),
        "archived_uncleared_folders": (
            "Folders on the volume that could not be removed and were set aside.",
            ("volume",),
        ),
        "archived_steps_waiting_for_disk": (
            "Documents whose next step waits for room on a disk; each goes on by itself.",
            (),
        ),
        "archived_spool_bytes": ("Bytes of documents that are not sealed.", ()),
        "archived_store_bytes": (
            "Bytes of the files of sealed documents, their descriptions not counted.",
            (),
        ),
        "archived_catalog_bytes": ("Size of the catalog's files.", ()),
        "archived_ledger_sequence": ("Entries in the ledger.", ()),
        "archived_ledger_timestamp_seconds": (
            "When the ledger's last entry was made (Unix time).",
            (),
        ),
        "archived_plugin_failures": (
            "Plug-in hook calls that raised or returned an invalid value, since the configuration "
            "was read.",
            ("plugin", "hook"),
        ),
        "archived_snapshot_unreadable": (
            "1 when a part of these figures could not be read and is missing.",
            ("part",),
        ),
        "archived_snapshot_age_seconds": (
            "Age of the figures that are read from the catalog; more than a few seconds when "
            "reading them takes too long and the last ones are shown.",
            (),
        ),
        "archived_stage_problems": ("What a stage's own check complains about.", ("stage",)),
        "archived_step_seconds": ("Wall clock of one attempt at a stage.", ("stage",)),
        "archived_step_cpu_seconds": ("Processor time spent in a stage.", ("stage",)),
        "archived_step_attempts": (
            "Attempts by outcome: finished, skipped, refused, postponed, failed, requeued.",
            ("stage", "outcome", "code"),
        ),
        "archived_reviews": (
            "Times a stage ended well and asked that a person looks; `held`: no where the hot "
            "folder lets its documents go on.",
            ("stage", "code", "held"),
        ),
        "archived_text_confidence_ratio": (
            "Mean word confidence of each document that a stage read, 0 to 1.",
            ("stage",),
        ),
        "archived_service_wait_seconds": (
            "How long a step waited for a service outside, all its tries together; `tsa`: the time "
            "stamp server; `revocation`: OCSP and CRLs.",
            ("stage", "service"),
        ),
        "archived_signatures_pending": (
            "Documents whose signature waits for a higher level, such as a time stamp.",
            (),
        ),
        "archived_certificate_expiry_timestamp_seconds": (
            "When the certificate that was used last ends (Unix time); `use`: signing, timestamp.",
            ("stage", "use"),
        ),
        "archived_timestamp_ahead_seconds": (
            "How far the last time stamp lay ahead of this machine's clock; below 0: behind it.",
            ("stage",),
        ),
        "archived_mqtt_connected": ("1 while the broker is connected; absent without MQTT.", ()),
        "archived_events_published": ("Events given to the broker.", ()),
        "archived_outbox_lag_events": (
            "Events that a reader (observers, mqtt, a hot folder's receipts) was not yet given.",
            ("reader",),
        ),
        "archived_config_reload_success": ("1 when the last reload was used, else 0.", ()),
        "archived_config_refused_timestamp_seconds": (
            "Since when the configuration on disk is refused (Unix time); absent while it is not.",
            (),
        ),
        "archived_config_reload_timestamp_seconds": ("When it was last tried (Unix time).", ()),
    }
)
"""Name -> (what it says, labels). Counters are exposed with `_total`."""

CONDITIONAL: Mapping[str, str] = MappingProxyType(
    {
        "archived_reconciliation_timestamp_seconds": "from a minute after a start on; hourly",
        "archived_store_differences": "from five minutes after a start on; daily",
        "archived_store_compared_timestamp_seconds": "as `archived_store_differences`",
        "archived_tool_info": "once a step told what it used",
        "archived_last_event_timestamp_seconds": "while the event is among those kept, "
        "10 000 at least",
        "archived_copies": "once a copy was made; counted anew after a start",
        "archived_copy_bytes": "as `archived_copies`",
        "archived_last_copy_timestamp_seconds": "as `archived_copies`",
        "archived_target_free_bytes": "once a copy was made after a start",
        "archived_last_arrival_timestamp_seconds": "once a file came into the hot folder",
        "archived_received_documents": "once a document was taken in",
        "archived_received_bytes": "once a document was taken in",
        "archived_received_pages": "once a document was taken in",
        "archived_hotfolder_silent_seconds": "with `expected_within` in the hot folder",
        "archived_hotfolder_expected_within_seconds": "with `expected_within` in the hot folder",
        "archived_store_bytes": "once it was counted after a start",
        "archived_signatures_pending": "once it was counted after a start",
        "archived_worker_restarts": "for each lane of this machine",
        "archived_sandbox_active": "for each lane, once a step was asked to be confined so",
        "archived_text_confidence_ratio": "once a stage gave the fact `mean_confidence`",
        "archived_service_wait_seconds": "once a stage gave the fact `waited`",
        "archived_certificate_expiry_timestamp_seconds": "once a stage gave the fact `not_after`",
        "archived_timestamp_ahead_seconds": "once a stage gave the fact `timestamp`",
        "archived_mqtt_connected": "with `[mqtt]` in the configuration",
        "archived_held_documents": "while a document is held",
        "archived_ignored_files": "once a file was ignored",
        "archived_plugin_failures": "once a plug-in failed",
        "archived_files": "once a file was seen in the hot folder",
        "archived_files_seen": "once a file was seen in the hot folder",
        "archived_documents": "once a document was taken in",
        "archived_step_seconds": "once the stage ran",
        "archived_step_cpu_seconds": "once the stage ran",
        "archived_step_attempts": "once the stage ran",
        "archived_reviews": "once a stage asked",
        "archived_stage_problems": "for each stage that is configured",
        "archived_plugin_info": "for each plug-in that is enabled",
    }
)
"""Metrics that are not there at all times -> when they are."""

COUNTERS = frozenset(
    {
        "archived_step_cpu_seconds",
        "archived_step_attempts",
        "archived_reviews",
        "archived_events_published",
        "archived_worker_restarts",
        "archived_files_seen",
        "archived_received_documents",
        "archived_received_bytes",
        "archived_received_pages",
        "archived_plugin_failures",
    }
)
HISTOGRAMS = frozenset(
    {"archived_step_seconds", "archived_text_confidence_ratio", "archived_service_wait_seconds"}
)


def table() -> str:
    """`METRICS` as the table of docs/metrics.md: python -m archived.observe.metric_defs."""
    lines = ["| Metric | Kind | Labels | Meaning | There |", "| --- | --- | --- | --- | --- |"]
    for name, (text, labels) in METRICS.items():
        kind = "histogram" if name in HISTOGRAMS else "counter" if name in COUNTERS else "gauge"
        shown = f"{name}_total" if kind == "counter" else name
        when = CONDITIONAL.get(name, "always")
        named = ", ".join(f"`{label}`" for label in labels) or "none"
        lines.append(f"| `{shown}` | {kind} | {named} | {text} | {when} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")  # noqa: T201 - that is what it is run for
