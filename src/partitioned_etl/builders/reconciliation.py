"""Step 6, reconciliation: verify that folder, ledger, table and Dagster agree, and repair them.

Takes a feed; returns a check that reports the differences, and a job that reloads what the files
can repair, removes partitions whose files are gone if the feed's policy says so, and reports to
Dagster what the table holds. `ingest/repair.py` compares files and tables, `dagster_view.py`
Dagster's records.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import dagster as dg

from partitioned_etl.builders.assets import DUCKDB_POOL
from partitioned_etl.builders.checks import feed_check_specs, judge_checks
from partitioned_etl.builders.dagster_view import DagsterView, compare_with_dagster
from partitioned_etl.builders.partitions import (
    find_dynamic,
    list_files_in_window,
    list_names,
    list_partition_keys,
)
from partitioned_etl.builders.resources import LandingDirectory, Warehouse
from partitioned_etl.ingest.feed import Feed, OnMissing
from partitioned_etl.ingest.ledger import LedgerRow
from partitioned_etl.ingest.outcomes import OutcomeStatus
from partitioned_etl.ingest.repair import Repair, examine_feed, repair_feed

REPAIR_TAG = "partitioned_etl/reconciles"
"""Run tag with the name of the feed that a run reconciles."""
RemoveGone: TypeAlias = Callable[[Collection[str]], Sequence[Path]]
"""Removes what was made of partitions other than these keys, and returns what it removed."""
_MOST_NAMED = 50


def reconciliation_check_name(feed: Feed) -> str:
    """Return the name of the check that folder, ledger, table and Dagster agree."""
    return f"{feed.name}_table_equals_directory"


def reconcile_job_name(feed: Feed) -> str:
    """Return the name of the job that makes folder, ledger, table and Dagster agree."""
    return f"{feed.name}_reconcile_job"


class ReconcileConfig(dg.Config):
    """Options for a reconcile run."""

    allow_most: bool = False
    """Remove partitions whose files are gone even if these are more than half of all."""


@dataclass(frozen=True)
class Reconciliation:
    """What keeps a feed's folder, ledger, table and Dagster in agreement.

    Attributes:
        load_key: The feed's load asset.
        check: Reports what differs.
        job: Repairs what the files can repair.
        schedule: Starts the job every night.
    """

    load_key: dg.AssetKey
    check: dg.AssetChecksDefinition
    job: dg.JobDefinition
    schedule: dg.ScheduleDefinition


def build_reconciliation(
    feed: Feed,
    *,
    load_asset: str,
    partitions_def: dg.PartitionsDefinition,
    remove_gone: RemoveGone | None = None,
) -> Reconciliation:
    """Build a feed's reconciliation check, job and schedule.

    Args:
        feed: The feed.
        load_asset: Key of its load asset.
        partitions_def: Its partitions.
        remove_gone: Removes what was made of removed partitions and outlasts them.
    """
    job = _build_job(feed, load_asset, partitions_def, remove_gone)
    schedule = dg.ScheduleDefinition(
        name=f"{feed.name}_reconcile_schedule",
        job=job,
        cron_schedule="0 4 * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Compares folder, ledger, table and Dagster every night, and repairs them.",
    )
    check = _build_check(feed, load_asset, partitions_def)
    return Reconciliation(dg.AssetKey(load_asset), check, job, schedule)


def _build_check(
    feed: Feed, load_asset: str, partitions_def: dg.PartitionsDefinition
) -> dg.AssetChecksDefinition:
    load_key = dg.AssetKey(load_asset)

    @dg.asset_check(
        name=reconciliation_check_name(feed),
        asset=load_asset,
        description=(
            "Landing directory, ledger, row counts of the table and Dagster's materialized "
            f"partitions agree. What differs is named; `{reconcile_job_name(feed)}` repairs it."
        ),
        pool=DUCKDB_POOL,
    )
    def table_equals_directory(
        context: dg.AssetCheckExecutionContext, landing: LandingDirectory, warehouse: Warehouse
    ) -> dg.AssetCheckResult:
        known = list_partition_keys(partitions_def, context.instance)
        with warehouse.get_connection() as connection:
            listing = list_files_in_window(feed, landing.directory, partitions_def)
            state = examine_feed(connection, feed, listing, settle_seconds=landing.settle_time)
        view = compare_with_dagster(context.instance, load_key, partitions_def, known, state)
        differences = [*map(str, state.differences), *view.sentences]
        return dg.AssetCheckResult(
            passed=not differences, metadata=_describe(differences, state.brake)
        )

    return table_equals_directory


def _build_job(
    feed: Feed,
    load_asset: str,
    partitions_def: dg.PartitionsDefinition,
    remove_gone: RemoveGone | None,
) -> dg.JobDefinition:
    load_key, dynamic = dg.AssetKey(load_asset), find_dynamic(partitions_def)

    @dg.op(name=f"reconcile_{feed.name}", pool=DUCKDB_POOL)
    def reconcile_feed(
        context: dg.OpExecutionContext,
        config: ReconcileConfig,
        landing: LandingDirectory,
        warehouse: Warehouse,
    ) -> Iterator[dg.AssetMaterialization | dg.AssetCheckEvaluation | dg.Output[None]]:
        known = list_partition_keys(partitions_def, context.instance)
        with warehouse.get_connection() as connection:
            # Listed only now, because whoever had the database open may have loaded a newer file.
            listing = list_files_in_window(feed, landing.directory, partitions_def)
            repair = repair_feed(
                connection,
                feed,
                listing,
                settle_seconds=landing.settle_time,
                allow_most=config.allow_most,
                run_id=context.run_id,
                log=context.log,
            )
            ledger = repair.left.ledger
            # While the database is open, nobody loads or copies. An empty ledger of which nothing
            # was removed is that of a database that was lost.
            if remove_gone and (ledger or repair.removed):
                for path in remove_gone({*ledger, *listing.files}):
                    context.log.info(f"removed {path.name}: its partition is gone")
        view = compare_with_dagster(context.instance, load_key, partitions_def, known, repair.left)
        again = [
            outcome.file.partition_key
            for outcome in repair.outcomes
            if outcome.status is OutcomeStatus.LOADED
        ]
        untold = {*view.unreported, *view.failed, *view.outdated}
        for key in sorted({*untold, *again, *repair.removed} & {*known}):
            yield _materialization(load_key, key, ledger.get(key))
        if dynamic and dynamic.name:
            registered = list_names(partitions_def, known)
            for name in _list_names_to_delete(feed, partitions_def, repair, view) & {*registered}:
                context.instance.delete_dynamic_partition(dynamic.name, name)
        context.log.info(_summary(feed, repair, view))
        # A materialization makes Dagster show all checks of the asset as not evaluated.
        checks = [spec.key for spec in feed_check_specs(feed, load_asset)]
        for result in judge_checks(feed, checks, ledger, listing, known):
            yield _evaluation(load_key, result)
        differences = [*map(str, repair.left.differences), *_refusals(repair)]
        yield dg.AssetCheckEvaluation(
            asset_key=load_key,
            check_name=reconciliation_check_name(feed),
            passed=not differences,
            metadata=_describe(differences, repair.left.brake),
        )
        yield dg.Output(None)

    @dg.job(
        name=reconcile_job_name(feed),
        description=(
            f"Make folder, ledger, table and Dagster agree for {feed.name}, as far as its files "
            "can: load again what differs, remove what the policy removes, name what is left."
        ),
        tags={REPAIR_TAG: feed.name},
        executor_def=dg.in_process_executor,
    )
    def reconcile_job() -> None:
        reconcile_feed()

    return reconcile_job


def _evaluation(load_key: dg.AssetKey, result: dg.AssetCheckResult) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        load_key,
        result.check_name or "",
        result.passed,
        metadata=result.metadata,
        severity=result.severity,
    )


def _list_names_to_delete(
    feed: Feed, partitions_def: dg.PartitionsDefinition, repair: Repair, view: DagsterView
) -> set[str]:
    """Return the dynamic names to delete, including those left by a run that was ended early."""
    if feed.on_missing is OnMissing.KEEP:
        return set()
    plan = repair.left.plan
    gone = {*repair.removed, *view.gone}
    left = {*plan.steps, *(entry.partition_key for entry in plan.refused)}
    return {*list_names(partitions_def, gone)} - {*list_names(partitions_def, left)}


def _materialization(
    load_key: dg.AssetKey, partition_key: str, row: LedgerRow | None
) -> dg.AssetMaterialization:
    row_count = dg.MetadataValue.int(row.row_count if row else 0)
    return dg.AssetMaterialization(
        load_key,
        partition=partition_key,
        description="Reconciled with the ledger." if row else "Removed: its file is gone.",
        metadata={
            "row_count": row_count,
            "dagster/partition_row_count": row_count,
            "rejected_count": dg.MetadataValue.int(row.rejected_count if row else 0),
            "source_file": dg.MetadataValue.text(row.source_file if row else ""),
        },
    )


def _refusals(repair: Repair) -> list[str]:
    return [
        f"partition {outcome.file.partition_key}: {outcome.reason}"
        for outcome in repair.outcomes
        if outcome.status is not OutcomeStatus.LOADED
    ]


def _summary(feed: Feed, repair: Repair, view: DagsterView) -> str:
    loaded = sum(outcome.status is OutcomeStatus.LOADED for outcome in repair.outcomes)
    return (
        f"feed {feed.name}: loaded {loaded} again, removed {len(repair.removed)}, "
        f"reported {len(view.unreported) + len(view.failed) + len(view.outdated)}; "
        f"{len(repair.left.differences)} left"
    )


def _describe(differences: Sequence[str], brake: str) -> dict[str, dg.MetadataValue]:
    brakes = {"brake": dg.MetadataValue.text(brake)} if brake else {}
    return {
        "differences": dg.MetadataValue.int(len(differences)),
        "named": dg.MetadataValue.json(list(differences[:_MOST_NAMED])),
        **brakes,
    }
