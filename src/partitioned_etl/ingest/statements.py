"""Statements: the SQL that reads a feed's files and changes its table.

Takes a feed and landed files; gives statements and the values to bind. `warehouse.py` runs them.
Partition keys and paths are always bound; identifiers, and the options of a feed's declaration, go
through one quoting function each.
"""

import glob
from collections.abc import Sequence

import duckdb

from partitioned_etl.ingest.columns import Column, columns_of, quote_identifier, quote_text
from partitioned_etl.ingest.contract import (
    MAX_PROBLEMS,
    find_text_problems,
    line_of_row,
)
from partitioned_etl.ingest.feed import PARTITION_KEY_COLUMN, SOURCE_FILE_COLUMN, Feed
from partitioned_etl.ingest.landing import LandedFile
from partitioned_etl.ingest.records import Problem

_PATH = "path as DuckDB gives it"
_LANDED_PATH = quote_identifier("path as it was listed")
_ROW = "row number in the file"
_VALID = quote_identifier("which values are valid")
_KEPT = quote_identifier("which rules are kept")

FILE_FAULTS = (duckdb.DataError, duckdb.InvalidInputException)
"""Errors of DuckDB that lie in what a file holds, and not in the database or the machine."""


def create_table_sql(feed: Feed) -> str:
    """Give the statement that makes a feed's table if it is not there."""
    columns = [f"{quote_identifier(name)} {kind}" for name, kind in feed.columns.items()]
    columns += [f"{PARTITION_KEY_COLUMN} VARCHAR", f"{SOURCE_FILE_COLUMN} VARCHAR"]
    return f"CREATE TABLE IF NOT EXISTS {quote_identifier(feed.table)} ({', '.join(columns)})"


def expected_columns_sql(feed: Feed) -> str:
    """Give the query that describes the columns which a feed's table must have."""
    columns = [
        f"CAST(NULL AS {kind}) AS {quote_identifier(name)}" for name, kind in feed.columns.items()
    ]
    columns += [f"'' AS {PARTITION_KEY_COLUMN}", f"'' AS {SOURCE_FILE_COLUMN}"]
    return f"DESCRIBE SELECT {', '.join(columns)}"


def delete_sql(feed: Feed) -> str:
    """Give the statement that deletes partitions; it binds the list of keys."""
    table = quote_identifier(feed.table)
    return (
        f"DELETE FROM {table} WHERE {PARTITION_KEY_COLUMN} IN (SELECT unnest(CAST(? AS VARCHAR[])))"
    )


def count_rows_sql(feed: Feed) -> str:
    """Give the query for key and row count of partitions; it binds the list of keys."""
    return (
        f"SELECT {PARTITION_KEY_COLUMN}, count(*) FROM {quote_identifier(feed.table)} "
        f"WHERE {PARTITION_KEY_COLUMN} IN (SELECT unnest(CAST(? AS VARCHAR[]))) "
        f"GROUP BY {PARTITION_KEY_COLUMN}"
    )


def preview_sql(feed: Feed) -> str:
    """Give the query for the first rows of partitions; it binds the list of keys and a number."""
    columns = ", ".join(quote_identifier(name) for name in feed.columns)
    return (
        f"SELECT {PARTITION_KEY_COLUMN}, {columns} FROM {quote_identifier(feed.table)} "
        f"WHERE {PARTITION_KEY_COLUMN} IN (SELECT unnest(CAST(? AS VARCHAR[]))) "
        f"QUALIFY row_number() OVER (PARTITION BY {PARTITION_KEY_COLUMN} ORDER BY rowid) <= ?"
    )


def _read_csv(feed: Feed, *, in_order: bool = False) -> str:
    csv = feed.csv
    columns = ", ".join(f"{quote_text(name)}: 'VARCHAR'" for name in feed.columns)
    encoding = {"iso8859-1": "latin-1"}.get(csv.normal_encoding, csv.normal_encoding)
    return (
        f"read_csv(?, auto_detect = false, strict_mode = true, columns = {{{columns}}}, "
        f"header = {str(csv.header).lower()}, delim = {quote_text(csv.delimiter)}, "
        f"quote = {quote_text(csv.quote)}, escape = {quote_text(csv.escape)}, "
        f"encoding = {quote_text(encoding)}, nullstr = '', allow_quoted_nulls = false, "
        f"hive_partitioning = false, parallel = {str(not in_order).lower()}, "
        f"filename = {quote_text(_PATH)})"
    )


def _paths(files: Sequence[LandedFile]) -> list[str]:
    return [glob.escape(str(file.path)) for file in files]


def _landed_rows(feed: Feed, files: Sequence[LandedFile]) -> tuple[str, list[object]]:
    """Give a relation of the files' rows as texts, with key and file name, and what to bind."""
    key, name = PARTITION_KEY_COLUMN, SOURCE_FILE_COLUMN
    if len(files) == 1:
        return (
            f"(SELECT *, ? AS {key}, ? AS {name} FROM {_read_csv(feed)})",
            [files[0].partition_key, files[0].name, _paths(files)],
        )
    return (
        f"(SELECT * FROM {_read_csv(feed)} "
        f"JOIN (SELECT unnest(CAST(? AS VARCHAR[])) AS {_LANDED_PATH}, "
        f"unnest(CAST(? AS VARCHAR[])) AS {key}, unnest(CAST(? AS VARCHAR[])) AS {name}) "
        f"ON {_LANDED_PATH} = {quote_identifier(_PATH)})",
        [
            _paths(files),
            [str(file.path) for file in files],
            [file.partition_key for file in files],
            [file.name for file in files],
        ],
    )


