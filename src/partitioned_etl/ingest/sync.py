"""Sync: bring one feed's table up to date with its folder, end to end without Dagster.

Takes a feed, the landing directory and the database; returns a report. It uses the same functions
as the assets and sensors, and serves tests, notebooks and benchmarks.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from partitioned_etl.ingest.database import (
    DEFAULT_LOCK_WAIT_SECONDS,
    connect,
    connect_read_only,
    has_table,
    retry_on_conflict,
)
from partitioned_etl.ingest.feed import Feed
from partitioned_etl.ingest.landing import LandedFile, Listing, list_landed_files
from partitioned_etl.ingest.ledger import LedgerRow, read_ledger, record_signatures
from partitioned_etl.ingest.outcomes import Outcome, OutcomeStatus
from partitioned_etl.ingest.reconcile import (
    Action,
    Plan,
    Removal,
    choose_files,
    find_removable,
    find_touched,
    reconcile,
)
from partitioned_etl.ingest.warehouse import remove_partitions, replace_partitions

DEFAULT_SETTLE_SECONDS = 2.0
_TOUCHED_MAX_BYTES = 4 << 30

logger = logging.getLogger(__name__)


class SyncRecord(NamedTuple):
    """What happened to one file.

    Attributes:
        partition_key: The partition, if the file name gives one.
        source_file: The file's name.
        rows: Rows that the table holds for the partition.
        reason: Why the file was refused or ignored, or any other remark; may be empty.
    """

    partition_key: str
    source_file: str
    rows: int = 0
    reason: str = ""


@dataclass
class SyncReport:
    """What happened to every file in a feed's folder.

    Attributes:
        loaded: Files that were loaded by this call.
        removed: Partitions that were removed by this call because their files are gone.
        rejected: Files that are refused, by this call or by an earlier one, or cannot be read.
        unchanged: Files that were loaded before, and kept partitions whose file is gone or
            unusable.
        ignored: Entries that are not landed files, and files that are still being written.
    """

    loaded: list[SyncRecord] = field(default_factory=list)
    removed: list[SyncRecord] = field(default_factory=list)
    rejected: list[SyncRecord] = field(default_factory=list)
    unchanged: list[SyncRecord] = field(default_factory=list)
    ignored: list[SyncRecord] = field(default_factory=list)


def plan_feed(
    feed: Feed,
    listing: Listing,
    landing_dir: Path,
    database: Path,
    *,
    settle_seconds: float = DEFAULT_SETTLE_SECONDS,
    lock_wait_seconds: float = DEFAULT_LOCK_WAIT_SECONDS,
    memory_limit: str = "",
    touched_max_bytes: int = _TOUCHED_MAX_BYTES,
    read_only: bool = False,
    log: logging.Logger = logger,
) -> Plan:
    """Compare a feed's folder with the ledger, and record files that were only touched.

    Args:
        feed: The feed.
        listing: The feed's folder, as listed.
        landing_dir: The landing directory.
        database: Path of the database; it is not created if it does not exist.
        settle_seconds: How long a file must be unchanged before it is loaded.
        lock_wait_seconds: How long to wait for another process that has the database open.
        memory_limit: DuckDB's `memory_limit`; empty for its default.
        touched_max_bytes: The most bytes to read to distinguish touched files from changed ones.
        read_only: Whether to change nothing: touched files are detected but not recorded.
        log: Where waiting is reported.

    Returns:
        The plan.

    Raises:
        WarehouseLockedError: The database was in use for longer than the wait.
    """
    ledger: dict[str, LedgerRow] = {}
    opened = partial(
        connect,
        database,
        landing_dir,
        lock_wait_seconds=lock_wait_seconds,
        memory_limit=memory_limit,
        log=log,
    )
    if database.exists():
        with (
            connect_read_only(database, lock_wait_seconds=lock_wait_seconds, log=log)
            if read_only
            else opened()
        ) as connection:
            if has_table(connection, feed.table):
                ledger = read_ledger(connection, feed, listing.files)
    plan = reconcile(
        listing, ledger, contract=feed.contract_fingerprint, settle_seconds=settle_seconds
    )
    touched = find_touched(plan, max_bytes=touched_max_bytes, contract=feed.contract_fingerprint)
    if touched and not read_only:
        rows = [step.ledger_row for step in touched if step.ledger_row]
        files = [step.file for step in touched if step.file]
        with opened() as connection:
            retry_on_conflict(lambda: record_signatures(connection, rows, files), log)
    return plan


def sync_feed(
    feed: Feed,
    landing_dir: Path,
    database: Path,
    *,
    settle_seconds: float = DEFAULT_SETTLE_SECONDS,
    lock_wait_seconds: float = DEFAULT_LOCK_WAIT_SECONDS,
    memory_limit: str = "",
    log: logging.Logger = logger,
) -> SyncReport:
    """Bring one feed's table up to date with its folder.

    It waits for files that are still settling or change while they are read; what lands meanwhile
    may be left to the next call. A bad file is refused and changes no row. If the feed's policy is
    to remove partitions whose files are gone, that is done at the end.

    Args:
        feed: The feed.
        landing_dir: The landing directory, above the feed's folder.
        database: Path of the DuckDB database; it is created if it does not exist.
        settle_seconds: How long a file must be unchanged before it is loaded.
        lock_wait_seconds: How long to wait for another process that has the database open.
        memory_limit: DuckDB's `memory_limit`; empty for its default.
        log: Where progress is logged.

    Returns:
        What happened to every file.

    Raises:
        LandedFileError: The folder cannot be listed.
        WarehouseError: The database cannot be used.
    """
    landing_dir, database = Path(landing_dir), Path(database)
    opened = partial(
        connect,
        database,
        landing_dir,
        lock_wait_seconds=lock_wait_seconds,
        memory_limit=memory_limit,
        log=log,
    )
    report = SyncReport()
    attempts: dict[LandedFile, int] = defaultdict(int)
    outcomes: dict[str, Outcome] = {}
    deadline = time.monotonic() + 5 + 10 * settle_seconds
    while True:
        listing = list_landed_files(feed, landing_dir)
        plan = plan_feed(
            feed,
            listing,
            landing_dir,
            database,
            settle_seconds=settle_seconds,
            lock_wait_seconds=lock_wait_seconds,
            memory_limit=memory_limit,
            log=log,
        )
        files = choose_files(plan.candidates(), lambda file: attempts[file]).wanted
        if files:
            with opened() as connection:
                tried = replace_partitions(connection, feed, files, log=log)
            for outcome in tried:
                key, name = outcome.file.partition_key, outcome.file.name
                attempts[outcome.file] += 1
                outcomes[key] = outcome
                if outcome.status is OutcomeStatus.LOADED:
                    report.loaded.append(SyncRecord(key, name, outcome.row_count, outcome.warning))
            has_changed = any(outcome.status is OutcomeStatus.CHANGED for outcome in tried)
            if has_changed or find_removable(feed, plan) != Removal():
                continue
        if not plan.is_settling or time.monotonic() > deadline:
            removal = find_removable(feed, plan)
            if removal.keys:
                with opened() as connection:
                    # Another process may meanwhile have loaded a file that came back.
                    ledger = read_ledger(connection, feed)
                    latest = reconcile(list_landed_files(feed, landing_dir), ledger)
                    still = find_removable(feed, latest).keys
                    removal = Removal([key for key in removal.keys if key in still])
                    remove_partitions(connection, feed, removal.keys)
            return _finish_report(report, plan, outcomes, removal)
        if not files:
            time.sleep(min(settle_seconds, 0.2))


def _finish_report(
    report: SyncReport, plan: Plan, outcomes: Mapping[str, Outcome], removal: Removal
) -> SyncReport:
    loaded = {record.partition_key for record in report.loaded}
    for key, step in plan.steps.items():
        row = step.ledger_row
        name = step.file.name if step.file else row.source_file if row else ""
        rows = row.row_count if row else 0
        if step.action is Action.IDENTICAL:
            if key not in loaded:
                report.unchanged.append(SyncRecord(key, name, rows))
            continue
        why = step.explain(removal)
        if key in removal:
            report.removed.append(SyncRecord(key, name, rows, why))
        elif step.action in (Action.MISSING, Action.UNUSABLE):
            report.unchanged.append(SyncRecord(key, name, rows, why))
        elif step.action is Action.REJECTED:
            report.rejected.append(SyncRecord(key, name, rows, why))
        elif step.action is Action.UNSETTLED:
            report.ignored.append(SyncRecord(key, name, rows, why))
        elif step.action in (Action.NEW, Action.CHANGED):
            outcome = outcomes[key]
            if outcome.status is not OutcomeStatus.LOADED:
                report.rejected.append(SyncRecord(key, name, rows, outcome.reason))
    for passed_over in plan.refused:
        reason = f"{passed_over.name}: {passed_over.reason}"
        report.rejected.append(SyncRecord(passed_over.partition_key, passed_over.name, 0, reason))
    for passed_over in plan.ignored:
        report.ignored.append(SyncRecord("", passed_over.name, 0, passed_over.reason))
    return report
