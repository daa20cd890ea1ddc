"""JSON lines: one JSON object per line, whose names are the feed's columns.

Takes an opened file; returns its rows as records of texts, each with what is wrong with its form.
Next: `columns.py` validates the texts like those of a CSV file. A number keeps its spelling in the
file, so that it is not rounded before it is validated.
"""

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from enum import Enum
from typing import Any

from partitioned_etl.ingest.columns import is_number_type, is_text_type
from partitioned_etl.ingest.feed import Feed
from partitioned_etl.ingest.opening import Readable
from partitioned_etl.ingest.records import (
    MAX_RECORD_CHARS,
    Problem,
    Record,
    chunks_and_end,
    make_decoder,
)


@dataclass(frozen=True)
class JsonRecord(Record):
    """One line of a JSON lines file.

    Attributes:
        texts: The values of a valid record as texts, in the order of the feed's columns.
    """

    texts: Sequence[str | None]

    def fields(self) -> Sequence[str | None]:
        """Return the values of a valid record as texts; None for `null`."""
        return self.texts


class _Kind(Enum):
    """The kinds of JSON value that a column may accept."""

    NUMBER = "a number"
    TRUTH = "true or false"
    TEXT = "a text"


class _Number(str):
    """A JSON number as spelled in the file."""


class _Object(list[tuple[str, Any]]):
    """The names and values of a JSON object, including duplicate names."""


_DECODER = json.JSONDecoder(
    object_pairs_hook=_Object, parse_int=_Number, parse_float=_Number, parse_constant=_Number
)
_KIND_OF = {_Number: _Kind.NUMBER, bool: _Kind.TRUTH, str: _Kind.TEXT}


def read_json_lines(feed: Feed, handle: Readable) -> Iterator[JsonRecord]:
    """Read a file line by line.

    Args:
        feed: The feed, which defines the columns.
        handle: The file's text as bytes; it is read from its start.

    Yields:
        Each line's record, with its problem, if any.
    """
    kinds = {name: _kind_of_column(kind) for name, kind in feed.columns.items()}
    may_be_empty = {name for name, kind in feed.columns.items() if is_text_type(kind)}
    for line, text in enumerate(_read_lines(handle), 1):
        if len(text) > MAX_RECORD_CHARS:
            reason = f"a line of over {MAX_RECORD_CHARS:,} characters"
            problem = Problem(line, "", reason, is_of_file=True)
            yield JsonRecord(line, text[:MAX_RECORD_CHARS], problem, ())
            return
        found = _read_texts(kinds, may_be_empty, line, text)
        if isinstance(found, Problem):
            yield JsonRecord(line, text, found, ())
        else:
            yield JsonRecord(line, text, None, found)


def _read_lines(handle: Readable) -> Iterator[str]:
    """Yield lines with their ends; of one that is too long, only enough to show that it is."""
    handle.seek(0)
    decoder, rest = make_decoder("utf-8"), ""
    for chunk in chunks_and_end(handle):
        *lines, rest = (rest + decoder.decode(chunk, final=not chunk)).split("\n")
        for line in lines:
            yield line + "\n"
        if len(rest) > MAX_RECORD_CHARS:
            break
    if rest:
        yield rest


def _kind_of_column(type_name: str) -> _Kind:
    if is_number_type(type_name):
        return _Kind.NUMBER
    return _Kind.TRUTH if type_name.upper() == "BOOLEAN" else _Kind.TEXT


def _read_texts(
    kinds: Mapping[str, _Kind], may_be_empty: Set[str], line: int, text: str
) -> Sequence[str | None] | Problem:
    if not text.strip():
        return Problem(line, "", "an empty line")
    try:
        found = _DECODER.decode(text.rstrip("\r\n"))
    except json.JSONDecodeError as error:
        return Problem(line, "", f"not JSON from character {error.pos + 1} on")
    except RecursionError:
        return Problem(line, "", "a nested value")
    if not isinstance(found, _Object):
        return Problem(line, "", "not a JSON object")
    values = dict(found)
    if reason := _compare_names(kinds, values, found):
        return Problem(line, *reason)
    texts = []
    for name, wanted in kinds.items():
        value = values[name]
        if value is None:
            texts.append(None)
        elif _KIND_OF.get(type(value)) is not wanted:
            return Problem(line, name, _say_kinds(value, wanted))
        elif wanted is _Kind.TEXT:
            if reason := _find_fault(value, may_be_empty=name in may_be_empty):
                return Problem(line, name, reason)
            texts.append(value)
        else:
            texts.append(str(value).lower() if wanted is _Kind.TRUTH else str(value))
    return texts


def _compare_names(
    kinds: Mapping[str, _Kind], values: Mapping[str, object], found: _Object
) -> tuple[str, str] | None:
    """Return column and reason if the names are not exactly the feed's columns, each once."""
    if len(values) != len(found):
        names = [name for name, _ in found]
        twice = [name for name in kinds if names.count(name) > 1]
        return (twice[0], "there more than once") if twice else ("", "a name more than once")
    for name in kinds:
        if name not in values:
            return name, "missing"
    if extra := len(values) - len(kinds):
        return "", f"{extra} name(s) that the feed does not have"
    return None


def _say_kinds(value: object, wanted: _Kind) -> str:
    kind = _KIND_OF.get(type(value))
    return f"{kind.value if kind else 'a nested value'}, where {wanted.value} belongs"


def _find_fault(text: str, *, may_be_empty: bool) -> str:
    """Return why a column does not accept a text; empty if that is left to its type."""
    if not text and not may_be_empty:
        return "an empty text, where null belongs"
    if "\0" in text:
        return "a NUL character"
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return "half a surrogate pair"
    return ""
