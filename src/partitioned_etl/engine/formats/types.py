"""Types: which texts a column of a DuckDB type accepts, as SQL expressions over the text.

Takes a contract's columns; returns, for each, the condition under which its conversion is too
lenient. Next: `rows.py` uses them both in the statement that loads and in the one that finds
problems, so that both validate alike. DuckDB's own conversion is more lenient than a contract may
be: it turns `1.5` into the integer 2, `1_000` into a thousand, `24-01-02` into a day of the year
24, `1e999` into infinity, `1e-999` into 0 and `+-1` into -1. Of values that were never texts, as in
Parquet, NaN and infinity are not accepted.
"""

import json
import re
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TYPE_CHECKING

from partitioned_etl.engine.errors import FeedDefinitionError
from partitioned_etl.engine.formats.format import Loose
from partitioned_etl.engine.formats.nested_types import NestedType, is_nested, parse_type
from partitioned_etl.engine.sql import internal_identifier, quote_identifier, quote_text

if TYPE_CHECKING:
    from partitioned_etl.engine.contract import Contract

_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "INT", "BIGINT", "HUGEINT")
_UNSIGNED = ("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT")
_TYPE_NAME = re.compile(r"[A-Z][A-Z0-9_ ]*(?:\(\d+(?:, ?\d+)?\))?")
_FLOATS = ("DOUBLE", "FLOAT", "REAL")
_TEXTS = ("VARCHAR", "TEXT", "STRING")
_FRACTION_DIGITS = {"TIMESTAMP_S": 0, "TIMESTAMP_MS": 3, "TIMESTAMP_NS": 9}
"""How many digits of a second a type has, if not six."""
_TIMESTAMPS = ("TIMESTAMP", "DATETIME", *_FRACTION_DIGITS)
_ZONED = ("TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE")
_WITH_INFINITY = (*_FLOATS, "DATE", *_TIMESTAMPS, *_ZONED)
_TAKEN_AS_THEY_ARE = (*_TEXTS, "JSON")
"""Types within nested ones that take the text of any value of their kind."""
_DECIMAL = re.compile(r"(?:DECIMAL|NUMERIC)\((\d+), ?(\d+)\)")
_DAY = r"\d{4}-\d{2}-\d{2}|\d{4}/\d{2}/\d{2}"
_HOUR = r"([01]\d|2[0-3])"
"""DuckDB takes 24:00 for midnight of the next day, and for a time of its own."""
_WHOLE_TIME = rf"{_HOUR}:\d{{2}}(:\d{{2}})?"
_TIME = rf"{_HOUR}:\d{{2}}(:\d{{2}}(\.\d{{1,6}})?)?"
_OFFSET = r"Z|[+-](0\d|1[0-5])(:?[0-5]\d)?"


class Kind(Enum):
    """The kinds of types whose values senders spell in ways of their own."""

    TEXT = auto()
    NUMBER = auto()
    DATE = auto()
    TIME = auto()
    TIMESTAMP = auto()
    ZONED = auto()
    """A time with an offset from UTC."""
    BOOLEAN = auto()
    OTHER = auto()


def kind_of(type_name: str) -> Kind:
    """Return the kind of a DuckDB type."""
    name = type_name.upper()
    if is_number_type(name):
        return Kind.NUMBER
    if is_text_type(name):
        return Kind.TEXT
    if name in _ZONED:
        return Kind.ZONED
    if name in _TIMESTAMPS:
        return Kind.TIMESTAMP
    return {"DATE": Kind.DATE, "TIME": Kind.TIME, "BOOLEAN": Kind.BOOLEAN}.get(name, Kind.OTHER)


def spell_type(type_name: str) -> str:
    """Return a declared type as SQL; what is spelled as none, as it is."""
    found = parse_type(type_name) if is_nested(type_name) else None
    return found.spell() if found else type_name


@dataclass(frozen=True)
class ColumnSql:
    """A column as SQL over its text.

    Attributes:
        name: The column's name.
        type: Its DuckDB type.
        text: SQL for the column's text in the file, or for what the last step makes of it, NULL
            where there is no value; for the value itself where it is not a text.
        is_generous: SQL condition over `text_name` and the converted value, which goes by the
            column's own name: whether DuckDB's conversion is more lenient than a contract allows.
            Empty if it never is.
        read_type: The type that DuckDB's file reader may give the column directly; `VARCHAR` where
            its text is needed.
        steps: SQL over the column's own name that turns its text as a sender spells it into
            another, one after the other.
    """

    name: str
    type: str
    text: str
    is_generous: str
    read_type: str = "VARCHAR"
    steps: tuple[str, ...] = ()

    @property
    def text_name(self) -> str:
        """The quoted name by which `is_generous` refers to the text."""
        return internal_identifier(f"text of {self.name}")


