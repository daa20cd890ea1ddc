"""Rows: SELECT statements over the rows of files, converted and validated by a contract.

Takes a contract and landed files; returns queries. Next: `load.py` inserts what they give, and
`diagnose.py` asks which rows are at fault. Partition keys and paths are always bound.
"""

import glob
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import duckdb

from partitioned_etl.engine.formats.format import LINE, Loose, Record, Source
from partitioned_etl.engine.formats.types import (
    ColumnSql,
    columns_sql,
    is_exact_number_type,
    widest_number_type,
)
from partitioned_etl.engine.landing.landing import LandedFile
from partitioned_etl.engine.sql import (
    INTERNAL_PREFIX,
    PARTITION_KEY_COLUMN,
    SOURCE_FILE_COLUMN,
    Query,
    internal_identifier,
    quote_identifier,
    quote_text,
)

if TYPE_CHECKING:
    from partitioned_etl.engine.contract import Contract

VALID = internal_identifier("which values are valid")
"""Column of a validated row: one truth value per column of the contract, in their order."""
KEPT = internal_identifier("which rules are kept")
"""Column of a validated row: one truth value per row rule, in their order."""
IS_BAD_SQL = f"(list_contains({VALID}, false) OR list_contains({KEPT}, false))"
"""The condition for a bad row in the relation of `validate_rows`."""
_KEY_AND_NAME = (PARTITION_KEY_COLUMN, SOURCE_FILE_COLUMN)
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


def select_rows(
    contract: "Contract",
    sources: Sequence[Source],
    header: Sequence[str],
    *,
    loose: Loose = Loose.ANYTHING,
) -> Query:
    """Return the query for the rows of files: the contract's columns, key and file name.

    It fails on the first text that its column does not accept, or the first row that breaks a rule.

    Args:
        contract: The contract.
        sources: What to read, at least one; all are staged, or none.
        header: The columns in the order common to all these files.
        loose: What any of them holds that needs guards.
    """
    columns = columns_sql(contract, loose)
    types = {column.name: column.read_type for column in columns}
    rows = _read_rows_of(contract, sources, header, types)
    converted = ", ".join([*map(_fail_if_generous, columns), *_KEY_AND_NAME])
    where = ""
    if contract.row_rules:
        rules = " AND ".join(f"({rule.expression})" for rule in contract.row_rules)
        where = f" WHERE CASE WHEN {rules} THEN true ELSE error('a row rule is broken') END"
    return Query(
        f"SELECT {list_columns(contract)} FROM "
        f"(SELECT {converted} FROM {_cast(columns, 'CAST', _KEY_AND_NAME, rows.sql)}){where}",
        rows.bound,
    )


def total_sql(contract: "Contract", name: str, text: str) -> str:
    """Return SQL for the value that a column makes of a text; it fails where it accepts none.

    A number may be larger than the column's type takes, as the total of a column may be.

    Args:
        contract: The contract, whose files hold texts.
        name: The column's name.
        text: SQL for the text.
    """
    [column] = [one for one in columns_sql(contract) if one.name == name]
    if is_exact_number_type(column.type):
        column = replace(column, type=widest_number_type(column.type))
    given = f"(SELECT CAST({text} AS VARCHAR) AS {quote_identifier(name)})"
    return f"(SELECT {_fail_if_generous(column)} FROM {_cast([column], 'CAST', (), given)})"


def _fail_if_generous(column: ColumnSql) -> str:
    """Return SQL for a column's value that fails where its conversion was too lenient."""
    name = quote_identifier(column.name)
    if not column.is_generous:
        return name
    failure = f"error({quote_text(f'column {column.name}')})"
    return f"CASE WHEN {column.is_generous} THEN {failure} ELSE {name} END AS {name}"


def list_columns(contract: "Contract") -> str:
    """Return the columns of the contract's table, quoted: its own, then key and file name."""
    return ", ".join([*map(quote_identifier, contract.columns), *_KEY_AND_NAME])


