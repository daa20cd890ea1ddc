"""Migrate: what would become of a feed's table, or do it.

Takes a feed; prints one line per change. What is lost by which is decided in the engine.
"""

from dataclasses import asdict

import click

from partitioned_etl.cli.location import choose_feeds
from partitioned_etl.cli.output import print_json, show
from partitioned_etl.engine.migrate import Migration, apply_migration, find_migration


def migrate_feed(name: str, *, is_applied: bool, as_json: bool) -> int:
    """Print what would become of a feed's table or, if it is applied, what became of it.

    Args:
        name: The feed.
        is_applied: Whether to do it.
        as_json: Whether to print JSON instead of lines.

    Returns:
        0, or 1 if it is refused or the feed cannot be loaded.

    Raises:
        SettingError: A setting is invalid.
        FeedDefinitionError: There is no such feed.
        LandedFileError: The landing cannot be listed.
        WarehouseError: The warehouse cannot be opened, or the table not altered.
    """
    chosen = choose_feeds([name])
    chosen.report_mistakes()
    if not chosen.feeds:
        return 1
    [assets] = chosen.feeds
    feed, landing = assets.feed, chosen.landing_of(assets.feed)
    listing = assets.list_files(landing)
    with chosen.warehouse.open_read_only() as opened:
        migration = find_migration(opened.table(feed), listing)
    is_applied = is_applied and bool(migration.changes.columns) and not migration.refusal
    if is_applied:
        with chosen.warehouse.open(landing.readable_dir) as opened:
            migration = apply_migration(opened.table(feed), listing)
    if as_json:
        print_json({"feed": name, "applied": is_applied, **asdict(migration)})
    else:
        for line in migration.describe():
            click.echo(show(f"{name}: {line}"))
        click.echo(_conclude(migration, feed.table, is_applied=is_applied))
    return 1 if migration.refusal else 0


def _conclude(migration: Migration, table: str, *, is_applied: bool) -> str:
    if not migration.changes.columns and not migration.refusal:
        return show(f"Table {table} is as the feed declares it.")
    if is_applied:
        return "Done." + (" The next tick or sync loads." if migration.reloaded else "")
    return "Nothing was changed" + ("." if migration.refusal else "; --apply does it.")
