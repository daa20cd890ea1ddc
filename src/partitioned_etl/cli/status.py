"""Status: the state of each feed, as a table, as JSON or for Prometheus.

Takes the status of feeds; prints it, and below the table what a person has to look at. What would
happen next belongs in `plan.py`.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict

import click

from partitioned_etl.cli.feed_status import find_statuses
from partitioned_etl.cli.location import choose_feeds
from partitioned_etl.cli.output import print_json, print_table, show
from partitioned_etl.cli.prometheus import render_metrics
from partitioned_etl.engine.feed_status import COUNTS, FeedStatus
from partitioned_etl.engine.stale import describe_stale

_IF_ANY = ("oldest", "late", "refused", "rejected rows", "unmatched")
"""The columns that are shown only if there is anything in them."""
_MOST_NAMED = 20


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
        if statuses:
            print_table(*lay_out(statuses))
        if not chosen.warehouse.exists():
            database = chosen.warehouse.name
            click.echo(f"\nThere is no database yet: {database}; the first load makes it.")
        for line in list_remarks(statuses):
            click.echo(line)
    if failure := _describe_failure(statuses, fail_on):
        click.echo(f"failing: {failure}", err=True)
    return code or int(bool(chosen.mistakes or failure))


def _describe_failure(statuses: Sequence[FeedStatus], fail_on: Collection[str]) -> str:
    """Return what is in a state to fail on, and how much; empty for nothing."""
    parts = []
    for state in COUNTS:
        counts = {status.feed: COUNTS[state](status) for status in statuses}
        of_feeds = [f"{feed} {count:,}" for feed, count in counts.items() if count]
        if state in fail_on and of_feeds:
            parts.append(f"{sum(counts.values()):,} {state} ({', '.join(of_feeds)})")
    return show("; ".join(parts))


def lay_out(statuses: Sequence[FeedStatus]) -> tuple[list[tuple[object, ...]], list[str]]:
    """Return one row per feed, and the titles of their columns.

    Left out is what says nothing of any feed, such as how many files are refused where none is, so
    that the rest fits a terminal.
    """
    rows = [
        {
            "feed": status.feed,
            "table": status.table,
            "partitions": status.partitions,
            "rows": status.rows,
            "last load": status.last_load,
            "waiting": status.waiting,
            "oldest": _show_age(status.oldest_waiting_seconds),
            "late": len(status.late),
            "refused": len(status.refused),
            "rejected rows": status.rejected_rows,
            "unmatched": len(status.unmatched),
        }
        for status in statuses
    ]
    empty = {title for title in _IF_ANY if not any(row[title] for row in rows)}
    if all(row["table"] == row["feed"] for row in rows):
        empty.add("table")
    titles = [title for title in rows[0] if title not in empty] if rows else []
    return [tuple(row[title] for title in titles) for row in rows], titles


def list_remarks(statuses: Sequence[FeedStatus]) -> Iterator[str]:
    """Yield printable lines of what a person has to look at, and why."""
    for status in statuses:
        for refusal in status.refused:
            yield describe_refusal(status.feed, refusal.partition_key, refusal.reason)
        entries = [(entry.file, entry.reason) for entry in status.unmatched]
        yield from describe_unmatched(status.feed, entries)
        for entry in status.not_fetched:
            yield show(f"not fetched: {status.feed}: {entry.file}: {entry.reason}")
        if status.stale:
            yield show(f"stale: {status.feed}: {describe_stale(status.feed, status.stale)}")
        for what, found in (("late", status.late), ("failed", status.failed or ())):
            named = [f"partition {entry.partition_key}: {entry.reason}" for entry in found]
            yield from name_some(what, status.feed, named)


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
    return name_some("unmatched", feed_name, [f"{name}: {reason}" for name, reason in entries])


def name_some(what: str, feed_name: str, told: Sequence[str]) -> list[str]:
    """Return printable lines of a feed; of many, the first, and how many others there are.

    Args:
        what: What they begin with.
        feed_name: The feed.
        told: What they say of it.
    """
    named = [show(f"{what}: {feed_name}: {one}") for one in told[:_MOST_NAMED]]
    more = len(told) - len(named)
    return [*named, f"{what}: {feed_name}: and {more:,} more"] if more else named


def _show_age(seconds: int | None) -> str:
    if seconds is None:
        return ""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
