"""JSON lines: one JSON object per line, whose names are the feed's columns in any order.

A column of a number type accepts JSON numbers, a BOOLEAN column `true` and `false`, every other
column JSON strings; `null` is NULL in all. The texts are then validated like those of a CSV file: a
number keeps its spelling in the file, so that it is not rounded before. A file of zero bytes is
refused, because it may be cut off. DuckDB's own reader rounds numbers before anyone sees them.
"""

import glob
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import duckdb

from partitioned_etl.engine.formats.format import (
    MAX_RECORD_CHARS,
    FormatProposal,
    Problem,
    Record,
    Survey,
    problem_of_file,
)
from partitioned_etl.engine.formats.text import Head, TextCounts, TextFormat, read_lines
from partitioned_etl.engine.formats.types import Kind, is_text_type, kind_of

if TYPE_CHECKING:
    from partitioned_etl.engine.contract import Contract


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


class JsonLinesFormat(TextFormat, frozen=True):
    """One JSON object per line, in UTF-8."""

    kind: ClassVar[str] = "json"
    endings: ClassVar[tuple[str, ...]] = (".jsonl", ".ndjson", ".json")
    is_read_at_once: ClassVar[bool] = False

    type: Literal["json_lines"] = "json_lines"

    def survey_records(
        self,
        contract: "Contract",  # noqa: ARG002
        head: Head,  # noqa: ARG002
        counts: TextCounts,
        records: Iterable[Record],  # noqa: ARG002
        survey: Survey,
    ) -> None:
        """Count the lines; their form is validated together with their values."""
        survey.row_count = counts.newlines

    def read_records(
        self,
        contract: "Contract",
        head: Head,  # noqa: ARG002
        rows: Iterable[bytes],
        line_of: Callable[[int], int],
    ) -> Iterator[JsonRecord]:
        """Read a text line by line."""
        types = contract.column_types
        kinds = {name: _kind_of_column(contract, name) for name in types}
        may_be_empty = {name for name, type_name in types.items() if is_text_type(type_name)}
        for row_line, line_text in enumerate(read_lines(rows), 1):
            line = line_of(row_line)
            if len(line_text) > MAX_RECORD_CHARS:
                problem = problem_of_file(f"a line of over {MAX_RECORD_CHARS:,} characters", line)
                yield JsonRecord(line, line_text[:MAX_RECORD_CHARS], problem, ())
                return
            found = _read_texts(kinds, may_be_empty, line, line_text)
            if isinstance(found, Problem):
                yield JsonRecord(line, line_text, found, ())
            else:
                yield JsonRecord(line, line_text, None, found)

    @classmethod
    def propose(cls, duck: duckdb.DuckDBPyConnection, sample: Path) -> FormatProposal:
        """Propose columns, as DuckDB's JSON reader sees them."""
        described = duck.execute(
            "DESCRIBE SELECT * FROM read_json(?, format = 'newline_delimited')",
            [glob.escape(str(sample))],
        ).fetchall()
        return FormatProposal(columns={name: type_name for name, type_name, *_ in described})


def _kind_of_column(contract: "Contract", name: str) -> _Kind:
    kind = contract.column_values[name].kind_in_file(kind_of(contract.column_types[name]))
    return {Kind.NUMBER: _Kind.NUMBER, Kind.BOOLEAN: _Kind.TRUTH}.get(kind, _Kind.TEXT)


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