def validate_rows(
    contract: "Contract",
    rows: Query,
    others: Sequence[str] = (),
    limits: Mapping[str, str] = MappingProxyType({}),
) -> Query:
    """Return a relation of rows that shows which values are valid and which rules are kept.

    Args:
        contract: The contract.
        rows: A relation with the contract's columns as texts, key, file name, and any others.
        others: Those others, as SQL.
        limits: By column, the condition for a value that is not valid for another reason.

    Returns:
        The relation with the columns converted where they are valid and NULL where not, `VALID` and
        `KEPT`.
    """
    passed_on = [*_KEY_AND_NAME, *others]
    columns, flags, values = columns_sql(contract), [], []
    for column in columns:
        name = quote_identifier(column.name)
        is_value = f"({column.text_name} IS NULL OR {name} IS NOT NULL)"
        guards = filter(None, (column.is_generous, limits.get(column.name, "")))
        guard = f"coalesce({' OR '.join(guards) or 'false'}, false)"
        flags.append(f"({is_value} AND NOT {guard})")
        values.append(f"CASE WHEN NOT {guard} THEN {name} END AS {name}")
    validated = (
        f"(SELECT {', '.join([*values, *passed_on])}, [{', '.join(flags)}] AS {VALID} "
        f"FROM {_cast(columns, 'TRY_CAST', passed_on, rows.sql)})"
    )
    rules = ", ".join(f"coalesce({rule.expression}, false)" for rule in contract.row_rules)
    return Query(f"(SELECT *, CAST([{rules}] AS BOOLEAN[]) AS {KEPT} FROM {validated})", rows.bound)


def find_suspects(
    duck: duckdb.DuckDBPyConnection,
    contract: "Contract",
    sources: Sequence[Source],
    header: Sequence[str],
    limits: Mapping[str, str] = MappingProxyType({}),
) -> Sequence[LandedFile]:
    """Narrow files down to those with a bad row; if DuckDB cannot read them, all are suspect.

    Args:
        duck: A connection that reads files.
        contract: The contract.
        sources: What is read for them, at least one; all are staged, or none.
        header: The contract's columns in the order that all these files have them in.
        limits: By column, the condition for a value that is not valid for another reason.
    """
    files = [source.file for source in sources]
    validated = validate_rows(contract, _read_rows_of(contract, sources, header), limits=limits)
    try:
        bad = duck.execute(
            f"SELECT DISTINCT {SOURCE_FILE_COLUMN} FROM {validated.sql} WHERE {IS_BAD_SQL}",
            validated.bound,
        ).fetchall()
    except FILE_FAULTS:
        return files
    names = {name for (name,) in bad}
    return [file for file in files if file.name in names] or files


def add_key_and_name(rows: Query, file: LandedFile) -> Query:
    """Return a relation of a file's rows with its partition key and name added."""
    key, name = _KEY_AND_NAME
    return Query(
        f"(SELECT *, ? AS {key}, ? AS {name} FROM {rows.sql})",
        [file.partition_key, file.name, *rows.bound],
    )


def read_csv_sql(
    columns: Mapping[str, str],
    path_column: str,
    *,
    delimiter: str = ",",
    quote: str = '"',
    escape: str = "",
    has_header: bool = False,
    may_quote_nulls: bool = False,
) -> str:
    """Return DuckDB's `read_csv`, as strict as it can be, of UTF-8 texts; it binds their paths.

    Args:
        columns: Maps the name of each column to the type that it is read as.
        path_column: Name of the column for the path of a row's file.
        delimiter: What stands between two fields.
        quote: What stands around a field; empty for nothing.
        escape: What makes a quote a part of a field; by default, the quote itself.
        has_header: Whether the first row is none.
        may_quote_nulls: Whether an empty text in quotes is NULL, too.
    """
    types = ", ".join(f"{quote_text(name)}: {quote_text(one)}" for name, one in columns.items())
    return (
        f"read_csv(?, auto_detect = false, strict_mode = true, columns = {{{types}}}, "
        f"header = {str(has_header).lower()}, delim = {quote_text(delimiter)}, "
        f"quote = {quote_text(quote)}, escape = {quote_text(escape or quote)}, comment = '', "
        "encoding = 'utf-8', nullstr = '', "
        f"allow_quoted_nulls = {str(may_quote_nulls).lower()}, compression = 'none', "
        f"hive_partitioning = false, filename = {quote_text(path_column)})"
    )


