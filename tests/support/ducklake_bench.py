"""DuckLake bench: a workbench whose warehouse is a lake."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from partitioned_etl.engine.warehouse.ducklake import DuckLake
from support.server_bench import ServerBench
from support.workbench import Fetch


def is_ducklake_installed() -> bool:
    """Return whether DuckLake's extension is there, as `make test-ducklake` has it."""
    return find_spec("duckdb_extension_ducklake") is not None


@dataclass
class DuckLakeBench(ServerBench):
    """A landing directory and a lake."""

    @property
    def _warehouse(self) -> DuckLake:  # type: ignore[override]
        return DuckLake(self.url, self.lock_wait_seconds)

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with self.open() as opened:
            return opened.session.execute(sql, values or None).fetchall()

    def tables(self) -> list[str]:
        found = self.query(
            "SELECT table_name FROM duckdb_tables() WHERE database_name = current_database()"
        )
        return sorted(name for (name,) in found)

    @contextmanager
    def read_as_others_do(self) -> Iterator[Fetch]:
        with self._warehouse.open_read_only() as opened:
            opened.session.execute("BEGIN TRANSACTION READ ONLY")
            yield lambda sql: opened.session.execute(sql).fetchall()
