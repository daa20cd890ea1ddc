"""Pipeline: everything that one feed consists of in Dagster, in one value.

Takes a feed and its partitions; gives its assets, checks, job, sensor, reconciliation and schedule,
wired. Feeds in Python and feeds in YAML are made by this one function, so they cannot differ. It is
also how the command line finds feed, partitions and jobs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from partitioned_etl.builders.assets import build_feed_assets
from partitioned_etl.builders.jobs import (
    END_OF_WINDOW,
    AssetJob,
    PartitionedSchedule,
    ScheduleTime,
    build_feed_job,
    build_feed_schedule,
)
from partitioned_etl.builders.reconciliation import Reconciliation, build_reconciliation
from partitioned_etl.builders.refresh import Refresh
from partitioned_etl.builders.sensors import build_landing_sensor
from partitioned_etl.ingest.columns import columns_of
from partitioned_etl.ingest.feed import Feed


@dataclass(frozen=True, kw_only=True)
class FeedPipeline:
    """Everything that one feed consists of in Dagster.

    Attributes:
        feed: The feed.
        partitions_def: Its partitions.
        assets: Its import asset, load asset and checks.
        job: What loads its partitions.
        sensor: What starts the job when files land or change.
        schedule: What starts the job by the clock, if anything.
        reconciliation: What proves that the table is level, and repairs it.
        refresh: What is made from the feed's table, if anything.
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
        """Give all of it to Dagster."""
        made = [self.refresh] if self.refresh else []
        return dg.Definitions(
            assets=[self.assets, *(one.asset for one in made)],
            asset_checks=[self.reconciliation.check],
            jobs=[self.job, self.reconciliation.job, *(one.job for one in made)],
            sensors=[self.sensor, *(one.sensor for one in made)],
            schedules=[
                schedule for schedule in (self.schedule, self.reconciliation.schedule) if schedule
            ],
        )


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
    """Build everything that one feed consists of in Dagster.

    Args:
        feed: The feed; job, reconciliation and schedule are named after it.
        partitions_def: Its partitions.
        import_asset: Key of the import asset; `import_` and the feed's name if empty.
        load_asset: Key of the load asset; the table's name if empty.
        sensor: Name of the sensor; the feed's name and `_landing_sensor` if empty.
        schedule: When the clock starts the job, for partitions that are time windows; None for no
            schedule.
        owners: Who answers for the assets: e-mail addresses or `team:` names.
        tags: Tags of the assets.
        refresh: What is made from the feed's table, if anything.

    Raises:
        FeedDefinitionError: A column's type is not one that a file can be read into.
    """
    columns_of(feed)
    load_asset = load_asset or feed.table
    assets = build_feed_assets(
        feed,
        import_asset=import_asset or f"import_{feed.name}",
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
