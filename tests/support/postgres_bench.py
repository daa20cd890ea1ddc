"""PostgreSQL bench: a workbench whose warehouse is a PostgreSQL database."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.plan import Plan, make_plan
from partitioned_etl.engine.sync import SyncReport, sync_feed
from partitioned_etl.engine.warehouse.ledger import Ledger
from partitioned_etl.engine.warehouse.postgres import OpenPostgres, PostgresDatabase
from partitioned_etl.engine.warehouse.postgres_table import PostgresTable
from support.workbench import Child, Workbench


@dataclass
class PostgresBench(Workbench):
    """A landing directory and a PostgreSQL database.

    Attributes:
        url: The database's address.
        lock_wait_seconds: How long loads wait for each other.
    """

    url: str = ""
    lock_wait_seconds: float = 60

    @property
    def warehouse(self) -> PostgresDatabase:  # type: ignore[override]
        return PostgresDatabase(self.url, self.lock_wait_seconds)

    def sync(self, feed: Feed) -> SyncReport:
        return sync_feed(
            feed,
            self.landing_dir,
            self.url,
            settle_seconds=0,
            lock_wait_seconds=self.lock_wait_seconds,
        )

    def plan(self, feed: Feed) -> Plan:
        return make_plan(feed, self.landing.scan(feed), self.landing, self.warehouse)

    @contextmanager
    def open(self, lock_wait_seconds: float = 60) -> Iterator[OpenPostgres]:  # type: ignore[override]
        with self.warehouse.open(self.landing_dir, lock_wait_seconds=lock_wait_seconds) as opened:
            yield opened

    @contextmanager
    def open_table(self, feed: Feed, lock_wait_seconds: float = 60) -> Iterator[PostgresTable]:  # type: ignore[override]
        with self.open(lock_wait_seconds) as opened:
            yield opened.table(feed)

    def start_child(self, code: str) -> Child:
        return PostgresChild(self, code)

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


class PostgresChild(Child):
    """A process that runs Python code with `bench`, this test's bench of PostgreSQL."""

    _PROLOGUE = Child._PROLOGUE.replace(
        "bench = Workbench(Path(sys.argv[1]), stays_open=False)",
        "import os\nfrom support.postgres_bench import PostgresBench\n"
        "bench = PostgresBench(Path(sys.argv[1]), url=os.environ['BENCH_URL'])",
    )
