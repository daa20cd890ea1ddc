"""Rejected rows: table `rejected_rows`, the bad rows of files whose good rows are loaded.

Takes bad rows and their problems; keeps them until their partition is loaded again. Rows are
written in the load's own transaction. Which rows are bad is decided in `row_by_row.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from partitioned_etl.ingest.feed import REJECTED_ROWS_TABLE, Feed
from partitioned_etl.ingest.landing import LandedFile
from partitioned_etl.ingest.records import Problem, Record

_COLUMNS = {
    "feed": "VARCHAR",
    "partition_key": "VARCHAR",
    "source_file": "VARCHAR",
    "line": "BIGINT",
    "column_name": "VARCHAR",
    "reason": "VARCHAR",
    "raw_line": "VARCHAR",
}


@dataclass(frozen=True)
class BadRow:
    """A row that breaks the contract.

    Attributes:
        record: Its text, and where it stands in the file.
        problems: Why it is bad, at least one.
    """

    record: Record
    problems: Sequence[Problem]


def create_rejected_rows(connection: duckdb.DuckDBPyConnection) -> None:
    """Create table `rejected_rows` if it does not exist."""
    columns = ", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())
    connection.execute(f"CREATE TABLE IF NOT EXISTS {REJECTED_ROWS_TABLE} ({columns})")


def insert_rejected_rows(
    connection: duckdb.DuckDBPyConnection,
    feed: Feed,
    file: LandedFile,
    bad_rows: Sequence[BadRow],
) -> None:
    """Insert bad rows of a file.

    Args:
        connection: A connection, inside the transaction that loads the file.
        feed: The feed.
        file: The landed file.
        bad_rows: Its bad rows; may be none.
    """
    if not bad_rows:
        return
    values = {
        "feed": [feed.name] * len(bad_rows),
        "partition_key": [file.partition_key] * len(bad_rows),
        "source_file": [file.name] * len(bad_rows),
        "line": [row.record.line for row in bad_rows],
        "column_name": [row.problems[0].column for row in bad_rows],
        "reason": [_describe(row.problems) for row in bad_rows],
        "raw_line": [row.record.line_text for row in bad_rows],
    }
    unnested = ", ".join(f"unnest(CAST(? AS {_COLUMNS[name]}[]))" for name in values)
    connection.execute(
        f"INSERT INTO {REJECTED_ROWS_TABLE} ({', '.join(values)}) SELECT {unnested}",
        list(values.values()),
    )


def _describe(problems: Sequence[Problem]) -> str:
    first, *others = problems
    return "; ".join([first.full_reason, *(problem.what for problem in others)])


def delete_rejected_rows(
    connection: duckdb.DuckDBPyConnection, feed: Feed, keys: Sequence[str]
) -> None:
    """Delete the rows of partitions in `rejected_rows`."""
    connection.execute(
        f"DELETE FROM {REJECTED_ROWS_TABLE} WHERE feed = ? "
        "AND partition_key IN (SELECT unnest(CAST(? AS VARCHAR[])))",
        [feed.name, list(keys)],
    )


def forget_rejected_rows(connection: duckdb.DuckDBPyConnection, feed: Feed) -> None:
    """Delete a feed's rows in `rejected_rows`, because its table is new."""
    connection.execute(f"DELETE FROM {REJECTED_ROWS_TABLE} WHERE feed = ?", [feed.name])
