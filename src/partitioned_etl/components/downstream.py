"""Downstream: an asset that is computed from a feed's table follows it, partition by partition.

Takes a feed's assets and a downstream asset; returns the partitions loaded since it was last
computed, the job that computes them, and the sensor that requests it. Dagster's automation
conditions are not used: a load reports its partitions one by one, and a backfill of those present
at a tick would split into one run each.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain

import dagster as dg

from partitioned_etl.components.agenda import MAX_RUNS_AT_ONCE
from partitioned_etl.components.assets import AssetJob, FeedAssets
from partitioned_etl.components.attempts import Attempts
from partitioned_etl.components.ranges import group_into_ranges, request_run
from partitioned_etl.components.runs import list_keys_in_flight, list_keys_of_unfinished_runs
from partitioned_etl.components.wakes import read_follow_interval
from partitioned_etl.engine.plan import MAX_ATTEMPTS
from partitioned_etl.engine.settings import Settings

DOWNSTREAM_TAG = "partitioned_etl/downstream_of"
"""Tag of jobs and sensors with the name of the feed that their asset is computed from."""


@dataclass(frozen=True)
class Downstream:
    """An asset that is computed from a feed's table.

    Attributes:
        key: The asset.
        feed_name: The feed.
        job_name: Name of the job that computes it.
    """

    key: dg.AssetKey
    feed_name: str
    job_name: str


def find_downstream(definitions: dg.Definitions) -> list[Downstream]:
    """Return the assets in definitions that a sensor keeps up to date with a feed's table."""
    found = []
    for sensor in definitions.sensors or ():
        asset, feed_name = sensor.metadata.get("asset"), sensor.tags.get(DOWNSTREAM_TAG)
        if feed_name and isinstance(asset, dg.DagsterAssetMetadataValue):
            found.append(Downstream(asset.asset_key, feed_name, sensor.job_name or ""))
    return found


