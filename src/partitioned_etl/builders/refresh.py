"""Refresh: a downstream asset follows a feed's table, partition by partition.

Takes a feed's load asset and a downstream asset; returns the partitions loaded since its last
refresh, the job that refreshes them, and the sensor that requests it. Dagster's automation
conditions are not used: a load reports its partitions one by one, and a backfill of those present
at a tick would split into one run each.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain

import dagster as dg

from partitioned_etl.builders.attempts import count_attempts, note_attempt, parse_attempts
from partitioned_etl.builders.jobs import AssetJob
from partitioned_etl.builders.partitions import list_partition_keys
from partitioned_etl.builders.ranges import group_into_ranges, range_tags
from partitioned_etl.builders.reconciliation import RemoveGone
from partitioned_etl.builders.runs import list_keys_in_flight, list_keys_of_unfinished_runs
from partitioned_etl.builders.sensors import MAX_RUNS_PER_TICK, read_tick_interval
from partitioned_etl.ingest.feed import Feed
from partitioned_etl.ingest.reconcile import MAX_ATTEMPTS
from partitioned_etl.ingest.settings import read_settings


@dataclass(frozen=True)
class Refresh:
    """An asset downstream of a feed's table, and what keeps it up to date.

    Attributes:
        asset: The asset, with the partitions of the feed.
        job: Refreshes one partition key or a range.
        sensor: Starts the job when a partition was loaded again.
        remove_gone: Removes what was made of removed partitions, if it outlasts them.
    """

    asset: dg.AssetsDefinition
    job: AssetJob
    sensor: dg.SensorDefinition
    remove_gone: RemoveGone | None = None

    def to_definitions(self) -> dg.Definitions:
        """Return all of it for Dagster."""
        return dg.Definitions(assets=[self.asset], jobs=[self.job], sensors=[self.sensor])


@dataclass
class Cursor:
    """What a refresh sensor remembers between ticks.

    Attributes:
        until: The load asset's event up to which everything loaded is refreshed.
        asked: Per key that was requested but is not refreshed: the event of its load, how often,
            and when last, in seconds since 1970.
    """

    until: int = 0
    asked: dict[str, tuple[int, int, int]] = field(default_factory=dict)

    def attempts(self, key: str, event_id: int) -> int:
        """Return how often a key was requested since its load."""
        return count_attempts(self.asked, key, event_id)

    def note(self, key: str, event_id: int) -> None:
        """Record that a key is requested now."""
        note_attempt(self.asked, key, event_id)

    @classmethod
    def parse(cls, text: str | None) -> "Cursor":
        """Read a cursor; return an empty one if it cannot be read."""
        try:
            values = json.loads(text or "{}")
            return cls(int(values["until"]), parse_attempts(values["asked"], int))
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls()

    def __str__(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))


def list_latest_events(instance: dg.DagsterInstance, asset: dg.AssetKey) -> Mapping[str, int]:
    """Return, per partition key, the event of an asset's latest materialization."""
    return instance.get_latest_storage_id_by_partition(
        asset, dg.DagsterEventType.ASSET_MATERIALIZATION
    )


def list_stale_keys(
    instance: dg.DagsterInstance,
    load_key: dg.AssetKey,
    made: dg.AssetKey,
    since: int = 0,
) -> dict[str, int]:
    """Find partitions that were loaded after the downstream asset was last refreshed.

    Args:
        instance: The Dagster instance.
        load_key: The feed's load asset.
        made: The downstream asset.
        since: Only later events of the load asset are considered.

    Returns:
        Per partition key, the event of its latest load.
    """
    loaded = list_latest_events(instance, load_key)
    loaded = {key: event_id for key, event_id in loaded.items() if event_id > since}
    if not loaded:
        return {}
    refreshed = list_latest_events(instance, made)
    return {key: at for key, at in loaded.items() if refreshed.get(key, 0) < at}


