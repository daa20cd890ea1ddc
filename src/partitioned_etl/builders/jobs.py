"""Step 4, jobs: which parts of a feed run together, in one process.

Takes a feed and its assets; returns the job that sensor, schedule and command line start, and the
schedule. Next: `sensors.py`.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import dagster as dg

from partitioned_etl.ingest.errors import FeedDefinitionError
from partitioned_etl.ingest.feed import Feed

AssetJob: TypeAlias = Any
"""What `dg.define_asset_job` returns; Dagster has no public name for it."""
PartitionedSchedule: TypeAlias = Any
"""What `dg.build_schedule_from_partitioned_job` returns; it has no public name either."""
FEED_TAG = "partitioned_etl/feed"
"""Run tag that names the feed."""


def build_feed_job(feed: Feed, assets: dg.AssetsDefinition, load_asset: str) -> AssetJob:
    """Build the job that imports, checks and loads partitions of a feed.

    It selects only the load asset, whose step also imports: for each selected asset Dagster writes
    an event per partition before a run begins, which takes longer than loading a small file.

    Args:
        feed: The feed.
        assets: The feed's assets.
        load_asset: Key of its load asset.
    """
    return dg.define_asset_job(
        f"{feed.name}_job",
        # Without the check that counts the whole table: a load's cost depends only on what it
        # loads.
        selection=dg.AssetSelection.assets(load_asset).without_checks()
        | dg.AssetSelection.checks(*assets.check_keys),
        description=f"Import, check and load partitions of {feed.name}: one key or a range.",
        tags={FEED_TAG: feed.name},
        executor_def=dg.in_process_executor,
    )


@dataclass(frozen=True, kw_only=True)
class ScheduleTime:
    """When a feed's job is started, in the time zone of its partitions.

    Attributes:
        hour: Hour of the day, 0 to 23.
        minute: Minute of the hour, 0 to 59.
        day_of_month: Day of the month for a monthly feed, 1 to 28.

    Raises:
        FeedDefinitionError: The time does not exist on every day, or the day not in every month.
    """

    hour: int = 23
    minute: int = 30
    day_of_month: int = 28

    def __post_init__(self) -> None:
        if (
            self.hour not in range(24)
            or self.minute not in range(60)
            or self.day_of_month not in range(1, 29)
        ):
            raise FeedDefinitionError(
                "schedule: hour is 0 to 23, minute 0 to 59, day_of_month 1 to 28",
                attribute="schedule",
            )


END_OF_WINDOW = ScheduleTime()
"""Near the end of a day or a month, when its file should have landed."""


def build_feed_schedule(
    feed: Feed, job: AssetJob, partitions_def: dg.PartitionsDefinition, at: ScheduleTime
) -> PartitionedSchedule | None:
    """Build the schedule that reloads the latest partition; it is off until switched on.

    Args:
        feed: The feed.
        job: The feed's job.
        partitions_def: The feed's partitions.
        at: When it starts the job.

    Returns:
        The schedule; None if the partitions are neither days nor months, and no time was chosen.

    Raises:
        FeedDefinitionError: A time was chosen for other partitions.
    """
    is_monthly = isinstance(partitions_def, dg.MonthlyPartitionsDefinition)
    if not is_monthly and not isinstance(partitions_def, dg.DailyPartitionsDefinition):
        if at is not END_OF_WINDOW:
            reason = f"feed {feed.name}: schedule: only daily and monthly feeds have one"
            raise FeedDefinitionError(reason, attribute="schedule")
        return None
    window = f"month's file again on day {at.day_of_month}" if is_monthly else "day's file again"
    return dg.build_schedule_from_partitioned_job(
        job,
        name=f"{feed.name}_schedule",
        description=(
            f"Loads the {window} at {at.hour:02}:{at.minute:02}; fails if none has landed."
        ),
        day_of_month=at.day_of_month if is_monthly else None,
        hour_of_day=at.hour,
        minute_of_hour=at.minute,
    )
