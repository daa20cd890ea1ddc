"""Status: what each feed's table holds, what waits to be loaded, is late or was refused.

Takes feeds, the landing directory and the ledger, which is only read; prints one line per feed.
What would happen next belongs in `plan.py`; the text for Prometheus, in `prometheus.py`.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import click
import dagster as dg

from partitioned_etl.cli.location import ChosenFeeds, choose_feeds, look_at_each, open_instance
from partitioned_etl.cli.output import print_json, print_table, show
from partitioned_etl.cli.plan import list_given_up
from partitioned_etl.cli.prometheus import render_metrics
from partitioned_etl.components.assets import FeedAssets
from partitioned_etl.engine.arrivals import list_overdue
from partitioned_etl.engine.plan import Action, Plan, make_plan
from partitioned_etl.engine.stale import describe_stale

_MOST_NAMED = 20


@dataclass(frozen=True)
class Refusal:
    """A file that is refused, or is one of no feed.

    Attributes:
        partition_key: The partition, if the file name gives one.
        file: The file's name.
        reason: Why.
    """

    partition_key: str
    file: str
    reason: str


@dataclass(frozen=True)
class FeedStatus:
    """The status of one feed.

    Attributes:
        feed: The feed.
        table: Its table.
        partitions: How many partitions the table holds.
        rows: How many rows they hold.
        last_load: When one was last loaded, in UTC; None for never.
        waiting: How many files have landed but are not loaded, not counting refused ones.
        oldest_waiting_seconds: How long the oldest of them has waited; None if none is waiting.
        rejected_rows: How many rows of loaded files were quarantined.
        refused: The files that are refused.
        unmatched: What lies in its folder and is a file of no feed.
        stale: The names of loaded or refused files that the feed cannot name any more.
        not_fetched: What the latest fetch from its source could not fetch.
        late: The partitions that were due in the last days, and of which nothing is loaded.
        failed: The files that wait because their runs failed too often; None if Dagster was not
            asked.
        files: How many files are in which state of a plan.
    """

    feed: str
    table: str
    partitions: int
    rows: int
    last_load: datetime | None
    waiting: int
    oldest_waiting_seconds: int | None
    rejected_rows: int
    refused: list[Refusal]
    unmatched: list[Refusal]
    stale: list[str]
    not_fetched: list[Refusal]
    late: list[Refusal]
    failed: list[Refusal] | None
    files: dict[str, int]


COUNTS: Mapping[str, Callable[[FeedStatus], int]] = {
    "late": lambda status: len(status.late),
    "refused": lambda status: len(status.refused),
    "rejected": lambda status: status.rejected_rows,
    "unmatched": lambda status: len(status.unmatched),
    "waiting": lambda status: status.waiting,
    "stale": lambda status: len(status.stale),
    "failed": lambda status: len(status.failed or ()),
}
"""How many of what a call may fail on."""


def show_status(names: Sequence[str], form: str, fail_on: Collection[str] = ()) -> int:
    """Print the status of the feeds.

    Args:
        names: The feeds to show; none for all.
        form: How to print it: as a table, as JSON, or as text for Prometheus.
        fail_on: States, of `COUNTS`, that are a failure where there is any.

    Returns:
        0, 1 if a feed cannot be loaded or is in a state to fail on, or 2 if one could not be looked
        at.

    Raises:
        SettingError: A setting is invalid.
        FeedDefinitionError: There is no such feed.
        WarehouseError: The warehouse cannot be opened.
    """
    chosen = choose_feeds(names)
    statuses, code = find_statuses(chosen, asks_dagster="failed" in fail_on)
    chosen.report_mistakes()
    if form == "json":
        feeds = [asdict(status) for status in statuses]
        broken = [asdict(mistake) for mistake in chosen.mistakes]
        database, exists = chosen.warehouse.name, chosen.warehouse.exists()
        print_json({"database": database, "exists": exists, "feeds": feeds, "broken": broken})
    elif form == "prometheus":
        named = [assets.feed.name for assets in chosen.feeds]
        click.echo(render_metrics([*named, *(one.name for one in chosen.mistakes)], statuses))
    else:
        print_statuses(chosen, statuses)
    if failure := _describe_failure(statuses, fail_on):
        click.echo(f"failing: {failure}", err=True)
    return code or int(bool(chosen.mistakes or failure))


def find_statuses(
    chosen: ChosenFeeds, *, asks_dagster: bool = False
) -> tuple[list[FeedStatus], int]:
    """Find the status of each feed that can be looked at.

    Args:
        chosen: The feeds.
        asks_dagster: Whether to find what failed, for which Dagster's instance is opened.

    Returns:
        The statuses, and the exit code: 0, or 2 if one is missing; standard error then says why.
    """
    if not asks_dagster:
        return look_at_each(chosen.feeds, lambda assets: _find_status(chosen, assets, None))
    with open_instance() as instance:
        return look_at_each(chosen.feeds, lambda assets: _find_status(chosen, assets, instance))


def _describe_failure(statuses: Sequence[FeedStatus], fail_on: Collection[str]) -> str:
    """Return what is in a state to fail on, and how much; empty for nothing."""
    parts = []
    for state in COUNTS:
        counts = {status.feed: COUNTS[state](status) for status in statuses}
        of_feeds = [f"{feed} {count:,}" for feed, count in counts.items() if count]
        if state in fail_on and of_feeds:
            parts.append(f"{sum(counts.values()):,} {state} ({', '.join(of_feeds)})")
    return show("; ".join(parts))


def print_statuses(chosen: ChosenFeeds, statuses: Sequence[FeedStatus]) -> None:
    """Print the statuses as a table, and below it what a person has to look at."""
    rows = [
        (
            *(status.feed, status.table, status.partitions, status.rows, status.last_load),
            *(status.waiting, _show_age(status.oldest_waiting_seconds), len(status.late)),
            *(len(status.refused), status.rejected_rows, len(status.unmatched)),
        )
        for status in statuses
    ]
    headers = ("feed", "table", "partitions", "rows", "last load", "waiting", "oldest", "late")
    if rows:
        print_table(rows, (*headers, "refused", "rejected rows", "unmatched"))
    if not chosen.warehouse.exists():
        database = chosen.warehouse.name
        click.echo(f"\nThere is no database yet: {database}; the first load makes it.")
    for status in statuses:
        for refusal in status.refused:
            click.echo(describe_refusal(status.feed, refusal.partition_key, refusal.reason))
        entries = [(entry.file, entry.reason) for entry in status.unmatched]
        for line in describe_unmatched(status.feed, entries):
            click.echo(line)
        for entry in status.not_fetched:
            click.echo(show(f"not fetched: {status.feed}: {entry.file}: {entry.reason}"))
        if status.stale:
            click.echo(show(f"stale: {status.feed}: {describe_stale(status.feed, status.stale)}"))
        for what, entries in (("late", status.late), ("failed", status.failed or ())):
            named = [f"partition {entry.partition_key}: {entry.reason}" for entry in entries]
            for line in _name_some(what, status.feed, named):
                click.echo(line)


def describe_refusal(feed_name: str, partition_key: str, reason: str) -> str:
    """Return one printable line that a file is refused, and why."""
    where = f"{feed_name}, partition {partition_key}" if partition_key else feed_name
    return show(f"refused: {where}: {reason}")


def describe_unmatched(feed_name: str, entries: Sequence[tuple[str, str]]) -> list[str]:
    """Return printable lines that entries of a feed's folder are a file of no feed.

    Args:
        feed_name: The feed.
        entries: Their names, and why; of many, the first are named, and the others counted.
    """
    return _name_some("unmatched", feed_name, [f"{name}: {reason}" for name, reason in entries])


def _name_some(what: str, feed_name: str, told: Sequence[str]) -> list[str]:
    """Return printable lines of a feed; of many, the first, and how many others there are."""
    named = [show(f"{what}: {feed_name}: {one}") for one in told[:_MOST_NAMED]]
    more = len(told) - len(named)
    return [*named, f"{what}: {feed_name}: and {more:,} more"] if more else named


def _find_status(
    chosen: ChosenFeeds, assets: FeedAssets, instance: dg.DagsterInstance | None
) -> FeedStatus:
    feed, landing = assets.feed, chosen.landing_of(assets.feed)
    plan = make_plan(feed, assets.scan(landing), landing, chosen.warehouse, read_only=True)
    totals = plan.sum_up()
    waiting = plan.files(Action.NEW, Action.CHANGED, Action.UNSETTLED)
    since_ns = min((file.landed_ns for file in waiting), default=None)
    refused = [
        Refusal(step.partition_key, step.name, step.ledger_row.error or "")
        for step in plan.steps.values()
        if step.action is Action.REFUSED and step.ledger_row
    ]
    refused += [
        Refusal(entry.partition_key, entry.name, f"{entry.name}: {entry.reason}")
        for entry in plan.refused
    ]
    return FeedStatus(
        feed=feed.name,
        table=feed.table,
        partitions=totals.partitions,
        rows=totals.rows,
        last_load=totals.loaded_at,
        waiting=len(waiting),
        oldest_waiting_seconds=None
        if since_ns is None
        else max(0, (time.time_ns() - since_ns) // 1_000_000_000),
        rejected_rows=totals.rejected_rows,
        refused=refused,
        unmatched=[
            Refusal(entry.partition_key, entry.name, entry.reason)
            for entry in chosen.list_unmatched(feed, plan.ignored)
        ],
        stale=[row.source_file for row in plan.stale],
        not_fetched=[
            Refusal("", entry.name, entry.reason) for entry in chosen.list_not_fetched(feed)
        ],
        late=_list_late(assets, plan),
        failed=None
        if instance is None
        else [
            Refusal(file.partition_key, file.name, f"{file.name}: {reason}")
            for file, reason in list_given_up(chosen, assets, plan, instance)
        ],
        files=_count_files(plan),
    )


def _list_late(assets: FeedAssets, plan: Plan) -> list[Refusal]:
    if assets.feed.due_after is None:
        return []
    loaded = {*plan.unchanged.list_keys()}
    # Only a feed without names is due, and Dagster need not be asked for its keys.
    expected = assets.partitions.definition.get_partition_keys()
    unloaded = [key for key in expected if key not in loaded]
    late = list_overdue(assets.feed, plan.ledger, plan.listing, unloaded, datetime.now(UTC))
    return [Refusal(key, "", reason) for key, reason in late.items()]


def _count_files(plan: Plan) -> dict[str, int]:
    counts = plan.count_actions()
    counts[Action.REFUSED] += len(plan.refused)
    return {str(action): counts[action] for action in Action}


def _show_age(seconds: int | None) -> str:
    if seconds is None:
        return ""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
