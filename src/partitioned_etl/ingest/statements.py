"""Statements: the SQL that reads a feed's files and changes its table.

Takes a feed and landed files; returns statements and the values to bind. Next: `loading.py` runs
them. Partition keys and paths are always bound; identifiers and options from a feed's declaration
each go through one quoting function.
"""

import glob
import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import duckdb

from partitioned_etl.ingest.columns import (
    columns_of,
    convert_sql,
    internal_identifier,
    judge_sql,
    quote_identifier,
    quote_text,
)
from partitioned_etl.ingest.feed import (
    INTERNAL_PREFIX,
    PARTITION_KEY_COLUMN,
    SOURCE_FILE_COLUMN,
    Feed,
)
from partitioned_etl.ingest.formats import CsvFormat
from partitioned_etl.ingest.landing import LandedFile
from partitioned_etl.ingest.opening import compression_of

VALID = internal_identifier("which values are valid")
KEPT = internal_identifier("which rules are kept")
_PATH = INTERNAL_PREFIX + "path as DuckDB gives it"
_LANDED_PATH = internal_identifier("path as it was listed")

FILE_FAULTS = (
    duckdb.DataError,
    duckdb.InvalidInputException,
    duckdb.IntegrityError,  # a constraint that an operator added to the table
    duckdb.NotSupportedError,  # the last two: a row rule that uses a cell as more than a value
    duckdb.SyntaxException,
)
"""DuckDB errors caused by a file's contents, not by the database or the machine."""


def create_table_sql(feed: Feed) -> str:
    """Return the statement that creates a feed's table if it does not exist."""
    columns = [f"{quote_identifier(name)} {kind}" for name, kind in feed.columns.items()]
    columns += [f"{PARTITION_KEY_COLUMN} VARCHAR", f"{SOURCE_FILE_COLUMN} VARCHAR"]
    return f"CREATE TABLE IF NOT EXISTS {quote_identifier(feed.table)} ({', '.join(columns)})"


def expected_columns_sql(feed: Feed) -> str:
    """Return the query that describes the columns that a feed's table must have."""
    columns = [
        f"CAST(NULL AS {kind}) AS {quote_identifier(name)}" for name, kind in feed.columns.items()
    ]
    columns += [f"'' AS {PARTITION_KEY_COLUMN}", f"'' AS {SOURCE_FILE_COLUMN}"]
    return f"DESCRIBE SELECT {', '.join(columns)}"


def delete_sql(feed: Feed) -> str:
    """Return the statement that deletes partitions; it binds the list of keys."""
    table = quote_identifier(feed.table)
    return (
        f"DELETE FROM {table} WHERE {PARTITION_KEY_COLUMN} IN (SELECT unnest(CAST(? AS VARCHAR[])))"
    )


def count_rows_sql(feed: Feed) -> str:
    """Return the query for key and row count of partitions; it binds the list of keys."""
    return (
        f"SELECT {PARTITION_KEY_COLUMN}, count(*) FROM {quote_identifier(feed.table)} "
        f"WHERE {PARTITION_KEY_COLUMN} IN (SELECT unnest(CAST(? AS VARCHAR[]))) "
        f"GROUP BY {PARTITION_KEY_COLUMN}"
    )


def preview_sql(feed: Feed) -> str:
    """Return the query for the first rows of partitions; it binds the list of keys and a number."""
    columns = ", ".join(quote_identifier(name) for name in feed.columns)
    return (
        f"SELECT {PARTITION_KEY_COLUMN}, {columns} FROM {quote_identifier(feed.table)} "
        f"WHERE {PARTITION_KEY_COLUMN} IN (SELECT unnest(CAST(? AS VARCHAR[]))) "
        f"QUALIFY row_number() OVER (PARTITION BY {PARTITION_KEY_COLUMN} ORDER BY rowid) <= ?"
    )


def _read_csv(
    csv: CsvFormat, header: Sequence[str], types: Mapping[str, str], compression: str
) -> str:
    columns = ", ".join(
        f"{quote_text(name)}: {quote_text(types.get(name, 'VARCHAR'))}" for name in header
    )
    encoding = {"iso8859-1": "latin-1"}.get(csv.normal_encoding, csv.normal_encoding)
    return (
        f"read_csv(?, auto_detect = false, strict_mode = true, columns = {{{columns}}}, "
        f"header = {str(csv.header).lower()}, delim = {quote_text(csv.delimiter)}, "
        f"quote = {quote_text(csv.quote)}, escape = {quote_text(csv.escape)}, "
        f"encoding = {quote_text(encoding)}, nullstr = '', allow_quoted_nulls = false, "
        f"compression = {quote_text(compression)}, "
        f"hive_partitioning = false, filename = {quote_text(_PATH)})"
    )


def _paths(files: Sequence[LandedFile]) -> list[str]:
    return [glob.escape(os.fspath(file)) for file in files]


