"""Database: open the DuckDB file for one unit of work, sandboxed, and always close it.

Takes the path and the one accessible directory, or none; returns a connection. Next: `ledger.py`
and `warehouse.py` use it. Another kind of database would be opened here.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import duckdb

from partitioned_etl.ingest.columns import quote_text
from partitioned_etl.ingest.errors import (
    LedgerConflictError,
    NoDatabaseError,
    WarehouseError,
    WarehouseLockedError,
)

DEFAULT_LOCK_WAIT_SECONDS = 60.0
_ATTEMPTS_ON_CONFLICT = 5

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

# The first means another process; the second, a thread of this process that is closing the file.
_SIGNS_OF_USE = ("set lock on file", "already attached by database")

# By default DuckDB 1 writes a storage version that accepts another database's write-ahead log.
_CONFIG = {"storage_compatibility_version": "v1.4.0"} if duckdb.__version__.startswith("1.") else {}
_WAL_ADVICE = (
    "\nIts write-ahead log is damaged or of another database. Move {}.wal away and load again: "
    "what the database then lacks is loaded from the landed files."
)

# A process's connections share the database's configuration; threads open them concurrently.
_sandbox_lock = threading.Lock()


@contextmanager
def connect(
    database: Path,
    landing_dir: Path,
    *,
    lock_wait_seconds: float = DEFAULT_LOCK_WAIT_SECONDS,
    memory_limit: str = "",
    log: logging.Logger = logger,
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the database for one unit of work, and close it whatever happens.

    DuckDB lets one process write. While another has the file open, this waits, with random pauses
    so that waiting processes do not stay in step. The connection is sandboxed: it reads files in
    the landing directory and nothing else, has no network access, loads no extensions, and its
    configuration is locked.

    Args:
        database: Path of the database file; it and its folder are created if they do not exist.
        landing_dir: The one directory in which statements may access files.
        lock_wait_seconds: How long to wait for another process to release the file.
        memory_limit: How much memory DuckDB may use, such as `1GB`, before it spills to the folder
            `<database>.tmp`; empty for DuckDB's default. The first connection's value applies to
            the whole process while the database is open.
        log: Where waiting is reported.

    Yields:
        The connection.

    Raises:
        WarehouseLockedError: Another process held the file for longer than the wait.
        WarehouseError: The file cannot be opened, or is already open in this process for another
            landing directory.
    """
    database.parent.mkdir(parents=True, exist_ok=True)
    connection = _open(database, lock_wait_seconds, log)
    try:
        with _sandbox_lock:
            _enter_sandbox(connection, landing_dir.resolve(), memory_limit)
        yield connection
    finally:
        connection.close()


