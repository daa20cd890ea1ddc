"""Sync: bring every feed up to date with the landing directory via Dagster, without its daemon.

It plans as the sensors do, executes the feeds' jobs in this process on the same Dagster instance as
`dagster dev`, and refreshes downstream assets. Next: `report.py` prints the result.
"""

import os
import sys
import time
import warnings
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import nullcontext, redirect_stdout
from uuid import uuid4

import click
import dagster as dg

from partitioned_etl import definitions
from partitioned_etl.builders.jobs import AssetJob
from partitioned_etl.builders.partitions import (
    add_names,
    find_dynamic,
    list_names,
    list_partition_keys,
    register_names,
)
from partitioned_etl.builders.pipelines import FeedPipeline
from partitioned_etl.builders.ranges import group_into_ranges, range_tags
from partitioned_etl.builders.refresh import list_stale_keys
from partitioned_etl.builders.runs import (
    PROCESS_TAG,
    describe_failure,
    fail_runs_without_worker,
    list_keys_in_flight,
    list_unreported_keys,
)
from partitioned_etl.cli.interrupts import watch_interrupts
from partitioned_etl.cli.location import choose_pipelines, open_instance, plan_pipeline
from partitioned_etl.cli.progress_bar import show_progress
from partitioned_etl.cli.report import FeedResult, print_report
from partitioned_etl.ingest.errors import PartitionedEtlError, WarehouseLockedError
from partitioned_etl.ingest.ledger import LoadStatus
from partitioned_etl.ingest.reconcile import Step, choose_files, find_removable
from partitioned_etl.ingest.settings import Settings, read_settings

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""Runs report through their events; what a person needs to know is printed here, as one line."""


def sync_feeds(feed_name: str | None, *, as_json: bool) -> int:
    """Bring the feeds up to date and print what every table holds.

    Args:
        feed_name: The one feed to load; None for all.
        as_json: Whether to print JSON instead of a table; progress messages then go to standard
            error.

    Returns:
        0 if everything that landed is loaded or waits for its marker file, 1 if a file was refused
        or something failed, 2 if a feed could not be tried.

    Raises:
        SettingError: A setting is invalid.
        FeedDefinitionError: There is no such feed.
    """
    settings = read_settings()
    chosen = choose_pipelines(feed_name)
    results: list[FeedResult] = []
    errors: list[str] = []
    # Callers need not know which Dagster features are in beta.
    warnings.filterwarnings("ignore", category=dg.BetaWarning)
    with (
        open_instance() as instance,
        redirect_stdout(sys.stderr) if as_json else nullcontext(),
        show_progress(),
    ):
        for run_id in fail_runs_without_worker(instance):
            click.echo(f"run {run_id} was left behind by a process that is gone; marked as failed")
        for pipeline in chosen:
            try:
                results.append(bring_level(instance, pipeline, settings))
            except PartitionedEtlError as error:
                errors.append(f"error: {error}")
                if isinstance(error, WarehouseLockedError):
                    # The other feeds share the database, and each would wait as long.
                    break
    code = print_report(results, errors, settings, as_json=as_json)
    return 2 if errors else code


def bring_level(
    instance: dg.DagsterInstance, pipeline: FeedPipeline, settings: Settings
) -> FeedResult:
    """Load every file of a feed that is new or changed, through its job.

    It waits for files that are still settling or that a run of the daemon is loading.

    Args:
        instance: The Dagster instance that records partition keys and runs.
        pipeline: The feed's pipeline.
        settings: The settings.
    """
    load_key = pipeline.reconciliation.load_key
    attempts: Counter[str] = Counter()
    run_ids: list[str] = []
    reasons: dict[str, str] = {}
    loaded: set[str] = set()
    deadline = time.monotonic() + 30 + 10 * settings.settle_seconds
    while True:
        # Dagster is queried first: the plan then shows what a run loaded in the meantime.
        known = list_partition_keys(pipeline.partitions_def, instance)
        in_flight: set[str] = set()
        if time.monotonic() < deadline:
            in_flight = list_keys_in_flight(instance, pipeline.feed, load_key, known)
        plan = plan_pipeline(pipeline, settings)
        loaded |= {key for key, step in plan.steps.items() if _was_loaded_by(run_ids, step)}
        unreported, _ = list_unreported_keys(instance, load_key, plan.ledger_rows)
        choice = choose_files(
            plan.candidates(unreported),
            lambda file: attempts[file.partition_key],
            in_flight=in_flight,
            most=settings.max_files_per_run,
        )
        wanted = [file.partition_key for file in choice.wanted]
        if wanted:
            for keys, run in _execute(instance, pipeline, pipeline.job, wanted, known, settings):
                run_ids.append(run.run_id)
                reason = describe_failure(run.get_step_failure_events())
                reasons |= dict.fromkeys(keys, reason)
            attempts.update(wanted)
        elif (in_flight or plan.is_settling) and time.monotonic() < deadline:
            time.sleep(min(settings.settle_seconds, 0.2))
        else:
            break
    name, later_runs = pipeline.feed.name, {}
    removal = find_removable(pipeline.feed, plan)
    if removal.keys:
        click.echo(f"{pipeline.reconciliation.job.name}: removing what has no file any more")
        run_id = _execute_job(instance, pipeline.reconciliation.job).run_id
        later_runs[run_id] = f"not removed: partitions of {name} whose files are gone"
        # A dynamic key is removed with its partition, and can no longer be refreshed.
        known = list_partition_keys(pipeline.partitions_def, instance)
        plan = plan_pipeline(pipeline, settings)
    if made := pipeline.refresh:
        stale = list_stale_keys(instance, load_key, made.asset.key).keys() & {*known}
        for _, run in _execute(instance, pipeline, made.job, stale, known, settings):
            later_runs[run.run_id] = f"not refreshed: the assets downstream of {name}"
    failures = [
        f"{what}: run {run_id} failed"
        for run_id, what in later_runs.items()
        if not _has_succeeded(instance, run_id)
    ]
    if removal.brake:
        failures.append(f"not removed: partitions of {name}: {removal.brake}")
    return FeedResult(pipeline, plan, sorted(loaded), failures, reasons)


def _has_succeeded(instance: dg.DagsterInstance, run_id: str) -> bool:
    run = instance.get_run_by_id(run_id)
    return bool(run and run.is_success)


def _was_loaded_by(run_ids: list[str], step: Step) -> bool:
    row = step.ledger_row
    return bool(row and row.run_id in run_ids and row.status == LoadStatus.LOADED)


def _execute(
    instance: dg.DagsterInstance,
    pipeline: FeedPipeline,
    job: AssetJob,
    keys: Collection[str],
    known: list[str],
    settings: Settings,
) -> list[tuple[list[str], dg.ExecuteInProcessResult]]:
    """Execute a job for partition keys, and return the runs, each with its keys."""
    partitions_def = pipeline.partitions_def
    dynamic = find_dynamic(partitions_def)
    if dynamic and dynamic.name:
        unknown = sorted(
            set(list_names(partitions_def, keys)) - set(list_names(partitions_def, known))
        )
        register_names(instance, dynamic.name, unknown)
        known = add_names(partitions_def, known, unknown)
    runs = []
    for group in group_into_ranges(keys, known, settings.max_files_per_run):
        span = f"{group[0]} to {group[-1]}, {len(group)} partitions" if group[1:] else group[0]
        click.echo(f"{job.name}: {span}")
        partition_key = None if group[1:] else group[0]
        runs.append((group, _execute_job(instance, job, partition_key, range_tags(group))))
    return runs


def _execute_job(
    instance: dg.DagsterInstance,
    job: AssetJob,
    partition_key: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> dg.ExecuteInProcessResult:
    run_id = str(uuid4())
    try:
        with watch_interrupts() as raise_interrupt:
            result = definitions.defs.resolve_job_def(job.name).execute_in_process(
                instance=instance,
                partition_key=partition_key,
                tags={**(tags or {}), PROCESS_TAG: str(os.getpid())},
                run_config=_QUIET,
                raise_on_error=False,
                run_id=run_id,
            )
            raise_interrupt()
    except KeyboardInterrupt:
        # A run that was created but never started would keep its partitions from all others.
        run = instance.get_run_by_id(run_id)
        if run and not run.is_finished:
            instance.report_run_failed(run, "The run was interrupted on the command line.")
        raise
    return result
