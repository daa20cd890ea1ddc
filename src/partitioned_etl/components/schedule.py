"""Schedule: the clock loads the latest day or month again.

Takes a feed's job; returns a schedule that is off until someone switches it on: the sensors load
what lands, and a schedule is useful only where a missing file should show as a failed run.
"""

from typing import Annotated, Any, TypeAlias

import dagster as dg
from pydantic import BaseModel, Field

from partitioned_etl.components.assets import AssetJob, FeedAssets
from partitioned_etl.engine.errors import FeedDefinitionError

PartitionedSchedule: TypeAlias = Any
"""What `dg.build_schedule_from_partitioned_job` returns; it has no public name."""


class ReloadSchedule(BaseModel, frozen=True, extra="forbid"):
    """When a feed's job is started, in the time zone of its partitions.

    By default near the end of a day or a month, when its file should have landed.
    """

    enabled: Annotated[bool, Field(description="Whether there is a schedule.")] = True
    hour: Annotated[int, Field(description="Hour of the day.", ge=0, le=23)] = 23
    minute: Annotated[int, Field(description="Minute of the hour.", ge=0, le=59)] = 30
    day_of_month: Annotated[
        int, Field(description="Day of the month, for a monthly feed.", ge=1, le=28)
    ] = 28


def reload_schedule(
    definition: dg.AssetsDefinition, job: AssetJob, at: ReloadSchedule | None = None
) -> PartitionedSchedule | None:
    """Build the schedule that loads the latest partition again; it is off until switched on.

    Args:
        definition: The feed's assets.
        job: The feed's job.
        at: When it starts the job; by default as `ReloadSchedule` says, if it can.

    Returns:
        The schedule; None if there is to be none, or if the partitions are neither days nor months.

    Raises:
        FeedDefinitionError: A schedule was asked for with other partitions.
    """
    assets = FeedAssets.of(definition)
    feed, partitions_def = assets.feed, assets.partitions.definition
    is_monthly = isinstance(partitions_def, dg.MonthlyPartitionsDefinition)
    if not is_monthly and not isinstance(partitions_def, dg.DailyPartitionsDefinition):
        if at and at.enabled:
            reason = f"feed {feed.name}: schedule: only daily and monthly feeds have one"
            raise FeedDefinitionError(reason, attribute="schedule")
        return None
    at = at or ReloadSchedule()
    if not at.enabled:
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
