"""Changes: which loads changed the tables lately, and by how many rows.

Takes feeds and a number of days; prints the load history, the latest first. It changes nothing.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import click

from partitioned_etl.cli.location import choose_feeds
from partitioned_etl.cli.output import print_json, print_table
from partitioned_etl.engine.warehouse.load_history import HistoryRow

DAYS = 7
TABLE_ROWS = 100
_HEADERS = ("when", "feed", "partition key", "file", "what", "rows", "added", "removed")


def show_changes(names: Sequence[str], days: float, *, as_json: bool) -> int:
    """Print what changed the tables lately.

    Args:
        names: The feeds to show; none for all.
        days: For how many days back.
        as_json: Whether to print JSON instead of a table, which is cut after `TABLE_ROWS`.

    Returns:
        0, or 1 if a feed cannot be loaded.

    Raises:
        SettingError: A setting is invalid.
        FeedDefinitionError: There is no such feed.
        WarehouseError: The warehouse cannot be opened.
    """
    chosen = choose_feeds(names)
    since = datetime.now(UTC) - timedelta(days=days)
    rows = list[HistoryRow]()
    if chosen.warehouse.exists():
        with chosen.warehouse.open_read_only() as opened:
            for assets in chosen.feeds:
                rows += opened.table(assets.feed).read_history(since)
    rows.sort(key=lambda row: row.changed_at, reverse=True)
    chosen.report_mistakes()
    if as_json:
        print_json({"since": since, "changes": [row._asdict() for row in rows]})
    else:
        _print_table(rows, since)
    return int(bool(chosen.mistakes))


def _print_table(rows: Sequence[HistoryRow], since: datetime) -> None:
    if not rows:
        click.echo(f"Nothing has changed since {since:%Y-%m-%d %H:%M} UTC.")
        return
    shown = [
        (
            *(row.changed_at, row.feed, row.partition_key, row.source_file, str(row.kind)),
            *(row.row_count, row.rows_added, row.rows_removed, row.rows_unchanged),
            row.not_compared,
        )
        for row in rows[:TABLE_ROWS]
    ]
    print_table(shown, (*_HEADERS, "unchanged", "not compared"))
    if more := len(rows) - len(shown):
        click.echo(f"\nAnd {more:,} more, which --json prints.", err=True)