@contextmanager
def connect_in_memory(readable_dir: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open an in-memory database to inspect files, sandboxed like the persistent one.

    Args:
        readable_dir: The one directory that statements may read files from.

    Yields:
        The connection.
    """
    with duckdb.connect(":memory:") as connection:
        _enter_sandbox(connection, readable_dir, memory_limit="")
        yield connection


@contextmanager
def connect_read_only(
    database: Path,
    *,
    lock_wait_seconds: float = DEFAULT_LOCK_WAIT_SECONDS,
    log: logging.Logger = logger,
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the database read-only for arbitrary statements, sandboxed.

    It waits for a writer as `connect` does. The connection changes nothing, reads no file but the
    database, has no network access and shows times in UTC.

    Args:
        database: Path of the database file.
        lock_wait_seconds: How long to wait for another process to release the file.
        log: Where waiting is reported.

    Yields:
        The connection.

    Raises:
        NoDatabaseError: The file does not exist.
        WarehouseLockedError: Another process held the file for longer than the wait.
        WarehouseError: The file cannot be opened.
    """
    if not database.exists():
        raise NoDatabaseError(f"there is no database yet: {database}; the first load makes it")
    connection = _open(database, lock_wait_seconds, log, read_only=True)
    try:
        connection.execute("SET TimeZone = 'UTC'")
        # It would be printed among the rows.
        connection.execute("SET enable_progress_bar = false")
        _shut_off(connection)
        yield connection
    finally:
        connection.close()


@contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Run statements in one transaction: all of them or, after any exception, none."""
    connection.execute("BEGIN")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # A failed COMMIT has ended the transaction, and its error is the one to report.
        with suppress(duckdb.Error):
            connection.execute("ROLLBACK")
        raise


def retry_on_conflict(work: Callable[[], Result], log: logging.Logger = logger) -> Result:
    """Repeat work if another connection of this process changed the same rows first.

    Args:
        work: What to do; a transaction, or less.
        log: Where each retry is reported.

    Returns:
        What the work returns.

    Raises:
        WarehouseError: The other connection was first each time.
    """
    attempt = 0
    while True:
        try:
            return work()
        except (duckdb.TransactionException, LedgerConflictError) as error:
            attempt += 1
            if attempt == _ATTEMPTS_ON_CONFLICT:
                raise WarehouseError(
                    f"another load is changing the same partitions in this process: {error}"
                ) from error
            log.info(f"another load was first ({type(error).__name__}), trying again")
            time.sleep(random.uniform(0.05, 0.2) * 2 ** (attempt - 1))


def read_share(connection: duckdb.DuckDBPyConnection) -> float:
    """Return the share of its input that the running statement has read, 0 to 1; 0 if unknown.

    Called from a thread other than the statement's.
    """
    return max(0.0, connection.query_progress()) / 100


def has_table(connection: duckdb.DuckDBPyConnection, table: str) -> bool:
    """Return whether the database has a table of this name, ignoring case."""
    found = connection.execute(
        "SELECT count(*) FROM duckdb_tables() WHERE lower(table_name) = lower(?) "
        "AND database_name = current_database() AND schema_name = current_schema()",
        [table],
    ).fetchone()
    return bool(found and found[0])


def _open(
    database: Path, lock_wait_seconds: float, log: logging.Logger, *, read_only: bool = False
) -> duckdb.DuckDBPyConnection:
    deadline, pause, waiting = time.monotonic() + lock_wait_seconds, 0.05, False
    while True:
        try:
            return duckdb.connect(str(database), read_only, dict(_CONFIG))
        except duckdb.Error as error:
            if not any(sign in str(error) for sign in _SIGNS_OF_USE):
                advice = _WAL_ADVICE.format(database) if "WAL" in str(error) else ""
                raise WarehouseError(f"cannot open {database}: {error}{advice}") from error
            if time.monotonic() >= deadline:
                raise WarehouseLockedError(
                    f"{database} was in use by another process for {lock_wait_seconds:g} s: {error}"
                ) from error
        if not waiting:
            log.info(
                f"waiting up to {lock_wait_seconds:g} s for another process to close {database}"
            )
            waiting = True
        time.sleep(min(pause * random.uniform(0.5, 1.5), max(0, deadline - time.monotonic())))
        pause = min(pause * 2, 1.0)


def _enter_sandbox(
    connection: duckdb.DuckDBPyConnection, landing_dir: Path, memory_limit: str
) -> None:
    current = connection.execute(
        "SELECT current_setting('lock_configuration'), current_setting('allowed_directories')"
    ).fetchone()
    assert current is not None, "a SELECT without FROM gives one row"
    locked, directories = current
    if locked:
        allowed = {Path(directory) for directory in directories}
        if landing_dir not in allowed:
            raise WarehouseError(
                f"the database is open in this process for another landing directory than "
                f"{landing_dir}"
            )
        return
    # These let another thread query a statement's progress; nothing is printed.
    connection.execute("SET enable_progress_bar = true")
    connection.execute("SET enable_progress_bar_print = false")
    # Rows of a large file are then inserted as fast as they are read; tables have no order to keep.
    connection.execute("SET preserve_insertion_order = false")
    # A row rule's verdict must not depend on the time zone of the process.
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    # Reading a ledger of 100,000 rows then takes 16 MB less, as fast as with the default of 1 MB.
    connection.execute("SET streaming_buffer_size = '256KB'")
    if memory_limit:
        connection.execute(f"SET memory_limit = {quote_text(memory_limit)}")
    connection.execute(f"SET allowed_directories = [{quote_text(str(landing_dir))}]")
    _shut_off(connection)


def _shut_off(connection: duckdb.DuckDBPyConnection) -> None:
    """Revoke network, extensions and all files not allowed before, permanently."""
    for setting in (
        "autoinstall_known_extensions = false",
        "autoload_known_extensions = false",
        "allow_community_extensions = false",
        "enable_external_access = false",
        "lock_configuration = true",
    ):
        connection.execute(f"SET {setting}")
