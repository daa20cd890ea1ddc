"""PostgreSQL table: a feed's table on an open PostgreSQL database.

DuckDB reads and validates the landed files; the rows go over as `postgres_copy.py` has it. What
happens to which file is decided in `load.py`. Transactions wait for each other by advisory locks:
a load shares the feed's with other loads and has those of its partitions and files alone; what may
change anything has the feed's alone.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import duckdb

from partitioned_etl.engine import failpoints
from partitioned_etl.engine.conflicts import run_until_done
from partitioned_etl.engine.landing.landing import LandedFile
from partitioned_etl.engine.load_folder import folder_within
from partitioned_etl.engine.sql import (
    LEDGER_TABLE,
    LOAD_HISTORY_TABLE,
    PARTITION_KEY_COLUMN,
    REJECTED_ROWS_TABLE,
    SOURCE_FILE_COLUMN,
    Query,
    quote_identifier,
    quote_text,
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
from partitioned_etl.engine.warehouse import postgres_columns as columns_sql
from partitioned_etl.engine.warehouse import postgres_history as history_sql
from partitioned_etl.engine.warehouse import postgres_ledger as ledger_sql
from partitioned_etl.engine.warehouse.ledger import (
    Ledger,
    LedgerRow,
    Replaced,
    find_removed,
    find_takeover,
)
from partitioned_etl.engine.warehouse.load_history import (
    HistoryKind,
    HistoryRow,
    LoadHistory,
    removed_rows,
)
from partitioned_etl.engine.warehouse.postgres_copy import copy_in, copy_out
from partitioned_etl.engine.warehouse.postgres_session import Session, quote_name
from partitioned_etl.engine.warehouse.postgres_types import find_unheld, list_limits
from partitioned_etl.engine.warehouse.rejected_rows import RejectedRow
from partitioned_etl.engine.warehouse.table_columns import spell_types
from partitioned_etl.engine.warehouse.warehouse import Limit

if TYPE_CHECKING:
    import pandas as pd

    from partitioned_etl.engine.feed import Feed

_BUCKETS = 256
"""How many locks a feed's partitions and files share: a server has room for some thousands."""
_NO_FILES: Mapping[str, LandedFile] = MappingProxyType({})
_OF_KEYS = f"{PARTITION_KEY_COLUMN} = ANY(%s)"
_OF_NAMES = f"{SOURCE_FILE_COLUMN} = ANY(%s)"
_OF_FILES = (
    f"{_OF_KEYS} AND ({PARTITION_KEY_COLUMN}, coalesce({SOURCE_FILE_COLUMN}, '')) IN "
    "(SELECT * FROM unnest(%s::text[], %s::text[]))"
)


