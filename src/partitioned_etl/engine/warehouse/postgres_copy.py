"""PostgreSQL copy: rows from DuckDB into a table of PostgreSQL, and from there back to DuckDB.

They go as CSV text, in which only a text stands in quotes, so that NULL and an empty text differ.
DuckDB writes it into a pipe while PostgreSQL reads, so a file's rows are never in memory or on disk
as a whole.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from fcntl import fcntl
from pathlib import Path
from threading import Thread

import duckdb
import psycopg

from partitioned_etl.engine.sql import Query, quote_identifier, quote_text
from partitioned_etl.engine.warehouse.postgres_session import Session, describe_state, quote_name
from partitioned_etl.engine.warehouse.postgres_types import is_text

_CHUNK_BYTES = 1 << 20
_SET_PIPE_SIZE = 1031
"""Linux's F_SETPIPE_SZ; elsewhere a pipe stays as it is."""
_NOT_TAKEN = ("22", "23", "54")
"""Classes of states that mean a row: its values, a constraint, or a limit of PostgreSQL."""
_LARGEST_LINE_BYTES = 64 << 20


def copy_in(
    session: Session,
    duck: duckdb.DuckDBPyConnection,
    rows: Query,
    table: str,
    columns: Mapping[str, str],
    folder: Path,
) -> None:
    """Insert the rows of a query of DuckDB into a table.

    Args:
        session: A session, inside a transaction.
        duck: A connection that can write in the folder.
        rows: The query.
        table: The table.
        columns: The query's columns with their types, as DuckDB spells them.
        folder: Where the pipe is.

    Raises:
        duckdb.Error: The query failed, or the table does not take its rows.
        WarehouseError: The database failed.
    """
    listed = ", ".join(map(quote_name, columns))
    statement = f"COPY {quote_name(table)} ({listed}) FROM STDIN (FORMAT csv, NULL '')"
    with session.telling(), session.connection.cursor() as cursor:
        try:
            with (
                cursor.copy(statement.replace("%%", "%").encode()) as copy,
                _written(duck, rows, columns, folder) as chunks,
            ):
                for chunk in chunks:
                    copy.write(chunk)
        except psycopg.Error as error:
            if (error.sqlstate or "").startswith(_NOT_TAKEN):
                raise duckdb.ConstraintException(describe_state(error)) from None
            raise


@contextmanager
def _written(
    duck: duckdb.DuckDBPyConnection, rows: Query, columns: Mapping[str, str], folder: Path
) -> Iterator[Iterator[bytes]]:
    """Let DuckDB write rows into a pipe meanwhile, and give what it has written."""
    path = folder / "rows.csv"
    os.mkfifo(path, 0o600)
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    # Until DuckDB has ended, well or not, somebody has the pipe open for writing.
    writing = os.open(path, os.O_WRONLY)
    os.set_blocking(reading, True)
    with suppress(OSError):
        fcntl(reading, _SET_PIPE_SIZE, _CHUNK_BYTES)
    failures: list[BaseException] = []

    def write() -> None:
        try:
            duck.execute(f"COPY ({rows.sql}) TO {_to_csv(path, columns)}", rows.bound)
        except BaseException as error:
            failures.append(error)
        finally:
            os.close(writing)

    def read() -> Iterator[bytes]:
        while chunk := os.read(reading, _CHUNK_BYTES):
            yield chunk
        thread.join()
        if failures:
            raise failures[0]

    thread = Thread(target=write, name="rows to PostgreSQL")
    thread.start()
    try:
        yield read()
    finally:
        # If PostgreSQL has failed, DuckDB ends at its next write.
        os.close(reading)
        thread.join()
        path.unlink()


def _to_csv(path: Path, columns: Mapping[str, str]) -> str:
    quoted = _list_texts(columns, quote_identifier)
    return (
        f"{quote_text(str(path))} (FORMAT csv, HEADER false, DELIMITER ',', QUOTE '\"', "
        f"ESCAPE '\"', NULLSTR '', FORCE_QUOTE ({quoted}), USE_TMP_FILE false)"
    )


def copy_out(
    session: Session, query: str, bound: Sequence[object], columns: Mapping[str, str], path: Path
) -> Query:
    """Write the rows of a query into a file.

    Args:
        session: The session.
        query: The query.
        bound: The values that it binds.
        columns: Its columns with their types, as DuckDB spells them.
        path: The file.

    Returns:
        A relation of DuckDB of the same rows.
    """
    quoted = _list_texts(columns, quote_name)
    statement = (
        f"COPY ({query}) TO STDOUT (FORMAT csv, NULL '', FORCE_QUOTE ({quoted}), ENCODING 'UTF8')"
    )
    with (
        session.telling(),
        path.open("wb") as file,
        session.connection.cursor() as cursor,
        cursor.copy(statement.encode(), bound) as copy,
    ):
        for chunk in copy:
            file.write(chunk)
    types = ", ".join(f"{quote_text(name)}: {quote_text(one)}" for name, one in columns.items())
    return Query(
        f"(SELECT * FROM read_csv(?, auto_detect = false, header = false, columns = {{{types}}}, "
        "delim = ',', quote = '\"', escape = '\"', comment = '', nullstr = '', "
        "allow_quoted_nulls = false, strict_mode = true, compression = 'none', "
        f"hive_partitioning = false, max_line_size = {_LARGEST_LINE_BYTES}, new_line = '\\n'))",
        [str(path)],
    )


def _list_texts(columns: Mapping[str, str], quote: Callable[[str], str]) -> str:
    return ", ".join(quote(name) for name, one in columns.items() if is_text(one))
