"""Watch: the status of feeds, drawn anew every few seconds until Ctrl-C.

Takes what `status` prints; keeps it up to date on a terminal. It only looks, and waits no longer
for the warehouse than until its next look: a load comes first.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr
from datetime import UTC, datetime
from io import StringIO

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from partitioned_etl.cli.feed_status import find_statuses
from partitioned_etl.cli.location import ChosenFeeds, choose_feeds
from partitioned_etl.cli.output import format_table, show
from partitioned_etl.cli.status import lay_out, list_remarks
from partitioned_etl.engine.feed_status import FeedStatus


def watch_feeds(names: Sequence[str], interval_seconds: float) -> int:
    """Draw the status of the feeds anew, until Ctrl-C.

    Args:
        names: The feeds to show; none for all.
        interval_seconds: How long to wait between two looks.

    Raises:
        click.UsageError: There is no terminal to draw on.
        KeyboardInterrupt: Ctrl-C came.
        FeedDefinitionError: There is no such feed.
    """
    if not sys.stdout.isatty():
        raise click.UsageError("there is no terminal to draw on: `status` prints once")
    chosen, console = choose_feeds(names), Console(highlight=False)
    latest = dict[str, FeedStatus]()
    with Live(console=console, auto_refresh=False, vertical_overflow="ellipsis") as live:
        while True:
            lines = _look(chosen, latest, console.width, interval_seconds)
            live.update(Text("\n".join(lines)), refresh=True)
            time.sleep(interval_seconds)


def _look(
    chosen: ChosenFeeds, latest: dict[str, FeedStatus], width: int, interval_seconds: float
) -> Iterator[str]:
    """Yield the lines to draw; a feed that cannot be looked at keeps its latest status."""
    with redirect_stderr(StringIO()) as told:
        statuses, _ = find_statuses(chosen, lock_wait_seconds=interval_seconds)
    latest |= {status.feed: status for status in statuses}
    known = [latest[assets.feed.name] for assets in chosen.feeds if assets.feed.name in latest]
    yield f"{show(datetime.now(UTC))}, every {interval_seconds:g} s; Ctrl-C ends it"
    yield ""
    # What a person has to look at comes first: on a small terminal, the end is cut off.
    yield from told.getvalue().splitlines()
    yield from (show(f"broken: {one.name}: {one.reason}") for one in chosen.mistakes)
    yield from list_remarks(known)
    if known:
        yield format_table(*lay_out(known), width)
