"""Runs: which runs of a feed are still under way, and which only look it.

Takes the Dagster instance; gives the unfinished runs, after it failed those whose worker process is
gone. Without that, a run that a crash left behind would keep its partitions and its place in the
pool until the longest allowed run time. What a run does is in `assets.py`.
"""

import logging
from collections.abc import Sequence

import dagster as dg
import psutil

from partitioned_etl.builders.jobs import FEED_TAG
from partitioned_etl.builders.partitions import keys_of_run
from partitioned_etl.ingest.feed import Feed

logger = logging.getLogger(__name__)

UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_WITH_WORKER = UNFINISHED[2:]
_CLOCK_TOLERANCE_SECONDS = 5.0


def list_keys_in_flight(
    instance: dg.DagsterInstance, feed: Feed, ordered: Sequence[str]
) -> set[str]:
    """Give the partition keys of a feed that a queued or running run is going to load.

    Args:
        instance: The Dagster instance.
        feed: The feed.
        ordered: All partition keys, in the order that ranges follow.
    """
    filters = dg.RunsFilter(tags={FEED_TAG: feed.name}, statuses=UNFINISHED)
    runs = (record.dagster_run for record in instance.get_run_records(filters))
    return {key for run in runs for key in keys_of_run(run.tags, ordered)}


def fail_runs_without_worker(
    instance: dg.DagsterInstance,
    *,
    feed: Feed | None = None,
    location_name: str | None = None,
    log: logging.Logger = logger,
) -> list[str]:
    """Mark runs as failed whose worker process does not exist any more.

    Only with Dagster's default run launcher, whose workers are processes of this machine. The
    worker's process id comes from the run's own event log; a process that started after that
    event has only got the same number. Should the verdict ever be wrong, because the clock was set
    forward under a living run, the load is done twice, one after the other.

    Args:
        instance: The Dagster instance.
        feed: The feed whose runs are looked at, with those of no feed; None for all.
        location_name: The code location whose runs are looked at, with those of none, such as the
            command line's; None for all.
        log: Where each is told.

    Returns:
        The ids of the runs that were marked.
    """
    if not isinstance(instance.run_launcher, dg.DefaultRunLauncher):
        return []
    failed = []
    for record in instance.get_run_records(dg.RunsFilter(statuses=_WITH_WORKER)):
        run = record.dagster_run
        origin = run.remote_job_origin
        if origin and location_name and origin.location_name != location_name:
            continue
        if feed and run.tags.get(FEED_TAG, feed.name) != feed.name:
            continue
        worker = _worker_of(instance, run.run_id)
        if worker is None or _is_alive(*worker):
            continue
        current = instance.get_run_by_id(run.run_id)
        if current is None or current.is_finished:
            continue
        reason = f"its worker process {worker[0]} is gone: killed, or the machine was restarted"
        log.warning(f"run {run.run_id} is marked as failed: {reason}")
        instance.report_run_failed(run, f"The run cannot go on: {reason}.")
        failed.append(run.run_id)
    free_pools_of_finished_runs(instance)
    return failed


def free_pools_of_finished_runs(instance: dg.DagsterInstance) -> None:
    """Give back the places in pools that runs kept which were killed.

    Run monitoring does the same, some seconds later and only while Dagster's daemon runs.
    """
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return
    for run_id in storage.get_concurrency_run_ids():
        run = instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            storage.free_concurrency_slots_for_run(run_id)


def _worker_of(instance: dg.DagsterInstance, run_id: str) -> tuple[int, float] | None:
    """Give process id and the time that it was written down, from the run's event log."""
    for entry in reversed(instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)):
        event = entry.dagster_event
        metadata = event.engine_event_data.metadata if event else {}
        if "pid" in metadata:
            return int(str(metadata["pid"].value)), entry.timestamp
    return None


def _is_alive(process_id: int, written_at: float) -> bool:
    try:
        process = psutil.Process(process_id)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return process.create_time() <= written_at + _CLOCK_TOLERANCE_SECONDS
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
