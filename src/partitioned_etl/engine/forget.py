"""Forget: remove what the warehouse holds of files, because a person says so.

Takes a feed's table and which of its files are meant; returns what the warehouse holds of them, and
removes it in one transaction. What the feed's policy removes by itself is in `reconcile.py`.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from partitioned_etl.engine import failpoints
from partitioned_etl.engine.conflicts import run_until_done
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing.landing import Listing
from partitioned_etl.engine.plan import compare
from partitioned_etl.engine.warehouse.warehouse import FeedTable


class HeldFile(NamedTuple):
    """What the warehouse holds of one file.

    Attributes:
        partition_key: The partition.
        source_file: The file's name.
        row_count: How many rows the table holds of it.
        is_landed: Whether a file of the partition is landed, which is loaded again.
    """

    partition_key: str
    source_file: str
    row_count: int
    is_landed: bool


def list_held_files(
    table: FeedTable, listing: Listing, *, stale: bool = False, keys: Collection[str] | None = ()
) -> list[HeldFile]:
    """Return what the warehouse holds of stale files, and of the files of partitions.

    Args:
        table: The feed's table.
        listing: The feed's files, as listed.
        stale: Whether stale files are meant.
        keys: Keys of the partitions that are meant, with rows that the ledger does not know; None
            for all partitions.

    Raises:
        WarehouseError: The table is not one of a feed.
    """
    table.require_columns()
    ledger = table.read_ledger()
    found = compare(table.feed, listing, ledger).stale if stale else []
    meant = {(row.partition_key, row.source_file) for row in found}
    wanted = None if keys is None else [*keys, *(key for key, _ in meant)]
    counted = table.count_rows(wanted) if table.exists() else {}
    of_ledger = [(row.partition_key, row.source_file) for row in ledger]
    known = {*of_ledger, *counted, *table.count_rejected_rows()}
    meant |= {one for one in known if keys is None or one[0] in keys}
    return [
        HeldFile(key, name, counted.get((key, name), 0), key in listing.by_key)
        for key, name in sorted(meant)
    ]


def forget_files(table: FeedTable, files: Sequence[HeldFile], *, run_id: str = "") -> None:
    """Remove rows, rejected rows and ledger rows of files: all of them, or none.

    Args:
        table: The feed's table, outside a transaction.
        files: The files.
        run_id: The Dagster run, for the load history.
    """
    if not files:
        return

    def forget() -> None:
        with table.transaction():
            failpoints.reach(failpoints.AFTER_BEGIN)
            gone = [(file.partition_key, file.source_file) for file in files]
            table.remove_files(gone, run_id=run_id)
            failpoints.reach(failpoints.BEFORE_COMMIT)

    run_until_done(forget)
    failpoints.reach(failpoints.AFTER_COMMIT)


def drop_feed(table: FeedTable, *, keeps_table: bool = False) -> None:
    """Remove all that the warehouse holds of a feed: all of it, or nothing.

    Args:
        table: The feed's table, outside a transaction.
        keeps_table: Whether the table with its rows stays, and only ledger and rejected rows go.

    Raises:
        WarehouseError: The table is not one of a feed.
    """
    if not keeps_table:
        table.require_columns()

    def drop() -> None:
        with table.transaction():
            failpoints.reach(failpoints.AFTER_BEGIN)
            table.forget_feed()
            if not keeps_table:
                table.drop()
            failpoints.reach(failpoints.BEFORE_COMMIT)

    run_until_done(drop)
    failpoints.reach(failpoints.AFTER_COMMIT)


def stand_in_for(name: str, table: str = "") -> Feed:
    """Return a feed of which only name and table count, because it is declared no more.

    Args:
        name: The feed's name in the ledger.
        table: Its table; by default the name.

    Raises:
        FeedDefinitionError: The table is one of this package's own.
    """
    return Feed(name=name, table=table, pattern="{key}", columns={"value": "VARCHAR"})
