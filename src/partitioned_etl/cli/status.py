"""Status: what each feed's table holds, what waits to be loaded, and what was refused.

Takes feeds, the landing directory and the ledger, which is only read; prints one line per feed.
What would happen next belongs in `plan.py`.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import click

from partitioned_etl.cli.location import ChosenFeeds, choose_feeds, look_at_each
from partitioned_etl.cli.output import print_json, print_table, show
from partitioned_etl.components.assets import FeedAssets
from partitioned_etl.engine.plan import Action, make_plan
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


def show_status(names: Sequence[str], *, as_json: bool) -> int:
    """Print the status of the feeds.

    Args:
        names: The feeds to show; none for all.
        as_json: Whether to print JSON instead of a table.

    Returns:
        0, 1 if a feed cannot be loaded, or 2 if one could not be looked at.

    Raises:
        SettingError: A setting is invalid.
        FeedDefinitionError: There is no such feed.
        WarehouseError: The warehouse cannot be opened.
    """
    chosen = choose_feeds(names)
    database = chosen.warehouse.name
    statuses, code = look_at_each(chosen.feeds, lambda assets: _find_status(chosen, assets))
    has_database = chosen.warehouse.exists()
    chosen.report_mistakes()
    code = code or int(bool(chosen.mistakes))
    if as_json:
        feeds = [asdict(status) for status in statuses]
        broken = [asdict(mistake) for mistake in chosen.mistakes]
        print_json({"database": database, "exists": has_database, "feeds": feeds, "broken": broken})
        return code
    rows = [
        (
            *(status.feed, status.table, status.partitions, status.rows, status.last_load),
            *(status.waiting, _show_age(status.oldest_waiting_seconds)),
            *(len(status.refused), status.rejected_rows, len(status.unmatched)),
        )
        for status in statuses
    ]
    headers = ("feed", "table", "partitions", "rows", "last load", "waiting", "oldest")
    if rows:
        print_table(rows, (*headers, "refused", "rejected rows", "unmatched"))
    if not has_database:
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
    return code


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
    named = [
        show(f"unmatched: {feed_name}: {name}: {reason}") for name, reason in entries[:_MOST_NAMED]
    ]
    more = len(entries) - len(named)
    return [*named, f"unmatched: {feed_name}: and {more:,} more"] if more else named


def _find_status(chosen: ChosenFeeds, assets: FeedAssets) -> FeedStatus:
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
    )


def _show_age(seconds: int | None) -> str:
    if seconds is None:
        return ""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