def build_refresh(
    feed: Feed,
    asset: dg.AssetsDefinition,
    partitions_def: dg.PartitionsDefinition,
    *,
    load_asset: str,
    job: str,
    job_description: str,
    sensor: str,
    sensor_description: str,
    remove_gone: RemoveGone | None = None,
) -> Refresh:
    """Build what keeps an asset up to date with a feed's table.

    Args:
        feed: The feed.
        asset: The downstream asset, with the feed's partitions.
        partitions_def: The partitions of both.
        load_asset: Key of the feed's load asset.
        job: Name of the job.
        job_description: What it does, in one sentence.
        sensor: Name of the sensor.
        sensor_description: What it does, in one sentence.
        remove_gone: Removes what was made of removed partitions, if it outlasts them.
    """
    refresh_job = dg.define_asset_job(
        job,
        selection=[asset],
        description=job_description,
        executor_def=dg.in_process_executor,
    )
    refresh_sensor = build_refresh_sensor(
        feed,
        refresh_job,
        partitions_def,
        load_asset=load_asset,
        made=asset.key,
        name=sensor,
        description=sensor_description,
    )
    return Refresh(asset, refresh_job, refresh_sensor, remove_gone)


def build_refresh_sensor(
    feed: Feed,
    job: AssetJob,
    partitions_def: dg.PartitionsDefinition,
    *,
    load_asset: str,
    made: dg.AssetKey,
    name: str,
    description: str,
) -> dg.SensorDefinition:
    """Build the sensor that refreshes an asset downstream of a feed's table.

    Like the landing sensors it is level-triggered: it compares the load asset's events with those
    of the downstream asset. Partitions that a run fails to refresh are requested three times, then
    once an hour.

    Args:
        feed: The feed.
        job: The job that refreshes one partition key or a range.
        partitions_def: The feed's partitions.
        load_asset: Key of the feed's load asset.
        made: The downstream asset that the job refreshes.
        name: The sensor's name.
        description: What it does, in one sentence.
    """
    load_key = dg.AssetKey(load_asset)

    @dg.sensor(
        name=name,
        job=job,
        minimum_interval_seconds=read_tick_interval(),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=description,
    )
    def refresh_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        instance, cursor = context.instance, Cursor.parse(context.cursor)
        latest = instance.fetch_materializations(load_key, limit=1).records
        if not instance.fetch_materializations(made, limit=1).records:
            # Nothing was refreshed yet, or a person wiped all of it.
            cursor.until = 0
        if not latest or latest[0].storage_id == cursor.until:
            return dg.SkipReason(f"feed {feed.name}: nothing was loaded since the last refresh")
        known = list_partition_keys(partitions_def, instance)
        refreshing = list_keys_of_unfinished_runs(
            instance,
            known,
            lambda run: run.job_name == job.name or made in (run.asset_selection or ()),
        )
        # A load in progress reports its partitions one by one; one run should take them all.
        busy = refreshing | list_keys_in_flight(instance, feed, load_key, known)
        found = list_stale_keys(instance, load_key, made, cursor.until)
        stale = {key: found[key] for key in known if key in found}
        cursor.until = min(stale.values()) - 1 if stale else latest[0].storage_id
        cursor.asked = {
            key: asked for key, asked in cursor.asked.items() if stale.get(key) == asked[0]
        }
        free = [key for key in stale if key not in busy]
        wanted = [key for key in free if cursor.attempts(key, stale[key]) < MAX_ATTEMPTS]
        most = read_settings().max_files_per_run
        some = wanted[: max(0, 2 * most - len(refreshing))]
        ranges = group_into_ranges(some, known, most)[:MAX_RUNS_PER_TICK]
        if not ranges:
            given_up = [] if wanted else free
            return dg.SensorResult(skip_reason=_tell(feed, given_up, busy), cursor=str(cursor))
        for key in chain.from_iterable(ranges):
            cursor.note(key, stale[key])
        requests = [
            dg.RunRequest(partition_key=keys[0] if len(keys) == 1 else None, tags=range_tags(keys))
            for keys in ranges
        ]
        context.log.info(f"feed {feed.name}: requested {len(requests)} run(s) of {job.name}")
        return dg.SensorResult(run_requests=requests, cursor=str(cursor))

    return refresh_sensor


def _tell(feed: Feed, given_up: Sequence[str], busy: Collection[str]) -> str:
    """Return why no run is requested."""
    if shown := ", ".join(map(ascii, given_up[:20])):
        return (
            f"feed {feed.name}: not refreshed, {MAX_ATTEMPTS} runs did not do it; requested once "
            f"an hour: {shown}"
        )
    if busy:
        return f"feed {feed.name}: waiting for runs that are under way"
    return f"feed {feed.name}: all is refreshed"
