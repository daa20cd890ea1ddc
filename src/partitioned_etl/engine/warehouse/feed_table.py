"""Feed table: a feed's table on an open DuckDB database, with its part of ledger and rejected rows.

All SQL over a feed's table is here. Which files are loaded, and what happens to those at fault, is
decided in `load.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import duckdb

from partitioned_etl.engine import failpoints
from partitioned_etl.engine.formats.rows import list_columns
from partitioned_etl.engine.landing.landing import LandedFile
from partitioned_etl.engine.load_folder import passing_load_folder
from partitioned_etl.engine.sql import (
    LEDGER_TABLE,
    LOAD_HISTORY_TABLE,
    PARTITION_KEY_COLUMN,
    REJECTED_ROWS_TABLE,
    SOURCE_FILE_COLUMN,
    Query,
    quote_identifier,
)
from partitioned_etl.engine.table_changes import (
    ChangeKind,
    ColumnChange,
    TableChanges,
    compare_columns,
    list_compared,
    list_gone,
    require_added_columns,
)
from partitioned_etl.engine.warehouse.kept_rows import (
    compare_kept_rows,
    keep_rows,
)
from partitioned_etl.engine.warehouse.ledger import (
    Ledger,
    LedgerRow,
    Replaced,
    ensure_ledger,
    find_files,
    find_latest_load,
    find_removed,
    find_same_content,
    find_takeover,
    forget_feed,
    forget_files,
    is_ledger,
    mark_superseded,
    read_ledger,
    read_loads,
    record_versions,
    upsert_rows,
)
from partitioned_etl.engine.warehouse.load_history import (
    HistoryKind,
    HistoryRow,
    LoadHistory,
    delete_history_before,
    ensure_load_history,
    forget_history,
    has_history_before,
    insert_history,
    read_history,
    removed_rows,
)
from partitioned_etl.engine.warehouse.rejected_rows import (
    RejectedRow,
    delete_rejected_rows,
    ensure_rejected_rows,
    forget_rejected_rows,
    insert_rejected_rows,
)
from partitioned_etl.engine.warehouse.table_columns import (
    alter_columns,
    count_misfits,
    count_values,
    create_table,
    has_rows,
    read_types,
    spell_types,
)
from partitioned_etl.engine.warehouse.warehouse import Limit

if TYPE_CHECKING:
    from decimal import Decimal

    import pandas as pd

    from partitioned_etl.engine.feed import Feed

_NO_FILES: Mapping[str, LandedFile] = MappingProxyType({})
_IN_LIST = "IN (SELECT unnest(CAST(? AS VARCHAR[])))"
_IN_KEYS = f"{PARTITION_KEY_COLUMN} {_IN_LIST}"
_OF_FILES = (
    f"{_IN_KEYS} AND ({PARTITION_KEY_COLUMN}, coalesce({SOURCE_FILE_COLUMN}, '')) IN "
    "(SELECT unnest(CAST(? AS VARCHAR[])), unnest(CAST(? AS VARCHAR[])))"
)


@dataclass(frozen=True)
class DuckDBTable:
    """A feed's table on an open DuckDB database.

    Attributes:
        feed: The feed.
        duck: A connection to the database, which also reads landed files.
        lock: Held by the one thread of this process that is writing to the database.
        scratch_dir: A folder for what loads write aside, in which the connection can read.
    """

    feed: "Feed"
    duck: duckdb.DuckDBPyConnection
    lock: Lock = field(default_factory=Lock, compare=False)
    scratch_dir: Path = Path()

    @property
    def _name(self) -> str:
        return quote_identifier(self.feed.table)

    @property
    def _base(self) -> duckdb.DuckDBPyConnection:
        """The connection that the table is on."""
        return self.duck

    def _ensure(self) -> None:
        """Create the package's own tables if they do not exist, inside a transaction."""
        ensure_ledger(self._base)
        ensure_rejected_rows(self._base)
        ensure_load_history(self._base)

    def _upsert(self, rows: Sequence[LedgerRow]) -> None:
        upsert_rows(self._base, rows)

    @property
    def limits(self) -> Mapping[str, Limit]:
        """Which values the table cannot hold: none, as the types are DuckDB's own."""
        return {}

    def exists(self) -> bool:
        """Return whether the table exists; without it, the ledger's rows are void."""
        return bool(find_columns(self._base, self.feed.table))

    def find_changes(self) -> TableChanges:
        """Return how the feed's declaration changes the table; nothing if there is none."""
        if not self.exists():
            return TableChanges()
        declared = spell_types(self._base, self.feed.column_types)
        present = read_types(self._base, self.feed.table)
        changes = compare_columns(declared, present, has_rows=True)
        if changes.columns and not has_rows(self._base, self.feed.table):
            changes = compare_columns(declared, present, has_rows=False)
        return changes

    def prepare(self) -> TableChanges:
        """Make table and ledger ready for a load, and the table as the feed declares it.

        It is altered in a transaction of its own: DuckDB 1 refuses to alter a table in which the
        same transaction has deleted rows.

        Returns:
            How the declaration differed.

        Raises:
            WarehouseError: The table cannot become what the feed declares without a loss.
        """
        if not self._is_created():
            self._create()
        changes = self._find_loadable_changes()
        if changes.is_altered:
            with self.transaction():
                # Another thread may have altered it meanwhile.
                self._alter(self._find_loadable_changes())
        return changes

    def _find_loadable_changes(self) -> TableChanges:
        changes = self.find_changes()
        changes.require_loadable(self.feed.name, self.feed.table)
        return changes

    def _alter(self, changes: TableChanges) -> None:
        if changes.is_made_anew:
            create_table(self._base, self.feed.table, self.feed.column_types, anew=True)
        else:
            wider = changes.of(ChangeKind.ADDED, ChangeKind.WIDENED)
            alter_columns(self._base, self.feed.table, wider)
        failpoints.reach(failpoints.AFTER_ALTER)

    def count_values(self, column: str) -> dict[str, int]:
        """Return how many values a column has, by partition key."""
        return count_values(self._base, self.feed.table, column)

    def count_misfits(self, change: ColumnChange) -> dict[str, int]:
        """Return how many values of a column do not fit its new type, by partition key."""
        return count_misfits(self._base, self.feed.table, change)

    def migrate(self, changes: TableChanges, keys: Sequence[str]) -> None:
        """Make the table what the feed declares, and remove partitions, inside a transaction."""
        self._ensure()
        self._change_columns(changes)
        there = find_files(self._base, self.feed.name, (), keys)
        forget_files(self._base, self.feed.name, [one.source_file for one in there])
        counted = self.count_rows(keys)
        self.delete(Replaced(keys))
        self.record_history(removed_rows(self.feed.name, counted, HistoryKind.MIGRATED))
        failpoints.reach(failpoints.AFTER_ALTER)

    def _change_columns(self, changes: TableChanges) -> None:
        if changes.is_made_anew:
            create_table(self._base, self.feed.table, self.feed.column_types, anew=True)
        else:
            alter_columns(self._base, self.feed.table, changes.columns)

    def _is_created(self) -> bool:
        has_ledger = is_ledger(find_columns(self._base, LEDGER_TABLE), is_complete=True)
        others = (REJECTED_ROWS_TABLE, LOAD_HISTORY_TABLE, self.feed.table)
        return has_ledger and all(find_columns(self._base, table) for table in others)

    def _create(self) -> None:
        with self.transaction():
            self._ensure()
            if has_table(self._base, self.feed.table):
                return
            create_table(self._base, self.feed.table, self.feed.column_types)
            # Without the table, what the ledger knew was void.
            forget_feed(self._base, self.feed.name)
            forget_rejected_rows(self._base, self.feed.name)

    def scratch(self) -> AbstractContextManager[Path]:
        """Give a folder, in which DuckDB can read, for what one load writes aside."""
        return passing_load_folder(self.scratch_dir)

    @contextmanager
    def transaction(self, _files: Sequence[LandedFile] | None = None, /) -> Iterator[None]:
        """Run statements in one transaction: all of them or, after any exception, none.

        Another thread of this process waits: two loads of a partition from different files would
        not see each other, and both leave their rows.
        """
        with self.lock, transaction(self._base):
            yield

    def read_ledger(
        self,
        landed: Mapping[str, LandedFile] = _NO_FILES,
        names: Sequence[str] | None = None,
        first_name: str = "",
    ) -> Ledger:
        """Read what the ledger knows of the feed; nothing if there is no table."""
        columns = find_columns(self._base, LEDGER_TABLE)
        if not (columns and self.exists()):
            return Ledger()
        return read_ledger(self._base, self.feed.name, landed, columns, names, first_name)

    def read_loads(self, first_name: str = "") -> Iterator[tuple[Any, ...]]:
        """Yield the values of a `KnownLoad` of each file; nothing if there is no table."""
        columns = find_columns(self._base, LEDGER_TABLE)
        if not (columns and self.exists()):
            return iter(())
        return read_loads(self._base, self.feed.name, columns, first_name)

    def next_load_time(self) -> datetime:
        """Return a time later than every earlier load of the feed, even if the clock was set back.

        The sensors use it to distinguish new loads from old ones.
        """
        now, latest = datetime.now(UTC), find_latest_load(self._base, self.feed.name)
        return max(now, latest + timedelta(microseconds=1)) if latest else now

    def record_loads(self, rows: Sequence[LedgerRow]) -> Replaced:
        """Write the ledger rows of files that are being loaded, inside their transaction.

        Returns:
            What the files take the place of.
        """
        feed = self.feed
        names, keys = [row.source_file for row in rows], [row.partition_key for row in rows]
        there = find_files(self._base, feed.name, names, keys)
        self._upsert(rows)
        takeover = find_takeover(feed, rows, there)
        forget_files(self._base, feed.name, takeover.gone)
        mark_superseded(self._base, feed.name, takeover.superseded)
        return takeover.replaced

    def record_refusals(self, rows: Sequence[LedgerRow]) -> None:
        """Write the ledger rows of files that are refused, inside a transaction."""
        self._upsert(rows)

    def record_superseded(self, rows: Sequence[LedgerRow]) -> None:
        """Write the ledger rows of superseded files that have no rows in the table."""
        if not rows or not self.exists():
            return
        with self.transaction():
            self._ensure()
            self._upsert(rows)

    def record_versions(self, rows: Sequence[LedgerRow], files: Sequence[LandedFile]) -> None:
        """Record new versions of files whose content is the ledger's."""
        if not rows:
            return
        with self.transaction():
            self._ensure()
            record_versions(self._base, rows, files)

    def list_left_out(self) -> tuple[str, ...]:
        """Return the table's columns that the feed does not declare."""
        return tuple(list_gone(self.feed.columns, find_columns(self._base, self.feed.table)))

    def delete(self, replaced: Replaced) -> int:
        """Delete the rows of partitions, or of files in them, and their rejected rows.

        Returns:
            How many rows of the table that were.
        """
        where, bound = _where(replaced)
        deleted = self._base.execute(f"DELETE FROM {self._name} WHERE {where}", bound).fetchall()
        delete_rejected_rows(self._base, self.feed.name, where, bound)
        return sum(count for (count,) in deleted)

    def keep_replaced(self, successors: Mapping[tuple[str, str], int]) -> int | None:
        """Keep the rows of files that are to be deleted, until they are compared.

        Returns:
            How many these are.
        """
        return keep_rows(self._base, self.feed.table, self._compared_columns(), successors)

    def compare_kept(self, loaded: Mapping[tuple[str, str], int]) -> dict[int, tuple[int, int]]:
        """Count by how many rows loaded files differ from the kept ones, and let these go."""
        return compare_kept_rows(self._base, self.feed.table, self._compared_columns(), loaded)

    def _compared_columns(self) -> list[str]:
        return list_compared(find_columns(self._base, self.feed.table))

    def record_history(self, rows: Sequence[HistoryRow]) -> None:
        """Write rows of the load history, inside the transaction that changes the table."""
        insert_history(self._base, rows)

    def read_history(self, since: datetime | None = None) -> LoadHistory:
        """Read what changed the table, the latest first; nothing if there is no history."""
        if not find_columns(self._base, LOAD_HISTORY_TABLE):
            return LoadHistory()
        return read_history(self._base, self.feed.name, since)

    def trim_history(self, before: datetime) -> None:
        """Remove what the load history tells of all feeds from before a time."""
        if not find_columns(self._base, LOAD_HISTORY_TABLE):
            return
        if has_history_before(self._base, before):
            with self.transaction():
                delete_history_before(self._base, before)

    def insert(self, rows: Query) -> None:
        """Insert the rows of a query over landed files."""
        columns = list_columns(self.feed)
        self._base.execute(f"INSERT INTO {self._name} ({columns}) {rows.sql}", rows.bound)

    def insert_rejected(self, file: LandedFile, rows: Sequence[RejectedRow]) -> None:
        """Insert rejected rows of a file that is being loaded."""
        insert_rejected_rows(self._base, self.feed.name, file, rows)

    def remove(self, names: Sequence[str], *, run_id: str = "") -> None:
        """Remove files: their rows, rejected rows and ledger rows, all at once."""
        with self.transaction():
            self._ensure()
            removed = find_removed(names, find_files(self._base, self.feed.name, names))
            forget_files(self._base, self.feed.name, names)
            counted = self.count_rows(removed.keys, removed.names)
            self.delete(removed)
            gone = removed_rows(self.feed.name, counted, HistoryKind.REMOVED, run_id)
            self.record_history(gone)

    def remove_files(self, files: Sequence[tuple[str, str]], *, run_id: str = "") -> None:
        """Remove rows, rejected rows and ledger rows of files, inside a transaction."""
        keys, names = [key for key, _ in files], [name for _, name in files]
        self._ensure()
        there, wanted = self.count_rows(keys), {*files}
        counted = {one: count for one, count in there.items() if one in wanted}
        gone = removed_rows(self.feed.name, counted, HistoryKind.FORGOTTEN, run_id)
        self.record_history(gone)
        self._base.execute(f"DELETE FROM {self._name} WHERE {_OF_FILES}", [keys, keys, names])
        for table in (LEDGER_TABLE, REJECTED_ROWS_TABLE):
            self._base.execute(
                f"DELETE FROM {table} WHERE feed = ? AND {_OF_FILES}",
                [self.feed.name, keys, keys, names],
            )

    def forget_feed(self) -> None:
        """Remove what the package's own tables hold of the feed, inside a transaction."""
        self._ensure()
        forget_feed(self._base, self.feed.name)
        forget_rejected_rows(self._base, self.feed.name)
        forget_history(self._base, self.feed.name)

    def drop(self) -> None:
        """Drop the table, if it exists, inside a transaction."""
        self._base.execute(f"DROP TABLE IF EXISTS {self._name}")

    def require_columns(self) -> None:
        """Make sure that the table, if it exists, is one of a feed.

        Raises:
            WarehouseError: It lacks a column that every load adds.
        """
        require_added_columns(self.feed.table, find_columns(self._base, self.feed.table))

    def tidy(self) -> None:
        """Do nothing: DuckDB uses what is freed again."""

    def count_files(self) -> int:
        """Return how many files the ledger knows of the feed, also if its table is gone."""
        if not find_columns(self._base, LEDGER_TABLE):
            return 0
        sql = f"SELECT count(*) FROM {LEDGER_TABLE} WHERE feed = ?"
        ((count,),) = self._base.execute(sql, [self.feed.name]).fetchall()
        return count

    def count_rows(
        self, keys: Sequence[str] | None = None, names: Sequence[str] = ()
    ) -> dict[tuple[str, str], int]:
        """Return how many rows the table holds, by partition key and file name."""
        if keys is None:
            return self._count(self._name, "", [])
        if names:
            where = f"WHERE {_IN_KEYS} AND {SOURCE_FILE_COLUMN} {_IN_LIST} "
            return self._count(self._name, where, [list(keys), list(names)])
        return self._count(self._name, f"WHERE {_IN_KEYS} ", [list(keys)])

    def sum_column(self, file: LandedFile, column: str) -> "int | Decimal":
        """Return the sum of a column of integers or decimals over the rows of a file."""
        ((total,),) = self._base.execute(
            f"SELECT coalesce(sum({quote_identifier(column)}), 0) FROM {self._name} "
            f"WHERE {PARTITION_KEY_COLUMN} = ? AND {SOURCE_FILE_COLUMN} = ?",
            [file.partition_key, file.name],
        ).fetchall()
        return total

    def count_rejected_rows(self) -> dict[tuple[str, str], int]:
        """Return how many rejected rows there are, by partition key and file name."""
        if not find_columns(self._base, REJECTED_ROWS_TABLE):
            return {}
        return self._count(REJECTED_ROWS_TABLE, "WHERE feed = ? ", [self.feed.name])

    def _count(self, table: str, where: str, bound: list[object]) -> dict[tuple[str, str], int]:
        rows = self._base.execute(
            f"SELECT coalesce({PARTITION_KEY_COLUMN}, ''), coalesce({SOURCE_FILE_COLUMN}, ''), "
            f"count(*) FROM {table} {where}GROUP BY ALL",
            bound,
        ).fetchall()
        return {(key, name): count for key, name, count in rows}

    def find_same_content(self, hashes: Sequence[str]) -> dict[str, list[str]]:
        """Find loaded files with rows that have one of these content hashes."""
        return find_same_content(self._base, self.feed.name, hashes)

    def read_first_rows(
        self, files: Sequence[LandedFile], most: int
    ) -> dict[str, list[tuple[object, ...]]]:
        """Return the first rows that files have in each partition, without the added columns."""
        columns = ", ".join(map(quote_identifier, self.feed.columns))
        found = self._base.execute(
            f"SELECT {PARTITION_KEY_COLUMN}, {columns} FROM {self._name} "
            f"WHERE {_IN_KEYS} AND {SOURCE_FILE_COLUMN} {_IN_LIST} "
            f"QUALIFY row_number() OVER (PARTITION BY {PARTITION_KEY_COLUMN} ORDER BY rowid) <= ?",
            [[file.partition_key for file in files], [file.name for file in files], most],
        ).fetchall()
        rows: dict[str, list[tuple[object, ...]]] = {file.partition_key: [] for file in files}
        for key, *cells in found:
            rows[key].append(tuple(cells))
        return rows

    def read_partition(self, key: str) -> "pd.DataFrame":
        """Return the rows of a partition, for a notebook."""
        return self._base.execute(f"SELECT * FROM {self._name} WHERE {_IN_KEYS}", [[key]]).df()

    def write_parquet(self, key: str, path: Path) -> int:
        """Write the rows of a partition to a compressed Parquet file; return how many there are."""
        rows = self._base.sql(f"SELECT * FROM {self._name} WHERE {_IN_KEYS}", params=[[key]])
        rows.write_parquet(str(path), compression="zstd")
        return sum(self.count_rows([key]).values())


