"""PostgreSQL bench: a workbench whose warehouse is a PostgreSQL database."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.warehouse.ledger import Ledger
from partitioned_etl.engine.warehouse.postgres import OpenPostgres, PostgresDatabase
from partitioned_etl.engine.warehouse.postgres_table import PostgresTable
from support.workbench import Fetch, Workbench


@dataclass
class PostgresBench(Workbench):
    """A landing directory and a PostgreSQL database.

    Attributes:
        url: The database's address.
    """

    url: str = ""

    @property
    def address(self) -> str:
        return self.url

    @property
    def warehouse(self) -> PostgresDatabase:  # type: ignore[override]
        return self._warehouse

    @property
    def _warehouse(self) -> PostgresDatabase:  # type: ignore[override]
        return PostgresDatabase(self.url, self.lock_wait_seconds)

    @contextmanager
    def open(self, lock_wait_seconds: float | None = None) -> Iterator[OpenPostgres]:  # type: ignore[override]
        with self._warehouse.open(
            self.landing.readable_dir, lock_wait_seconds=lock_wait_seconds
        ) as opened:
            yield opened

    @contextmanager
    def open_table(  # type: ignore[override]
        self, feed: Feed, lock_wait_seconds: float | None = None
    ) -> Iterator[PostgresTable]:
        with self.open(lock_wait_seconds) as opened:
            yield opened.table(feed)

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            found = connection.execute(sql.encode(), values or None)
            return found.fetchall() if found.description else []

    def tables(self) -> list[str]:
        found = self.query("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
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

    @contextmanager
    def read_as_others_do(self) -> Iterator[Fetch]:
        with psycopg.connect(self.url, prepare_threshold=None) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            yield lambda sql: connection.execute(sql.encode()).fetchall()

    def wait_until_alone(self) -> None:
        """Wait until the server has noticed that a process was killed."""
        while self.query(
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid()"
        ):
            time.sleep(0.02)
