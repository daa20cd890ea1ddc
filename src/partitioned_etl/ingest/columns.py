"""Columns: which texts a column of a DuckDB type accepts, as SQL expressions over the text.

Takes a feed's columns; returns, for each, the condition under which its conversion is too lenient,
and relations of converted rows. Next: `statements.py` uses them both in the statement that loads
and in the one that finds problems, so that both validate alike. DuckDB's own conversion is more
lenient than a contract may be: it turns `1.5` into the integer 2, `1_000` into a thousand,
`24-01-02` into a day of the year 24 and `1e999` into infinity. Of values that were never texts, as
in Parquet, NaN and infinity are not accepted.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from partitioned_etl.ingest.errors import FeedDefinitionError
from partitioned_etl.ingest.feed import INTERNAL_PREFIX, Feed

_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "INT", "BIGINT", "HUGEINT")
_UNSIGNED = ("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT")
_TYPE_NAME = re.compile(r"[A-Z][A-Z0-9_ ]*(?:\(\d+(?:, ?\d+)?\))?")
_FLOATS = ("DOUBLE", "FLOAT", "REAL")
_TEXTS = ("VARCHAR", "TEXT", "STRING")
_ZONED = ("TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE")
_WITH_INFINITY = (*_FLOATS, "DATE", "TIMESTAMP", "DATETIME", *_ZONED)
_DECIMAL = re.compile(r"(?:DECIMAL|NUMERIC)\((\d+), ?(\d+)\)")
_DAY = r"\d{4}-\d{2}-\d{2}|\d{4}/\d{2}/\d{2}"
_TIME = r"\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?"
_OFFSET = r"Z|[+-](0\d|1[0-5])(:?[0-5]\d)?"


def quote_identifier(name: str) -> str:
    """Quote a table or column name for SQL."""
    return '"' + name.replace('"', '""') + '"'


def internal_identifier(name: str) -> str:
    """Return the quoted name of a column of an intermediate result, which no feed can have."""
    return quote_identifier(INTERNAL_PREFIX + name)


def quote_text(text: str) -> str:
    """Quote a text from a feed's declaration for SQL, where a bound value is not possible."""
    return "'" + text.replace("'", "''") + "'"


@dataclass(frozen=True)
class Column:
    """A feed's column as SQL over its text.

    Attributes:
        name: The column's name.
        type: Its DuckDB type.
        text: SQL for the column's text in the file, NULL where there is no value; for the value
            itself where it is not a text.
        is_generous: SQL condition over `text_name` and the converted value, which goes by the
            column's own name: whether DuckDB's conversion is more lenient than a contract allows.
            Empty if it never is.
        read_type: The type that DuckDB's file reader may give the column directly; `VARCHAR` where
            its text is needed.
    """

    name: str
    type: str
    text: str
    is_generous: str
    read_type: str = "VARCHAR"

    @property
    def text_name(self) -> str:
        """The quoted name by which `is_generous` refers to the text."""
        return internal_identifier(f"text of {self.name}")


def columns_of(feed: Feed, *, is_plain: bool = False) -> list[Column]:
    """Return a feed's columns as SQL over the texts of a file, in order.

    Args:
        feed: The feed.
        is_plain: Whether the file has no quotes, no underscores and no white space other than line
            ends, so that their effects need no guard.

    Raises:
        FeedDefinitionError: A file cannot be read into a column's type.
    """
    return [
        _column(feed, name, type_name.upper(), is_plain) for name, type_name in feed.columns.items()
    ]


def _column(feed: Feed, name: str, type_name: str, is_plain: bool) -> Column:
    if not _TYPE_NAME.fullmatch(type_name):
        raise FeedDefinitionError(
            f"feed {feed.name}, column {name}: no DuckDB type: {type_name}", attribute="columns"
        )
    text = quote_identifier(name)
    if type_name in _TEXTS:
        return Column(name, type_name, text, "")
    if not is_plain:
        text = f"nullif({text}, '')"
    bare = Column(name, type_name, text, "")
    any_number = name in feed.non_finite_columns
    guard = _is_generous(
        type_name,
        bare.text_name,
        quote_identifier(name),
        any_number=any_number,
        is_plain=is_plain,
    )
    if guard is None:
        raise FeedDefinitionError(
            f"feed {feed.name}, column {name}: no file can be read into a column of type "
            f"{type_name}",
            attribute="columns",
        )
    if not feed.format.is_text:
        may_be_infinite = type_name in _WITH_INFINITY and not any_number
        value = quote_identifier(name)
        return Column(name, type_name, value, f"NOT isfinite({value})" if may_be_infinite else "")
    # The reader accepts exactly the texts that a cast to a floating-point type accepts.
    needs_text = not is_plain or type_name not in _FLOATS
    return replace(bare, is_generous=guard, read_type="VARCHAR" if needs_text else type_name)


def is_number_type(type_name: str) -> bool:
    """Return whether a column of a DuckDB type holds numbers."""
    name = type_name.upper()
    return name in (*_INTEGERS, *_UNSIGNED, *_FLOATS) or bool(_DECIMAL.fullmatch(name))