@dataclass
class DownstreamCursor:
    """What a downstream sensor remembers between ticks.

    Attributes:
        until: The load asset's event up to which everything loaded is computed.
        attempts: Per key that was requested but is not computed: for which event of its load, how
            often, and when last.
    """

    until: int = 0
    attempts: Attempts = field(default_factory=Attempts)

    @classmethod
    def parse(cls, text: str | None) -> "DownstreamCursor":
        """Read a cursor; return an empty one if it cannot be read."""
        try:
            values = json.loads(text or "{}")
            return cls(int(values["until"]), Attempts.parse(values["attempts"]["of_key"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls()

    def __str__(self) -> str:
        """Return the cursor as compact JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))


def list_latest_events(instance: dg.DagsterInstance, asset: dg.AssetKey) -> Mapping[str, int]:
    """Return, per partition key, the event of an asset's latest materialization."""
    return instance.get_latest_storage_id_by_partition(
        asset, dg.DagsterEventType.ASSET_MATERIALIZATION
    )


def list_stale_keys(
    instance: dg.DagsterInstance,
    load_key: dg.AssetKey,
    downstream: dg.AssetKey,
    since: int = 0,
) -> dict[str, int]:
    """Find partitions that were loaded after the downstream asset was last computed.

    Args:
        instance: The Dagster instance.
        load_key: The feed's load asset.
        downstream: The downstream asset.
        since: Only later events of the load asset are considered.

    Returns:
        Per partition key, the event of its latest load.
    """
    loaded = list_latest_events(instance, load_key)
    loaded = {key: event_id for key, event_id in loaded.items() if event_id > since}
    if not loaded:
        return {}
    computed = list_latest_events(instance, downstream)
    return {key: at for key, at in loaded.items() if computed.get(key, 0) < at}


def downstream_job(
    definition: dg.AssetsDefinition, *, name: str, feed: dg.AssetsDefinition
) -> AssetJob:
    """Build the job that computes partitions of a downstream asset, in one step.

    Args:
        definition: The downstream asset.
        name: The job's name.
        feed: The assets of the feed that it is computed from.
    """
    feed_name = FeedAssets.of(feed).feed.name
    return dg.define_asset_job(
        name,
        selection=[definition],
        description=(
            f"Compute {definition.key.to_user_string()} again from feed {feed_name}: one partition "
            "or a range."
        ),
        tags={DOWNSTREAM_TAG: feed_name},
    )


def downstream_sensor(
    definition: dg.AssetsDefinition,
    job: AssetJob,
    *,
    feed: dg.AssetsDefinition,
    name: str,
) -> dg.SensorDefinition:
    """Build the sensor that keeps a downstream asset up to date with a feed's table.

    Like the landing sensors it is level-triggered: it compares the load asset's events with those
    of the downstream asset. Partitions that a run fails to compute are requested three times, then
    once an hour.

    Args:
        definition: The downstream asset, with the partitions of the feed.
        job: Its job.
        feed: The assets of the feed that it is computed from.
        name: The sensor's name.
    """
    assets, downstream = FeedAssets.of(feed), definition.key
    feed_name, load_key = assets.feed.name, assets.load_key

    @dg.sensor(
        name=name,
        job=job,
        minimum_interval_seconds=read_follow_interval(),
        default_status=dg.DefaultSensorStatus.RUNNING,
        tags={DOWNSTREAM_TAG: feed_name},
        metadata={"asset": dg.MetadataValue.asset(downstream)},
        description=(
            f"Computes a partition of {downstream.to_user_string()} when it was loaded again."
        ),
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        instance, cursor = context.instance, DownstreamCursor.parse(context.cursor)
        latest = instance.fetch_materializations(load_key, limit=1).records
        if not instance.fetch_materializations(downstream, limit=1).records:
            # Nothing was computed yet, or a person wiped all of it.
            cursor.until = 0
        if not latest or latest[0].storage_id == cursor.until:
            return dg.SkipReason(f"feed {feed_name}: nothing was loaded since the last run")
        known = assets.partitions.list_keys(instance)
        computing = list_keys_of_unfinished_runs(
            instance,
            known,
            lambda run: run.job_name == job.name or downstream in (run.asset_selection or ()),
        )
        # A load in progress reports its partitions one by one; one run should take them all.
        busy = computing | list_keys_in_flight(instance, assets, known)
        found = list_stale_keys(instance, load_key, downstream, cursor.until)
        stale = {key: found[key] for key in known if key in found}
        cursor.until = min(stale.values()) - 1 if stale else latest[0].storage_id
        attempts = cursor.attempts
        attempts.keep({key for key, at in stale.items() if attempts.count(key, str(at))})
        free = [key for key in stale if key not in busy]
        wanted = [key for key in free if attempts.count(key, str(stale[key])) < MAX_ATTEMPTS]
        most = Settings().max_files_per_run
        some = wanted[: max(0, 2 * most - len(computing))]
        ranges = group_into_ranges(some, known, most)[:MAX_RUNS_AT_ONCE]
        if not ranges:
            given_up = [] if wanted else free
            return dg.SensorResult(skip_reason=_tell(feed_name, given_up, busy), cursor=str(cursor))
        for key in chain.from_iterable(ranges):
            attempts.note(key, str(stale[key]))
        requests = [request_run(keys) for keys in ranges]
        context.log.info(f"feed {feed_name}: requested {len(requests)} run(s) of {job.name}")
        return dg.SensorResult(run_requests=requests, cursor=str(cursor))

    return sensor


def _tell(feed_name: str, given_up: Sequence[str], busy: Collection[str]) -> str:
    """Return why no run is requested."""
    if shown := ", ".join(map(ascii, given_up[:20])):
        return (
            f"feed {feed_name}: not computed, {MAX_ATTEMPTS} runs did not do it; requested once an "
            f"hour: {shown}"
        )
    if busy:
        return f"feed {feed_name}: waiting for runs that are under way"
    return f"feed {feed_name}: all is computed"