def columns_sql(contract: "Contract", loose: Loose = Loose.ANYTHING) -> list[ColumnSql]:
    """Return a contract's columns as SQL over the texts of a file, in order.

    Args:
        contract: The contract.
        loose: What the file holds whose effects need guards.

    Raises:
        FeedDefinitionError: A file cannot be read into a column's type.
    """
    return [
        _column_sql(contract, name, type_name.upper(), loose)
        for name, type_name in contract.column_types.items()
    ]


def _column_sql(contract: "Contract", name: str, type_name: str, loose: Loose) -> ColumnSql:
    if is_nested(contract.column_types[name]):
        if not contract.format.has_texts:
            return _nested_column_sql(name, contract.column_types[name])
        if contract.format.takes_json:
            return _nested_texts_sql(name, contract.column_types[name])
    if not _TYPE_NAME.fullmatch(type_name):
        reason = f"column {name}: no DuckDB type: {type_name}"
        raise FeedDefinitionError(reason, attribute="columns")
    text = quote_identifier(name)
    steps = contract.column_values[name].steps(kind_of(type_name), text)
    steps = contract.format.apply_steps(steps, text)
    if type_name in _TEXTS:
        return ColumnSql(name, type_name, text, "", steps=steps)
    if steps:  # what a step leaves may hold what the text did not
        loose = Loose.ANYTHING
    if Loose.TEXT in loose:
        text = f"nullif({text}, '')"
    bare = ColumnSql(name, type_name, text, "", steps=steps)
    any_number = name in contract.non_finite_columns
    if type_name == "JSON" and contract.format.takes_json:
        return bare
    guard = _is_generous(
        type_name,
        bare.text_name,
        quote_identifier(name),
        any_number=any_number,
        loose=loose,
    )
    if guard is None:
        reason = f"column {name}: no file can be read into a column of type {type_name}"
        raise FeedDefinitionError(reason, attribute="columns")
    if not contract.format.has_texts:
        may_be_infinite = type_name in _WITH_INFINITY and not any_number
        value = quote_identifier(name)
        guard = f"NOT isfinite({value})" if may_be_infinite else ""
        return ColumnSql(name, type_name, value, guard)
    # The reader accepts exactly the texts that a cast to a floating-point type accepts.
    needs_text = bool(loose) or type_name not in _FLOATS
    return replace(bare, is_generous=guard, read_type="VARCHAR" if needs_text else type_name)


def describe_type(contract: "Contract", name: str) -> str:
    """Return the type of a column, with an article and with how its values are spelled."""
    type_name = contract.column_types[name]
    type_name = type_name if is_nested(type_name) else type_name.upper()
    has_fraction = type_name not in (*_INTEGERS, *_UNSIGNED)
    spelled = contract.column_values[name].describe(has_fraction=has_fraction)
    return f"{add_article(type_name)}{spelled}"


def add_article(type_name: str) -> str:
    """Return a type's name with its article, by sound: that of `UUID` begins with a consonant."""
    return f"{'an' if type_name[0] in 'AEIOaeio' else 'a'} {type_name}"


def _nested_column_sql(name: str, type_name: str) -> ColumnSql:
    """Return a column of a nested type, none of whose leaves may be NaN or infinity."""
    value = quote_identifier(name)
    guard = _parse_nested(name, type_name).find_leaf_sql(
        value, lambda leaf, sql: f"NOT isfinite({sql})" if leaf in _WITH_INFINITY else ""
    )
    return ColumnSql(name, type_name, value, guard)


def _nested_texts_sql(name: str, type_name: str) -> ColumnSql:
    """Return a column of a nested type, whose text is JSON with a text for each of its leaves."""
    found = _parse_nested(name, type_name, *_TAKEN_AS_THEY_ARE)
    shape = quote_text(json.dumps(found.spell("VARCHAR")))
    bare = ColumnSql(name, type_name, f"from_json({quote_identifier(name)}, {shape})", "")
    return replace(bare, is_generous=found.find_leaf_sql(bare.text_name, _is_wrong_text))


def _is_wrong_text(type_name: str, text: str) -> str:
    """Return the condition for a text within a nested value that is none of a leaf's type."""
    if type_name in _TAKEN_AS_THEY_ARE:
        return ""
    value = f"TRY_CAST({text} AS {type_name})"
    guard = _is_generous(type_name, text, value, any_number=False, loose=Loose.ANYTHING)
    return f"({text} IS NOT NULL AND ({value} IS NULL OR {guard or 'false'}))"


