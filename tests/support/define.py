"""Definitions of one feed, by the calls that a file in `defs/` makes, and of a code location."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from partitioned_etl.components.assets import AssetJob, FeedAssets, feed_assets, feed_job
from partitioned_etl.components.computations import Compute
from partitioned_etl.components.events import FeedEvent
from partitioned_etl.components.fetches import fetch_job, fetch_sensor
from partitioned_etl.components.location import DEFAULT_RESOURCES
from partitioned_etl.components.partitions import build_partitions_def
from partitioned_etl.components.resources import LandingResource, WarehouseResource
from partitioned_etl.components.sensor import landing_sensor
from partitioned_etl.components.watch import watch
from partitioned_etl.engine.feed import Feed


@dataclass(frozen=True)
class DefinedFeed:
    """A feed's definitions.

    Attributes:
        definition: Its import asset, load asset and checks.
        job: The job that loads its partitions.
        sensor: The sensor that starts the job.
        downstream: What is computed from its table, with jobs and sensors.
        fetches: The job and the sensor that fetch, if it has a source.
    """

    definition: dg.AssetsDefinition
    job: AssetJob
    sensor: dg.SensorDefinition
    downstream: dg.Definitions
    fetches: dg.Definitions = field(default_factory=dg.Definitions)

    @property
    def assets(self) -> FeedAssets:
        """The feed's assets."""
        return FeedAssets.of(self.definition)

    @property
    def feed(self) -> Feed:
        """The feed."""
        return self.assets.feed

    def to_definitions(self) -> dg.Definitions:
        """Give all of it to Dagster."""
        own = dg.Definitions(assets=[self.definition], jobs=[self.job], sensors=[self.sensor])
        return dg.Definitions.merge(own, self.downstream, self.fetches)


def define_feed(
    feed: Feed,
    *,
    partitions_def: dg.PartitionsDefinition | None = None,
    sensor: str = "",
    downstream: dg.Definitions | None = None,
    compute: Compute | None = None,
    **given: Any,
) -> DefinedFeed:
    """Define a feed as a file in `defs/` does.

    Args:
        feed: The feed.
        partitions_def: Its partitions; by default what it declares.
        sensor: Name of its sensor.
        downstream: What is computed from its table.
        compute: What computes its rows, if its keys are ad-hoc keys.
        given: What else `feed_assets` takes.
    """

    @feed_assets(feed, partitions_def=partitions_def or build_partitions_def(feed), **given)
    def load(
        context: dg.AssetExecutionContext, landing: LandingResource, warehouse: WarehouseResource
    ) -> Iterator[FeedEvent]:
        files = landing.compute(context, compute) if compute else landing.find(context)
        yield from warehouse.load(context, files)

    job, fetches = feed_job(load), dg.Definitions()
    if feed.fetched_from:
        fetch = fetch_job(load)
        fetches = dg.Definitions(jobs=[fetch], sensors=[fetch_sensor(load, fetch)])
    return DefinedFeed(
        *(load, job, landing_sensor(load, job, name=sensor), downstream or dg.Definitions()),
        fetches,
    )


def define_location(*feeds: DefinedFeed) -> dg.Definitions:
    """Put feeds together with what concerns all of them, and the shipped resources."""
    found = dg.Definitions.merge(*(feed.to_definitions() for feed in feeds))
    shared = dg.Definitions(resources=DEFAULT_RESOURCES, executor=dg.in_process_executor)
    return dg.Definitions.merge(found, watch(found, ()), shared)
