"""Clashes: names that two feeds would share in Dagster, or a feed and the calendar of arrivals.

Takes all pipelines; refuses what cannot be loaded together, with both names. Dagster refuses it,
too, but names only what is shared. Tables and folders are held apart in `ingest/feed.py`.
"""

from collections.abc import Iterator, Sequence

import dagster as dg

from partitioned_etl.builders.arrivals import ARRIVALS_ASSET
from partitioned_etl.builders.pipelines import FeedPipeline
from partitioned_etl.ingest.errors import FeedDefinitionError
from partitioned_etl.ingest.feed import check_feeds_are_apart

_ASSET, _JOB, _STARTER = "asset", "job", "sensor or schedule"
_CALENDAR = "the calendar of arrivals"


def check_pipelines_are_apart(pipelines: Sequence[FeedPipeline]) -> None:
    """Make sure that no two feeds share a table, a folder, an asset, a job, a sensor or a schedule.

    Args:
        pipelines: The pipelines of all feeds.

    Raises:
        FeedDefinitionError: Two feeds share one.
    """
    check_feeds_are_apart([pipeline.feed for pipeline in pipelines])
    owners = {
        (_ASSET, ARRIVALS_ASSET): _CALENDAR,
        (_JOB, f"{ARRIVALS_ASSET}_job"): _CALENDAR,
        (_STARTER, f"{ARRIVALS_ASSET}_sensor"): _CALENDAR,
    }
    for pipeline in pipelines:
        feed = f"feed {pipeline.feed.name}"
        for kind, name in _list_names(pipeline.to_definitions()):
            owner = owners.setdefault((kind, name), "")
            if owner:
                both = f"{owner} and {feed} share" if owner != feed else f"{feed} has twice"
                raise FeedDefinitionError(f"{both} the {kind} {name}")
            owners[kind, name] = feed


def _list_names(definitions: dg.Definitions) -> Iterator[tuple[str, str]]:
    for asset in definitions.assets or ():
        if isinstance(asset, dg.AssetsDefinition):
            yield from ((_ASSET, key.to_user_string()) for key in asset.keys)
    yield from ((_JOB, job.name) for job in definitions.jobs or ())
    for starter in (*(definitions.sensors or ()), *(definitions.schedules or ())):
        yield _STARTER, starter.name