def _parse_nested(name: str, type_name: str, *others: str) -> NestedType:
    """Return a nested type whose leaves a file's values are converted to, or are of `others`."""
    found = parse_type(type_name)
    if not found or not all(leaf in others or _is_known(leaf) for leaf in found.leaves()):
        reason = f"column {name}: no file can be read into a column of type {type_name}"
        raise FeedDefinitionError(reason, attribute="columns")
    return found


def _is_known(type_name: str) -> bool:
    if type_name in _TEXTS:
        return True
    return _is_generous(type_name, "", "", any_number=False, loose=Loose.NOTHING) is not None


def is_exact_number_type(type_name: str) -> bool:
    """Return whether a column of a DuckDB type holds integers or decimals."""
    return is_number_type(type_name) and not is_float_type(type_name)


def widest_number_type(type_name: str) -> str:
    """Return the type of a sum of numbers of a DuckDB type that is exact."""
    decimal = _DECIMAL.fullmatch(type_name.upper())
    return f"DECIMAL(38, {decimal[2]})" if decimal else "HUGEINT"


def is_float_type(type_name: str) -> bool:
    """Return whether a column of a DuckDB type holds floating-point numbers."""
    return type_name.upper() in _FLOATS


def is_number_type(type_name: str) -> bool:
    """Return whether a column of a DuckDB type holds numbers."""
    name = type_name.upper()
    return name in (*_INTEGERS, *_UNSIGNED, *_FLOATS) or bool(_DECIMAL.fullmatch(name))


def is_integer_type(type_name: str) -> bool:
    """Return whether a column of a DuckDB type holds whole numbers."""
    return type_name.upper() in (*_INTEGERS, *_UNSIGNED)


def is_text_type(type_name: str) -> bool:
    """Return whether a column of a DuckDB type holds any text."""
    return type_name.upper() in _TEXTS


def _is_generous(
    type_name: str, text: str, value: str, *, any_number: bool, loose: Loose
) -> str | None:
    """Return the condition for a DuckDB conversion that is more lenient than a contract allows.

    Most texts are spelled as DuckDB itself spells the value. Comparing with that spelling is
    cheaper than a regular expression, which is evaluated only where the two differ.

    Args:
        type_name: The DuckDB type.
        text: SQL for the text, which is not empty.
        value: SQL for the converted value.
        any_number: Whether NaN and infinity are values.
        loose: What the file holds.

    Returns:
        The condition; empty if it is never more lenient, None if no text can be of the type.
    """
    if type_name in _INTEGERS:
        return _is_spelled_otherwise(text, value, "[+-]?[0-9]+")
    if type_name in _UNSIGNED:
        return _is_spelled_otherwise(text, value, "[+]?[0-9]+")
    if type_name in _FLOATS:
        guards = [] if any_number else [f"NOT isfinite({value})"]
        if Loose.TEXT in loose:
            guards += [f"contains({text}, '_')", f"{text} < '!'", f"{text}[-1] < '!'"]
        if Loose.NUMBER in loose:
            is_too_small = f"{value} = 0 AND regexp_matches({text}, '^[^eE]*[1-9]')"
            guards += [f"starts_with({text}, '+-')", f"({is_too_small})"]
        return f"({' OR '.join(guards)})" if guards else ""
    if decimal := _DECIMAL.fullmatch(type_name):
        return _is_spelled_otherwise(text, value, rf"[+-]?\d+(\.\d{{0,{decimal[2]}}})?")
    if type_name == "DATE":
        return _is_spelled_otherwise(text, value, _DAY, 10, f"year({value}) > 0")
    if type_name in _TIMESTAMPS:
        digits = _FRACTION_DIGITS.get(type_name, 6)
        time = _TIME.replace("{1,6}", f"{{1,{digits}}}") if digits else _WHOLE_TIME
        pattern = rf"({_DAY})[ T]{time}"
        return _is_spelled_otherwise(text, value, pattern, 19, f"year({value}) > 0")
    if type_name in _ZONED:
        pattern = f"({_DAY})[ T]{_TIME}({_OFFSET})"
        return f"({text} < '0001' OR NOT regexp_full_match({text}, '{pattern}'))"
    if type_name == "TIME":
        return f"({text} >= '24' OR {_is_spelled_otherwise(text, value, _TIME, 8)})"
    if type_name in ("BOOLEAN", "UUID"):
        return ""
    return None


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
