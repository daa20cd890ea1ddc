"""Runs: which partitions unfinished runs have, and which a run loaded without saying so.

Takes the Dagster instance; returns partition keys. Next: the agenda leaves out what a run has, and
requests again what was not reported. Runs whose worker is gone belong in `orphans.py`.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime

import dagster as dg

from partitioned_etl.components.assets import FeedAssets
from partitioned_etl.components.events import FEED_TAG
from partitioned_etl.components.ranges import keys_of_run
from partitioned_etl.engine.unchanged import LoadOfRun

UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_RUNS_PER_QUERY = 500


def list_keys_in_flight(
    instance: dg.DagsterInstance, assets: FeedAssets, known: Sequence[str]
) -> set[str]:
    """Return the partition keys of a feed that a queued or running run is going to load.

    A run of the feed's job has the feed's tag. One that a person starts at the asset in the web UI
    has none, but names the assets.

    Args:
        instance: The Dagster instance.
        assets: The feed's assets.
        known: All partition keys, in the order used by ranges.
    """
    name, load_key = assets.feed.name, assets.load_key
    return list_keys_of_unfinished_runs(
        instance,
        known,
        lambda run: run.tags.get(FEED_TAG) == name or load_key in (run.asset_selection or ()),
    )


def list_keys_of_unfinished_runs(
    instance: dg.DagsterInstance,
    known: Sequence[str],
    is_wanted: Callable[[dg.DagsterRun], bool],
) -> set[str]:
    """Return the partition keys of queued and running runs.

    Args:
        instance: The Dagster instance.
        known: All partition keys, in the order used by ranges.
        is_wanted: Whether a run counts.
    """
    records = instance.get_run_records(dg.RunsFilter(statuses=UNFINISHED))
    runs = (record.dagster_run for record in records)
    return {key for run in runs if is_wanted(run) for key in keys_of_run(run.tags, known)}


def list_unreported_keys(
    instance: dg.DagsterInstance,
    load_key: dg.AssetKey,
    loads: Iterable[LoadOfRun],
    since: float = 0.0,
) -> tuple[set[str], float]:
    """Find partitions that a run loaded but did not report, because it was ended first.

    The rows are in the table, but Dagster shows the partition as failed and refreshes no downstream
    assets.

    Args:
        instance: The Dagster instance.
        load_key: The feed's load asset.
        loads: Which runs loaded what the feed's table holds, after that time.
        since: Time up to which loads are known to be reported, in seconds since 1970.

    Returns:
        The partition keys, and the time up to which loads are now known to be reported.
    """
    by_run: dict[str, dict[str, float]] = defaultdict(dict)
    for load in loads:
        by_run[load.run_id][load.partition_key] = load.seconds
    if not by_run:
        return set(), since
    latest = max(max(of_run.values()) for of_run in by_run.values())
    unreported: set[str] = set()
    open_loads: list[float] = []
    for run in _list_unsuccessful_runs(instance, list(by_run)):
        of_run = by_run[run.run_id]
        if run.is_finished:
            events = instance.all_logs(run.run_id, dg.DagsterEventType.ASSET_MATERIALIZATION)
            reported = {
                entry.dagster_event.partition
                for entry in events
                if entry.dagster_event and entry.dagster_event.asset_key == load_key
            }
            of_run = {key: at for key, at in of_run.items() if key not in reported}
            unreported |= of_run.keys()
        open_loads += of_run.values()
    # Timestamps of one load are equal; the smallest step back still includes all of them.
    return unreported, math.nextafter(min(open_loads), 0) if open_loads else latest


def _list_unsuccessful_runs(
    instance: dg.DagsterInstance, run_ids: Sequence[str]
) -> Iterator[dg.DagsterRun]:
    for start in range(0, len(run_ids), _RUNS_PER_QUERY):
        some = list(run_ids[start : start + _RUNS_PER_QUERY])
        for record in instance.get_run_records(dg.RunsFilter(run_ids=some)):
            if not record.dagster_run.is_success:
                yield record.dagster_run


def describe_failure(steps: Sequence[dg.DagsterEvent]) -> str:
    """Return the message of the first failed step that has one; empty if none has.

    Args:
        steps: The step failure events of a run.
    """
    for event in steps:
        data = event.step_failure_data
        if data.user_failure_data and data.user_failure_data.description:
            return data.user_failure_data.description
        if data.error:
            return (data.error.cause or data.error).message.strip()
    return ""


def list_keys_that_could_not_start(
    instance: dg.DagsterInstance, assets: FeedAssets, since: float
) -> tuple[set[str], float]:
    """Return the partition keys of a feed's runs that failed before they started.

    Args:
        instance: The Dagster instance.
        assets: The feed's assets.
        since: Time up to which failed runs were looked at, in seconds since 1970.

    Returns:
        The partition keys, and the time up to which failed runs have now been looked at.
    """
    failed = dg.RunsFilter(
        statuses=[dg.DagsterRunStatus.FAILURE],
        tags={FEED_TAG: assets.feed.name},
        updated_after=datetime.fromtimestamp(since, UTC),
    )
    records = [
        record
        for record in instance.get_run_records(failed)
        if record.update_timestamp.timestamp() > since
    ]
    latest = max((record.update_timestamp.timestamp() for record in records), default=since)
    not_started = [record for record in records if record.start_time is None]
    if not not_started:
        return set(), latest
    known = assets.partitions.list_keys(instance)
    keys = (keys_of_run(record.dagster_run.tags, known) for record in not_started)
    return {key for of_run in keys for key in of_run}, latest
