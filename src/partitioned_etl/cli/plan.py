"""Plan: what would happen to every landed file, and why, without doing it.

Takes feeds; prints one line per file of their agendas. What is decided does not belong here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import click
import dagster as dg

from partitioned_etl.cli.location import ChosenFeeds, choose_feeds, look_at_each, open_instance
from partitioned_etl.cli.output import print_json, print_table, show
from partitioned_etl.cli.partitions import require_partitions
from partitioned_etl.components.ad_hoc_keys import choose_keys, describe_given_up_key
from partitioned_etl.components.agenda import Agenda, Limits, make_agenda, mark_of
from partitioned_etl.components.assets import FeedAssets
from partitioned_etl.components.sensor import LandingCursor, describe_given_up
from partitioned_etl.engine.landing.landing import group_by_key
from partitioned_etl.engine.plan import MAX_ATTEMPTS, Action, Plan, Removal, Step
from partitioned_etl.engine.settings import Settings


@dataclass(frozen=True)
class PlannedChange:
    """What the next load would change at a feed's table, or what keeps it from loading.

    Attributes:
        feed: The feed.
        change: The change, as one sentence.
    """

    feed: str
    change: str


@dataclass(frozen=True)
class PlannedFile:
    """What would happen to one file or partition.

    Attributes:
        feed: The feed.
        partition_key: The partition, if the file name gives one.
        file: The file's name.
        state: How it compares with the ledger.
        next: What would happen: nothing, load, load later, compute, compute later, wait, refuse,
            remove or keep.
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


def show_plan(names: Sequence[str], keys: Sequence[str] = (), *, as_json: bool) -> int:
    """Print what would happen to every file.

    Args:
        names: The feeds to show; none for all.
        keys: The partitions of one feed that are shown; none for all.
        as_json: Whether to print JSON instead of a table.

    Returns:
        0, 1 if a feed cannot be loaded, or 2 if one could not be looked at.

    Raises:
        SettingError: A setting is invalid.
        FeedDefinitionError: There is no such feed.
        PartitionKeyError: Nothing is known of a partition.
        WarehouseError: The warehouse cannot be opened.
    """
    settings, chosen = Settings(), choose_feeds(names)
    with open_instance() as instance:
        found, code = look_at_each(
            chosen.feeds, lambda assets: _plan(chosen, assets, instance, settings, keys)
        )
    chosen.report_mistakes()
    code = code or int(bool(chosen.mistakes))
    planned = [file for _, files in found for file in files]
    changes = [change for of_feed, _ in found for change in of_feed]
    if as_json:
        files = [asdict(file) for file in planned]
        print_json({"files": files, "changes": [asdict(change) for change in changes]})
        return code
    for change in changes:
        click.echo(show(f"at the next load: {change.feed}: {change.change}"))
    if not planned:
        if not code:
            click.echo(f"Nothing has landed in {settings.landing_dir}.")
        return code
    if changes:
        click.echo()
    rows = [
        (file.feed, file.partition_key, file.file, file.state, file.next, file.reason)
        for file in planned
    ]
    print_table(rows, ("feed", "partition key", "file", "state", "next", "reason"))
    loads = sum(file.next == "load" for file in planned)
    computed = sum(file.next == "compute" for file in planned)
    told = f"{loads} file(s) to load" + (f", {computed} key(s) to compute," if computed else "")
    runs = len({(file.feed, file.run) for file in planned if file.run})
    click.echo(f"\n{told} in {runs} run(s); nothing was changed.")
    return code


def _plan(
    chosen: ChosenFeeds,
    assets: FeedAssets,
    instance: dg.DagsterInstance,
    settings: Settings,
    keys: Sequence[str],
) -> tuple[list[PlannedChange], list[PlannedFile]]:
    agenda = make_next_agenda(chosen, assets, instance, settings)
    require_partitions(assets.feed, agenda.plan, keys, agenda.known)
    name = assets.feed.name
    changes = [PlannedChange(name, change) for change in agenda.plan.describe_changes(name)]
    files = [*list_planned_files(name, agenda, settings), *_list_keys(assets, agenda, settings)]
    return changes, [file for file in files if not keys or file.partition_key in keys]


def make_next_agenda(
    chosen: ChosenFeeds, assets: FeedAssets, instance: dg.DagsterInstance, settings: Settings
) -> Agenda:
    """Return the agenda that the sensor of a feed would make at its next tick.

    Raises:
        LandedFileError: The landing cannot be listed.
        WarehouseError: The warehouse cannot be opened.
    """
    cursor = _read_cursor(instance, chosen.find_sensor(assets))
    cursor.forget_what_could_not_start(instance, assets)
    return make_agenda(
        assets,
        instance,
        chosen.landing_of(assets.feed),
        chosen.warehouse,
        lambda plan: cursor.remember(assets, plan),
        Limits(settings.max_files_per_run, read_only=True),
    )


def list_given_up(
    chosen: ChosenFeeds, assets: FeedAssets, plan: Plan, instance: dg.DagsterInstance
) -> list[tuple[str, str, str]]:
    """Return the files that wait because their runs failed too often: key, name, and why.

    Args:
        chosen: The code location.
        assets: The feed's assets.
        plan: The feed's plan.
        instance: The Dagster instance.
    """
    cursor = _read_cursor(instance, chosen.find_sensor(assets))
    cursor.forget_what_could_not_start(instance, assets)
    attempts, files = cursor.remember(assets, plan), plan.candidates()
    marks = {key: mark_of(of_key) for key, of_key in group_by_key(files).items()}
    found = [
        (file.partition_key, file.name, f"{file.name}: {describe_given_up(file)}")
        for file in files
        if attempts.count(file.partition_key, marks[file.partition_key]) >= MAX_ATTEMPTS
    ]
    known = assets.partitions.list_keys(instance) if assets.feed.is_computed else []
    keys = choose_keys(assets, plan, known, attempts, most=0).given_up
    return found + [(key, _name_of(assets, key), describe_given_up_key(key)) for key in keys]


