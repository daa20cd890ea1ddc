"""Query: one SELECT on the database, which can neither change it nor leave it.

Takes SQL; prints its rows. The warehouse sandboxes the statement.
"""

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Literal

import click
import duckdb

from partitioned_etl.cli.interrupts import run_interruptibly
from partitioned_etl.cli.output import print_json, print_table, show, to_json
from partitioned_etl.engine.settings import Settings
from partitioned_etl.engine.warehouse.registry import connect_warehouse

Form = Literal["table", "json", "csv"]

TABLE_ROWS = 1000
_ROWS_PER_FETCH = 10_000
_QUERIES = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)


def run_query(sql: str, form: Form) -> int:
    """Run a query and print its rows.

    Args:
        sql: One statement that only reads.
        form: How to print the rows; a table is cut after `TABLE_ROWS` with a note.

    Returns:
        The exit code: 1 if DuckDB refused the statement.

    Raises:
        WarehouseError: The warehouse does not exist or cannot be opened.
    """
    settings = Settings()
    warehouse = connect_warehouse(
        settings.duckdb_database, settings.lock_wait_seconds, settings.duckdb_memory_limit
    )
    with warehouse.open_read_only() as opened:
        duck = opened.duck
        refusal = run_interruptibly(lambda: _answer(duck, sql, form), duck.interrupt)
    if refusal:
        click.echo(f"error: {refusal}", err=True)
    return 1 if refusal else 0


def _answer(connection: duckdb.DuckDBPyConnection, sql: str, form: Form) -> str:
    """Run a query and print its rows; return why it cannot be done, if so."""
    try:
        refusal = _why_no_query(connection.extract_statements(sql))
        if refusal:
            return refusal
        connection.execute(sql)
        names = [column[0] for column in connection.description]
        return _print_rows(names, _fetch_rows(connection), form)
    except duckdb.Error as error:
        return _explain(error)


def _fetch_rows(connection: duckdb.DuckDBPyConnection) -> Iterator[tuple[object, ...]]:
    while rows := connection.fetchmany(_ROWS_PER_FETCH):
        yield from rows


def _print_rows(names: Sequence[str], rows: Iterator[tuple[object, ...]], form: Form) -> str:
    """Print rows; return why they cannot be printed, if so."""
    if form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([_to_csv(cell) for cell in row] for row in rows)
    elif form == "json":
        if len(set(names)) < len(names):
            return "two columns have the same name, and a JSON object needs two: use AS"
        print_json([dict(zip(names, row, strict=True)) for row in rows])
    else:
        print_table(list(islice(rows, TABLE_ROWS)), names)
        if next(rows, None) is not None:
            more = f"These are the first {TABLE_ROWS:,} rows; --csv and --json print all."
            click.echo(more, err=True)
    return ""


def _to_csv(cell: object) -> object:
    value = to_json(cell)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value


def _why_no_query(statements: Sequence[duckdb.Statement]) -> str:
    if len(statements) != 1:
        return f"one statement at a time: these are {len(statements)}"
    if statements[0].type not in _QUERIES:
        return f"query only reads, and {statements[0].type.name} is no statement that reads"
    return ""


def _explain(error: duckdb.Error) -> str:
    """Return DuckDB's reason as one sentence, without its marker of the position."""
    reason = str(error).partition("\n\nLINE ")[0]
    if "read-only mode" in reason:
        return "query only reads, and this statement would change the database"
    if "disabled by configuration" in reason:
        return "query reads the database only, and this statement asks for a file or the network"
    return show(" ".join(reason.split()))
