"""JSON rows: what a function returned, as records of a JSON document, each value exactly.

Takes rows of Python values; returns their texts. What no text stands for exactly is refused here,
with row and column; whether a value belongs into its column, the feed's contract says when it is
loaded. `json_records.py` reads what is written here.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias
from uuid import UUID

from partitioned_etl.engine.errors import ContractError

if TYPE_CHECKING:
    import pandas as pd


class Frame(Protocol):
    """A DataFrame of pandas, as far as it matters here."""

    @property
    def columns(self) -> Any:
        """The names of its columns."""
        ...

    @property
    def iloc(self) -> Any:
        """Its values, by numbers of rows and columns."""
        ...

    def notna(self) -> Any:
        """Return which values are there."""
        ...


Row: TypeAlias = Mapping[str, Any]
"""The value of each column, by its name."""
Rows: TypeAlias = Row | Iterable[Row] | Frame
"""What a function returns or yields: rows, a single one, or a DataFrame."""
_EXACT_KINDS = frozenset("biufUO")
"""Which arrays and numbers of numpy become Python's exactly; of times, some become numbers."""


def write_records(rows: Rows) -> Iterator[str]:
    """Yield the text of each row, in which there is no line end.

    Raises:
        ContractError: A row is no mapping, or holds something that no text stands for.
    """
    for number, row in enumerate(_list_rows(rows), 1):
        if not isinstance(row, Mapping):
            what = type(row).__name__
            raise ContractError(f"row {number}: {what} is no mapping of column names to values")
        members = []
        for column, value in row.items():
            if not isinstance(column, str):
                raise ContractError(f"row {number}: {type(column).__name__} names no column")
            try:
                members.append(f"{_quote(column)}: {_write(value)}")
            except TypeError as error:
                raise ContractError(f"row {number}, column {column[:200]!a}: {error}") from None
        yield "{" + ", ".join(members) + "}"


def _list_rows(rows: Any) -> Iterable[Any]:
    if isinstance(rows, Mapping):
        return [rows]
    if rows is None or isinstance(rows, str | bytes):
        raise ContractError(f"{type(rows).__name__} was returned, and no rows")
    if hasattr(rows, "iloc") and hasattr(rows, "columns"):
        return _list_rows_of_frame(rows)
    try:
        return iter(rows)
    except TypeError:
        raise ContractError(f"{type(rows).__name__} was returned, and no rows") from None


def _list_rows_of_frame(frame: Frame) -> Iterator[Row]:
    """Yield the rows of a DataFrame without its index; what is missing in it is NULL.

    A whole number beside missing ones is a float to pandas, and a whole number again here.
    """
    if not frame.columns.is_unique:
        raise ContractError("rows: a column is in the DataFrame more than once")
    columns = [*frame.columns]
    of_columns = [_list_values(frame.iloc[:, at]) for at in range(len(columns))]
    for values in zip(*of_columns, strict=True):
        yield dict(zip(columns, values, strict=True))


def _list_values(series: "pd.Series[Any]") -> Iterator[Any]:
    there = series.notna()
    has_gaps = series.dtype.kind == "f" and not there.all()
    for value, is_there in zip(series, there, strict=True):
        is_whole = has_gaps and is_there and value.is_integer() and str(value) != "-0.0"
        yield (int(value) if is_whole else value) if is_there else None


def _write(value: Any) -> str:
    """Return a value as JSON; numbers as they are, and what JSON does not have as its text.

    Raises:
        TypeError: No text stands for it.
    """
    match value:
        case None | bool() | int() | float():
            return json.dumps(value)
        # What a member of an enumeration is worth, and not its name.
        case str():
            return _quote(value)
        case UUID():
            return _quote(str(value))
        case Decimal():
            return Decimal.__str__(value)
        case datetime() if value.isoformat() == "NaT":  # pandas' missing time
            return "null"
        case datetime():
            return _quote(value.isoformat(" "))
        case date() | time():
            return _quote(value.isoformat())
        case list() | tuple():
            return "[" + ", ".join(map(_write, value)) + "]"
        case Mapping():
            return "{" + ", ".join(f"{_quote(key)}: {_write(value[key])}" for key in value) + "}"
    if getattr(getattr(value, "dtype", None), "kind", "") in _EXACT_KINDS:
        converted = value.tolist()
        if type(converted) is not type(value):
            return _write(converted)
    raise TypeError(f"a value of type {type(value).__name__}, which no text stands for exactly")


def _quote(text: object) -> str:
    if not isinstance(text, str):
        raise TypeError(f"a name of type {type(text).__name__}, where a text belongs")
    return json.dumps(text)