def list_planned_files(name: str, agenda: Agenda, settings: Settings) -> Iterator[PlannedFile]:
    """Yield what would happen to each file of a feed.

    Args:
        name: The feed.
        agenda: Its agenda.
        settings: The settings.
    """
    plan, nexts = agenda.plan, _list_nexts(name, agenda, settings)
    run_of = _number_runs(agenda)
    planned = list[PlannedFile]()
    for key, file, _, size_bytes, _ in plan.unchanged:
        what, why = nexts.get(file, ("nothing", ""))
        run, identical = run_of.get(key), str(Action.IDENTICAL)
        planned.append(PlannedFile(name, key, file, identical, what, why, run, size_bytes))
    for step in plan.steps.values():
        key, file = step.partition_key, step.file
        what, why = nexts.get(step.name) or _describe(step, agenda.removal)
        state = f"{step.action}, touched" if step.is_touched else str(step.action)
        run, size_bytes = (run_of.get(key), file.size_bytes) if file else (None, None)
        planned.append(PlannedFile(name, key, step.name, state, what, why, run, size_bytes))
    if plan.unchanged.count:
        planned.sort(key=lambda one: (one.partition_key, one.file))
    yield from planned
    for entry in plan.refused:
        key = entry.partition_key
        yield PlannedFile(name, key, entry.name, "refused", "refuse", entry.reason)
    for entry in plan.ignored:
        yield PlannedFile(name, "", entry.name, "ignored", "nothing", entry.reason)


def _list_keys(assets: FeedAssets, agenda: Agenda, settings: Settings) -> Iterator[PlannedFile]:
    """Yield what would happen to each key of which nothing has landed."""
    choice = agenda.to_compute
    run_of = _number_runs(agenda)
    later = ("compute later", f"at most {settings.max_files_per_run} at once")
    nexts: dict[str, tuple[str, str]] = dict.fromkeys([*choice.wanted, *choice.later], later)
    nexts |= {key: ("compute", "") for key in choice.wanted if key in run_of}
    nexts |= dict.fromkeys(choice.waiting, ("wait", "a run computes it, or could not start"))
    nexts |= {
        key: ("nothing", f"{describe_given_up_key(key)} sync tries it again.")
        for key in choice.given_up
    }
    for key, (what, why) in sorted(nexts.items()):
        name, run = _name_of(assets, key), run_of.get(key)
        yield PlannedFile(assets.feed.name, key, name, "not computed", what, why, run)


def _number_runs(agenda: Agenda) -> dict[str, int]:
    """Return the number of the run of each key that is to be loaded, from 1 on."""
    return {key: number for number, keys in enumerate(agenda.ranges, 1) for key in keys}


def _name_of(assets: FeedAssets, key: str) -> str:
    return assets.feed.file_names.name_of(key)


def _list_nexts(name: str, agenda: Agenda, settings: Settings) -> dict[str, tuple[str, str]]:
    """Return what happens to the files that are to be loaded, and why, by name."""
    most, choice = settings.max_files_per_run, agenda.choice
    of_runs = {key for keys in agenda.ranges for key in keys}
    later = ("load later", f"at most {most} files at once; the next tick goes on")
    nexts: dict[str, tuple[str, str]] = {
        file.name: later for file in (*choice.wanted, *choice.later)
    }
    for file in choice.wanted:
        if file.partition_key in of_runs:
            is_untold = file.partition_key in agenda.unreported
            untold = "a run loaded it and ended before it reported so to Dagster"
            again = _why_again(agenda.plan.steps.get(file.name))
            nexts[file.name] = ("load", untold if is_untold else again)
    if agenda.plan.changes.is_refused:
        nexts |= dict.fromkeys(nexts, ("refuse", "the table has other columns, as said above"))
    nexts |= {
        file.name: (
            "keep",
            "Dagster does not know its key, which is registered again: "
            f"`partitioned-etl forget {name} --partition KEY` removes it, rows and file",
        )
        for file in agenda.unregistered
    }
    nexts |= {file.name: ("wait", "a run is loading it") for file in choice.in_flight}
    nexts |= {file.name: ("wait", "its latest run could not start") for file in agenda.pausing}
    nexts |= {
        file.name: ("nothing", f"{describe_given_up(file)} sync tries it again.")
        for file in choice.given_up
    }
    return nexts


def _why_again(step: Step | None) -> str:
    """Return why a file is loaded that is as it was; empty if it is not."""
    row, file = (step.ledger_row, step.file) if step else (None, None)
    if row and file and row.left_out and row.is_about(file):
        return f"another declaration loaded it without {', '.join(row.left_out)}"
    return ""


def _describe(step: Step, removal: Removal) -> tuple[str, str]:
    """Return what happens to a file that needs no loading, and why."""
    why = step.explain(removal)
    if step.action is Action.UNSETTLED:
        return "wait", why
    if step.action is Action.MISSING:
        return ("remove" if step.name in removal else "keep"), why
    return ("keep" if step.action in (Action.UNUSABLE, Action.STALE) else "nothing"), why


def _read_cursor(instance: dg.DagsterInstance, sensor_name: str) -> LandingCursor:
    """Return the cursor of a feed's sensor; an empty one if it never ran."""
    # An instance in memory remembers no ticks.
    states = [] if instance.is_ephemeral else instance.all_instigator_state()
    for state in states:
        if state.instigator_name == sensor_name:
            return LandingCursor.parse(getattr(state.instigator_data, "cursor", None))
    return LandingCursor()
