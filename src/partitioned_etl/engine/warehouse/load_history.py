"""Load history: table `load_history`, one row per load of a file, and per file that was removed.

It tells what changed a feed's table, and when; the transaction that changed it writes it. Nothing
is decided by it: what is loaded now, the ledger says. What is older than the setting
`LOAD_HISTORY_DAYS` is removed by the nightly reconcile job.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

import duckdb

from partitioned_etl.engine.sql import LOAD_HISTORY_TABLE
from partitioned_etl.engine.warehouse.ledger import LedgerRow
from partitioned_etl.engine.warehouse.table_columns import insert_columns

if TYPE_CHECKING:
    import pandas as pd


class HistoryKind(StrEnum):
    """What changed the table."""

    FIRST = "first load"
    RELOAD = "reload"
    REMOVED = "removed"
    """Its file is gone, and the feed's policy is to remove its rows."""
    FORGOTTEN = "forgotten"
    """A person had it forgotten."""
    MIGRATED = "migrated"
    """Values did not fit a column's new type; the file loads again."""


class RowChanges(NamedTuple):
    """What the load of a file changed in the table.

    Attributes:
        added: Rows that it has more than before; None if they were not compared.
        removed: Rows that it has less.
        unchanged: Rows that are as before.
        not_compared: Why they were not compared; empty if they were.
        is_reload: Whether the file took the place of one that had been loaded.
    """

    added: int | None = None
    removed: int | None = None
    unchanged: int | None = None
    not_compared: str = ""
    is_reload: bool = False


class HistoryRow(NamedTuple):
    """What changed the rows of one file.

    Attributes:
        feed: Name of the feed.
        partition_key: The partition.
        source_file: Name of the file.
        kind: What changed them.
        changed_at: When, UTC; of a load, `loaded_at` of the ledger.
        row_count: Rows that the table holds of the file since then.
        rejected_count: Rows that went to table `rejected_rows` instead; they are not compared.
        rows_added: As in `RowChanges`.
        rows_removed: As in `RowChanges`.
        rows_unchanged: As in `RowChanges`.
        not_compared: As in `RowChanges`.
        content_hash: sha256 of the file's bytes, hexadecimal; empty if it was not loaded.
        run_id: The Dagster run, or empty.
    """

    feed: str
    partition_key: str
    source_file: str
    kind: HistoryKind
    changed_at: datetime
    row_count: int = 0
    rejected_count: int = 0
    rows_added: int | None = None
    rows_removed: int | None = None
    rows_unchanged: int | None = None
    not_compared: str = ""
    content_hash: str = ""
    run_id: str = ""


COLUMNS = {
    "feed": "VARCHAR",
    "partition_key": "VARCHAR",
    "source_file": "VARCHAR",
    "kind": "VARCHAR",
    "changed_at": "TIMESTAMPTZ",
    "row_count": "BIGINT",
    "rejected_count": "BIGINT",
    "rows_added": "BIGINT",
    "rows_removed": "BIGINT",
    "rows_unchanged": "BIGINT",
    "not_compared": "VARCHAR",
    "content_hash": "VARCHAR",
    "run_id": "VARCHAR",
}


@dataclass(frozen=True)
class LoadHistory:
    """What changed a feed's table.

    Attributes:
        rows: The latest first.
    """

    rows: Sequence[HistoryRow] = ()

    def __iter__(self) -> Iterator[HistoryRow]:
        """Iterate over the rows."""
        return iter(self.rows)

    def to_frame(self) -> "pd.DataFrame":
        """Return the rows as a DataFrame, for a notebook."""
        import pandas as pd

        return pd.DataFrame(list(self), columns=list(HistoryRow._fields))


