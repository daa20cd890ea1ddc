"""JSON records: what one JSON object says of a feed's columns, exactly as it is spelled.

Takes the text of a record; returns the texts of its values, or what is wrong with it. A column of a
number type takes JSON numbers, a BOOLEAN column `true` and `false`, every other column JSON
strings; `null` is NULL in all. The texts are then validated like those of a CSV file: a number
keeps its spelling in the file, so that it is not rounded before. `json_sql.py` reads whole files
likewise, much faster, and leaves to this module whatever it does not read exactly so.
"""

import json
from collections.abc import Sequence
from typing import Any

from partitioned_etl.engine.formats.format import Problem
from partitioned_etl.engine.formats.json_columns import (
    JsonColumn,
    JsonKind,
    JsonOptions,
    write_path,
)

_ABSENT = object()


class _Number(str):
    """A JSON number as spelled in the file."""


class _Object(list[tuple[str, Any]]):
    """The names and values of a JSON object, including duplicate names."""


class _FaultError(Exception):
    """A record breaks the contract: in a column, or not, and why."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(reason)
        self.column, self.reason = column, reason


_DECODER = json.JSONDecoder(
    object_pairs_hook=_Object, parse_int=_Number, parse_float=_Number, parse_constant=_Number
)
_KIND_OF = {_Number: JsonKind.NUMBER, bool: JsonKind.TRUTH, str: JsonKind.TEXT}
_ESCAPES = {code: f"\\u{code:04X}" for code in range(32)} | str.maketrans(
    {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\"}
)
"""The escapes that DuckDB writes, so that both ways of reading write the same."""
_WORDS = {None: "null", True: "true", False: "false"}


def read_texts(
    columns: Sequence[JsonColumn], options: JsonOptions, line: int, text: str
) -> Sequence[str | None] | Problem:
    """Return the values of a record as texts, in the order of the columns; or what is wrong.

    Args:
        columns: The feed's columns.
        options: How the format is declared.
        line: The record's line, or its number, for the problem.
        text: The record's text, with or without line end.
    """
    if not text.strip():
        return Problem(line, "", "an empty line")
    try:
        return _read_texts(columns, options, text)
    except json.JSONDecodeError as error:
        return Problem(line, "", f"not JSON from character {error.pos + 1} on")
    except RecursionError:
        return Problem(line, "", "a nested value")
    except _FaultError as error:
        return Problem(line, error.column, error.reason)


def _read_texts(
    columns: Sequence[JsonColumn], options: JsonOptions, text: str
) -> Sequence[str | None]:
    found = _DECODER.decode(text.rstrip("\r\n"))
    if not isinstance(found, _Object):
        raise _FaultError("", "not a JSON object")
    values = dict(found)
    _compare_names(columns, options, values, found)
    texts = []
    for column in columns:
        value = values.get(column.start, _ABSENT)
        if len(column.path) > 1:
            value = _follow(column, value)
        if value is _ABSENT and not column.may_be_absent:
            raise _FaultError(column.name, "missing")
        is_null = value is None or value is _ABSENT
        texts.append(None if is_null else _to_text(column, options, value))
    return texts


def _compare_names(
    columns: Sequence[JsonColumn],
    options: JsonOptions,
    values: dict[str, object],
    found: _Object,
) -> None:
    """Refuse names that are there twice, missing, or not the feed's."""
    if len(values) != len(found):
        names = [name for name, _ in found]
        for column in columns:
            if names.count(column.start) > 1:
                raise _FaultError(column.name, "there more than once")
        raise _FaultError("", "a name more than once")
    for column in columns:
        if column.start not in values and not column.may_be_absent:
            raise _FaultError(column.name, "missing")
    if options.extra_columns == "ignore":
        return
    starts = {column.start for column in columns}
    if extra := sum(name not in starts for name in values):
        raise _FaultError("", f"{extra} name(s) that the feed does not have")


def _follow(column: JsonColumn, value: Any) -> Any:
    """Return what stands at the end of a path whose first step led to a value.

    Nothing stands beyond `null`, which is therefore what is found.
    """
    for depth, step in enumerate(column.path[1:], 1):
        if value is None or value is _ABSENT:
            return value
        here = write_path(column.path[:depth])
        if isinstance(step, str):
            if not isinstance(value, _Object):
                raise _FaultError(column.name, f"{_say_kind(value)} at {here}, not an object")
            names = dict(value)
            if len(names) != len(value):
                raise _FaultError(column.name, f"a name more than once at {here}")
            value = names.get(step, _ABSENT)
        elif isinstance(value, _Object) or not isinstance(value, list):
            raise _FaultError(column.name, f"{_say_kind(value)} at {here}, not an array")
        else:
            value = value[step] if step < len(value) else _ABSENT
    return value


def _to_text(column: JsonColumn, options: JsonOptions, value: Any) -> str:
    wanted, kind = column.kind, _KIND_OF.get(type(value))
    if wanted is JsonKind.ANY:
        return _write(column, value)
    if kind is not wanted and not (options.numbers_as_texts and _is_convertible(kind, wanted)):
        raise _FaultError(column.name, f"{_say_kind(value)}, where {wanted.value} belongs")
    if kind is JsonKind.TEXT:
        if not value and not column.may_be_empty:
            raise _FaultError(column.name, "an empty text, where null belongs")
        _refuse_unstorable(column, value)
    return str(value).lower() if kind is JsonKind.TRUTH else str(value)


def _is_convertible(kind: JsonKind | None, wanted: JsonKind) -> bool:
    return {kind, wanted} == {JsonKind.NUMBER, JsonKind.TEXT}


def _say_kind(value: object) -> str:
    kind = _KIND_OF.get(type(value))
    return kind.value if kind else "a nested value"


def _refuse_unstorable(column: JsonColumn, text: str) -> None:
    """Refuse what no text in the table can hold."""
    if "\0" in text:
        raise _FaultError(column.name, "a NUL character")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise _FaultError(column.name, "half a surrogate pair") from None


def _write(column: JsonColumn, value: Any) -> str:
    """Return a value as JSON without white space between its parts; numbers as they are spelled."""
    if isinstance(value, _Object):
        members = (f"{_write(column, name)}:{_write(column, each)}" for name, each in value)
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_write(column, each) for each in value) + "]"
    if isinstance(value, _Number):
        if not value[-1].isdigit():
            raise _FaultError(column.name, "NaN or infinity, which JSON does not have")
        return str(value)
    if isinstance(value, str):
        text = value.translate(_ESCAPES)
        _refuse_unstorable(column, text)
        return f'"{text}"'
    return _WORDS[value]