@dataclass(frozen=True)
class PostgresTable:
    """A feed's table on an open PostgreSQL database.

    Attributes:
        feed: The feed.
        duck: A connection to DuckDB, in memory, which reads landed files.
        session: A connection to the database.
        scratch_dir: A folder for what loads write aside, in which `duck` can read.
    """

    feed: "Feed"
    duck: duckdb.DuckDBPyConnection
    session: Session = field(compare=False)
    scratch_dir: Path = Path()
    _recorded: set[str] = field(default_factory=set, compare=False)
    _loads: list[HistoryRow] = field(default_factory=list, compare=False)

    @property
    def _name(self) -> str:
        return quote_name(self.feed.table)

    @cached_property
    def _declared(self) -> dict[str, str]:
        """The feed's columns with their types, as DuckDB spells them."""
        return spell_types(self.duck, self.feed.column_types)

    @cached_property
    def _loaded_columns(self) -> dict[str, str]:
        """The columns that a load writes."""
        return {**self._declared, PARTITION_KEY_COLUMN: "VARCHAR", SOURCE_FILE_COLUMN: "VARCHAR"}

    @property
    def limits(self) -> Mapping[str, Limit]:
        """Which values the table cannot hold, by column."""
        return self._limits

    @cached_property
    def _limits(self) -> Mapping[str, Limit]:
        return list_limits(self._declared)

    def exists(self) -> bool:
        """Return whether the table exists; without it, the ledger's rows are void."""
        return self._has(self.feed.table)

    def _has(self, table: str) -> bool:
        return bool(columns_sql.find_columns(self.session, table))

    def find_changes(self) -> TableChanges:
        """Return how the feed's declaration changes the table; nothing if there is none."""
        if unheld := find_unheld(self._declared, self.feed.table):
            return TableChanges(unheld=tuple(unheld))
        if not self.exists():
            return TableChanges()
        present = columns_sql.read_types(self.session, self.feed.table, self._declared)
        changes = compare_columns(self._declared, present, has_rows=True)
        if changes.columns and not columns_sql.has_rows(self.session, self.feed.table):
            changes = compare_columns(self._declared, present, has_rows=False)
        return changes

    def prepare(self) -> TableChanges:
        """Make table and ledger ready for a load, and the table as the feed declares it.

        Returns:
            How the declaration differed.

        Raises:
            WarehouseError: The table cannot become what the feed declares without a loss, or
                PostgreSQL cannot hold a column exactly.
        """
        changes = self._find_loadable_changes()
        own = (LEDGER_TABLE, REJECTED_ROWS_TABLE, LOAD_HISTORY_TABLE)
        if not (all(map(self._has, own)) and self.exists()):
            run_until_done(self._create)
            changes = self._find_loadable_changes()
        if changes.is_altered:
            run_until_done(self._alter)
        return changes

    def _find_loadable_changes(self) -> TableChanges:
        changes = self.find_changes()
        changes.require_loadable(self.feed.name, self.feed.table)
        return changes

    def _create(self) -> None:
        with self.transaction():
            ledger_sql.ensure_tables(self.session)
            if self.exists():
                return
            columns_sql.create_table(self.session, self.feed.table, self._declared)
            # Without the table, what the ledger knew was void.
            ledger_sql.forget_feed(self.session, self.feed.name)

    def _alter(self) -> None:
        with self.transaction():
            # Another process may have altered it meanwhile.
            changes = self._find_loadable_changes()
            if changes.is_made_anew:
                columns_sql.make_anew(self.session, self.feed.table, self._declared)
            else:
                wider = changes.of(ChangeKind.ADDED, ChangeKind.WIDENED)
                columns_sql.alter_columns(self.session, self.feed.table, wider)
            failpoints.reach(failpoints.AFTER_ALTER)

    def count_values(self, column: str) -> dict[str, int]:
        """Return how many values a column has, by partition key."""
        return columns_sql.count_values(self.session, self.feed.table, column)

    def count_misfits(self, change: ColumnChange) -> dict[str, int]:
        """Return how many values of a column do not fit its new type, by partition key."""
        return columns_sql.count_misfits(self.session, self.feed.table, change)

    def migrate(self, changes: TableChanges, keys: Sequence[str]) -> None:
        """Make the table what the feed declares, and remove partitions, inside a transaction."""
        ledger_sql.ensure_tables(self.session)
        there = ledger_sql.find_files(self.session, self.feed.name, (), keys)
        ledger_sql.forget_files(self.session, self.feed.name, [one.source_file for one in there])
        counted = self.count_rows(keys)
        self.delete(Replaced(keys))
        self.record_history(removed_rows(self.feed.name, counted, HistoryKind.MIGRATED))
        if changes.is_made_anew:
            columns_sql.make_anew(self.session, self.feed.table, self._declared)
        else:
            columns_sql.alter_columns(self.session, self.feed.table, changes.columns)
        failpoints.reach(failpoints.AFTER_ALTER)

    def scratch(self) -> AbstractContextManager[Path]:
        """Give a folder, in which DuckDB can read, for what one load writes aside."""
        return folder_within(self.scratch_dir)

    @contextmanager
    def transaction(self, files: Sequence[LandedFile] | None = None, /) -> Iterator[None]:
        """Run statements in one transaction: all of them or, after any exception, none.

        Args:
            files: The files that it loads or refuses; loads of other partitions go on meanwhile.
                None for one that may change anything: no other of the feed goes on meanwhile.

        Raises:
            WarehouseLockedError: Others held a partition for longer than the wait.
            WarehouseConflictError: It gave way to another one, and changed nothing.
        """
        pairs = None if files is None else [(file.partition_key, file.name) for file in files]
        with self._transaction(pairs):
            yield

    @contextmanager
    def _transaction(self, pairs: Sequence[tuple[str, str]] | None) -> Iterator[None]:
        self._recorded.clear()
        self._loads.clear()
        with self.session.transaction():
            self._lock(pairs)
            yield
            if self._recorded:
                ledger_sql.stamp_loads(self.session, self.feed.name, sorted(self._recorded))
                history_sql.insert_loads(self.session, self._loads)

    def _lock(self, pairs: Sequence[tuple[str, str]] | None) -> None:
        feed_name = self.feed.name
        self.session.lock([f"feed {feed_name}"], shared=pairs is not None)
        if not pairs:
            return
        keys, names = [key for key, _ in pairs], [name for _, name in pairs]
        held = {self._bucket_of(text) for text in (*keys, *names)}
        self.session.lock(held)
        if self._has(LEDGER_TABLE):
            # Where the files were under an earlier declaration, their rows go.
            others = ledger_sql.find_other_keys(self.session, feed_name, names, keys)
            if more := {self._bucket_of(key) for key in others} - held:
                self.session.lock(more)

    def _bucket_of(self, text: str) -> str:
        digest = hashlib.sha256(text.encode()).digest()
        return f"part {int.from_bytes(digest[:8]) % _BUCKETS} of feed {self.feed.name}"

    def read_ledger(
        self,
        landed: Mapping[str, LandedFile] = _NO_FILES,
        names: Sequence[str] | None = None,
        first_name: str = "",
    ) -> Ledger:
        """Read what the ledger knows of the feed; nothing if there is no table."""
        if not (self._has(LEDGER_TABLE) and self.exists()):
            return Ledger()
        return ledger_sql.read_ledger(self.session, self.feed.name, landed, names, first_name)

    def read_loads(self, first_name: str = "") -> Iterator[tuple[Any, ...]]:
        """Yield the values of a `KnownLoad` of each file; nothing if there is no table."""
        if not (self._has(LEDGER_TABLE) and self.exists()):
            return iter(())
        return ledger_sql.read_loads(self.session, self.feed.name, first_name)

    def next_load_time(self) -> datetime:
        """Return a time, UTC, later than every earlier load of the feed.

        It is provisional: the commit gives all loads of its transaction a later one, in the order
        of commits, by the server's clock.
        """
        query = (
            "SELECT greatest(clock_timestamp(), max(loaded_at) + interval '1 microsecond') "
            f"FROM {LEDGER_TABLE} WHERE feed = %s"
        )
        ((time,),) = self.session.fetch(query, [self.feed.name])
        return time.astimezone(UTC)

    def record_loads(self, rows: Sequence[LedgerRow]) -> Replaced:
        """Write the ledger rows of files that are being loaded, inside their transaction.

        Returns:
            What the files take the place of.
        """
        feed = self.feed
        names, keys = [row.source_file for row in rows], [row.partition_key for row in rows]
        there = ledger_sql.find_files(self.session, feed.name, names, keys)
        ledger_sql.upsert_rows(self.session, rows)
        self._recorded.update(names)
        takeover = find_takeover(feed, rows, there)
        ledger_sql.forget_files(self.session, feed.name, takeover.gone)
        ledger_sql.mark_superseded(self.session, feed.name, takeover.superseded)
        return takeover.replaced

    def record_refusals(self, rows: Sequence[LedgerRow]) -> None:
        """Write the ledger rows of files that are refused, inside a transaction."""
        ledger_sql.upsert_rows(self.session, rows)

    def record_superseded(self, rows: Sequence[LedgerRow]) -> None:
        """Write the ledger rows of superseded files that have no rows in the table."""
        if not rows or not self.exists():
            return

        def record() -> None:
            with self._transaction([(row.partition_key, row.source_file) for row in rows]):
                ledger_sql.upsert_rows(self.session, rows)

        run_until_done(record)

    def record_versions(self, rows: Sequence[LedgerRow], files: Sequence[LandedFile]) -> None:
        """Record new versions of files whose content is the ledger's."""
        if not rows:
            return

        def record() -> None:
            with self.transaction(files):
                ledger_sql.record_versions(self.session, rows, files)

        run_until_done(record)

    def list_left_out(self) -> tuple[str, ...]:
        """Return the table's columns that the feed does not declare."""
        there = columns_sql.find_columns(self.session, self.feed.table)
        return tuple(list_gone(self.feed.columns, there))

    def keep_replaced(self, successors: Mapping[tuple[str, str], int]) -> int | None:
        """Keep the rows of files that are to be deleted, until they are compared.

        Returns:
            How many these are; None if the role may make no temporary table.
        """
        columns = self._compared_columns()
        return history_sql.keep_rows(self.session, self.feed.table, columns, successors)

    def compare_kept(self, loaded: Mapping[tuple[str, str], int]) -> dict[int, tuple[int, int]]:
        """Count by how many rows loaded files differ from kept ones, and let these go."""
        columns = self._compared_columns()
        return history_sql.compare_kept_rows(self.session, self.feed.table, columns, loaded)

    def _compared_columns(self) -> dict[str, str]:
        present = columns_sql.read_types(self.session, self.feed.table, self._declared)
        return {name: present[name] for name in list_compared(present)}

    def record_history(self, rows: Sequence[HistoryRow]) -> None:
        """Write rows of the load history, inside the transaction that changes the table.

        Those of files that it loads are written when these get their time.
        """
        loads = [row for row in rows if row.source_file in self._recorded]
        self._loads.extend(loads)
        others = [row for row in rows if row.source_file not in self._recorded]
        history_sql.insert_history(self.session, others)

    def read_history(self, since: datetime | None = None) -> LoadHistory:
        """Read what changed the table, the latest first; nothing if there is no history."""
        if not self._has(LOAD_HISTORY_TABLE):
            return LoadHistory()
        return history_sql.read_history(self.session, self.feed.name, since)

    def trim_history(self, before: datetime) -> None:
        """Remove what the load history tells of all feeds from before a time."""
        if not self._has(LOAD_HISTORY_TABLE):
            return
        if history_sql.has_history_before(self.session, before):
            run_until_done(lambda: history_sql.delete_history_before(self.session, before))

    def delete(self, replaced: Replaced) -> int:
        """Delete the rows of partitions, or of files in them, and their rejected rows.

        Returns:
            How many rows of the table that were.
        """
        where, bound = _OF_KEYS, [list(replaced.keys)]
        if replaced.names:
            where = f"{where} AND {_OF_NAMES}"
            bound.append(list(replaced.names))
        deleted = self.session.run(f"DELETE FROM {self._name} WHERE {where}", bound)
        self.session.run(
            f"DELETE FROM {REJECTED_ROWS_TABLE} WHERE feed = %s AND {where}",
            [self.feed.name, *bound],
        )
        return deleted

    def insert(self, rows: Query) -> None:
        """Insert the rows of a query over landed files."""
        columns = self._loaded_columns
        values = ", ".join(map(self._value_sql, columns))
        held = Query(f"SELECT {values} FROM ({rows.sql})", rows.bound)
        copy_in(self.session, self.duck, held, self.feed.table, columns, self.scratch_dir)

    def _value_sql(self, column: str) -> str:
        name = quote_identifier(column)
        limit = self._limits.get(column)
        if not limit:
            return name
        failure = f"error({quote_text(f'column {column}')})"
        return f"CASE WHEN {limit.condition} THEN {failure} ELSE {name} END AS {name}"

    def insert_rejected(self, file: LandedFile, rows: Sequence[RejectedRow]) -> None:
        """Insert rejected rows of a file that is being loaded."""
        ledger_sql.insert_rejected_rows(self.session, self.feed.name, file, rows)

    def remove(self, names: Sequence[str], *, run_id: str = "") -> None:
        """Remove files: their rows, rejected rows and ledger rows, all at once."""
        run_until_done(lambda: self._remove(names, run_id))

    def _remove(self, names: Sequence[str], run_id: str) -> None:
        with self.transaction():
            ledger_sql.ensure_tables(self.session)
            removed = find_removed(
                names, ledger_sql.find_files(self.session, self.feed.name, names)
            )
            ledger_sql.forget_files(self.session, self.feed.name, names)
            counted = self.count_rows(removed.keys, removed.names)
            self.delete(removed)
            gone = removed_rows(self.feed.name, counted, HistoryKind.REMOVED, run_id)
            self.record_history(gone)

    def remove_files(self, files: Sequence[tuple[str, str]], *, run_id: str = "") -> None:
        """Remove rows, rejected rows and ledger rows of files, inside a transaction."""
        keys, names = [key for key, _ in files], [name for _, name in files]
        ledger_sql.ensure_tables(self.session)
        there, wanted = self.count_rows(keys), {*files}
        counted = {one: count for one, count in there.items() if one in wanted}
        gone = removed_rows(self.feed.name, counted, HistoryKind.FORGOTTEN, run_id)
        self.record_history(gone)
        self.session.run(f"DELETE FROM {self._name} WHERE {_OF_FILES}", [keys, keys, names])
        for table in (LEDGER_TABLE, REJECTED_ROWS_TABLE):
            self.session.run(
                f"DELETE FROM {table} WHERE feed = %s AND {_OF_FILES}",
                [self.feed.name, keys, keys, names],
            )

    def forget_feed(self) -> None:
        """Remove what the package's own tables hold of the feed, inside a transaction."""
        ledger_sql.ensure_tables(self.session)
        ledger_sql.forget_feed(self.session, self.feed.name)
        history_sql.forget_history(self.session, self.feed.name)

    def drop(self) -> None:
        """Drop the table, if it exists, inside a transaction."""
        if self.exists():
            self.session.run(f"DROP TABLE {self._name}")

    def require_columns(self) -> None:
        """Make sure that the table, if it exists, is one of a feed.

        Raises:
            WarehouseError: It lacks a column that every load adds.
        """
        require_added_columns(
            self.feed.table, columns_sql.find_columns(self.session, self.feed.table)
        )

    def tidy(self) -> None:
        """Do nothing: PostgreSQL has its own vacuum."""

    def count_files(self) -> int:
        """Return how many files the ledger knows of the feed, also if its table is gone."""
        if not self._has(LEDGER_TABLE):
            return 0
        query = f"SELECT count(*) FROM {LEDGER_TABLE} WHERE feed = %s"
        ((count,),) = self.session.fetch(query, [self.feed.name])
        return count

    def count_rows(
        self, keys: Sequence[str] | None = None, names: Sequence[str] = ()
    ) -> dict[tuple[str, str], int]:
        """Return how many rows the table holds, by partition key and file name."""
        if keys is None:
            return self._count(self._name, "", [])
        if names:
            return self._count(
                self._name, f"WHERE {_OF_KEYS} AND {_OF_NAMES} ", [list(keys), list(names)]
            )
        return self._count(self._name, f"WHERE {_OF_KEYS} ", [list(keys)])

    def sum_column(self, file: LandedFile, column: str) -> "int | Decimal":
        """Return the sum of a column of integers or decimals over the rows of a file."""
        ((total,),) = self.session.fetch(
            f"SELECT coalesce(sum({quote_name(column)}), 0)::numeric FROM {self._name} "
            f"WHERE {PARTITION_KEY_COLUMN} = %s AND {SOURCE_FILE_COLUMN} = %s",
            [file.partition_key, file.name],
        )
        is_decimal = self._declared[column].startswith("DECIMAL")
        return total if is_decimal else int(total)

    def count_rejected_rows(self) -> dict[tuple[str, str], int]:
        """Return how many rejected rows there are, by partition key and file name."""
        if not self._has(REJECTED_ROWS_TABLE):
            return {}
        return self._count(REJECTED_ROWS_TABLE, "WHERE feed = %s ", [self.feed.name])

    def _count(self, table: str, where: str, bound: list[object]) -> dict[tuple[str, str], int]:
        rows = self.session.fetch(
            f"SELECT coalesce({PARTITION_KEY_COLUMN}, ''), coalesce({SOURCE_FILE_COLUMN}, ''), "
            f"count(*) FROM {table} {where}GROUP BY 1, 2",
            bound,
        )
        return {(key, name): count for key, name, count in rows}

    def find_same_content(self, hashes: Sequence[str]) -> dict[str, list[str]]:
        """Find loaded files with rows that have one of these content hashes."""
        return ledger_sql.find_same_content(self.session, self.feed.name, hashes)

    def read_first_rows(
        self, files: Sequence[LandedFile], most: int
    ) -> dict[str, list[tuple[object, ...]]]:
        """Return some of the first rows that files have in each partition.

        A table of PostgreSQL has no order of its own: these are those that are found first.
        """
        columns = ", ".join(map(quote_name, self.feed.columns))
        rows: dict[str, list[tuple[object, ...]]] = {file.partition_key: [] for file in files}
        found = self.session.fetch(
            f"SELECT keys.one, first.* FROM unnest(%s::text[]) AS keys(one) CROSS JOIN LATERAL "
            f"(SELECT {columns} FROM {self._name} WHERE {PARTITION_KEY_COLUMN} = keys.one "
            f"AND {_OF_NAMES} LIMIT %s) AS first",
            [list(rows), [file.name for file in files], most],
        )
        for key, *cells in found:
            rows[key].append(tuple(cells))
        return rows

    def read_partition(self, key: str) -> "pd.DataFrame":
        """Return the rows of a partition, for a notebook."""
        with self._copied(key) as rows:
            return self.duck.execute(f"SELECT * FROM {rows.sql}", rows.bound).df()

    def write_parquet(self, key: str, path: Path) -> int:
        """Write the rows of a partition to a compressed Parquet file; return how many there are."""
        with self._copied(key) as rows:
            ((count,),) = self.duck.execute(
                f"COPY (SELECT * FROM {rows.sql}) TO {quote_text(str(path))} "
                "(FORMAT parquet, COMPRESSION zstd)",
                rows.bound,
            ).fetchall()
        return count

    @contextmanager
    def _copied(self, key: str) -> Iterator[Query]:
        """Copy the rows of a partition to where DuckDB reads them."""
        columns = columns_sql.read_types(self.session, self.feed.table, self._declared)
        listed = ", ".join(map(quote_name, columns))
        query = f"SELECT {listed} FROM {self._name} WHERE {PARTITION_KEY_COLUMN} = %s"
        with self.scratch() as folder:
            yield copy_out(self.session, query, [key], columns, folder / "rows.csv")
