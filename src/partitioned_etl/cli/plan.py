"""Plan: what would happen to every landed file, and why, without doing it.

Takes feeds, the landing directory, the ledger and Dagster's unfinished runs; prints one line per
file. It calls the same functions as the sensors; what they decide does not belong here.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import click
import dagster as dg

from partitioned_etl.builders.partitions import list_partition_keys
from partitioned_etl.builders.pipelines import FeedPipeline
from partitioned_etl.builders.runs import list_keys_in_flight, list_unreported_keys
from partitioned_etl.builders.sensors import Cursor, describe_given_up, list_ranges_of_tick
from partitioned_etl.cli.location import (
    choose_pipelines,
    examine_each,
    open_instance,
    plan_pipeline,
)
from partitioned_etl.cli.output import print_json, print_table
from partitioned_etl.ingest.reconcile import Action, Removal, Step, choose_files, find_removable
from partitioned_etl.ingest.settings import Settings, read_settings


@dataclass(frozen=True)
class PlannedFile:
    """What would happen to one file or partition.

    Attributes:
        feed: The feed.
        partition_key: The partition, if the file name gives one.
        file: The file's name.
        state: How it compares with the ledger.
        next: What would happen: nothing, load, load later, wait, refuse, remove or keep.
        reason: Why, where that needs an explanation.
        run: The number of the run that would load it, from 1; None if none would.
        size_bytes: The file's size; None if it is gone or was skipped.
    """

    feed: str
    partition_key: str
    file: str
    state: str
    next: str
    reason: str = ""
    run: int | None = None
    size_bytes: int | None = None


def show_plan(feed_name: str | None, *, as_json: bool) -> int:
    """Print what would happen to every file.

    Args:
        feed_name: The one feed to show; None for all.
        as_json: Whether to print JSON instead of a table.

    Returns:
        0, or 2 if a feed could not be examined.

    Raises:
        SettingError: A setting is invalid.
        FeedDefinitionError: There is no such feed.
        WarehouseError: The database cannot be opened.
    """
    settings = read_settings()
    pipelines = choose_pipelines(feed_name)
    with open_instance() as instance:
        found, code = examine_each(pipelines, lambda one: list(_plan(instance, one, settings)))
    planned = [file for files in found for file in files]
    if as_json:
        print_json([asdict(file) for file in planned])
        return code
    if not planned:
        if not code:
            click.echo(f"Nothing has landed in {settings.landing_dir}.")
        return code
    rows = [
        (file.feed, file.partition_key, file.file, file.state, file.next, file.reason)
        for file in planned
    ]
    print_table(rows, ("feed", "partition key", "file", "state", "next", "reason"))
    loads = sum(file.next == "load" for file in planned)
    runs = len({(file.feed, file.run) for file in planned if file.run})
    click.echo(f"\n{loads} file(s) to load in {runs} run(s); nothing was changed.")
    return code


def _plan(
    instance: dg.DagsterInstance, pipeline: FeedPipeline, settings: Settings
) -> Iterator[PlannedFile]:
    feed, most = pipeline.feed, settings.max_files_per_run
    load_key = pipeline.reconciliation.load_key
    # Dagster is queried first: the plan then shows what a run loaded in the meantime.
    known = list_partition_keys(pipeline.partitions_def, instance)
    in_flight = list_keys_in_flight(instance, feed, load_key, known)
    plan = plan_pipeline(pipeline, settings, read_only=True)
    unreported, _ = list_unreported_keys(instance, load_key, plan.ledger_rows)
    cursor = _read_cursor(instance, pipeline.sensor)
    cursor.hold_against(feed, plan)
    choice = choose_files(
        plan.candidates(unreported), cursor.attempts, in_flight=in_flight, most=most
    )
    _, ranges = list_ranges_of_tick(
        pipeline.partitions_def, plan.landed, known, choice.wanted, most
    )
    run_of = {key: number for number, keys in enumerate(ranges, 1) for key in keys}
    nexts = {
        file.partition_key: ("load later", f"at most {most} files at once; the next tick goes on")
        for file in (*choice.wanted, *choice.later)
    }
    nexts |= dict.fromkeys(run_of, ("load", ""))
    untold = ("load", "a run loaded it and ended before it reported so to Dagster")
    nexts |= dict.fromkeys(unreported & run_of.keys(), untold)
    nexts |= {file.partition_key: ("wait", "a run is loading it") for file in choice.in_flight}
    nexts |= {
        file.partition_key: ("nothing", f"{describe_given_up(file)} sync tries it again.")
        for file in choice.given_up
    }
    removal = find_removable(feed, plan)
    for key, step in plan.steps.items():
        what, why = nexts.get(key) or _describe(step, removal)
        row, file = step.ledger_row, step.file
        name = file.name if file else row.source_file if row else ""
        state = f"{step.action}, touched" if step.is_touched else str(step.action)
        size = file.signature.size_bytes if file else None
        yield PlannedFile(feed.name, key, name, state, what, why, run_of.get(key), size)
    for entry in plan.refused:
        key, name, why = entry.partition_key, entry.name, entry.reason
        yield PlannedFile(feed.name, key, name, "refused", "refuse", why)
    for entry in plan.ignored:
        yield PlannedFile(feed.name, "", entry.name, "ignored", "nothing", entry.reason)


def _describe(step: Step, removal: Removal) -> tuple[str, str]:
    """Return what happens to a file that needs no loading, and why."""
    why = step.explain(removal)
    if step.action is Action.UNSETTLED:
        return "wait", why
    if step.action is Action.MISSING:
        return ("remove" if step.partition_key in removal else "keep"), why
    return ("keep" if step.action is Action.UNUSABLE else "nothing"), why


def _read_cursor(instance: dg.DagsterInstance, sensor: dg.SensorDefinition) -> Cursor:
    """Return the cursor of the feed's sensor; an empty one if it never ran."""
    for state in instance.all_instigator_state():
        if state.instigator_name == sensor.name:
            return Cursor.parse(getattr(state.instigator_data, "cursor", None))
    return Cursor()
