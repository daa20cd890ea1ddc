"""Registry: which warehouse a database stands for. A new kind is a module and a line here."""

from pathlib import Path

from partitioned_etl.engine.warehouse.duckdb_file import DEFAULT_LOCK_WAIT_SECONDS, DuckDBFile
from partitioned_etl.engine.warehouse.warehouse import Warehouse


def connect_warehouse(
    database: Path,
    lock_wait_seconds: float = DEFAULT_LOCK_WAIT_SECONDS,
    memory_limit: str = "",
) -> Warehouse:
    """Return the warehouse of a database, which is not opened yet.

    Args:
        database: Path of the database.
        lock_wait_seconds: How long to wait for others that have it open.
        memory_limit: How much memory DuckDB may use, such as `1GB`; empty for its default.
    """
    return DuckDBFile(database, lock_wait_seconds, memory_limit)
