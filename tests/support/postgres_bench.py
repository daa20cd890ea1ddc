"""PostgreSQL bench: a workbench whose warehouse is a PostgreSQL database."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from partitioned_etl.engine.warehouse.postgres import PostgresDatabase
from support.server_bench import ServerBench
from support.workbench import Fetch


@dataclass
class PostgresBench(ServerBench):
    """A landing directory and a PostgreSQL database."""

    @property
    def _warehouse(self) -> PostgresDatabase:  # type: ignore[override]
        return PostgresDatabase(self.url, self.lock_wait_seconds)

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            found = connection.execute(sql.encode(), values or None)
            return found.fetchall() if found.description else []

    def tables(self) -> list[str]:
        found = self.query("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
        return sorted(name for (name,) in found)

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
