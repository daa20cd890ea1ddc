"""JSON records: what one JSON object says of a feed's columns, exactly as it is spelled.

Takes the text of a record; returns the texts of its values, or what is wrong with it. A column of a
number type takes JSON numbers, a BOOLEAN column `true` and `false`, every other column JSON
strings; `null` is NULL in all. The texts are then validated like those of a CSV file: a number
keeps its spelling in the file, so that it is not rounded before. Of a list, structure or map the
text is JSON again, with a text in the place of each value in it. `json_sql.py` reads whole files
likewise, much faster, and leaves to this module whatever it does not read exactly so.
"""

import json
from collections.abc import Sequence
from typing import Any

from partitioned_etl.engine.formats.format import Problem
from partitioned_etl.engine.formats.json_columns import (
    JsonColumn,
    JsonForm,
    JsonKind,
    JsonOptions,
    Step,
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
_ENCODER = json.JSONEncoder(ensure_ascii=False)
_KINDS: dict[type, JsonKind] = {
    _Number: JsonKind.NUMBER,
    bool: JsonKind.TRUTH,
    str: JsonKind.TEXT,
    _Object: JsonKind.OBJECT,
    list: JsonKind.ARRAY,
}
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
                raise _FaultError(column.name, f"{_kind_of(value).value} at {here}, not an object")
            names = dict(value)
            if len(names) != len(value):
                raise _FaultError(column.name, f"a name more than once at {here}")
            value = names.get(step, _ABSENT)
        elif isinstance(value, _Object) or not isinstance(value, list):
            raise _FaultError(column.name, f"{_kind_of(value).value} at {here}, not an array")
        else:
            value = value[step] if step < len(value) else _ABSENT
    return value


def _to_text(column: JsonColumn, options: JsonOptions, value: Any) -> str:
    if not column.form.is_nested:
        return _leaf_to_text(column, options, column.form, value)
    parts = _to_texts(column, options, column.form, value, column.path)
    return _ENCODER.encode(parts)


def _to_texts(
    column: JsonColumn,
    options: JsonOptions,
    form: JsonForm,
    value: Any,
    path: tuple[Step, ...],
) -> Any:
    """Return a value with a text in the place of each value in it that is not nested itself."""
    if value is None:
        return None
    if not form.is_nested:
        return _leaf_to_text(column, options, form, value, path)
    if _kind_of(value) is not form.kind:
        raise _misplaced(column, form, value, path)

    def to_text(step: Step, form: JsonForm, part: Any) -> Any:
        return _to_texts(column, options, form, part, (*path, step))

    if form.each and form.kind is JsonKind.ARRAY:
        return [to_text(at, form.each, part) for at, part in enumerate(value)]
    parts = _read_object(column, value, path)
    if form.each:
        # Names in a map are values of a sender, which no message repeats.
        return {name: to_text(at, form.each, parts[name]) for at, name in enumerate(parts)}
    if not options.absent_is_null and (
        missing := [name for name in form.fields if name not in parts]
    ):
        raise _FaultError(column.name, f"{write_path((*path, missing[0]))} is missing")
    if options.extra_columns == "refuse" and (extra := len({*parts} - {*form.fields})):
        reason = f"{extra} name(s) at {write_path(path)} that the type does not have"
        raise _FaultError(column.name, reason)
    return {name: to_text(name, one, parts.get(name)) for name, one in form.fields.items()}


def _read_object(column: JsonColumn, found: _Object, path: tuple[Step, ...]) -> dict[str, Any]:
    """Return the values of an object by their names."""
    parts = dict(found)
    if len(parts) != len(found):
        raise _FaultError(column.name, f"a name more than once at {write_path(path)}")
    for name in parts:
        _refuse_unstorable(column, name)
    return parts


def _leaf_to_text(
    column: JsonColumn,
    options: JsonOptions,
    form: JsonForm,
    value: Any,
    path: tuple[Step, ...] = (),
) -> str:
    """Return the text of a value in a column, or at a path within the value of one."""
    kind = _kind_of(value)
    if form.kind is JsonKind.ANY:
        return _write(column, value)
    if kind is not form.kind and not (
        options.numbers_as_texts and _is_convertible(kind, form.kind)
    ):
        raise _misplaced(column, form, value, path)
    if kind is JsonKind.TEXT:
        if not value and not form.may_be_empty:
            where = f" at {write_path(path)}" if path else ""
            raise _FaultError(column.name, f"an empty text{where}, where null belongs")
        _refuse_unstorable(column, value)
    return str(value).lower() if kind is JsonKind.TRUTH else str(value)


def _misplaced(
    column: JsonColumn, form: JsonForm, value: Any, path: tuple[Step, ...]
) -> _FaultError:
    where = f" at {write_path(path)}" if path else ""
    return _FaultError(
        column.name, f"{_kind_of(value).value}{where}, where {form.kind.value} belongs"
    )


def _is_convertible(kind: JsonKind, wanted: JsonKind) -> bool:
    return {kind, wanted} == {JsonKind.NUMBER, JsonKind.TEXT}


def _kind_of(value: object) -> JsonKind:
    """Return the kind of a value that is not `null`."""
    return _KINDS[type(value)]


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
