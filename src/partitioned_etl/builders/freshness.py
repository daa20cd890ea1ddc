"""Freshness: by when Dagster expects a feed's table to have been loaded.

Takes a feed and its partitions; returns Dagster's own freshness policy, which its daemon evaluates.
A check in `checks.py` reports which individual file is late or missing.
"""

from datetime import timedelta

import dagster as dg

from partitioned_etl.ingest.feed import Feed
from partitioned_etl.ingest.file_names import FRIDAY, Partitioning


def build_freshness_policy(
    feed: Feed, partitions_def: dg.PartitionsDefinition
) -> dg.FreshnessPolicy | None:
    """Build the policy that a partition must be loaded within the period before a file is due.

    Args:
        feed: The feed.
        partitions_def: Its partitions.

    Returns:
        The policy; None if the feed does not define due times, or if its window has an end, after
        which no file is expected.
    """
    after = feed.due_after
    if after is None or not isinstance(partitions_def, dg.TimeWindowPartitionsDefinition):
        return None
    if partitions_def.end is not None:
        return None
    minute, hour = after.seconds // 60 % 60, after.seconds // 3600
    match feed.partitioning:
        case Partitioning.HOURLY:
            cron, span = f"{minute} * * * *", timedelta(hours=1)
        case Partitioning.WEEKDAYS:
            days = sorted((day + 1 + after.days) % 7 for day in range(1, FRIDAY + 1))
            cron, span = f"{minute} {hour} * * {','.join(map(str, days))}", timedelta(days=1)
        case Partitioning.WEEKLY:
            cron, span = f"{minute} {hour} * * {(1 + after.days) % 7}", timedelta(weeks=1)
        case Partitioning.MONTHLY:
            cron, span = f"{minute} {hour} {1 + after.days} * *", timedelta(days=28)
        case _:
            cron, span = f"{minute} {hour} * * *", timedelta(days=1)
    return dg.FreshnessPolicy.cron(
        deadline_cron=cron, lower_bound_delta=span, timezone=feed.timezone
    )
