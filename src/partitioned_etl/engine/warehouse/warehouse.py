"""Warehouse: what every place that holds tables and ledger must be able to do.

A warehouse is opened for one unit of work. On it, a feed's table is one object: it knows the feed,
its part of the ledger, and how rows get in and out. `load.py` decides what happens; that it happens
wholly or not at all, and once, is the warehouse's promise, kept by its engine's own means.
`duckdb_file.py` is a DuckDB file; another kind of warehouse is another module here.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import duckdb

from partitioned_etl.engine.landing.landing import LandedFile
from partitioned_etl.engine.sql import Query
from partitioned_etl.engine.table_changes import ColumnChange, TableChanges
from partitioned_etl.engine.warehouse.ledger import Ledger, LedgerRow, Replaced
from partitioned_etl.engine.warehouse.load_history import HistoryRow, LoadHistory
from partitioned_etl.engine.warehouse.rejected_rows import RejectedRow

if TYPE_CHECKING:
    from decimal import Decimal

    import pandas as pd

    from partitioned_etl.engine.feed import Feed


class Limit(NamedTuple):
    """Which values of a column a warehouse cannot hold, although the feed's type has them.

    Attributes:
        condition: SQL of DuckDB over the column's quoted name; NULL or false of what it can hold.
        described: The others, in words that follow the type's: `without NUL characters`.
    """

    condition: str
    described: str


class FeedTable(Protocol):
    """A feed's table on an open warehouse, with the feed's part of ledger and rejected rows."""

    @property
    def feed(self) -> "Feed":
        """The feed."""
        ...

    @property
    def duck(self) -> duckdb.DuckDBPyConnection:
        """A DuckDB connection that reads landed files, and nothing else outside the warehouse."""
        ...

    @property
    def limits(self) -> Mapping[str, Limit]:
        """Which values the table cannot hold, by column; a file that has one is refused."""
        ...

    def exists(self) -> bool:
        """Return whether the table exists; without it, the ledger's rows are void."""
        ...

    def find_changes(self) -> TableChanges:
        """Return how the feed's declaration changes the table; nothing if there is none."""
        ...

    def prepare(self) -> TableChanges:
        """Make table and ledger ready for a load, and the table as the feed declares it.

        The table is altered wholly or not at all. It keeps columns that the feed does not declare.

        Returns:
            How the declaration differed.

        Raises:
            WarehouseError: The table cannot become what the feed declares without a loss.
        """
        ...

    def count_values(self, column: str) -> dict[str, int]:
        """Return how many values a column has, by partition key; without those that have none."""
        ...

    def count_misfits(self, change: ColumnChange) -> dict[str, int]:
        """Return how many values of a column do not fit its new type, by partition key."""
        ...

    def migrate(self, changes: TableChanges, keys: Sequence[str]) -> None:
        """Make the table what the feed declares, and remove partitions, inside a transaction.

        Args:
            changes: How it differs.
            keys: The partition keys of all rows with a value that does not fit its new type.

        Raises:
            WarehouseError: Something depends on the table as it is.
        """
        ...

    def scratch(self) -> AbstractContextManager[Path]:
        """Give a folder, in which DuckDB can read, for what one load writes aside.

        It is removed in the end; what a killed process left behind, by the next load.
        """
        ...

    def transaction(
        self, files: Sequence[LandedFile] | None = None, /
    ) -> AbstractContextManager[None]:
        """Run statements in one transaction: all of them or, after any exception, none.

        No two transactions change the same partition at once: the second waits, and then sees what
        the first did.

        Args:
            files: The files that it loads or refuses; with these, loads of other partitions may go
                on meanwhile, where the warehouse lets them. None for one that may change anything.

        Raises:
            WarehouseConflictError: It gave way to another one, and changed nothing.
        """
        ...

    def read_ledger(
        self,
        landed: Mapping[str, LandedFile] = ...,
        names: Sequence[str] | None = None,
        first_name: str = "",
    ) -> Ledger:
        """Read what the ledger knows of the feed; nothing if there is no table.

        Args:
            landed: The landed files by name; values that a row shares with its file are kept in
                memory once.
            names: The files to read of; None for all.
            first_name: None is read whose name sorts before it; empty for all.
        """
        ...

    def read_loads(self, first_name: str = "") -> Iterator[tuple[Any, ...]]:
        """Yield the values of a `KnownLoad` of each file; nothing if there is no table.

        They are read as they are asked for: the table does nothing else until then.
        """
        ...

    def next_load_time(self) -> datetime:
        """Return a time, UTC, later than every earlier load of the feed."""
        ...

    def record_loads(self, rows: Sequence[LedgerRow]) -> Replaced:
        """Write the ledger rows of files that are being loaded, inside their transaction.

        Files of a lower version, whose place they take, are recorded as superseded.

        Returns:
            What the files take the place of.
        """
        ...

    def record_refusals(self, rows: Sequence[LedgerRow]) -> None:
        """Write the ledger rows of files that are refused, inside a transaction."""
        ...

    def record_superseded(self, rows: Sequence[LedgerRow]) -> None:
        """Write the ledger rows of superseded files that have no rows in the table."""
        ...

    def record_versions(self, rows: Sequence[LedgerRow], files: Sequence[LandedFile]) -> None:
        """Record new versions of files whose content is the ledger's.

        A row that has changed since it was read is left alone.

        Args:
            rows: The ledger rows of the files, as read.
            files: The landed files, in the same order.
        """
        ...

    def list_left_out(self) -> tuple[str, ...]:
        """Return the table's columns that the feed does not declare."""
        ...

    def keep_replaced(self, successors: Mapping[tuple[str, str], int]) -> int | None:
        """Keep the rows of files that are to be deleted, inside the transaction.

        Args:
            successors: The files, by partition key and name, each with the number of the one that
                takes its place.

        Returns:
            How many these are; None if they cannot be kept.
        """
        ...

    def compare_kept(self, loaded: Mapping[tuple[str, str], int]) -> dict[int, tuple[int, int]]:
        """Count by how many rows loaded files differ from the kept ones, and let these go.

        Rows are the same if no column of the table tells them apart, but for partition key and file
        name; equal rows count as often as they are there.

        Args:
            loaded: The numbers of the loaded files, by partition key and name.

        Returns:
            How many rows are added and removed, by the number of a loaded file that differs.
        """
        ...

    def record_history(self, rows: Sequence[HistoryRow]) -> None:
        """Write rows of the load history, inside the transaction that changes the table.

        What is told of files that it loads gets the time that the ledger gets.
        """
        ...

    def read_history(self, since: datetime | None = None) -> LoadHistory:
        """Read what changed the table, the latest first; nothing if there is no history.

        Args:
            since: From when on; None for all that is kept.
        """
        ...

    def trim_history(self, before: datetime) -> None:
        """Remove what the load history tells of all feeds from before a time."""
        ...

    def delete(self, replaced: Replaced) -> int:
        """Delete the rows of partitions, or of files in them, and their rejected rows.

        Returns:
            How many rows of the table that were.
        """
        ...

    def insert(self, rows: Query) -> None:
        """Insert the rows of a query over landed files.

        Args:
            rows: A query for the feed's columns, partition key and file name.

        Raises:
            duckdb.Error: The query failed, or the table does not take its rows.
        """
        ...

    def insert_rejected(self, file: LandedFile, rows: Sequence[RejectedRow]) -> None:
        """Insert rejected rows of a file that is being loaded."""
        ...

    def remove(self, names: Sequence[str], *, run_id: str = "") -> None:
        """Remove files: their rows, rejected rows and ledger rows, all at once.

        Args:
            names: The files.
            run_id: The Dagster run, for the load history.
        """
        ...

    def remove_files(self, files: Sequence[tuple[str, str]], *, run_id: str = "") -> None:
        """Remove rows, rejected rows and ledger rows of files, inside a transaction.

        Args:
            files: The files, each by its partition key and its name.
            run_id: The Dagster run, for the load history.
        """
        ...

    def forget_feed(self) -> None:
        """Remove what the package's own tables hold of the feed, inside a transaction."""
        ...

    def drop(self) -> None:
        """Drop the table, if it exists, inside a transaction."""
        ...

    def require_columns(self) -> None:
        """Make sure that the table, if it exists, is one of a feed.

        Raises:
            WarehouseError: It lacks a column that every load adds.
        """
        ...

    def tidy(self) -> None:
        """Make good what many loads leave, such as many small files; outside a transaction."""
        ...

    def count_files(self) -> int:
        """Return how many files the ledger knows of the feed, also if its table is gone."""
        ...

    def count_rows(
        self, keys: Sequence[str] | None = None, names: Sequence[str] = ()
    ) -> dict[tuple[str, str], int]:
        """Return how many rows the table holds.

        Args:
            keys: The partition keys that are counted; None for all, in one pass over the table.
            names: The files in them that are counted; none for all.

        Returns:
            The number of rows by partition key and file name.
        """
        ...

    def sum_column(self, file: LandedFile, column: str) -> "int | Decimal":
        """Return the sum of a column of integers or decimals over the rows of a file."""
        ...

    def count_rejected_rows(self) -> dict[tuple[str, str], int]:
        """Return how many rejected rows there are, by partition key and file name."""
        ...

    def find_same_content(self, hashes: Sequence[str]) -> dict[str, list[str]]:
        """Find loaded files with rows that have one of these content hashes.

        Returns:
            File names, in the order of partition keys, per content hash.
        """
        ...

    def read_first_rows(
        self, files: Sequence[LandedFile], most: int
    ) -> dict[str, list[tuple[object, ...]]]:
        """Return the first rows that files have in each partition, without the added columns."""
        ...

    def read_partition(self, key: str) -> "pd.DataFrame":
        """Return the rows of a partition, for a notebook."""
        ...

    def write_parquet(self, key: str, path: Path) -> int:
        """Write the rows of a partition to a compressed Parquet file.

        Args:
            key: The partition key.
            path: The file, in the folder that statements may access.

        Returns:
            How many rows there are.
        """
        ...