def is_text_type(type_name: str) -> bool:
    """Return whether a column of a DuckDB type holds any text."""
    return type_name.upper() in _TEXTS


def _is_generous(
    type_name: str, text: str, value: str, *, any_number: bool, is_plain: bool
) -> str | None:
    """Return the condition for a DuckDB conversion that is more lenient than a contract allows.

    Most texts are spelled as DuckDB itself spells the value. Comparing with that spelling is
    cheaper than a regular expression, which is evaluated only where the two differ.

    Args:
        type_name: The DuckDB type.
        text: SQL for the text, which is not empty.
        value: SQL for the converted value.
        any_number: Whether NaN and infinity are values.
        is_plain: Whether the file has no quotes, no underscores and no white space other than line
            ends.

    Returns:
        The condition; empty if it is never more lenient, None if no text can be of the type.
    """
    if type_name in _INTEGERS:
        return _is_spelled_otherwise(text, value, "[+-]?[0-9]+")
    if type_name in _UNSIGNED:
        return _is_spelled_otherwise(text, value, "[+]?[0-9]+")
    if type_name in _FLOATS:
        guards = [] if any_number else [f"NOT isfinite({value})"]
        if not is_plain:
            guards += [f"contains({text}, '_')", f"{text} < '!'", f"{text}[-1] < '!'"]
        return f"({' OR '.join(guards)})" if guards else ""
    if decimal := _DECIMAL.fullmatch(type_name):
        return _is_spelled_otherwise(text, value, rf"[+-]?\d+(\.\d{{0,{decimal[2]}}})?")
    if type_name == "DATE":
        return _is_spelled_otherwise(text, value, _DAY, 10, f"year({value}) > 0")
    if type_name in ("TIMESTAMP", "DATETIME"):
        pattern = rf"({_DAY})[ T]{_TIME}"
        return _is_spelled_otherwise(text, value, pattern, 19, f"year({value}) > 0")
    if type_name in _ZONED:
        pattern = f"({_DAY})[ T]{_TIME}({_OFFSET})"
        return f"({text} < '0001' OR NOT regexp_full_match({text}, '{pattern}'))"
    if type_name == "TIME":
        return _is_spelled_otherwise(text, value, _TIME, 8)
    if type_name in ("BOOLEAN", "UUID"):
        return ""
    return None


def convert_sql(columns: Sequence[Column], others: Sequence[str], rows: str) -> str:
    """Return a relation of converted columns; it fails on a text that is not of its type.

    Args:
        columns: The columns.
        others: Other columns of the rows to pass through, as SQL.
        rows: A relation with the columns as read, by their `read_type`.
    """
    values = [
        f"CASE WHEN {column.is_generous} THEN error({quote_text(f'column {column.name}')}) "
        f"ELSE {quote_identifier(column.name)} END AS {quote_identifier(column.name)}"
        if column.is_generous
        else quote_identifier(column.name)
        for column in columns
    ]
    return f"(SELECT {', '.join([*values, *others])} FROM {_cast(columns, 'CAST', others, rows)})"


def judge_sql(columns: Sequence[Column], valid: str, others: Sequence[str], rows: str) -> str:
    """Return a relation with the columns converted where they are valid, and NULL where not.

    Args:
        columns: The columns.
        valid: Name of the column that gets one truth value per column, in their order.
        others: Other columns of the rows to pass through, as SQL.
        rows: A relation with the columns as texts.
    """
    flags, values = [], []
    for column in columns:
        name = quote_identifier(column.name)
        is_value = f"({column.text_name} IS NULL OR {name} IS NOT NULL)"
        guard = f"coalesce({column.is_generous or 'false'}, false)"
        flags.append(f"({is_value} AND NOT {guard})")
        values.append(f"CASE WHEN NOT {guard} THEN {name} END AS {name}")
    return (
        f"(SELECT {', '.join([*values, *others])}, [{', '.join(flags)}] AS {valid} "
        f"FROM {_cast(columns, 'TRY_CAST', others, rows)})"
    )


def _cast(columns: Sequence[Column], cast: str, others: Sequence[str], rows: str) -> str:
    """Return a relation with each column's text, under a name of its own, and its value."""
    both = [
        f"{column.text} AS {column.text_name}, "
        f"{cast}({column.text} AS {column.type}) AS {quote_identifier(column.name)}"
        for column in columns
    ]
    return f"(SELECT {', '.join([*both, *others])} FROM {rows})"


def _is_spelled_otherwise(
    text: str, value: str, pattern: str, length: int | None = None, besides: str = "true"
) -> str:
    """Return the condition for a text that is neither DuckDB's own spelling nor matches a pattern.

    DuckDB also spells values that no contract accepts, such as `infinity` and dates BC, but none of
    them in exactly `length` bytes.
    """
    differs = f"CAST({value} AS VARCHAR) <> {text}"
    if length is not None:
        differs = f"({differs} OR strlen({text}) <> {length})"
    return f"({differs} AND NOT (regexp_full_match({text}, '{pattern}') AND {besides}))"