def loaded_row(row: LedgerRow, changes: RowChanges) -> HistoryRow:
    """Return the history's row of a load.

    Args:
        row: The ledger's row of the file.
        changes: What the load changed.
    """
    return HistoryRow(
        feed=row.feed,
        partition_key=row.partition_key,
        source_file=row.source_file,
        kind=HistoryKind.RELOAD if changes.is_reload else HistoryKind.FIRST,
        changed_at=row.loaded_at or datetime.now(UTC),
        row_count=row.row_count,
        rejected_count=row.rejected_count,
        rows_added=changes.added,
        rows_removed=changes.removed,
        rows_unchanged=changes.unchanged,
        not_compared=changes.not_compared,
        content_hash=row.content_hash,
        run_id=row.run_id,
    )


def removed_rows(
    feed_name: str, counted: Mapping[tuple[str, str], int], kind: HistoryKind, run_id: str = ""
) -> list[HistoryRow]:
    """Return the history's rows of files whose rows are removed.

    Args:
        feed_name: The feed's name.
        counted: How many rows the table holds of them, by partition key and file name.
        kind: Why they are removed.
        run_id: The Dagster run.
    """
    now = datetime.now(UTC)
    return [
        HistoryRow(
            *(feed_name, key, name, kind, now),
            rows_added=0,
            rows_removed=count,
            rows_unchanged=0,
            run_id=run_id,
        )
        for (key, name), count in counted.items()
    ]


def ensure_load_history(duck: duckdb.DuckDBPyConnection) -> None:
    """Create table `load_history` if it does not exist."""
    columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    duck.execute(f"CREATE TABLE IF NOT EXISTS {LOAD_HISTORY_TABLE} ({columns})")


def insert_history(duck: duckdb.DuckDBPyConnection, rows: Sequence[HistoryRow]) -> None:
    """Insert rows, inside the transaction that changes the feed's table."""
    if not rows:
        return
    values = [[getattr(row, name) for row in rows] for name in COLUMNS]
    insert_columns(duck, LOAD_HISTORY_TABLE, COLUMNS, values)


def read_history(
    duck: duckdb.DuckDBPyConnection, feed_name: str, since: datetime | None
) -> LoadHistory:
    """Read what changed a feed's table.

    Args:
        duck: A connection to a database that has the table.
        feed_name: The feed's name.
        since: From when on; None for all.
    """
    # A time without zone avoids a zone lookup per row.
    names = ", ".join(COLUMNS).replace("changed_at", "make_timestamp(epoch_us(changed_at))")
    found = duck.execute(
        f"SELECT {names} FROM {LOAD_HISTORY_TABLE} "
        "WHERE feed = ? AND changed_at >= coalesce(CAST(? AS TIMESTAMPTZ), '-infinity') "
        "ORDER BY changed_at DESC, partition_key, source_file",
        [feed_name, since],
    ).fetchall()
    return collect_history(found)


def collect_history(rows: Sequence[tuple[object, ...]]) -> LoadHistory:
    """Return the history from its rows, whose times are in UTC and without a zone."""
    read = [HistoryRow._make(row) for row in rows]
    return LoadHistory(
        [row._replace(changed_at=row.changed_at.replace(tzinfo=UTC)) for row in read]
    )


def forget_history(duck: duckdb.DuckDBPyConnection, feed_name: str) -> None:
    """Delete a feed's rows."""
    duck.execute(f"DELETE FROM {LOAD_HISTORY_TABLE} WHERE feed = ?", [feed_name])


def has_history_before(duck: duckdb.DuckDBPyConnection, before: datetime) -> bool:
    """Return whether there are rows of any feed from before a time."""
    found = duck.execute(
        f"SELECT 1 FROM {LOAD_HISTORY_TABLE} WHERE changed_at < ? LIMIT 1", [before]
    )
    return bool(found.fetchall())


def delete_history_before(duck: duckdb.DuckDBPyConnection, before: datetime) -> None:
    """Delete the rows of all feeds from before a time."""
    duck.execute(f"DELETE FROM {LOAD_HISTORY_TABLE} WHERE changed_at < ?", [before])
