"""Columns: which texts a column of a DuckDB type accepts, as SQL expressions over the text.

Takes a feed's columns; gives, for each, the conversion and the condition under which it is allowed.
`warehouse.py` puts them into the statement that loads and into the one that names problems, so
that both judge alike. DuckDB's own conversion is more generous than a contract may be: it makes
`1.5` the integer 2, `1_000` a thousand, `24-01-02` a day of the year 24 and `1e999` infinity.
"""

import re
from dataclasses import dataclass

from partitioned_etl.ingest.errors import FeedDefinitionError
from partitioned_etl.ingest.feed import Feed

_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "INT", "BIGINT", "HUGEINT")
_UNSIGNED = ("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT")
_TYPE_NAME = re.compile(r"[A-Z][A-Z0-9_ ]*(?:\(\d+(?:, ?\d+)?\))?")
_FLOATS = ("DOUBLE", "FLOAT", "REAL")
_DAY = r"\d{4}-\d{2}-\d{2}|\d{4}/\d{2}/\d{2}"
_TIME = r"\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?"
_OFFSET = r"Z|[+-](0\d|1[0-5])(:?[0-5]\d)?"


def quote_identifier(name: str) -> str:
    """Quote a table or column name for SQL."""
    return '"' + name.replace('"', '""') + '"'


def quote_text(text: str) -> str:
    """Quote a text of a feed's declaration for SQL, where a bound value is not possible."""
    return "'" + text.replace("'", "''") + "'"


@dataclass(frozen=True)
class Column:
    """A column of a feed as SQL over its text.

    Attributes:
        name: The column's name.
        type: Its DuckDB type.
        is_valid: SQL condition, true if the text is NULL or empty, or stands for one value of the
            type; false otherwise.
        value: SQL expression for that value; an error in DuckDB if the text is not valid.
    """

    name: str
    type: str
    is_valid: str
    value: str


def columns_of(feed: Feed) -> list[Column]:
    """Give a feed's columns as SQL over the texts of a file, in order.

    Raises:
        FeedDefinitionError: A column's type is not one that a file can be read into.
    """
    return [_column(feed, name, type_name.upper()) for name, type_name in feed.columns.items()]


def _column(feed: Feed, name: str, type_name: str) -> Column:
    if not _TYPE_NAME.fullmatch(type_name):
        raise FeedDefinitionError(f"feed {feed.name}, column {name}: no DuckDB type: {type_name}")
    text = quote_identifier(name)
    if type_name in ("VARCHAR", "TEXT", "STRING"):
        return Column(name, type_name, "true", text)
    text = f"nullif({text}, '')"
    cast, try_cast = f"CAST({text} AS {type_name})", f"TRY_CAST({text} AS {type_name})"
    any_number = name in feed.non_finite_columns
    reason = quote_text(f"column {name}: not {type_name}")
    return Column(
        name,
        type_name,
        f"({text} IS NULL OR ({try_cast} IS NOT NULL "
        f"AND NOT coalesce({_is_generous(type_name, text, try_cast, any_number)}, false)))",
        f"CASE WHEN {_is_generous(type_name, text, cast, any_number)} "
        f"THEN error({reason}) ELSE {cast} END",
    )


def _is_generous(type_name: str, text: str, value: str, any_number: bool) -> str:
    """Give the condition under which DuckDB's conversion of a text is more than a contract allows.

    Most texts are spelled as DuckDB itself spells the value. Comparing with that is cheaper than a
    regular expression, which is looked at only where the two differ.

    Args:
        type_name: The DuckDB type.
        text: SQL for the text, which is not empty.
        value: SQL for the converted value.
        any_number: Whether NaN and infinity are values.
    """
    if type_name in _INTEGERS:
        return _is_spelled_otherwise(text, value, "[+-]?[0-9]+")
    if type_name in _UNSIGNED:
        return _is_spelled_otherwise(text, value, "[+]?[0-9]+")
    if type_name in _FLOATS:
        odd = f"(contains({text}, '_') OR {text} < '!' OR {text}[-1] < '!')"
        return odd if any_number else f"(NOT isfinite({value}) OR {odd})"
    if decimal := re.fullmatch(r"(?:DECIMAL|NUMERIC)\((\d+), ?(\d+)\)", type_name):
        return _is_spelled_otherwise(text, value, rf"[+-]?\d+(\.\d{{0,{decimal[2]}}})?")
    if type_name == "DATE":
        return _is_spelled_otherwise(text, value, _DAY, 10, f"year({value}) > 0")
    if type_name in ("TIMESTAMP", "DATETIME"):
        return _is_spelled_otherwise(text, value, rf"({_DAY})[ T]{_TIME}", 19)
    if type_name in ("TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE"):
        return f"NOT regexp_full_match({text}, '({_DAY})[ T]{_TIME}({_OFFSET})')"
    if type_name == "TIME":
        return _is_spelled_otherwise(text, value, _TIME, 8)
    if type_name in ("BOOLEAN", "UUID"):
        return "false"
    raise FeedDefinitionError(f"no file can be read into a column of type {type_name}")


def _is_spelled_otherwise(
    text: str, value: str, pattern: str, length: int | None = None, besides: str = "true"
) -> str:
    """Give the condition for a text that is neither DuckDB's own spelling nor of a pattern.

    DuckDB also spells values that no contract means, such as `infinity` and days before Christ, but
    none of them in just `length` bytes.
    """
    differs = f"CAST({value} AS VARCHAR) <> {text}"
    if length is not None:
        differs = f"({differs} OR strlen({text}) <> {length})"
    return f"({differs} AND NOT (regexp_full_match({text}, '{pattern}') AND {besides}))"