def insert_sql(feed: Feed, files: Sequence[LandedFile]) -> tuple[str, list[object]]:
    """Give the statement that loads files, and the values to bind.

    The statement fails on the first text that its column does not accept, and on the first row
    that breaks a row rule.

    Args:
        feed: The feed.
        files: Its landed files, at least one.
    """
    columns = columns_of(feed)
    names = ", ".join(quote_identifier(column.name) for column in columns)
    values = ", ".join(f"{column.value} AS {quote_identifier(column.name)}" for column in columns)
    rows, bound = _landed_rows(feed, files)
    key, name = PARTITION_KEY_COLUMN, SOURCE_FILE_COLUMN
    checked_key = key
    if feed.row_rules:
        rules = " AND ".join(f"({rule.expression})" for rule in feed.row_rules)
        checked_key = f"CASE WHEN {rules} THEN {key} ELSE error('a row rule is broken') END"
    return (
        f"INSERT INTO {quote_identifier(feed.table)} ({names}, {key}, {name}) "
        f"SELECT {names}, {checked_key}, {name} FROM (SELECT {values}, {key}, {name} FROM {rows})",
        bound,
    )


def find_value_problems(
    connection: duckdb.DuckDBPyConnection, feed: Feed, files: Sequence[LandedFile]
) -> dict[str, list[Problem]]:
    """Find the rows of files that the load would fail on.

    Args:
        connection: A connection, outside a transaction.
        feed: The feed.
        files: Landed files whose survey found no problem.

    Returns:
        At most `MAX_PROBLEMS` problems per partition key, for the files that have any.
    """
    found: dict[str, list[Problem]] = {}
    for file in _find_suspects(connection, feed, files):
        problems = find_text_problems(feed, file) or _find_in_file(connection, feed, file)
        if problems:
            found[file.partition_key] = problems
    return found


def _judged(feed: Feed, columns: list[Column], rows: str) -> str:
    """Give a relation of rows that tells which values are valid and which rules are kept."""
    flags = ", ".join(column.is_valid for column in columns)
    values = ", ".join(
        f"CASE WHEN {column.is_valid} THEN {column.value} END AS {quote_identifier(column.name)}"
        for column in columns
    )
    rules = ", ".join(f"coalesce({rule.expression}, false)" for rule in feed.row_rules)
    others = "* EXCLUDE ({})".format(", ".join(quote_identifier(c.name) for c in columns))
    return (
        f"(SELECT *, CAST([{rules}] AS BOOLEAN[]) AS {_KEPT} "
        f"FROM (SELECT {others}, [{flags}] AS {_VALID}, {values} FROM {rows}))"
    )


def _find_suspects(
    connection: duckdb.DuckDBPyConnection, feed: Feed, files: Sequence[LandedFile]
) -> Sequence[LandedFile]:
    """Narrow files down to those with a bad row; if DuckDB cannot read them, all are suspect."""
    rows, bound = _landed_rows(feed, files)
    judged = _judged(feed, columns_of(feed), rows)
    try:
        bad = connection.execute(
            f"SELECT DISTINCT {PARTITION_KEY_COLUMN} FROM {judged} WHERE {_is_bad()}", bound
        ).fetchall()
    except FILE_FAULTS:
        return files
    keys = {key for (key,) in bad}
    return [file for file in files if file.partition_key in keys] or files


def _is_bad() -> str:
    return f"list_contains({_VALID}, false) OR list_contains({_KEPT}, false)"


def _find_in_file(
    connection: duckdb.DuckDBPyConnection, feed: Feed, file: LandedFile
) -> list[Problem]:
    columns = columns_of(feed)
    row = quote_identifier(_ROW)
    numbered = (
        f"(SELECT row_number() OVER () AS {row}, *, ? AS {PARTITION_KEY_COLUMN} "
        f"FROM {_read_csv(feed, in_order=True)})"
    )
    try:
        rows = connection.execute(
            f"SELECT {row}, {_VALID}, {_KEPT} FROM {_judged(feed, columns, numbered)} "
            f"WHERE {_is_bad()} ORDER BY {row} LIMIT {MAX_PROBLEMS}",
            [file.partition_key, _paths([file])],
        ).fetchall()
    except FILE_FAULTS:
        return []
    lines = line_of_row(feed, file, {row[0] for row in rows}) if rows else {}
    problems = [
        problem
        for number, valid, kept in rows
        for problem in _problems_of_row(feed, lines[number], columns, valid, kept)
    ]
    return problems[:MAX_PROBLEMS]


def _problems_of_row(
    feed: Feed, line: int, columns: list[Column], column_flags: list[bool], rule_flags: list[bool]
) -> list[Problem]:
    invalid = [
        Problem(line, column.name, f"not {_article(column.type)}")
        for column, is_valid in zip(columns, column_flags, strict=True)
        if not is_valid
    ]
    broken = [
        Problem(line, rule.column, rule.reason, rule.name)
        for rule, is_kept in zip(feed.row_rules, rule_flags, strict=True)
        if not is_kept
    ]
    return invalid or broken


def _article(type_name: str) -> str:
    return f"{'an' if type_name[0] in 'AEIOU' else 'a'} {type_name}"
