"""DuckLake table: a feed's table in a lake.

Its SQL is that of a DuckDB file where the two agree. They do not in this: landed files are read on
a connection of their own, whose rows come over in a Parquet file; there are no keys; a column's
type is changed by writing the table anew.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from shutil import copyfile
from typing import cast

import duckdb

from partitioned_etl.engine import failpoints
from partitioned_etl.engine.conflicts import run_until_done
from partitioned_etl.engine.formats.rows import list_columns
from partitioned_etl.engine.landing.landing import LandedFile
from partitioned_etl.engine.load_folder import folder_within
from partitioned_etl.engine.sql import (
    LEDGER_TABLE,
    LOAD_HISTORY_TABLE,
    REJECTED_ROWS_TABLE,
    Query,
    quote_identifier,
    quote_text,
)
from partitioned_etl.engine.table_changes import ChangeKind, TableChanges
from partitioned_etl.engine.warehouse.ducklake_session import LAKE, TURNS_TABLE, LakeSession
from partitioned_etl.engine.warehouse.feed_table import DuckDBTable
from partitioned_etl.engine.warehouse.ledger import COLUMNS, LedgerRow, insert_rows
from partitioned_etl.engine.warehouse.load_history import ensure_load_history
from partitioned_etl.engine.warehouse.rejected_rows import ensure_rejected_rows
from partitioned_etl.engine.warehouse.table_columns import (
    alter_columns,
    create_table,
    read_types,
    spell_types,
)

_UNHELD = re.compile(r"\b(U?HUGEINT|INTERVAL|BIT|ENUM|UNION|TIME WITH TIME ZONE)\b|\[\d+\]")
"""What Parquet holds as something else, or DuckLake not at all."""
_RETYPES = (ChangeKind.WIDENED, ChangeKind.RETYPED)
_KEPT = "INTERVAL '7 days'"
"""How long a lake's earlier states can be read, and files of killed loads lie there."""
_TIDIED = (TURNS_TABLE, LEDGER_TABLE, REJECTED_ROWS_TABLE, LOAD_HISTORY_TABLE)


