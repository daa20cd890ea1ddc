"""Reconcile: the nightly job that compares landing, ledger, table and Dagster, and repairs them.

Takes all feeds; returns one job, its schedule, and the sensor that runs it for a feed whose files
are gone and whose policy removes their partitions. The job relies on nothing that it is given: it
looks at each feed as it is once it holds the warehouse. So it may be repeated, killed and run by
anyone.
"""

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import dagster as dg
from pydantic import Field

from partitioned_etl.components.agenda import digest
from partitioned_etl.components.assets import FeedAssets, find_warehouse_pool
from partitioned_etl.components.checks import CheckedState
from partitioned_etl.components.dagster_view import (
    RepairEvent,
    compare_with_dagster,
    tell_dagster,
)
from partitioned_etl.components.resources import LandingResource, WarehouseResource
from partitioned_etl.components.runs import UNFINISHED
from partitioned_etl.components.scans import TICK_SCAN_SECONDS, scan_in_time
from partitioned_etl.components.sensor import TICK_LOCK_WAIT_SECONDS, TICK_TOUCHED_BYTES
from partitioned_etl.engine.errors import LandedFileError, WarehouseLockedError
from partitioned_etl.engine.feed import OnMissing
from partitioned_etl.engine.list_since import find_first_name
from partitioned_etl.engine.plan import MAX_ATTEMPTS, Removal, find_removable, make_plan
from partitioned_etl.engine.reconcile import reconcile_table
from partitioned_etl.engine.settings import Settings

RECONCILE_JOB = "reconcile_job"
RECONCILES_TAG = "partitioned_etl/reconciles"
"""Run tag with the name of the one feed that a run of the job reconciles."""
RemoveCopies: TypeAlias = Callable[[Collection[str]], Sequence[Path]]
"""Removes what was made of partitions other than these keys, and returns what it removed."""


class ReconcileConfig(dg.Config):
    """Options for a reconcile run."""

    feeds: list[str] = Field(default_factory=list)
    """Names of the feeds; all if empty."""
    allow_most: bool = False
    """Remove partitions whose files are gone even if these are more than half of all."""


def build_reconcile_job(
    feeds: Sequence[FeedAssets], copies: Mapping[str, RemoveCopies] | None = None
) -> dg.JobDefinition:
    """Build the job that makes landing, ledger, table and Dagster agree.

    Args:
        feeds: All feeds.
        copies: Per name of a feed, what removes the copies of removed partitions.
    """
    remove_copies = copies or {}

    @dg.op(pool=find_warehouse_pool())
    def reconcile(
        context: dg.OpExecutionContext,
        config: ReconcileConfig,
        landing: LandingResource,
        warehouse: WarehouseResource,
    ) -> Iterator[RepairEvent | dg.Output[None]]:
        unknown = {*config.feeds} - {assets.feed.name for assets in feeds}
        failures = [f"there is no feed {name!a}" for name in sorted(unknown)]
        for assets in feeds:
            if config.feeds and assets.feed.name not in config.feeds:
                continue
            try:
                yield from _reconcile_feed(
                    context,
                    assets,
                    landing,
                    warehouse,
                    remove_copies.get(assets.feed.name),
                    allow_most=config.allow_most,
                )
            # One feed's mistake stops no other; the run fails in the end.
            except Exception as error:
                context.log.exception(f"feed {assets.feed.name} could not be reconciled")
                failures.append(f"feed {assets.feed.name}: {error}")
        if failures:
            raise dg.Failure("; ".join(failures), allow_retries=False)
        yield dg.Output(None)

    @dg.job(
        name=RECONCILE_JOB,
        description=(
            "Make landing, ledger, table and Dagster agree, as far as the files can: load again "
            "what differs, remove what the policy removes, name what is left."
        ),
    )
    def reconcile_job() -> None:
        reconcile()

    return reconcile_job


def _reconcile_feed(
    context: dg.OpExecutionContext,
    assets: FeedAssets,
    landing_resource: LandingResource,
    warehouse: WarehouseResource,
    remove_copies: RemoveCopies | None,
    *,
    allow_most: bool,
) -> Iterator[RepairEvent]:
    feed, partitions, instance = assets.feed, assets.partitions, context.instance
    landing, known = landing_resource.connect(feed), partitions.list_keys(instance)
    with warehouse.open() as opened:
        # Listed only now, because whoever had the warehouse open may have loaded a newer file.
        listing = assets.list_files(landing)
        done = reconcile_table(
            opened.table(feed),
            landing,
            listing,
            allow_most=allow_most,
            run_id=context.run_id,
            history_days=Settings().load_history_days,
        )
        if feed.is_computed:
            # At once: a key of which neither ledger nor folder knows anything would be computed.
            partitions.unregister(instance, done.removed)
        ledger = done.left.plan.ledger
        # While the warehouse is open, nobody loads or copies. An empty ledger of which nothing was
        # removed is that of a database that was lost.
        if remove_copies and (ledger or done.removed):
            for path in remove_copies({*ledger.by_key, *listing.by_key}):
                context.log.info(f"removed {path.name}: its partition is gone")
    view = compare_with_dagster(instance, assets, known, done.left)
    again = [outcome.file.partition_key for outcome in done.outcomes if outcome.is_loaded]
    context.log.info(
        f"feed {feed.name}: loaded {len(again)} again, removed {len(done.removed)}, "
        f"reported {len(view.untold)}; {len(done.left.differences)} left"
    )
    refusals = [
        f"partition {outcome.file.partition_key}: {outcome.reason}"
        for outcome in done.outcomes
        if not outcome.is_loaded
    ]
    differences = [*map(str, done.left.differences), *refusals]
    removes_names = feed.on_missing is OnMissing.REMOVE and not feed.is_computed
    yield from tell_dagster(
        instance,
        assets,
        CheckedState(
            feed, ledger, listing, known, differences, done.left.brake, assets.other_feeds
        ),
        {*view.untold, *again, *done.removed},
        # Among them are those left by a run that was ended early. An ad-hoc key without rows is
        # none of them, but a wish, also if it had rows before.
        gone={*done.removed, *view.gone} if removes_names else (),
        why_removed="its file is gone",
    )


