"""Strict JSON: a parser by RFC 8259 that keeps how numbers are spelled, in plain Python.

It shares no code with the package, nor with Python's own parser: it is the other opinion of the
tests that compare. `strict_reader.py` takes the values of records from what it returns.
"""

import re
from collections.abc import Mapping
from typing import Any

from support.strict_values import NUMBER_OPTIONS, RefusedError, UnsureError, as_list

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_SPACE = re.compile(r"[ \t\r\n]*")
_PLAIN = re.compile(r'[^"\\\x00-\x1f]*')
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "/": "/"}
_WORDS = {"true": True, "false": False, "null": None}


class JsonNumber(str):
    """A number as it is spelled."""


class JsonObject(list[tuple[str, Any]]):
    """The names and values of an object."""

    def names(self) -> dict[str, Any]:
        """Return the values by name; a name that is there twice is refused."""
        if len(found := dict(self)) < len(self):
            raise RefusedError("a name more than once")
        return found


def read_json(text: str) -> object:
    """Return the value of a whole text.

    Raises:
        RefusedError: It is no JSON.
    """
    value, at = _read_value(text, _pass_space(text, 0))
    if _pass_space(text, at) < len(text):
        raise RefusedError("text behind the value")
    return value


def read_records(text: str, options: Mapping[str, Any]) -> list[object]:
    """Return the records of a document."""
    found = read_json(text)
    for name in options.get("records", "$").split(".")[1:]:
        names = found.names() if isinstance(found, JsonObject) else {}
        if name not in names:
            raise RefusedError("no such path")
        found = names[name]
    if isinstance(found, JsonObject) or not isinstance(found, list):
        raise RefusedError("no array")
    return found


def to_json_text(
    value: object, type_name: str, options: Mapping[str, Any], format_options: Mapping[str, Any]
) -> str | None:
    """Return the text of a value of a record, of the kind that its column takes."""
    if value is None:
        return None
    is_either = format_options.get("numbers_as_texts")
    wanted = kind_in_file(type_name, options)
    if isinstance(value, bool):
        if wanted is bool:
            return str(value).lower()
    elif isinstance(value, (JsonNumber, str)):
        kind = JsonNumber if isinstance(value, JsonNumber) else str
        if kind is wanted or (is_either and wanted in (str, JsonNumber)):
            if kind is str:
                _check_text(value, type_name)
            return str(value)
    raise RefusedError("another kind of value")


def _check_text(text: str, type_name: str) -> None:
    if not text and type_name != "VARCHAR":
        raise RefusedError("an empty text")
    if "\0" in text or re.search("[\ud800-\udfff]", text):
        raise RefusedError("a character that no table holds")


def kind_in_file(type_name: str, options: Mapping[str, Any]) -> type:
    """Return the kind of value that a column takes."""
    if type_name == "BOOLEAN":
        is_text = options.get("true_texts") or options.get("false_texts")
        return str if is_text else bool
    formats = {"DATE": "date_format", "TIMESTAMP": "timestamp_format"}
    option = formats.get(type_name.removesuffix("TZ"), "")
    if set(as_list(options.get(option, ()))) & {"excel", "epoch", "epoch_ms"}:
        return JsonNumber
    if type_name in ("VARCHAR", "DATE", "TIME", "TIMESTAMP", "TIMESTAMPTZ"):
        return str
    own = [options.get(name) for name in NUMBER_OPTIONS if options.get(name) != "."]
    return str if any(own) else JsonNumber


def _pass_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _read_value(text: str, at: int) -> tuple[Any, int]:
    if text.startswith("{", at):
        return _read_object(text, at)
    if text.startswith("[", at):
        return _read_array(text, at)
    if text.startswith('"', at):
        return _read_text(text, at)
    if text.startswith(("NaN", "Infinity", "-Infinity"), at):
        raise UnsureError("NaN or infinity")
    for word, value in _WORDS.items():
        if text.startswith(word, at):
            return value, at + len(word)
    if found := _NUMBER.match(text, at):
        return JsonNumber(found[0]), found.end()
    raise RefusedError("no value")


def _read_array(text: str, at: int) -> tuple[list[Any], int]:
    found: list[Any] = []
    at = _pass_space(text, at + 1)
    if text.startswith("]", at):
        return found, at + 1
    while True:
        value, at = _read_value(text, _pass_space(text, at))
        found.append(value)
        at = _pass_space(text, at)
        if text.startswith("]", at):
            return found, at + 1
        at = _expect(text, at, ",")


def _read_object(text: str, at: int) -> tuple[JsonObject, int]:
    found = JsonObject()
    at = _pass_space(text, at + 1)
    if text.startswith("}", at):
        return found, at + 1
    while True:
        at = _pass_space(text, at)
        if not text.startswith('"', at):
            raise RefusedError("no name")
        name, at = _read_text(text, at)
        at = _expect(text, _pass_space(text, at), ":")
        value, at = _read_value(text, _pass_space(text, at))
        found.append((name, value))
        at = _pass_space(text, at)
        if text.startswith("}", at):
            return found, at + 1
        at = _expect(text, at, ",")


def _expect(text: str, at: int, mark: str) -> int:
    if not text.startswith(mark, at):
        raise RefusedError(f"no {mark}")
    return at + 1


def _read_text(text: str, at: int) -> tuple[str, int]:
    at, pieces = at + 1, list[str]()
    while True:
        plain = _PLAIN.match(text, at)
        assert plain
        pieces.append(plain[0])
        at = plain.end()
        one = text[at : at + 1]
        if one == '"':
            joined = "".join(pieces)
            # Two escapes may be one character.
            whole = joined.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
            return whole, at + 1
        if one != "\\":
            raise RefusedError("a text that is not closed, or a control character")
        escaped = text[at + 1 : at + 2]
        if escaped in _ESCAPES and escaped:
            pieces.append(_ESCAPES[escaped])
            at += 2
        elif found := re.compile("u([0-9a-fA-F]{4})").match(text, at + 1):
            pieces.append(chr(int(found[1], 16)))
            at += 6
        else:
            raise RefusedError("no such escape")