class Answer(NamedTuple):
    """What a query gives.

    Attributes:
        names: The names of its columns.
        rows: Its rows, which are read as they are asked for.
    """

    names: Sequence[str]
    rows: Iterator[tuple[object, ...]]


Execute = Callable[[str, Sequence[object]], list[tuple[Any, ...]]]
"""Runs a statement with the values of `$1`, `$2`, …, and returns its rows."""


class OpenWarehouse(Protocol):
    """A warehouse that is open for one unit of work."""

    @property
    def duck(self) -> duckdb.DuckDBPyConnection:
        """A DuckDB connection that reads landed files, and nothing else outside the warehouse."""
        ...

    def table(self, feed: "Feed") -> FeedTable:
        """Return a feed's table, which need not exist yet."""
        ...

    def transaction(self, table: str, /) -> AbstractContextManager[Execute]:
        """Run statements of one's own in one transaction, such as those of a downstream asset.

        Args:
            table: The table that they change; transactions on the same one take turns.
        """
        ...

    def query(self, sql: str) -> Answer:
        """Run one statement of a person's own, on a warehouse that is open for reading.

        Raises:
            QueryError: It is refused, as it asks for more than to read, or is no statement.
        """
        ...

    def interrupt(self) -> None:
        """End the statement that another thread waits for."""
        ...


