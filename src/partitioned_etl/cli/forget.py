"""Forget and drop: what a person removes from the tables, after a look at what it is.

Takes a feed's name and what is meant; shows it, asks, and executes the job that removes it, so that
the web UI shows the run. What is removed, and how, belongs in the job.
"""

import sys
from collections.abc import Sequence

import click

from partitioned_etl.cli.location import ChosenFeeds, choose_feeds, open_instance
from partitioned_etl.cli.output import print_json, print_table, show
from partitioned_etl.cli.runs import execute_job
from partitioned_etl.components.assets import FeedAssets, find_feeds
from partitioned_etl.components.forget import FORGET_JOB, ForgetConfig, forget_config
from partitioned_etl.components.runs import describe_failure
from partitioned_etl.engine.errors import FeedDefinitionError, PartitionKeyError
from partitioned_etl.engine.forget import HeldFile, list_held_files, stand_in_for


def forget_partitions(
    name: str, keys: Sequence[str], *, stale: bool, is_sure: bool, as_json: bool
) -> int:
    """Remove what a feed's table holds of stale files, and of partitions.

    Args:
        name: The feed.
        keys: Keys of the partitions.
        stale: Whether the files that the feed cannot name any more are meant.
        is_sure: Whether nobody is asked.
        as_json: Whether to print JSON instead of a table.

    Returns:
        0 if it is removed, or there is nothing; 1 if it is not.

    Raises:
        FeedDefinitionError: There is no such feed.
        PartitionKeyError: The warehouse holds nothing of a partition.
        LandedFileError: The landing cannot be listed.
        WarehouseError: The warehouse cannot be opened.
    """
    chosen = choose_feeds([name])
    if chosen.mistakes:
        chosen.report_mistakes()
        return 1
    [assets] = chosen.feeds
    files = _list_files(chosen, assets, keys, stale=stale)
    added = _list_added(assets, keys)
    if unknown := sorted({*keys} - {file.partition_key for file in files} - added):
        raise PartitionKeyError(f"feed {name}: nothing is loaded of partition {unknown[0]!a}")
    told = f"{len(files):,} file(s), {sum(file.row_count for file in files):,} rows, of {name}"
    told += f", and {len(added):,} key(s)" if added else ""
    if not as_json and files:
        rows = [file[:3] for file in files]
        print_table(rows, ("partition key", "file", "rows"))
        landed = sum(file.is_landed for file in files)
        if landed and not assets.feed.is_computed:
            click.echo(
                f"\n{landed:,} of them have a landed file: the next tick, or `sync`, loads it again"
            )
    if not (files or added or as_json):
        click.echo("Nothing to forget.")
    run_id = ""
    if files or added:
        if not _ask(f"Forget {told}?", is_sure=is_sure, as_json=as_json):
            return 1
        config = ForgetConfig(feed=name, stale=stale, partitions=[*keys])
        run_id, code = _execute(chosen, config)
        if code:
            return code
        if not as_json:
            click.echo(f"Forgot {told}.")
    if as_json:
        forgotten = [
            {"partition_key": key, "file": file, "rows": count, "is_landed": is_landed}
            for key, file, count, is_landed in files
        ]
        print_json({"feed": name, "forgotten": forgotten, "run_id": run_id})
    return 0


def drop_feed(name: str, table: str, *, is_sure: bool, as_json: bool) -> int:
    """Remove all that the warehouse holds of a feed, declared or not.

    Args:
        name: The feed.
        table: The table of a feed that is declared no more; its table stays if empty.
        is_sure: Whether nobody is asked.
        as_json: Whether to print JSON instead of text.

    Returns:
        0 if it is removed; 1 if it is not.

    Raises:
        FeedDefinitionError: Nothing is known of the feed, or the table is another feed's.
        WarehouseError: The warehouse cannot be opened, or the table is of no feed.
    """
    chosen = choose_feeds(())
    broken = [mistake for mistake in chosen.mistakes if mistake.name == name]
    if broken:
        click.echo(show(f"broken: {name}: {broken[0].reason}"), err=True)
        return 1
    declared = {assets.feed.name: assets.feed for assets in find_feeds(chosen.definitions)}
    feed = declared.get(name) or stand_in_for(name, table)
    if table and name in declared:
        raise FeedDefinitionError(f"feed {name} is declared: its table is {feed.table}")
    for other in declared.values():
        if table and other.table.casefold() == table.casefold():
            raise FeedDefinitionError(f"table {table} is the table of feed {other.name}")
    dropped, files, rows = feed.table if name in declared or table else "", 0, 0
    if chosen.warehouse.exists():
        with chosen.warehouse.open_read_only() as opened:
            held = opened.table(feed)
            files = held.count_files()
            if dropped and held.exists():
                held.require_columns()
                rows = sum(held.count_rows().values())
            elif name not in declared and not files:
                raise FeedDefinitionError(f"feed {name!a} is not declared, and nothing is loaded")
    elif name not in declared:
        raise FeedDefinitionError(f"feed {name!a} is not declared, and nothing is loaded")
    told = f"what is known of {files:,} file(s) of {name}"
    told += f", and table {dropped} with {rows:,} rows" if dropped else ""
    if not as_json and not dropped:
        click.echo(f"{name} is not declared: its table stays, unless you name it with --table.")
    if not as_json and name in declared:
        click.echo(f"{name} is declared: what is landed, the next tick, or `sync`, loads again.")
    if not _ask(f"Drop {told}?", is_sure=is_sure, as_json=as_json):
        return 1
    run_id, code = _execute(chosen, ForgetConfig(feed=name, drop=True, table=table))
    if code:
        return code
    if as_json:
        found = {"feed": name, "table": dropped, "files": files, "rows": rows, "run_id": run_id}
        print_json(found)
    else:
        click.echo(f"Dropped {told}.")
    return 0


def _list_files(
    chosen: ChosenFeeds, assets: FeedAssets, keys: Sequence[str], *, stale: bool
) -> list[HeldFile]:
    if not chosen.warehouse.exists():
        return []
    listing = assets.list_files(chosen.landing_of(assets.feed))
    with chosen.warehouse.open_read_only() as opened:
        return list_held_files(opened.table(assets.feed), listing, stale=stale, keys=keys)


def _list_added(assets: FeedAssets, keys: Sequence[str]) -> set[str]:
    """Return which of the keys are ad-hoc keys that Dagster knows: they are forgotten, too."""
    if not assets.feed.is_computed:
        return set()
    with open_instance() as instance:
        return {*keys}.intersection(assets.partitions.list_keys(instance))


def _ask(question: str, *, is_sure: bool, as_json: bool) -> bool:
    """Return whether a person agrees.

    Raises:
        click.UsageError: There is no terminal to ask at.
    """
    if is_sure:
        return True
    if not _has_terminal():
        raise click.UsageError("there is no terminal to ask at: give --yes")
    return click.confirm(question, err=as_json)


def _has_terminal() -> bool:
    return sys.stdin.isatty()


def _execute(chosen: ChosenFeeds, config: ForgetConfig) -> tuple[str, int]:
    """Execute the job; return its run, and the exit code."""
    with open_instance() as instance:
        run = execute_job(instance, chosen.definitions, FORGET_JOB, config=forget_config(config))
    if run.success:
        return run.run_id, 0
    reason = describe_failure(run.get_step_failure_events())
    click.echo(show(f"not removed: {config.feed}: {reason}"), err=True)
    return run.run_id, 1
