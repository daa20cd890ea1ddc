"""Sync: bring one feed's table up to date with its folder, end to end without Dagster.

Takes a feed, the landing directory and the database; returns a report. It chooses and loads by the
same functions as sensors and assets, and serves tests, notebooks and benchmarks.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from partitioned_etl.engine.collection import no_garbage_collection
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing.landing import Landing, PassedOver
from partitioned_etl.engine.landing.local import DEFAULT_SETTLE_SECONDS
from partitioned_etl.engine.landing.registry import connect_landing
from partitioned_etl.engine.load import load_surveyed
from partitioned_etl.engine.outcomes import Outcome, OutcomeStatus
from partitioned_etl.engine.plan import (
    Action,
    Plan,
    Removal,
    choose_files,
    compare,
    find_removable,
    make_plan,
)
from partitioned_etl.engine.settings import to_landing_address
from partitioned_etl.engine.sources.mirror import mirror_source
from partitioned_etl.engine.survey import survey_files
from partitioned_etl.engine.warehouse.duckdb_file import DEFAULT_LOCK_WAIT_SECONDS
from partitioned_etl.engine.warehouse.registry import connect_warehouse
from partitioned_etl.engine.warehouse.warehouse import Warehouse

if TYPE_CHECKING:
    import pandas as pd


class SyncRecord(NamedTuple):
    """What happened to one file.

    Attributes:
        partition_key: The partition, if the file name gives one.
        source_file: The file's name.
        rows: Rows that the table holds for the partition, or for the part of it.
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
        refused: Files that are refused, by this call or by an earlier one, or cannot be read.
        unchanged: Files that were loaded before, and kept partitions whose file is gone,
            unusable or stale.
        ignored: Entries that are not landed files, files that are still being written, and those
            of a lower version than another.
    """

    loaded: list[SyncRecord] = field(default_factory=list)
    removed: list[SyncRecord] = field(default_factory=list)
    refused: list[SyncRecord] = field(default_factory=list)
    unchanged: list[SyncRecord] = field(default_factory=list)
    ignored: list[SyncRecord] = field(default_factory=list)

    def to_frame(self) -> "pd.DataFrame":
        """Return the records as one DataFrame, with what happened in its first column."""
        import pandas as pd

        rows = [(what, *record) for what, records in vars(self).items() for record in records]
        return pd.DataFrame(rows, columns=["what", *SyncRecord._fields])


def sync_feed(
    feed: Feed,
    landing_dir: Path | str,
    database: Path | str,
    *,
    settle_seconds: float = DEFAULT_SETTLE_SECONDS,
    lock_wait_seconds: float = DEFAULT_LOCK_WAIT_SECONDS,
    memory_limit: str = "",
) -> SyncReport:
    """Bring one feed's table up to date with its folder.

    What the feed's source offers, if it has one, is fetched first. It waits for files that are
    still settling or change while they are read; what lands meanwhile may be left to the next
    call. A bad file is refused and changes no row. If the feed's policy is to remove partitions
    whose files are gone, that is done at the end.

    Args:
        feed: The feed.
        landing_dir: The landing directory, above the feed's folder, or a bucket's prefix; of no
            use for a feed with a landing of its own.
        database: Path of the DuckDB database, which is created if it does not exist; or the address
            of a warehouse, as the setting WAREHOUSE takes it.
        settle_seconds: How long a file must be unchanged before it is loaded.
        lock_wait_seconds: How long to wait for another process that has the database open.
        memory_limit: DuckDB's `memory_limit`; empty for its default.

    Returns:
        What happened to every file.

    Raises:
        LandedFileError: The folder cannot be listed.
        SourceError: The feed's source cannot be listed.
        WarehouseError: The database cannot be used.
    """
    address = to_landing_address(feed.landing) if feed.landing else landing_dir
    landing = connect_landing(address, settle_seconds)
    warehouse = connect_warehouse(database, lock_wait_seconds, memory_limit)
    fetched = mirror_source(feed, address) if feed.fetched_from else None
    report, outcomes = SyncReport(), dict[str, Outcome]()
    attempts: dict[tuple[str, str], int] = defaultdict(int)
    deadline = time.monotonic() + 5 + 10 * settle_seconds
    while True:
        plan = make_plan(feed, landing.scan(feed), landing, warehouse)
        choice = choose_files(plan.candidates(), lambda file: attempts[file.name, file.version])
        if choice.wanted:
            with (
                survey_files(feed, landing, choice.wanted, warehouse) as surveyed,
                warehouse.open(landing.readable_dir) as opened,
            ):
                tried = load_surveyed(opened.table(feed), surveyed)
            for outcome in tried:
                file = outcome.file
                attempts[file.name, file.version] += 1
                outcomes[file.name] = outcome
                if outcome.is_loaded:
                    record = (file.partition_key, file.name, outcome.row_count, outcome.warning)
                    report.loaded.append(SyncRecord(*record))
            has_changed = any(outcome.status is OutcomeStatus.CHANGED for outcome in tried)
            if has_changed or find_removable(feed, plan) != Removal():
                continue
        if not plan.is_settling or time.monotonic() > deadline:
            removal = _remove_gone(feed, landing, warehouse, plan)
            if fetched:
                report.refused += _tell(fetched.failed)
                report.ignored += _tell(fetched.difference.passed_over)
            return _complete_report(feed, report, plan, outcomes, removal)
        if not choice.wanted:
            time.sleep(min(settle_seconds, 0.2))


def _tell(entries: Iterable[PassedOver]) -> list[SyncRecord]:
    return [SyncRecord("", entry.name, 0, f"not fetched: {entry.reason}") for entry in entries]


def _remove_gone(feed: Feed, landing: Landing, warehouse: Warehouse, plan: Plan) -> Removal:
    removal = find_removable(feed, plan)
    if not removal.rows:
        return removal
    with warehouse.open(landing.readable_dir) as opened:
        # Another process may meanwhile have loaded a file that came back.
        table = opened.table(feed)
        latest = compare(feed, landing.list_files(feed), table.read_ledger())
        still = find_removable(feed, latest)
        removal = Removal([row for row in removal.rows if row.source_file in still])
        table.remove(removal.names)
    return removal


@no_garbage_collection()
def _complete_report(
    feed: Feed,
    report: SyncReport,
    plan: Plan,
    outcomes: Mapping[str, Outcome],
    removal: Removal,
) -> SyncReport:
    loaded = {record.source_file for record in report.loaded}
    for name, step in plan.steps.items():
        # Mostly, nothing happened to a file, there is nothing to say of it, and there are many.
        if step.action is Action.IDENTICAL:
            if name not in loaded:
                report.unchanged.append(SyncRecord(step.partition_key, name, step.row_count, ""))
            continue
        key, rows = step.partition_key, plan.count_rows(feed, step)
        record = SyncRecord(key, name, rows, step.explain(removal))
        match step.action:
            case Action.MISSING if name in removal:
                report.removed.append(record)
            case Action.MISSING | Action.UNUSABLE | Action.STALE:
                report.unchanged.append(record)
            case Action.SUPERSEDED:
                report.ignored.append(record)
            case Action.REFUSED:
                report.refused.append(record)
            case Action.UNSETTLED:
                report.ignored.append(record)
            case _:
                outcome = outcomes[name]
                if not outcome.is_loaded:
                    report.refused.append(record._replace(reason=outcome.reason))
    if plan.unchanged.count:
        report.unchanged += [
            SyncRecord(key, name, rows)
            for key, name, rows, *_ in plan.unchanged
            if name not in loaded
        ]
        report.unchanged.sort()
    for entry in plan.refused:
        reason = f"{entry.name}: {entry.reason}"
        report.refused.append(SyncRecord(entry.partition_key, entry.name, 0, reason))
    for entry in plan.ignored:
        report.ignored.append(SyncRecord("", entry.name, 0, entry.reason))
    return report
