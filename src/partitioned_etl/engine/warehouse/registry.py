"""Registry: which warehouse a database stands for. A new kind is a module and a line here."""

from pathlib import Path

from partitioned_etl.engine.errors import WarehouseError
from partitioned_etl.engine.warehouse.duckdb_file import DEFAULT_LOCK_WAIT_SECONDS, DuckDBFile
from partitioned_etl.engine.warehouse.warehouse import Warehouse

_DUCKDB = "duckdb:"
_POSTGRES = ("postgresql://", "postgres://")
_DUCKLAKE = "ducklake:postgres:"


def connect_warehouse(
    database: Path | str,
    lock_wait_seconds: float = DEFAULT_LOCK_WAIT_SECONDS,
    memory_limit: str = "",
    read_copy_seconds: float = 0.0,
) -> Warehouse:
    """Return the warehouse of a database, which is not opened yet.

    Args:
        database: Path of a DuckDB file, or an address: `duckdb:PATH`, or `postgresql://…` as libpq
            takes it, or `ducklake:postgres:CATALOG#DATA`.
        lock_wait_seconds: How long to wait for others that have it open, or change the same.
        memory_limit: How much memory DuckDB may use, such as `1GB`; empty for its default.
        read_copy_seconds: How often, at most, a copy of a DuckDB file is made for those who only
            read; 0 for never.

    Raises:
        WarehouseError: The address cannot be read, or what it needs is not installed.
    """
    if has_one_writer(database):
        path = Path(str(database).removeprefix(_DUCKDB))
        return DuckDBFile(path, lock_wait_seconds, memory_limit, read_copy_seconds)
    try:
        from partitioned_etl.engine.warehouse.ducklake import DuckLake
        from partitioned_etl.engine.warehouse.postgres import PostgresDatabase
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "psycopg":
            raise
        raise WarehouseError(
            "a warehouse in PostgreSQL needs psycopg: pip install 'partitioned-etl[postgres]'"
        ) from None
    kind = DuckLake if name_kind(database) == "ducklake" else PostgresDatabase
    return kind(str(database), lock_wait_seconds, memory_limit)


def has_one_writer(database: Path | str) -> bool:
    """Return whether one process at a time can have a database open.

    Args:
        database: A path or an address, as `connect_warehouse` takes it.
    """
    return not (isinstance(database, str) and database.startswith((*_POSTGRES, _DUCKLAKE)))


def name_kind(database: Path | str) -> str:
    """Return which kind of warehouse a database is, in one word.

    Args:
        database: A path or an address, as `connect_warehouse` takes it.
    """
    if has_one_writer(database):
        return "duckdb"
    return "ducklake" if str(database).startswith(_DUCKLAKE) else "postgres"


def is_address(text: str) -> bool:
    """Return whether a text is the address of a warehouse of a known kind."""
    return text.startswith((_DUCKDB, _DUCKLAKE, *_POSTGRES))
