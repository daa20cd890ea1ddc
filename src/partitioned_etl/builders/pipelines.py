"""Pipeline: all Dagster definitions of one feed, in one value.

Takes a feed and its partitions; returns its assets, checks, job, sensor, reconciliation and
schedule, wired together. This one function builds feeds in Python and in YAML, so they cannot
differ. The command line also uses it to find feeds, partitions and jobs.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from partitioned_etl.builders.assets import build_feed_assets
from partitioned_etl.builders.checks import (
    contract_check_name,
    on_time_check_name,
    size_check_name,
    sum_check_name,
)
from partitioned_etl.builders.jobs import (
    END_OF_WINDOW,
    AssetJob,
    PartitionedSchedule,
    ScheduleTime,
    build_feed_job,
    build_feed_schedule,
)
from partitioned_etl.builders.reconciliation import (
    Reconciliation,
    build_reconciliation,
    reconciliation_check_name,
)
from partitioned_etl.builders.refresh import Refresh
from partitioned_etl.builders.sensors import build_landing_sensor
from partitioned_etl.ingest.columns import columns_of
from partitioned_etl.ingest.errors import FeedDefinitionError
from partitioned_etl.ingest.feed import Feed

_NAME = re.compile(r"[A-Za-z0-9_]+")
"""What Dagster takes for the name of a job, a check, a sensor or a table's asset."""


@dataclass(frozen=True, kw_only=True)
class FeedPipeline:
    """All Dagster definitions of one feed.

    Attributes:
        feed: The feed.
        partitions_def: Its partitions.
        assets: Its import asset, load asset and checks.
        job: The job that loads its partitions.
        sensor: The sensor that starts the job when files land or change.
        schedule: The schedule that starts the job, if any.
        reconciliation: What verifies that the table equals the folder, and repairs it.
        refresh: The downstream asset with its job and sensor, if any.
    """

    feed: Feed
    partitions_def: dg.PartitionsDefinition
    assets: dg.AssetsDefinition
    job: AssetJob
    sensor: dg.SensorDefinition
    reconciliation: Reconciliation
    schedule: PartitionedSchedule | None = None
    refresh: Refresh | None = None

    def to_definitions(self) -> dg.Definitions:
        """Return all of them as Dagster definitions."""
        schedules = (self.schedule, self.reconciliation.schedule)
        own = dg.Definitions(
            assets=[self.assets],
            asset_checks=[self.reconciliation.check],
            jobs=[self.job, self.reconciliation.job],
            sensors=[self.sensor],
            schedules=[schedule for schedule in schedules if schedule],
        )
        return dg.Definitions.merge(own, self.refresh.to_definitions()) if self.refresh else own


def build_pipeline(
    feed: Feed,
    *,
    partitions_def: dg.PartitionsDefinition,
    import_asset: str = "",
    load_asset: str = "",
    sensor: str = "",
    schedule: ScheduleTime | None = END_OF_WINDOW,
    owners: Sequence[str] = (),
    tags: Mapping[str, str] | None = None,
    refresh: Refresh | None = None,
) -> FeedPipeline:
    """Build all Dagster definitions of one feed.

    Args:
        feed: The feed; job, reconciliation and schedule are named after it.
        partitions_def: Its partitions.
        import_asset: Key of the import asset; `import_` and the feed's name if empty.
        load_asset: Key of the load asset; the table's name if empty.
        sensor: Name of the sensor; the feed's name and `_landing_sensor` if empty.
        schedule: When to start the job, for partitions that are days or months; None for no
            schedule.
        owners: Owners of the assets: e-mail addresses or `team:` names.
        tags: Tags of the assets.
        refresh: The downstream asset with its job and sensor, if any.

    Raises:
        FeedDefinitionError: A file cannot be read into a column's type, Dagster does not accept a
            name, an owner or a tag, two names are the same, or the feed can have no schedule.
    """
    columns_of(feed)
    _check_names(feed, load_asset=load_asset, sensor=sensor)
    _check_owners_and_tags(feed, owners, tags)
    load_asset = load_asset or feed.table
    import_asset = import_asset or f"import_{feed.name}"
    if import_asset == load_asset:
        reason = f"import_asset and load_asset are both {load_asset}"
        raise FeedDefinitionError(f"feed {feed.name}: {reason}", attribute="import_asset")
    assets = build_feed_assets(
        feed,
        import_asset=import_asset,
        load_asset=load_asset,
        partitions_def=partitions_def,
        owners=owners,
    )
    if tags:
        assets = assets.map_asset_specs(lambda spec: spec.merge_attributes(tags=tags))
    job = build_feed_job(feed, assets, load_asset)
    reconciliation = build_reconciliation(
        feed,
        load_asset=load_asset,
        partitions_def=partitions_def,
        remove_gone=refresh.remove_gone if refresh else None,
    )
    return FeedPipeline(
        feed=feed,
        partitions_def=partitions_def,
        assets=assets,
        job=job,
        sensor=build_landing_sensor(
            feed,
            job,
            partitions_def,
            reconciliation,
            name=sensor or f"{feed.name}_landing_sensor",
        ),
        reconciliation=reconciliation,
        schedule=build_feed_schedule(feed, job, partitions_def, schedule) if schedule else None,
        refresh=refresh,
    )


def _check_names(feed: Feed, **given: str) -> None:
    names = {"name": feed.name, "table": "" if given["load_asset"] else feed.table, **given}
    rules = [("row_rules", rule.name) for rule in feed.row_rules]
    for attribute, name in [*names.items(), *rules]:
        if name and not _NAME.fullmatch(name):
            reason = f"{attribute}: {name!r} is not made of letters, digits and _ alone"
            raise FeedDefinitionError(f"feed {feed.name}: {reason}", attribute=attribute)
    of_every_feed = (
        *(contract_check_name(feed), sum_check_name(feed), reconciliation_check_name(feed)),
        *(on_time_check_name(feed), size_check_name(feed)),
    )
    for _, rule in rules:
        if rule in of_every_feed:
            reason = f"feed {feed.name}: row_rules: {rule} is a check that a feed has anyway"
            raise FeedDefinitionError(reason, attribute="row_rules")


def _check_owners_and_tags(
    feed: Feed, owners: Sequence[str], tags: Mapping[str, str] | None
) -> None:
    for attribute, value in {"owners": owners, "tags": tags}.items():
        try:
            dg.AssetSpec(feed.name, **{attribute: value})
        except dg.DagsterError as error:
            reason = f"feed {feed.name}: {attribute}: {error}"
            raise FeedDefinitionError(reason, attribute=attribute) from None
