"""Runs: which runs of a feed are still in progress, and which only appear to be.

Takes the Dagster instance; marks as failed the runs whose worker process is gone, and returns the
keys of unfinished runs and the partitions that a run loaded without reporting them to Dagster.
Otherwise, a run left behind by a crash would keep its partitions and its pool slot until the
maximum run time. What a run does belongs in `assets.py`.
"""

import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

import dagster as dg

from partitioned_etl.builders.jobs import FEED_TAG
from partitioned_etl.builders.ranges import keys_of_run
from partitioned_etl.ingest.feed import Feed
from partitioned_etl.ingest.ledger import LedgerRow, LoadStatus

logger = logging.getLogger(__name__)

UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
PROCESS_TAG = "partitioned_etl/process_id"
"""Run tag with the id of the process that created the run and executes it itself."""
# A queued run needs neither a worker nor the process that queued it.
_NEEDS_PROCESS = [status for status in UNFINISHED if status is not dg.DagsterRunStatus.QUEUED]
_CLOCK_TOLERANCE_SECONDS = 5.0
_LAUNCH_SECONDS = 300.0
"""How long a run may take from creation to being queued, with all its partitions."""
_RUNS_PER_QUERY = 500


def list_keys_in_flight(
    instance: dg.DagsterInstance, feed: Feed, load_key: dg.AssetKey, ordered: Sequence[str]
) -> set[str]:
    """Return the partition keys of a feed that a queued or running run is going to load.

    A run of the feed's job has the feed's tag. One that a person starts at the asset in the web UI
    has none, but names the assets.

    Args:
        instance: The Dagster instance.
        feed: The feed.
        load_key: The feed's load asset.
        ordered: All partition keys, in the order used by ranges.
    """
    return list_keys_of_unfinished_runs(
        instance,
        ordered,
        lambda run: run.tags.get(FEED_TAG) == feed.name or load_key in (run.asset_selection or ()),
    )


def list_keys_of_unfinished_runs(
    instance: dg.DagsterInstance,
    ordered: Sequence[str],
    is_wanted: Callable[[dg.DagsterRun], bool],
) -> set[str]:
    """Return the partition keys of queued and running runs.

    Args:
        instance: The Dagster instance.
        ordered: All partition keys, in the order used by ranges.
        is_wanted: Whether a run counts.
    """
    records = instance.get_run_records(dg.RunsFilter(statuses=UNFINISHED))
    runs = (record.dagster_run for record in records)
    return {key for run in runs if is_wanted(run) for key in keys_of_run(run.tags, ordered)}


def list_unreported_keys(
    instance: dg.DagsterInstance,
    load_key: dg.AssetKey,
    ledger: Iterable[LedgerRow],
    since: float = 0.0,
) -> tuple[set[str], float]:
    """Find partitions that a run loaded but did not report, because it was ended first.

    The rows are in the table, but Dagster shows the partition as failed and refreshes no downstream
    assets.

    Args:
        instance: The Dagster instance.
        load_key: The feed's load asset.
        ledger: The feed's ledger rows.
        since: Time up to which loads are known to be reported, in seconds since 1970.

    Returns:
        The partition keys, and the time up to which loads are now known to be reported.
    """
    loads: dict[str, dict[str, float]] = defaultdict(dict)
    for row in ledger:
        loaded_at = row.loaded_at.timestamp() if row.loaded_at else 0.0
        if row.status == LoadStatus.LOADED and row.run_id and loaded_at > since:
            loads[row.run_id][row.partition_key] = loaded_at
    if not loads:
        return set(), since
    latest = max(max(of_run.values()) for of_run in loads.values())
    unreported: set[str] = set()
    open_loads: list[float] = []
    for run in _list_unsuccessful_runs(instance, list(loads)):
        of_run = loads[run.run_id]
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


def fail_runs_without_worker(
    instance: dg.DagsterInstance,
    *,
    feed: Feed | None = None,
    location_name: str | None = None,
    log: logging.Logger = logger,
) -> list[str]:
    """Mark as failed the runs that nothing is going to start or finish.

    Those are runs whose worker process does not exist, and runs that were created but never queued
    because their creator was killed in between; Dagster ignores these. It applies only with
    Dagster's default run launcher, whose workers are processes on this machine. The worker's
    process id comes from the run's own event log or tag; a process started after that was written
    merely reuses the id. Should the verdict ever be wrong, because the clock was set forward during
    a live run, the load is done twice, one after the other.

    Args:
        instance: The Dagster instance.
        feed: The feed whose runs are checked, plus those of no feed; None for all.
        location_name: The code location whose runs are checked, plus those of none, such as the
            command line's; None for all.
        log: Where each is reported.

    Returns:
        The ids of the runs that were marked.
    """
    if not isinstance(instance.run_launcher, dg.DefaultRunLauncher):
        return []
    failed = []
    for record in instance.get_run_records(dg.RunsFilter(statuses=_NEEDS_PROCESS)):
        run = record.dagster_run
        origin = run.remote_job_origin
        if origin and location_name and origin.location_name != location_name:
            continue
        if feed and run.tags.get(FEED_TAG, feed.name) != feed.name:
            continue
        reason = _find_why_it_cannot_go_on(instance, record)
        if not reason:
            continue
        current = instance.get_run_by_id(run.run_id)
        if current is None or current.is_finished:
            continue
        log.warning(f"run {run.run_id} is marked as failed: {reason}")
        instance.report_run_failed(run, f"The run cannot go on: {reason}.")
        failed.append(run.run_id)
    free_pools_of_finished_runs(instance)
    return failed


def free_pools_of_finished_runs(instance: dg.DagsterInstance) -> None:
    """Free the pool slots still held by finished runs, such as killed ones.

    Run monitoring does the same, but some seconds later and only while Dagster's daemon runs.
    """
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return
    for run_id in storage.get_concurrency_run_ids():
        run = instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            storage.free_concurrency_slots_for_run(run_id)


def _find_why_it_cannot_go_on(instance: dg.DagsterInstance, record: dg.RunRecord) -> str:
    """Return why an unfinished run cannot go on; empty if it can, or this is unknown."""
    worker = _find_worker(instance, record)
    if worker:
        if _is_alive(*worker):
            return ""
        return f"its worker process {worker[0]} is gone: killed, or the machine was restarted"
    age_seconds = time.time() - record.create_timestamp.timestamp()
    is_waiting = record.dagster_run.status is dg.DagsterRunStatus.NOT_STARTED
    if is_waiting and age_seconds > _LAUNCH_SECONDS:
        return f"it was made {age_seconds:.0f} s ago, and whoever made it has not launched it"
    return ""


def _find_worker(instance: dg.DagsterInstance, record: dg.RunRecord) -> tuple[int, float] | None:
    """Return process id and the time of its record, from the run's event log or tag."""
    run = record.dagster_run
    for entry in reversed(instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)):
        event = entry.dagster_event
        metadata = event.engine_event_data.metadata if event else {}
        if "pid" in metadata:
            return int(str(metadata["pid"].value)), entry.timestamp
    # A run re-executed from another run's page inherits its tags, but has an origin.
    process_id = "" if run.remote_job_origin else run.tags.get(PROCESS_TAG, "")
    if process_id.isdecimal():
        return int(process_id), record.create_timestamp.timestamp()
    return None


def _is_alive(process_id: int, written_at: float) -> bool:
    # Every process of the code location imports this module; few look up another process.
    import psutil

    try:
        process = psutil.Process(process_id)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return process.create_time() <= written_at + _CLOCK_TOLERANCE_SECONDS
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