def _landed_rows(
    feed: Feed,
    files: Sequence[LandedFile],
    header: Sequence[str],
    types: Mapping[str, str] = MappingProxyType({}),
) -> tuple[str, list[object]]:
    """Return a relation of the files' rows, with key and file name, and the values to bind.

    Columns of a CSV file are read as texts, except those with a type in `types`.
    """
    key, name = PARTITION_KEY_COLUMN, SOURCE_FILE_COLUMN
    if isinstance(feed.format, CsvFormat):
        # DuckDB's own guess by the name is another one than the survey's.
        read = _read_csv(feed.format, header, types, compression_of(files[0]))
    else:
        read = f"read_parquet(?, hive_partitioning = false, filename = {quote_text(_PATH)})"
    if len(files) == 1:
        return (
            f"(SELECT *, ? AS {key}, ? AS {name} FROM {read})",
            [files[0].partition_key, files[0].name, _paths(files)],
        )
    return (
        f"(SELECT * FROM {read} "
        f"JOIN (SELECT unnest(CAST(? AS VARCHAR[])) AS {_LANDED_PATH}, "
        f"unnest(CAST(? AS VARCHAR[])) AS {key}, unnest(CAST(? AS VARCHAR[])) AS {name}) "
        f"ON {_LANDED_PATH} = {quote_identifier(_PATH)})",
        [
            _paths(files),
            [os.fspath(file) for file in files],
            [file.partition_key for file in files],
            [file.name for file in files],
        ],
    )


def insert_sql(
    feed: Feed, files: Sequence[LandedFile], header: Sequence[str], *, is_plain: bool = False
) -> tuple[str, list[object]]:
    """Return the statement that loads files, and the values to bind.

    The statement fails on the first text that its column does not accept, or the first row that
    breaks a row rule.

    Args:
        feed: The feed.
        files: Its landed files, at least one, with the same compression.
        header: The feed's columns in the order common to all these files.
        is_plain: Whether none of them has quotes, underscores or white space other than line ends.
    """
    names = ", ".join(quote_identifier(name) for name in feed.columns)
    columns = columns_of(feed, is_plain=is_plain)
    types = {column.name: column.read_type for column in columns}
    rows, bound = _landed_rows(feed, files, header, types)
    key, name = PARTITION_KEY_COLUMN, SOURCE_FILE_COLUMN
    where = ""
    if feed.row_rules:
        rules = " AND ".join(f"({rule.expression})" for rule in feed.row_rules)
        where = f" WHERE CASE WHEN {rules} THEN true ELSE error('a row rule is broken') END"
    converted = convert_sql(columns, [key, name], rows)
    return (
        f"INSERT INTO {quote_identifier(feed.table)} ({names}, {key}, {name}) "
        f"SELECT {names}, {key}, {name} FROM {converted}{where}",
        bound,
    )


def numbered_rows_sql(
    feed: Feed, file: LandedFile, number: str, text: str
) -> tuple[str, list[object]]:
    """Return a relation of some of a Parquet file's rows, with their numbers, and what to bind.

    Args:
        feed: The feed.
        file: The landed file.
        number: Name of the column for the row numbers, starting at 1.
        text: Name of the column for their text.

    Returns:
        The relation, and the values to bind except the numbers of the first and last row.
    """
    names = ", ".join(quote_identifier(name) for name in feed.columns)
    values = ", ".join(f"{quote_text(name)}: {quote_identifier(name)}" for name in feed.columns)
    return (
        f"(SELECT {names}, CAST({{{values}}} AS VARCHAR) AS {text}, "
        f"file_row_number + 1 AS {number}, "
        f"? AS {PARTITION_KEY_COLUMN}, ? AS {SOURCE_FILE_COLUMN} "
        "FROM read_parquet(?, hive_partitioning = false, file_row_number = true) "
        "WHERE file_row_number + 1 BETWEEN ? AND ?)",
        [file.partition_key, file.name, glob.escape(os.fspath(file))],
    )


def judged_sql(feed: Feed, rows: str, others: Sequence[str] = ()) -> str:
    """Return a relation of rows that shows which values are valid and which rules are kept.

    Args:
        feed: The feed.
        rows: A relation with the feed's columns as texts, key, file name, and any others.
        others: Those others, as SQL.

    Returns:
        The relation with the columns converted where they are valid, `VALID` and `KEPT`.
    """
    rules = ", ".join(f"coalesce({rule.expression}, false)" for rule in feed.row_rules)
    added = [PARTITION_KEY_COLUMN, SOURCE_FILE_COLUMN, *others]
    judged = judge_sql(columns_of(feed), VALID, added, rows)
    return f"(SELECT *, CAST([{rules}] AS BOOLEAN[]) AS {KEPT} FROM {judged})"


IS_BAD_SQL = f"(list_contains({VALID}, false) OR list_contains({KEPT}, false))"
"""The condition for a bad row in the relation of `judged_sql`."""


def find_suspects(
    connection: duckdb.DuckDBPyConnection,
    feed: Feed,
    files: Sequence[LandedFile],
    header: Sequence[str],
) -> Sequence[LandedFile]:
    """Narrow files down to those with a bad row; if DuckDB cannot read them, all are suspect.

    Args:
        connection: A connection, outside a transaction.
        feed: The feed.
        files: Landed files, at least one, compressed alike.
        header: The feed's columns in the order that all these files have them in.
    """
    rows, bound = _landed_rows(feed, files, header)
    try:
        bad = connection.execute(
            f"SELECT DISTINCT {PARTITION_KEY_COLUMN} FROM {judged_sql(feed, rows)} "
            f"WHERE {IS_BAD_SQL}",
            bound,
        ).fetchall()
    except (*FILE_FAULTS, duckdb.IOException):  # the latter if it cannot decompress one
        return files
    keys = {key for (key,) in bad}
    return [file for file in files if file.partition_key in keys] or files
