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
_DAY = r"\d{4}-\d{2}-\d{2}|\d{4}/\d{2}/\d{2}"
_TIME = r"\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?"


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
        is_valid: SQL condition, true if the text is NULL or stands for one value of the type.
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
    condition = _condition(type_name, text)
    reason = quote_text(f"column {name}: not {type_name}")
    return Column(
        name,
        type_name,
        f"({text} IS NULL OR coalesce({condition}, false))",
        f"CASE WHEN {text} IS NULL THEN NULL WHEN {condition} "
        f"THEN CAST({text} AS {type_name}) ELSE error({reason}) END",
    )


def _condition(type_name: str, text: str) -> str:
    cast = f"TRY_CAST({text} AS {type_name})"
    if type_name in _INTEGERS:
        digits = rf"regexp_full_match({text}, '[+-]?[0-9]+')"
        return f"(CAST({cast} AS VARCHAR) = {text} OR ({cast} IS NOT NULL AND {digits}))"
    if type_name in _UNSIGNED:
        return f"({cast} IS NOT NULL AND regexp_full_match({text}, '[+]?[0-9]+'))"
    if type_name in ("DOUBLE", "FLOAT", "REAL"):
        return f"(isfinite({cast}) AND NOT contains({text}, '_') AND NOT contains({text}, ' '))"
    if decimal := re.fullmatch(r"(?:DECIMAL|NUMERIC)\((\d+), ?(\d+)\)", type_name):
        number = rf"[+-]?\d+(\.\d{{0,{decimal[2]}}})?"
        return f"({cast} IS NOT NULL AND regexp_full_match({text}, '{number}'))"
    if type_name == "DATE":
        return f"(year({cast}) > 0 AND regexp_full_match({text}, '{_DAY}'))"
    if type_name in ("TIMESTAMP", "DATETIME"):
        moment = rf"({_DAY})[ T]{_TIME}"
        return f"({cast} IS NOT NULL AND regexp_full_match({text}, '{moment}'))"
    if type_name in ("TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE"):
        moment = rf"({_DAY})[ T]{_TIME}(Z|[+-]\d{{2}}(:?\d{{2}})?)"
        return f"({cast} IS NOT NULL AND regexp_full_match({text}, '{moment}'))"
    if type_name == "TIME":
        return f"({cast} IS NOT NULL AND regexp_full_match({text}, '{_TIME}'))"
    if type_name in ("BOOLEAN", "UUID"):
        return f"({cast} IS NOT NULL)"
    raise FeedDefinitionError(f"no file can be read into a column of type {type_name}")