def bind_records(records: Sequence[Record], header: Sequence[str]) -> Query:
    """Return a relation of the lines of sound records, and of their texts by column.

    The texts are bound as one JSON array per column. DuckDB would keep registered data frames, and
    so all of a file's batches, until the transaction ends.
    """
    names = [LINE, *(quote_identifier(name) for name in header)]
    kinds = ["BIGINT", *("VARCHAR" for _ in header)]
    columns = ", ".join(
        f"unnest(from_json(?, '[\"{kind}\"]')) AS {name}"
        for name, kind in zip(names, kinds, strict=True)
    )
    fields = zip(*(record.fields() for record in records), strict=True)
    lists = [[record.line for record in records], *fields]
    return Query(
        f"(SELECT {columns})", [json.dumps(values, ensure_ascii=False) for values in lists]
    )


def list_paths(files: Sequence[LandedFile | Source]) -> list[str]:
    """Return the paths of files such that DuckDB takes none of their characters for a pattern."""
    return [glob.escape(os.fspath(file.path)) for file in files]


def add_missing_columns(rows: Query, contract: "Contract", header: Sequence[str]) -> Query:
    """Return a relation of rows with the columns, all NULL, that their file lacks."""
    missing = [name for name in contract.columns if name not in header]
    if not missing:
        return rows
    nulls = ", ".join(f"CAST(NULL AS VARCHAR) AS {quote_identifier(name)}" for name in missing)
    return Query(f"(SELECT *, {nulls} FROM {rows.sql})", rows.bound)


def _read_rows_of(
    contract: "Contract",
    sources: Sequence[Source],
    header: Sequence[str],
    types: Mapping[str, str] = MappingProxyType({}),
) -> Query:
    """Return a relation of the files' rows, with key and file name.

    Columns with texts are read as such, except those with a type in `types`.
    """
    is_staged = sources[0].staged is not None
    reader = contract.format.reader_sql(header, types, _PATH, is_staged=is_staged)
    reader = contract.format.fields_sql(contract, reader)
    rows = add_missing_columns(Query(reader, [list_paths(sources)]), contract, header)
    if len(sources) == 1:
        return add_key_and_name(rows, sources[0].file)
    key, name = _KEY_AND_NAME
    return Query(
        f"(SELECT * FROM {rows.sql} "
        f"JOIN (SELECT unnest(CAST(? AS VARCHAR[])) AS {_LANDED_PATH}, "
        f"unnest(CAST(? AS VARCHAR[])) AS {key}, unnest(CAST(? AS VARCHAR[])) AS {name}) "
        f"ON {_LANDED_PATH} = {quote_identifier(_PATH)})",
        [
            *rows.bound,
            [os.fspath(source.path) for source in sources],
            [source.file.partition_key for source in sources],
            [source.file.name for source in sources],
        ],
    )


def _cast(columns: Sequence[ColumnSql], cast: str, others: Sequence[str], rows: str) -> str:
    """Return a relation with each column's text, under a name of its own, and its value."""
    for step in range(max(len(column.steps) for column in columns)):
        texts = [
            f"{column.steps[step]} AS {name}" if step < len(column.steps) else name
            for column in columns
            for name in [quote_identifier(column.name)]
        ]
        rows = f"(SELECT {', '.join([*texts, *others])} FROM {rows})"
    both = [
        f"{column.text} AS {column.text_name}, "
        f"{cast}({column.text} AS {column.type}) AS {quote_identifier(column.name)}"
        for column in columns
    ]
    return f"(SELECT {', '.join([*both, *others])} FROM {rows})"