@dataclass(frozen=True)
class DuckLakeTable(DuckDBTable):
    """A feed's table in a lake.

    Attributes:
        duck: A connection, in memory, which reads landed files.
        session: A connection to the lake.
    """

    session: LakeSession = field(kw_only=True, compare=False)

    @property
    def _base(self) -> duckdb.DuckDBPyConnection:
        return cast("duckdb.DuckDBPyConnection", self.session)

    def find_changes(self) -> TableChanges:
        """Return how the feed's declaration changes the table; nothing if there is none."""
        unheld = [
            f"column {name} is {one}, which DuckLake does not hold exactly: declare DECIMAL(38,0), "
            "or VARCHAR"
            for name, one in spell_types(self.duck, self.feed.column_types).items()
            if _UNHELD.search(one)
        ]
        return TableChanges(unheld=tuple(unheld)) if unheld else super().find_changes()

    def prepare(self) -> TableChanges:
        """Make table and ledger ready for a load, and the table as the feed declares it."""
        self._find_loadable_changes()
        return run_until_done(super().prepare)

    def _ensure(self) -> None:
        columns = ", ".join(f"{name} {type_name}" for name, type_name in COLUMNS.items())
        self.session.execute(f"CREATE TABLE IF NOT EXISTS {LEDGER_TABLE} ({columns})")
        ensure_rejected_rows(self._base)
        ensure_load_history(self._base)

    def _upsert(self, rows: Sequence[LedgerRow]) -> None:
        """Write ledger rows; no key tells DuckLake which to replace."""
        for feed in {row.feed for row in rows}:
            names = [row.source_file for row in rows if row.feed == feed]
            self.session.execute(
                f"DELETE FROM {LEDGER_TABLE} WHERE feed = ? "
                "AND source_file IN (SELECT unnest(CAST(? AS VARCHAR[])))",
                [feed, names],
            )
        insert_rows(self._base, rows)

    def _alter(self, changes: TableChanges) -> None:
        if changes.of(ChangeKind.WIDENED) and not changes.is_made_anew:
            self._write_anew(changes, (ChangeKind.ADDED, ChangeKind.WIDENED))
            failpoints.reach(failpoints.AFTER_ALTER)
        else:
            super()._alter(changes)

    def _change_columns(self, changes: TableChanges) -> None:
        if changes.is_made_anew:
            create_table(self._base, self.feed.table, self.feed.column_types, anew=True)
        elif changes.of(*_RETYPES):
            self._write_anew(changes, tuple(ChangeKind))
        else:
            alter_columns(self._base, self.feed.table, changes.columns)

    def _write_anew(self, changes: TableChanges, kinds: Sequence[ChangeKind]) -> None:
        """Write the table anew; DuckLake changes a type only where it is of the same family."""
        by_name = {change.column: change for change in changes.of(*kinds)}
        values = list[str]()
        for name in read_types(self._base, self.feed.table):
            column, change = quote_identifier(name), by_name.pop(name, None)
            if change and change.kind in _RETYPES:
                values.append(f"TRY_CAST({column} AS {change.type}) AS {column}")
            elif not change:
                values.append(column)
        for change in by_name.values():
            column = quote_identifier(change.column)
            values.append(f"CAST(NULL AS {change.type}) AS {column}")
        self.session.execute(
            f"CREATE OR REPLACE TABLE {self._name} AS SELECT {', '.join(values)} FROM {self._name}"
        )

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give a folder, in which DuckDB can read, for what one load writes aside."""
        with folder_within(self.scratch_dir) as folder:
            yield folder

    @contextmanager
    def transaction(self, _files: Sequence[LandedFile] | None = None, /) -> Iterator[None]:
        """Run statements in one transaction, which takes its turn."""
        with self.session.transaction():
            yield

    def record_superseded(self, rows: Sequence[LedgerRow]) -> None:
        """Write the ledger rows of superseded files that have no rows in the table."""
        run_until_done(lambda: super(DuckLakeTable, self).record_superseded(rows))

    def record_versions(self, rows: Sequence[LedgerRow], files: Sequence[LandedFile]) -> None:
        """Record new versions of files whose content is the ledger's."""
        run_until_done(lambda: super(DuckLakeTable, self).record_versions(rows, files))

    def remove(self, names: Sequence[str], *, run_id: str = "") -> None:
        """Remove files: their rows, rejected rows and ledger rows, all at once."""
        run_until_done(lambda: super(DuckLakeTable, self).remove(names, run_id=run_id))

    def trim_history(self, before: datetime) -> None:
        """Remove what the load history tells of all feeds from before a time."""
        run_until_done(lambda: super(DuckLakeTable, self).trim_history(before))

    def insert(self, rows: Query) -> None:
        """Insert the rows of a query over landed files."""
        columns = list_columns(self.feed)
        with self.scratch() as folder:
            path = quote_text(str(folder / "rows.parquet"))
            self.duck.execute(f"COPY ({rows.sql}) TO {path} (FORMAT parquet)", rows.bound)
            self.session.execute(
                f"INSERT INTO {self._name} ({columns}) SELECT * FROM read_parquet({path})"
            )

    def write_parquet(self, key: str, path: Path) -> int:
        """Write the rows of a partition to a compressed Parquet file; return how many there are."""
        with self.scratch() as folder:
            aside = folder / "rows.parquet"
            self.session.execute(
                f"COPY (SELECT * FROM {self._name} WHERE partition_key = ?) "
                f"TO {quote_text(str(aside))} (FORMAT parquet, COMPRESSION zstd)",
                [key],
            )
            copyfile(aside, path)
        return sum(self.count_rows([key]).values())

    def tidy(self) -> None:
        """Merge small files, and remove those that no reader needs any more."""
        for table in (self.feed.table, *_TIDIED):
            # A lake that is opened by no load has not all of them.
            if self.session.has(table):
                self._call("ducklake_merge_adjacent_files", f", {quote_text(table)}")
        older = f", older_than => now() - {_KEPT}"
        for function in (
            "ducklake_expire_snapshots",
            "ducklake_cleanup_old_files",
            "ducklake_delete_orphaned_files",
        ):
            self._call(function, older)

    def _call(self, function: str, arguments: str) -> None:
        run_until_done(lambda: self.session.call(function, f"{quote_text(LAKE)}{arguments}"))