class Warehouse(Protocol):
    """A place that holds the feeds' tables and their ledger."""

    @property
    def address(self) -> str:
        """Where it is, as a URI; without credentials."""
        ...

    @property
    def name(self) -> str:
        """Where it is, as the settings have it; without credentials."""
        ...

    def exists(self) -> bool:
        """Return whether anything was ever written to it."""
        ...

    def scratch(self) -> AbstractContextManager[Path]:
        """Give a folder for what one load writes aside, in which DuckDB reads once it is open.

        It is removed in the end; what a killed process left behind, by the next load.
        """
        ...

    def open(
        self, readable_dir: Path, *, lock_wait_seconds: float | None = None
    ) -> AbstractContextManager[OpenWarehouse]:
        """Open it for one unit of work; it is made if it does not exist.

        Args:
            readable_dir: The one folder that statements may access files in.
            lock_wait_seconds: How long to wait for others; by default as configured.

        Raises:
            WarehouseLockedError: Others held it for longer than the wait.
            WarehouseError: It cannot be opened.
        """
        ...

    def open_read_only(
        self, *, lock_wait_seconds: float | None = None
    ) -> AbstractContextManager[OpenWarehouse]:
        """Open it such that statements change nothing and read no file.

        Args:
            lock_wait_seconds: How long to wait for others; by default as configured.

        Raises:
            NoWarehouseError: It does not exist.
            WarehouseLockedError: Others held it for longer than the wait.
            WarehouseError: It cannot be opened.
        """
        ...
