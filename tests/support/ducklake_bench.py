"""DuckLake bench: a workbench whose warehouse is a lake."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.warehouse.ducklake import DuckLake, OpenDuckLake
from partitioned_etl.engine.warehouse.ducklake_table import DuckLakeTable
from partitioned_etl.engine.warehouse.ledger import Ledger
from support.workbench import Workbench


def is_ducklake_installed() -> bool:
    """Return whether DuckLake's extension is there, as `make test-ducklake` has it."""
    return find_spec("duckdb_extension_ducklake") is not None


@dataclass
class DuckLakeBench(Workbench):
    """A landing directory and a lake.

    Attributes:
        url: The lake's address.
    """

    url: str = ""

    @property
    def address(self) -> str:
        return self.url

    @property
    def warehouse(self) -> DuckLake:  # type: ignore[override]
        return self._warehouse

    @property
    def _warehouse(self) -> DuckLake:  # type: ignore[override]
        return DuckLake(self.url, self.lock_wait_seconds)

    @contextmanager
    def open(self, lock_wait_seconds: float | None = None) -> Iterator[OpenDuckLake]:  # type: ignore[override]
        self.landing.readable_dir.mkdir(parents=True, exist_ok=True)
        with self._warehouse.open(
            self.landing.readable_dir, lock_wait_seconds=lock_wait_seconds
        ) as opened:
            yield opened

    @contextmanager
    def open_table(  # type: ignore[override]
        self, feed: Feed, lock_wait_seconds: float | None = None
    ) -> Iterator[DuckLakeTable]:
        with self.open(lock_wait_seconds) as opened:
            yield opened.table(feed)

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with self.open() as opened:
            return opened.session.execute(sql, values or None).fetchall()

    def tables(self) -> list[str]:
        found = self.query(
            "SELECT table_name FROM duckdb_tables() WHERE database_name = current_database()"
        )
        return sorted(name for (name,) in found)

    def rows(self, feed: Feed) -> list[tuple[Any, ...]]:
        return sorted(self.query(f'SELECT * FROM "{feed.table}"'), key=repr)

    def ledger(self, feed: Feed) -> Ledger:
        with self.open_table(feed) as table:
            return table.read_ledger()

    def assert_level(self, feed: Feed) -> None:
        with self.open_table(feed) as table:
            counted, ledger = table.count_rows(), table.read_ledger()
        told = {(row.partition_key, row.source_file): row.row_count for row in ledger}
        assert counted == {of_file: count for of_file, count in told.items() if count}
