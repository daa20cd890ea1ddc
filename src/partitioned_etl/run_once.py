"""Run once: bring every feed level with the landing directory through Dagster, without its daemon.

It plans as the sensors do, executes the feeds' jobs in this process on the same Dagster instance as
`dagster dev`, refreshes what is made from them, and prints what every table holds. It is a front,
like the UI: it decides nothing about files.
"""

import os
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
from dotenv import load_dotenv
from tabulate import tabulate

from partitioned_etl.builders.jobs import AssetJob
from partitioned_etl.builders.partitions import (
    add_names,
    find_dynamic,
    group_into_ranges,
    list_files_in_window,
    list_names,
    list_partition_keys,
    range_tags,
)
from partitioned_etl.builders.pipelines import FeedPipeline
from partitioned_etl.builders.runs import (
    fail_runs_without_worker,
    list_keys_in_flight,
    list_unreported_keys,
)
from partitioned_etl.definitions import defs, pipelines
from partitioned_etl.ingest.errors import PartitionedEtlError
from partitioned_etl.ingest.ledger import LoadStatus
from partitioned_etl.ingest.reconcile import MAX_ATTEMPTS, Action, Plan, Step, find_removable
from partitioned_etl.ingest.settings import Settings, project_dir, read_settings
from partitioned_etl.ingest.sync import plan_feed

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""Runs report by their events; what a person needs of them is printed here, as one line."""
_HEADERS = ("feed", "partition key", "file", "rows", "status", "loaded at")


@dataclass
class FeedResult:
    """What one feed came to.

    Attributes:
        pipeline: The feed's pipeline.
        plan: The plan after the last load: what is loaded, refused or not loaded.
        loaded_keys: Partition keys that this call loaded.
        failures: What was to be done after the loads and failed, one sentence each.
    """

    pipeline: FeedPipeline
    plan: Plan
    loaded_keys: list[str]
    failures: list[str]


def main() -> int:
    """Bring every feed level, print a table, and give the exit code.

    Returns:
        0 if all that landed is loaded, 1 if a file was refused or could not be loaded, 2 if
        nothing could be tried, such as for a setting that cannot be used.
    """
    load_dotenv(project_dir() / ".env", encoding="utf-8")
    if "DAGSTER_HOME" not in os.environ and (project_dir() / "dagster.yaml").is_file():
        # The folders that dagster.yaml names are relative to the working directory.
        os.chdir(project_dir())
        os.environ["DAGSTER_HOME"] = str(project_dir())
    has_home = "DAGSTER_HOME" in os.environ
    settings = read_settings()
    results: list[FeedResult] = []
    with dg.DagsterInstance.get() if has_home else dg.DagsterInstance.ephemeral() as instance:
        for run_id in fail_runs_without_worker(instance):
            print(f"run {run_id} was left behind by a process that is gone; marked as failed")
        failed = False
        for pipeline in pipelines:
            try:
                results.append(bring_level(instance, pipeline, settings))
            except PartitionedEtlError as error:
                print(f"error: {error}", file=sys.stderr)
                failed = True
    code = print_report(results, settings) if results else 0
    return 2 if failed else code


def bring_level(
    instance: dg.DagsterInstance, pipeline: FeedPipeline, settings: Settings
) -> FeedResult:
    """Load every file of a feed that is new or changed, through its job.

    Files that are still settling, or that a run of the daemon is loading, are waited for.

    Args:
        instance: The Dagster instance that gets partition keys and runs.
        pipeline: The feed's pipeline.
        settings: The settings.
    """
    attempts: dict[str, int] = {}
    run_ids: list[str] = []
    loaded: set[str] = set()
    deadline = time.monotonic() + 30 + 10 * settings.settle_seconds
    while True:
        known = list_partition_keys(pipeline.partitions_def, instance)
        plan = _plan(pipeline, known, settings)
        loaded |= {key for key, step in plan.steps.items() if _was_loaded_by(run_ids, step)}
        in_flight: set[str] = set()
        if time.monotonic() < deadline:
            in_flight = list_keys_in_flight(instance, pipeline.feed, known)
        unreported, _ = list_unreported_keys(
            instance, pipeline.reconciliation.load_key, plan.ledger_rows
        )
        candidates = plan.files(Action.NEW, Action.CHANGED) + plan.files_of(unreported)
        wanted = [
            key
            for key in (file.partition_key for file in candidates)
            if key not in in_flight and attempts.get(key, 0) < MAX_ATTEMPTS
        ][: settings.max_files_per_run]
        if wanted:
            run_ids += _execute(instance, pipeline, pipeline.job, wanted, known, settings)
            attempts |= {key: attempts.get(key, 0) + 1 for key in wanted}
        elif (in_flight or plan.is_settling) and time.monotonic() < deadline:
            time.sleep(min(settings.settle_seconds, 0.2))
        else:
            break
    name, later_runs = pipeline.feed.name, {}
    removal = find_removable(pipeline.feed, plan)
    if removal.keys:
        print(f"{pipeline.reconciliation.job.name}: removing what has no file any more", flush=True)
        run_id = _execute_job(instance, pipeline.reconciliation.job).run_id
        later_runs[run_id] = f"not removed: partitions of {name} whose files are gone"
        plan = _plan(pipeline, known, settings)
    if pipeline.rollup_job:
        stale = _list_stale_rollup_keys(instance, pipeline) & set(known)
        for run_id in _execute(instance, pipeline, pipeline.rollup_job, stale, known, settings):
            later_runs[run_id] = f"not refreshed: what is made from {name}"
    failures = [
        f"{what}: run {run_id} failed"
        for run_id, what in later_runs.items()
        if not _has_succeeded(instance, run_id)
    ]
    if removal.brake:
        failures.append(f"not removed: partitions of {name}: {removal.brake}")
    return FeedResult(pipeline, plan, sorted(loaded), failures)


def _list_stale_rollup_keys(instance: dg.DagsterInstance, pipeline: FeedPipeline) -> set[str]:
    """Give the keys whose partition was loaded after what is made from it was last refreshed."""
    materialized = dg.DagsterEventType.ASSET_MATERIALIZATION
    loaded = instance.get_latest_storage_id_by_partition(
        pipeline.reconciliation.load_key, materialized
    )
    stale = set()
    for rollup in pipeline.rollups:
        made = instance.get_latest_storage_id_by_partition(rollup.key, materialized)
        stale |= {key for key, event_id in loaded.items() if made.get(key, 0) < event_id}
    return stale


def _has_succeeded(instance: dg.DagsterInstance, run_id: str) -> bool:
    run = instance.get_run_by_id(run_id)
    return bool(run and run.is_success)


def _was_loaded_by(run_ids: list[str], step: Step) -> bool:
    row = step.ledger_row
    return bool(row and row.run_id in run_ids and row.status == LoadStatus.LOADED)


def _plan(pipeline: FeedPipeline, known: list[str], settings: Settings) -> Plan:
    feed, landing_dir = pipeline.feed, settings.landing_dir
    return plan_feed(
        feed,
        list_files_in_window(feed, landing_dir, pipeline.partitions_def, known),
        landing_dir,
        settings.database,
        settle_seconds=settings.settle_seconds,
        lock_wait_seconds=settings.lock_wait_seconds,
    )


def _execute(
    instance: dg.DagsterInstance,
    pipeline: FeedPipeline,
    job: AssetJob,
    keys: Collection[str],
    known: list[str],
    settings: Settings,
) -> list[str]:
    """Execute a job for partition keys, and give the ids of the runs."""
    partitions_def = pipeline.partitions_def
    dynamic = find_dynamic(partitions_def)
    if dynamic and dynamic.name:
        unknown = sorted(
            set(list_names(partitions_def, keys)) - set(list_names(partitions_def, known))
        )
        instance.add_dynamic_partitions(dynamic.name, unknown)
        known = add_names(partitions_def, known, unknown)
    run_ids = []
    for group in group_into_ranges(keys, known, settings.max_files_per_run):
        span = f"{group[0]} to {group[-1]}, {len(group)} partitions" if group[1:] else group[0]
        print(f"{job.name}: {span}", flush=True)
        partition_key = None if group[1:] else group[0]
        result = _execute_job(instance, job, partition_key, range_tags(group))
        run_ids.append(result.run_id)
    return run_ids


def _execute_job(
    instance: dg.DagsterInstance,
    job: AssetJob,
    partition_key: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> dg.ExecuteInProcessResult:
    return defs.resolve_job_def(job.name).execute_in_process(
        instance=instance,
        partition_key=partition_key,
        tags=dict(tags or {}),
        run_config=_QUIET,
        raise_on_error=False,
    )


def print_report(results: list[FeedResult], settings: Settings) -> int:
    """Print what every table holds and why something is not loaded, and give the exit code."""
    rows, problems = [], []
    for result in results:
        feed, plan = result.pipeline.feed, result.plan
        for key, step in plan.steps.items():
            row = step.ledger_row
            name = step.file.name if step.file else row.source_file if row else ""
            status = _status(step)
            loaded_at = (
                row.loaded_at.strftime("%Y-%m-%d %H:%M:%S %Z") if row and row.loaded_at else ""
            )
            rows.append((feed.name, key, name, row.row_count if row else 0, status, loaded_at))
            if step.action is Action.REJECTED and row:
                problems.append(f"refused: {feed.name}, partition {key}: {row.error}")
            elif status == "not loaded":
                problems.append(
                    f"not loaded: {feed.name}, partition {key}: {name}: still being written, or "
                    "its run failed; the failed run in the web UI says why"
                )
        problems += result.failures
        for entry in plan.refused:
            rows.append((feed.name, entry.partition_key, entry.name, 0, "refused", ""))
            problems.append(f"refused: {feed.name}: {entry.name}: {entry.reason}")
    rows = [tuple(_printable(cell) for cell in row) for row in rows]
    if rows:
        print(f"\n{tabulate(rows, _HEADERS, tablefmt='simple', disable_numparse=[1, 2])}\n")
    loaded = sum(len(result.loaded_keys) for result in results)
    if loaded:
        print(f"Loaded {loaded} file(s) into {_from_project(settings.database)}.")
    elif not rows:
        print(f"Nothing has landed in {settings.landing_dir}.")
    else:
        print("Nothing to load: every landed file was loaded or refused before.")
    for problem in problems:
        print(_printable(problem), file=sys.stderr)
    return 1 if problems else 0


def _status(step: Step) -> str:
    if step.action is Action.MISSING and step.ledger_row:
        return f"{_name_status(step.ledger_row.status)}, file gone"
    if step.ledger_row and step.action in (Action.IDENTICAL, Action.REJECTED):
        return _name_status(step.ledger_row.status)
    return "not loaded"


def _name_status(status: LoadStatus) -> str:
    return "loaded" if status == LoadStatus.LOADED else "refused"


def _from_project(path: Path) -> Path:
    inside = path.is_relative_to(project_dir())
    return path.relative_to(project_dir()) if inside else path


def _printable(cell: object) -> object:
    if not isinstance(cell, str):
        return cell
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in cell)
