"""Step 4, jobs: what of a feed runs together, in one process.

Takes a feed and its assets; gives the job that sensor, schedule and command line start. Next:
`sensors.py`.
"""

from typing import Any, TypeAlias

import dagster as dg

from partitioned_etl.ingest.feed import Feed

AssetJob: TypeAlias = Any
"""What `dg.define_asset_job` returns; Dagster has no public name for it."""
PartitionedSchedule: TypeAlias = Any
"""What `dg.build_schedule_from_partitioned_job` returns; it has no public name either."""
FEED_TAG = "partitioned_etl/feed"
"""Run tag that names the feed."""


def build_feed_job(feed: Feed, assets: dg.AssetsDefinition) -> AssetJob:
    """Build the job that imports, checks and loads partitions of a feed.

    Args:
        feed: The feed.
        assets: The feed's assets.
    """
    return dg.define_asset_job(
        f"{feed.name}_job",
        # Not the check that counts the whole table: a load costs what it loads.
        selection=dg.AssetSelection.assets(assets).without_checks()
        | dg.AssetSelection.checks(*assets.check_keys),
        description=f"Import, check and load partitions of {feed.name}: one key or a range.",
        tags={FEED_TAG: feed.name},
        executor_def=dg.in_process_executor,
    )
