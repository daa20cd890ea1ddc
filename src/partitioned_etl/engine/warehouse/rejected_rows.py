"""Rejected rows: table `rejected_rows`, the bad rows of files whose good rows are loaded.

Takes bad rows with their reasons; keeps them until their file is loaded again. They are written in
the load's own transaction. Which rows are bad is decided in `row_by_row.py`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import duckdb

from partitioned_etl.engine.landing.landing import LandedFile
from partitioned_etl.engine.sql import REJECTED_ROWS_TABLE
from partitioned_etl.engine.warehouse.table_columns import insert_columns

COLUMNS = {
    "feed": "VARCHAR",
    "partition_key": "VARCHAR",
    "source_file": "VARCHAR",
    "line": "BIGINT",
    "column_name": "VARCHAR",
    "reason": "VARCHAR",
    "raw_line": "VARCHAR",
}


class RejectedRow(NamedTuple):
    """A row of a loaded file that breaks the contract.

    Attributes:
        line: Where it stands in the file: its line, or its number.
        column_name: The column to blame first; empty for the whole row.
        reason: Why it is bad.
        raw_line: Its text.
    """

    line: int
    column_name: str
    reason: str
    raw_line: str


def ensure_rejected_rows(duck: duckdb.DuckDBPyConnection) -> None:
    """Create table `rejected_rows` if it does not exist."""
    columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    duck.execute(f"CREATE TABLE IF NOT EXISTS {REJECTED_ROWS_TABLE} ({columns})")


def insert_rejected_rows(
    duck: duckdb.DuckDBPyConnection,
    feed_name: str,
    file: LandedFile,
    rows: Sequence[RejectedRow],
) -> None:
    """Insert rejected rows of a file; inside the transaction that loads it."""
    if not rows:
        return
    same = (feed_name, file.partition_key, file.name)
    lists = [list(values) for values in zip(*((*same, *row) for row in rows), strict=True)]
    insert_columns(duck, REJECTED_ROWS_TABLE, COLUMNS, lists)


def delete_rejected_rows(
    duck: duckdb.DuckDBPyConnection, feed_name: str, where: str, bound: Sequence[object]
) -> None:
    """Delete the rejected rows of a feed's files.

    Args:
        duck: A connection, inside the transaction that deletes the files' rows.
        feed_name: The feed's name.
        where: A condition on partition key and file, of which feeds' tables have the columns too.
        bound: The values of its parameters.
    """
    duck.execute(
        f"DELETE FROM {REJECTED_ROWS_TABLE} WHERE feed = ? AND {where}", [feed_name, *bound]
    )


def forget_rejected_rows(duck: duckdb.DuckDBPyConnection, feed_name: str) -> None:
    """Delete a feed's rejected rows, because its table is new."""
    duck.execute(f"DELETE FROM {REJECTED_ROWS_TABLE} WHERE feed = ?", [feed_name])
