"""Orphans: runs that appear to be in progress, and that nothing is going to start or finish.

Takes the Dagster instance; marks them as failed. Otherwise, a run left behind by a crash would keep
its partitions and its pool slot until the maximum run time. It applies only with Dagster's default
run launcher, whose workers are processes on this machine; any other looks after its own.
"""

import os
import socket
import time
from logging import Logger, getLogger

import dagster as dg

from partitioned_etl.components.events import FEED_TAG
from partitioned_etl.components.runs import UNFINISHED

logger = getLogger(__name__)

PROCESS_TAG = "partitioned_etl/process"
"""Run tag with the process that created the run and executes it itself: its id, `@`, its host."""
# A queued run needs neither a worker nor the process that queued it.
_NEEDS_PROCESS = [status for status in UNFINISHED if status is not dg.DagsterRunStatus.QUEUED]
_CLOCK_TOLERANCE_SECONDS = 5.0
_LAUNCH_SECONDS = 300.0
"""How long a run may take from creation to being queued, with all its partitions."""


def name_this_process() -> str:
    """Return the value of the process tag for this process."""
    return f"{os.getpid()}@{socket.gethostname()}"


def fail_runs_without_worker(
    instance: dg.DagsterInstance,
    *,
    feed_name: str = "",
    location_name: str = "",
    log: Logger = logger,
) -> list[str]:
    """Mark orphaned runs as failed.

    Those are runs whose worker process does not exist, and runs that were created but never queued
    because their creator was killed in between; Dagster ignores these. The worker's process id
    comes from the run's own event log or tag; a process started after that was written merely
    reuses the id. Should the verdict ever be wrong, because the clock was set forward during a live
    run, the load is done twice, one after the other. Runs whose worker may be on another machine
    are left alone: those of a command there and, for a command, those of a code server whose
    instance is in a database.

    Args:
        instance: The Dagster instance.
        feed_name: The feed whose runs are looked at, plus those of no feed; empty for all.
        location_name: The code location whose runs are looked at, plus those of none, such as the
            command line's; empty for all.
        log: Where each is reported.

    Returns:
        The ids of the runs that were marked.
    """
    if not isinstance(instance.run_launcher, dg.DefaultRunLauncher):
        return []
    failed, leaves_servers = [], not location_name and _is_shared(instance)
    for record in instance.get_run_records(dg.RunsFilter(statuses=_NEEDS_PROCESS)):
        run = record.dagster_run
        origin = run.remote_job_origin
        if leaves_servers if origin else _is_elsewhere(run):
            continue
        if origin and location_name and origin.location_name != location_name:
            continue
        if feed_name and run.tags.get(FEED_TAG, feed_name) != feed_name:
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
    tag = "" if run.remote_job_origin else run.tags.get(PROCESS_TAG, "")
    process_id, _, _ = tag.partition("@")
    if process_id.isdecimal():
        return int(process_id), record.create_timestamp.timestamp()
    return None


def _is_elsewhere(run: dg.DagsterRun) -> bool:
    """Return whether a command on another machine executes a run."""
    _, _, host = run.tags.get(PROCESS_TAG, "").partition("@")
    return host not in ("", socket.gethostname())


def _is_shared(instance: dg.DagsterInstance) -> bool:
    """Return whether other machines may use an instance: its storage is not in local files."""
    return "sqlite" not in str(instance.info_dict()["run_storage"]).lower()


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
