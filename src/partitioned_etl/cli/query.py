"""Query: one SELECT on the warehouse, which can neither change it nor leave it.

Takes SQL; prints its rows. The warehouse lets the statement read and nothing else.
"""

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal

import click

from partitioned_etl.cli.interrupts import run_interruptibly
from partitioned_etl.cli.output import print_json, print_table, show, to_json
from partitioned_etl.engine.errors import QueryError
from partitioned_etl.engine.settings import Settings
from partitioned_etl.engine.warehouse.registry import connect_warehouse
from partitioned_etl.engine.warehouse.warehouse import OpenWarehouse

Form = Literal["table", "json", "csv"]

TABLE_ROWS = 1000


def read_statement(sql: str | None, path: Path | None) -> str:
    """Return the statement that a call gives.

    Args:
        sql: The statement; `-` if it is read from standard input; None if from a file.
        path: The file.

    Raises:
        click.UsageError: It is no text in UTF-8.
        OSError: The file cannot be read.
    """
    if sql is not None and sql != "-":
        return sql
    name = path or "standard input"
    content = path.read_bytes() if path else sys.stdin.buffer.read()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{name} is no text in UTF-8, at byte {error.start}") from None


def run_query(sql: str, form: Form) -> int:
    """Run a query and print its rows.

    Args:
        sql: One statement that only reads.
        form: How to print the rows; a table is cut after `TABLE_ROWS` with a note.

    Returns:
        The exit code: 1 if the statement was refused.

    Raises:
        WarehouseError: The warehouse does not exist or cannot be opened.
    """
    settings = Settings()
    warehouse = connect_warehouse(
        settings.database, settings.lock_wait_seconds, settings.duckdb_memory_limit
    )
    with warehouse.open_read_only() as opened:
        refusal = run_interruptibly(lambda: _answer(opened, sql, form), opened.interrupt)
    if refusal:
        click.echo(f"error: {refusal}", err=True)
    return 1 if refusal else 0


def _answer(warehouse: OpenWarehouse, sql: str, form: Form) -> str:
    """Run a query and print its rows; return why it cannot be done, if so."""
    try:
        return _print_rows(*warehouse.query(sql), form)
    except QueryError as error:
        return show(str(error))


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
