"""Pipeline: everything that one feed consists of in Dagster, in one value.

It ends each feed's file in `defs/`, and is how the command line finds feed, partitions and jobs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg

from partitioned_etl.builders.jobs import AssetJob, PartitionedSchedule
from partitioned_etl.builders.reconciliation import Reconciliation
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
        rollups: Assets that are made from the feed's table.
        rollup_job: What refreshes them, for the same keys.
        rollup_sensor: What starts that when a partition was loaded again.
    """

    feed: Feed
    partitions_def: dg.PartitionsDefinition
    assets: dg.AssetsDefinition
    job: AssetJob
    sensor: dg.SensorDefinition
    reconciliation: Reconciliation
    schedule: PartitionedSchedule | None = None
    rollups: Sequence[dg.AssetsDefinition] = ()
    rollup_job: AssetJob | None = None
    rollup_sensor: dg.SensorDefinition | None = None

    def to_definitions(self) -> dg.Definitions:
        """Give all of it to Dagster."""
        return dg.Definitions(
            assets=[self.assets, *self.rollups],
            asset_checks=[self.reconciliation.check],
            jobs=[job for job in (self.job, self.reconciliation.job, self.rollup_job) if job],
            sensors=[sensor for sensor in (self.sensor, self.rollup_sensor) if sensor],
            schedules=[
                schedule for schedule in (self.schedule, self.reconciliation.schedule) if schedule
            ],
        )