def build_reconcile_schedule(job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """Build the schedule that reconciles all feeds every night."""
    return dg.ScheduleDefinition(
        name="reconcile_schedule",
        job=job,
        cron_schedule="0 4 * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Compares landing, ledger, tables and Dagster every night, and repairs them.",
    )


def build_removal_sensor(
    feeds: Sequence[FeedAssets], job: dg.JobDefinition, *, interval_seconds: int
) -> dg.SensorDefinition:
    """Build the sensor that requests the removal of partitions whose files are gone.

    Args:
        feeds: All feeds; those whose policy keeps partitions are left alone.
        job: The reconcile job.
        interval_seconds: Minimum number of seconds between two ticks.
    """
    removing = [assets for assets in feeds if assets.feed.on_missing is OnMissing.REMOVE]

    @dg.sensor(
        name="removal_sensor",
        job=job,
        minimum_interval_seconds=interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Requests the reconcile job for feeds whose policy removes what has no file.",
    )
    def removal_sensor(
        context: dg.SensorEvaluationContext, landing: LandingResource, warehouse: WarehouseResource
    ) -> dg.SensorResult:
        asked, requests, said = _read_asked(context.cursor), [], []
        for assets in removing:
            name = assets.feed.name
            try:
                removal = _find_removal(
                    assets, landing, warehouse, TICK_SCAN_SECONDS / len(removing)
                )
            except (WarehouseLockedError, LandedFileError) as error:
                said.append(f"feed {name}: {error}; the next tick tries again")
                continue
            if removal.brake:
                said.append(f"feed {name}: {removal.brake}")
            asked[name], is_wanted = _ask(context.instance, name, removal, asked.get(name))
            if is_wanted:
                requests.append(_request(name, *asked[name]))
        message = "; ".join(said) or "nothing to remove"
        return dg.SensorResult(
            run_requests=requests,
            cursor=json.dumps(asked),
            skip_reason=None if requests else dg.SkipReason(message),
        )

    return removal_sensor


def _find_removal(
    assets: FeedAssets,
    landing_resource: LandingResource,
    warehouse: WarehouseResource,
    scan_seconds: float,
) -> Removal:
    landing = landing_resource.connect(assets.feed)
    plan = make_plan(
        assets.feed,
        scan_in_time(
            assets,
            landing,
            seconds=scan_seconds,
            asker="removal",
            first_name=find_first_name(assets.feed),
        ),
        landing,
        warehouse.connect(),
        lock_wait_seconds=TICK_LOCK_WAIT_SECONDS,
        touched_bytes=TICK_TOUCHED_BYTES,
    )
    return find_removable(assets.feed, plan)


Asked: TypeAlias = tuple[str, int, int]
"""Digest of the files whose removal was requested, how often, and a number of the request."""


def _ask(
    instance: dg.DagsterInstance, name: str, removal: Removal, asked: Asked | None
) -> tuple[Asked, bool]:
    """Return what is remembered of a removal, and whether to request it now.

    A run that was ended after removing partitions but before reporting it to Dagster is requested
    again.
    """
    # A cursor that was reset must not repeat run keys: Dagster never runs the same key twice.
    mark, count, number = asked or ("", 0, int(time.time()))
    if not removal.rows:
        latest = instance.get_runs(dg.RunsFilter(tags={RECONCILES_TAG: name}), limit=1)
        if not mark or removal.brake or not latest or latest[0].is_success:
            return ("", 0, number), False
    elif mark != digest(removal.names):
        mark, count = digest(removal.names), 0
    under_way = dg.RunsFilter(job_name=RECONCILE_JOB, statuses=UNFINISHED)
    if count >= MAX_ATTEMPTS or instance.get_runs_count(under_way):
        return (mark, count, number), False
    return (mark, count + 1, number + 1), True


def _request(name: str, mark: str, count: int, number: int) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=f"{name}-{mark}-{count}-{number}",
        run_config=reconcile_config(name),
        tags={RECONCILES_TAG: name},
    )


def reconcile_config(*names: str, allow_most: bool = False) -> dg.RunConfig:
    """Return the configuration of a run of the job for some feeds."""
    return dg.RunConfig({"reconcile": ReconcileConfig(feeds=[*names], allow_most=allow_most)})


def _read_asked(cursor: str | None) -> dict[str, Asked]:
    """Return what was requested per feed; a cursor that cannot be read counts as empty."""
    try:
        return {
            str(name): (str(mark), int(count), int(number))
            for name, (mark, count, number) in json.loads(cursor or "{}").items()
        }
    except (ValueError, TypeError, AttributeError):
        return {}
