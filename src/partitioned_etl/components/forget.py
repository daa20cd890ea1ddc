"""Forget: the job by which a person removes what the tables hold.

Takes all feeds; returns one job, for stale files, for partitions, or for all of a feed. The command
line executes it in its own process, and a person launches it in the web UI: either way, the run
says in its log and in its output's metadata what was removed. Like the reconcile job, it looks at
the feed as it is once it holds the warehouse.
"""

from collections.abc import Iterator, Mapping, Sequence

import dagster as dg
from pydantic import Field

from partitioned_etl.components.assets import FeedAssets, find_warehouse_pool
from partitioned_etl.components.checks import CheckedState
from partitioned_etl.components.dagster_view import (
    RepairEvent,
    compare_with_dagster,
    tell_dagster,
)
from partitioned_etl.components.reconcile import RemoveCopies
from partitioned_etl.components.resources import LandingResource, WarehouseResource
from partitioned_etl.engine.forget import (
    drop_feed,
    forget_files,
    list_held_files,
    stand_in_for,
)
from partitioned_etl.engine.landing.landing import Listing
from partitioned_etl.engine.reconcile import compare_table
from partitioned_etl.engine.sources.computed_rows import remove_files

FORGET_JOB = "forget_job"
_MOST_NAMED = 1000


class ForgetConfig(dg.Config):
    """What a run removes: stale files, partitions, or all that there is of a feed."""

    feed: str
    """Name of the feed."""
    stale: bool = False
    """Whether the files that the feed cannot name any more are meant."""
    partitions: list[str] = Field(default_factory=list)
    """Keys of partitions. What is still landed is loaded again."""
    drop: bool = False
    """Whether all of the feed is meant, with its table."""
    table: str = ""
    """With `drop`, the table of a feed that is declared no more; its table stays if empty."""


def build_forget_job(
    feeds: Sequence[FeedAssets], copies: Mapping[str, RemoveCopies] | None = None
) -> dg.JobDefinition:
    """Build the job by which a person removes what a table holds.

    Args:
        feeds: All feeds.
        copies: Per name of a feed, what removes the copies of removed partitions.
    """
    remove_copies = copies or {}

    @dg.op(pool=find_warehouse_pool())
    def forget(
        context: dg.OpExecutionContext,
        config: ForgetConfig,
        landing: LandingResource,
        warehouse: WarehouseResource,
    ) -> Iterator[RepairEvent | dg.Output[None]]:
        by_name = {assets.feed.name: assets for assets in feeds}
        if reason := _find_fault(config, by_name):
            raise dg.Failure(reason, allow_retries=False)
        if assets := by_name.get(config.feed):
            copies_of = remove_copies.get(config.feed)
            yield from _forget_of_feed(context, config, assets, landing, warehouse, copies_of)
            return
        with warehouse.open() as opened:
            table = opened.table(stand_in_for(config.feed, config.table))
            count = table.count_files()
            drop_feed(table, keeps_table=not config.table)
        dropped = f"table {config.table}" if config.table else "no table"
        context.log.info(f"feed {config.feed}: forgot {count:,} file(s); dropped {dropped}")
        yield dg.Output(None, metadata={"files": count, "dropped": dropped})

    @dg.job(
        name=FORGET_JOB,
        description=(
            "Remove what a feed's table holds of stale files or of partitions, or all of a feed, "
            "in one transaction. A file that is still landed is loaded again."
        ),
    )
    def forget_job() -> None:
        forget()

    return forget_job


def forget_config(config: ForgetConfig) -> dg.RunConfig:
    """Return the configuration of a run of the job."""
    return dg.RunConfig({"forget": config})


def _find_fault(config: ForgetConfig, by_name: Mapping[str, FeedAssets]) -> str:
    """Return why a configuration is refused; empty if it is not."""
    is_of_files = config.stale or bool(config.partitions)
    if is_of_files == config.drop:
        return "what is to be forgotten: stale files or partitions, or is all of the feed dropped?"
    if config.feed not in by_name and not config.drop:
        return f"there is no feed {config.feed!a}"
    if config.table and (config.feed in by_name or not config.drop):
        return "table: only for a feed that is dropped and declared no more"
    tables = {assets.feed.table.casefold(): name for name, assets in by_name.items()}
    if owner := tables.get(config.table.casefold()):
        return f"table {config.table} is the table of feed {owner}"
    return ""


def _forget_of_feed(
    context: dg.OpExecutionContext,
    config: ForgetConfig,
    assets: FeedAssets,
    landing_resource: LandingResource,
    warehouse: WarehouseResource,
    remove_copies: RemoveCopies | None,
) -> Iterator[RepairEvent | dg.Output[None]]:
    feed, instance = assets.feed, context.instance
    landing, known = landing_resource.connect(feed), assets.partitions.list_keys(instance)
    with warehouse.open() as opened:
        # Listed only now, because whoever had the warehouse open may have loaded a newer file.
        listing, table = assets.list_files(landing), opened.table(feed)
        if config.drop:
            files = list_held_files(table, listing, keys=None)
            drop_feed(table)
        else:
            files = list_held_files(table, listing, stale=config.stale, keys=config.partitions)
            forget_files(table, files, run_id=context.run_id)
            if feed.is_computed and config.partitions:
                _remove_keys(assets, landing_resource, listing, instance, config.partitions)
                listing = assets.list_files(landing)
        left = compare_table(table, listing, settle_seconds=landing.settle_seconds)
        ledger = left.plan.ledger
        # While the warehouse is open, nobody loads or copies.
        if remove_copies and files:
            for path in remove_copies({*ledger.by_key, *listing.by_key}):
                context.log.info(f"removed {path.name}: its partition is gone")
    view = compare_with_dagster(instance, assets, known, left)
    keys = {file.partition_key for file in files}
    yield from tell_dagster(
        instance,
        assets,
        CheckedState(
            feed,
            ledger,
            listing,
            known,
            [*map(str, left.differences)],
            left.brake,
            assets.other_feeds,
        ),
        {*view.untold, *keys},
        # An ad-hoc key is removed above, and a person may have added it again since.
        gone=keys.difference(config.partitions) if feed.is_computed else keys,
        why_removed="a person had it forgotten",
    )
    rows = sum(file.row_count for file in files)
    dropped = f"table {feed.table}" if config.drop else "no table"
    context.log.info(
        f"feed {feed.name}: forgot {len(files):,} file(s), {rows:,} rows; dropped {dropped}"
    )
    named = [file._asdict() for file in files[:_MOST_NAMED]]
    yield dg.Output(
        None,
        metadata={
            "files": len(files),
            "rows": rows,
            "dropped": dropped,
            "forgotten": dg.MetadataValue.json(named),
        },
    )


def _remove_keys(
    assets: FeedAssets,
    landing_resource: LandingResource,
    listing: Listing,
    instance: dg.DagsterInstance,
    keys: Sequence[str],
) -> None:
    """Remove ad-hoc keys, and then their files.

    A key that was left without a file would be computed again.
    """
    assets.partitions.unregister(instance, keys)
    files = (file for key in keys for file in listing.by_key.get(key, ()))
    remove_files(assets.feed, landing_resource.address_of(assets.feed), files)