def _where(replaced: Replaced) -> tuple[str, list[object]]:
    """Return the condition of what is replaced, and the values that it binds."""
    if not replaced.names:
        return _IN_KEYS, [list(replaced.keys)]
    where = f"{_IN_KEYS} AND {SOURCE_FILE_COLUMN} {_IN_LIST}"
    return where, [list(replaced.keys), list(replaced.names)]


@contextmanager
def transaction(duck: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Run statements in one transaction: all of them or, after any exception, none."""
    duck.execute("BEGIN")
    try:
        yield
        duck.execute("COMMIT")
    except BaseException:
        # A failed COMMIT has ended the transaction, and its error is the one to report.
        with suppress(duckdb.Error):
            duck.execute("ROLLBACK")
        raise


def find_columns(duck: duckdb.DuckDBPyConnection, table: str) -> list[str]:
    """Return the names of a table's columns; none if there is no table.

    Outside a transaction, which a missing table would end. To list all tables, as `has_table` does,
    takes ten times as long on a connection that is new.
    """
    try:
        rows = duck.execute(
            "SELECT name FROM pragma_table_info(?)", [quote_identifier(table)]
        ).fetchall()
    except duckdb.CatalogException:
        return []
    return [name for (name,) in rows]


def has_table(duck: duckdb.DuckDBPyConnection, table: str) -> bool:
    """Return whether the database has a table of this name, ignoring case."""
    found = duck.execute(
        "SELECT count(*) FROM duckdb_tables() WHERE lower(table_name) = lower(?) "
        "AND database_name = current_database() AND schema_name = current_schema()",
        [table],
    ).fetchone()
    return bool(found and found[0])
